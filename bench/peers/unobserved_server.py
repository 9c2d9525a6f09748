"""Our server without metrics, request ids and logs, to tell what they cost. Takes the arguments of `asof`."""

from __future__ import annotations

from typing import Any

from asof.cli import main
from asof.server import app
from asof.server.observe import KEY, RequestWatch

WATCH = RequestWatch("", None)


class Unobserved:
    """Takes the place of what notes requests, and notes nothing."""

    def __init__(self, *_: Any, **__: Any) -> None:
        """Need nothing."""

    def begin(self, scope: Any) -> RequestWatch:
        """Give the same notes to every request; as they are in no context, reads of the store are not timed."""
        scope[KEY] = WATCH
        return WATCH

    def done(self, *_: Any) -> None:
        """Tell nobody."""

    def close(self) -> None:
        """End."""


if __name__ == "__main__":
    app.Observer = Unobserved  # type: ignore[misc, assignment]
    main()

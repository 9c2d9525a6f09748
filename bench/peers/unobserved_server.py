"""Our server without metrics, request ids and logs, to tell what they cost. Usage: PORT PROJECT."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import uvicorn

from asof.clock import SystemClock
from asof.config import load_config
from asof.server.app import App
from asof.server.observe import KEY, RequestWatch
from asof.server.project import Project

WATCH = RequestWatch("", None)


class Unobserved:
    """Takes the place of what notes requests, and notes nothing."""

    def begin(self, scope: Any) -> RequestWatch:
        """Give the same notes to every request; as they are in no context, reads of the store are not timed."""
        scope[KEY] = WATCH
        return WATCH

    def done(self, *_: Any) -> None:
        """Tell nobody."""

    def close(self) -> None:
        """End."""


def main() -> None:
    """Serve a project."""
    app = App(Project.open(load_config(Path(sys.argv[2]), {}), SystemClock()))
    app._observer = Unobserved()  # type: ignore[assignment]
    uvicorn.run(
        app,
        host="127.0.0.1",
        port=int(sys.argv[1]),
        loop="uvloop",
        http="httptools",
        ws="none",
        access_log=False,
        log_level="error",
        server_header=False,
        date_header=False,
        proxy_headers=False,
    )


if __name__ == "__main__":
    main()

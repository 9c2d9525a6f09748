"""What one run of the command line shares: the project, where output goes, and in which form."""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING, Any, TextIO, TypeVar

import msgspec
import rich_click as click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from asof import logs
from asof.clock import SystemClock
from asof.errors import sentence

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from asof.clock import Clock
    from asof.errors import AsofError
    from asof.store import FeatureStore

    F = TypeVar("F", bound=Callable[..., Any])

_PLAIN_WIDTH = 200
_log = logging.getLogger("asof.cli")


class Session:
    """Shared by the commands of one run.

    Attributes:
        directory: The project's directory, or one below it.
        as_json: Whether output is JSON, for programs.
        out: For results.
        errors: For messages.
    """

    def __init__(self) -> None:
        self.directory = "."
        self.as_json = False
        self.clock: Clock = SystemClock()
        self.out = _console(stderr=False)
        self.errors = _console(stderr=True)
        self._store: FeatureStore | None = None

    @property
    def store(self) -> FeatureStore:
        """The project's feature store, opened on first use."""
        if self._store is None:
            from asof.store import FeatureStore  # loads Arrow and the engines, which --help does not need

            self._store = FeatureStore(self.directory, clock=self.clock)
        return self._store

    @property
    def asks(self) -> bool:
        """Whether there is a person to ask."""
        return sys.stdin.isatty() and not self.as_json

    def emit(self, data: Any) -> None:
        """Print data as JSON, if that is what was asked for."""
        if self.as_json:
            text = msgspec.json.format(msgspec.json.encode(data), indent=2).decode()
            click.echo(text)

    def say(self, text: str = "", style: str = "") -> None:
        """Print a line for people; with --json there are none, and in logs that are JSON it is a line of them."""
        if logs.as_json():
            for line in text.strip().splitlines():
                _log.info(line)
        elif not self.as_json:
            self.out.print(Text(text, style=style), soft_wrap=True)

    def table(self, headings: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
        """Print a table for people, one line per row; in logs that are JSON every row is a line of them."""
        if logs.as_json():
            for row in rows:
                cells = zip(headings, row, strict=True)
                _log.info(", ".join(f"{heading}: {cell}" for heading, cell in cells if cell is not None))
            return
        if self.as_json:
            return
        table = Table(*headings, box=None, pad_edge=False, header_style="bold")
        for row in rows:
            table.add_row(*(Text("" if cell is None else str(cell)) for cell in row))
        self.out.print(table)

    def show_error(self, error: AsofError) -> None:
        """Print an error's what, why and fix to stderr."""
        if logs.as_json():
            _log.error(str(error))
            return
        if self.as_json:
            body = {"code": error.code, "what": error.what, "why": error.why, "fix": error.fix}
            click.echo(msgspec.json.encode({"error": body}).decode(), err=True)
            return
        for label, text in (("Error", error.what), ("Why", error.why), ("Fix", error.fix)):
            if text:
                style = "bold red" if label == "Error" else "bold"
                line = Text.assemble((f"{label}: ", style), sentence(text))
                self.errors.print(line, soft_wrap=True)

    def show_warning(
        self,
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        """Print a warning to stderr, in place of `warnings.showwarning`, without the place in the code."""
        if logs.as_json():
            _log.warning(str(message))
            return
        self.errors.print(Text.assemble(("Warning: ", "bold yellow"), str(message)), soft_wrap=True)

    def close(self) -> None:
        """Release what was opened, and delete what was spilled: what Ctrl-C cut off may not have come to that."""
        if self._store is not None:
            from asof.backends.local.executor import remove_own  # loads Arrow, which --help does not need

            self._store.close()
            remove_own(self._store.config.root / ".asof" / "tmp")


def _console(*, stderr: bool) -> Console:
    console = Console(stderr=stderr, highlight=False)
    return console if console.is_terminal else Console(stderr=stderr, highlight=False, width=_PLAIN_WIDTH)


def json_option(function: F) -> F:
    """Give a command `--json`."""

    def choose(context: click.Context, _parameter: click.Parameter, value: bool) -> None:
        context.ensure_object(Session).as_json = value

    return click.option(
        "--json",
        is_flag=True,
        expose_value=False,
        is_eager=True,
        callback=choose,
        help="Print JSON, for programs.",
    )(function)


pass_session = click.make_pass_decorator(Session, ensure=True)

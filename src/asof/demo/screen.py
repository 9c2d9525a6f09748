"""What the demonstration looks like: numbered steps, short sentences, small tables, and how long each step took."""

from __future__ import annotations

import time
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING

from rich import box
from rich.console import Group
from rich.live import Live
from rich.padding import Padding
from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from rich.console import Console, RenderableType

DEFECT = "This is a defect of Asof; please report it with the output of `asof status`."
"""What to do where a claim of the demonstration does not hold."""
_INDENT = (0, 0, 0, 3)
_WIDTH = 96


class Screen:
    """Prints steps to a console; every step says how long it took."""

    def __init__(self, console: Console) -> None:
        """Print to `console`, in lines of at most 96 characters."""
        self._console = console
        self._console.width = min(console.width, _WIDTH)
        self._started_s = time.perf_counter()
        self._number = 0

    @contextmanager
    def step(self, title: str) -> Iterator[None]:
        """Print a numbered heading, and the seconds once the step is done."""
        self._number += 1
        started_s = time.perf_counter()
        self._console.print()
        self._console.rule(f"[bold]{self._number}  {title}", align="left", style="cyan")
        yield
        self._console.print(Padding(f"[dim]{time.perf_counter() - started_s:.1f} s", _INDENT))

    def say(self, text: str) -> None:
        """Print a sentence or two; square brackets hold rich markup."""
        self._console.print(Padding(text, _INDENT))

    def say_plainly(self, text: str) -> None:
        """Print a sentence where the console is no terminal, on which something moves instead."""
        if not self._console.is_terminal:
            self.say(text)

    @contextmanager
    def busy(self, text: str) -> Iterator[None]:
        """Show that something is going on, where the console is a terminal."""
        with self._console.status(f"{text} …"):
            yield

    def code(self, text: str, language: str = "python") -> None:
        """Print a few lines of code."""
        self._console.print(Padding(Syntax(text, language, background_color="default"), (0, 0, 0, 5)))

    def table(self, columns: Sequence[str], rows: Iterable[Sequence[str]], *, numbers: Sequence[str] = ()) -> None:
        """Print a small table; the columns named in `numbers` are right-aligned."""
        self._console.print(_table(columns, rows, numbers=numbers))

    @contextmanager
    def moving(
        self, columns: Sequence[str], *, numbers: Sequence[str] = ()
    ) -> Iterator[Callable[[str, Sequence[Sequence[str]]], None]]:
        """Yield what shows a table under a heading; each replaces the one before, where the console is a terminal.

        Where it is none, the last table is printed at the end.
        """
        drawn: list[RenderableType] = []
        with Live(console=self._console, auto_refresh=False) if self._console.is_terminal else nullcontext() as live:

            def show(heading: str, rows: Sequence[Sequence[str]]) -> None:
                drawn[:] = [Padding(heading, (1, 0, 0, 3)), _table(columns, rows, numbers=numbers)]
                if live is not None:
                    live.update(Group(*drawn), refresh=True)

            yield show
        if live is None:
            self._console.print(*drawn)

    def title(self, text: str, subtitle: str) -> None:
        """Print what this is."""
        self._console.print(Text.assemble((f"\n{text}", "bold cyan"), f"\n{subtitle}"))

    def total(self) -> float:
        """Return the seconds since the screen was made."""
        return time.perf_counter() - self._started_s


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]], *, numbers: Sequence[str]) -> Padding:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold", show_edge=False)
    for column in columns:
        table.add_column(column, justify="right" if column in numbers else "left", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    return Padding(table, (1, 0, 1, 3))

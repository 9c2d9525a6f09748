"""What the demonstration looks like: numbered steps, short sentences, small tables, and how long each step took."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich import box
from rich.padding import Padding
from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from rich.console import Console

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
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold", show_edge=False)
        for column in columns:
            table.add_column(column, justify="right" if column in numbers else "left", no_wrap=True)
        for row in rows:
            table.add_row(*row)
        self._console.print(Padding(table, (1, 0, 1, 3)))

    def title(self, text: str, subtitle: str) -> None:
        """Print what this is."""
        self._console.print(Text.assemble((f"\n{text}", "bold cyan"), f"\n{subtitle}"))

    def total(self) -> float:
        """Return the seconds since the screen was made."""
        return time.perf_counter() - self._started_s

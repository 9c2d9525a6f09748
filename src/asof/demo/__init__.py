"""The flights demonstration: real data from raw files to a served vector."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

DEFAULT_DIRECTORY = Path("flights-demo")


def run(directory: Path = DEFAULT_DIRECTORY, *, quick: bool = False, console: Console | None = None) -> None:
    """Define, register, join, train, materialize, serve and stream features of the New York flights of 2013.

    With `ASOF_STREAM=kafka://…` in the environment the streamed part goes through that broker, else rows are pushed.

    Args:
        directory: Where the project is made, and stays; created where it is missing.
        quick: Take the first three months only.
        console: Where to print. Default: standard output.

    Raises:
        NotFoundError: the demonstration's extra packages are not installed.
        InputError: the directory holds something else.
    """
    from rich.console import Console

    from asof.demo.screen import Screen
    from asof.demo.tour import Tour

    screen = Screen(console or Console())
    screen.title(
        "Asof on the New York flights of 2013",
        "A feature is a function of an entity key and an instant: what was known about this flight at departure?",
    )
    Tour(directory, screen, quick=quick).run()
    screen.title(
        f"Done in {screen.total():.0f} s.",
        f"Next:  cd {directory}  and try  asof status,  asof describe airport_delays,  asof serve.\n"
        "       Change a window in features.py and see what  asof plan  says.\n",
    )

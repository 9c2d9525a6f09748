"""`asof demo`: from raw flights to served vectors."""

from __future__ import annotations

from pathlib import Path

import rich_click as click

from asof.cli.session import Session, pass_session


@click.command("demo")
@click.option(
    "--dir",
    "directory",
    metavar="DIR",
    type=click.Path(path_type=Path),
    default=Path("flights-demo"),
    help="Where the project is made, and stays. Default: flights-demo.",
)
@click.option("--quick", is_flag=True, help="Take the first three months only.")
@pass_session
def command(session: Session, directory: Path, *, quick: bool) -> None:
    """Show everything on 336,776 real flights.

    Prepares data, defines and registers features, joins a training set, trains a model, measures what a leak would
    have claimed, materializes, serves, and compares a served vector with its training row. Then flights land,
    1,000 times as fast, pushed or through the Kafka that ASOF_STREAM names, while their view is read. Takes about a
    minute.

    \b
        asof demo
        asof demo --quick --dir /tmp/flights
    """
    from asof import demo  # loads Arrow, Polars and scikit-learn, which --help does not need

    demo.run(directory, quick=quick, console=session.out)

"""`asof run`: the embedded scheduler."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import rich_click as click

from asof.cli.format import count, instant
from asof.cli.session import Session, json_option, pass_session
from asof.errors import AsofError

if TYPE_CHECKING:
    from asof.services.batches import Due

_LONGEST_WAIT_S = 60.0


@click.command("run")
@click.option("--once", is_flag=True, help="Do what is due now, then exit.")
@click.option("--workers", type=click.IntRange(min=1), default=None, help="Intervals at once. Default: the cores.")
@json_option
@pass_session
def command(session: Session, once: bool, workers: int | None) -> None:
    """Run what is due, and wait for the next.

    Every interval of a batch source that has ended, whose delay has passed, and that is not done: inputs first, as
    far back as what reads them needs, then what reads them; then the views over them are materialized. Without --once
    it stays and does so for ever; what fails does not keep the others, and is tried again at the next pass. Each step
    is also a command: asof backfill, asof materialize.

    \b
        asof run --once
        asof run
    """
    while True:
        failures: list[AsofError] = []
        next_us = None
        try:
            due = session.store.run_due(workers=workers, failed=failures.append)
            _show(session, due)
            next_us = due.next_us
        except AsofError as error:
            failures.append(error)
        if once and failures:
            raise failures[0]
        for failure in failures:
            session.show_error(failure)
        if once:
            return
        _wait(session, next_us)


def _show(session: Session, due: Due) -> None:
    session.emit(due)
    for done in due.backfilled:
        session.say(f"{done.source}: {count(done.intervals, 'interval')} run, {count(done.rows, 'row')}")
    for written in due.materialized:
        session.say(f"{written.view}@{written.version}: {count(written.keys, 'key')} materialized")
    if not due.backfilled:
        session.say("Nothing is due.")
    if due.next_us is not None:
        session.say(f"Next: {instant(due.next_us)}")


def _wait(session: Session, next_us: int | None) -> None:
    """Wait for the next interval, at most a minute: definitions may change meanwhile."""
    wait_s = _LONGEST_WAIT_S if next_us is None else (next_us - session.clock.now_us()) / 1e6
    threading.Event().wait(min(max(wait_s, 0.0), _LONGEST_WAIT_S))

"""`asof stream`: the worker that keeps views fresh from topics."""

from __future__ import annotations

import signal
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import rich_click as click

from asof.cli.format import count
from asof.cli.session import Session, json_option, pass_session

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from asof.services.stream import StreamProgress

_EVERY_S = 1.0


@click.command("stream")
@click.argument("sources", nargs=-1)
@click.option("--until-caught-up", is_flag=True, help="Stop when all is taken in that was there at the start.")
@click.option("--metrics-port", type=click.IntRange(0, 65535), help="Serve metrics for Prometheus there.")
@click.option("--metrics-host", default="127.0.0.1", show_default=True, help="Address to serve metrics on.")
@json_option
@pass_session
def command(
    session: Session, sources: tuple[str, ...], until_caught_up: bool, metrics_port: int | None, metrics_host: str
) -> None:
    """Read topics into the log and into every view over them, each message once.

    SOURCES are names of stream sources; by default all that have a topic. Views that were never materialized are
    first. Runs until Ctrl-C or SIGTERM, which end it when the batch at hand is taken in. Start it several times, on
    one machine or many, to share the partitions of a topic; it may be killed and started again at any moment.

    \b
        asof stream
        asof stream transactions --until-caught-up
        asof stream --metrics-port 9464
    """
    stop = threading.Event()
    with _on_signals(stop), _told(session, metrics_port, metrics_host) as tell:
        done = session.store.stream(list(sources) or None, until_caught_up=until_caught_up, stop=stop, progress=tell)
    for one in done:
        session.say(f"{one.source}: {_words(one)}")
    session.emit([_plain(one) for one in done])


@contextmanager
def _told(session: Session, metrics_port: int | None, host: str) -> Iterator[Callable[[StreamProgress], None]]:
    """Give what takes progress: people see it, and Prometheus where it was asked for."""
    shown = _Shown(session)
    if metrics_port is None:
        yield shown.show
        return
    from asof.server.stream_metrics import serving_metrics  # loads what --help does not need

    with serving_metrics(metrics_port, host) as (metrics, port):
        click.echo(f"Metrics on http://{host}:{port}/metrics", err=True)

        def both(progress: StreamProgress) -> None:
            metrics.note(progress)
            shown.show(progress)

        yield both


class _Shown:
    """Prints progress about once a second and source, problems at once."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._at_s: dict[str, float] = {}
        self._rows: dict[str, int] = {}
        self._problem: dict[str, str] = {}

    def show(self, progress: StreamProgress) -> None:
        problem = str(progress.problem or "")
        if problem and self._problem.get(progress.source) != problem and progress.problem is not None:
            self._session.show_error(progress.problem)
        self._problem[progress.source] = problem
        now_s = time.monotonic()
        since_s = now_s - self._at_s.get(progress.source, 0.0)
        if since_s < _EVERY_S:
            return
        before = self._rows.get(progress.source)
        if before != progress.taken:
            rate = "" if before is None else f", {(progress.taken - before) / since_s:,.0f} rows/s"
            self._session.say(f"{progress.source}: {_words(progress)}{rate}")
        self._at_s[progress.source], self._rows[progress.source] = now_s, progress.taken


def _words(one: StreamProgress) -> str:
    parts = [f"{count(one.taken, 'row')} taken in"]
    if one.refused:
        parts.append(f"{one.refused:,} refused")
    if one.repeated:
        parts.append(f"{one.repeated:,} there already")
    if one.lag is not None:
        parts.append(f"{count(one.lag, 'message')} behind" if one.lag else "caught up")
    parts += [f"view {view} cannot take rows in: {error.what}" for view, error in one.behind.items()]
    return ", ".join(parts)


def _plain(one: StreamProgress) -> dict[str, object]:
    return {
        "source": one.source,
        "taken": one.taken,
        "repeated": one.repeated,
        "refused": one.refused,
        "lag": one.lag,
        "behind": {view: error.what for view, error in one.behind.items()},
    }


@contextmanager
def _on_signals(stop: threading.Event) -> Iterator[None]:
    """Set an event on Ctrl-C and SIGTERM within the block."""
    before = {one: signal.signal(one, lambda *_: stop.set()) for one in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)

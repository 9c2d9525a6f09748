"""The demonstration's steps: project, plan and apply, backfill, training set, model, materialize, serve, live."""

from __future__ import annotations

import hashlib
import time
import warnings
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from asof.clock import iso, to_us
from asof.definitions import BatchView, FeatureView, TimeSplit
from asof.demo import data, learning, project_files, serving
from asof.demo.live import Live
from asof.demo.screen import DEFECT
from asof.errors import AsofError, RejectedRowsWarning
from asof.store import FeatureStore

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import polars as pl

    from asof.demo.screen import Screen
    from asof.services.training_set import TrainingSet

CUT = datetime(2013, 10, 1, tzinfo=UTC)
QUICK_CUT = datetime(2013, 3, 1, tzinfo=UTC)
START = datetime(2013, 1, 1, tzinfo=UTC)
END = datetime(2014, 1, 1, tzinfo=UTC)
QUICK_END = datetime(2013, 4, 1, tzinfo=UTC)
TRAINING_SET = "late_flights"
_UNLISTED = "destination__place__alt"
_AFTERNOON_UTC = (19, 22)
_KEYS = ("carrier", "tailnum", "origin", "dest")
_REQUEST = ("distance",)
_SHOWN = ("airport_delays__arr_delay_mean_3h", "aircraft_delays__arr_delay_mean_1d", "trip__miles")


class Tour:
    """One run of the demonstration in one directory."""

    def __init__(self, directory: Path, screen: Screen, *, quick: bool) -> None:
        """Work in `directory`; `quick` takes the first three months only."""
        self._directory = directory
        self._screen = screen
        self._quick = quick
        self._cut = QUICK_CUT if quick else CUT
        self._end = QUICK_END if quick else END

    def run(self) -> None:
        """Take every step.

        Raises:
            AsofError: a step failed, or a served value differs from its training row.
        """
        self._project()
        data.check_packages()
        # Flights without a tail number are told about once, in words.
        with FeatureStore(self._directory) as store, warnings.catch_warnings():
            warnings.simplefilter("ignore", RejectedRowsWarning)
            self._register(store)
            self._backfill(store)
            training = self._training_set(store)
            self._model(training)
            instant = _busiest_instant(training, self._cut)
            self._materialize(store, instant)
        self._serve(training, instant)
        self._live()

    def _project(self) -> None:
        screen = self._screen
        with screen.step("A project is a directory"):
            project_files.start(self._directory)
            with screen.busy("Preparing the flights of 2013"):
                prepared = data.prepare(self._directory / "data", quick=self._quick)
            screen.say(
                f"[bold]{self._directory}/[/] now holds [bold]asof.toml[/], [bold]features.py[/] and [bold]data/[/]: "
                f"{prepared.flights:,} flights ({prepared.cancelled:,} cancelled), {prepared.weather:,} weather "
                f"reports, {prepared.aircraft:,} aircraft, {prepared.airports:,} airports."
            )
            screen.say("The line that matters says when a row could have been known: a delay, once landed.")
            screen.code(_excerpt(project_files.shipped("features.py"), "flights = FileSource("))

    def _register(self, store: FeatureStore) -> None:
        screen = self._screen
        with screen.step("Plan and apply"):
            plan = store.plan()
            revision = store.apply(plan)
            views = dict.fromkeys([*(view for view, _ in project_files.service().features), project_files.live_view()])
            screen.table(
                ["view", "per", "features", "such as"],
                [
                    [
                        view.name,
                        ", ".join(key for key, _ in view.entity.join_keys)
                        if isinstance(view, FeatureView)
                        else "read, on demand",
                        str(len(view.feature_names())),
                        view.feature_names()[0],
                    ]
                    for view in views
                ],
                numbers=["features"],
            )
            screen.say(
                f"Revision {revision.number} registers {len(views)} views and the service "
                f"[bold]{project_files.SERVICE}[/], which reads all but the last. "
                "A changed meaning would be a new version. It reads [bold]place[/] under two roles: "
                "as a flight's origin and as its destination."
            )

    def _backfill(self, store: FeatureStore) -> None:
        screen = self._screen
        with screen.step("Backfill the nightly job"):
            views = dict.fromkeys(view for view, _ in project_files.service().features if isinstance(view, BatchView))
            for view in views:
                with screen.busy(f"Running {view.name}"):
                    done = store.backfill(view.name, START, self._end)
                screen.say(
                    f"[bold]{view.name}[/] is a SQL query, run once a day: {done.intervals} days, {done.rows:,} rows "
                    f"in {done.seconds:.2f} s. Each run saw what was known by two in the morning, UTC; nobody sees its "
                    "rows before that."
                )

    def _training_set(self, store: FeatureStore) -> pl.DataFrame:
        screen = self._screen
        with screen.step("A training set, every flight as of its scheduled departure"):
            with screen.busy("Joining point in time"):
                made = store.create_training_set(
                    TRAINING_SET,
                    project_files.SERVICE,
                    self._directory / "data" / "departures.parquet",
                    split=TimeSplit([self._cut]),
                )
                training: pl.DataFrame = made.to_polars()
            rows = len(made)
            example = training.row(training.height * 2 // 3, named=True)
            screen.say(
                f"{rows:,} rows in, {rows:,} rows out, in the same order, {len(_features(training))} features each, "
                f"in the stored training set [bold]{made.name}[/]. One of them, {example['carrier']} from "
                f"{example['origin']} to {example['dest']}, {example['event_timestamp']:%d %B %H:%M} UTC:"
            )
            screen.table(["feature", "value"], [[name, _short(example[name])] for name in _SHOWN], numbers=["value"])
            screen.say(
                f"{training['tailnum'].null_count():,} flights have no tail number: what is asked about their aircraft "
                f"is null, and none of them is dropped. Nor are {training[_UNLISTED].null_count():,} flights to places "
                "that the list of airports leaves out."
            )
            self._rebuild(store, made)
        return training

    def _rebuild(self, store: FeatureStore, made: TrainingSet) -> None:
        before = _fingerprint(made)
        started_s = time.perf_counter()
        with self._screen.busy("Rebuilding it from its manifest"):
            after = _fingerprint(store.rebuild_training_set(made.name))
        if after != before:
            raise AsofError(f"The rebuilt training set {made.name!r} has other bytes", fix=DEFECT)
        sizes = " and ".join(f"{rows:,} rows to {split}" for split, rows in made.manifest.splits.items())
        self._screen.say(
            f"Split by time: {sizes} on. Rebuilt from its manifest in {time.perf_counter() - started_s:.1f} s: "
            f"[bold green]the same bytes[/], SHA-256 {after[:12]}…"
        )

    def _model(self, training: pl.DataFrame) -> None:
        screen = self._screen
        with screen.step("A model, and what a leak would have claimed"):
            with screen.busy("Computing features with available_at ignored, training two models"):
                result = learning.compare(training, self._leaking(training), self._cut)
            screen.say(
                f"Will it arrive more than {learning.LATE_MINUTES} minutes late? Trained on {result.trained:,} flights "
                f"before {self._cut:%d %B}, tested on the {result.tested:,} after; {result.late:.1%} were late."
            )
            screen.say(
                f"Both read the {result.features} numeric features that come straight from sources; a batch view's "
                "runs say themselves when they were due, so it is left out, and so are places and trips."
            )
            screen.table(
                ["features", "measured on", "AUC", "late in top 10%", "expects late"],
                [
                    _scored("leaking", "leaking history, as claimed", result.claimed),
                    _scored("leaking", "what is known at departure", result.delivered),
                    _scored("as of then", "what is known at departure", result.honest),
                ],
                numbers=["AUC", "late in top 10%", "expects late"],
            )
            screen.say(
                "With only an event time, a flight's delay counts from its departure, hours before anyone can know it. "
                f"That claims an AUC of {result.claimed.auc:.3f} and delivers {result.delivered.auc:.3f}. "
                f"The honest model promises {result.honest.auc:.3f} and keeps it."
            )

    def _leaking(self, training: pl.DataFrame) -> pl.DataFrame:
        """Return the training set that the same definitions give where no source says when a row became known."""
        views = learning.without_availability(project_files.service(), self._directory)
        with FeatureStore.temporary() as store:
            store.apply(store.plan(views))
            joined = store.get_historical_features([view.name for view in views], training.select(_spine(training)))
            leaking: pl.DataFrame = joined.to_polars()
        return leaking

    def _materialize(self, store: FeatureStore, instant: datetime) -> None:
        screen = self._screen
        with screen.step(f"Materialize at {instant:%d %B %Y, %H:%M} UTC"):
            with screen.busy("Writing the online store"):
                views = dict.fromkeys(view for view, _ in project_files.service().features)
                stored = [view.name for view in views if isinstance(view, FeatureView)]
                written = store.materialize(stored, at=instant)
            screen.table(
                ["view", "entities", "rows read", "seconds"],
                [[w.view, f"{w.keys:,}", f"{w.rows:,}", f"{w.seconds:.2f}"] for w in written],
                numbers=["entities", "rows read", "seconds"],
            )
            screen.say("Each view was switched in atomically; readers saw the old values or the new, never a mix.")

    def _serve(self, training: pl.DataFrame, instant: datetime) -> None:
        screen = self._screen
        with screen.step("Serve, and compare with training"):
            flights = _leaving(training, instant)
            body = {
                "service": project_files.SERVICE,
                "keys": {key: flights[key].to_list() for key in _KEYS},
                "request": {name: flights[name].to_list() for name in _REQUEST},
                "at": iso(to_us(instant)),
            }
            with screen.busy("Starting asof serve"), serving.server(self._directory) as port:
                serving.fetch(port, body)
                answer, elapsed_ms = serving.fetch(port, body)
            differences = _differences(flights, answer)
            if differences:
                raise AsofError(
                    f"{len(differences)} served values differ from training, first {differences[0]}",
                    fix=DEFECT,
                )
            screen.say(
                f"[bold]POST /v1/online-features[/] for the {flights.height} flights that leave at this instant: "
                f"{elapsed_ms:.1f} ms."
            )
            screen.table(
                ["flight", *(name.partition("__")[2] for name in _SHOWN), "served = training"],
                [_compared(row, answer["features"]) for row in flights.head(5).iter_rows(named=True)],
                numbers=[name.partition("__")[2] for name in _SHOWN],
            )
            count = len(answer["features"])
            screen.say(
                f"[bold green]{flights.height} flights x {count} features: all "
                f"{flights.height * count} values equal[/], to the last bit."
            )

    def _live(self) -> None:
        screen = self._screen
        with screen.step("Live: history and stream meet"):
            screen.code(_excerpt(project_files.shipped("features.py"), "landings = StreamSource("))
            Live(self._directory, screen).run()


def _fingerprint(made: TrainingSet) -> str:
    return hashlib.sha256((made.path / "data.parquet").read_bytes()).hexdigest()


def _features(frame: pl.DataFrame) -> list[str]:
    return [name for name in frame.columns if "__" in name]


def _spine(frame: pl.DataFrame) -> list[str]:
    return [name for name in frame.columns if "__" not in name and name != "split"]


def _excerpt(text: str, first: str) -> str:
    """Return the statement that starts with `first`, up to its closing bracket."""
    lines = text[text.index(first) :].splitlines()
    end = next(number for number, line in enumerate(lines) if line.startswith(")"))
    return "\n".join(lines[: end + 1])


def _short(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.1f}" if isinstance(value, float) else str(value)


def _scored(features: str, measured: str, score: learning.Score) -> list[str]:
    return [features, measured, f"{score.auc:.3f}", f"{score.caught:.0%}", f"{score.expected:.1%}"]


def _busiest_instant(training: pl.DataFrame, cut: datetime) -> datetime:
    """Return the afternoon instant from `cut` on at which the most flights leave, the earliest of several."""
    moments = training["event_timestamp"]
    afternoon = (moments >= cut) & moments.dt.hour().is_between(*_AFTERNOON_UTC)
    counted = training.filter(afternoon).group_by("event_timestamp").len()
    busiest = counted.sort(["len", "event_timestamp"], descending=[True, False])
    instant: datetime = busiest["event_timestamp"][0]
    return instant


def _leaving(training: pl.DataFrame, instant: datetime) -> pl.DataFrame:
    leaving = training.filter(training["event_timestamp"] == instant)
    return leaving.filter(leaving["tailnum"].is_not_null())


def _differences(flights: pl.DataFrame, answer: dict[str, Any]) -> list[str]:
    """Return where the served values are not exactly those of the training rows."""
    found: list[str] = []
    for row, result in zip(flights.iter_rows(named=True), answer["results"], strict=True):
        for name, value in zip(answer["features"], result["values"], strict=True):
            if row[name] != value:
                found.append(f"flight {row['flight_id']} {name}: {value!r} for {row[name]!r}")
    return found


def _compared(row: dict[str, Any], features: Sequence[str]) -> list[str]:
    label = f"{row['carrier']} {row['origin']}-{row['dest']}"
    return [label, *(_short(row[name]) for name in _SHOWN), f"{len(features)} of {len(features)}"]

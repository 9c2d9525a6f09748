"""Batch sources and views: a query or a function over other sources, run once per scheduled interval."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from asof.cron import check_cron, is_cron
from asof.definitions.sources import FrameSource, Source
from asof.definitions.views import StateView
from asof.durations import Duration, parse_duration
from asof.errors import DefinitionError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from asof.definitions.entity import Entity
    from asof.definitions.views import Feature

BATCH_EVENT_TIME = "event_time"


@dataclass(frozen=True, eq=False, init=False)
class BatchSource(Source):
    """Rows that a query or a function makes of other sources, once per interval, and publishes `delay` after its end.

    A published row has `event_time`, the end of its interval, and could be known from `event_time` + `delay` on. The
    run of the interval `[start, end)` sees of each input the rows that could be known by `end` + `delay`, so that a
    backfill gives today what the nightly job would have given then.

    Attributes:
        inputs: Sources that it reads, other batch sources among them, each a table of its name.
        sql: One SELECT over them; `$start` and `$end` are the interval's bounds.
        function: Instead of a query: called with a dict of Arrow tables by name, start and end (datetimes, UTC).
        outputs: Names and dtypes of the columns that the function returns.
        every_us: Length of an interval; intervals lie on the grid of that length from the epoch, UTC. 0 with `cron`.
        cron: Five fields: intervals are from one time of this expression to the next, UTC. None with a length.
        lookback_us: How far before its interval a run sees rows of its inputs; None: all.
    """

    inputs: tuple[Source, ...]
    sql: str | None
    function: Callable[..., Any] | None
    outputs: tuple[tuple[str, str], ...]
    every_us: int
    cron: str | None
    lookback_us: int | None

    def __init__(
        self,
        name: str,
        *,
        inputs: Iterable[Source | BatchView],
        schedule: Duration,
        sql: str | None = None,
        function: Callable[..., Any] | None = None,
        columns: Mapping[str, str] | None = None,
        delay: Duration | None = None,
        lookback: Duration | None = None,
        description: str = "",
        owner: str = "",
        tags: Iterable[str] = (),
    ) -> None:
        """Define a batch source.

        Args:
            name: A letter, then letters, digits and underscores.
            inputs: Sources and batch views.
            schedule: How long an interval is, as "1d"; or a cron expression, as ``"0 6 * * *"``, which needs the extra
                `cron`: intervals are then from one of its times to the next, in UTC.
            sql: A query; it may not depend on the moment, or on anything but its inputs and the bounds.
            function: A function at the top of a module, instead of a query.
            columns: With a function: what it returns, as {"customer_id": "int64", "total": "float64"}.
            delay: How long after its interval's end a run's rows are there to be read. Default: 0.
            lookback: A run of `[start, end)` sees only rows of its inputs with an event time in
                `[start - lookback, end)`, and older ones are not loaded; of batch inputs, the intervals that end in
                `(start - lookback, end]`. Default: all rows.
            description: For people.
            owner: Who answers for it.
            tags: Free labels.

        Raises:
            DefinitionError: a wrong name, no inputs, both or neither of query and function, or a wrong duration or
                cron expression.
            UnsupportedOperationError: a cron expression without the extra `cron`.
        """
        Source.__init__(
            self,
            name,
            event_time=BATCH_EVENT_TIME,
            delay=delay,
            description=description,
            owner=owner,
            tags=tuple(tags) if not isinstance(tags, str) else tags,  # type: ignore[arg-type] # refused by check_tags
        )
        chosen = _inputs(name, inputs)
        _check_body(name, sql, function, columns)
        cron = check_cron(str(schedule), _schedule_of(name)) if is_cron(schedule) else None
        for field, value in {
            "inputs": chosen,
            "sql": sql,
            "function": function,
            "outputs": tuple((columns or {}).items()),
            "every_us": 0 if cron else parse_duration(schedule, _schedule_of(name)),
            "cron": cron,
            "lookback_us": None
            if lookback is None
            else parse_duration(lookback, f"The lookback of batch source {name!r}", zero=True),
        }.items():
            object.__setattr__(self, field, value)


def _inputs(name: str, inputs: Iterable[Source | BatchView]) -> tuple[Source, ...]:
    listed = [inputs] if isinstance(inputs, Source | BatchView) else list(inputs)
    chosen = tuple(one.source if isinstance(one, BatchView) else one for one in listed)
    for one in chosen:
        if not isinstance(one, Source) or isinstance(one, FrameSource):
            raise DefinitionError(
                f"Batch source {name!r} has input {one!r}",
                why="Runs of other days and processes must be able to read it",
                fix="List file, Delta and batch sources, or batch views.",
            )
        if one.name == name:
            raise DefinitionError(
                f"Batch source {name!r} reads a source of its own name",
                why="A name means one source",
                fix="Rename one of them.",
            )
    names = [one.name for one in chosen]
    if not names or len({one.lower() for one in names}) < len(names):
        raise DefinitionError(
            f"Batch source {name!r} has {'inputs of the same name' if names else 'no inputs'}",
            why="Each input is a table of its name",
            fix="List every source once.",
        )
    return chosen


def _check_body(name: str, sql: object, function: object, columns: Mapping[str, str] | None) -> None:
    if (sql is None) == (function is None) or (sql is not None and not (isinstance(sql, str) and sql.strip())):
        raise DefinitionError(
            f"Batch source {name!r} needs either a query or a function", fix="Give one of sql= and function=."
        )
    if (function is None) != (not columns):
        raise DefinitionError(
            f"Batch source {name!r} {'has a function without' if function else 'has a query and'} columns=",
            why="A query says itself which columns it gives, a function does not",
            fix='With a function write columns={"customer_id": "int64", …}; with sql= leave it out.',
        )
    if BATCH_EVENT_TIME in (columns or {}):
        raise DefinitionError(
            f"Batch source {name!r} declares a column {BATCH_EVENT_TIME!r}",
            why="It is added to every row: the end of the row's interval",
            fix="Leave it out, or give the column another name.",
        )


def _schedule_of(name: str) -> str:
    return f"The schedule of batch source {name!r}"


@dataclass(frozen=True, eq=False, init=False)
class BatchView(StateView):
    """A state view over a batch source of the same name: at t, the entity's newest row that was published by t."""

    def __init__(
        self,
        name: str,
        *,
        entity: Entity,
        inputs: Iterable[Source | BatchView],
        schedule: Duration,
        features: Iterable[str | Feature],
        sql: str | None = None,
        function: Callable[..., Any] | None = None,
        columns: Mapping[str, str] | None = None,
        delay: Duration | None = None,
        lookback: Duration | None = None,
        ttl: Duration | None = None,
        where: str | None = None,
        description: str = "",
        owner: str = "",
        tags: Iterable[str] = (),
    ) -> None:
        """Define a batch view: what `BatchSource` and `StateView` take.

        Raises:
            DefinitionError: as these two.
        """
        source = BatchSource(
            name,
            inputs=inputs,
            schedule=schedule,
            sql=sql,
            function=function,
            columns=columns,
            delay=delay,
            lookback=lookback,
            description=description,
            owner=owner,
            tags=tags,
        )
        super().__init__(
            name,
            entity=entity,
            source=source,
            features=features,
            ttl=ttl,
            where=where,
            description=description,
            owner=owner,
            tags=tags,
        )

"""Turns Feast's feature views into state views: the newest row of an entity within its ttl."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

from asof.durations import DAY_US, format_duration
from asof.migrate.arguments import Arguments, named
from asof.migrate.findings import NotCarriedError
from asof.migrate.python import Call, Symbol
from asof.migrate.sources import KINDS
from asof.migrate.values import Made, Name, Value

if TYPE_CHECKING:
    from asof.migrate.arguments import Labels
    from asof.migrate.entities import Entities
    from asof.migrate.findings import Findings
    from asof.migrate.python import Names
    from asof.migrate.sources import Sources

VIEWS = ("FeatureView", "BatchFeatureView", "StreamFeatureView")
_MAX_TTL_US = 200 * 366 * DAY_US
_NO_COLUMNS = frozenset({"Map", "Struct", "Set", "ScalarMap", "ZonedTimestamp", "Invalid"})
_COMPUTED = {
    "udf": (
        "Its features come from a function, which is not run",
        "Write it as transform=RowTransform(…) or a BatchView.",
    ),
    "aggregations": (
        "Its windows are Feast's, whose bounds are others",
        'Write an EventView with features=[Sum("amount", windows=["1h"])] over its source.',
    ),
}
_LEFT = {
    "offline": ("Asof keeps all rows of its streams", "Nothing to do."),
    "enable_validation": ("Asof always holds rows to the types of their columns", "Nothing to do."),
    "batch_engine": ("Asof computes by itself", "Nothing to do."),
    "stream_engine": ("Asof computes by itself", "Run `asof stream`."),
    "enable_tiling": ("It speeds up aggregations of Feast", "Nothing to do."),
    "tiling_hop_size": ("It speeds up aggregations of Feast", "Nothing to do."),
    "sink_source": ("Asof keeps what it computes itself", "Nothing to do."),
    "timestamp_field": ("The source names its event time", "Say event_time= in the source."),
}


@dataclass(frozen=True)
class Viewed:
    """A view of the new project.

    Attributes:
        name: Its name there.
        features: Feast's feature names to those of the new project.
        join_keys: Of its entity.
    """

    variable: str
    name: str
    features: dict[str, str]
    join_keys: tuple[str, ...]


@dataclass
class Views:
    """Translates each feature view once.

    Attributes:
        written: Variables and calls of sources and views, each source before the first view that reads it.
    """

    entities: Entities
    sources: Sources
    findings: Findings
    labels: Labels
    names: Names
    written: list[tuple[str, Call]] = field(default_factory=list)
    _done: dict[int, Viewed | NotCarriedError] = field(default_factory=dict)
    _by_name: dict[str, Made] = field(default_factory=dict)

    def carry(self, made: Made) -> Viewed:
        """Return a view of the new project.

        Raises:
            NotCarriedError: there is none for it; the view is reported the first time.
        """
        found = self._done.get(id(made))
        if found is None:
            what = f"view {named(made)!r}"
            try:
                found = self._carry(made, Arguments(made, what, self.findings))
            except NotCarriedError as error:
                place = error.place or made.place
                self.findings.dropped(place, what, error.why, error.instead)
                found = NotCarriedError(place, error.why, error.instead)
            self._done[id(made)] = found
            self._by_name.setdefault(named(made), made)
        if isinstance(found, NotCarriedError):
            raise NotCarriedError(None, "Its view is not carried over", f"See {found.place}.")
        return found

    def drop_on_demand(self, made: Made, why: str, instead: str) -> None:
        """Report an on-demand view, and let services know that it is not there."""
        self.findings.dropped(made.place, f"on-demand view {named(made)!r}", why, instead)
        self._done[id(made)] = NotCarriedError(made.place, why, instead)
        self._by_name.setdefault(named(made), made)

    def named(self, name: str) -> Made | None:
        """Return the view of a name, of those that were carried or dropped."""
        return self._by_name.get(name)

    def _carry(self, made: Made, arguments: Arguments) -> Viewed:
        given = arguments.need_text("name")
        if not given:
            raise NotCarriedError(made.place, "It has no name", "Name it.")
        if made.function is not None or arguments.need("feature_transformation") is not None:
            raise NotCarriedError(made.place, *_COMPUTED["udf"])
        for name, reason in _COMPUTED.items():
            if arguments.need(name) is not None:
                raise NotCarriedError(made.place, *reason)
        arguments.ignore("udf_string", "mode")
        schema = arguments.items("schema")
        source = arguments.need("source")
        if not isinstance(source, Made) or source.kind not in KINDS:
            raise NotCarriedError(
                made.place,
                "Its rows come from other views, or from nowhere",
                "Write a BatchView over the source of these views.",
            )
        entity = self.entities.of_view(arguments.items("entities"), made)
        carried = self.sources.carry(source)
        name = self.labels.give("view", given, made)
        features, names = self._features(made, name, schema, entity.join_keys, carried.mapping)
        if not features:
            raise NotCarriedError(
                made.place,
                "It lists no features, which Feast then finds in the data",
                "List them in schema= and import again, or write features=[…] by hand.",
            )
        keywords: list[tuple[str, Value]] = [("entity", Symbol(entity.variable)), ("source", Symbol(carried.variable))]
        keywords.append(("features", features))
        if select := {key: _column(carried.mapping[key]) for key in entity.join_keys if key in carried.mapping}:
            keywords.append(("select", select))
        if ttl := self._ttl(arguments, made):
            keywords.append(("ttl", ttl))
        keywords += arguments.common()
        self._rest(made, arguments)
        variable = self.names.give(made.variable, name, f"{name}_view")
        self.written += [one for one in self.sources.needed(carried) if one not in self.written]
        self.written.append((variable, Call("StateView", (name,), tuple(keywords))))
        return Viewed(variable, name, names, tuple(entity.join_keys))

    def _features(
        self, made: Made, view: str, schema: list[Value], join_keys: dict[str, str | None], mapping: dict[str, str]
    ) -> tuple[list[Value], dict[str, str]]:
        written: list[Value] = []
        names: dict[str, str] = {}
        for one in schema:
            if not isinstance(one, Made) or one.kind != "Field":
                raise NotCarriedError(made.place, "Its schema lists something that is no Field", "List Field(…).")
            arguments = Arguments(one, f"a field of view {view!r}", self.findings)
            given = arguments.need_text("name")
            if given in join_keys:
                continue
            arguments.what = f"feature {view}:{given}"
            dtype = _type_name(arguments.take("dtype"))
            if dtype in _NO_COLUMNS:
                self.findings.dropped(
                    one.place,
                    arguments.what,
                    f"Columns of Asof are no {dtype}",
                    "Give its parts as columns of their own, in the data.",
                )
                continue
            feature = self.labels.give("feature", given, one, within=view)
            column = mapping.get(given, given)
            keywords: list[tuple[str, Value]] = [("column", column)] if column != feature else []
            keywords += arguments.common()
            for vector in ("vector_index", "vector_length", "vector_search_metric"):
                arguments.leave(
                    vector, "Asof has no vector search", "Keep a search engine for it.", unless=(None, False, 0)
                )
            arguments.finish()
            written.append(Call("Feature", (feature,), tuple(keywords)) if keywords else feature)
            names[given] = feature
        return written, names

    def _ttl(self, arguments: Arguments, made: Made) -> str | None:
        ttl = arguments.duration("ttl")
        if not ttl:
            return None
        us = ttl // timedelta(microseconds=1)
        if 0 < us <= _MAX_TTL_US:
            return format_duration(us)
        if us < 0:
            raise NotCarriedError(made.place, "Its ttl is negative, so it has no values", "Give a ttl above zero.")
        self.findings.differs(
            made.place,
            f"{arguments.what} has no ttl",
            "A ttl is at most 200 years",
            "Nothing to do: rows never expire.",
        )
        return None

    def _rest(self, made: Made, arguments: Arguments) -> None:
        what = arguments.what
        if arguments.take("online") is False:
            self.findings.differs(
                made.place, f"{what} can be served", "Asof has no views for training alone", "Do not materialize it."
            )
        if arguments.take("enabled") is False:
            self.findings.differs(
                made.place, f"{what} is enabled", "Asof has no switch for it", "Take it out if need be."
            )
        arguments.leave(
            "version",
            "Asof numbers versions itself",
            "Pin the version in the service's name.",
            unless=(None, "", "latest"),
        )
        for name, (why, instead) in _LEFT.items():
            arguments.leave(name, why, instead)
        arguments.finish()


def _column(name: str) -> str:
    """Return a column as a SQL expression."""
    return '"' + name.replace('"', '""') + '"'


def _type_name(dtype: Value) -> str:
    """Return the name of a type of Feast's; of a list that holds more than single values, the name of these."""
    if isinstance(dtype, Made) and dtype.kind == "Array" and dtype.positional:
        inner = _type_name(dtype.positional[0])
        return "Struct" if inner == "Array" or inner in _NO_COLUMNS else "Array"
    return dtype.kind if isinstance(dtype, Made) else dtype.last if isinstance(dtype, Name) else ""

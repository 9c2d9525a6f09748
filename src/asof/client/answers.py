"""What calls return: features as the library gives them in values, types and statuses; pushes and services."""

from __future__ import annotations

import base64
import struct
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import msgspec

from asof.dtypes import FLOATS, INTEGERS, is_decimal, to_arrow
from asof.errors import AsofError, InputError

if TYPE_CHECKING:
    from collections.abc import Callable

    import pyarrow as pa

_INFINITY = {"Infinity": float("inf"), "-Infinity": float("-inf")}


class _Row(msgspec.Struct):
    values: list[Any]
    statuses: list[str] | None = None
    event_times: dict[str, datetime | None] | None = None


class _View(msgspec.Struct):
    version: int
    generation: int | None
    instant: datetime | None


class _Body(msgspec.Struct):
    at: datetime
    features: list[str]
    results: list[_Row]
    types: tuple[str, ...] = ()
    service: str | None = None
    views: dict[str, _View] | None = None
    errors: dict[str, dict[str, str]] | None = None


_decode = msgspec.json.Decoder(_Body).decode


class RemoteFeatures:
    """The features of some keys at one instant, in the keys' order: what the library's read of the same gives.

    Attributes:
        request_id: What the server's logs know the request by.
    """

    def __init__(self, body: _Body, request_id: str) -> None:
        """Wrap an answer; made by a client."""
        self._body = body
        self.request_id = request_id

    @property
    def at(self) -> datetime:
        """The instant of the read, UTC."""
        return self._body.at

    @property
    def service(self) -> str | None:
        """The service that was read, with its version: fraud@2; None where features were listed."""
        return self._body.service

    @property
    def failures(self) -> dict[str, AsofError]:
        """Of a partial answer, why views could not be read, by their name; {} for a whole one."""
        from asof.client.responses import error_from

        return {view: error_from(parts) for view, parts in (self._body.errors or {}).items()}

    @property
    def versions(self) -> dict[str, dict[str, Any]]:
        """Per view, or `role__view`: version, generation, and the instant that the generation shows.

        Raises:
            InputError: the read did not ask for metadata.
        """
        return {name: msgspec.structs.asdict(view) for name, view in _asked(self._body.views).items()}

    @property
    def statuses(self) -> dict[str, list[str]]:
        """Per feature column, one status per key.

        Raises:
            InputError: the read did not ask for metadata.
        """
        rows = [_asked(row.statuses) for row in self._body.results]
        return {name: [row[position] for row in rows] for position, name in enumerate(self._body.features)}

    @property
    def event_times(self) -> dict[str, list[datetime | None]]:
        """Per view, or `role__view`, one time per key: of the row or the newest event counted; None for neither.

        Raises:
            InputError: the read did not ask for metadata.
        """
        views = _asked(self._body.views)
        return {name: [_asked(row.event_times).get(name) for row in self._body.results] for name in views}

    def to_dict(self) -> dict[str, list[Any]]:
        """Return per feature column one Python value per key."""
        body = self._body
        names, results = body.features, body.results
        if len(results) == 1:
            columns = {name: [value] for name, value in zip(names, results[0].values, strict=True)}
        else:
            rows = [row.values for row in results]
            columns = {name: [row[position] for row in rows] for position, name in enumerate(names)}
        for position, read in _readers(body.types):
            name = names[position]
            columns[name] = [None if value is None else read(value) for value in columns[name]]
        return columns

    def to_arrow(self, *, statuses: bool = False) -> pa.RecordBatch:
        """Return one row per key; with `statuses`, a column `<feature>__status` after each feature's. Loads pyarrow.

        Raises:
            InputError: statuses, although the read did not ask for metadata; or a feature is named as the statuses of
                another would be.
        """
        import pyarrow as pa

        notes = self.statuses if statuses else {}
        if clash := next((name for name in notes if f"{name}__status" in notes), None):
            raise InputError(
                f"{clash}__status is a feature, and the column of the statuses of {clash}",
                fix="Read them from `statuses`, or ask for one of the features only.",
            )
        fields: list[pa.Field] = []
        columns: list[pa.Array] = []
        for (name, values), dtype in zip(self.to_dict().items(), self._body.types, strict=True):
            fields.append(pa.field(name, to_arrow(dtype)))
            columns.append(pa.array(values, to_arrow(dtype)))
            if statuses:
                fields.append(pa.field(f"{name}__status", pa.string(), nullable=False))
                columns.append(pa.array(notes[name], pa.string()))
        return pa.RecordBatch.from_arrays(columns, schema=pa.schema(fields))

    def to_pandas(self) -> Any:
        """Return a pandas DataFrame, one row per key."""
        return self.to_arrow().to_pandas()


class Pushed(msgspec.Struct, frozen=True):
    """What became of pushed rows.

    Attributes:
        taken: Rows that are in the log now.
        repeated: Rows that were in it already, by their position.
        refused: Rows that are dead letters now.
        reasons: Why, by the row's place in the push; of the first 100.
        entry: The newest entry of the source's log.
        at: When the rows arrived: from then on they can be known. None where nothing is in the log.
        behind: Views that could not take the rows in, and why; they will with the next push, once they can.
    """

    source: str
    taken: int
    repeated: int
    refused: int
    reasons: dict[int, str]
    entry: int
    at: datetime | None
    behind: dict[str, AsofError]

    @property
    def readable(self) -> bool:
        """Whether reads of every view that takes arrivals show the rows."""
        return not self.behind


class ServiceFeature(msgspec.Struct, frozen=True):
    """A feature of a service, pinned to the version of its view.

    Attributes:
        on_demand: Whether it is computed when it is read.
        role: The part that the view's entity plays, or None.
    """

    view: str
    view_version: int
    feature: str
    on_demand: bool = False
    role: str | None = None


class Service(msgspec.Struct, frozen=True):
    """A feature service as it is registered.

    Attributes:
        name: As "fraud".
        version: Its version; "fraud@2" names it for good.
        features: What it reads, in the order of the answer's columns.
        versions: All versions that can be read.
    """

    name: str
    version: int
    features: tuple[ServiceFeature, ...]
    versions: tuple[int, ...]
    description: str = ""
    owner: str = ""

    @property
    def key(self) -> str:
        """The name with the version: fraud@2. A model that reads this keeps what it was trained on."""
        return f"{self.name}@{self.version}"


class _Spec(msgspec.Struct):
    features: tuple[ServiceFeature, ...]
    description: str = ""
    owner: str = ""


class _Described(msgspec.Struct):
    name: str
    version: int
    spec: _Spec
    versions: tuple[int, ...]


def json_answer(body: bytes, *, request_id: str) -> RemoteFeatures:
    """Read the answer to a read of online features."""
    return RemoteFeatures(_decode(body), request_id)


def pushed_answer(body: bytes) -> Pushed:
    """Read the answer to a push."""
    from asof.client.responses import error_from

    found = msgspec.json.decode(body)
    found["reasons"] = {one["row"]: one["reason"] for one in found["reasons"]}
    behind = {view: error_from(one) for view, one in found.pop("behind").items()}
    at = found.pop("at")
    return Pushed(**found, at=None if at is None else datetime.fromisoformat(at), behind=behind)


def service_answer(body: bytes) -> Service:
    """Read the description of a service."""
    found = msgspec.json.decode(body, type=_Described)
    spec = found.spec
    return Service(found.name, found.version, spec.features, found.versions, spec.description, spec.owner)


def _asked(found: Any) -> Any:
    if found is None:
        raise InputError(
            "Statuses, event times and versions were not asked for",
            fix="Read with metadata=True, which costs a little.",
        )
    return found


@lru_cache(maxsize=1024)
def _readers(types: tuple[str, ...]) -> tuple[tuple[int, Callable[[Any], Any]], ...]:
    found = ((position, reader(dtype)) for position, dtype in enumerate(types))
    return tuple((position, read) for position, read in found if read is not None)


def reader(dtype: str) -> Callable[[Any], Any] | None:
    """Return what makes a value of a type from its form in JSON; None where JSON holds the value itself."""
    if dtype in INTEGERS or dtype in ("string", "bool"):
        return None
    if dtype in FLOATS:
        return _float if dtype == "float64" else _float32
    if dtype in _SIMPLE:
        return _SIMPLE[dtype]
    if is_decimal(dtype):
        return Decimal
    kind, _, inner = dtype[:-1].partition("<")
    if kind == "map":
        return _map_reader(*inner.split(", ", 1))
    item = reader(inner.rpartition(",")[0] if kind == "vector" else inner)
    if item is None:
        return None
    return lambda values: [None if value is None else item(value) for value in values]


def _map_reader(key: str, value: str) -> Callable[[Any], Any]:
    read_key, read = _KEYS.get(key) or reader(key) or str, reader(value) or (lambda one: one)
    return lambda entries: {read_key(k): None if v is None else read(v) for k, v in entries.items()}


def _float(value: Any) -> Any:
    return _INFINITY[value] if type(value) is str else value


def _float32(value: Any) -> Any:
    """Return the float that 32 bits hold: JSON has the shortest text for it, which 64 bits read as another one."""
    found: float = _SINGLE.unpack(_SINGLE.pack(_float(value)))[0]
    return found


_SINGLE = struct.Struct("f")
_SIMPLE: dict[str, Callable[[Any], Any]] = {
    "timestamp": datetime.fromisoformat,
    "date": date.fromisoformat,
    "time": time.fromisoformat,
    "duration": lambda us: timedelta(microseconds=us),
    "binary": base64.b64decode,
}
_KEYS: dict[str, Callable[[str], Any]] = {
    **dict.fromkeys(INTEGERS, int),
    "bool": lambda text: text == "true",
}

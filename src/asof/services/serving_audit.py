"""Compares what was served with what training would see at the same instants, bit for bit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt

from asof.services.serving_rows import AT, OWN, REQUEST_ID, ROW

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from asof.services.serving_log import ServingLog

STATUS = "__status"
_EXAMPLES = 5
_PYTHON = {"float": np.uint32, "double": np.uint64, "halffloat": np.uint16}


@dataclass(frozen=True)
class ComparedFeature:
    """One feature of one service version.

    Attributes:
        equal: Rows whose value is the same, bit for bit, null included.
        stale: Rows whose value is another one, and which were served as `stale`: the reader was told.
        different: All other rows.
        examples: Of different ones: request id, row, instant, served and trained value.
    """

    service: str
    feature: str
    equal: int
    stale: int
    different: int
    examples: tuple[dict[str, Any], ...] = ()


@dataclass(frozen=True)
class ServingComparison:
    """What `compare_serving` found.

    Attributes:
        rows: How many served rows were compared.
        features: Per service version and feature.
    """

    rows: int
    features: tuple[ComparedFeature, ...]

    @property
    def different(self) -> int:
        """How many values differ that were not served as stale."""
        return sum(one.different for one in self.features)


def compare_versions(
    log: ServingLog,
    service: str,
    since_us: int | None,
    until_us: int | None,
    limit: int | None,
    train: Callable[[str], Callable[[pa.Table, str], pa.Table]],
) -> ServingComparison:
    """Compare what every logged version of a service answered with what training makes of it.

    Args:
        limit: At most as many rows of each version, the newest.
        train: Returns for a version, as "fraud@2", what `compare` takes.

    Raises:
        NotFoundError: the log has nothing of that service.
    """
    versions = sorted({(one.service, one.version) for one in log.files(service, since_us, until_us)})
    if not versions:
        log.read(service)  # which says so, unless there is nothing at that time only
    rows, found = 0, []
    for name, version in versions:
        key = f"{name}@{version}"
        logged = log.read(key, since_us, until_us)
        if limit is not None:
            logged = logged.slice(max(len(logged) - limit, 0))
        if len(logged):
            rows += len(logged)
            found += compare(key, logged, train(key))
    return ServingComparison(rows, tuple(found))


def spine_of(logged: pa.Table, features: Sequence[str]) -> pa.Table:
    """Return the spine that asks for the same as the logged rows did: keys, inputs and instants, in their order.

    A request input that no row brought is left out, so that its default counts, as it did.
    """
    served = {*OWN, *features, *(feature + STATUS for feature in features)}
    names = [name for name in logged.column_names if name not in served]
    asked = [name for name in names if logged.column(name).null_count < len(logged)]
    return logged.select([*asked, AT])


def compare(service: str, logged: pa.Table, train: Callable[[pa.Table, str], pa.Table]) -> list[ComparedFeature]:
    """Compare the logged rows of one service version with what `train` makes of their spine.

    Args:
        train: Called with the spine and its column of instants; returns the spine's rows with the features.
    """
    features = [name.removesuffix(STATUS) for name in logged.column_names if name.endswith(STATUS)]
    trained = train(spine_of(logged, features), AT)
    return [_compared(service, feature, logged, trained.column(feature)) for feature in features]


def _compared(service: str, feature: str, logged: pa.Table, trained: pa.ChunkedArray) -> ComparedFeature:
    served = logged.column(feature).combine_chunks()
    other = trained.combine_chunks()
    same = _same(served, other)
    stale = pc.equal(logged.column(feature + STATUS), "stale").to_numpy(zero_copy_only=False)
    different = np.flatnonzero(~same & ~stale)
    examples = tuple(
        {
            "request_id": logged.column(REQUEST_ID)[row].as_py(),
            "row": logged.column(ROW)[row].as_py(),
            "at": logged.column(AT)[row].as_py(),
            "served": served[row].as_py(),
            "trained": other[row].as_py(),
        }
        for row in different[:_EXAMPLES].tolist()
    )
    return ComparedFeature(service, feature, int(same.sum()), int((~same & stale).sum()), len(different), examples)


def _same(one: pa.Array, other: pa.Array) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Return per row whether both are null, or the same bits."""
    if one.type != other.type or pt.is_nested(one.type):
        # repr tells -0.0 from 0.0 and finds NaN equal to itself
        return np.array([repr(a) == repr(b) for a, b in zip(one.to_pylist(), other.to_pylist(), strict=True)], bool)
    bits = _PYTHON.get(str(one.type))
    if bits is not None:
        left, right = (_bits(array, bits) for array in (one, other))
        equal = left == right
    else:
        equal = pc.fill_null(pc.equal(one, other), False).to_numpy(zero_copy_only=False)
    nulls = [array.is_null().to_numpy(zero_copy_only=False) for array in (one, other)]
    both: np.ndarray[Any, np.dtype[np.bool_]] = (equal & ~nulls[0] & ~nulls[1]) | (nulls[0] & nulls[1])
    return both


def _bits(array: pa.Array, bits: Any) -> Any:
    return pc.fill_null(array, 0.0).to_numpy(zero_copy_only=False).view(bits)

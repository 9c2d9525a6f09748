"""What a service does about missing values in an online read: blocks of treated values, indicators and refusals."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import pyarrow as pa

from asof import _native, dtypes
from asof.definitions.missing import INDICATOR
from asof.kernel.programs import compile_events, compile_states, stored_error, value_error
from asof.plan.specs import column_name
from asof.services.history import STATUS_NAMES
from asof.services.missing import SHOWN, defaults_of, label, missing_value

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from asof.plan.on_demand import OnDemandRead
    from asof.plan.selected import SelectedFeature
    from asof.plan.selection import Selection, ViewGroup
    from asof.plan.specs import FeatureSpec, ViewSpec

    Pick = tuple[int, int]
    Values = Sequence[bytes | None]

_PRESENT = 0


class OnlineMissing:
    """The treatments of one read plan, compiled. It adds blocks after the others, which answers do not name.

    Attributes:
        picks: Block and position of every column that comes from these blocks.
        names: The names of the blocks.
        indicators: The columns that another one follows which tells whether they have no value.
        required: The columns that are refused where they have no value.
    """

    def __init__(self, selection: Selection, views: Mapping[str, int], picks: Mapping[str, Pick], first: int) -> None:
        """Compile what a selection treats.

        Args:
            selection: The features that are read.
            views: The positions of the stored views' blocks, by their group's key.
            picks: Block and position of every feature before any treatment.
            first: The number of blocks before those that this makes.
        """
        self.picks: dict[str, Pick] = {}
        self._first = first
        self._read: list[tuple[int, ViewSpec, Any]] = []
        groups = {group.key: group for group in selection.groups()}
        for key, limit_us in dict.fromkeys((i.group, _limit(i)) for i in selection.items if i.read is not i.feature):
            treated = [
                i for i in selection.items if i.read is not i.feature and (i.group, _limit(i)) == (key, limit_us)
            ]
            for item in treated:
                self.picks[item.column] = (first + len(self._read), item.view.features.index(item.feature))
            self._read.append((views[key], groups[key].view, _reader(groups[key], treated, limit_us)))
        self._computed = _Computed.of(selection.on_demand, picks, first + len(self._read))
        count = first + len(self._read)
        if self._computed is not None:
            self.picks |= self._computed.picks
            count += 1
        where = {**picks, **self.picks}
        stored = [(item.column, item.missing, label(item)) for item in selection.items]
        computed = selection.on_demand.missing.items() if selection.on_demand is not None else ()
        stored += [(column, how, column.replace("__", ":", 1)) for column, how in computed]
        self.indicators = tuple(column for column, how, _ in stored if how is not None and how.indicator)
        self.required = frozenset(column for column, how, _ in stored if how is not None and how.error)
        # What a default replaced has the status null in the block of the default, too.
        self._indicated = [(column, where[column]) for column, how, _ in stored if how is not None and how.indicator]
        self._refused = [(name, where[column]) for column, how, name in stored if how is not None and how.error]
        self.picks |= {column + INDICATOR: (count, place) for place, (column, _) in enumerate(self._indicated)}
        count += bool(self._indicated)
        self.names = [f" {number}" for number in range(first, count)]

    @classmethod
    def of(
        cls, selection: Selection, views: Mapping[str, int], picks: Mapping[str, Pick], first: int
    ) -> OnlineMissing | None:
        """Return what a selection treats, or None where it treats nothing."""
        computed = selection.on_demand is not None and selection.on_demand.missing
        if not computed and all(item.missing is None for item in selection.items):
            return None
        return cls(selection, views, picks, first)

    def blocks(
        self, values: Sequence[Values], blocks: Sequence[_native.Block], instant_us: int, keys: Callable[[int], str]
    ) -> list[_native.Block]:
        """Return the blocks to add.

        Args:
            values: The stored values of every view.
            blocks: All blocks before these.
            instant_us: The instant of the read.
            keys: Returns the keys of a row in words.

        Raises:
            MissingValueError: a feature is not present although the service says that it must be.
            FeatureValueError: an integer sum beyond 64 bits.
        """
        every = list(blocks)
        for position, view, read in self._read:
            try:
                every.append(read(values[position], instant_us))
            except OverflowError as error:
                raise value_error(view, error) from error
            except ValueError as error:
                raise stored_error(view, error) from error
        if self._computed is not None:
            every.append(self._computed.block(every, instant_us))
        statuses: dict[int, pa.RecordBatch] = {}

        def codes(pick: Pick) -> np.ndarray[Any, np.dtype[np.uint8]]:
            if pick[0] not in statuses:
                statuses[pick[0]] = every[pick[0]].statuses()
            found: np.ndarray[Any, np.dtype[np.uint8]] = statuses[pick[0]].column(pick[1]).to_numpy()
            return found

        for name, pick in self._refused:
            _refuse(name, codes(pick), keys)
        if self._indicated:
            columns = [pa.array(codes(pick) != _PRESENT) for _, pick in self._indicated]
            batch = pa.RecordBatch.from_arrays(columns, names=[name for name, _ in self._indicated])
            every.append(_native.Block.from_arrow(batch))
        return every[len(blocks) :]

    def blocks_of(self, view: int) -> list[int]:
        """Return the positions of those added blocks that show values of the view at a position."""
        return [self._first + i for i, (position, _, _) in enumerate(self._read) if position == view]

    def without_blocks(self, answer: bytes) -> bytes:
        """Return a JSON answer with metadata, without the event times of these blocks."""
        hidden = set(self.names)
        body = msgspec.json.decode(answer, type=dict[str, msgspec.Raw])
        results = msgspec.json.decode(body["results"], type=list[dict[str, msgspec.Raw]])
        for result in results:
            times = msgspec.json.decode(result["event_times"], type=dict[str, msgspec.Raw])
            shown = {name: time for name, time in times.items() if name not in hidden}
            result["event_times"] = msgspec.Raw(msgspec.json.encode(shown))
        return msgspec.json.encode({**body, "results": results})


class _Computed:
    """The computed columns with defaults of a service's own, in a block that keeps their statuses."""

    def __init__(self, columns: Mapping[str, Pick], defaults: pa.RecordBatch, block: int) -> None:
        self.picks = {name: (block, position) for position, name in enumerate(columns)}
        self._columns = dict(columns)
        self._plan = _native.RowPlan(defaults.schema, None, defaults)

    @classmethod
    def of(cls, read: OnDemandRead | None, picks: Mapping[str, Pick], block: int) -> _Computed | None:
        if read is None:
            return None
        types = {
            name: dtypes.to_arrow(feature.dtype)
            for view in read.views
            for feature in view.features
            if (name := column_name(view.name, feature.name)) in read.missing
        }
        filled = {name: how for name, how in read.missing.items() if how.default not in (None, msgspec.UNSET)}
        if not filled:
            return None
        defaults = defaults_of(filled, {name: types[name] for name in filled})
        return cls({name: picks[name] for name in filled}, defaults, block)

    def block(self, blocks: Sequence[_native.Block], instant_us: int) -> _native.Block:
        arrays = [blocks[block].to_arrow().column(position) for block, position in self._columns.values()]
        batch = pa.RecordBatch.from_arrays(arrays, names=list(self._columns))
        rows = batch.num_rows
        # Packed as the newest row of an entity per row, nulls get their defaults as everywhere.
        codes, times = pa.array(np.arange(rows, dtype=np.int32)), pa.array(np.full(rows, instant_us, np.int64))
        packed = self._plan.build(codes, times, None, None, batch, rows, instant_us)
        return self._plan.read(packed.to_pylist(), instant_us)


def _limit(item: SelectedFeature) -> int | None:
    return None if item.missing is None else item.missing.limit_us


def _reader(group: ViewGroup, treated: Sequence[SelectedFeature], limit_us: int | None) -> Any:
    """Return the read of a view's stored values with the defaults of some features, and a limit of age, replaced."""
    replaced = {item.feature.name: item.read.default for item in treated}
    features = [_with_default(one, replaced) for one in group.view.features]
    if group.view.kind == "state":
        ttls = [us for us in (group.view.ttl_us, limit_us) if us is not None]
        view = msgspec.structs.replace(group.view, ttl_us=min(ttls, default=None))
        return compile_states(view, features).plan.read
    program = compile_events(group.view, features)
    chosen = [position for position, one in enumerate(group.view.features) if one.name in replaced]
    return program.plan.reader(program.defaults, chosen).read


def _with_default(feature: FeatureSpec, replaced: Mapping[str, Any]) -> FeatureSpec:
    if feature.name not in replaced:
        return feature
    return msgspec.structs.replace(feature, default=replaced[feature.name])


def _refuse(feature: str, codes: np.ndarray[Any, np.dtype[np.uint8]], keys: Callable[[int], str]) -> None:
    rows = np.flatnonzero(codes != _PRESENT)
    if len(rows):
        shown = [f"{keys(int(row))}: {STATUS_NAMES[codes[row]]}" for row in rows[:SHOWN]]
        raise missing_value(feature, shown, len(rows), f"{len(codes)} keys")

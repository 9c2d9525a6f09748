"""Online reads: a service or feature list compiled once, then one multi-get and one vectorised merge per request."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec

from asof import _native
from asof.clock import FIRST_US, from_us, iso
from asof.definitions.services import LATEST, check_consistency
from asof.errors import CorruptDataError, NotMaterializedError, StoreError
from asof.interfaces.online import Generation, ViewKey, ViewRead
from asof.kernel.programs import compile_events, compile_states, stored_error, value_error
from asof.plan.masks import without_treatments
from asof.services.consistency import no_snapshot_yet, until_exact
from asof.services.freshness import exact_instant, is_stale, lacking, snapshot_instant
from asof.services.missing import refuse_status_names
from asof.services.online_errors import not_materialized, not_names
from asof.services.online_keys import as_columns, encode_keys, in_words, normalise
from asof.services.online_lookups import compile_lookups, settled
from asof.services.online_masks import OnlineMasks
from asof.services.online_missing import OnlineMissing
from asof.services.online_on_demand import OnlineProgram
from asof.services.partial import PartialAnswer, Parts, described, error_block, partial_answer
from asof.services.regress import Seen
from asof.services.request import from_request
from asof.services.watch import watched

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    import pyarrow as pa

    from asof.clock import Clock
    from asof.definitions.services import Consistency
    from asof.interfaces import ExpressionEngine, OnlineStore
    from asof.interfaces.online import Read, Requests, ViewRead
    from asof.plan.selection import ViewGroup
    from asof.plan.specs import RequestSpec, ServiceSpec, ViewSpec
    from asof.services.catalog import Catalog
    from asof.services.functions import FunctionLoader
    from asof.services.online_keys import Keys
    from asof.services.online_lookups import LookupProgram
    from asof.services.partial import Failure
    from asof.services.request import Request

    Given = tuple[int, dict[str, pa.Array | None]]

_MAX_PLANS = 1024


@dataclass(frozen=True)
class _ViewPlan:
    """One view of a read, once per role: where its values are, which keys it takes, and what decodes it.

    Attributes:
        entity: Which of the plan's sets of keys; None where keys are looked up.
    """

    name: str
    view: ViewSpec
    key: ViewKey
    entity: int | None
    read: Any


@dataclass(frozen=True)
class ReadPlan:
    """A service or feature list, compiled against one registry revision.

    Attributes:
        views: In order of first use; each is read once per role, with all its features.
        entities: Per distinct set of keys the columns of the request that hold them, and their types.
        binary_keys: The join keys of type binary, which JSON cannot hold as they are.
        head: How every JSON answer begins.
        shape: The answer's: which feature of which view every output column is.
        parts: What an answer looks like where views failed.
        on_demand: What is computed from the views' blocks, or None.
        lookups: Which views' keys are found in other views' blocks, or None.
        missing: What is done about missing values besides what views do, or None.
        masks: Which columns are not shown, or None.
        columns: The answer's columns.
        dtypes: Their types, as JSON that begins the rest of an answer.
    """

    service: ServiceSpec | None
    views: tuple[_ViewPlan, ...]
    entities: tuple[tuple[tuple[str, ...], list[str]], ...]
    key_names: frozenset[str]
    binary_keys: frozenset[str]
    head: bytes
    shape: _native.AnswerPlan
    parts: PartialAnswer
    on_demand: OnlineProgram | None = None
    lookups: LookupProgram | None = None
    missing: OnlineMissing | None = None
    masks: OnlineMasks | None = None
    columns: tuple[str, ...] = ()
    dtypes: bytes = b""

    @property
    def consistency(self) -> Consistency:
        """What the service asks for; of a list of features it is the latest values."""
        return LATEST if self.service is None else self.service.consistency

    @property
    def request(self) -> Mapping[str, RequestSpec]:
        """The request inputs that the read takes, by name."""
        return {} if self.on_demand is None else self.on_demand.fields


@dataclass(frozen=True)
class _Fetched:
    """What one read found in the store, values and blocks by view; without blocks where a snapshot is not exact."""

    now_us: int
    instant_us: int
    generations: list[Generation | None]
    values: list[Sequence[bytes | None]]
    blocks: list[_native.Block]
    exact: bool = True
    failed: Mapping[int, Failure] = field(default_factory=dict)


class OnlineFeatures:
    """The features of some keys at one instant, in the keys' order, with why a value is what it is.

    Attributes:
        at: The instant of the read.
        versions: Per view, or `role__view`, with `@version` where several versions are read: its version, its
            generation, and the instant it was materialized at.
        age_us: Where the values are remembered from an earlier read: how long ago that was; else None.
        failures: Per view, named likewise, why it could not be read; {} unless a partial answer was allowed.
    """

    age_us: int | None = None

    def __init__(
        self,
        answer: _native.Answer,
        plan: ReadPlan,
        generations: Sequence[Generation | None],
        at_us: int,
        failed: Mapping[int, Failure],
    ) -> None:
        """Wrap a native answer; made by `OnlineReader`."""
        self.failures = {plan.views[position].name: error for position, error in sorted(failed.items())}
        self._answer = answer
        self._plan = plan
        self._generations = generations
        self._at_us = at_us

    @property
    def at(self) -> datetime:
        """The instant of the read, UTC."""
        return from_us(self._at_us)

    @property
    def at_us(self) -> int:
        """The same in microseconds since the epoch."""
        return self._at_us

    @property
    def service(self) -> str | None:
        """The service that was read, with its version: fraud@2; None where features were listed."""
        return None if self._plan.service is None else self._plan.service.key

    @property
    def versions(self) -> dict[str, dict[str, Any]]:
        """Per view, or `role__view`: version, generation, and the instant that the generation shows.

        Of a view that could not be read, generation and instant are None.
        """
        return {
            plan.name: {
                "version": plan.view.version,
                "generation": None if generation is None else generation.number,
                "instant": None if generation is None else from_us(generation.instant_us),
            }
            for plan, generation in zip(self._plan.views, self._generations, strict=True)
        }

    @property
    def statuses(self) -> dict[str, list[str]]:
        """Per feature column, one status per key: present, null, missing, expired, stale, masked or error."""
        statuses: dict[str, list[str]] = self._answer.statuses()
        return statuses if self._plan.masks is None else self._plan.masks.statuses(statuses)

    @property
    def event_times(self) -> dict[str, list[datetime | None]]:
        """Per view, or `role__view`, one time per key: of the row or the newest event counted; None for neither."""
        times = self._answer.event_times()
        hidden = self._plan.masks.hidden if self._plan.masks is not None else ()
        return {
            plan.name: [None] * len(times[position]) if plan.name in hidden else times[position]
            for position, plan in enumerate(self._plan.views)
        }

    def to_dict(self) -> dict[str, list[Any]]:
        """Return per feature column one Python value per key."""
        values: dict[str, list[Any]] = self._answer.to_dict()
        return values

    def to_arrow(self, *, statuses: bool = False) -> pa.RecordBatch:
        """Return one row per key; with `statuses`, a column `<feature>__status` after each feature's.

        Raises:
            InputError: a feature is named as the statuses of another would be.
        """
        if statuses:
            refuse_status_names(self._plan.columns)
        batch = self._answer.to_arrow(statuses)
        return self._plan.masks.arrow(batch) if statuses and self._plan.masks is not None else batch

    def to_pandas(self) -> Any:
        """Return a pandas DataFrame, one row per key."""
        return self.to_arrow().to_pandas()

    def to_json(self, *, metadata: bool = False, types: bool = False) -> bytes:
        """Return the HTTP answer; `metadata` adds statuses, event times and versions, `types` the dtypes."""
        head = self._head(metadata)
        if types:
            head += self._plan.dtypes
        answer = self._answer.to_json(head, metadata)
        if metadata and self._plan.missing is not None:
            answer = self._plan.missing.without_blocks(answer)
        return self._plan.masks.json(answer) if metadata and self._plan.masks is not None else answer

    def head_json(self) -> bytes:
        """Return the service, the instant and the views' versions, as a JSON object."""
        return self._head(True)[:-1] + b"}"

    def _head(self, versions: bool) -> bytes:
        head = b'%s"at":"%s",' % (self._plan.head, iso(self._at_us).encode())
        if self.failures:
            head += b'"errors":%s,' % msgspec.json.encode({name: described(e) for name, e in self.failures.items()})
        if not versions:
            return head
        views = {
            name: {**version, "instant": None if generation is None else iso(generation.instant_us)}
            for (name, version), generation in zip(self.versions.items(), self._generations, strict=True)
        }
        head += b'"views":%s,' % msgspec.json.encode(views)
        return head if self.age_us is None else head + b'"cached":true,"age_ms":%d,' % (self.age_us // 1000)


@dataclass(frozen=True)
class PreparedRead:
    """A read that waits for what the store holds.

    Attributes:
        requests: What to ask the store for, in one read.
        finish: Makes the answer of what it returned; raises as `OnlineReader.read` does. Where that was not asked just
            now but is remembered from an earlier instant, which is then given, it is the answer as of that instant.
    """

    requests: Requests
    finish: Callable[[list[ViewRead], int | None], OnlineFeatures]


class OnlineReader:
    """Reads features of one project from one online store, as of one revision of its registry."""

    def __init__(
        self,
        catalog: Catalog,
        store: OnlineStore,
        *,
        project: str,
        clock: Clock,
        functions: FunctionLoader,
        expressions: ExpressionEngine,
    ) -> None:
        """Serve what `catalog` names; plans are compiled, and their functions loaded, on first use and kept."""
        self._catalog = catalog
        self._store = store
        self._project = project
        self._clock = clock
        self._functions = functions
        self._expressions = expressions
        self._plans: dict[Any, ReadPlan] = {}
        self._seen = Seen()

    @property
    def catalog(self) -> Catalog:
        """The revision that it reads as of."""
        return self._catalog

    def plan(self, features: str | Sequence[str], masked: frozenset[str] = frozenset()) -> ReadPlan:
        """Return the compiled read of a service or a list of feature references, with columns that are not shown.

        Raises:
            NotFoundError: no such service, view, version or feature.
            InputError: `features` are not names.
        """
        try:
            name: Any = features if isinstance(features, str) else tuple(features)
            if masked:
                name = (name, masked)
            plan = self._plans.get(name)
        except TypeError as error:
            raise not_names(features) from error
        if plan is None:
            if len(self._plans) >= _MAX_PLANS:  # feature lists come from requests, so their number has no bound
                self._plans.clear()
            plan = self._plans[name] = self._compile(features, masked)
        return plan

    def read(
        self,
        features: str | Sequence[str],
        keys: Keys,
        at_us: int | None = None,
        request: Request | None = None,
        *,
        consistency: Consistency | None = None,
        masked: frozenset[str] = frozenset(),
        partial: bool = False,
    ) -> OnlineFeatures:
        """Return the features of every key.

        Args:
            features: A service ("fraud", "fraud@2") or references ("spend:count_1h").
            keys: Per join key a sequence of values, all of one length, or one mapping per entity. {} where no
                view has join keys: one row.
            at_us: The instant of the read; windows age with it. Default: the clock, or the newest instant
                materialized where the clock is behind it.
            request: The inputs of on-demand views that come with the request: per field one value per key.
            consistency: "latest" or "snapshot". Default: the service's.
            masked: Output columns whose values are not shown.
            partial: Whether to answer although views cannot be read: what depends on them is null, with status `error`.

        Raises:
            InputError: keys or request inputs missing, unknown, of different lengths or of the wrong type; or a
                snapshot of the future.
            NotMaterializedError: a view has no generation, or only one of a later instant than `at_us`.
            SnapshotUnavailableError: for a while there was no instant at which all views are exact.
            StoreError: the store fails, and the answer may not be partial or the service requires what failed.
            CorruptDataError: stored values are damaged or gone, likewise.
            FeatureValueError: an integer sum beyond 64 bits, or a user's function fails.
            MissingValueError: a feature has no value although the service says that it must have one.
        """
        plan = self.plan(features, masked)
        encoded, given = self._inputs(plan, keys, request)
        exact = check_consistency(consistency or plan.consistency) != LATEST

        def fetch() -> _Fetched:
            try:
                return settled(
                    self._store,
                    lambda: self._fetching(plan, encoded, keys, at_us, exact, partial=partial),
                    steps=plan.lookups is not None,
                )
            except StoreError as error:
                if not partial:
                    raise
                return self._nothing(plan, len(encoded[0]), at_us, error)

        return self._answer(plan, keys, given, until_exact(fetch) if exact else fetch())

    def prepare(
        self,
        features: str | Sequence[str],
        keys: Keys,
        at_us: int | None = None,
        request: Request | None = None,
        *,
        masked: frozenset[str] = frozenset(),
    ) -> PreparedRead:
        """Return a read of the latest values that somebody else asks the store for, as together with other reads.

        The arguments and the errors are those of `read`. One question to the store has to be enough: not where keys
        are looked up.
        """
        plan = self.plan(features, masked)
        encoded, given = self._inputs(plan, keys, request)
        fetch = self._fetching(plan, encoded, keys, at_us, exact=False, asks=False)

        def finish(reads: list[ViewRead], remembered_us: int | None) -> OnlineFeatures:
            fetching = fetch
            if remembered_us is not None:
                fetching = self._fetching(
                    plan, encoded, keys, None, exact=False, remembered_us=remembered_us, asks=False
                )
            fetched = fetching(lambda _: reads)
            assert fetched is not None  # noqa: S101 - only reads with lookups find nothing
            answer = self._answer(plan, keys, given, fetched)
            if remembered_us is not None:
                answer.age_us = max(fetched.now_us - remembered_us, 0)
            return answer

        return PreparedRead(_requests(plan, encoded), finish)

    @staticmethod
    def _inputs(plan: ReadPlan, keys: Keys, request: Request | None) -> tuple[list[list[bytes | None]], Given | None]:
        encoded = encode_keys(plan, keys)
        given = None
        if plan.on_demand is not None:
            given = plan.on_demand.given(request, len(encoded[0]) if encoded else None)
        elif request:
            from_request(request, {}, None)
        return encoded, given

    @staticmethod
    def _answer(plan: ReadPlan, keys: Keys, given: Given | None, fetched: _Fetched) -> OnlineFeatures:
        instant, generations, blocks = fetched.instant_us, fetched.generations, fetched.blocks
        broken, failed = frozenset[str](), fetched.failed
        if plan.on_demand is not None and given is not None:
            broken = plan.on_demand.depending(failed) if failed else broken
            blocks += plan.on_demand.blocks(blocks, given, instant, broken)
        unknown = plan.parts.columns(failed, broken) if failed else set[str]()
        if plan.missing is not None:
            blocks += plan.missing.blocks(fetched.values, blocks, instant, lambda row: in_words(plan, keys, row))
        behind = lacking([view.view for view in plan.views], generations) if len(generations) > 1 else ()
        for position, (view, generation) in enumerate(zip(plan.views, generations, strict=True)):
            if position in behind or is_stale(view.view, generation, max(fetched.now_us, instant), instant):
                for block in (position, *(plan.missing.blocks_of(position) if plan.missing is not None else ())):
                    blocks[block] = blocks[block].stale()
        if plan.masks is not None:
            blocks.append(plan.masks.block(len(blocks[0])))
        answer = plan.shape.answer(blocks)
        if failed:
            answer = plan.parts.answer(blocks, answer.to_arrow().schema, failed, unknown)
        return OnlineFeatures(answer, plan, generations, instant, failed)

    def _nothing(self, plan: ReadPlan, rows: int, at_us: int | None, error: StoreError) -> _Fetched:
        """Return what a read found of a store that failed as a whole."""
        now_us = self._clock.now_us() if at_us is None else at_us
        blocks = [_failed(view, rows, now_us) for view in plan.views]
        failed, values = dict.fromkeys(range(len(blocks)), error), [[None] * rows for _ in blocks]
        return _Fetched(now_us, now_us, [None] * len(blocks), [*values], blocks, failed=failed)

    def _fetching(
        self,
        plan: ReadPlan,
        encoded: Sequence[Sequence[bytes | None]],
        keys: Keys,
        at_us: int | None,
        exact: bool,
        *,
        partial: bool = False,
        remembered_us: int | None = None,
        asks: bool = True,
    ) -> Callable[[Read], _Fetched | None]:
        """Return what fetches all that is stored; it gives None where lookups came upon changes."""
        clock_us = self._clock.now_us()  # before the snapshot: see exact_instant
        now_us = clock_us if at_us is None else at_us
        if exact and now_us > clock_us:
            raise no_snapshot_yet(now_us, clock_us)
        stored = [view.key for view in plan.views]
        seen = self._seen.of(stored)

        def fetch(read: Read) -> _Fetched | None:
            parts = Parts(watched(read) if asks else read, partial=partial)
            reads = parts.read(_requests(plan, encoded))
            generations = _generations(plan, reads)
            if remembered_us is None:
                self._seen.check(stored, seen, generations, parts.fail)
            generations = [None if at in parts.failed else one for at, one in enumerate(generations)]
            known = [one for one in generations if one is not None]
            nothing: list[bytes | None] = [None] * len(encoded[0]) if encoded else []
            values = [nothing if found is None else found.values for found in reads]
            instant = self._instant(plan, generations, at_us, now_us if remembered_us is None else remembered_us)
            if exact:
                found_us = snapshot_instant(known, clock_us, _newest(known), at_us)
                if found_us is None:
                    return _Fetched(now_us, instant, generations, values, [], exact=False)
                instant = found_us
            blocks = [self._decoded(plan, at, found, instant, parts) for at, found in enumerate(values)]
            if plan.lookups is not None:
                columns = keys if isinstance(keys, dict) else as_columns(keys)

                def decoded(position: int, found: Sequence[bytes | None]) -> Any:
                    values[position] = found
                    return self._decoded(plan, position, found, instant, parts)

                def given(column: str, dtype: str) -> list[Any]:
                    return normalise(dtype, columns[column])

                if not plan.lookups.follow(parts, stored, generations, blocks, given, decoded):
                    return None
            for position in parts.failed:
                values[position], generations[position] = nothing, None
                blocks[position] = _failed(plan.views[position], len(nothing), instant)
            return _Fetched(now_us, instant, generations, values, blocks, failed=parts.failed)

        return fetch

    def _decoded(
        self, plan: ReadPlan, position: int, values: Sequence[bytes | None], instant_us: int, parts: Parts
    ) -> Any:
        view = plan.views[position]
        try:
            if position not in parts.failed:
                return _block(view, values, instant_us)
        except CorruptDataError as error:
            parts.fail(position, error)
        return _failed(view, len(values), instant_us)

    def _instant(self, plan: ReadPlan, found: Sequence[Generation | None], at_us: int | None, now_us: int) -> int:
        generations = [one for one in found if one is not None]
        newest = _newest(generations)
        if at_us is None:
            return exact_instant(generations, now_us, newest)
        if at_us < newest:
            late = next(v.view for v, g in zip(plan.views, found, strict=True) if g and g.instant_us == newest)
            raise NotMaterializedError(
                f"View {late.name!r} was materialized at {iso(newest)}, after the instant asked for, {iso(at_us)}",
                why="An online store forgets what it no longer needs to answer later reads",
                fix="Ask for that instant or a later one, or use get_historical_features for the past.",
            )
        return at_us

    def _compile(self, features: str | Sequence[str], masked: frozenset[str]) -> ReadPlan:
        if objects := [feature for feature in features if not isinstance(feature, str)]:
            raise not_names(objects[0])
        selection = without_treatments(self._catalog.select(features), masked)
        groups = selection.groups()
        called = [group.name for group in groups]
        blocks: dict[str, int] = {}
        entities: dict[tuple[tuple[str, ...], tuple[str, ...]], int] = {}
        plans: list[_ViewPlan] = []
        for group in groups:
            view = group.view
            name = group.name if called.count(group.name) == 1 else group.key  # of two versions, each with its own
            asked = tuple(group.asked_keys().values())
            position = None
            if asked or not group.lookups:  # beside lookups too, or nothing would check them
                found = tuple(column for column, _ in asked), tuple(dtype for _, dtype in asked)
                position = entities.setdefault(found, len(entities))
            blocks[group.key] = len(plans)
            plans.append(
                _ViewPlan(name, view, self._view_key(view), None if group.lookups else position, _reader(group))
            )
        picks = {item.column: (blocks[item.group], item.view.features.index(item.feature)) for item in selection.items}
        names, program = [plan.name for plan in plans], None
        if selection.on_demand is not None:
            program = OnlineProgram(selection.on_demand, self._functions, self._expressions, blocks)
            picks |= program.picks(len(names))
            names += program.names
        missing = OnlineMissing.of(selection, blocks, picks, len(names))
        if missing is not None:
            picks |= missing.picks
            names += missing.names
        masks = None
        if masked:
            named = [(group.key, plan.name) for group, plan in zip(groups, plans, strict=True)]
            masks = OnlineMasks(selection, masked, len(names), named)
            picks |= masks.picks
            names.append(masks.name)
        return ReadPlan(
            service=selection.service,
            views=tuple(plans),
            entities=tuple((names, list(dtypes)) for names, dtypes in entities),
            key_names=frozenset(name for names, _ in entities for name in names),
            binary_keys=frozenset(
                name for names, dtypes in entities for name, t in zip(names, dtypes, strict=True) if t == "binary"
            ),
            head=b"{"
            + (b'"service":%s,' % msgspec.json.encode(service.key) if (service := selection.service) else b""),
            shape=_native.AnswerPlan(names, [(*picks[name], name) for name in selection.columns()]),
            on_demand=program,
            lookups=compile_lookups(groups),
            missing=missing,
            masks=masks,
            columns=selection.columns(),
            dtypes=b'"types":%s,' % msgspec.json.encode(selection.dtypes()),
            parts=partial_answer(selection, blocks, names, picks, missing),
        )

    def _view_key(self, view: ViewSpec) -> ViewKey:
        return ViewKey(self._project, view.name, view.version)


def _requests(plan: ReadPlan, encoded: Sequence[Sequence[bytes | None]]) -> Requests:
    return [(view.key, () if view.entity is None else encoded[view.entity]) for view in plan.views]


def _generations(plan: ReadPlan, reads: Sequence[ViewRead | None]) -> list[Generation | None]:
    generations: list[Generation | None] = []
    for view, found in zip(plan.views, reads, strict=True):
        if found is not None and found.generation is None:
            raise not_materialized(view.view)
        generations.append(None if found is None else found.generation)
    return generations


def _newest(generations: Sequence[Generation]) -> int:
    return max((generation.instant_us for generation in generations), default=FIRST_US)


def _block(plan: _ViewPlan, values: Sequence[bytes | None], instant_us: int) -> Any:
    try:
        return plan.read(values, instant_us)
    except OverflowError as error:
        raise value_error(plan.view, error) from error
    except ValueError as error:
        raise stored_error(plan.view, error) from error


def _failed(plan: _ViewPlan, rows: int, instant_us: int) -> _native.Block:
    return error_block(plan.read([], instant_us).to_arrow().schema, rows)


def _reader(group: ViewGroup) -> Any:
    view = group.view
    if view.kind == "state":
        return compile_states(view, view.features).plan.read
    program = compile_events(view, view.features)
    read = {feature.name for feature in group.features}
    chosen = [position for position, feature in enumerate(view.features) if feature.name in read]
    return program.plan.reader(program.defaults, chosen).read

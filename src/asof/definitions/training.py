"""What a training set is made with: how its rows are split, and the label that looks forward from each of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, field
from datetime import datetime
from itertools import pairwise
from typing import TYPE_CHECKING, Literal, get_args

from asof.clock import parse_instant, to_us
from asof.definitions.names import check_name
from asof.durations import Duration, parse_duration
from asof.errors import DefinitionError

if TYPE_CHECKING:
    from collections.abc import Sequence

LabelAggregate = Literal["exists", "count", "sum", "mean", "min", "max", "first", "last"]
LABEL_AGGREGATES: tuple[str, ...] = get_args(LabelAggregate)
_NO_COLUMN = ("exists", "count")
_ROUNDING = 1e-9


def _fractions() -> dict[str, float]:
    return {"train": 0.8, "test": 0.2}


@dataclass(frozen=True)
class RandomSplit:
    """Each row on its own, by a hash of the seed and the row's number in the spine.

    A row keeps its split when rows are appended to the spine. Sizes are those of independent draws, not exact shares.

    Attributes:
        fractions: Share of rows per split, which sum to 1.
        seed: Another seed gives other splits.

    Raises:
        DefinitionError: fractions that are not positive or do not sum to 1.
    """

    fractions: Mapping[str, float] = field(default_factory=_fractions)
    _: KW_ONLY
    seed: int = 0

    def __post_init__(self) -> None:
        _check_fractions(self.fractions)
        _check_seed(self.seed)


@dataclass(frozen=True)
class GroupSplit:
    """All rows of a group together, by a hash of the seed and the group's value: no group is in two splits.

    Rows whose group is null are one group. Shares are of groups, so the rows of splits can differ from them.

    Attributes:
        column: The spine's column that names the group, as a customer.
        fractions: Share of groups per split, which sum to 1.
        seed: Another seed gives other splits.

    Raises:
        DefinitionError: no column, or fractions that are not positive or do not sum to 1.
    """

    column: str
    fractions: Mapping[str, float] = field(default_factory=_fractions)
    _: KW_ONLY
    seed: int = 0

    def __post_init__(self) -> None:
        if not isinstance(self.column, str) or not self.column:
            raise DefinitionError("A group split names no column", fix='Name one: GroupSplit("customer_id").')
        _check_fractions(self.fractions)
        _check_seed(self.seed)


@dataclass(frozen=True)
class TimeSplit:
    """Rows by their instant: before the first of `at`, from it on and before the second, and so on.

    A row at exactly an instant of `at` belongs to the later split.

    Attributes:
        at: Ascending datetimes or ISO 8601 texts; no zone means UTC.
        names: One more than instants. Default: train and test, or train, validation and test.
        at_us: The instants in microseconds since the epoch.

    Raises:
        DefinitionError: instants that are none or do not ascend, or names that do not fit them.
    """

    at: Sequence[datetime | str]
    names: Sequence[str] = ()
    at_us: tuple[int, ...] = field(init=False, default=())

    def __post_init__(self) -> None:
        given = [self.at] if isinstance(self.at, str | datetime) else list(self.at)
        try:
            instants = tuple(to_us(one) if isinstance(one, datetime) else parse_instant(one) for one in given)
        except (TypeError, ValueError) as error:
            raise DefinitionError(
                "A time split has an instant that is none", why=str(error), fix='Write "2013-06-01" or a datetime.'
            ) from error
        if not instants or any(a >= b for a, b in pairwise(instants)):
            raise DefinitionError("The instants of a time split do not ascend", fix="Give one or more, in order.")
        default = {1: ("train", "test"), 2: ("train", "validation", "test")}
        names = tuple(self.names) or default.get(len(instants), ())
        if len(names) != len(instants) + 1 or len(set(names)) < len(names):
            raise DefinitionError(
                f"A time split with {len(instants)} instants has {len(names)} names",
                fix="Give names=, each once, one more than instants.",
            )
        _check_names(names)
        object.__setattr__(self, "at", tuple(given))
        object.__setattr__(self, "names", names)
        object.__setattr__(self, "at_us", instants)


Split = RandomSplit | GroupSplit | TimeSplit


@dataclass(frozen=True)
class Label:
    """What happened after a row's instant t: an aggregate over a source's rows of the same key in (t, t + window].

    Labels look at the future on purpose, so a row is labelled only once its window is over and its outcome can be
    known: rows with t + window + maturity after the training set's creation are left out and counted. Of the source's
    rows those count that were known at the creation. Nulls are ignored. Without a row: exists is false, count is 0,
    everything else is null.

    Attributes:
        source: The name of an applied source.
        column: The source's column that is aggregated. Not for exists; count without one counts rows.
        window: How far ahead of t the label looks; a row at exactly t + window still counts, one at t does not.
        aggregate: exists, count, sum, mean, min, max, first or last. Default: exists, with a column last.
        where: SQL predicate; rows where it is not true do not count.
        maturity: How long after the window's end the outcome is known for sure. Default: at once.
        name: The output column.
        keys: Join keys to match on, or each one with the spine's column that holds it, as a role has it:
            {"airport": "dest"}. Default: those of the service's entity, if it has but one, found where the service's
            views find them; where that is in several roles, say which.
        columns: The spine's columns that hold `keys`, if they were given.

    Raises:
        DefinitionError: an unknown aggregate, a missing or needless column, a key in no column, or a wrong duration.
    """

    source: str
    column: str | None = None
    _: KW_ONLY
    window: Duration
    aggregate: LabelAggregate | None = None
    where: str | None = None
    maturity: Duration | None = None
    name: str = "label"
    keys: Sequence[str] | Mapping[str, str] = ()
    columns: tuple[str, ...] = field(init=False, default=())
    window_us: int = field(init=False, default=0)
    maturity_us: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        check_name("Label", self.name)
        if not isinstance(self.source, str):
            raise DefinitionError("A label's source is not a name", fix='Give the name of an applied source: "orders".')
        chosen = self.aggregate or ("exists" if self.column is None else "last")
        if chosen not in LABEL_AGGREGATES:
            raise DefinitionError(
                f"There is no label aggregate {chosen!r}", fix=f"Use one of {', '.join(LABEL_AGGREGATES)}."
            )
        if self.column is None and chosen not in _NO_COLUMN:
            raise DefinitionError(f"The label {self.name!r} is a {chosen} of no column", fix="Name the column.")
        if self.column is not None and chosen == "exists":
            raise DefinitionError(
                f"The label {self.name!r} asks whether rows exist, and names a column",
                fix='Drop the column; to ask for rows with a value, write where="column IS NOT NULL".',
            )
        object.__setattr__(self, "aggregate", chosen)
        if isinstance(self.keys, Mapping):
            object.__setattr__(self, "columns", tuple(self.keys.values()))
            if not all(isinstance(column, str) and column for column in self.columns):
                raise DefinitionError(
                    f"The label {self.name!r} finds a key in no column", fix='Name it: keys={"airport": "dest"}.'
                )
        object.__setattr__(self, "keys", (self.keys,) if isinstance(self.keys, str) else tuple(self.keys))
        object.__setattr__(self, "window_us", parse_duration(self.window, "Label window"))
        if self.maturity is not None:
            object.__setattr__(self, "maturity_us", parse_duration(self.maturity, "Label maturity", zero=True))


def _check_fractions(fractions: Mapping[str, float]) -> None:
    shares = list(fractions.values())
    if not shares or not all(share > 0 for share in shares) or abs(sum(shares) - 1) > _ROUNDING:
        raise DefinitionError(
            f"The fractions of a split are {dict(fractions)}", fix="Give positive ones that sum to 1."
        )
    _check_names(fractions)


def _check_names(names: Mapping[str, float] | Sequence[str]) -> None:
    for name in names:
        check_name("Split", name)


def _check_seed(seed: object) -> None:
    if not isinstance(seed, int) or isinstance(seed, bool) or not 0 <= seed < 2**63:
        raise DefinitionError(f"The seed of a split is {seed!r}", fix="Give a whole number from 0.")

"""What an expression of a repository stands for, as far as it can be told without running it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from asof.migrate.findings import Place

Value = Any
"""A constant, a timedelta, a path, or one of the classes below."""


@dataclass(frozen=True)
class Unknown:
    """What only running the code could tell.

    Attributes:
        place: Where it comes from.
        why: What stands in the way.
    """

    place: Place
    why: str


@dataclass(frozen=True)
class Name:
    """Something imported from elsewhere, by its dotted name."""

    dotted: str

    @property
    def last(self) -> str:
        """The name without what it is in."""
        return self.dotted.rpartition(".")[2]

    @property
    def of_feast(self) -> bool:
        """Whether Feast defines it."""
        return self.dotted.partition(".")[0] == "feast"


@dataclass(frozen=True)
class Code:
    """A function or class of the repository, which is not run.

    Attributes:
        uses_feast: Whether what it does may be a definition.
    """

    name: str
    place: Place
    uses_feast: bool


@dataclass(eq=False)
class Made:
    """A call of something of Feast's: an entity, a view, a field.

    Attributes:
        kind: Its class, as "FeatureView".
        arguments: By name.
        positional: The others.
        variable: The first name that it was bound to.
        function: The name of the function that was decorated, for views made from one.
    """

    kind: str
    place: Place
    arguments: dict[str, Value]
    positional: tuple[Value, ...] = ()
    variable: str | None = None
    function: str | None = None


@dataclass(frozen=True, eq=False)
class Projection:
    """Some features of a view, or all of them, maybe under another name, as a service lists them."""

    view: Made
    place: Place
    features: tuple[str, ...] | None = None
    alias: str | None = None
    keys: tuple[tuple[str, str], ...] = ()


class Items(list[Value]):
    """A list, and what changed it in a way that cannot be followed."""

    spoiled: Unknown | None = None


@dataclass
class Table:
    """A dict, and what changed it in a way that cannot be followed."""

    pairs: dict[Value, Value] = field(default_factory=dict)
    spoiled: Unknown | None = None

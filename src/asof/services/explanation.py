"""What an explanation of one value is, as data for people and programs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from datetime import datetime

    from asof.services.causes import Cause


@dataclass(frozen=True)
class ExplainedRow:
    """A source row of the key.

    Attributes:
        event_time: When it happened, UTC; None where the row is quarantined.
        available_at: When it could have been known.
        event_id: As text; None where the source has no ids.
        value: The feature's input; True where rows are counted.
        group: The secondary key whose entry of the map it is in; None where the feature is no map.
        retracted_at: When its retraction became known, None for never.
        known_online: Whether it was known when the online store's generation was written; None without one.
    """

    event_time: datetime | None
    available_at: datetime | None
    event_id: str | None
    value: Any
    retracted_at: datetime | None
    known_online: bool | None
    group: Any = None


@dataclass(frozen=True)
class Outside:
    """The rows of the key that the value does not rest on, for one cause; every row has exactly one.

    Attributes:
        detail: Of a quarantined row, why it was set apart; else "".
        rows: The newest of them.
    """

    cause: Cause
    detail: str
    count: int
    rows: tuple[ExplainedRow, ...]


@dataclass(frozen=True)
class Window:
    """Bounds of a window: from `start`, itself included (None: no start), up to but not including `end`, UTC."""

    start: datetime | None
    end: datetime


@dataclass(frozen=True)
class OfflineValue:
    """What history says.

    Attributes:
        value: After the default.
        status: present, null, missing or expired; "error" where the value cannot be represented.
        error: Why there is none; "" where there is one.
    """

    value: Any
    status: str
    error: str


@dataclass(frozen=True)
class Tile:
    """A part of an entity's stored state: some neighbouring events, folded together.

    Attributes:
        start: At or before its first event; the next tile begins after its last one.
        value: The feature, as of these events alone.
    """

    start: datetime
    value: Any


@dataclass(frozen=True)
class OnlineValue:
    """What the online store says.

    Attributes:
        value: After the default.
        status: As of `OfflineValue`; "unavailable" where the store has no answer for the instant.
        error: Why there is none; "" where there is one.
        code: The error's code, as "not_materialized"; "" where there is a value.
        generation: The number of the generation in the store, None where there is none.
        instant: What the generation shows is what was known then.
        size_bytes: Of the entity's whole stored value: its row, or the partial states of all windows of the view;
            None where the store has nothing of the entity.
        tiles: Of an event view: the partial states that the value is merged from, the newest first.
    """

    value: Any
    status: str
    error: str
    code: str
    generation: int | None
    instant: datetime | None
    size_bytes: int | None
    tiles: tuple[Tile, ...] = ()


@dataclass(frozen=True)
class Explanation:
    """Why a feature of one entity has its value at one instant.

    Attributes:
        feature: With its version, as "spend@3:amount_sum_30d".
        definition: In words.
        dtype: The value's type.
        column: The source's column that the rows' values are of; None where rows are counted.
        by: The secondary key's column; None where the feature is no map.
        kind: "event" or "state".
        keys: The entity, by join key, in the join keys' types.
        at: The instant, UTC.
        window: Of an event view; None for a state view.
        inside: How many rows the value rests on; of a state view 1 or 0.
        rows: The newest of them, newest first.
        outside: The other rows of the key by cause, in the order in which causes are looked for.
        agree: Whether value and status are the same, bit for bit; None where the online store has no answer.
    """

    feature: str
    definition: str
    dtype: str
    column: str | None
    kind: str
    keys: dict[str, Any]
    at: datetime
    window: Window | None
    inside: int
    rows: tuple[ExplainedRow, ...]
    outside: tuple[Outside, ...]
    offline: OfflineValue
    online: OnlineValue
    agree: bool | None
    by: str | None = None

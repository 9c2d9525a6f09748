"""Dead letters from what a batch had that could not be taken in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from asof.interfaces.deadletters import DeadLetter
from asof.services.json_rows import write

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from asof.services.ingest import Batch


@dataclass(frozen=True)
class Undecoded:
    """A message that is no row.

    Attributes:
        partition: Where it came from.
        position: Its position there.
        reason: Why it could not be decoded.
        value: Its bytes; None for a message without a value.
        sent_at_us: When it was sent, in microseconds; None where that is not known.
    """

    partition: str
    position: int
    reason: str
    value: bytes | None
    sent_at_us: int | None = None


def compose(
    batch: Batch, refused: Mapping[int, str], undecoded: Iterable[Undecoded], entry: int, received_at_us: int
) -> list[DeadLetter]:
    """Return the dead letters of a batch: its refused rows in order, then the messages that are no rows.

    Args:
        batch: The whole batch.
        refused: Why rows were refused, by their position in it.
        undecoded: Those of its messages without a row that were not kept before.
        entry: The number of the log entry to be.
        received_at_us: The present.
    """
    rows = sorted(refused)
    if batch.originals is not None:
        values = batch.originals(rows)
    else:
        values = [write(record) for record in batch.rows.take(rows).to_pylist()] if rows else []
    found: list[tuple[str, int | None, int | None, str, bytes | None]] = [
        (
            batch.counted if batch.partition is None else batch.partition[row].as_py(),
            None if batch.position is None else batch.position[row].as_py(),
            None if batch.sent_at_us is None else batch.sent_at_us[row].as_py(),
            refused[row],
            value,
        )
        for row, value in zip(rows, values, strict=True)
    ]
    found += [(one.partition, one.position, one.sent_at_us, one.reason, one.value) for one in undecoded]
    return [
        DeadLetter(f"{entry}-{number}", partition, position, sent_at_us, received_at_us, reason, value)
        for number, (partition, position, sent_at_us, reason, value) in enumerate(found)
    ]

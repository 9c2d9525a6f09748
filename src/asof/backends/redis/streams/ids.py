"""Entry ids of Redis as positions: milliseconds and a sequence number in one integer that sorts as they do."""

from __future__ import annotations

from asof.errors import StreamRefusedError

_SEQUENCE_BITS = 20
_MAX_SEQUENCE = (1 << _SEQUENCE_BITS) - 1
_MAX_MS = (1 << (63 - _SEQUENCE_BITS)) - 1


def to_position(entry_id: bytes) -> int:
    """Return the position of an id such as b"1700000000000-3".

    Raises:
        StreamRefusedError: more than 1,048,576 entries share a millisecond, or the milliseconds exceed 43 bits.
    """
    ms, _, sequence = entry_id.partition(b"-")
    at, number = int(ms), int(sequence)
    if number > _MAX_SEQUENCE or at > _MAX_MS:
        raise StreamRefusedError(
            f"The Redis entry {entry_id.decode()} has no position",
            why="A position has room for 43 bits of milliseconds and 20 bits of sequence number",
            fix="Let Redis number the entries: XADD key * value ….",
        )
    return at << _SEQUENCE_BITS | number


def to_id(position: int) -> str:
    """Return the id of a position."""
    return f"{position >> _SEQUENCE_BITS}-{position & _MAX_SEQUENCE}"


def sent_at_us(position: int) -> int:
    """Return when Redis took the entry: its id begins with that."""
    return (position >> _SEQUENCE_BITS) * 1000

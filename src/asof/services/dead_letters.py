"""What becomes of dead letters: they are counted, looked at, and taken in again, each once."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pyarrow as pa

from asof.errors import ConflictError, NotFoundError, UnsupportedOperationError
from asof.interfaces.deadletters import Replaying
from asof.plan.streams import stream_of
from asof.services import json_rows
from asof.services.ingest import PUSHED, Batch

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from asof.interfaces import Decoder
    from asof.interfaces.deadletters import DeadLetter, SourceDeadLetters
    from asof.interfaces.log import LogHead, SourceLog
    from asof.plan.specs import SourceSpec
    from asof.services.ingest import Ingestor

REPLAYED = "replay"
"""The partition of rows that were dead letters; its positions count them."""
_AT_ONCE = 10_000


@dataclass(frozen=True)
class DeadLetters:
    """The dead letters of a source.

    Attributes:
        total: How many there are.
        reasons: How many there are for each reason, the most frequent first.
        letters: The newest ones, newest first, without their values.
    """

    total: int
    reasons: Mapping[str, int]
    letters: Sequence[DeadLetter]


@dataclass(frozen=True)
class Replayed:
    """What became of dead letters that were to be taken in.

    Attributes:
        taken: How many rows are in the log now; their letters are gone.
        refused: Why each other one stays a dead letter, by its id.
    """

    taken: int = 0
    refused: Mapping[str, str] = field(default_factory=dict)


def list_letters(letters: SourceDeadLetters, log: SourceLog, limit: int) -> DeadLetters:
    """Return the newest dead letters, at most `limit` of them, and counts of all."""
    reasons: Counter[str] = Counter()
    shown: list[DeadLetter] = []
    for found in _batches(letters, log, values=False):
        reasons.update(one.reason for one in found)
        shown += found[::-1][: limit - len(shown)]
    return DeadLetters(reasons.total(), dict(reasons.most_common()), shown)


def find_letter(letters: SourceDeadLetters, log: SourceLog, source: str, name: str) -> DeadLetter:
    """Return the dead letter of an id.

    Raises:
        NotFoundError: there is none, or it was taken in.
    """
    return _chosen(letters, log, source, [name])[0]


def replay(
    ingestor: Ingestor,
    letters: SourceDeadLetters,
    ids: Collection[str] | None = None,
    decoder: Decoder | None = None,
) -> Replayed:
    """Decode dead letters again, as the source is defined now, take in what can be, and forget those.

    A letter counts once, whatever crashes when: the log takes rows and the count of replayed rows in one step, and by
    that the next replay knows whether the letters that one had begun with are in it.

    Args:
        ingestor: Takes the source's rows in.
        letters: Those of the source.
        ids: Which ones, oldest first whatever their order here. Default: all.
        decoder: Of the messages of the source's topic. Default: none, where they are JSON.

    Raises:
        NotFoundError: there is no dead letter of an id; nothing is done.
        UnsupportedOperationError: there are messages, and no decoder of their format.
        ConflictError: somebody else replays the same letters; what was taken until then stays taken.
        StoreError, StoreFullError: some were taken, all others are still there.
    """
    with ingestor.turn():
        head = ingestor.log.head()
        _settle(letters, head)
    work: Iterable[Sequence[DeadLetter]]
    if ids is None:  # an entry at a time; those that are written meanwhile are for the next replay
        work = (letters.read(entry) for entry in reversed(letters.entries(head.sequence)))
    else:
        work = [_chosen(letters, ingestor.log, ingestor.source.name, ids)]
    taken = 0
    refused: dict[str, str] = {}
    for found in work:
        for start in range(0, len(found), _AT_ONCE):
            done = _take_in(ingestor, letters, found[start : start + _AT_ONCE], decoder)
            taken += done.taken
            refused |= done.refused
    return Replayed(taken, refused)


def _take_in(
    ingestor: Ingestor, letters: SourceDeadLetters, found: Sequence[DeadLetter], decoder: Decoder | None
) -> Replayed:
    _require_decoder(ingestor.source, found, decoder)
    is_row = [decoder is None or one.partition == PUSHED for one in found]
    pushed = [one for one, yes in zip(found, is_row, strict=True) if yes]
    sent = [one for one, yes in zip(found, is_row, strict=True) if not yes]
    taken = 0
    refused: dict[str, str] = {}
    if pushed:
        records, failures = json_rows.parse(one.value for one in pushed)
        rows, failures = json_rows.columns_of(ingestor.source, records, failures)
        done = _take_in_rows(ingestor, letters, pushed, rows, failures)
        taken += done.taken
        refused |= done.refused
    if sent and decoder is not None:
        decoded = decoder.decode(pa.array([one.value for one in sent], pa.binary()))
        refused |= {sent[at].id: reason for at, reason in decoded.failures.items()}
        done = _take_in_rows(ingestor, letters, [sent[at] for at in decoded.index.to_pylist()], decoded.rows, {})
        taken += done.taken
        refused |= done.refused
    return Replayed(taken, refused)


def _take_in_rows(
    ingestor: Ingestor,
    letters: SourceDeadLetters,
    found: Sequence[DeadLetter],
    rows: pa.Table,
    known: Mapping[int, str],
) -> Replayed:
    """Take in a row per letter, but for those that are known to be refused."""

    def note(head: LogHead, refused: Mapping[int, str]) -> int:
        if letters.replaying() is not None or not _all_there(letters, found):
            raise ConflictError(
                f"Dead letters of {ingestor.source.name!r} were replayed by somebody else meanwhile", fix="Try again."
            )
        letters.keep(head.sequence + 1, [])  # what a try that was cut off left for this entry
        ids = tuple(one.id for row, one in enumerate(found) if row not in refused)
        if ids:
            letters.begin_replay(Replaying(head.positions.get(REPLAYED, 0) + len(ids), ids))
        return 0

    done = ingestor.take_in(Batch(rows, refused=known, counted=REPLAYED), note)
    with ingestor.turn():
        _settle(letters, ingestor.log.head())
    return Replayed(done.taken, {found[row].id: reason for row, reason in done.refused.items()})


def _settle(letters: SourceDeadLetters, head: LogHead) -> None:
    """End the replay that was begun: forget its letters if the log has them. The caller has the turn."""
    begun = letters.replaying()
    if begun is None:
        return
    if head.positions.get(REPLAYED, 0) >= begun.until:
        letters.forget(begun.ids)
    letters.end_replay()


def _require_decoder(source: SourceSpec, found: Sequence[DeadLetter], decoder: Decoder | None) -> None:
    if decoder is not None or all(one.partition == PUSHED for one in found):
        return
    if (form := stream_of(source).format) != "json":
        raise UnsupportedOperationError(
            f"Messages of {source.name!r} cannot be decoded again",
            why=f"They are {form}, and nothing here decodes that",
            fix="Replay the rows that were pushed, by their ids.",
        )


def _batches(
    letters: SourceDeadLetters, log: SourceLog, among: Collection[int] | None = None, *, values: bool = True
) -> Iterator[list[DeadLetter]]:
    """Yield the letters of each entry, in order, entries newest first, without those that are in the log by now.

    Args:
        letters: Those of the source.
        log: Its log; letters of an entry that it does not have are of a try that was cut off.
        among: Entries to look at. Default: all.
        values: Whether to read what the messages were.
    """
    begun, head = letters.replaying(), log.head()
    gone = set(begun.ids) if begun is not None and head.positions.get(REPLAYED, 0) >= begun.until else set()
    for entry in letters.entries(head.sequence):
        if among is not None and entry not in among:
            continue
        if found := [one for one in letters.read(entry, values=values) if one.id not in gone]:
            yield found


def _chosen(letters: SourceDeadLetters, log: SourceLog, source: str, ids: Collection[str]) -> Sequence[DeadLetter]:
    """Return the letters of some ids, oldest first."""
    wanted = set(ids)
    entries = {_order(one)[0] for one in wanted}
    found = [one for batch in _batches(letters, log, entries) for one in batch if one.id in wanted]
    if missing := sorted(wanted - {one.id for one in found}):
        raise NotFoundError(
            f"Source {source!r} has no dead letter {missing[0]!r}",
            why="It was taken in by a replay, or never was there",
            fix=f"Run `asof deadletter list {source}`.",
        )
    return sorted(found, key=lambda one: _order(one.id))


def _all_there(letters: SourceDeadLetters, found: Sequence[DeadLetter]) -> bool:
    entries = {_order(one.id)[0] for one in found}
    return {one.id for one in found} <= {one.id for entry in entries for one in letters.read(entry, values=False)}


def _order(name: str) -> tuple[int, int]:
    entry, _, number = name.partition("-")
    return (int(entry), int(number)) if entry.isdecimal() and number.isdecimal() else (0, 0)

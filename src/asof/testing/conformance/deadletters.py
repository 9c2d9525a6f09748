"""What every store of dead letters must do; subclass `DeadLetterConformance` and give it a `letters` fixture.

`reopen` must return a second store on the same storage, as another process would open it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from asof.interfaces.deadletters import DeadLetter, DeadLetterStore, Replaying

if TYPE_CHECKING:
    from collections.abc import Callable


def letter(entry: int, number: int = 0, value: bytes | None = b"{}") -> DeadLetter:
    """Return a letter of an entry, whose other columns follow from its id."""
    return DeadLetter(
        id=f"{entry}-{number}",
        partition="push" if number % 2 else f"{number}",
        position=None if number % 2 else entry,
        sent_at_us=None if number % 2 else 1_767_225_600_123_456 + entry,
        received_at_us=1_767_225_600_654_321 + entry,
        reason=f"reason {number}",
        value=value,
    )


class DeadLetterConformance:
    """The contract as tests."""

    def test_a_source_without_letters_has_none(self, letters: DeadLetterStore) -> None:
        mine = letters.of("orders")
        assert (list(mine.entries(9)), list(mine.read(1)), mine.replaying()) == ([], [], None)
        mine.forget(["1-0"])
        mine.end_replay()

    def test_letters_come_back_as_they_were_in_order(
        self, letters: DeadLetterStore, reopen: Callable[[], DeadLetterStore]
    ) -> None:
        """Also values that are no text, empty, or none at all; and without values where they are not asked for."""
        kept = [letter(3, 1, b"\x00\xff"), letter(3, 0, b""), letter(3, 2, None)]
        letters.of("orders").keep(3, kept)
        found = reopen().of("orders")
        assert list(found.read(3)) == kept
        assert [(one.id, one.value) for one in found.read(3, values=False)] == [(one.id, None) for one in kept]

    def test_entries_are_listed_newest_first_up_to_one(self, letters: DeadLetterStore) -> None:
        mine = letters.of("orders")
        for entry in (2, 11, 9):
            mine.keep(entry, [letter(entry)])
        assert list(mine.entries(11)) == [11, 9, 2]
        assert list(mine.entries(10)) == [9, 2]

    def test_sources_are_apart(self, letters: DeadLetterStore) -> None:
        letters.of("orders").keep(1, [letter(1)])
        letters.of("orders").begin_replay(Replaying(1, ("1-0",)))
        assert list(letters.of("order").entries(1)) == []
        assert letters.of("order").replaying() is None

    def test_letters_of_another_try_take_the_place_of_the_first(self, letters: DeadLetterStore) -> None:
        mine = letters.of("orders")
        mine.keep(1, [letter(1, 0), letter(1, 1)])
        mine.keep(1, [letter(1, 2)])
        assert list(mine.read(1)) == [letter(1, 2)]
        mine.keep(1, [])
        assert (list(mine.read(1)), list(mine.entries(1))) == ([], [])

    def test_letters_are_forgotten_by_id(self, letters: DeadLetterStore) -> None:
        """Unknown ones are ignored, and an entry without letters is gone."""
        mine = letters.of("orders")
        mine.keep(1, [letter(1, 0), letter(1, 1), letter(1, 2)])
        mine.keep(2, [letter(2, 0)])
        mine.forget(["1-1", "2-0", "2-7", "5-0"])
        assert [one.id for one in mine.read(1)] == ["1-0", "1-2"]
        assert list(mine.entries(9)) == [1]

    def test_a_replay_is_known_until_it_ends(
        self, letters: DeadLetterStore, reopen: Callable[[], DeadLetterStore]
    ) -> None:
        begun = Replaying(7, ("1-0", "2-3"))
        letters.of("orders").begin_replay(begun)
        assert reopen().of("orders").replaying() == begun
        letters.of("orders").end_replay()
        assert reopen().of("orders").replaying() is None

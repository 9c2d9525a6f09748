"""What every online store must do; subclass `OnlineStoreConformance` and give it an `open_store` fixture."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from dataclasses import replace
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest

from asof.errors import ConflictError, InputError
from asof.interfaces.online import Generation, OnlineStore, Progress, SnapshotStore, Update, ViewKey
from asof.services.arrivals import Pairs
from asof.services.erased_values import rewrite

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from asof.interfaces.online import Read, ViewRead

VIEW = ViewKey("shop", "spend", 1)
OTHER = ViewKey("shop", "profile", 1)


def fill(
    store: OnlineStore, view: ViewKey, pairs: Mapping[bytes, bytes | None], instant_us: int = 100, batches: int = 1
) -> Generation:
    """Write one generation in the order given, in so many puts."""
    keys, values = list(pairs), list(pairs.values())
    with store.write(view) as writer:
        for start in range(batches):
            writer.put(pa.array(keys[start::batches], pa.binary()), pa.array(values[start::batches], pa.binary()))
        return writer.commit(instant_us, instant_us + 5, "meaning")


def begin(
    store: OnlineStore, view: ViewKey, pairs: Mapping[bytes, bytes], entry: int = 0, instant_us: int = 100
) -> Generation:
    """Write one generation that takes arrivals."""
    with store.write(view) as writer:
        writer.put(pa.array(list(pairs), pa.binary()), pa.array(list(pairs.values()), pa.binary()))
        return writer.commit(instant_us, instant_us + 5, "meaning", Progress(entry))


def change(
    view: ViewKey, pairs: Mapping[bytes, bytes | None], entry: int = 0, generation: int = 1, instant_us: int = 110
) -> Update:
    """Return what one more entry changes in a view."""
    keys, new = pa.array(list(pairs), pa.binary()), pa.array(list(pairs.values()), pa.binary())
    return Update(view, generation, entry, keys, new, instant_us, Progress(entry + 1, instant_us, instant_us, 7))


def values(store: OnlineStore, view: ViewKey, keys: Sequence[bytes | None]) -> list[bytes | None]:
    """Read one view."""
    [found] = store.read([(view, keys)])
    return list(found.values)


def scanned(store: OnlineStore, view: ViewKey) -> list[tuple[bytes, bytes]]:
    """Return all pairs of a view, ordered by key."""
    batches = [zip(keys.to_pylist(), new.to_pylist(), strict=True) for keys, new in store.scan(view)]
    return sorted(pair for batch in batches for pair in batch)


class OnlineStoreConformance:
    """Behaviour that services rely on."""

    @pytest.fixture
    def open_store(self) -> Callable[[], OnlineStore]:
        """Return a function that opens the same, initially empty storage; more than one may be open."""
        raise NotImplementedError("give an `open_store` fixture")

    @pytest.fixture
    def store(self, open_store: Callable[[], OnlineStore]) -> Iterator[OnlineStore]:
        """Return an empty store."""
        store = open_store()
        yield store
        store.close()

    def test_a_view_that_was_never_written_has_no_generation(self, store: OnlineStore) -> None:
        """Reading it is no error, and one value per key comes back."""
        [found] = store.read([(VIEW, [b"a", None])])
        assert found.generation is None
        assert list(found.values) == [None, None]
        assert store.generations("shop") == {}

    def test_values_come_back_in_the_order_of_the_keys(self, store: OnlineStore) -> None:
        """Repeated, unknown and None keys included."""
        fill(store, VIEW, {b"c": b"3", b"a": b"1", b"b": b"2"})
        assert values(store, VIEW, [b"b", b"x", None, b"a", b"b"]) == [b"2", None, None, b"1", b"2"]

    def test_keys_and_values_are_any_bytes(self, store: OnlineStore) -> None:
        """Zero bytes, keys that are prefixes of others, keys of 400 bytes, empty and large values."""
        pairs = {b"\0": b"", b"\0\0": b"\0", b"k" * 400: b"v" * 100_000, b"\xff" * 400: b"\xff"}
        fill(store, VIEW, pairs)
        assert values(store, VIEW, list(pairs)) == list(pairs.values())

    def test_null_values_are_not_stored(self, store: OnlineStore) -> None:
        """The key counts as unknown."""
        generation = fill(store, VIEW, {b"a": b"1", b"b": None})
        assert generation.keys == 1
        assert values(store, VIEW, [b"a", b"b"]) == [b"1", None]

    def test_a_generation_may_be_empty(self, store: OnlineStore) -> None:
        """It was materialized, and nothing is known: another answer than never materialized."""
        fill(store, VIEW, {b"a": b"1"})
        fill(store, VIEW, {}, instant_us=200)
        [found] = store.read([(VIEW, [b"a"])])
        assert (found.generation and found.generation.number, list(found.values)) == (2, [None])

    def test_a_generation_is_written_anew_without_a_key(self, store: OnlineStore) -> None:
        """As an erasure does it: everything else stays, and updates go on."""
        pairs = {b"%03d" % number: b"v%d" % number for number in range(300)}
        begin(store, VIEW, pairs, entry=3)
        fill(store, OTHER, {b"007": b"x"})
        store.update([change(VIEW, {b"007": b"later"}, entry=3)])
        before = store.generations("shop")[VIEW]
        rewrite(store, VIEW, Pairs(pa.array([b"007", b"008"]), pa.array([None, b"new"], pa.binary())))
        after = store.generations("shop")[VIEW]
        assert after == replace(before, number=2, keys=299)
        assert dict(scanned(store, VIEW)) == {k: v for k, v in pairs.items() if k != b"007"} | {b"008": b"new"}
        assert values(store, OTHER, [b"007"]) == [b"x"]
        store.update([change(VIEW, {b"009": b"9"}, entry=4, generation=2)])
        assert values(store, VIEW, [b"007", b"009"]) == [None, b"9"]
        rewrite(store, ViewKey("shop", "nobody", 1), Pairs(pa.array([b"a"]), pa.array([b"b"])))
        assert ViewKey("shop", "nobody", 1) not in store.generations("shop")

    def test_many_puts_in_any_order_make_one_generation(self, store: OnlineStore) -> None:
        """Each put brings keys from the whole range."""
        pairs = {b"%05d" % (n * 7919 % 5000): b"%d" % n for n in range(5000)}
        assert fill(store, VIEW, pairs, batches=7).keys == 5000
        assert values(store, VIEW, list(pairs)) == list(pairs.values())

    def test_a_commit_records_what_it_was_given(self, store: OnlineStore) -> None:
        """The number rises by one with every generation of the view version."""
        fill(store, VIEW, {b"a": b"1"}, instant_us=100)
        second = fill(store, VIEW, {b"a": b"2", b"b": b"2"}, instant_us=200)
        assert second == Generation(number=2, instant_us=200, keys=2, written_at_us=205, meaning="meaning")
        assert store.generations("shop") == {VIEW: second}
        assert store.read([(VIEW, [])])[0].generation == second

    def test_a_scan_yields_every_pair_once(self, store: OnlineStore) -> None:
        """Of the current generation, as updates left it; long keys, zero bytes and empty values included."""
        assert list(store.scan(VIEW)) == []
        pairs = {b"%05d" % (n * 7919 % 2_100): b"%d" % n for n in range(2_100)} | {b"k" * 400: b"", b"\0\0": b"\0"}
        fill(store, VIEW, {b"old": b"1"})
        fill(store, OTHER, {b"other": b"1"})
        begin(store, VIEW, pairs)
        assert scanned(store, VIEW) == sorted(pairs.items())
        store.update([change(VIEW, {b"00000": None, b"00001": b"new", b"more": b"2"}, generation=2)])
        del pairs[b"00000"]
        pairs |= {b"00001": b"new", b"more": b"2"}
        assert scanned(store, VIEW) == sorted(pairs.items())
        fill(store, VIEW, {}, instant_us=200)
        assert scanned(store, VIEW) == []

    def test_a_scan_that_is_overtaken_by_a_generation_says_so(self, store: OnlineStore) -> None:
        """It would else mix two of them, or end early."""
        pairs = {b"%05d" % n: b"v" * 100 for n in range(2_100)}
        fill(store, VIEW, pairs)
        running = store.scan(VIEW)
        next(running)
        fill(store, VIEW, pairs, instant_us=200)
        with pytest.raises(ConflictError, match="spend@1 changed"):
            list(running)
        running = store.scan(VIEW)
        next(running)
        store.drop(VIEW)
        with pytest.raises(ConflictError, match="spend@1 changed"):
            list(running)

    def test_a_scan_beside_updates_yields_each_key_as_it_was_or_is(self, store: OnlineStore) -> None:
        """Keys that no update touches come once, whatever happens to the others."""
        pairs = {b"%05d" % n: b"0" for n in range(2_100)}
        begin(store, VIEW, pairs)
        found: list[tuple[bytes, bytes]] = []
        for entry, (keys, new) in enumerate(store.scan(VIEW)):
            found += zip(keys.to_pylist(), new.to_pylist(), strict=True)
            more: dict[bytes, bytes | None] = {b"x%05d" % (5 * entry + n): b"0" for n in range(5)}
            store.update([change(VIEW, {b"00007": b"%d" % entry, b"02099": b"1", **more}, entry=entry)])
        quiet = pairs.keys() - {b"00007", b"02099"}
        assert sorted(key for key, _ in found if key in quiet) == sorted(quiet)
        assert {value for key, value in found if key in quiet} == {b"0"}

    def test_a_new_generation_replaces_all_of_the_old_one(self, store: OnlineStore) -> None:
        """Keys that the new one lacks are gone."""
        fill(store, VIEW, {b"a": b"1", b"b": b"1"})
        fill(store, VIEW, {b"b": b"2"}, instant_us=101)
        assert values(store, VIEW, [b"a", b"b"]) == [None, b"2"]

    def test_reads_within_a_snapshot_see_one_instant(self, store: OnlineStore) -> None:
        """A generation that is switched in between two of them shows in neither."""
        if not isinstance(store, SnapshotStore):
            pytest.skip("the store offers no snapshots")
        first = fill(store, VIEW, {b"a": b"1"})
        fill(store, OTHER, {b"a": b"1"})
        rounds = 0

        def work(read: Read) -> list[ViewRead]:
            nonlocal rounds
            found, rounds = read([(VIEW, [b"a"])]), rounds + 1
            if rounds == 1:
                fill(store, VIEW, {b"a": b"2"}, instant_us=200)
            return [*found, *read([(VIEW, [b"a"]), (OTHER, [])])]

        again = store.in_snapshot(work)
        if rounds == 1:
            assert [found.generation for found in again[:2]] == [first, first]
        assert again[0] == again[1]
        assert values(store, VIEW, [b"a"]) == [b"2"]

    def test_nothing_shows_before_the_commit_or_without_one(self, store: OnlineStore) -> None:
        """A writer that leaves its block without committing leaves no trace."""
        fill(store, VIEW, {b"a": b"1"})
        with store.write(VIEW) as writer:
            writer.put(pa.array([b"a", b"b"], pa.binary()), pa.array([b"2", b"2"], pa.binary()))
            assert values(store, VIEW, [b"a", b"b"]) == [b"1", None]
        assert values(store, VIEW, [b"a", b"b"]) == [b"1", None]
        assert fill(store, VIEW, {b"a": b"3"}, instant_us=101).number == 2

    def test_an_error_in_the_block_discards_the_generation(self, store: OnlineStore) -> None:
        """The error comes through unchanged."""

        def fail() -> None:
            with store.write(VIEW) as writer:
                writer.put(pa.array([b"a"], pa.binary()), pa.array([b"1"], pa.binary()))
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            fail()
        assert store.generations("shop") == {}

    def test_an_older_instant_never_replaces_a_newer_one(self, store: OnlineStore) -> None:
        """Whoever started first: what counts is what is switched in when the commit comes."""
        with store.write(VIEW) as slow:
            slow.put(pa.array([b"a"], pa.binary()), pa.array([b"old"], pa.binary()))
            fill(store, VIEW, {b"a": b"new"}, instant_us=200)
            with pytest.raises(ConflictError, match=r"spend@1 already holds"):
                slow.commit(199, 300, "meaning")
        assert values(store, VIEW, [b"a"]) == [b"new"]

    def test_an_equal_instant_replaces(self, store: OnlineStore) -> None:
        """Materializing again at the same instant is a repair."""
        fill(store, VIEW, {b"a": b"1"}, instant_us=200)
        assert fill(store, VIEW, {b"a": b"2"}, instant_us=200).number == 2
        assert values(store, VIEW, [b"a"]) == [b"2"]

    def test_a_key_that_comes_twice_is_refused(self, store: OnlineStore) -> None:
        """In one put or in two."""

        def repeat(puts: list[list[bytes]]) -> None:
            with store.write(VIEW) as writer:
                for keys in puts:
                    writer.put(pa.array(keys, pa.binary()), pa.array(keys, pa.binary()))
                writer.commit(100, 100, "meaning")

        for puts in ([[b"a", b"a"]], [[b"a"], [b"a"]]):
            with pytest.raises(InputError, match="twice"):
                repeat(puts)
        assert store.generations("shop") == {}

    def test_a_null_key_is_refused(self, store: OnlineStore) -> None:
        """An entity without a key is not an entity."""
        with pytest.raises(InputError, match="null"), store.write(VIEW) as writer:
            writer.put(pa.array([None], pa.binary()), pa.array([b"1"], pa.binary()))

    def test_views_versions_and_projects_are_apart(self, store: OnlineStore) -> None:
        """The same key has another value in each."""
        views = [VIEW, OTHER, ViewKey("shop", "spend", 2), ViewKey("shop", "spend", 12), ViewKey("shop2", "spend", 1)]
        for number, view in enumerate(views):
            fill(store, view, {b"a": b"%d" % number})
        found = store.read([(view, [b"a"]) for view in views])
        assert [list(read.values) for read in found] == [[b"%d" % number] for number in range(len(views))]
        assert set(store.generations("shop")) == set(views[:4])

    def test_drop_deletes_a_view_version_and_only_it(self, store: OnlineStore) -> None:
        """Unknown ones are ignored, and a dropped one can be written again."""
        fill(store, VIEW, {b"a": b"1"})
        fill(store, OTHER, {b"a": b"2"})
        store.drop(VIEW)
        store.drop(VIEW)
        assert [read.generation is None for read in store.read([(VIEW, [b"a"]), (OTHER, [b"a"])])] == [True, False]
        fill(store, VIEW, {b"a": b"3"}, instant_us=1)
        assert values(store, VIEW, [b"a"]) == [b"3"]

    def test_another_store_sees_what_was_committed(
        self, store: OnlineStore, open_store: Callable[[], OnlineStore]
    ) -> None:
        """While both are open, and after the first is closed."""
        other = open_store()
        fill(store, VIEW, {b"a": b"1"})
        assert values(other, VIEW, [b"a"]) == [b"1"]
        fill(other, VIEW, {b"a": b"2"}, instant_us=101)
        assert values(store, VIEW, [b"a"]) == [b"2"]
        other.close()
        assert values(store, VIEW, [b"a"]) == [b"2"]

    def test_writers_of_several_views_do_not_wait_for_each_other(self, store: OnlineStore) -> None:
        """Both are open at once in one thread, so waiting would be forever."""
        with store.write(VIEW) as one, store.write(OTHER) as two:
            for writer in (one, two):
                writer.put(pa.array([b"a"], pa.binary()), pa.array([b"1"], pa.binary()))
            two.commit(100, 100, "meaning")
            one.commit(100, 100, "meaning")
        assert set(store.generations("shop")) == {VIEW, OTHER}

    def test_many_generations_leave_nothing_behind(self, store: OnlineStore) -> None:
        """A store that is rewritten for years keeps working, read in between."""
        for number in range(100):
            fill(store, VIEW, {b"a": b"%d" % number}, instant_us=number)
            assert values(store, VIEW, [b"a"]) == [b"%d" % number]

    def test_every_read_sees_one_generation_of_every_view(self, store: OnlineStore) -> None:
        """Threads read two views together while they are rewritten; within a view the values never mix."""
        keys = [b"%d" % n for n in range(50)]
        stop = threading.Event()
        mixed: list[object] = []

        def read() -> None:
            while not stop.is_set():
                for found in store.read([(VIEW, keys), (OTHER, keys)]):
                    expected = None if found.generation is None else b"%d" % found.generation.instant_us
                    if set(found.values) != {expected}:
                        mixed.append(found)

        threads = [threading.Thread(target=read) for _ in range(2)]
        for thread in threads:
            thread.start()
        for number in range(40):
            for view in (VIEW, OTHER):
                fill(store, view, dict.fromkeys(keys, b"%d" % number), instant_us=number)
        stop.set()
        for thread in threads:
            thread.join()
        assert mixed == []

    def test_an_update_changes_some_keys_and_the_progress(self, store: OnlineStore) -> None:
        """A null value forgets its key; other keys stay; all of the progress is replaced."""
        begin(store, VIEW, {b"a": b"1", b"b": b"1", b"c": b"1"})
        store.update([change(VIEW, {b"c": b"2", b"a": None, b"d": b"2", b"x": None})])
        [found] = store.read([(VIEW, [b"a", b"b", b"c", b"d", b"x"])])
        assert list(found.values) == [None, b"1", b"2", b"2", None]
        assert found.generation == Generation(1, 110, 3, 105, "meaning", Progress(1, 110, 110, 7))
        assert store.generations("shop") == {VIEW: found.generation}

    def test_all_of_the_progress_is_kept(self, store: OnlineStore) -> None:
        """By a commit and by an update."""
        first = Progress(3, 104, 103, 99, 105, 200)
        with store.write(VIEW) as writer:
            writer.commit(100, 105, "meaning", first)
        assert store.generations("shop")[VIEW].progress == first
        nothing = pa.array([], pa.binary())
        then = Progress(4, 114, 113, 109, 115, 210)
        store.update([Update(VIEW, 1, 3, nothing, nothing, 110, then)])
        assert store.generations("shop")[VIEW].progress == then

    def test_an_update_may_change_no_key(self, store: OnlineStore) -> None:
        """Then only the progress moves on, and the instant never goes back."""
        begin(store, VIEW, {b"a": b"1"})
        store.update([change(VIEW, {}, instant_us=90)])
        [found] = store.read([(VIEW, [b"a"])])
        assert list(found.values) == [b"1"]
        assert found.generation is not None
        assert (found.generation.instant_us, found.generation.progress) == (100, Progress(1, 90, 90, 7))

    def test_no_update_at_all_is_fine(self, store: OnlineStore) -> None:
        """Nothing happens."""
        store.update([])
        store.announce([], 5)
        assert store.generations("shop") == {}

    def test_an_update_of_another_entry_or_generation_is_refused_whole(self, store: OnlineStore) -> None:
        """As one of a view that takes no arrivals, or is not there; the other views of the call stay as they were."""
        begin(store, VIEW, {b"a": b"1"}, entry=3)
        begin(store, OTHER, {b"a": b"1"}, entry=3)
        plain = ViewKey("shop", "plain", 1)
        fill(store, plain, {b"a": b"1"})
        before = store.generations("shop")
        fine = change(OTHER, {b"a": b"2"}, entry=3)
        for wrong in (
            change(VIEW, {b"a": b"2"}, entry=2),
            change(VIEW, {b"a": b"2"}, entry=4),
            change(VIEW, {b"a": b"2"}, entry=3, generation=2),
            change(plain, {b"a": b"2"}),
            change(ViewKey("shop", "unknown", 1), {b"a": b"2"}),
        ):
            for updates in ([fine, wrong], [wrong, fine]):
                with pytest.raises(ConflictError):
                    store.update(updates)
        assert store.generations("shop") == before
        assert [values(store, view, [b"a"]) for view in (VIEW, OTHER, plain)] == [[b"1"]] * 3
        store.update([fine])
        assert values(store, OTHER, [b"a"]) == [b"2"]

    def test_a_view_takes_an_entry_once(self, store: OnlineStore) -> None:
        """Of two updates from one place the second one is refused."""
        begin(store, VIEW, {b"a": b"1"})
        store.update([change(VIEW, {b"a": b"2"})])
        with pytest.raises(ConflictError):
            store.update([change(VIEW, {b"a": b"3"})])
        assert values(store, VIEW, [b"a"]) == [b"2"]

    def test_an_update_of_a_generation_that_was_replaced_is_refused(self, store: OnlineStore) -> None:
        """The new one may have come further, or less far."""
        begin(store, VIEW, {b"a": b"1"})
        begin(store, VIEW, {b"a": b"2"})
        with pytest.raises(ConflictError):
            store.update([change(VIEW, {b"a": b"3"})])
        store.update([change(VIEW, {b"a": b"3"}, generation=2)])
        assert values(store, VIEW, [b"a"]) == [b"3"]

    def test_an_announcement_stays_until_the_update(self, store: OnlineStore) -> None:
        """The earliest one counts; views that take no arrivals, or are not there, are left out."""
        begin(store, VIEW, {b"a": b"1"})
        fill(store, OTHER, {b"a": b"1"})
        for at_us in (101, 103, 102):
            store.announce([VIEW, OTHER, ViewKey("shop", "unknown", 1)], at_us)
        found = store.generations("shop")
        assert found[VIEW].progress == Progress(0, pending_us=101)
        assert found[OTHER].progress is None
        assert len(found) == 2
        store.update([change(VIEW, {})])
        assert store.generations("shop")[VIEW].progress == Progress(1, 110, 110, 7)

    def test_updates_and_announcements_are_seen_by_other_stores_and_later(
        self, store: OnlineStore, open_store: Callable[[], OnlineStore]
    ) -> None:
        """They are durable."""
        begin(store, VIEW, {b"a": b"1"})
        other = open_store()
        other.update([change(VIEW, {b"a": b"2"})])
        other.announce([VIEW], 120)
        other.close()
        assert values(store, VIEW, [b"a"]) == [b"2"]
        again = open_store()
        progress = again.generations("shop")[VIEW].progress
        assert progress is not None
        assert (progress.entry, progress.pending_us) == (1, 120)
        again.close()

    def test_a_writer_gives_back_what_was_put(self, store: OnlineStore) -> None:
        """Of this generation only, whatever the current one holds."""
        fill(store, VIEW, {b"a": b"old", b"z": b"old"})
        with store.write(VIEW) as writer:
            assert writer.get([b"a"]) == [None]
            writer.put(pa.array([b"b", b"a"], pa.binary()), pa.array([b"2", b"1"], pa.binary()))
            assert writer.get([b"z", b"a", b"b", b"a"]) == [None, b"1", b"2", b"1"]
            writer.put(pa.array([b"c"], pa.binary()), pa.array([b"3"], pa.binary()))
            assert writer.get([]) == []
            assert writer.get([b"c"]) == [b"3"]

    def test_a_writer_replaces_what_was_put(self, store: OnlineStore) -> None:
        """In any order, again and again; a null value forgets its key, and nothing shows before the commit."""
        fill(store, VIEW, {b"a": b"old"})
        with store.write(VIEW) as writer:
            writer.replace(pa.array([b"d"], pa.binary()), pa.array([b"0"], pa.binary()))
            writer.put(pa.array([b"c", b"a", b"b"], pa.binary()), pa.array([b"1", b"1", b"1"], pa.binary()))
            writer.replace(pa.array([b"d", b"b", b"a"], pa.binary()), pa.array([b"2", b"2", None], pa.binary()))
            writer.replace(pa.array([b"b", b"x"], pa.binary()), pa.array([b"3", None], pa.binary()))
            writer.replace(pa.array([], pa.binary()), pa.array([], pa.binary()))
            assert writer.get([b"a", b"b", b"c", b"d", b"x"]) == [None, b"3", b"1", b"2", None]
            assert values(store, VIEW, [b"a", b"b"]) == [b"old", None]
            generation = writer.commit(200, 205, "meaning", Progress(4))
        assert (generation.keys, generation.progress) == (3, Progress(4))
        assert values(store, VIEW, [b"a", b"b", b"c", b"d"]) == [None, b"3", b"1", b"2"]

    def test_reads_see_all_of_an_update_or_nothing(self, store: OnlineStore) -> None:
        """Threads read two views together while both are updated; all values are of one entry."""
        keys = [b"%d" % n for n in range(50)]
        for view in (VIEW, OTHER):
            begin(store, view, dict.fromkeys(keys, b"0"))
        stop = threading.Event()
        torn: list[object] = []

        def read() -> None:
            while not stop.is_set():
                found = store.read([(VIEW, keys), (OTHER, keys)])
                entries = {b"%d" % one.generation.progress.entry for one in found if one.generation.progress}  # type: ignore[union-attr]
                if len(entries) != 1 or any(set(one.values) != entries for one in found):
                    torn.append(found)

        threads = [threading.Thread(target=read) for _ in range(2)]
        for thread in threads:
            thread.start()
        for entry in range(60):
            new: dict[bytes, bytes | None] = dict.fromkeys(keys, b"%d" % (entry + 1))
            store.update([change(view, new, entry=entry) for view in (VIEW, OTHER)])
        stop.set()
        for thread in threads:
            thread.join()
        assert torn == []

    def test_one_at_a_time_holds_a_source(self, store: OnlineStore, open_store: Callable[[], OnlineStore]) -> None:
        """Among threads and stores; what is read and written inside is nobody else's business."""
        begin(store, VIEW, {b"a": b"0"})
        other = open_store()

        def count(through: OnlineStore) -> None:
            for _ in range(20):
                with through.exclusive("shop", "orders"):
                    [found] = through.read([(VIEW, [b"a"])])
                    assert found.generation is not None
                    assert found.generation.progress is not None
                    [old] = found.values
                    entry = found.generation.progress.entry
                    through.update([change(VIEW, {b"a": b"%d" % (int(old or 0) + 1)}, entry=entry)])

        threads = [threading.Thread(target=count, args=(one,)) for one in (store, store, other)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert values(store, VIEW, [b"a"]) == [b"60"]
        other.close()

    def test_other_sources_and_projects_are_held_apart(self, store: OnlineStore) -> None:
        """All at once in one thread, so waiting would be forever; names are any text."""
        with store.exclusive("shop", "orders"), store.exclusive("shop", "clicks"):
            with store.exclusive("shop2", "orders"), store.exclusive("shop", "../a b/ü"):
                pass
            with store.exclusive("shop2", "orders"):
                pass

    def test_an_error_inside_gives_a_source_up(self, store: OnlineStore) -> None:
        """The error comes through unchanged."""
        with pytest.raises(ZeroDivisionError), store.exclusive("shop", "orders"):
            raise ZeroDivisionError
        with store.exclusive("shop", "orders"):
            pass

    def test_processes_take_turns_and_a_dead_one_gives_a_source_up(
        self, store: OnlineStore, open_store: Callable[[], OnlineStore]
    ) -> None:
        """One is killed while it holds the source."""
        begin(store, VIEW, {b"a": b"0"})
        context = multiprocessing.get_context("fork")
        held = context.Event()

        def hold() -> None:
            with open_store().exclusive("shop", "orders"):
                held.set()
                signal.pause()

        def count(times: int) -> None:
            mine = open_store()
            for _ in range(times):
                with mine.exclusive("shop", "orders"):
                    [found] = mine.read([(VIEW, [b"a"])])
                    assert found.generation is not None
                    assert found.generation.progress is not None
                    entry = found.generation.progress.entry
                    mine.update([change(VIEW, {b"a": b"%d" % (entry + 1)}, entry=entry)])

        holder = context.Process(target=hold)
        holder.start()
        assert held.wait(60)
        counters = [context.Process(target=count, args=(20,)) for _ in range(2)]
        for process in counters:
            process.start()
        assert holder.pid is not None
        os.kill(holder.pid, signal.SIGKILL)
        for process in [holder, *counters]:
            process.join(120)
        assert [process.exitcode for process in counters] == [0, 0]
        assert values(store, VIEW, [b"a"]) == [b"40"]

    def test_a_process_that_was_forked_inside_keeps_nobody_out(self, store: OnlineStore) -> None:
        """It lives on when the holder has left the block."""
        context = multiprocessing.get_context("fork")
        done = context.Event()
        with store.exclusive("shop", "orders"):
            child = context.Process(target=done.wait, args=(120,))
            child.start()
        with store.exclusive("shop", "orders"):
            done.set()
        child.join(60)
        assert child.exitcode == 0

"""What every registry must do; subclass `RegistryConformance` and give it a `registry` fixture.

`reopen` must return a second registry on the same storage, as another process would open it.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from asof.errors import ConflictError, MovedError
from asof.interfaces.access import AuditRecord, KeyRecord, chain_hash
from asof.interfaces.registry import Change, Registry, RegistrySnapshot, Run, StoredObject
from asof.plan.access import Grant

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from asof.interfaces.registry import Action, Kind, Revision


def change(action: Action, name: str, version: int = 1, body: str | None = None, kind: Kind = "view") -> Change:
    """Return a change whose meaning hash derives from its body."""
    encoded = None if body is None else body.encode()
    return Change(action, kind, name, version, encoded, None if body is None else f"hash of {body}")


def commit(registry: Registry, expected: int, *changes: Change) -> Revision:
    """Commit with fixed particulars."""
    return registry.commit(expected, changes, who="ada", at_us=1_000_000 + expected, summary=f"after {expected}")


def bodies(snapshot: RegistrySnapshot) -> dict[tuple[str, int], str]:
    """Return name and version to body."""
    return {(name, version): stored.body.decode() for (_, name, version), stored in snapshot.objects.items()}


def ran(source: str, number: int, error: str = "") -> Run:
    """Return a run of the interval of that number."""
    return Run(
        source=source,
        meaning=f"hash of {source}",
        start_us=number * 1000,
        end_us=number * 1000 + 1000,
        started_us=number,
        seconds=0.5,
        rows=number,
        error=error,
        inputs=(("orders", "version 3"),),
    )


class RegistryConformance:
    """Behaviour that services rely on."""

    @pytest.fixture
    def registry(self) -> Registry:
        """Return an empty registry."""
        raise NotImplementedError("give a `registry` fixture")

    @pytest.fixture
    def reopen(self) -> Callable[[], Registry]:
        """Return a function that opens the same storage again."""
        raise NotImplementedError("give a `reopen` fixture")

    def test_an_empty_registry_is_at_revision_0(self, registry: Registry) -> None:
        """Nothing is stored and nothing fails."""
        assert registry.revision() == 0
        assert registry.snapshot() == RegistrySnapshot(0, {}, {})
        assert registry.revisions(10) == []

    def test_a_commit_stores_every_change_under_the_next_revision(self, registry: Registry) -> None:
        """Bodies come back byte for byte, with the revision that wrote them."""
        done = commit(registry, 0, change("create", "a", body="A"), change("create", "b", body='{"ü": 1}'))
        assert (done.number, done.who, done.at_us, done.summary) == (1, "ada", 1_000_000, "after 0")
        snapshot = registry.snapshot()
        assert registry.revision() == snapshot.revision == 1
        expected = StoredObject("view", "b", 1, '{"ü": 1}'.encode(), 'hash of {"ü": 1}', 1, hidden=False)
        assert snapshot.objects["view", "b", 1] == expected

    def test_the_same_name_may_stand_for_objects_of_two_kinds(self, registry: Registry) -> None:
        """Kind, name and version together identify an object."""
        commit(registry, 0, change("create", "a", body="V"), change("create", "a", body="S", kind="service"))
        stored = registry.snapshot().objects
        assert (stored["view", "a", 1].body, stored["service", "a", 1].body) == (b"V", b"S")

    def test_a_new_version_leaves_the_old_one_as_it_was(self, registry: Registry) -> None:
        """Versions are immutable."""
        commit(registry, 0, change("create", "a", body="one"))
        commit(registry, 1, change("new_version", "a", 2, "two"))
        assert bodies(registry.snapshot()) == {("a", 1): "one", ("a", 2): "two"}
        assert registry.snapshot().objects["view", "a", 1].revision == 1

    def test_metadata_replaces_the_body_of_one_version(self, registry: Registry) -> None:
        """And records the revision that wrote it."""
        commit(registry, 0, change("create", "a", body="one"), change("create", "b", body="b"))
        commit(registry, 1, change("metadata", "a", body="uno"))
        stored = registry.snapshot().objects
        assert (stored["view", "a", 1].body, stored["view", "a", 1].revision) == (b"uno", 2)
        assert stored["view", "b", 1].revision == 1

    def test_removed_objects_are_hidden_and_kept_until_restored_or_pruned(self, registry: Registry) -> None:
        """Removing is no deleting."""
        commit(registry, 0, change("create", "a", body="one"))
        commit(registry, 1, change("remove", "a"))
        removed = registry.snapshot().objects["view", "a", 1]
        assert (removed.hidden, removed.body) == (True, b"one")
        commit(registry, 2, change("restore", "a", body="again"))
        restored = registry.snapshot().objects["view", "a", 1]
        assert (restored.hidden, restored.body) == (False, b"again")

    def test_a_pruned_version_is_gone_and_its_number_is_remembered(self, registry: Registry) -> None:
        """A number stands for one meaning for ever."""
        commit(registry, 0, change("create", "a", body="one"))
        commit(registry, 1, change("new_version", "a", 2, "two"))
        commit(registry, 2, change("prune", "a", 2))
        snapshot = registry.snapshot()
        assert bodies(snapshot) == {("a", 1): "one"}
        assert snapshot.last_versions == {("view", "a"): 2}
        with pytest.raises(ConflictError):
            commit(registry, 3, change("new_version", "a", 2, "another two"))

    def test_a_commit_on_an_older_revision_is_refused_whole(self, registry: Registry) -> None:
        """Of two people who planned on one revision, the second is told."""
        commit(registry, 0, change("create", "a", body="one"))
        with pytest.raises(ConflictError, match="revision 1") as caught:
            commit(registry, 0, change("create", "b", body="two"))
        assert "asof plan" in caught.value.fix
        assert bodies(registry.snapshot()) == {("a", 1): "one"}
        with pytest.raises(ConflictError):
            commit(registry, 5, change("create", "b", body="two"))

    @pytest.mark.parametrize(
        "wrong",
        [
            change("metadata", "x", body="x"),
            change("remove", "x"),
            change("prune", "x"),
            change("create", "a", body="2"),
        ],
    )
    def test_a_commit_with_one_impossible_change_writes_nothing(self, registry: Registry, wrong: Change) -> None:
        """All or nothing, whichever change fails."""
        commit(registry, 0, change("create", "a", body="one"))
        with pytest.raises(ConflictError):
            commit(registry, 1, change("create", "b", body="two"), wrong, change("create", "c", body="three"))
        assert registry.revision() == 1
        assert bodies(registry.snapshot()) == {("a", 1): "one"}
        assert commit(registry, 1, change("create", "b", body="two")).number == 2

    def test_revisions_are_listed_newest_first_up_to_the_limit(self, registry: Registry) -> None:
        """With who, when, what in words, and which objects."""
        for number in range(4):
            commit(registry, number, change("create", f"v{number}", body="x"))
        listed = registry.revisions(2)
        assert [r.number for r in listed] == [4, 3]
        assert (listed[0].who, listed[0].at_us, listed[0].summary) == ("ada", 1_000_003, "after 3")
        assert [(c.action, c.kind, c.name, c.version) for c in listed[0].changes] == [("create", "view", "v3", 1)]

    def test_another_opening_sees_what_was_committed(self, registry: Registry, reopen: Callable[[], Registry]) -> None:
        """Committed means visible to everyone, at once."""
        other = reopen()
        assert other.revision() == 0
        commit(registry, 0, change("create", "a", body="one"))
        assert other.revision() == 1
        assert bodies(other.snapshot()) == {("a", 1): "one"}
        other.close()

    def test_of_many_commits_on_one_revision_exactly_one_wins(
        self, registry: Registry, reopen: Callable[[], Registry]
    ) -> None:
        """The others get a conflict and leave nothing behind."""
        others: Sequence[Registry] = [registry, reopen(), reopen()]

        def attempt(number: int) -> bool:
            try:
                commit(others[number % 3], 0, change("create", f"v{number}", body="x"))
            except ConflictError:
                return False
            return True

        with ThreadPoolExecutor(6) as pool:
            won = list(pool.map(attempt, range(12)))
        assert sum(won) == 1
        assert bodies(registry.snapshot()) == {(f"v{won.index(True)}", 1): "x"}
        for other in others[1:]:
            other.close()

    def test_a_reader_never_sees_half_a_commit(self, registry: Registry, reopen: Callable[[], Registry]) -> None:
        """Every snapshot holds both objects of a revision or neither."""
        reader = reopen()

        def write(number: int) -> None:
            commit(registry, number, change("create", f"a{number}", body="x"), change("create", f"b{number}", body="x"))

        with ThreadPoolExecutor(1) as pool:
            writing = [pool.submit(write, number) for number in range(20)]
            while True:
                finished = writing[-1].done()
                snapshot = reader.snapshot()
                assert len(snapshot.objects) == 2 * snapshot.revision
                if finished:
                    break
        for future in writing:
            future.result()
        assert reader.snapshot().revision == 20
        reader.close()

    def test_runs_come_back_last_first_and_by_source(self, registry: Registry, reopen: Callable[[], Registry]) -> None:
        """The ledger only grows: the same interval may be in it again; it is no part of a revision."""
        registry.record_runs([ran("daily", 1), ran("weekly", 1)])
        registry.record_runs([ran("daily", 1, "lost"), ran("daily", 2)])
        registry.record_runs([])
        other = reopen()
        try:
            assert other.runs("daily", 10) == [ran("daily", 2), ran("daily", 1, "lost"), ran("daily", 1)]
            assert other.runs(None, 3) == [ran("daily", 2), ran("daily", 1, "lost"), ran("weekly", 1)]
            assert other.runs("hourly", 10) == []
            assert other.revision() == 0
        finally:
            other.close()

    def test_runs_are_recorded_from_several_threads(self, registry: Registry) -> None:
        """None is lost."""
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda n: registry.record_runs([ran("daily", n)]), range(20)))
        assert sorted(run.start_us for run in registry.runs("daily", 100)) == [n * 1000 for n in range(20)]

    def test_a_key_is_kept_as_its_hash_and_can_be_revoked_once(
        self, registry: Registry, reopen: Callable[[], Registry]
    ) -> None:
        """Others see it; its id is taken; the time of the first revocation stays."""
        grant = Grant(role="reader", services=("fraud",), unmask=("pii",))
        key = KeyRecord("00ff", "ci", "d" * 64, grant, 5, "ada", expires_us=9)
        registry.access().add_key(key)
        with pytest.raises(ConflictError):
            registry.access().add_key(key)
        other = reopen()
        try:
            assert other.access().all_keys() == [key]
            assert other.access().revoke_key("00ff", 7)
            assert other.access().revoke_key("00ff", 8)
            assert not other.access().revoke_key("0000", 8)
        finally:
            other.close()
        assert [one.revoked_us for one in registry.access().all_keys()] == [7]

    def test_the_audit_log_is_a_chain(self, registry: Registry) -> None:
        """Records come back as they were written, newest first, each chained to the one before."""
        records = [
            AuditRecord(at, who, "push", f"source:{who}", keys=at) for at, who in ((1, "ada"), (2, "b%b"), (3, "bob"))
        ]
        store = registry.access()
        store.append(records[:2])
        store.append([])
        store.append(records[2:])
        assert [one.record for one in store.audit()] == records[::-1]
        assert [one.record.who for one in store.audit(who="%", limit=5)] == ["b%b"]
        assert [one.number for one in store.audit(what="source:b")] == [3, 2]
        assert [one.number for one in store.audit(since_us=2, limit=1)] == [3]
        before = ""
        for number, one in enumerate(store.chain(), 1):
            before = chain_hash(before, number, one.record)
            assert (one.number, one.hash) == (number, before)

    def test_writers_of_the_audit_log_do_not_fork_the_chain(
        self, registry: Registry, reopen: Callable[[], Registry]
    ) -> None:
        """Of many at once every record is there, under a number of its own."""
        other = reopen()
        try:
            with ThreadPoolExecutor(4) as pool:
                stores = [registry.access(), other.access()] * 10
                list(pool.map(lambda one: one[1].append([AuditRecord(one[0], "ada", "push", "x")]), enumerate(stores)))
        finally:
            other.close()
        found = list(registry.access().chain())
        assert [one.number for one in found] == list(range(1, 21))
        assert sorted(one.record.at_us for one in found) == list(range(20))
        hashes = ["", *(one.hash for one in found)]
        assert all(one.hash == chain_hash(hashes[i], i + 1, one.record) for i, one in enumerate(found))

    def test_a_content_that_is_loaded_is_equal(self, registry: Registry, reopen: Callable[[], Registry]) -> None:
        """Revisions, hidden and pruned versions and runs; numbers go on after them, and loading again is fine."""
        commit(registry, 0, change("create", "a", body="A"), change("create", "b", body="B"))
        commit(registry, 1, change("new_version", "a", 2, body="A2"), change("remove", "b"), change("prune", "a"))
        registry.record_runs([ran("daily", 1), ran("daily", 2, "failed")])
        content = registry.export()
        assert content.revision == 2
        other = reopen()
        other.load(content)
        assert other.export() == content
        other.record_runs([ran("daily", 3)])
        commit(other, 2, change("create", "c", body="C"))
        assert [run.rows for run in other.runs("daily", 10)] == [3, 2, 1]
        grown = other.export()
        other.load(content, replace=True)
        assert (other.export(), other.runs("daily", 1)) == (content, [ran("daily", 2, "failed")])
        other.load(grown)
        assert other.snapshot().last_versions["view", "a"] == 2
        other.close()

    def test_other_revisions_or_runs_are_not_replaced(self, registry: Registry) -> None:
        """Unless that is asked for; a content may only go on from what is there."""
        commit(registry, 0, change("create", "a", body="A"))
        registry.record_runs([ran("daily", 1)])
        before = registry.export()
        commit(registry, 1, change("create", "b", body="B"))
        grown = registry.export()
        with pytest.raises(ConflictError, match="holds something else"):
            registry.load(before)
        assert registry.export() == grown
        registry.load(before, replace=True)
        registry.record_runs([ran("daily", 2)])
        with pytest.raises(ConflictError, match="holds something else"):
            registry.load(grown)

    def test_a_marked_registry_takes_no_changes(self, registry: Registry, reopen: Callable[[], Registry]) -> None:
        """In any process, until the mark is gone; it can be read all the same."""
        commit(registry, 0, change("create", "a", body="A"))
        assert registry.mark() is None
        registry.set_mark("was moved to elsewhere")
        other = reopen()
        assert other.mark() == "was moved to elsewhere"
        with pytest.raises(MovedError, match="was moved to elsewhere"):
            commit(other, 1, change("create", "b", body="B"))
        with pytest.raises(MovedError):
            other.record_runs([ran("daily", 1)])
        with pytest.raises(MovedError):
            other.access().add_key(KeyRecord("00ff", "ci", "d" * 64, Grant(role="reader"), 5, "ada"))
        other.access().append([AuditRecord(1, "ada", "read_online", "fraud")])
        assert (other.revision(), other.runs(None, 1)) == (1, [])
        other.load(other.export())
        other.set_mark(None)
        commit(registry, 1, change("create", "b", body="B"))
        other.close()

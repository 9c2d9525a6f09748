"""API keys: shown once, kept as hashes, refused once they are wrong, expired or revoked."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from asof.backends.loading import open_registry
from asof.clock import FixedClock
from asof.errors import ConflictError, InputError, NotFoundError, StoreError, UnauthenticatedError
from asof.plan.access import Grant
from asof.services.access_desk import AccessDesk
from asof.services.authenticate import FRESH_S, STALE_S, Authenticator
from asof.services.caller import Caller
from asof.services.keys import make_key

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from asof.interfaces import Registry
    from asof.interfaces.access import AccessStore, KeyRecord

READER = Grant(role="reader")


class Seconds:
    """A monotonic clock that moves by hand."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    registry = open_registry("sqlite:///r.db", tmp_path)
    yield registry
    registry.close()


def test_a_key_is_accepted_and_its_secret_is_not_stored(registry: Registry, tmp_path: Path) -> None:
    """What is in the database cannot be used as a key."""
    key, record = make_key("ci", READER, now_us=0, expires_us=None, who="ada")
    registry.access().add_key(record)
    found = Authenticator(registry.access(), FixedClock(0)).verify(key.encode())
    assert (found.name, found.grants) == (f"key:{record.id} (ci)", (READER,))
    registry.close()
    stored = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert record.digest.encode() in stored
    assert key.rpartition("_")[2].encode() not in stored


def test_a_changed_key_is_refused(registry: Registry) -> None:
    """So is every text that is no key; all in the same words."""
    key, record = make_key("ci", READER, now_us=0, expires_us=None, who="ada")
    registry.access().add_key(record)
    other, _ = make_key("ci", READER, now_us=0, expires_us=None, who="ada")
    last = "A" if key[-1] != "A" else "B"
    wrong = [key[:-1] + last, key[:18] + other[18:], other, "asof_", key + "\n", key.upper(), "asof_\u00e9", key[:17]]
    words = set()
    for one in wrong:
        with pytest.raises(UnauthenticatedError) as caught:
            Authenticator(registry.access(), FixedClock(0)).verify(one)
        words.add(str(caught.value))
    assert len(words) <= 2  # what does not begin like a key is named otherwise


def test_expiry_is_to_the_microsecond_and_ends_what_is_remembered(registry: Registry) -> None:
    """A key that expires is not remembered beyond that."""
    key, record = make_key("ci", READER, now_us=0, expires_us=1_000_000, who="ada")
    registry.access().add_key(record)
    clock, seconds = FixedClock(999_999), Seconds()
    known = Authenticator(registry.access(), clock, monotonic_s=seconds)
    known.verify(key)
    assert known.known(key) is not None
    seconds.now += 0.1
    assert known.known(key) is None
    with pytest.raises(UnauthenticatedError):
        Authenticator(registry.access(), FixedClock(1_000_000)).verify(key)


def test_a_revoked_key_is_refused_within_two_seconds(registry: Registry) -> None:
    """And a new one is known within the same time."""
    key, record = make_key("ci", READER, now_us=0, expires_us=None, who="ada")
    registry.access().add_key(record)
    seconds = Seconds()
    known = Authenticator(registry.access(), FixedClock(0), monotonic_s=seconds)
    known.verify(key)
    registry.access().revoke_key(record.id, 1)
    second, other = make_key("other", READER, now_us=0, expires_us=None, who="ada")
    registry.access().add_key(other)
    assert known.known(key) is not None
    seconds.now += FRESH_S
    assert known.known(key) is None
    with pytest.raises(UnauthenticatedError):
        known.verify(key)
    known.verify(second)


class Failing:
    """A store that can be made to fail, and counts how often it is asked."""

    def __init__(self, store: AccessStore) -> None:
        self._store, self.fails, self.asked = store, False, 0

    def all_keys(self) -> list[KeyRecord]:
        self.asked += 1
        if self.fails:
            raise StoreError("down")
        return self._store.all_keys()


def test_keys_outlive_a_registry_that_is_down_for_five_minutes(registry: Registry) -> None:
    """Then nobody is let in, because a revocation could not be seen."""
    key, record = make_key("ci", READER, now_us=0, expires_us=None, who="ada")
    registry.access().add_key(record)
    seconds, store = Seconds(), Failing(registry.access())
    known = Authenticator(store, FixedClock(0), monotonic_s=seconds)  # type: ignore[arg-type]
    known.verify(key)
    store.fails = True
    seconds.now += STALE_S
    known.verify(key)
    seconds.now += 1
    with pytest.raises(StoreError, match="cannot be checked"):
        known.verify(key)


def test_wrong_keys_do_not_become_queries(registry: Registry) -> None:
    """A thousand of them cost one."""
    seconds, store = Seconds(), Failing(registry.access())
    known = Authenticator(store, FixedClock(0), monotonic_s=seconds)  # type: ignore[arg-type]
    key, _ = make_key("ci", READER, now_us=0, expires_us=None, who="ada")
    for _ in range(1000):
        with pytest.raises(UnauthenticatedError):
            known.verify(key)
    assert store.asked == 1


def test_administrators_are_never_locked_out_of_a_shared_registry(registry: Registry) -> None:
    """The first key is one of an administrator, and the last such key cannot be revoked."""
    desk = AccessDesk(Caller(), registry.access(), FixedClock(0), shared=True)
    with pytest.raises(InputError, match="first key"):
        desk.create_key("ci", role="reader")
    with pytest.raises(InputError, match="first key"):
        desk.create_key("ci", role="admin", services=["fraud"])
    _, first = desk.create_key("ops", role="admin")
    with pytest.raises(InputError, match="last valid key"):
        desk.revoke_key(first.id)
    _, second = desk.create_key("ops", role="admin", expires="1d")
    desk.revoke_key(first.id)
    assert [key.revoked_us for key in desk.list_keys()] in ([0, None], [None, 0])
    with pytest.raises(NotFoundError):
        desk.revoke_key("no")
    assert [one.record.detail for one in desk.audit()] == ["revoke", "create ops as admin", "create ops as admin"]
    with pytest.raises(ConflictError):
        registry.access().add_key(replace(second, name="again"))


@pytest.mark.parametrize("wrong", [{"role": "owner"}, {"services": "fraud"}, {"views": [""]}, {"name": " "}])
def test_what_cannot_be_a_key_is_an_input_error(registry: Registry, wrong: dict[str, object]) -> None:
    desk = AccessDesk(Caller(), registry.access(), FixedClock(0), shared=False)
    arguments = {"name": "ci", "role": "reader", **wrong}
    with pytest.raises(InputError):
        desk.create_key(**arguments)  # type: ignore[arg-type]

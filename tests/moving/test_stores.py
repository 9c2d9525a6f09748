"""A project is moved from store to store while rows arrive, and its values stay what history gives."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import shutil
import signal
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
import redis

from asof import copying
from asof.backends.loading import open_online_store, open_registry
from asof.errors import ConflictError, InputError, MovedError, StoreError
from asof.interfaces.online import ViewKey
from asof.services import copy_online, copy_project, moved
from tests.moving import shop

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from asof import FeatureStore
    from tests.servers.dynamodb import DynamoServer
    from tests.servers.postgres import PostgresServer
    from tests.servers.redis import RedisServer

_numbers = itertools.count(1)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[FeatureStore]:
    """Return a project in its embedded stores, with rows in all of them."""
    with shop.start(tmp_path / "shop") as store:
        shop.fill(store)
        yield store


@pytest.fixture
def schema(postgres_server: PostgresServer) -> Iterator[str]:
    """Return the URL of a schema that is not there."""
    name = f"moving_{next(_numbers)}"
    yield f"{postgres_server.url}?schema={name}"
    postgres_server.forget(name)


@pytest.fixture
def redis_url(redis_server: RedisServer) -> Iterator[str]:
    """Return the URL of a database of Redis that other tests do not use."""
    with redis.Redis(redis_server.host, redis_server.port, db=7) as client:
        client.flushdb()  # what other tests of this process may have left
        yield f"redis://{redis_server.host}:{redis_server.port}/7"
        client.flushdb()


ELSEWHERE: dict[str, Any] = {
    "registry": "sqlite:///two/registry.db",
    "offline": "two/offline",
    "online": "lmdb:///two/online",
}


@pytest.mark.slow
def test_a_round_trip_over_all_stores_loses_and_changes_nothing(
    store: FeatureStore, redis_url: str, schema: str
) -> None:
    """LMDB, Redis, PostgreSQL and back to where it began, with rows between copy and switch, and after it."""
    root = store.config.root
    steps: list[dict[str, Any]] = [
        {"online": redis_url},
        {"online": schema, "registry": schema, "offline": "elsewhere/offline"},
        {"online": "lmdb:///.asof/online", "registry": "sqlite:///.asof/registry.db", "offline": ".asof/offline"},
    ]
    untouched = store.training_set("first").to_arrow()
    for number, places in enumerate(steps):
        done = store.copy(**places, overwrite=number == 2)
        assert not done.switched
        shop.push(store, 30 + 20 * number, 40 + 20 * number)
        before, expected = shop.read(store), shop.history(store)
        done = store.copy(**places, switch=True, overwrite=number == 2)
        assert done.switched
        assert done.online is not None
        assert done.online.views == 4
        assert shop.read(store) == before
        assert shop.history(store) == expected
        shop.push(store, 40 + 20 * number, 50 + 20 * number)
        assert shop.same(store)
        with shop.opened(root) as other:
            assert {role: getattr(other.config, role) for role in places} == places
            assert shop.read(other) == shop.read(store)
            assert other.training_set("first").to_arrow() == untouched
            assert other.dead_letters("orders").total == 1
    store.materialize()
    assert shop.same(store)
    assert store.rebuild_training_set("first").to_arrow() == untouched
    assert len(store.revisions()) == 1


@pytest.mark.slow
def test_values_come_back_from_dynamodb(store: FeatureStore, dynamodb_server: DynamoServer) -> None:
    """As they were, with arrivals on both sides."""
    shop.push(store, 30, 40)
    store.copy(online=f"{dynamodb_server.url(f'moving{next(_numbers)}')}&create=true", switch=True)
    shop.push(store, 40, 50)
    assert shop.same(store)
    store.copy(online="lmdb:///two/online", switch=True)
    shop.push(store, 50, 60)
    assert shop.same(store)


def test_rows_that_arrive_while_it_is_copied_are_in_the_copy(
    store: FeatureStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between any two of its looks, and amid a scan; so are applies and new generations."""
    looks, numbers = copy_online.OnlineCopy.look, itertools.count(30, 5)
    scan = type(store.online).scan

    def look(self: copy_online.OnlineCopy) -> copy_online.ComparedViews:
        found = looks(self)
        if not holding:  # the last look is made while the sources are held
            at = next(numbers)
            shop.push(store, at, at + 5)
            store.materialize()
        return found

    def scanned(self: Any, view: ViewKey) -> Any:
        for number, pairs in enumerate(scan(self, view)):
            yield pairs
            if not number and not holding and view.view == "seen":
                at = next(numbers)
                shop.push(store, at, at + 5)

    turns, holding = copy_project.ProjectCopy._turns, []

    def turned(self: copy_project.ProjectCopy) -> Any:
        holding.append(True)
        return turns(self)

    monkeypatch.setattr(copy_online.OnlineCopy, "look", look)
    monkeypatch.setattr(type(store.online), "scan", scanned)
    monkeypatch.setattr(copy_project.ProjectCopy, "_turns", turned)
    done = store.copy(online="lmdb:///two/online", switch=True)
    assert done.online is not None
    assert done.online.changed > 0
    assert next(numbers) > 45
    assert shop.same(store)
    shop.push(store, 100, 110)
    assert shop.same(store)


def test_whoever_still_writes_to_what_was_left_is_refused(store: FeatureStore) -> None:
    """Pushes, materializations, applies and training sets of a process that has the old settings; it reads on."""
    with shop.opened(store.config.root) as old:
        before = shop.read(old)
        old.push("orders", [])
        store.copy(**ELSEWHERE, switch=True)
        assert shop.read(old) == before
        for write in (
            lambda: shop.push(old, 30, 40),
            old.materialize,
            lambda: old.create_training_set("second", "fraud", shop.KEYS),
            lambda: old.rebuild_training_set("first"),
            lambda: old.delete_training_set("first"),
        ):
            with pytest.raises(MovedError, match="was moved to"):
                write()
        shop.push(store, 30, 40)
        assert shop.same(store)
        assert shop.read(old) == before


@pytest.mark.parametrize("role", ["registry", "offline", "online"])
def test_each_store_can_be_moved_alone(store: FeatureStore, role: str) -> None:
    """The others stay where they are; whoever has the old settings cannot write to the one that moved."""
    with shop.opened(store.config.root) as old:
        old.catalog()
        store.copy(**{role: ELSEWHERE[role]}, switch=True)
        assert getattr(store.config, role) == ELSEWHERE[role]
        shop.push(store, 30, 40)
        assert shop.same(store)
        (store.config.root / "features.py").write_text(shop.DEFINITIONS.replace("seen", "looked"), encoding="utf-8")
        with pytest.raises(MovedError, match="was moved to"):
            old.apply() if role == "registry" else shop.push(old, 40, 50)
        store.apply()


def test_a_copy_takes_no_changes_until_it_is_switched_to(store: FeatureStore) -> None:
    """It would be overwritten; what is copied goes on."""
    root = store.config.root
    store.copy(**ELSEWHERE)
    other = root.parent / "other"
    other.mkdir()
    for name in ("features.py", "people.csv"):
        shutil.copy(root / name, other)
    settings = [f'{key} = "{url}"' for key, url in ELSEWHERE.items()]
    text = "\n".join(['project = "shop"', *settings]).replace("two/", f"{root}/two/")
    (other / "asof.toml").write_text(text, encoding="utf-8")
    with shop.opened(other) as early:
        assert shop.read(early) == shop.read(store)
        for write in (lambda: shop.push(early, 30, 40), early.materialize):
            with pytest.raises(MovedError, match="is a copy of"):
                write()
        (other / "features.py").write_text(shop.DEFINITIONS.replace("seen", "looked"), encoding="utf-8")
        with pytest.raises(MovedError, match="is a copy of"):
            early.apply()
    shop.push(store, 30, 40)
    store.copy(other, switch=True)
    assert shop.same(store)


GONE = StoreError("The network is gone", fix="Try again.")
STEPS = [("_write", GONE), ("_update", GONE), ("require_equal", KeyboardInterrupt()), ("set_online_mark", GONE)]


@pytest.mark.parametrize(("step", "error"), [*STEPS, ("switch_settings", KeyboardInterrupt())])
def test_a_copy_that_breaks_off_changes_nothing_and_goes_on_when_repeated(
    store: FeatureStore, monkeypatch: pytest.MonkeyPatch, step: str, error: BaseException
) -> None:
    """At any step: the project serves and takes rows where it was, and another try ends the copy."""
    store.copy(**ELSEWHERE) if step == "_update" else None
    shop.push(store, 30, 40)

    def fail(*_: Any, **__: Any) -> None:
        raise error

    with monkeypatch.context() as patch:
        if step == "set_online_mark":
            calls = itertools.count()
            mark = moved.set_online_mark
            # The first one marks the copy; then the one that was left and the copy are marked anew.
            patch.setattr(copy_project, step, lambda *a: fail() if next(calls) == 2 else mark(*a))
        elif step == "switch_settings":
            patch.setattr("asof.copying.switch_settings", fail)
        else:
            patch.setattr(copy_online.OnlineCopy, step, fail)
        with pytest.raises(type(error)):
            store.copy(**ELSEWHERE, switch=True)
    assert "online" not in (store.config.root / "asof.toml").read_text(encoding="utf-8")
    shop.push(store, 40, 50)
    store.materialize()
    assert shop.same(store)
    assert store.copy(**ELSEWHERE, switch=True).switched
    shop.push(store, 50, 60)
    assert shop.same(store)


@pytest.mark.parametrize("step", ["_update", "require_equal", "set_online_mark", "switch_settings"])
def test_a_copy_that_is_killed_loses_nothing_and_ends_when_repeated(store: FeatureStore, step: str) -> None:
    """Whoever writes where it was is let or refused, and nothing is lost; up to the moment the settings are written."""
    root = store.config.root
    store.copy(**ELSEWHERE)
    shop.push(store, 30, 40)
    context = multiprocessing.get_context("fork")

    def die(*_: Any) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def copy() -> None:
        if step == "set_online_mark":
            copy_project.ProjectCopy._set_mark = (  # type: ignore[method-assign]
                lambda self, places, role, mark: die() if role == "online" else set_mark(self, places, role, mark)
            )
        elif step == "switch_settings":
            vars(copying)["switch_settings"] = die
        else:
            setattr(copy_online.OnlineCopy, step, die)
        with shop.opened(root) as mine:
            mine.copy(**ELSEWHERE, switch=True)

    set_mark = copy_project.ProjectCopy._set_mark
    process = context.Process(target=copy)
    process.start()
    process.join(120)
    assert process.exitcode == -signal.SIGKILL
    with shop.opened(root) as again:
        assert shop.same(again)
        pushed = 40
        with suppress(MovedError):
            shop.push(again, 40, 50)
            pushed = 50
        assert (pushed == 50) == (step in ("_update", "require_equal"))
        assert again.copy(**ELSEWHERE, switch=True).switched
        shop.push(again, pushed, 60)
        assert shop.same(again)


def test_who_was_left_behind_does_not_copy_over_what_came_since(store: FeatureStore) -> None:
    """With the old settings, the same call again."""
    with shop.opened(store.config.root) as old:
        store.copy(**ELSEWHERE, switch=True)
        shop.push(store, 30, 40)
        store.materialize()
        for role, place in ELSEWHERE.items():
            if role != "registry":
                with pytest.raises(ConflictError, match="holds something"):
                    old.copy(**{role: place}, switch=True)
        with pytest.raises(ConflictError, match="was moved to"):
            old.copy(online="lmdb:///three/online")
        assert shop.same(store)


def test_a_target_that_holds_something_else_is_refused(store: FeatureStore, tmp_path: Path) -> None:
    """Nothing of it is touched; what another copy wrote is something else, too."""
    with shop.start(tmp_path / "another", "".join(f'{k} = "{u}"\n' for k, u in ELSEWHERE.items())) as another:
        shop.fill(another)
        shop.push(another, 30, 50)
        before = shop.read(another)
        for role, place in ELSEWHERE.items():
            there = place.replace("two/", f"{another.config.root}/two/")
            with pytest.raises(ConflictError, match="holds something"):
                store.copy(**{role: there}, switch=True)
            with pytest.raises(ConflictError, match="holds something"):
                store.copy(**{role: there}, dry_run=True)
        assert shop.read(another) == before
        store.copy(online=f"lmdb:///{another.config.root}/two/online", overwrite=True)
        with pytest.raises(MovedError):
            shop.push(another, 50, 60)
    third = open_online_store(f"lmdb:///{another.config.root}/two/online", tmp_path)
    assert "that nobody switched to" in (moved.online_mark(third, "shop") or "")
    third.close()


def test_a_copy_that_somebody_changed_is_put_right(store: FeatureStore) -> None:
    """Values, keys and views that are there and should not be, and those that are not there."""
    store.copy(online="lmdb:///two/online")
    target = open_online_store("lmdb:///two/online", store.config.root)
    view = ViewKey("shop", "spend", 1)
    for keys, values in store.online.scan(view):
        half, upside_down = keys[: len(keys) // 2], values[::-1][: len(keys) // 2]
    there = target.generations("shop")[view]
    with target.write(view) as writer:
        writer.put(half, upside_down)
        writer.commit(there.instant_us, there.written_at_us, there.meaning, there.progress)
    with target.write(ViewKey("shop", "stray", 1)) as writer:
        writer.commit(1, 1, "")
    target.drop(ViewKey("shop", "profile", 1))
    done = store.copy(online="lmdb:///two/online", switch=True)
    assert done.online is not None
    assert done.online.changed >= len(half)
    assert ViewKey("shop", "stray", 1) not in target.generations("shop")
    target.close()
    assert shop.same(store)


def test_what_is_copied_is_named(store: FeatureStore) -> None:
    """No target, the same target, and a switch of something that is not the project's are refused."""
    with pytest.raises(InputError, match="nothing to copy to"):
        store.copy()
    with pytest.raises(InputError, match="already"):
        store.copy(online=store.config.online)
    for place in (".asof/offline/deeper", ".asof"):
        with pytest.raises(InputError, match="inside each other"):
            store.copy(offline=place)
    store.backup(store.config.root / "kept")
    with pytest.raises(InputError, match="own stores"):
        store.copy(online="lmdb:///two/online", source=store.config.root / "kept", switch=True)
    assert open_registry("sqlite:///kept/registry.db", store.config.root).revision() == 1

"""A writer that is opened while somebody has the source's turn waits without keeping that one from ending it."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from asof import Count, EventView
from tests.unit.stream_project import CUSTOMER, apply, open_store, payments, row

if TYPE_CHECKING:
    from pathlib import Path

    from asof import FeatureStore

_LONG_S = 30.0
SOURCE = payments()


def view(name: str) -> EventView:
    return EventView(name, entity=CUSTOMER, source=SOURCE, features=[Count(windows=["lifetime"])])


def waits_for_the_turn(store: FeatureStore, turn: threading.Thread) -> bool:
    """Return whether the thread has come to where it begins the new view, and waits."""
    until_s = time.monotonic() + _LONG_S
    while time.monotonic() < until_s and turn.is_alive():
        if not store._opening.acquire(blocking=False):
            return True
        store._opening.release()
        time.sleep(0.01)  # until the thread is there
    return False


def test_who_has_the_turn_can_end_it(tmp_path: Path) -> None:
    """It needs the registry and the offline store, which the opening thread must not hold meanwhile."""
    with open_store(tmp_path) as store:
        apply(store, view("first"))
        store.push("payments", [row(1)])
        apply(store, view("first"), view("second"))
        opening = threading.Thread(target=store.ingestor, args=("payments",))
        reached = threading.Event()

        def use() -> None:
            store.catalog()
            _ = store.offline
            reached.set()

        with store.online.exclusive("shop", "payments"):
            opening.start()
            assert waits_for_the_turn(store, opening)
            threading.Thread(target=use, daemon=True).start()
            assert reached.wait(_LONG_S)
        opening.join()
        store.push("payments", [row(2)])
        assert store.get_online_features(["second:count_lifetime"], {"customer_id": [7]}).to_dict() == {
            "second__count_lifetime": [2]
        }

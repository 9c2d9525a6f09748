"""Pushes that a store or a view fails, answered by an application in this process."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from asof.clock import SystemClock
from asof.config import load_config
from asof.errors import FeatureValueError
from asof.server.app import App
from asof.server.project import Project
from asof.services.arrivals import Arrivals
from asof.store import FeatureStore
from tests.server.test_push import DEFINITIONS, SETTINGS, order

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "asof.toml").write_text(SETTINGS, encoding="utf-8")
    (tmp_path / "features.py").write_text(DEFINITIONS, encoding="utf-8")
    (tmp_path / "people.csv").write_text("customer_id,country,since\n17,NL,2026-01-01\n", encoding="utf-8")
    with FeatureStore(tmp_path) as store:
        store.apply()
    return tmp_path


def push(root: Path, rows: list[Any]) -> httpx.Response:
    """Push as a client of a whole application, from its start to its end."""

    async def run() -> httpx.Response:
        project = Project.open(load_config(root, os.environ), SystemClock())
        app = App(project, pushed_to=FeatureStore(root))
        inbox: asyncio.Queue[Any] = asyncio.Queue()
        started = asyncio.Event()

        async def note(_: Any) -> None:
            started.set()

        living = asyncio.create_task(app({"type": "lifespan"}, inbox.get, note))
        await inbox.put({"type": "lifespan.startup"})
        await started.wait()
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            response = await client.post("/v1/push", json={"source": "orders", "rows": rows})
        await inbox.put({"type": "lifespan.shutdown"})
        await living
        return response

    return asyncio.run(run())


def test_a_view_that_cannot_take_rows_in_is_named_and_catches_up(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rows are kept; the next push brings the view up to them."""

    def refuse(*_: Any) -> None:
        raise FeatureValueError("A sum is too large", why="It is", fix="Use floats")

    with monkeypatch.context() as patch:
        patch.setattr(Arrivals, "take_in", refuse)
        done = push(root, [order(1)]).json()
    assert done["taken"] == 1
    [error] = done["behind"].values()
    assert error == {
        "code": "value_out_of_range",
        "what": "A sum is too large.",
        "why": "It is.",
        "fix": "Use floats.",
    }
    assert push(root, [order(1)]).json()["behind"] == {}
    with FeatureStore(root) as store:
        assert store.get_online_features(["spend"], {"customer_id": [1]}).to_dict()["spend__count_lifetime"] == [2]


def test_where_dead_letters_cannot_be_kept_nothing_is_taken(root: Path) -> None:
    """A row that cannot be kept anywhere must not be acknowledged."""
    place = root / ".asof" / "offline" / "deadletter"
    place.parent.mkdir()
    place.write_text("in the way", encoding="utf-8")
    response = push(root, [order(1), order(1, at=None)])
    assert (response.status_code, response.json()["error"]["code"]) == (503, "store_failed")
    place.unlink()
    with FeatureStore(root) as store:
        assert store.log.of("orders").head().sequence == 0
        store.push("orders", [order(1), order(1, at=None)])
        assert store.dead_letters("orders").total == 1

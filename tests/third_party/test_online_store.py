"""A package that Asof knows nothing of adds an online store by an entry point, and keeps the contract."""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from asof import Entity, EventView, FeatureStore, StreamSource, Sum
from asof.backends.loading import open_online_store
from asof.testing.conformance.online import OnlineStoreConformance

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from asof.interfaces import OnlineStore

PACKAGE = Path(__file__).with_name("asof_shelf")


@pytest.fixture(autouse=True, scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Install the package for the tests of this module: its code, and what an installer notes of its entry points."""
    project = tomllib.loads((PACKAGE / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    site = tmp_path_factory.mktemp("site")
    noted = site / f"asof_shelf-{project['version']}.dist-info"
    noted.mkdir()
    metadata = f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    (noted / "METADATA").write_text(metadata, encoding="utf-8")
    lines = []
    for group, points in project["entry-points"].items():
        lines += [f"[{group}]", *(f"{name} = {target}" for name, target in points.items())]
    (noted / "entry_points.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", [str(site), str(PACKAGE / "src"), *sys.path])
        yield


class TestShelf(OnlineStoreConformance):
    @pytest.fixture
    def open_store(self, tmp_path: Path) -> Callable[[], OnlineStore]:
        return lambda: open_online_store("shelf:///shelf.db", tmp_path)


def test_a_project_runs_on_it(tmp_path: Path) -> None:
    """Named in the settings, like the stores that Asof brings."""
    settings = 'project = "shop"\ndefinitions = []\nonline = "shelf:///.asof/shelf.db"\n'
    (tmp_path / "asof.toml").write_text(settings, encoding="utf-8")
    types = {"customer_id": "int64", "amount": "int64", "ts": "timestamp"}
    orders = StreamSource("orders", schema=types, event_time="ts")
    customer = Entity("customer", join_key="customer_id")
    spend = EventView("spend", entity=customer, source=orders, features=[Sum("amount", windows=["lifetime"])])
    with FeatureStore(tmp_path) as store:
        store.apply(store.plan([spend]), who="test")
        for amount in (3, 4):
            store.push("orders", [{"customer_id": 1, "amount": amount, "ts": "2026-01-01T00:00:00Z"}])
        read = store.get_online_features(["spend"], {"customer_id": [1, 2]})
        assert read.to_dict()["spend__amount_sum_lifetime"] == [7, None]
    assert (tmp_path / ".asof" / "shelf.db").is_file()

"""Rows as PyTorch datasets, with PyTorch where it is installed, else with a stand-in for the little that is called.

PyTorch comes with gigabytes of GPU libraries, so tests cannot count on it. The stand-in's tensors are NumPy arrays and
it has no loader. Reading, encoding, sharding and shuffling are the same code that every other library is tested with.
"""

from __future__ import annotations

import importlib.util
import sys
import types
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tests.frameworks.rows import FEATURES, check, joined, stored

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from asof import FeatureStore

OURS = "asof.frameworks.torch"
INSTALLED = importlib.util.find_spec("torch") is not None


class SharedNumber(np.ndarray[Any, np.dtype[Any]]):
    """An array that says that processes share it."""

    def share_memory_(self) -> SharedNumber:
        return self


def from_numpy(values: Any) -> Any:
    """Take what PyTorch takes: an array that may be written to."""
    assert isinstance(values, np.ndarray)
    assert values.flags.writeable
    return values


def stand_in() -> dict[str, types.ModuleType]:
    """Return modules with the names that are called."""
    modules = {name: types.ModuleType(name) for name in ("torch", "torch.utils", "torch.utils.data")}
    torch, _, data = modules.values()
    made = {
        "from_numpy": from_numpy,
        "int64": np.int64,
        "zeros": lambda n, dtype: np.zeros(n, dtype).view(SharedNumber),
    }
    vars(torch).update(made)
    vars(data).update({"IterableDataset": type("IterableDataset", (), {}), "get_worker_info": lambda: None})
    return modules


@pytest.fixture(autouse=True)
def torch(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Put the stand-in where PyTorch would be, if it is not there."""
    if INSTALLED:
        yield
        return
    for name, module in stand_in().items():
        monkeypatch.setitem(sys.modules, name, module)
    yield
    sys.modules.pop(OURS, None)


def as_worker(monkeypatch: pytest.MonkeyPatch, number: int, of: int) -> None:
    """Make the process look like one of a loader's workers."""
    info = types.SimpleNamespace(id=number, num_workers=of)
    monkeypatch.setattr(sys.modules[OURS], "get_worker_info", lambda: info)


def test_a_map_style_dataset_has_any_row_by_its_number(rows: Any, tmp_path: Path) -> None:
    """One as numbers, several as a batch, a column as a whole; from files that go with it."""
    dataset = rows.to_torch(folder=tmp_path)
    assert len(dataset) == len(rows)
    check(rows, dataset[list(range(len(rows)))])
    features, label = dataset[3]
    assert list(features) == FEATURES
    assert label.shape == features["spend__count_1d"].shape == ()
    wanted = rows.to_arrow()["spend__count_1d"].to_pylist()
    assert int(features["spend__count_1d"]) == wanted[3]
    assert dataset.column("spend__count_1d").tolist() == wanted
    assert len(list(tmp_path.glob("asof-*"))) == 1
    del dataset
    assert list(tmp_path.glob("asof-*")) == []


def test_streamed_batches_are_those_of_arrow(rows: Any) -> None:
    """In order, without a seed."""
    check(rows, joined(list(rows.to_torch_stream(5))))


def test_an_epoch_has_its_own_order_and_workers_share_it(rows: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each row once, of all the processes and their loaders' workers; the epoch is a step of the seed."""
    everything = rows.to_arrow()["row"].to_pylist()

    def epoch(number: int, ranks: int, workers: int) -> list[int]:
        found: list[int] = []
        for rank in range(ranks):
            dataset = rows.to_torch_stream(4, features=["row"], seed=5, worker=rank, workers=ranks)
            dataset.set_epoch(number)
            for worker in range(workers):
                as_worker(monkeypatch, worker, workers)
                found += [int(row) for features, _ in dataset for row in features["row"]]
        return found

    rows.to_torch_stream()
    orders = [epoch(0, 1, 2), epoch(1, 1, 2), epoch(0, 2, 3)]
    assert all(sorted(order) == everything for order in orders)
    assert orders[0] == epoch(0, 1, 2) != orders[1]
    alone = [int(row) for features, _ in rows.stream(4, features=["row"], seed=6) for row in features["row"]]
    assert epoch(1, 1, 1) == alone


@pytest.mark.skipif(not INSTALLED, reason="PyTorch is not installed; a loader's processes cannot be stood in for")
@pytest.mark.parametrize("context", ["fork", "spawn"])
@pytest.mark.parametrize("lasting", [False, True])
def test_a_loader_gives_every_row_once(store: FeatureStore, context: str, lasting: bool) -> None:
    """From its processes, forked or spawned, also those that live on to the next epoch."""
    from torch.utils.data import DataLoader

    rows = stored(store).read("train")
    everything = rows.to_arrow()["row"].to_pylist()
    options = {"num_workers": 2, "multiprocessing_context": context, "persistent_workers": lasting}
    dataset = rows.to_torch_stream(4, features=["row"], seed=1)
    loader = DataLoader(dataset, batch_size=None, **options)
    orders = []
    for epoch in range(3):
        dataset.set_epoch(epoch % 2)
        orders.append([row for features, _ in loader for row in features["row"].tolist()])
    assert all(sorted(order) == everything for order in orders)
    assert orders[0] == orders[2] != orders[1]
    mapped = DataLoader(rows.to_torch(features=["row"]), batch_size=8, shuffle=True, **options)
    assert sorted(row for features, _ in mapped for row in features["row"].tolist()) == everything

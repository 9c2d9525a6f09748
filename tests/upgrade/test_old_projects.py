"""A project that an older commit wrote opens here as it is: same plan, same values, same rows.

Each archive in `projects/` is a whole project directory with what was stored then, and with the answers that the commit
that wrote it gave: `expected_history.parquet`, `expected_online.parquet`, both at the instant in `now_us.txt`.
"""

from __future__ import annotations

import tarfile
from pathlib import Path
from typing import TYPE_CHECKING

import lmdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import asof
from asof.clock import FixedClock
from asof.errors import CorruptDataError

if TYPE_CHECKING:
    from collections.abc import Iterator

ARCHIVES = sorted((Path(__file__).parent / "projects").glob("*.tar.xz"))
KEYS = {"customer_id": [0, 1, 2, 3, 11, 99]}


@pytest.fixture(params=ARCHIVES, ids=lambda archive: archive.name.split(".")[0])
def project(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    with tarfile.open(request.param) as archive:
        archive.extractall(tmp_path, filter="data")
    return tmp_path / "shop"


@pytest.fixture
def store(project: Path) -> Iterator[asof.FeatureStore]:
    clock = FixedClock(int((project / "now_us.txt").read_text()))
    with asof.FeatureStore(project, clock=clock) as opened:
        yield opened


def expected(project: Path, what: str) -> pa.Table:
    return pq.read_table(project / f"expected_{what}.parquet")


def project_has_old_states(project: Path) -> bool:
    return not (project / ".asof/online/sources").exists()


def online(store: asof.FeatureStore) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = store.get_online_features("shop", KEYS).to_arrow().to_pylist()
    return rows


def test_there_are_projects() -> None:
    """Without them the tests below would hold for nothing."""
    assert len(ARCHIVES) >= 3


def test_its_definitions_are_the_ones_that_were_registered(store: asof.FeatureStore) -> None:
    """An upgrade alone makes no new version of a view."""
    assert {change.action for change in store.plan().changes} == {"unchanged"}


def test_it_serves_what_it_served_or_says_what_to_run(project: Path, store: asof.FeatureStore) -> None:
    """States were stored in another form before there were streams."""
    if project_has_old_states(project):
        with pytest.raises(CorruptDataError, match=r"format 2.*Run `asof materialize spend`"):
            online(store)
    else:
        assert online(store) == expected(project, "online").to_pylist()


def test_what_it_trains_on_is_what_it_trained_on(project: Path, store: asof.FeatureStore) -> None:
    then = expected(project, "history")
    now = store.get_historical_features("shop", then.select(["customer_id", "event_timestamp"])).to_arrow()
    assert now.to_pylist() == then.to_pylist()


def test_materialized_anew_it_serves_the_same(project: Path, store: asof.FeatureStore) -> None:
    store.materialize()
    assert online(store) == expected(project, "online").to_pylist()


def test_its_past_is_still_told(store: asof.FeatureStore) -> None:
    [first] = store.revisions()
    assert (first.who, first.summary) == ("tests", "first")
    assert all(view.generation is not None for view in store.status().views)


def test_its_training_sets_are_rebuilt_alike(store: asof.FeatureStore) -> None:
    for training_set in store.training_sets():
        before = training_set.to_arrow().to_pylist()
        assert store.rebuild_training_set(training_set.name).to_arrow().to_pylist() == before


def test_an_older_version_refuses_what_this_one_has_written(project: Path) -> None:
    """It would misread it; reading alone changes nothing."""
    before = kept_format(project)
    assert before == (b"1" if project_has_old_states(project) else b"2")
    clock = FixedClock(int((project / "now_us.txt").read_text()))
    with asof.FeatureStore(project, clock=clock) as opened:
        opened.status()
    assert kept_format(project) == before
    with asof.FeatureStore(project, clock=clock) as opened:
        opened.materialize()
    assert kept_format(project) == b"2"


def test_a_store_of_a_newer_version_is_refused_by_its_name(project: Path) -> None:
    with lmdb.open(str(project / ".asof/online"), max_dbs=16) as environment, environment.begin(write=True) as txn:
        txn.put(b"format", b"7", db=environment.open_db(b"meta", txn))
    with asof.FeatureStore(project) as opened, pytest.raises(CorruptDataError, match="has format 7, which this"):
        opened.status()


def kept_format(project: Path) -> bytes | None:
    with lmdb.open(str(project / ".asof/online"), max_dbs=16, readonly=True) as environment, environment.begin() as txn:
        return txn.get(b"format", db=environment.open_db(b"meta", txn, create=False))

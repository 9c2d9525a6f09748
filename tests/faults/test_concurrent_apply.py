"""People who apply at the same moment get one whole revision each, a conflict, or nothing to do; never a mix."""

from __future__ import annotations

import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from asof import FeatureStore
from asof.errors import ConflictError

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow

FEATURES = """
from asof import Entity, FeatureService, FileSource, StateView

people = FileSource("people", path="people.csv", event_time="since")
customer = Entity("customer", join_key="customer_id")
profile = StateView("profile", entity=customer, source=people, features=["country"])
service = FeatureService("service", features=[profile])
"""
CONFLICT = ConflictError.exit_code


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "asof.toml").write_text('project = "shop"\n', encoding="utf-8")
    (tmp_path / "features.py").write_text(FEATURES, encoding="utf-8")
    (tmp_path / "people.csv").write_text("customer_id,since,country\n7,2025-01-01,NL\n", encoding="utf-8")
    return tmp_path


def start_apply(root: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "asof.cli", "--project", str(root), "apply"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_of_three_first_applies_at_once_one_wins(root: Path) -> None:
    processes = [start_apply(root) for _ in range(3)]
    results = [(process.communicate(timeout=120)[1], process.returncode) for process in processes]
    for stderr, code in results:
        assert code in (0, CONFLICT), stderr
        assert "Traceback" not in stderr
    assert any(code == 0 for _, code in results)
    with FeatureStore(root) as store:
        assert store.registry.revision() == 1
        assert len(store.catalog().entries()) == 4


def test_an_apply_that_is_killed_leaves_all_of_it_or_none(root: Path) -> None:
    """Each round kills one apply a little later in its life; the last ones live to the end."""
    seen = set()
    for delay_s in (0.2, 0.6, 1.0, 1.4, 120.0):
        process = start_apply(root)
        try:
            process.communicate(timeout=delay_s)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.communicate()
        with FeatureStore(root) as store:
            entries = len(store.catalog().entries())
            assert (store.registry.revision(), entries) in ((0, 0), (1, 4))
            seen.add(entries)
    assert 4 in seen

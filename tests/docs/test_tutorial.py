"""The tutorial's code runs as it is printed."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from asof import FeatureStore
from asof.demo import data, project_files
from asof.errors import RejectedRowsWarning

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.filterwarnings(f"ignore::{RejectedRowsWarning.__module__}.{RejectedRowsWarning.__name__}")
def test_the_tutorial_runs_from_training_set_to_equal_values(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every Python block after the definitions runs, in order, in the demonstration's project."""
    monkeypatch.chdir(tmp_path)
    project_files.start(tmp_path)
    data.prepare(tmp_path / "data")
    with FeatureStore(tmp_path) as store:
        store.apply()
    text = (ROOT / "README.md").read_text(encoding="utf-8").partition("<!-- tutorial -->")[2]
    definitions, *blocks = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    assert definitions == project_files.shipped("features.py")
    variables: dict[str, Any] = {}
    for block in blocks:
        exec(compile(block, "README.md", "exec"), variables)
    assert variables["flights"].height == 19
    assert variables["done"].intervals == 365
    assert len(variables["online"]) == 38
    assert (tmp_path / "training.parquet").is_file()
    variables["store"].close()

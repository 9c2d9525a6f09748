"""A small project on disk, and a way to run the command line in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from asof.cli import main

if TYPE_CHECKING:
    from pathlib import Path

FEATURES = """\
from asof import Count, Entity, EventView, FeatureService, FileSource, StateView, Sum

customer = Entity("customer", join_key="customer_id")
orders = FileSource("orders", path="orders.csv", event_time="ts", event_id="id")
people = FileSource("people", path="people.csv", event_time="since")
totals = [Sum("amount", windows=["1h"]), Count(windows=["1h"])]
spend = EventView("spend", entity=customer, source=orders, features=totals)
profile = StateView("profile", entity=customer, source=people, features=["country"], ttl="7d", owner="ada")
fraud = FeatureService("fraud", features=[spend, profile])
score = FeatureService("score", features=[profile])
"""


@dataclass
class Ran:
    """What one run of the command line did."""

    code: int
    out: str
    err: str


class Project:
    """A project in a directory."""

    def __init__(self, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.root = root
        self._capsys = capsys
        self.write("asof.toml", 'project = "shop"\n')
        self.write("features.py", FEATURES)
        self.write("orders.csv", "id,customer_id,ts,amount\n1,7,2026-01-01T00:00:00Z,2.5\n")
        self.write("people.csv", "customer_id,since,country\n7,2025-01-01T00:00:00Z,NL\n")

    def write(self, name: str, text: str) -> None:
        """Write a file below the root."""
        (self.root / name).write_text(text, encoding="utf-8")

    def edit(self, old: str, new: str) -> None:
        """Replace a text that must be in features.py."""
        text = (self.root / "features.py").read_text(encoding="utf-8")
        assert old in text
        self.write("features.py", text.replace(old, new))

    def run(self, *arguments: str) -> Ran:
        """Run `asof --project ROOT ARGUMENTS` in this process, without a terminal."""
        with pytest.raises(SystemExit) as exit_:
            main(["--project", str(self.root), *arguments])
        captured = self._capsys.readouterr()
        return Ran(int(exit_.value.code or 0), captured.out, captured.err)


@pytest.fixture
def project(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Project:
    """Return a new project with two views and two services, nothing applied."""
    return Project(tmp_path, capsys)

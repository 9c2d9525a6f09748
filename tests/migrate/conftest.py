"""Runs the import on the command line, as a user does."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from asof.cli import main
from tests.cli.conftest import Ran
from tests.migrate.samples import write

if TYPE_CHECKING:
    from pathlib import Path


class Importer:
    """Imports repositories below a directory."""

    def __init__(self, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.repository = root / "repo"
        self.out = root / "out"
        self._capsys = capsys

    def run(self, *arguments: str) -> Ran:
        """Run `asof ARGUMENTS` in this process."""
        with pytest.raises(SystemExit) as exit_:
            main(list(arguments))
        captured = self._capsys.readouterr()
        return Ran(int(exit_.value.code or 0), captured.out, captured.err)

    def convert(self, files: dict[str, str], *options: str) -> Ran:
        """Write a repository and import it."""
        write(self.repository, files)
        options = (*options, "--handover", "2026-01-01T00:00:00Z")
        return self.run("import-feast", str(self.repository), "--out", str(self.out), *options)

    def features(self) -> str:
        """Return the features.py that was written."""
        return (self.out / "features.py").read_text(encoding="utf-8")


@pytest.fixture
def importer(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Importer:
    """Return an importer whose repository is empty yet."""
    return Importer(tmp_path, capsys)

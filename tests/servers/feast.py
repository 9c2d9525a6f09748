"""Feast, in its own environment, as a process that reads from a server as its remote online store does."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

from tests.servers.processes import absent

PYTHON = Path(__file__).resolve().parents[2] / ".servers" / "feast" / "bin" / "python"


def feast(code: str, directory: Path, *arguments: str) -> Any:
    """Run a program with Feast and return the JSON that it prints last.

    Args:
        code: The program.
        directory: Where it runs, and keeps its files.
        arguments: For it.
    """
    if not (PYTHON.parents[1] / ".complete").exists():
        absent("Feast", "there is no .servers/feast")
    (directory / "program.py").write_text(code, encoding="utf-8")
    environment = {
        "FEAST_USAGE": "False",
        "PYTHONWARNINGS": "ignore",
        "PATH": os.environ["PATH"],
        "HOME": str(directory),
    }
    done = subprocess.run(
        [PYTHON, "program.py", *arguments], cwd=directory, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads(done.stdout.splitlines()[-1])

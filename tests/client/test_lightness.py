"""What the client costs a model server that embeds it: nothing heavy is loaded."""

from __future__ import annotations

import subprocess
import sys

HEAVY = {
    "pyarrow",
    "numpy",
    "duckdb",
    "deltalake",
    "lmdb",
    "sqlalchemy",
    "pandas",
    "asyncio",
    "ssl",
    "uvicorn",
    "starlette",
    "_native",
}
CODE = """
import sys
import asof.client
from asof.client import Client
Client("http://127.0.0.1:1").close()
print(" ".join(sys.modules))
"""


def test_importing_the_client_loads_nothing_heavy() -> None:
    """No engine, no Arrow, no NumPy; and neither asyncio nor TLS before they are used."""
    done = subprocess.run([sys.executable, "-I", "-c", CODE], capture_output=True, text=True, check=False)
    if done.returncode:
        done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    loaded = {part for name in done.stdout.split() for part in name.split(".")}
    assert not HEAVY & loaded

"""PostgreSQL's client library is optional, and loaded by who uses it only."""

from __future__ import annotations

import subprocess
import sys

import pytest

from asof.errors import ConfigError


@pytest.mark.parametrize(
    "opener", ["asof.backends.postgres:open_store", "asof.backends.sql:open_registry"], ids=["online", "registry"]
)
def test_a_client_library_that_is_not_installed_is_named_with_its_extra(opener: str) -> None:
    """Not an ImportError."""
    module, _, function = opener.partition(":")
    code = f"""
import sys
from pathlib import Path
from asof.errors import ConfigError
from {module} import {function}

assert "psycopg" not in sys.modules
sys.modules["psycopg"] = None
try:
    {function}("postgresql://127.0.0.1/asof", Path("/"))
except {ConfigError.__name__} as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert 'pip install "asof[postgres]"' in done.stdout

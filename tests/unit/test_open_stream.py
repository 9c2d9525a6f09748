"""A stream is found by the scheme of its URL, and its client library is loaded only then."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from asof.backends import kafka
from asof.backends import redis as redis_backend
from asof.backends.formats import open_decoder
from asof.backends.loading import open_stream
from asof.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from asof.interfaces import StreamBackend


@pytest.mark.parametrize("scheme", ["kafka", "redis", "rediss"])
def test_a_scheme_leads_to_its_backend(tmp_path: Path, scheme: str) -> None:
    """Without a connection."""
    assert hasattr(open_stream(f"{scheme}://127.0.0.1:1", tmp_path), "consume")


def test_an_unknown_scheme_names_those_that_are_installed(tmp_path: Path) -> None:
    """And the nearest one."""
    with pytest.raises(ConfigError, match="Did you mean kafka") as caught:
        open_stream("kafak://host", tmp_path)
    assert "redis://" in caught.value.fix


@pytest.mark.parametrize(
    ("opener", "url", "module", "extra"),
    [
        (kafka.open_stream, "kafka://host", "confluent_kafka", "kafka"),
        (redis_backend.open_stream, "redis://host", "redis", "redis"),
    ],
)
def test_a_client_library_that_is_not_installed_is_named_with_its_extra(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    opener: Callable[[str, Path], StreamBackend],
    url: str,
    module: str,
    extra: str,
) -> None:
    """Not an ImportError."""
    for name in [name for name in sys.modules if name.startswith(opener.__module__ + ".")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ConfigError, match=rf"asof\[{extra}\]"):
        opener(url, tmp_path)


@pytest.mark.parametrize(("name", "module"), [("avro", "fastavro"), ("protobuf", "google.protobuf")])
def test_a_format_whose_library_is_not_installed_is_named_with_its_extra(
    monkeypatch: pytest.MonkeyPatch, name: str, module: str
) -> None:
    """Likewise."""
    import pyarrow as pa

    for loaded in [loaded for loaded in sys.modules if loaded.startswith(f"asof.backends.formats.{name}")]:
        monkeypatch.delitem(sys.modules, loaded)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ConfigError, match=rf"asof\[{name}\]"):
        open_decoder(name, pa.schema([]), registry="http://host")


def test_importing_the_backends_loads_no_client_library() -> None:
    """They are heavy, and optional."""
    code = (
        "import sys, asof, asof.backends.kafka, asof.backends.redis, asof.backends.formats\n"
        "sys.exit(str(sorted({'confluent_kafka', 'redis', 'fastavro', 'google.protobuf'} & sys.modules.keys()))"
        " if {'confluent_kafka', 'redis', 'fastavro', 'google.protobuf'} & sys.modules.keys() else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr

"""The load run, for a few seconds: on files, and on a server that is killed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.load.run import Settings, load
from tests.load.stores import KINDS

if TYPE_CHECKING:
    from pathlib import Path

    from tests.servers.kafka import KafkaServer


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["lmdb", "redis"])
@pytest.mark.filterwarnings("ignore::asof.errors.RejectedRowsWarning")
def test_a_short_run_finds_nothing_wrong(kind: str, tmp_path: Path, kafka_server: KafkaServer) -> None:
    """Reads, pushes, messages, materializations and applies, and kills in between; no value is wrong, no row lost."""
    with KINDS[kind]() as stores:
        verdict = load(kafka_server, stores, tmp_path, Settings(seconds=6, every_s=1.5, seed=7))
    assert not verdict.wrong, verdict.text()
    assert verdict.counts["clicks acknowledged"] >= 10
    assert verdict.counts["answers held to the oracle"] > 20

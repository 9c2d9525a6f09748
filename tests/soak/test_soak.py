"""The soak test, for a few seconds: what it would find in minutes, it would look for here, too."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.soak.run import Settings, soak

if TYPE_CHECKING:
    from pathlib import Path

    from tests.servers.kafka import KafkaServer


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::asof.errors.RejectedRowsWarning")
def test_a_short_run_finds_nothing_wrong(tmp_path: Path, kafka_server: KafkaServer) -> None:
    """Messages are sent, workers die and come back, values are rebuilt; every read is the oracle's and history's."""
    verdict = soak(kafka_server, tmp_path, Settings(seconds=8, rate=40, deadly=0.005, every_s=2.5))
    assert not verdict.wrong, verdict.text()
    assert verdict.counts["rows of the log"] > 100
    assert verdict.counts["answers held to the oracle"] > 20

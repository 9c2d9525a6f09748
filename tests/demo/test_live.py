"""The live part of the demonstration goes through a real broker, and its clock keeps its word."""

from __future__ import annotations

import io
import re
import time
from typing import TYPE_CHECKING

import pytest
from rich.console import Console

from asof import FeatureStore
from asof.clock import to_us
from asof.definitions import StreamSource
from asof.demo import data, live, project_files, replay
from asof.demo.screen import Screen
from asof.errors import AsofError

if TYPE_CHECKING:
    from pathlib import Path

    from tests.servers.kafka import KafkaServer


def project(root: Path) -> Path:
    project_files.start(root)
    data.prepare(root / "data", quick=True)
    with FeatureStore(root) as store:
        store.apply()
    return root


def run(root: Path) -> str:
    text = io.StringIO()
    live.Live(root, Screen(Console(file=text, width=100))).run()
    return text.getvalue()


@pytest.mark.slow
def test_landings_go_through_kafka_and_earlier_ones_do_not_count(
    tmp_path: Path, kafka_server: KafkaServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two demonstrations on one broker: the second begins where the topic ends, and each serves what training has."""
    monkeypatch.setenv("ASOF_STREAM", f"kafka://{kafka_server.servers}")
    for name in ("first", "second"):
        shown = run(project(tmp_path / name))
        assert "They go through Kafka" in shown
        assert "181 were sent, 181 are in the log" in shown
        assert re.search(r"all \d+ x 3 x 6 = [\d,]+\s+values\s+equal what was served", shown)
    assert kafka_server.end(replay.TOPIC, 0) == 2 * 181


@pytest.mark.slow
def test_a_value_that_differs_is_not_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The comparison fails, with the value, where training has another one."""
    add = live._Served.add

    def one_more(self: live._Served, taken: int, at: object, values: dict[str, list[float]]) -> None:
        values["airport_now__landed_1h"][0] += 1
        add(self, taken, at, values)  # type: ignore[arg-type] # passed on as it came

    monkeypatch.setattr(live._Served, "add", one_more)
    with pytest.raises(AsofError, match=r"airport_now__landed_1h of EWR at .* was served as"):
        run(project(tmp_path))


def test_the_replay_begins_at_the_hand_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the file owns is over when the first row is sent, to the topic that the definition names."""
    source = project_files.live_view().source
    assert isinstance(source, StreamSource)
    assert source.handover_us == to_us(live.BEGIN)
    assert (source.name, source.topic) == (replay.SOURCE, replay.TOPIC)
    now_ns = 0
    monkeypatch.setattr(time, "perf_counter_ns", lambda: now_ns)
    clock = replay.ReplayClock(5, 1000)
    now_ns = 9_000_000
    assert clock.now_us() == 5
    clock.start()
    now_ns += 2_000_000
    assert clock.now_us() == 5 + 2_000 * 1000

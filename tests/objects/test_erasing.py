"""Erasing from a project whose files are in a bucket leaves nothing there, nor in the copies on this disk."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asof.clock import FixedClock, to_us
from tests.erasing.test_erase import MARKER, fill, holders, served, trained
from tests.unit.stream_project import NOW, open_store

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from tests.servers.objects import ObjectServer


def test_objects_and_their_copies_lose_the_rows(
    object_server: ObjectServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is fetched anew afterwards has none of them, and everybody else is served what training says."""
    monkeypatch.setenv("ASOF_OFFLINE", object_server.url())
    (tmp_path / "people.csv").write_text(f"customer_id,since,country\nada,2025-01-01,NL\n{MARKER},2025-01-01,DE\n")
    with open_store(tmp_path, FixedClock(to_us(NOW))) as store:
        fill(store)
        assert any("objects" in name for name in holders(store))
        done = store.erase({"customer_id": MARKER})
        assert (done.found > 0, done.remaining) == (True, 0)
        assert not holders(store)
        after, exact = served(store), trained(store)
        assert {name: column[1:] for name, column in after.items()} == {name: exact[name][1:] for name in after}
        assert len(store.training_set("first").to_arrow()) == 3
        assert not holders(store)

"""A test that needs a server which is not installed says so: skipped here, failed under CI."""

from __future__ import annotations

import pytest

from tests.servers.processes import absent


@pytest.mark.parametrize(
    ("value", "outcome"),
    [("", pytest.skip.Exception), ("false", pytest.skip.Exception), ("true", pytest.fail.Exception)],
)
def test_an_absent_server_is_named_with_the_remedy(
    monkeypatch: pytest.MonkeyPatch, value: str, outcome: type[BaseException]
) -> None:
    """CI is where nothing may be left out."""
    monkeypatch.setenv("CI", value)
    with pytest.raises(outcome, match=r"Kafka is not there: no java\. Run tools/servers\.sh"):
        absent("Kafka", "no java")

"""The shipped dashboard and rules ask for metrics that a real server and a real stream worker have."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.observability.promql import grouped, selectors
from tests.servers.processes import absent

MONITORING = Path(__file__).parents[2] / "deploy" / "monitoring"
GIVEN_BY_PROMETHEUS = frozenset({"instance", "job"})
RULES: list[dict[str, Any]] = [
    rule
    for group in yaml.safe_load((MONITORING / "rules.yaml").read_text(encoding="utf-8"))["groups"]
    for rule in group["rules"]
]
RECORDED = {
    "asof:http_requests:rate5m": {"route", "status"},
    "asof:online_seconds:p99_5m": {"service"},
    "asof:feature_status:share1h": {"service", "feature", "status"},
    "asof:feature_defaulted:share1h": {"service", "feature"},
}


def panels() -> list[str]:
    dashboard = json.loads((MONITORING / "dashboard.json").read_text(encoding="utf-8"))
    return [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", [])]


EXPRESSIONS = sorted({rule["expr"] for rule in RULES} | set(panels()))


def test_what_is_recorded_is_known_to_this_test() -> None:
    assert {rule["record"] for rule in RULES if "record" in rule} == set(RECORDED)


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_an_expression_names_what_there_is(expression: str, scraped: dict[str, Any]) -> None:
    """Its metrics are scraped or recorded, have the labels it asks for, and are of the kind its functions take."""
    kinds: dict[str, str] = {}
    labels: dict[str, set[str]] = {name: set(found) for name, found in RECORDED.items()}
    for family in scraped.values():
        for sample in family.samples:
            kinds[sample.name] = family.type
            labels.setdefault(sample.name, set()).update(sample.labels)
    used = selectors(expression.replace("$__rate_interval", "5m"))
    assert used, "an expression without metrics"
    for one in used:
        assert one.metric in labels, f"nobody has {one.metric}"
        assert one.labels <= labels[one.metric] | GIVEN_BY_PROMETHEUS
        if one.function in ("rate", "increase"):
            assert kinds[one.metric] in ("counter", "histogram"), f"{one.metric} is no counter"
            assert one.ranged
        elif one.function == "delta":
            assert kinds[one.metric] == "gauge"
        else:
            assert not one.ranged
            assert kinds.get(one.metric, "gauge") == "gauge", f"{one.metric} counts since the start"
    assert grouped(expression) <= set.union(*(labels[one.metric] for one in used)) | GIVEN_BY_PROMETHEUS
    if "histogram_quantile" in expression:
        assert all(one.metric.endswith("_bucket") for one in used)
        assert "le" in grouped(expression)


def test_every_panel_has_its_place() -> None:
    """No two panels overlap, and ids are unique."""
    dashboard = json.loads((MONITORING / "dashboard.json").read_text(encoding="utf-8"))
    taken: set[tuple[int, int]] = set()
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken
        assert max(x for x, _ in cells) < 24
        taken |= cells
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])


def test_takes_expressions_apart() -> None:
    """The test of the test: functions, matchers and ranges are found, durations and keywords are not metrics."""
    [one, two] = selectors('sum by (a) (rate(x_total{b=~"c(d)"}[5m])) > 0.2 + y{e="f"} offset 1d')
    assert (one.metric, one.labels, one.function, one.ranged) == ("x_total", frozenset({"b"}), "rate", True)
    assert (two.metric, two.labels, two.ranged) == ("y", frozenset({"e"}), False)
    assert grouped("sum by (a, b) (x)") == {"a", "b"}


@pytest.mark.parametrize("arguments", [("check", "rules", "rules.yaml"), ("test", "rules", "rules_test.yaml")])
def test_promtool_accepts_the_rules_and_their_tests(arguments: tuple[str, ...]) -> None:
    """Alerts fire on made-up histories that are bad, and not on good ones."""
    program = shutil.which("promtool")
    if program is None:
        absent("Prometheus", "promtool is not on the PATH")
    done = subprocess.run([program, *arguments], cwd=MONITORING, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr

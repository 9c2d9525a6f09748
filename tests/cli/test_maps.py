"""Maps on the command line: described, read, explained, as text and as JSON."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.cli.conftest import Project

ORDERS = """\
id,customer_id,ts,amount,shop,gift
1,7,2026-01-01T11:10:00Z,2.5,b,true
2,7,2026-01-01T11:30:00Z,4.0,a,false
3,7,2026-01-01T11:40:00Z,1.0,,true
"""
AT = ("--at", "2026-01-01T12:00")


@pytest.fixture
def served(project: Project) -> Project:
    """Return the project with totals by shop and by gift, materialized."""
    by = 'Count(windows=["1h"]), Sum("amount", windows=["1h"], by="shop"), Count(windows=["1h"], by="gift")'
    project.edit('Count(windows=["1h"])', by)
    project.write("orders.csv", ORDERS)
    assert project.run("apply").code == 0
    assert project.run("materialize", *AT).code == 0
    return project


def test_describe_says_what_groups(served: Project) -> None:
    """With the type of the map."""
    lines = served.run("describe", "spend").out.splitlines()
    [line] = [line.split() for line in lines if "amount_sum_by_shop_1h" in line]
    assert line[:6] == ["amount_sum_by_shop_1h", "map<string,", "float64>", "sum(amount)", "by", "shop"]


def test_online_reads_print_maps(served: Project) -> None:
    """As Python's dicts for people, as objects in JSON."""
    read = ("get-online-features", "fraud", "--key", "customer_id=7", *AT)
    assert "{'a': 4.0, 'b': 2.5}" in served.run(*read).out
    found = json.loads(served.run(*read, "--json").out)
    by_name = dict(zip(found["features"], found["results"][0]["values"], strict=True))
    assert by_name["spend__amount_sum_by_shop_1h"] == {"a": 4.0, "b": 2.5}
    assert by_name["spend__count_by_gift_1h"] == {"false": 1, "true": 2}


def test_explanations_show_groups(served: Project) -> None:
    """The secondary key stands in a column of its own; JSON has its bools as text."""
    shown = served.run("explain", "spend:amount_sum_by_shop_1h", "--key", "7", *AT).out
    assert "sum of amount by shop over 1h" in shown
    assert "offline      {'a': 4.0, 'b': 2.5} (present)" in shown
    heading = next(line for line in shown.splitlines() if "event time" in line)
    assert heading.split()[-4:-2] == ["shop", "amount"]
    assert "Outside, null input: 1" in shown
    found = json.loads(served.run("explain", "spend:count_by_gift_1h", "--key", "7", *AT, "--json").out)
    assert found["offline"]["value"] == found["online"]["value"] == {"false": 1, "true": 2}
    assert found["agree"] is True


def test_lineage_goes_from_the_secondary_key_to_the_feature(served: Project) -> None:
    """Beside the input."""
    assert "secondary key" in served.run("lineage", "spend:amount_sum_by_shop_1h").out

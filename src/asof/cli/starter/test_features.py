"""What the features are worth for a few rows: run `pytest` here."""

from features import profile, spend

from asof.testing import feature_table, feature_values

ORDERS = [
    {"order_id": 1, "customer_id": 1, "ordered_at": "2024-01-01T09:00", "amount": 20.0, "status": "settled"},
    {"order_id": 2, "customer_id": 1, "ordered_at": "2024-01-02T09:00", "amount": 99.0, "status": "refused"},
    {"order_id": 3, "customer_id": 1, "ordered_at": "2024-01-03T09:00", "amount": 10.0, "status": "settled"},
]
LOADED = [{**order, "loaded_at": order["ordered_at"]} for order in ORDERS]


def test_only_settled_orders_count() -> None:
    values = feature_values(spend, LOADED, keys={"customer_id": 1}, at="2024-01-04")
    assert values["amount_sum_7d"] == 30.0
    assert values["count_7d"] == 2


def test_an_order_counts_from_when_it_is_loaded() -> None:
    late = [{**ORDERS[0], "loaded_at": "2024-01-01T12:00"}]
    asked = [{"customer_id": 1, "event_timestamp": f"2024-01-01T{hour}"} for hour in ("11:00", "12:00")]
    assert [values["count_7d"] for values in feature_table(spend, late, asked)] == [0, 1]


def test_a_stranger_has_no_country() -> None:
    rows = [{"customer_id": 1, "since": "2023-06-01", "country": "NL"}]
    assert feature_values(profile, rows, keys={"customer_id": 1}, at="2024-01-01") == {"country": "NL"}
    unknown = feature_values(profile, rows, keys={"customer_id": 2}, at="2024-01-01", statuses=True)
    assert unknown == {"country": None, "country__status": "missing"}

"""What is known about a customer: who they are, and what they spent."""

from asof import Count, Entity, EventView, FeatureService, FileSource, Mean, StateView, Sum

customer = Entity("customer", join_key="customer_id")

# An order happens when it is placed; it is known when it is loaded. To know orders at once, make this the history of a
# StreamSource and push them: store.push("orders", [{"order_id": 61, "customer_id": 1, ...}]).
orders = FileSource(
    "orders", path="data/orders.csv", event_time="ordered_at", available_at="loaded_at", event_id="order_id"
)

spend = EventView(
    "spend",
    entity=customer,
    source=orders,
    where="status = 'settled'",
    features=[
        Sum("amount", windows=["7d", "30d"], default=0.0),
        Mean("amount", windows=["30d"]),
        Count(windows=["7d", "30d"]),
    ],
    description="Settled orders.",
)

profile = StateView(
    "profile",
    entity=customer,
    source=FileSource("customers", path="data/customers.csv", event_time="since"),
    features=["country"],
    description="Who the customer is.",
)

churn = FeatureService("churn", features=[spend, profile], description="Will this customer leave?")

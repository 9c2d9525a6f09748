"""On-demand views: what one ratio adds to a one-key read, and how fast it runs over the rows of a training set."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from measure import Report, Target, alternate, main, per_call_us, seconds
from workloads import END_US, HEAD, KEYS, project, state_rows, state_spine, state_view

if TYPE_CHECKING:
    from collections.abc import Callable

    from asof import FeatureStore

ROUNDS = 7
TARGET_US = 30
TARGET_ROWS_PER_S = 5_000_000
DEFINITIONS = """
ratio = on_demand.ratio("share", "alpha__f0", "alpha__f1")
share = OnDemandView("share", inputs=[alpha[["f0", "f1"]]], features=[ratio])
plain = FeatureService("plain", features=[alpha[["f0", "f1"]]])
computed = FeatureService("computed", features=[alpha[["f0", "f1"]], share])
"""


def reads(store: FeatureStore, service: str) -> Callable[[int], object]:
    """Return a read of one key, as JSON, as the server answers it."""
    reader = store.reader()
    return lambda key: reader.read(service, {"customer_id": [key]}).to_json()


def run(quick: bool, report: Report) -> None:
    """Time both services, with and without the computed feature, in turn."""
    definitions = HEAD + state_view("alpha", state_rows("alpha", KEYS, KEYS), ttl=None) + DEFINITIONS
    with project("on_demand", definitions, now_us=END_US) as store:
        store.materialize()
        calls = [random.randrange(KEYS) for _ in range(2_000 if quick else 20_000)]
        sides = {name: reads(store, name) for name in ("plain", "computed")}
        took = alternate({n: lambda read=read: per_call_us(read, calls) for n, read in sides.items()}, ROUNDS)
        added = (took["computed"] or 0) - (took["plain"] or 0)
        note = f"a read without it takes {took['plain']:.1f} µs"
        report.add(
            "On-demand ratio, added to a one-key read", "µs", added, target=Target(TARGET_US, "at most"), note=note
        )
        rows = 500_000 if quick else 5_000_000
        joins = {name: store.get_historical_features(name, str(state_spine(rows))) for name in sides}

        def drained(name: str) -> Callable[[], float]:
            return lambda: seconds(lambda: sum(batch.num_rows for batch in joins[name].to_batches()))

        took = alternate({name: drained(name) for name in joins}, ROUNDS)
        per_s = rows / max((took["computed"] or 0) - (took["plain"] or 0), 1e-9)
        report.add(
            f"On-demand ratio over {rows:,} training rows",
            "rows/s",
            per_s,
            target=Target(TARGET_ROWS_PER_S, "at least"),
        )


if __name__ == "__main__":
    main(run)

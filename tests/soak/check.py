"""Checks a soak run: the log holds each message of the topic once, and every read is the oracle's and history's."""

from __future__ import annotations

import json
import random
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from confluent_kafka import Consumer, TopicPartition

from asof.clock import to_us
from asof.interfaces.log import PARTITION, POSITION
from asof.testing import oracle
from asof.testing.comparison import differences, identical
from asof.testing.oracle import Answer
from tests.soak.shop import CUSTOMERS, PREDICATES, SCHEMA, VIEWS, twins

if TYPE_CHECKING:
    from collections.abc import Sequence

    from asof import FeatureStore
    from asof.definitions import FeatureView

_SHOWN = 20
_SAMPLE = 100  # of each view and customer


@dataclass
class Verdict:
    """What a run came to.

    Attributes:
        counts: How much of everything there was.
        facts: What else people want to know.
        wrong: What should not be; nothing after a good run.
    """

    counts: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    facts: dict[str, str] = field(default_factory=dict)

    def text(self) -> str:
        """Return it for people."""
        lines = [f"{what}: {count:,}" for what, count in sorted(self.counts.items())]
        lines += [f"{what}: {fact}" for what, fact in self.facts.items()]
        shown = [f"WRONG {line}" for line in self.wrong[:_SHOWN]]
        more = len(self.wrong) - len(shown)
        return "\n".join([*lines, *shown, *([f"and {more} more"] if more > 0 else []), f"{len(self.wrong)} wrong"])


@dataclass(frozen=True)
class One:
    """The answer that a reader got of one view and customer."""

    view: str
    customer: int
    at: datetime
    answer: Answer


def check(store: FeatureStore, servers: str, topic: str, produced: int, lines: Sequence[dict[str, Any]]) -> Verdict:
    """Compare the log with the topic, and what was read, and is read now, with the oracle and with history."""
    verdict = Verdict()
    head = store.log.of("orders").head()
    parts = [rows for _, rows in store.log.of("orders").read(0, head.sequence)]
    logged = pa.concat_tables(parts).to_pylist()
    _check_log(verdict, logged, _messages(servers, topic), produced)
    asked = list(range(CUSTOMERS + 1))
    found = store.get_online_features(list(VIEWS), {"customer_id": asked})
    now = {"views": list(VIEWS), "keys": asked, "at": found.at, "values": found.to_dict()}
    settled = {**now, "statuses": found.statuses, "times": found.event_times}
    verdict.counts["reads"] = len(lines)
    verdict.counts["entries of the log"] = head.sequence
    served = [one for line in [*lines, settled] for one in _ones(line)]
    flagged = [one for one in served if "stale" in one.answer.statuses.values()]
    verdict.counts["answers flagged stale"] = len(flagged)
    served = [one for one in served if "stale" not in one.answer.statuses.values()]
    verdict.counts["answers held to history, bit for bit"] = len(served)
    _check_oracle(verdict, logged, served)
    _check_history(verdict, store, served)
    return verdict


def _messages(servers: str, topic: str) -> dict[tuple[str, int], bytes | None]:
    """Return all messages of a topic by partition and position."""
    options = {"bootstrap.servers": servers, "group.id": "check", "enable.auto.commit": False}
    consumer = Consumer(options)
    found: dict[tuple[str, int], bytes | None] = {}
    try:
        for number in consumer.list_topics(topic, timeout=30).topics[topic].partitions:
            place = TopicPartition(topic, number, 0)
            _, end = consumer.get_watermark_offsets(place, timeout=30)
            consumer.assign([place])
            read = 0
            while read < end:
                for message in consumer.consume(10_000, 1.0):
                    assert message.error() is None
                    position = message.offset()
                    assert position is not None
                    found[str(number), position] = message.value()
                    read = position + 1
    finally:
        consumer.close()
    return found


def _check_log(
    verdict: Verdict, logged: list[dict[str, Any]], sent: dict[tuple[str, int], bytes | None], produced: int
) -> None:
    verdict.counts["messages"] = len(sent)
    verdict.counts["rows of the log"] = len(logged)
    if len(sent) != produced:
        verdict.wrong.append(f"the topic has {len(sent)} messages of {produced}")
    kept = Counter((row[PARTITION], row[POSITION]) for row in logged)
    verdict.wrong += [f"message {place} is in the log {count} times" for place, count in kept.items() if count > 1]
    rows = {(row[PARTITION], row[POSITION]): row for row in logged}
    for place, value in sent.items():
        try:
            wanted = json.loads(value or b"")
        except ValueError:
            verdict.counts["messages that cannot be read"] += 1
            if place in rows:
                verdict.wrong.append(f"message {place} cannot be read and is in the log")
            continue
        wanted["ts"] = datetime.fromisoformat(wanted["ts"]).astimezone(UTC)
        if place not in rows:
            verdict.wrong.append(f"message {place} is not in the log")
        elif wanted != {name: rows[place][name] for name in SCHEMA}:
            verdict.wrong.append(f"message {place} is another one in the log")
    verdict.wrong += [f"row {place} is of no message" for place in rows.keys() - sent.keys()]
    arrived = [row["__available_at"] for row in logged]
    if arrived != sorted(arrived):
        verdict.wrong.append("the log is not in the order of arrival")


def _ones(line: dict[str, Any]) -> list[One]:
    found = []
    for view in twins():
        if view.name not in line["views"]:
            continue
        columns = {name: f"{view.name}__{name}" for name in view.feature_names()}
        for row, customer in enumerate(line["keys"]):
            time = line["times"][view.name][row]
            answer = Answer(
                {name: line["values"][column][row] for name, column in columns.items()},
                {name: line["statuses"][column][row] for name, column in columns.items()},
                None if time is None else to_us(time),
            )
            found.append(One(view.name, customer, line["at"], answer))
    return found


def _check_oracle(verdict: Verdict, logged: list[dict[str, Any]], served: Sequence[One]) -> None:
    """Hold answers to the oracle, over the rows of their customer: an id is of one customer, whoever retracts it.

    The oracle looks at every row for every answer, so of a long run it gets a sample; history gets them all.
    """
    chance = random.Random(len(served))
    by_customer: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for row in logged:
        by_customer[row["customer_id"]].append(row)
    for view in twins():
        for customer in range(CUSTOMERS + 1):
            some = [one for one in served if one.view == view.name and one.customer == customer]
            some = chance.sample(some, min(len(some), _SAMPLE))
            verdict.counts["answers held to the oracle"] += len(some)
            exact = _exact(view, by_customer[customer], customer, some)
            for one, answer in zip(some, exact, strict=True):
                verdict.wrong += [
                    f"customer {customer} at {one.at}: {d}" for d in differences(view, answer, one.answer)
                ]


def _exact(view: FeatureView, rows: list[dict[str, Any]], customer: int, some: Sequence[One]) -> list[Answer]:
    questions = [((customer,), to_us(one.at)) for one in some]
    return oracle.history(view, rows, questions, predicates=PREDICATES)


def _check_history(verdict: Verdict, store: FeatureStore, served: Sequence[One]) -> None:
    """Hold every answer to training rows built now at the instants of the reads, bit for bit."""
    for view in VIEWS:
        some = [one for one in served if one.view == view]
        spine = {"customer_id": [one.customer for one in some], "event_timestamp": [one.at for one in some]}
        found = store.get_historical_features([view], spine, statuses=True).to_arrow().to_pydict()
        for row, one in enumerate(some):
            for name, value in one.answer.values.items():
                column = f"{view}__{name}"
                trained, status = found[column][row], found[f"{column}__status"][row]
                if not identical(trained, value) or status != one.answer.statuses[name]:
                    said = f"{value!r} ({one.answer.statuses[name]}), training says {trained!r} ({status})"
                    verdict.wrong.append(f"customer {one.customer} at {one.at}: {column} was {said}")

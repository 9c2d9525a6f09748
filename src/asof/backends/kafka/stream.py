"""A Kafka cluster that topics are consumed from, and for demonstrations written to."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from confluent_kafka import Consumer, KafkaError, KafkaException

from asof.backends.kafka.consumer import KafkaConsumer, Reports
from asof.backends.kafka.ends import Ends
from asof.backends.kafka.failures import from_exception, translate
from asof.backends.kafka.producer import KafkaProducer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from asof.interfaces import Positions

_LOGGER = logging.getLogger("asof.kafka")
_CONNECT_S = 15.0
_SILENCE_MS = {"session.timeout.ms": "45000", "max.poll.interval.ms": "300000"}  # librdkafka's defaults
_ATTEMPT_S = 0.25


class KafkaStream:
    """Makes consumers; holds no connection itself."""

    def __init__(self, properties: Mapping[str, str]) -> None:
        """Keep the properties of librdkafka that every consumer gets."""
        self._properties = dict(properties)

    def produce(self, topic: str) -> KafkaProducer:
        """Return what writes a topic, which is created with one partition where it is not there.

        Raises:
            StreamError: no broker can be reached within 15 seconds.
            StreamRefusedError: the broker refuses this user.
            ConfigError: the client refuses an option.
        """
        return KafkaProducer(self._properties, topic)

    def consume(self, topic: str, group: str, positions: Positions) -> KafkaConsumer:
        """Join a group as a new member.

        Raises:
            StreamError: no broker can be reached within 15 seconds; a retry may help.
            StreamRefusedError: there is no such topic, or the broker refuses this user.
            ConfigError: the client refuses an option.
        """
        reports = Reports()
        properties = {**self._properties, "group.id": group, "error_cb": reports.add, "logger": _LOGGER}
        try:
            consumer = Consumer(properties)
        except KafkaException as error:
            raise from_exception(error, f"Kafka's topic {topic!r} cannot be read") from error
        try:
            _find(consumer, topic, reports)
            ends = Ends(topic, self._properties)
            return KafkaConsumer(consumer, topic, positions, reports, ends, silence_s=self._silence_s())
        except BaseException:
            consumer.close()
            raise

    def _silence_s(self) -> float:
        """Return a little less than the time after which the group gives the partitions of a silent member away."""
        limits = (self._properties.get(name, default) for name, default in _SILENCE_MS.items())
        return 0.9 * min(map(float, limits)) / 1000


def _find(consumer: Consumer, topic: str, reports: Reports) -> None:
    """Wait until a broker has described the topic; what is wrong with the connection is known long before the end."""
    what = f"Kafka's topic {topic!r} cannot be read"
    deadline = time.monotonic() + _CONNECT_S
    while True:
        try:
            found = consumer.list_topics(topic, timeout=_ATTEMPT_S).topics[topic]
        except KafkaException as error:
            consumer.poll(0)
            reported = reports.take()
            if reported is not None:
                raise translate(reported, what) from error
            if error.args[0].code() not in (KafkaError._TRANSPORT, KafkaError._TIMED_OUT):
                raise from_exception(error, what) from error
            if time.monotonic() > deadline:
                raise translate(error.args[0], what) from error
            continue
        if found.error is None:
            return
        if found.error.code() != KafkaError.LEADER_NOT_AVAILABLE or time.monotonic() > deadline:
            raise translate(found.error, what)

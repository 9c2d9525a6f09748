"""Writes messages to a Kafka topic, for demonstrations: the store itself only reads topics."""

from __future__ import annotations

from typing import TYPE_CHECKING

from confluent_kafka import KafkaError, KafkaException, Producer
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined] # it does not list its exports

from asof.backends.kafka.ends import Ends
from asof.backends.kafka.failures import from_exception, translate
from asof.errors import StreamError

if TYPE_CHECKING:
    from collections.abc import Mapping

_TIMEOUT_S = 15.0
_SILENT = "0"


class KafkaProducer:
    """Appends to one topic. Used by one thread."""

    def __init__(self, properties: Mapping[str, str], topic: str) -> None:
        """Connect, and create the topic with one partition where it is not there.

        Args:
            properties: Those of a consumer; a producer ignores what does not concern it.
            topic: The topic's name.

        Raises:
            StreamError: no broker can be reached.
            StreamRefusedError: the broker refuses this user.
        """
        self._topic = topic
        self._what = f"Kafka's topic {topic!r} cannot be written"
        self._failed: list[KafkaError] = []
        self._ends = Ends(topic, properties)
        # Its log would only say that it ignores the properties of consumers; errors come with the answers.
        silent: dict[str, str | int | float | bool] = {**properties, "log_level": _SILENT}
        try:
            admin = AdminClient(silent)
            if topic not in admin.list_topics(timeout=_TIMEOUT_S).topics:
                self._create(admin)
            self._partitions = list(admin.list_topics(topic, timeout=_TIMEOUT_S).topics[topic].partitions)
            self._producer = Producer({**silent, "linger.ms": 0})
        except KafkaException as error:
            raise from_exception(error, self._what) from error

    def _create(self, admin: AdminClient) -> None:
        try:
            admin.create_topics([NewTopic(self._topic, 1)])[self._topic].result(_TIMEOUT_S)
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise

    def ends(self) -> dict[str, int]:
        """Return the position after the newest message of each partition.

        Raises:
            StreamError: the broker cannot be reached.
        """
        return {str(number): end for number, end in self._ends.ask(self._partitions).items()}

    def send(self, key: bytes, value: bytes) -> None:
        """Append a message; messages of one key keep their order. `flush` says whether it arrived."""
        self._producer.produce(self._topic, value, key, on_delivery=self._delivered)
        self._producer.poll(0)

    def flush(self) -> None:
        """Wait until the broker has every message.

        Raises:
            StreamError: it has not.
        """
        waiting = self._producer.flush(_TIMEOUT_S)
        if self._failed:
            raise translate(self._failed[0], self._what)
        if waiting:
            raise StreamError(self._what, why=f"{waiting} messages were not taken in time", fix="Try again.")

    def _delivered(self, error: KafkaError | None, _message: object) -> None:
        if error is not None:
            self._failed.append(error)

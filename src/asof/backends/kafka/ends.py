"""Asks a Kafka cluster where partitions end, beside the connection that waits for messages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from confluent_kafka import IsolationLevel, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined] # it does not list its exports

from asof.backends.kafka.failures import from_exception

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_TIMEOUT_S = 10.0
_SILENT = "0"


class Ends:
    """A second client: on the consumer's own connections a question waits for the fetch before it, half a second."""

    def __init__(self, topic: str, properties: Mapping[str, str]) -> None:
        """Keep how to connect; nothing is before the first question."""
        self._topic = topic
        # Its log would only say that it ignores the consumer's properties; errors come with the answers.
        self._properties: dict[str, str | int | float | bool] = {**properties, "log_level": _SILENT}
        self._client: AdminClient | None = None

    def ask(self, partitions: Iterable[int]) -> dict[int, int]:
        """Return the position after the newest committed message or marker of each partition.

        Raises:
            StreamError: the cluster cannot be reached or refuses the request.
        """
        wanted = {TopicPartition(self._topic, number): OffsetSpec.latest() for number in partitions}  # type: ignore[no-untyped-call]
        if not wanted:
            return {}
        if self._client is None:
            self._client = AdminClient(self._properties)
        try:
            answers: dict[TopicPartition, Any] = self._client.list_offsets(
                wanted, isolation_level=IsolationLevel.READ_COMMITTED, request_timeout=_TIMEOUT_S
            )
            return {asked.partition: answer.result().offset for asked, answer in answers.items()}
        except KafkaException as error:
            raise from_exception(error, f"The ends of Kafka's topic {self._topic!r} cannot be read") from error

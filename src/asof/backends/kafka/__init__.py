"""Streams from Kafka: `kafka://host:port,host:port?option=value`."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING

from asof.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

    from asof.backends.kafka.stream import KafkaStream

__all__ = ["open_stream"]

# What the client logs is for those who configure logging; errors are raised as well.
logging.getLogger("asof.kafka").addHandler(logging.NullHandler())


def open_stream(url: str, root: Path) -> KafkaStream:
    """Open the cluster at `url`; nothing is connected before a topic is consumed.

    Args:
        url: `kafka://host:port,host:port?option=value`. Options are properties of librdkafka, as
            `security.protocol=sasl_ssl`. Secrets are refused here and taken from the environment: `sasl.password`
            from `ASOF_KAFKA_SASL_PASSWORD`, and any other property likewise.
        root: The project's directory; paths in options (`ssl.ca.location`) are below it.

    Raises:
        ConfigError: the URL or an option cannot be used, or the client library is not installed.
    """
    try:
        from asof.backends.kafka.settings import parse
        from asof.backends.kafka.stream import KafkaStream
    except ModuleNotFoundError as error:
        if error.name != "confluent_kafka":
            raise
        raise ConfigError("Kafka's client library is not installed", fix='Run `pip install "asof[kafka]"`.') from error
    return KafkaStream(parse(url, root, os.environ))

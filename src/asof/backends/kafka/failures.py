"""Turns what the Kafka client reports into the errors of the stream contract."""

from __future__ import annotations

from confluent_kafka import KafkaError, KafkaException

from asof.errors import ConfigError, StreamDataLossError, StreamError, StreamRefusedError

_LOGIN = "Check security.protocol and sasl.mechanism in the URL, ASOF_KAFKA_SASL_USERNAME and ASOF_KAFKA_SASL_PASSWORD."
_RIGHTS = "Let this user read the topic and join the group, or log in as another user."
_TOPIC = "Create the topic, or correct its name in the source."
_LOST = (
    "Rebuild the views of this topic from their history, which then goes on at the oldest message. Let the topic keep "
    "messages for longer than a worker may be away."
)
_FATAL: dict[int, tuple[type[StreamError], str]] = {
    KafkaError._AUTHENTICATION: (StreamRefusedError, _LOGIN),
    KafkaError.SASL_AUTHENTICATION_FAILED: (StreamRefusedError, _LOGIN),
    KafkaError.UNSUPPORTED_SASL_MECHANISM: (StreamRefusedError, _LOGIN),
    KafkaError.ILLEGAL_SASL_STATE: (StreamRefusedError, _LOGIN),
    KafkaError.TOPIC_AUTHORIZATION_FAILED: (StreamRefusedError, _RIGHTS),
    KafkaError.GROUP_AUTHORIZATION_FAILED: (StreamRefusedError, _RIGHTS),
    KafkaError.CLUSTER_AUTHORIZATION_FAILED: (StreamRefusedError, _RIGHTS),
    KafkaError.UNKNOWN_TOPIC_OR_PART: (StreamRefusedError, _TOPIC),
    KafkaError.TOPIC_EXCEPTION: (StreamRefusedError, _TOPIC),
    KafkaError._UNKNOWN_TOPIC: (StreamRefusedError, _TOPIC),
    KafkaError._UNKNOWN_PARTITION: (StreamRefusedError, _TOPIC),
    KafkaError._UNSUPPORTED_FEATURE: (StreamRefusedError, "Use a version of Kafka from 0.11 on."),
    KafkaError._AUTO_OFFSET_RESET: (StreamDataLossError, _LOST),
    KafkaError.OFFSET_OUT_OF_RANGE: (StreamDataLossError, _LOST),
}
_RETRY: dict[int, str] = {
    KafkaError._SSL: "Check security.protocol and ssl.ca.location in the URL, and the broker's certificate.",
    KafkaError._RESOLVE: "Check the servers' names in the URL.",
    KafkaError._MAX_POLL_EXCEEDED: "Take smaller batches, or raise max.poll.interval.ms in the URL.",
}
_ELSEWHERE = "Check that the servers in the URL are up and can be reached from here, then try again."
LOST = frozenset({KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE})
# Of what the client reports beside the messages, these end a read; it recovers from others by itself.
SERIOUS = frozenset({KafkaError._ALL_BROKERS_DOWN, *(code for code in _FATAL if code < 0), KafkaError._FATAL})


def translate(error: KafkaError, what: str) -> StreamError:
    """Return the contract's error; `what` says what failed, without its full stop."""
    code = error.code()
    if code in _FATAL:
        kind, fix = _FATAL[code]
        return kind(what, why=error.str(), fix=fix)
    kind = StreamRefusedError if error.fatal() else StreamError
    return kind(what, why=error.str(), fix=_RETRY.get(code, _ELSEWHERE))


def from_exception(error: KafkaException, what: str) -> StreamError | ConfigError:
    """Return the contract's error for one that the client raised."""
    reported = error.args[0]
    if reported.code() == KafkaError._INVALID_ARG:
        return ConfigError(
            "An option of the Kafka URL or an ASOF_KAFKA_ variable cannot be used",
            why=reported.str(),
            fix="Use properties of librdkafka.",
        )
    return translate(reported, what)

"""Errors of Kafka that no waiting mends, what to do about each, and ours for theirs."""

from collections.abc import Iterator
from contextlib import contextmanager

from confluent_kafka import KafkaError, KafkaException

from broker_filter.errors import ConfigurationError, FatalError, RetryableError

_CREDENTIALS = "check kafka.username, kafka.password, and sasl.mechanism and security.protocol in kafka.client"
_SESSION = "set session.timeout.ms in kafka.consumer within the broker's bounds"
_UPGRADE = "the broker and this client speak no common version: upgrade the older of the two"
_STRATEGY = (
    "all members of kafka.group must share group.protocol and partition.assignment.strategy (kafka.consumer): "
    "give them the same, or choose another kafka.group"
)
_TRANSACTION_RIGHT = (
    "give this user the right to write the transactional id (output.transactional_id), or choose another"
)

# What no waiting mends, and what the operator must change.
REMEDIES: dict[int, str] = {
    KafkaError._AUTHENTICATION: _CREDENTIALS,
    KafkaError.SASL_AUTHENTICATION_FAILED: _CREDENTIALS,
    KafkaError.UNSUPPORTED_SASL_MECHANISM: _CREDENTIALS,
    KafkaError.ILLEGAL_SASL_STATE: _CREDENTIALS,
    KafkaError.SECURITY_DISABLED: "the broker has no authorizer: it cannot be asked about rights",
    KafkaError.TOPIC_AUTHORIZATION_FAILED: "give this user the right to read kafka.topics and to write output.topic "
    "and dead_letter.topic",
    KafkaError.GROUP_AUTHORIZATION_FAILED: "give this user the right to kafka.group, or choose another group; some "
    "surveys ask that it starts with the user's name",
    KafkaError.CLUSTER_AUTHORIZATION_FAILED: "give this user the right IdempotentWrite on the cluster",
    KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED: _TRANSACTION_RIGHT,
    KafkaError.DELEGATION_TOKEN_AUTHORIZATION_FAILED: _CREDENTIALS,
    KafkaError.DELEGATION_TOKEN_EXPIRED: "the delegation token has expired: get a new one",
    KafkaError.INVALID_GROUP_ID: "choose another kafka.group",
    KafkaError.INVALID_SESSION_TIMEOUT: _SESSION,
    KafkaError.INCONSISTENT_GROUP_PROTOCOL: _STRATEGY,
    KafkaError.UNSUPPORTED_ASSIGNOR: "the broker does not know group.remote.assignor (kafka.consumer): choose uniform "
    "or range",
    KafkaError.GROUP_MAX_SIZE_REACHED: "kafka.group has as many members as the broker allows (group.max.size): start "
    "fewer processes",
    KafkaError.FENCED_INSTANCE_ID: "another process has the same kafka.instance_id: give each process its own",
    KafkaError.UNSUPPORTED_VERSION: _UPGRADE,
    KafkaError._UNSUPPORTED_FEATURE: _UPGRADE,
    KafkaError.UNSUPPORTED_FOR_MESSAGE_FORMAT: "the topic keeps an old message format: raise its message format",
    KafkaError.UNSUPPORTED_COMPRESSION_TYPE: "choose another compression.type (kafka.producer)",
    KafkaError.INVALID_REQUIRED_ACKS: "acks in kafka.producer must be all",
    KafkaError.INVALID_TRANSACTION_TIMEOUT: "set transaction.timeout.ms (kafka.producer) below the broker's "
    "transaction.max.timeout.ms, 15 minutes unless somebody lowered it",
    KafkaError.INVALID_REGULAR_EXPRESSION: "mend the expression in kafka.topics: with group.protocol=consumer the "
    "broker reads it, by RE2's rules",
    KafkaError.POLICY_VIOLATION: "the broker's policy forbids it: ask its operator",
    KafkaError.TOPIC_EXCEPTION: "Kafka does not allow this name of a topic: choose another",
    KafkaError.PRODUCER_FENCED: "another process has the same transactional id: give each process its own "
    "kafka.instance_id",
    KafkaError._FENCED: "another process has the same transactional id: give each process its own kafka.instance_id",
    KafkaError._FATAL: "",
}
HOPELESS = frozenset(REMEDIES)

_CERTIFICATE = "check ssl.ca.location, ssl.certificate.location and ssl.key.location in kafka.client"
_CERTIFICATE_TEXTS = ("certificate", "no suitable", "unknown ca", "bad_certificate", "tlsv1 alert", "sslv3 alert")


def is_hopeless(error: KafkaError) -> bool:
    """True where trying again is in vain."""
    return error.code() in HOPELESS or error.fatal() or refuses_certificate(error)


def refuses_certificate(error: KafkaError) -> bool:
    """True where one side does not accept the other's certificate; a broken connection is no refusal."""
    text = error.str().lower()
    return error.code() == KafkaError._SSL and any(part in text for part in _CERTIFICATE_TEXTS)


def explained(error: KafkaError) -> str:
    """What the broker or librdkafka said, and what to do about it where that is known."""
    fenced = error.code() == KafkaError._FATAL and "group.instance.id" in error.str()  # the code within is not told
    remedy = REMEDIES.get(KafkaError.FENCED_INSTANCE_ID if fenced else error.code())
    if refuses_certificate(error):
        remedy = _CERTIFICATE
    return f"{error.str()} ({error.name()})" + (f": {remedy}" if remedy else "")


def translated(error: KafkaError, doing: str) -> RetryableError | FatalError:
    """Our error for theirs: stop where only the operator can help, try again otherwise."""
    if is_hopeless(error):
        return FatalError(f"{doing}: {explained(error)}")
    return RetryableError(f"{doing}: {explained(error)}")


@contextmanager
def configuring(client: str) -> Iterator[None]:
    """The making of a client: a key that librdkafka does not know, or a refused value, is told without the value.

    Raises
    ------
    ConfigurationError
    """
    try:
        yield
    except (KafkaException, TypeError, ValueError) as error:
        inner = error.args[0] if error.args else error
        text = inner.str() if isinstance(inner, KafkaError) else str(inner)
        raise ConfigurationError(f"librdkafka refuses the settings of the {client}: {text}") from error

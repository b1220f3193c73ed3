"""Brokers that refuse on demand: librdkafka's own mock cluster, reached by ctypes, on real ports of loopback.

The broker of ``local_broker`` knows no rights and no static members; this one does, and keeps messages in memory.
"""

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import confluent_kafka

PRODUCER = 0  # rd_kafka_type_t
TOPIC_AUTHORIZATION_FAILED = 29  # Kafka's error codes
GROUP_AUTHORIZATION_FAILED = 30
JOIN_GROUP = 11  # one of Kafka's API keys
JOIN_DELAY_MS = 200


class NoMockClusterError(RuntimeError):
    """This build of confluent-kafka does not show librdkafka's functions."""


def _library() -> ctypes.CDLL:
    folder = Path(confluent_kafka.__file__).parent.with_name("confluent_kafka.libs")
    for path in sorted(folder.glob("librdkafka*")):
        library = ctypes.CDLL(str(path))
        if hasattr(library, "rd_kafka_mock_cluster_new"):
            return library
    raise NoMockClusterError(f"no librdkafka with a mock cluster in {folder}")


class MockCluster:
    """One broker; topics are there when they are made."""

    def __init__(self) -> None:
        self._library = library = _library()
        for name in ("rd_kafka_new", "rd_kafka_mock_cluster_new", "rd_kafka_conf_new"):
            getattr(library, name).restype = ctypes.c_void_p
        library.rd_kafka_mock_cluster_bootstraps.restype = ctypes.c_char_p
        error = ctypes.create_string_buffer(512)
        configuration = ctypes.c_void_p(library.rd_kafka_conf_new())
        self._client = ctypes.c_void_p(library.rd_kafka_new(PRODUCER, configuration, error, len(error)))
        if not self._client:
            raise NoMockClusterError(error.value.decode())
        self._cluster = ctypes.c_void_p(library.rd_kafka_mock_cluster_new(self._client, 1))
        # A member whose session is shorter than the group's first wait would never be let in.
        library.rd_kafka_mock_group_initial_rebalance_delay_ms(self._cluster, JOIN_DELAY_MS)
        self.address = library.rd_kafka_mock_cluster_bootstraps(self._cluster).decode()

    def create(self, topic: str, partitions: int) -> None:
        """Make a topic."""
        assert self._library.rd_kafka_mock_topic_create(self._cluster, topic.encode(), partitions, 1) == 0

    def refuse_topic(self, topic: str, code: int) -> None:
        """From now on whoever asks about this topic hears this error; 0 for none."""
        self._library.rd_kafka_mock_topic_set_error(self._cluster, topic.encode(), code)

    def refuse_requests(self, api_key: int, code: int, times: int) -> None:
        """The next requests of a kind are answered with this error."""
        codes = (ctypes.c_int * times)(*[code] * times)
        self._library.rd_kafka_mock_push_request_errors_array(
            self._cluster, ctypes.c_int16(api_key), ctypes.c_size_t(times), codes
        )

    def close(self) -> None:
        """End it."""
        self._library.rd_kafka_mock_cluster_destroy(self._cluster)
        self._library.rd_kafka_destroy(self._client)


@contextmanager
def mock_cluster() -> Iterator[MockCluster]:
    """A cluster of one's own.

    Raises
    ------
    NoMockClusterError
        librdkafka's functions cannot be reached.
    """
    cluster = MockCluster()
    try:
        yield cluster
    finally:
        cluster.close()

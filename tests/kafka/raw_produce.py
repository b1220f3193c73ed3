"""One message put on a topic by Kafka's own protocol, with what no client library would write."""

import socket
import struct
from collections.abc import Sequence

from packets import varint

CASTAGNOLI = 0x82F63B78


def produce(brokers: str, topic: str, value: bytes, headers: Sequence[tuple[bytes, bytes | None]]) -> None:
    """Append a record to partition 0 (Produce version 3, record batch of magic 2) and wait for the acknowledgement."""
    record = b"\0" * 3 + varint(-1) + varint(len(value)) + value + varint(len(headers))
    for name, content in headers:
        record += varint(len(name)) + name
        record += varint(-1) if content is None else varint(len(content)) + content
    time_ms = 1_700_000_000_000
    body = struct.pack(">hiqqqhii", 0, 0, time_ms, time_ms, -1, -1, -1, 1) + varint(len(record)) + record
    batch = struct.pack(">qiibI", 0, 9 + len(body), -1, 2, _crc32c(body)) + body
    name = topic.encode()
    request = struct.pack(">hhih", 0, 3, 1, -1) + struct.pack(">hhii", -1, -1, 10_000, 1)
    request += struct.pack(">h", len(name)) + name + struct.pack(">iii", 1, 0, len(batch)) + batch
    host, port = brokers.rsplit(":", 1)
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(struct.pack(">i", len(request)) + request)
        answer = connection.recv(1 << 16)
    error = struct.unpack_from(">h", answer, 4 + 4 + 4 + 2 + len(name) + 4 + 4)[0]
    assert error == 0, f"the broker refuses the record: error {error}"


def _crc32c(data: bytes) -> int:
    remainder = 0xFFFFFFFF
    for byte in data:
        remainder ^= byte
        for _ in range(8):
            remainder = (remainder >> 1) ^ (CASTAGNOLI if remainder & 1 else 0)
    return remainder ^ 0xFFFFFFFF

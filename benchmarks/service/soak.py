"""Memory of the live service over many alerts of few objects: does it level off?

``python -m benchmarks.service.soak [--alerts 300000] [--objects 200] [--allocator "MALLOC_ARENA_MAX=2"]``. The objects'
alerts come again and again with new ids and later times, so that what the service keeps of each is full after some
thirty rounds; what still grows then is a leak, or the allocator's. Through Apache Kafka where ``make kafka`` put one,
which forgets beyond 1 GB a partition; else through the embedded server. A row of the table is memory after so many
alerts: anonymous (the heap), and that of mapped files (the store, programs), which the system takes back when it needs
it.
"""

import io
import os
import struct
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import fastavro
from confluent_kafka.admin import AdminClient, NewTopic
from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks.end_to_end.__main__ import PARTITIONS, SERVICE_CORE, Reader, a_broker, publish, service
from benchmarks.end_to_end.alerts import Packet, many, replaced
from benchmarks.parser import parser_of
from benchmarks.setting import describe
from broker_filter.avro.container import write_long
from broker_filter.kafka.clients import LIBRARY_LOG
from broker_filter.kafka.local_broker import free_port

LATER_DAYS = 0.01  # between the rounds
APART = 10**11  # ids of an object's alerts; those of one exposure follow one another
ROUNDS_AT_ONCE = 10
ROWS = 12  # of the table
TOPIC = {"retention.bytes": str(1 << 30), "segment.bytes": str(1 << 28)}


@dataclass(frozen=True, slots=True)
class Original:
    """A packet of which later ones are made by changing two numbers in place."""

    alert_id: int
    jd: float
    content: bytes

    @staticmethod
    def of(packet: Packet) -> "Original":
        (record,) = fastavro.reader(io.BytesIO(packet.content))
        return Original(packet.alert_id, record["candidate"]["jd"], packet.content)  # type: ignore[index, call-overload]

    def later(self, number: int) -> Packet:
        """The alert of round ``number``; the first round is the alert itself."""
        alert_id = self.alert_id + number * APART
        content = replaced(
            self.content,
            (write_long(self.alert_id), write_long(alert_id)),
            (struct.pack("<d", self.jd), struct.pack("<d", self.jd + LATER_DAYS * number)),
        )
        return Packet(alert_id, content)


@dataclass(frozen=True, slots=True)
class Memory:
    """Of one process, in MB."""

    anonymous: float
    mapped_files: float

    @staticmethod
    def of(pid: int) -> "Memory":
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
        kb = {line.split()[0].rstrip(":"): int(line.split()[1]) for line in lines}
        return Memory(kb["Anonymous"] / 1000, (kb["Rss"] - kb["Anonymous"]) / 1000)


def rounds(originals: Sequence[Original], alerts: int) -> Iterator[list[Packet]]:
    """So many alerts, some rounds of all objects at a time."""
    at_once = ROUNDS_AT_ONCE * len(originals)
    for done in range(0, alerts, at_once):
        numbers = range(done // len(originals), done // len(originals) + ROUNDS_AT_ONCE)
        yield [one.later(number) for number in numbers for one in originals][: alerts - done]


def soak(address: str, originals: Sequence[Original], alerts: int, table: Table) -> None:
    """Send alerts and enter memory into a table."""
    topics = ["soak-in", "soak-out", "soak-dead"]
    wanted = [NewTopic(topic, PARTITIONS, config=TOPIC) for topic in topics]
    client = AdminClient({"bootstrap.servers": address}, logger=LIBRARY_LOG)
    for future in client.create_topics(wanted).values():
        future.result(timeout=30)
    reader = Reader(address, topics[1])
    done, begun_s, every = 0, time.monotonic(), alerts // ROWS
    with service(address, "ztf", "soak", free_port()) as pid:
        for some in rounds(originals, alerts):
            thread = threading.Thread(target=publish, args=(address, topics[0], some, None))
            thread.start()
            reader.arrivals({packet.alert_id for packet in some})
            thread.join()
            before, done = done, done + len(some)
            if done // every > before // every or before == 0:
                memory = Memory.of(pid)
                seconds = time.monotonic() - begun_s
                table.add_row(f"{done:,}", f"{seconds:,.0f}", f"{memory.anonymous:,.0f}", f"{memory.mapped_files:,.0f}")
    reader.close()


def main() -> None:
    """Measure and print."""
    parser = parser_of(__doc__)
    parser.add_argument("--alerts", type=int, default=300_000)
    parser.add_argument("--objects", type=int, default=200)
    parser.add_argument("--allocator", default="", help="settings of the service's environment: NAME=VALUE NAME=VALUE")
    options = parser.parse_args()
    console = Console(width=110)
    console.print(describe("torch", "onnxruntime", "confluent-kafka"))
    os.environ |= dict(pair.split("=", 1) for pair in options.allocator.split())
    others = os.sched_getaffinity(0) - {SERVICE_CORE}
    if others:
        os.sched_setaffinity(0, others)
    originals = [Original.of(packet) for packet in many("ztf", options.objects)[1]]
    table = Table("alerts", "seconds", "anonymous, MB", "mapped files, MB", box=box.MARKDOWN)
    with tempfile.TemporaryDirectory() as folder, a_broker(Path(folder)) as (broker, address):
        soak(address, originals, options.alerts, table)
    console.print(f"through {broker}; {options.objects} objects; allocator: {options.allocator or 'as it is'}")
    console.print(table)


if __name__ == "__main__":
    main()

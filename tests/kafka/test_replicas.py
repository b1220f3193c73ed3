"""Three processes on six partitions with one shared store; one is killed and one is added during the night."""

import random
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson
from confluent_kafka import Consumer, TopicPartition
from nights import assert_equal, night, replayed
from stages import Process, Stage

from benchmarks.neighbours.servers import RedisServer
from broker_filter.kafka.clients import LIBRARY_LOG

BATCH = 2
BROKEN = (b"", b"Obj\x01", b"no alert", b"Obj\x01 that breaks off")
LIMIT_S = 60.0


def replica_flags(stage: Stage, url: str, *more: str) -> list[str]:
    """One of many processes."""
    shared = ("--store.kind", "redis", "--store.url", url, "--batch.alert-limit", str(BATCH))
    flags = [*stage.flags(Path("not-used")), "--no-http.objects"]  # an index would stand there
    return [*flags, *shared, "--life.idle-exit-s", "null", *more]


def log_lines(process: Process, event: str) -> list[dict[str, Any]]:
    """What a process said of one kind of event; a line that a kill cut off does not count."""
    lines = []
    for text in process.text().splitlines():
        if text.startswith("{") and text.endswith("}"):
            line = orjson.loads(text)
            if line["event"] == event:
                lines.append(line)
    return lines


def newest_of_each(results: Sequence[dict[str, Any]]) -> dict[int, dict[str, Any]]:
    """The newest word on each alert, whoever published it in whatever order: it knew of the most observations."""
    newest: dict[int, dict[str, Any]] = {}
    for result in results:
        if result["alertId"] not in newest or result["nKnown"] > newest[result["alertId"]]["nKnown"]:
            newest[result["alertId"]] = result
    return newest


def committed(stage: Stage) -> dict[int, int]:
    """Offsets that the group has committed, by partition."""
    consumer = Consumer({"bootstrap.servers": stage.brokers, "group.id": stage.name}, logger=LIBRARY_LOG)
    try:
        partitions = [TopicPartition(stage.alerts, p) for p in range(stage.partitions)]
        return {p.partition: p.offset for p in consumer.committed(partitions, 10)}
    finally:
        consumer.close()


def wait_until_classified(stage: Stage, wanted: int, processes: Sequence[Process]) -> None:
    """Until every alert came back at least once and the group has committed everything."""
    deadline_s = time.monotonic() + LIMIT_S
    while len(newest_of_each(stage.results())) < wanted:
        assert time.monotonic() < deadline_s, "\n".join(p.text()[-1500:] for p in processes)
        time.sleep(0.3)


def test_one_is_killed_and_one_is_added(wide: Stage, shared: RedisServer, run: Any, tmp_path: Path) -> None:
    """Accounts are exact, no alert stays without a classification, and the newest word on each is the replay's."""
    packets = list(night(9, 10))  # no series is longer than what is held, so that any order will do
    mixed = [*packets, *BROKEN]
    rng = random.Random(17)
    rng.shuffle(mixed)  # late alerts too, and no object keeps to a partition
    third = len(mixed) // 3
    flags = replica_flags(wide, shared.url)
    first = [run(flags) for _ in range(3)]
    for process in first:
        process.wait_for("partitions assigned")
    wide.publish(mixed[:third], lambda n: rng.randrange(wide.partitions))
    for process in first:
        process.wait_for('"event":"batch"')
    wide.publish(mixed[third : 2 * third], lambda n: rng.randrange(wide.partitions))
    victim, *survivors = first
    victim.kill()
    added = run(flags)
    wide.publish(mixed[2 * third :], lambda n: rng.randrange(wide.partitions))
    added.wait_for("partitions assigned")
    alive = [*survivors, added]
    wait_until_classified(wide, len(packets), alive)
    assert [process.stop() for process in alive] == [0, 0, 0]

    results, letters = wide.results(), wide.read(wide.dead_letters)
    assert set(BROKEN) == {m.value() or b"" for m in letters}
    for process in alive:
        last = log_lines(process, "accounts")[-1]
        assert last["balanced"]
        assert last["drained"]
    taken = sum(line["alerts"] for process in (victim, *alive) for line in log_lines(process, "batch"))
    delivered = sum(not r["revision"] for r in results) + len(letters)
    # A batch that was delivered, but of which the killed process could no longer tell, is the only difference.
    assert 0 <= delivered - taken <= BATCH
    assert delivered >= len(mixed)
    ends = Counter(m.partition() for m in wide.read(wide.alerts))
    assert committed(wide) == {p: ends[p] for p in range(wide.partitions)}

    expected = replayed(packets, wide.weights, tmp_path)
    newest = newest_of_each(results)
    assert newest.keys() == expected.keys()
    for alert_id, result in newest.items():
        assert_equal(result, expected[alert_id], 1e-5)
    readers = {p: {line["partitions"][wide.alerts] for line in log_lines(p, "partitions assigned")} for p in alive}
    assert all(counts & {1, 2, 3} for counts in readers.values()), readers

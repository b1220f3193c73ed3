"""Three processes on six partitions with one shared store; one is killed and one is added during the night."""

import random
from collections import Counter
from pathlib import Path
from typing import Any

from nights import BROKEN, assert_equal, night, replayed
from stages import REPLICA_BATCH, Stage, replica_flags
from watching import committed, log_lines, newest_of_each, wait_until_classified

from benchmarks.neighbours.servers import RedisServer


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
    assert 0 <= delivered - taken <= REPLICA_BATCH
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

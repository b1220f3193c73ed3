"""One supervisor, two workers, six partitions and one shared store: the night comes out as from one process."""

import random
import urllib.request
from collections.abc import Callable
from pathlib import Path

from nights import assert_equal, night, replayed
from prometheus_client.parser import text_string_to_metric_families
from stages import Process, Stage, replica_flags
from watching import newest_of_each, page, wait_until, wait_until_classified

from benchmarks.neighbours.servers import RedisServer
from broker_filter.kafka.local_broker import free_port


def read_by_worker(port: int) -> dict[str, float]:
    """How many alerts each worker has read, as the one port tells."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=20) as answer:
        families = list(text_string_to_metric_families(answer.read().decode()))
    totals: dict[str, float] = {}
    for sample in (s for family in families for s in family.samples if s.name == "ictc_alerts_read_total"):
        totals[sample.labels["worker"]] = totals.get(sample.labels["worker"], 0.0) + sample.value
    return totals


def test_two_workers_share_a_night(
    wide: Stage, shared: RedisServer, run: Callable[..., Process], tmp_path: Path
) -> None:
    """Both read, their accounts on one port add up, the answers are the replay's, and the end is orderly."""
    packets, port, rng = list(night(9, 5)), free_port(), random.Random(3)
    process = run(replica_flags(wide, shared.url, "--workers", "2", "--http.port", str(port)))
    wait_until(lambda: process.text().count("partitions assigned") >= 2 and page(port, "/readyz")[0] == 200)
    wide.publish(packets, lambda n: rng.randrange(wide.partitions))
    wait_until_classified(wide, len(packets), [process])
    read = read_by_worker(port)
    assert process.stop() == 0
    assert set(read) == {"1", "2"}
    assert min(read.values()) > 0
    assert sum(read.values()) >= len(packets)
    expected, newest = replayed(packets, wide.weights, tmp_path), newest_of_each(wide.results())
    assert newest.keys() == expected.keys()
    for alert_id, result in newest.items():
        assert_equal(result, expected[alert_id], 1e-5)
    assert process.text().count('"event":"accounts"') >= 2

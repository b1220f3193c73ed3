"""Exactly-once delivery on Apache Kafka: nothing twice and nothing missing, whoever is killed."""

import random
from collections import Counter
from pathlib import Path
from typing import Any

from nights import assert_equal, night, replayed
from stages import Stage

from benchmarks.neighbours.kafka_node import KafkaNode
from benchmarks.neighbours.servers import RedisServer
from benchmarks.service.exactly_once import Trial, torment

ONCE = ("--output.delivery", "exactly_once")
KILLS = 5


def identity(result: dict[str, Any]) -> tuple[Any, ...]:
    """By which a classification is told from every other."""
    return (result["classifier"], result["classifierVersion"], result["survey"], result["alertId"], result["nKnown"])


def test_killed_at_random_moments(node: KafkaNode, weights: Path, tmp_path: Path) -> None:
    """Each classification stands once in the output, none is missing, the last words know everything that came before
    them, and the offsets are the topic's ends."""
    packets = list(night(6, 20))
    trial = Trial(node, f"once-{random.randrange(10**6)}", "exactly_once", weights, tmp_path)
    verdict = torment(trial, packets, KILLS, 1, random.Random(KILLS))
    assert (verdict.missing, verdict.twice, verdict.stale, verdict.offsets_equal) == (0, 0, 0, True)
    assert verdict.classifications >= len(packets)


def test_replicas_on_one_store_killed_at_random_moments(
    node: KafkaNode, shared: RedisServer, weights: Path, tmp_path: Path
) -> None:
    """The same where two processes share a store, and an object's alerts come on every partition."""
    packets = list(night(3, 40))
    trial = Trial(node, f"once-{random.randrange(10**6)}", "exactly_once", weights, tmp_path, shared.url)
    verdict = torment(trial, packets, KILLS, 2, random.Random(KILLS))
    assert (verdict.missing, verdict.twice, verdict.offsets_equal) == (0, 0, True)
    assert verdict.classifications >= len(packets)


def test_rejected_messages_and_late_alerts(node: KafkaNode, stage: Stage, run: Any, tmp_path: Path) -> None:
    """Dead letters are part of the transaction, and late alerts revise as in a replay."""
    packets = list(night(6, 7))
    mixed = [*packets, b"no alert", b""]
    random.Random(3).shuffle(mixed)
    stage.publish(mixed)
    service = run(stage.flags(tmp_path / "store", *ONCE, "--batch.alert-limit", "5"))
    assert service.wait() == 0
    expected = replayed(packets, stage.weights, tmp_path)
    newest: dict[int, dict[str, Any]] = {}
    for result in sorted(stage.results(), key=lambda r: r["nKnown"]):
        newest[result["alertId"]] = result
    assert newest.keys() == expected.keys()
    for alert_id, result in newest.items():
        assert_equal(result, expected[alert_id], 1e-5)
    assert len(stage.read(stage.dead_letters)) == 2
    assert max(Counter(map(identity, stage.results())).values()) == 1

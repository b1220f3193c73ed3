"""Routes in the running service: further topics, what is counted, what --check says."""

import io
import json
import re

import fastavro
from nights import last_of_each, night
from stages import FOREVER
from watching import page, wait_until

from broker_filter.config import KafkaSettings, load
from broker_filter.kafka.admin import Admin
from broker_filter.kafka.local_broker import free_port
from broker_filter.service.check import findings_of


def decisions(port: int) -> dict[str, float]:
    """What the rule of ``third-look`` has decided, and how often, in what the service exposes."""
    line = r'^ictc_routes_total\{decision="(\w+)",route="third-look"\} (\S+)'
    return {name: float(count) for name, count in re.findall(line, page(port, "/metrics")[1], re.MULTILINE)}


def test_a_route_gets_what_its_rule_takes(stage, run, tmp_path):
    """On a night with duplicates, the further topic holds the messages of which the rule is true, byte for byte."""
    topic, port = f"{stage.name}-third", free_port()
    Admin(KafkaSettings(brokers=stage.brokers)).create([topic], stage.partitions)
    routes = [
        {"name": "third-look", "topic": topic, "rule": "nObservations >= 3 and magnitude < 30"},
        {"name": "never", "topic": topic, "rule": "p_SNIa > 1"},
    ]
    flags = ["--output.routes", json.dumps(routes)]
    packets = list(night(4, 5))
    stage.publish([*packets, packets[0]])
    service = run(stage.flags(tmp_path / "store", *flags, "--http.port", str(port), *FOREVER))
    service.wait_for('"event":"batch"')
    wait_until(lambda: sum(decisions(port).values()) > len(packets))
    counts, exposed = decisions(port), page(port, "/metrics")[1]
    assert service.stop() == 0
    published = [message.value() for message in stage.read(stage.outputs)]
    routed = [message.value() for message in stage.read(topic)]
    assert set(routed) <= set(published)
    newest = last_of_each(stage.results())
    assert len(newest) == len(packets)
    expected = sum(result["nObservations"] >= 3 for result in newest.values())
    records = [next(fastavro.reader(io.BytesIO(value))) for value in routed]
    assert all(record["nObservations"] >= 3 for record in records)
    assert len({record["alertId"] for record in records}) == expected > 0
    assert counts["routed"] == len(routed)
    assert sum(counts.values()) == len(published) >= len(packets) + 1  # more where some were read again
    assert 'decision="not_routed",route="never"' in exposed


def test_check_says_where_routes_go(stage, tmp_path):
    """``--check`` lists routes, fails for a class that the network lacks and for a topic that is not there."""
    rule = {"name": "ia", "topic": stage.dead_letters, "rule": "p_SNIa > 0.5"}
    findings = {}
    for change in ({}, {"rule": "p_Nova > 0.5"}, {"topic": f"{stage.name}-absent"}):
        flags = stage.flags(tmp_path / "store", "--output.routes", json.dumps([rule | change]))
        findings[tuple(change)] = {finding.what: finding for finding in findings_of(load(flags).settings)}
    assert findings[()]["routes"].good
    assert f"ia to {stage.dead_letters} where p_SNIa > 0.5" in findings[()]["routes"].text
    assert "p_Nova" in findings["rule",]["routes"].text
    assert not findings["rule",]["routes"].good
    assert f"{stage.name}-absent" in findings["topic",]["topics"].text
    assert not findings["topic",]["topics"].good

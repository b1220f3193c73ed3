"""Brokers that hang, registries that are down, members that come and go, topics that are missing."""

import io
import os
import signal
import threading
import time
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer

import fastavro
import orjson
import pytest
from confluent_kafka import Consumer
from nights import last_of_each, night
from packets import ztf_schema
from stages import FOREVER
from watching import metric, page, wait_until

from broker_filter.config import KafkaSettings, load
from broker_filter.errors import ConfigurationError
from broker_filter.kafka.admin import Admin
from broker_filter.kafka.clients import LIBRARY_LOG
from broker_filter.kafka.local_broker import QUICK_GROUP, free_port
from broker_filter.service.check import findings_of

OUTAGE_S = float(os.environ.get("ICTC_TEST_OUTAGE_S", "2.5"))  # longer than the session; 30 in the long version
REGISTRY_SCHEMA_ID = 424_242


def test_a_broker_that_hangs(broker, hosted, run, tmp_path):
    """The group forgets us, the producer waits; when the broker is back, the service resumes and loses nothing."""
    packets = list(night(6, 4))
    hosted.publish(packets[:12])
    service = run(hosted.flags(tmp_path / "store", "--batch.alert-limit", "3", *FOREVER))
    service.wait_for('"event":"batch"')
    broker.process.send_signal(signal.SIGSTOP)
    time.sleep(OUTAGE_S)
    assert service.running
    broker.process.send_signal(signal.SIGCONT)
    hosted.publish(packets[12:])
    wait_until(lambda: len(last_of_each(hosted.results())) == len(packets), 40)
    assert service.stop() == 0
    assert len(last_of_each(hosted.results())) == len(packets)


def test_a_broker_that_restarts_empty(broker, hosted, run, tmp_path):
    """Topics and group are gone and made again: the same process reads on."""
    packets = list(night(6, 2))
    hosted.publish(packets[:6])
    service = run(hosted.flags(tmp_path / "store", "--output.delivery-timeout-s", "3", *FOREVER))
    service.wait_for('"event":"batch"')
    time.sleep(0.2)
    broker.restart()
    Admin(KafkaSettings(brokers=broker.address)).create(hosted.topics, hosted.partitions)
    hosted.publish(packets)
    wait_until(lambda: len(last_of_each(hosted.results())) == len(packets), 40)
    assert service.stop() == 0
    assert len(last_of_each(hosted.results())) == len(packets)


class Registry(BaseHTTPRequestHandler):
    """Knows one schema."""

    def do_GET(self):
        known = self.path.startswith(f"/schemas/ids/{REGISTRY_SCHEMA_ID}")
        body = orjson.dumps({"schema": orjson.dumps(ztf_schema()).decode()} if known else {"error_code": 40403})
        self.send_response(200 if known else 404)
        self.send_header("Content-Type", "application/vnd.schemaregistry.v1+json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def test_a_new_nightly_topic_is_found(stage, run, tmp_path):
    """A regular expression finds tonight's topic while the service runs."""
    packets, admin = list(night(6, 4)), Admin(KafkaSettings(brokers=stage.brokers))
    nights = [replace(stage, name=f"{stage.name}-{date}") for date in ("20260101", "20260102")]
    admin.create([nights[0].alerts], 3)
    nights[0].publish(packets[:12])
    flags = stage.flags(tmp_path / "store", "--kafka.topics", f"^{stage.name}-[0-9]{{8}}-alerts$", *FOREVER)
    service = run([*flags, "--kafka.consumer", "topic.metadata.refresh.interval.ms=300"])
    service.wait_for('"event":"batch"')
    admin.create([nights[1].alerts], 3)
    nights[1].publish(packets[12:18])
    wait_until(lambda: len(last_of_each(stage.results())) == 18)
    nights[1].publish(packets[18:])
    wait_until(lambda: len(last_of_each(stage.results())) == len(packets))
    assert service.stop() == 0
    assert len(last_of_each(stage.results())) == len(packets)


def datum_of(packet: bytes) -> bytes:
    """The record of a container, without the container."""
    out = io.BytesIO()
    (record,) = fastavro.reader(io.BytesIO(packet))
    fastavro.schemaless_writer(out, fastavro.parse_schema(ztf_schema()), record)
    return out.getvalue()


def test_a_registry_that_is_down(stage, run, tmp_path):
    """Alerts that need it wait and are read again, others go on, the group keeps us, and nothing is lost."""
    prefix = b"\x00" + REGISTRY_SCHEMA_ID.to_bytes(4, "big")
    containers = list(night(3, 4))
    packets = [prefix + datum_of(packet) for packet in containers[:6]]
    stage.publish(packets[:1] + containers[6:9] + packets[1:], lambda number: 0 if number in (0, 4, 5, 6, 7, 8) else 1)
    stage.publish(containers[9:], lambda _: 2)
    port = free_port()
    flags = stage.flags(tmp_path / "store", "--registry.url", f"http://127.0.0.1:{port}", *FOREVER)
    flags += ["--kafka.consumer", "max.poll.interval.ms=4000", "--batch.queue-limit", "1", "--batch.alert-limit", "2"]
    pages = free_port()
    flags += ["--life.retry-longest-s", "0.5", "--http.port", str(pages), "--http.stuck-after-s", "1.5"]
    service = run(flags)
    service.wait_for("alerts wait for their schema")
    wait_until(lambda: len(last_of_each(stage.results())) == 6)
    time.sleep(5.0)  # longer than the poll interval: a loop that waited for the registry would be put out of its group
    assert "partitions lost" not in service.text()
    assert len(last_of_each(stage.results())) == 6
    wait_until(lambda: page(pages, "/healthz")[0] == 503)  # up, but broken
    code, text = page(pages, "/healthz")
    assert code == 503
    assert "alerts wait" in text
    assert "registry" in text
    server = HTTPServer(("127.0.0.1", port), Registry)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    wait_until(lambda: len(last_of_each(stage.results())) == len(containers))
    wait_until(lambda: page(pages, "/healthz") == (200, "ok\n"))  # health is judged once a second
    assert page(pages, "/healthz") == (200, "ok\n")
    assert page(pages, "/readyz") == (200, "ready\n")
    assert metric(pages, "ictc_alerts_read_total") == len(containers)
    assert service.stop() == 0
    server.shutdown()
    server.server_close()
    assert len(last_of_each(stage.results())) == len(containers)
    assert "partitions lost" not in service.text()


def test_partitions_that_leave_and_come_back(stage, run, tmp_path):
    """Another member takes partitions and leaves without reading them: all alerts are classified in the end."""
    packets = list(night(6, 7))
    stage.publish(packets[:20])
    service = run(stage.flags(tmp_path / "store", "--batch.alert-limit", "2", *FOREVER))
    service.wait_for('"event":"batch"')
    other = Consumer(
        {"bootstrap.servers": stage.brokers, "group.id": stage.name, "enable.auto.commit": False, **QUICK_GROUP},
        logger=LIBRARY_LOG,
    )
    other.subscribe([stage.alerts])
    deadline_s = time.monotonic() + 15
    while "partitions leave" not in service.text() and time.monotonic() < deadline_s:
        other.consume(1, 0.1)
    stage.publish(packets[20:])
    other.close()
    wait_until(lambda: len(last_of_each(stage.results())) == len(packets))
    assert service.stop() == 0
    assert "partitions leave" in service.text()
    assert len(last_of_each(stage.results())) == len(packets)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--output.topic", "not-there"], "no topic not-there"),
        (["--kafka.topics", "^.*$"], "which we write to"),
        (["--kafka.consumer", "no.such.key=1"], "no.such.key"),
        (["--no-allow-untrained"], "untrained"),
        (["--model.device", "cuda:7"], "cuda"),
        (["--store.path", "/proc/nowhere"], "store.path"),
    ],
)
def test_what_cannot_work_stops_at_once(stage, run, tmp_path, flags, message):
    """The exit status is 2, and the message names the setting and the remedy."""
    service = run([*stage.flags(tmp_path / "store"), *flags])
    assert service.wait() == 2
    assert service.text().splitlines()[-1].startswith("ictc-broker: ")
    assert message in service.text()


def test_no_broker_at_the_start(stage, run, tmp_path):
    """The service waits for Kafka to come up, says so, and can be told to end meanwhile."""
    flags = stage.flags(tmp_path / "store")
    service = run([*flags, "--kafka.brokers", f"127.0.0.1:{free_port()}"])
    service.wait_for("not there yet")
    assert service.stop() == 0


def test_check_tells_what_it_found(stage, tmp_path, monkeypatch):
    """--check looks at Kafka, topics, registry, store, model and output, and names what is wrong."""
    settings = load(stage.flags(tmp_path / "store")).settings
    assert {f.what: f.good for f in findings_of(settings)} == dict.fromkeys(
        ("kafka", "topics", "registry", "store", "model", "output"), True
    )
    wrong = [
        *("--output.topic", "not-there", "--registry.url", "http://127.0.0.1:9", "--no-allow-untrained"),
        *("--store.path", "/proc/nowhere", "--output.format", "confluent"),
    ]
    findings = {f.what: f for f in findings_of(load([*stage.flags(tmp_path / "store"), *wrong]).settings)}
    assert {what for what, f in findings.items() if not f.good} == {"topics", "registry", "store", "model"}
    assert "not-there" in findings["topics"].text
    with pytest.raises(ConfigurationError):
        load(["--batch.alert-limit", "0"])

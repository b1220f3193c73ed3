"""Brokers that refuse: wrong credentials, topics and groups without permission, one static identity used twice."""

import struct
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from socketserver import BaseRequestHandler, ThreadingTCPServer
from typing import Any, ClassVar

import pytest
from mock_cluster import GROUP_AUTHORIZATION_FAILED, JOIN_GROUP, TOPIC_AUTHORIZATION_FAILED, MockCluster
from nights import last_of_each, night
from stages import FOREVER, Stage

from broker_filter.config import load
from broker_filter.kafka import rights
from broker_filter.service.check import findings_of

HEARTBEAT = 12  # one of Kafka's API keys
API_VERSIONS, SASL_HANDSHAKE, SASL_AUTHENTICATE = 18, 17, 36
SASL_AUTHENTICATION_FAILED, UNSUPPORTED_VERSION, FENCED_INSTANCE_ID = 58, 35, 82


@pytest.mark.parametrize("which", ["alerts", "outputs"])
def test_a_topic_without_permission(guarded: Stage, strict: MockCluster, run: Any, tmp_path: Path, which: str) -> None:
    """The service stops at once, --check says the same, and both name the topic and the right that is missing."""
    topic = getattr(guarded, which)
    strict.refuse_topic(topic, TOPIC_AUTHORIZATION_FAILED)
    flags = guarded.flags(tmp_path / "store")
    service = run(flags)
    assert service.wait() == 2
    (finding,) = (f for f in findings_of(load(flags).settings) if f.what == "topics")
    assert not finding.good
    for words in (service.text().splitlines()[-1], finding.text):
        assert topic in words
        assert "give this user the right" in words


def test_a_permission_that_is_taken_away(guarded: Stage, strict: MockCluster, run: Any, tmp_path: Path) -> None:
    """What cannot be published is not committed: with the permission back, the next run loses nothing."""
    packets = list(night(4, 4))
    flags = guarded.flags(tmp_path / "store", "--batch.alert-limit", "2", *FOREVER)
    service = run([*flags, "--kafka.client", "topic.metadata.refresh.interval.ms=300"])
    guarded.publish(packets[:6])
    service.wait_for('"event":"batch"')
    strict.refuse_topic(guarded.outputs, TOPIC_AUTHORIZATION_FAILED)
    time.sleep(1.0)
    guarded.publish(packets[6:])
    assert service.wait() == 1
    assert "give this user the right" in service.text().splitlines()[-1]
    strict.refuse_topic(guarded.outputs, 0)
    again = run(guarded.flags(tmp_path / "store"))
    assert again.wait() == 0
    assert len(last_of_each(guarded.results())) == len(packets)


def test_a_group_without_permission(guarded: Stage, strict: MockCluster, run: Any, tmp_path: Path) -> None:
    """The message names the setting, and that surveys ask for groups of a certain name."""
    strict.refuse_requests(JOIN_GROUP, GROUP_AUTHORIZATION_FAILED, 20)
    service = run(guarded.flags(tmp_path / "store", *FOREVER))
    assert service.wait() == 1
    assert "give this user the right to kafka.group" in service.text().splitlines()[-1]


def test_one_static_identity_used_twice(guarded: Stage, strict: MockCluster, run: Any, tmp_path: Path) -> None:
    """The process whose identity another one took is fenced: it says so, ends without a commit, and nothing is lost."""
    packets = list(night(4, 4))
    flags = guarded.flags(tmp_path / "store", "--kafka.instance-id", "the-only-one", "--batch.alert-limit", "2")
    first = run([*flags, *FOREVER])
    guarded.publish(packets[:8])
    first.wait_for('"event":"batch"')
    strict.refuse_requests(HEARTBEAT, FENCED_INSTANCE_ID, 1)  # what a broker answers once the other one has joined
    assert first.wait() == 1
    assert "give each process its own" in first.text().splitlines()[-1]
    guarded.publish(packets[8:])
    assert run(flags).wait() == 0
    assert len(last_of_each(guarded.results())) == len(packets)


class Doorkeeper(BaseRequestHandler):
    """Speaks as much of Kafka's protocol as is needed to refuse a password."""

    answers: ClassVar[dict[int, bytes]] = {
        API_VERSIONS: struct.pack(">hi9h", 0, 3, API_VERSIONS, 0, 0, SASL_HANDSHAKE, 0, 1, SASL_AUTHENTICATE, 0, 0),
        SASL_HANDSHAKE: struct.pack(">hi", 0, 1) + struct.pack(">h5s", 5, b"PLAIN"),
        SASL_AUTHENTICATE: struct.pack(">hh14si", SASL_AUTHENTICATION_FAILED, 14, b"wrong password", 0),
    }

    def handle(self) -> None:
        while head := self.request.recv(4):
            (size,) = struct.unpack(">i", head)
            body = b""
            while len(body) < size:
                body += self.request.recv(size - len(body))
            key, version, correlation = struct.unpack(">hhi", body[:8])
            answer = self.answers[key]
            if key == API_VERSIONS and version > 0:
                answer = struct.pack(">h", UNSUPPORTED_VERSION) + answer[2:]
            self.request.sendall(struct.pack(">ii", 4 + len(answer), correlation) + answer)


@pytest.fixture
def doorkeeper() -> Iterator[str]:
    """The address of a broker that nobody gets into."""
    ThreadingTCPServer.daemon_threads = True
    with ThreadingTCPServer(("127.0.0.1", 0), Doorkeeper) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield f"127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def test_wrong_credentials(doorkeeper: str, weights: Path, run: Any, tmp_path: Path) -> None:
    """The service and --check name the settings to look at, and show the password nowhere."""
    flags = Stage(doorkeeper, "closed", weights).flags(
        tmp_path / "store",
        *("--kafka.username", "somebody", "--kafka.password", "not-this-one"),
        *("--kafka.client", "security.protocol=SASL_PLAINTEXT", "--kafka.client", "sasl.mechanism=PLAIN"),
    )
    service = run(flags)
    assert service.wait() == 1
    finding = next(findings_of(load(flags).settings))
    assert finding.what == "kafka"
    assert not finding.good
    for words in (service.text().splitlines()[-1], finding.text):
        assert "wrong password" in words
        assert "check kafka.username, kafka.password" in words
    assert "not-this-one" not in service.text() + finding.text


def test_a_broker_that_tells_no_rights(
    guarded: Stage, strict: MockCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """--check says that there was no answer to the question which rights we have."""
    monkeypatch.setattr(rights, "ANSWER_S", 1.0)
    (finding,) = (f for f in findings_of(load(guarded.flags(tmp_path / "store")).settings) if f.what == "topics")
    assert not finding.good
    assert f"no answer from Kafka at {strict.address}" in finding.text


@pytest.mark.parametrize("client", ["consumer", "producer"])
def test_a_setting_that_librdkafka_does_not_know(guarded: Stage, tmp_path: Path, client: str) -> None:
    """--check says so, as the service would, and asks Kafka nothing before."""
    flags = guarded.flags(tmp_path / "store", f"--kafka.{client}", "linger.mss=5")
    finding = next(findings_of(load(flags).settings))
    assert (finding.what, finding.good) == ("kafka", False)
    assert f"refuses the settings of the {client}" in finding.text
    assert "linger.mss" in finding.text

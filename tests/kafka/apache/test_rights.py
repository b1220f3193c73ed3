"""SASL/SCRAM with ACLs and TLS on Apache Kafka: what is not allowed is named beforehand, and what is allowed works."""

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)
from nights import last_of_each, night
from stages import Stage

from benchmarks.neighbours.kafka_node import OBSERVER, KafkaNode
from broker_filter.config import load
from broker_filter.kafka.clients import LIBRARY_LOG
from broker_filter.service.check import findings_of

ANY = ResourcePatternType.ANY
Right = tuple[ResourceType, str, AclOperation]


@pytest.fixture
def superuser(node: KafkaNode) -> Iterator[AdminClient]:
    """Who gives rights; those of a test are taken back at its end."""
    client = AdminClient({"bootstrap.servers": node.address}, logger=LIBRARY_LOG)
    yield client
    everything = AclBindingFilter(ResourceType.ANY, None, ANY, None, None, AclOperation.ANY, AclPermissionType.ANY)
    for future in client.delete_acls([everything]).values():
        future.result(10)


def allow(client: AdminClient, user: str, rights: list[Right]) -> None:
    """Give a user rights."""
    kind, allowed = ResourcePatternType.LITERAL, AclPermissionType.ALLOW
    acls = [AclBinding(what, name, kind, f"User:{user}", "*", operation, allowed) for what, name, operation in rights]
    for future in client.create_acls(acls).values():
        future.result(10)
    time.sleep(1.0)  # until the broker has heard of them from its controller


def all_rights(stage: Stage) -> dict[str, Right]:
    """What the service needs."""
    return {
        "READ on topic": (ResourceType.TOPIC, stage.alerts, AclOperation.READ),
        "WRITE on topic": (ResourceType.TOPIC, stage.outputs, AclOperation.WRITE),
        "dead letters": (ResourceType.TOPIC, stage.dead_letters, AclOperation.WRITE),
        "READ on group": (ResourceType.GROUP, stage.name, AclOperation.READ),
    }


def sasl_flags(node: KafkaNode, stage: Stage, store: Path, door: str = "SASL_PLAINTEXT") -> list[str]:
    """The service as a user with few rights."""
    client = {"security.protocol": door, "sasl.mechanism": "SCRAM-SHA-512"}
    if door == "SASL_SSL":
        client["ssl.ca.location"] = str(node.certificates.authority)
    flags = replace(stage, brokers=node.door(door)).flags(store)
    flags += ["--kafka.username", OBSERVER.name, "--kafka.password", OBSERVER.password]
    return flags + [flag for key, value in client.items() for flag in ("--kafka.client", f"{key}={value}")]


@pytest.mark.parametrize("door", ["SASL_PLAINTEXT", "SASL_SSL"])
def test_a_user_with_every_right(
    node: KafkaNode, superuser: AdminClient, stage: Stage, run: Any, tmp_path: Path, door: str
) -> None:
    """--check finds nothing, and the service classifies."""
    allow(superuser, OBSERVER.name, list(all_rights(stage).values()))
    packets = list(night(3, 2))
    stage.publish(packets)
    flags = sasl_flags(node, stage, tmp_path / "store", door)
    assert {f.what for f in findings_of(load(flags).settings) if not f.good} == set()
    assert run(flags).wait() == 0
    assert len(last_of_each(stage.results())) == len(packets)


@pytest.mark.parametrize("lacking", ["READ on topic", "WRITE on topic", "dead letters", "READ on group"])
def test_a_right_that_is_missing_is_named_beforehand(
    node: KafkaNode, superuser: AdminClient, stage: Stage, tmp_path: Path, lacking: str
) -> None:
    """--check says which, also where the topic can be seen."""
    rights = all_rights(stage)
    kind, name, _ = rights.pop(lacking)
    allow(superuser, OBSERVER.name, [*rights.values(), (kind, name, AclOperation.DESCRIBE)])
    (finding,) = (f for f in findings_of(load(sasl_flags(node, stage, tmp_path)).settings) if f.what == "topics")
    assert not finding.good
    assert name in finding.text


def test_certificates_on_both_sides(
    node: KafkaNode, superuser: AdminClient, stage: Stage, run: Any, tmp_path: Path
) -> None:
    """A client's certificate is its name; without the authority that signed the broker's the service stops at once."""
    allow(superuser, "CN=survey-reader", list(all_rights(stage).values()))
    packets = list(night(3, 2))
    stage.publish(packets)
    files = node.certificates
    client = {
        "security.protocol": "SSL",
        "ssl.key.location": str(files.client_key),
        "ssl.certificate.location": str(files.client_certificate),
    }
    flags = replace(stage, brokers=node.door("SSL")).flags(tmp_path / "store")
    flags += [flag for key, value in client.items() for flag in ("--kafka.client", f"{key}={value}")]
    stranger = run(flags)
    assert stranger.wait() == 1
    assert "check ssl.ca.location" in stranger.text()
    assert run([*flags, "--kafka.client", f"ssl.ca.location={files.authority}"]).wait() == 0
    assert len(last_of_each(stage.results())) == len(packets)


def test_a_user_without_a_sign_on(weights: Path, run: Any, tmp_path: Path) -> None:
    """A user name beside a protocol that signs nobody on is a contradiction, said at once."""
    flags = Stage("127.0.0.1:9", "nowhere", weights).flags(tmp_path / "store")
    service = run([*flags, "--kafka.username", "somebody"])
    assert service.wait() == 2
    assert "security.protocol in kafka.client is plaintext" in service.text().splitlines()[-1]

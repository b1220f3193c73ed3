"""One node of Apache Kafka on loopback, gone when its context ends. No benchmark by itself.

``make kafka`` fetches the jars; ``ICTC_KAFKA_HOME`` names an unpacked download of Apache Kafka instead. It runs on Java
17 or later. The node has four doors: plaintext (a super user), SASL/SCRAM, TLS with client certificates, and SASL over
TLS; whoever comes by another door than the first has only the rights that were given to it.
"""

import datetime as dt
import ipaddress
import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from benchmarks.neighbours.servers import AbsentError, Server
from benchmarks.setting import REPO_ROOT
from broker_filter.kafka.clients import LIBRARY_LOG
from broker_filter.kafka.local_broker import free_port

HOME_VARIABLE = "ICTC_KAFKA_HOME"
START_LIMIT_S = 90.0
STOP_LIMIT_S = 30.0
MESSAGE_LIMIT_BYTES = 2 * 2**20
LISTENERS = ("PLAINTEXT", "SASL_PLAINTEXT", "SSL", "SASL_SSL", "CONTROLLER")
CERTIFICATE_DAYS = 30
JAVA_OPTIONS = (
    *("-Xms512m", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"),
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
)


@dataclass(frozen=True, slots=True)
class Account:
    """A user of the SASL doors."""

    name: str
    password: str


OBSERVER = Account("observer", "observers-own-secret")


def jars() -> Path:
    """The folder of Kafka's jars.

    Raises
    ------
    AbsentError
        Nobody fetched them, or there is no Java.
    """
    if shutil.which("java") is None:
        raise AbsentError("no java on this machine: install Java 17 or later (Debian: openjdk-17-jre-headless)")
    named = os.environ.get(HOME_VARIABLE)
    folder = (Path(named) if named else REPO_ROOT / ".kafka") / "libs"
    if not any(folder.glob("kafka_2.1*.jar")):
        raise AbsentError(
            f"no Apache Kafka in {folder}: run `make kafka` (it needs Maven: Debian's package maven), or set "
            f"{HOME_VARIABLE} to an unpacked download of Apache Kafka 4 (its folder with libs/)"
        )
    return folder


class KafkaNode(Server):
    """A running node that keeps its topics and offsets over a restart.

    Parameters
    ----------
    folder
        For its data, settings and log.
    properties
        Of the broker, beside or instead of ours.
    """

    def __init__(self, folder: Path, properties: Mapping[str, str] | None = None) -> None:
        self._folder, self._jars = folder, jars()
        self._ports = {name: free_port() for name in LISTENERS}
        self.certificates = write_certificates(folder)
        self._settings = folder / "server.properties"
        content = self._properties() | dict(properties or {})
        self._settings.write_text("".join(f"{name}={value}\n" for name, value in content.items()), "utf-8")
        self._format()
        self.process = self._start()

    @property
    def address(self) -> str:
        """Where everything is allowed."""
        return self.door("PLAINTEXT")

    def door(self, name: str) -> str:
        """The address of one of its listeners."""
        return f"127.0.0.1:{self._ports[name]}"

    def _properties(self) -> dict[str, str]:
        scram = "org.apache.kafka.common.security.scram.ScramLoginModule required;"
        return {
            "process.roles": "broker,controller",
            "node.id": "1",
            "listeners": ",".join(f"{name}://{self.door(name)}" for name in LISTENERS),
            "advertised.listeners": ",".join(f"{name}://{self.door(name)}" for name in LISTENERS[:-1]),
            "controller.listener.names": "CONTROLLER",
            "controller.quorum.bootstrap.servers": self.door("CONTROLLER"),
            "listener.security.protocol.map": "CONTROLLER:PLAINTEXT," + ",".join(f"{n}:{n}" for n in LISTENERS[:-1]),
            "log.dirs": str(self._folder / "data"),
            "auto.create.topics.enable": "false",
            "offsets.topic.replication.factor": "1",
            "offsets.topic.num.partitions": "4",
            "transaction.state.log.replication.factor": "1",
            "transaction.state.log.min.isr": "1",
            "transaction.state.log.num.partitions": "4",
            "share.coordinator.state.topic.replication.factor": "1",
            "share.coordinator.state.topic.min.isr": "1",
            "group.initial.rebalance.delay.ms": "0",
            "message.max.bytes": str(MESSAGE_LIMIT_BYTES),
            # The tests' sessions are short; Kafka refuses those under six seconds unless told otherwise.
            "group.min.session.timeout.ms": "500",
            "group.consumer.min.session.timeout.ms": "500",
            "group.consumer.min.heartbeat.interval.ms": "100",
            "sasl.enabled.mechanisms": "SCRAM-SHA-512",
            "listener.name.sasl_plaintext.scram-sha-512.sasl.jaas.config": scram,
            "listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config": scram,
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": str(self.certificates.server),
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": str(self.certificates.authority),
            "listener.name.ssl.ssl.client.auth": "required",
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": "User:ANONYMOUS",
        }

    def _java(self, *arguments: str) -> list[str]:
        return ["java", *JAVA_OPTIONS, "-cp", f"{self._jars}/*", *arguments]

    def _format(self) -> None:
        users = ["--add-scram", f"SCRAM-SHA-512=[name={OBSERVER.name},password={OBSERVER.password}]"]
        identity = ["--cluster-id", "ictc-test-cluster-0000"]
        command = self._java("kafka.tools.StorageTool", "format", "--standalone", *identity, *users)
        done = subprocess.run([*command, "-c", str(self._settings)], capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"Kafka's folder cannot be formatted: {done.stdout[-1000:]}{done.stderr[-1000:]}")

    def _start(self) -> subprocess.Popen[bytes]:
        with (self._folder / "kafka.log").open("ab") as log:
            process = subprocess.Popen(
                self._java("kafka.Kafka", str(self._settings)),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline_s = time.monotonic() + START_LIMIT_S
        client = AdminClient({"bootstrap.servers": self.address, "reconnect.backoff.max.ms": 500}, logger=LIBRARY_LOG)
        while True:
            try:
                client.list_topics(timeout=1)
            except KafkaException as error:
                if process.poll() is not None or time.monotonic() > deadline_s:
                    process.kill()
                    tail = (self._folder / "kafka.log").read_text("utf-8", "replace")[-2000:]
                    raise RuntimeError(f"Kafka does not start: {tail}") from error
            else:
                return process


@dataclass(frozen=True, slots=True)
class Certificates:
    """PEM files: an authority, and what it signed."""

    authority: Path
    server: Path  # key and certificate
    client_key: Path
    client_certificate: Path


def write_certificates(folder: Path) -> Certificates:
    """An authority of one's own, a server's and a client's certificate."""

    def name(text: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)])

    now = dt.datetime.now(dt.UTC)
    authority_key = ec.generate_private_key(ec.SECP256R1())

    def certificate(key: ec.EllipticCurvePrivateKey, subject: str, authority: bool) -> bytes:
        builder = (
            x509.CertificateBuilder()
            .subject_name(name(subject))
            .issuer_name(name("ictc-test-authority"))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(hours=1))
            .not_valid_after(now + dt.timedelta(days=CERTIFICATE_DAYS))
            .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
            .add_extension(
                x509.SubjectAlternativeName(
                    [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
                ),
                critical=False,
            )
        )
        return builder.sign(authority_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    def private(key: ec.EllipticCurvePrivateKey) -> bytes:
        return key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )

    files = Certificates(*(folder / name for name in ("authority.pem", "server.pem", "client.key", "client.pem")))
    files.authority.write_bytes(certificate(authority_key, "ictc-test-authority", authority=True))
    server_key, client_key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    files.server.write_bytes(private(server_key) + certificate(server_key, "localhost", authority=False))
    files.client_key.write_bytes(private(client_key))
    files.client_certificate.write_bytes(certificate(client_key, "survey-reader", authority=False))
    return files


@contextmanager
def kafka_node(folder: Path, properties: Mapping[str, str] | None = None) -> Iterator[KafkaNode]:
    """A node of one's own.

    Raises
    ------
    AbsentError
        Kafka or Java is not here.
    """
    node = KafkaNode(folder, properties)
    try:
        yield node
    finally:
        node.kill()  # nobody reads its data afterwards

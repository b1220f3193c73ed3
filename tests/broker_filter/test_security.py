"""Encryption, credentials and secrets: what is set reaches the clients, and nothing secret is printed."""

import base64
import datetime
import logging
import os
import queue
import socket
import ssl
import subprocess
import sys
import threading
import time
import urllib.parse
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from confluent_kafka import Consumer, KafkaException
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from broker_filter.config import KafkaSettings, Settings, load, masked
from broker_filter.errors import ConfigurationError
from broker_filter.kafka.clients import (
    LIBRARY_LOG,
    common_configuration,
    consumer_configuration,
    producer_configuration,
)
from broker_filter.kafka.consumer import AlertConsumer
from broker_filter.secret import MASK
from broker_filter.service.main import main

KEY_PASSWORD, CLIENT = "key-s3cret-1", "ictc-test-client"


class Nobody:
    """An owner to whom nothing happens."""

    def drain(self, leaving):
        return True

    def drop(self, gone):
        pass

    def count_lost(self, partition, alerts):
        pass


def certificate(name: str, issuer: str, public_key, signing_key, authority: bool) -> x509.Certificate:
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
    )
    return builder.sign(signing_key, hashes.SHA256())


@pytest.fixture(scope="module")
def tls(tmp_path_factory) -> Path:
    """A folder with an authority, a server's and a client's certificate, and keys; the client's has a password."""
    folder = tmp_path_factory.mktemp("tls")
    keys = {name: ec.generate_private_key(ec.SECP256R1()) for name in ("authority", "localhost", CLIENT)}
    for name, key in keys.items():
        password = KEY_PASSWORD.encode() if name == CLIENT else None
        secret = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
        form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8)
        (folder / f"{name}.key").write_bytes(key.private_bytes(*form, secret))
        signed = certificate(name, "authority", key.public_key(), keys["authority"], name == "authority")
        (folder / f"{name}.pem").write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    return folder


def tls_settings(tls: Path, **more: str) -> KafkaSettings:
    client = {
        "security.protocol": "SSL",
        "ssl.ca.location": str(tls / "authority.pem"),
        "ssl.certificate.location": str(tls / f"{CLIENT}.pem"),
        "ssl.key.location": str(tls / f"{CLIENT}.key"),
        "ssl.key.password": KEY_PASSWORD,
    }
    return KafkaSettings(client=client | more, topics=("t",))


@pytest.fixture
def guarded_port(tls) -> Iterator[tuple[int, queue.Queue[str]]]:
    """A TLS server that asks for the client's certificate, and the names that it sees."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tls / "localhost.pem", tls / "localhost.key")
    context.load_verify_locations(tls / "authority.pem")
    context.verify_mode = ssl.CERT_REQUIRED
    seen: queue.Queue[str] = queue.Queue()
    server = socket.create_server(("127.0.0.1", 0))
    server.settimeout(30)

    def accept() -> None:
        connection, _ = server.accept()
        with connection, context.wrap_socket(connection, server_side=True) as guarded:
            guarded.recv(4)  # in TLS 1.3 the client's certificate is checked by now
            subject = guarded.getpeercert()["subject"]
            seen.put(subject[0][0][1])

    thread = threading.Thread(target=accept)
    thread.start()
    yield server.getsockname()[1], seen
    thread.join(30)
    server.close()


def test_tls_by_files_reaches_the_broker(tls, guarded_port):
    """The consumer shows its certificate, whose key has a password, to a broker that it knows by its authority."""
    port, seen = guarded_port
    settings = tls_settings(tls).model_copy(update={"brokers": f"localhost:{port}"})
    consumer = Consumer(consumer_configuration(settings) | {"broker.address.family": "v4"}, logger=LIBRARY_LOG)
    with pytest.raises(KafkaException):
        consumer.list_topics(timeout=1)
    name = seen.get(timeout=20)  # the handshake may outlive the question
    consumer.close()
    assert name == CLIENT


@pytest.mark.parametrize(
    ("key", "value"),
    [("ssl.key.password", "wr0ng-s3cret"), ("ssl.ca.location", "/nowhere.pem")],
)
def test_wrong_tls_settings_stop_the_service(tls, key, value):
    """The message says what librdkafka says, without the secret."""
    settings = tls_settings(tls, **{key: value})
    with pytest.raises(ConfigurationError, match="librdkafka refuses") as caught:
        AlertConsumer(consumer_configuration(settings), settings.topics, Nobody())
    assert "s3cret" not in f"{caught.value!r} {settings!r}"


@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-256", "SCRAM-SHA-512", "PLAIN"])
def test_sasl_over_tls_is_taken_by_the_client(tls, mechanism):
    """Name and password of SASL_SSL reach consumer and producer alike."""
    settings = tls_settings(tls, **{"security.protocol": "SASL_SSL", "sasl.mechanism": mechanism})
    settings = KafkaSettings(client=settings.client, username="me", password="pass-s3cret")
    for configuration in (consumer_configuration(settings), producer_configuration(settings, 10)):
        assert (configuration["sasl.username"], configuration["sasl.password"]) == ("me", "pass-s3cret")
        assert configuration["sasl.mechanism"] == mechanism
    Consumer(consumer_configuration(settings), logger=LIBRARY_LOG).close()
    assert "s3cret" not in repr(settings)


def test_oauthbearer_fetches_its_token():
    """With OAUTHBEARER the client asks the endpoint that the settings name for a token, with their id and secret."""
    requests: list[tuple[str, str]] = []
    arrived = threading.Event()

    class Endpoint(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            requests.append((self.headers.get("Authorization", ""), body))
            self.send_response(401)
            self.send_header("Content-Length", "0")
            self.end_headers()
            arrived.set()

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Endpoint)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    client = {
        "security.protocol": "SASL_PLAINTEXT",
        "sasl.mechanism": "OAUTHBEARER",
        "sasl.oauthbearer.method": "oidc",
        "sasl.oauthbearer.client.id": "ictc",
        "sasl.oauthbearer.client.secret": "oidc-s3cret",
        "sasl.oauthbearer.token.endpoint.url": f"http://127.0.0.1:{server.server_port}/token",
    }
    settings = KafkaSettings(brokers="127.0.0.1:1", client=client)
    consumer = Consumer(common_configuration(settings) | {"group.id": "g"}, logger=LIBRARY_LOG)
    deadline_s = time.monotonic() + 30
    while not arrived.is_set() and time.monotonic() < deadline_s:
        consumer.poll(0.1)
    consumer.close()
    server.shutdown()
    server.server_close()
    thread.join()
    authorization, body = requests[0]
    assert base64.b64decode(authorization.removeprefix("Basic ")) == b"ictc:oidc-s3cret"
    assert urllib.parse.parse_qs(body)["grant_type"] == ["client_credentials"]
    assert "s3cret" not in repr(settings)


@pytest.mark.parametrize(
    "key",
    [
        *("sasl.password", "ssl.key.password", "ssl.keystore.password", "ssl.key.pem"),
        *("sasl.oauthbearer.config", "sasl.oauthbearer.client.secret"),
        *("sasl.oauthbearer.assertion.private.key.passphrase", "sasl.oauthbearer.assertion.private.key.pem"),
    ],
)
def test_every_secret_of_librdkafka_is_known(key):
    """Whichever of its keys holds a secret, the value is masked where settings are shown."""
    settings = Settings.model_construct(kafka=KafkaSettings.model_construct(client={key: "x-s3cret"}))
    assert "s3cret" not in repr(settings.kafka)
    assert masked(settings)["kafka"]["client"] == {key: MASK}


SECRETS = {
    "ICTC_KAFKA__PASSWORD": "kafka-s3cret",
    "ICTC_REGISTRY__PASSWORD": "registry-s3cret",
    "ICTC_STORE__URL": "redis://me:store-s3cret@127.0.0.1:1/0",
    "ICTC_KAFKA__CLIENT": '{"security.protocol": "SASL_PLAINTEXT", "sasl.mechanism": "PLAIN",'
    ' "ssl.key.password": "key-s3cret", "sasl.oauthbearer.client.secret": "client-s3cret",'
    ' "sasl.oauthbearer.config": "x=config-s3cret", "ssl.key.pem": "pem-s3cret"}',
}
FLAGS = (
    *("--kafka.topics", "t", "--kafka.brokers", "127.0.0.1:1", "--kafka.username", "me", "--allow-untrained"),
    *("--registry.url", "http://127.0.0.1:1", "--registry.username", "me", "--http.port", "null"),
    *("--model.weights", "ztf", "--log.level", "debug"),
)


@pytest.fixture
def secrets(monkeypatch, tmp_path) -> Iterator[tuple[str, ...]]:
    """Flags that go with secrets in the environment."""
    root = logging.getLogger("ictc")
    before = (root.handlers[:], root.level, root.propagate)
    for name in list(os.environ):
        if name.startswith("ICTC_"):
            monkeypatch.delenv(name)
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    yield (*FLAGS, "--store.path", str(tmp_path / "store"))
    root.handlers[:], root.level, root.propagate = before


@pytest.mark.slow
@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--check", "--store.kind", "redis", "--kafka.client", "ssl.keystore.password=other-s3cret"), "FAILED"),
        (("--registry.url", "http://me:address-s3cret@127.0.0.1"), "registry.url"),
        (("--kafka.password", "flag-s3cret", "--batch.wait-s", "-1"), "batch.wait_s"),
        (("--store.url", "redis://me:flag-s3cret@", "--store.kind", "nonsense"), "store.kind"),
    ],
)
def test_nothing_secret_is_shown_or_complained_of(secrets, capfd, flags, message):
    """Neither the table of --check nor the message about a wrong setting holds a secret."""
    assert main([*secrets, *flags]) == 2
    out, err = capfd.readouterr()
    assert message in out + err
    assert "s3cret" not in out + err


@pytest.mark.slow
def test_nothing_secret_is_logged(secrets):
    """A service that finds neither registry nor broker nor store says so at every level without a secret."""
    command = [sys.executable, "-m", "broker_filter.service.main", *secrets, "--store.kind", "redis"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as service:
        assert service.stdout is not None
        text = ""
        while '"event":"settings"' not in text:
            line = service.stdout.readline()
            assert line, f"it ended before it told its settings: {text}"
            text += line
        try:
            rest, _ = service.communicate(timeout=5)
        except subprocess.TimeoutExpired:  # it goes on trying, as it should
            service.terminate()
            rest, _ = service.communicate(timeout=20)
    text += rest
    assert "127.0.0.1:1" in text
    assert "s3cret" not in text
    assert "Traceback" not in text


def test_a_secret_in_a_wrong_place_is_not_repeated():
    """A password where a number should be is not shown in the message that says so."""
    for flags in (["--kafka.client", "sasl.password=x-s3cret"], ["--store.url", "s3cret", "--store.kind", "redis2"]):
        with pytest.raises(ConfigurationError) as caught:
            load(flags)
        assert "s3cret" not in str(caught.value)

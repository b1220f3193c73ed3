"""Every place where a secret could be printed, one after the other."""

import http.client
import io
import logging

import pytest
from rich.console import Console

from broker_filter import logs, terminal
from broker_filter.config import load, masked
from broker_filter.errors import ConfigurationError, RetryableError
from broker_filter.kafka.schema_registry import Registry
from broker_filter.monitoring.health import Health
from broker_filter.monitoring.http import HttpServer, application
from broker_filter.monitoring.ledger import Ledger
from broker_filter.monitoring.metrics import Metrics
from broker_filter.monitoring.recent import Recent
from broker_filter.monitoring.status import StatusPage
from broker_filter.secret import MASK, conceal, is_secret_name, masked_address, remember
from broker_filter.service import check
from broker_filter.service.served_pages import routes_of

pytestmark = pytest.mark.usefixtures("networks_once")
SECRETS = [f"s3cret-{n}" for n in range(9)]
FLAGS = [
    *(
        "--kafka.brokers",
        "127.0.0.1:9",
        "--kafka.topics",
        "a",
        "--kafka.username",
        "me",
        "--kafka.password",
        SECRETS[0],
    ),
    *("--kafka.client", f"ssl.key.password={SECRETS[1]},sasl.oauthbearer.client.secret={SECRETS[2]}"),
    *("--kafka.consumer", f"ssl.keystore.pwd={SECRETS[3]}", "--kafka.producer", f"my.api_key={SECRETS[4]}"),
    *("--registry.url", f"http://127.0.0.1:9/?apikey={SECRETS[5]}", "--registry.username", "me"),
    *(
        "--registry.password",
        SECRETS[6],
        "--store.kind",
        "redis",
        "--store.url",
        f"redis://me:{SECRETS[7]}@127.0.0.1:9",
    ),
    *("--trace.endpoint", f"http://127.0.0.1:9/v1/traces?token={SECRETS[8]}"),
]


@pytest.fixture
def settings():
    """Settings that hold a secret wherever one can stand."""
    yield load(FLAGS).settings
    remember(())


def secrets_in(text: str) -> list[str]:
    return [secret for secret in SECRETS if secret in text]


def test_settings_are_printed_without_secrets(settings):
    """Neither the settings, nor their repr, nor what is logged of them at a start shows one."""
    assert secrets_in(f"{masked(settings)} {settings!r} {settings}") == []
    shown = masked(settings)
    assert shown["registry"]["url"] == f"http://127.0.0.1:9/?apikey={MASK}"
    assert shown["kafka"]["brokers"] == "127.0.0.1:9"


@pytest.mark.parametrize("style", ["json", "text"])
def test_log_lines_are_without_secrets(settings, style):
    """Whatever a library quotes of what it was given is concealed, in words, facts and tracebacks."""
    stream = io.StringIO()
    before = logging.getLogger(logs.ROOT).handlers[:]
    logs.set_up("info", style, stream)
    try:
        try:
            raise ValueError(f"cannot read {SECRETS[7]}")
        except ValueError:
            text = f"failed with {SECRETS[0]}"
            logs.logger("test").exception(text, extra=logs.facts(error=f"x {SECRETS[1]}", more={"a": SECRETS[5]}))
    finally:
        logging.getLogger(logs.ROOT).handlers[:] = before
    assert "failed with" in stream.getvalue()
    assert secrets_in(stream.getvalue()) == []


def test_the_last_word_of_a_command_is_without_secrets(settings, capsys):
    """What a command says when it ends is concealed."""
    terminal.complain("ictc-broker", ConfigurationError(f"refused {' '.join(SECRETS)}"))
    assert secrets_in(capsys.readouterr().err) == []


def test_check_prints_no_secrets(settings):
    """The table of settings and the findings of --check show none, although every address fails."""
    stream = io.StringIO()
    settings.kafka.client.clear()
    settings.kafka.consumer.clear()
    settings.kafka.producer.clear()
    check.run(settings, Console(file=stream, width=300))
    assert "FAILED" in stream.getvalue()
    assert "apikey" in stream.getvalue()
    assert secrets_in(stream.getvalue()) == []


def test_pages_are_without_secrets(settings):
    """Health, readiness, metrics and the status page repeat failures without the secrets in them."""
    metrics, health = Metrics(), Health(10.0, lambda: 0.0)
    health.in_trouble(f"trouble {SECRETS[0]}")
    health.unready("starting", f"no store at {SECRETS[7]}")
    ledger = Ledger(metrics)
    status = StatusPage([("reads", "a")], metrics, health, ledger, Recent())
    with HttpServer("127.0.0.1", 0, application(*routes_of(metrics, health, status, ledger))) as server:
        for path in ("/", "/healthz", "/readyz", "/metrics", "/accounts.json"):
            connection = http.client.HTTPConnection(server.address.removeprefix("http://"), timeout=30)
            connection.request("GET", path)
            assert secrets_in(connection.getresponse().read().decode()) == []
            connection.close()


def test_errors_of_settings_are_without_secrets():
    """Wrong settings are named, and what was given for them is not shown where it may be secret."""
    for flags in (
        ["--kafka.brokers", f"me:{SECRETS[0]}@host:1"],
        ["--store.kind", "redis", "--store.url", f"redis://{SECRETS[0]}#x@host"],
        ["--registry.url", f"ftp://host/?apikey={SECRETS[0]}"],
        ["--trace.endpoint", f"http://me:{SECRETS[0]}@host"],
        ["--kafka.consumer", f"enable.auto.commit={SECRETS[0]}"],
    ):
        with pytest.raises(ConfigurationError) as caught:
            load(flags)
        assert secrets_in(str(caught.value)) == [], flags


def test_wrong_options_are_named_without_their_values(capsys):
    """A mistyped option does not print what was to be its value."""
    for flags in (["--kafka.pasword", SECRETS[0]], [f"--kafka.pasword={SECRETS[0]}"], [SECRETS[0]]):
        with pytest.raises(SystemExit):
            load(flags)
        assert secrets_in(capsys.readouterr().err) == []


def test_errors_of_the_registry_are_without_secrets(settings):
    """A registry that does not answer is named without the key in its address."""
    with pytest.raises(RetryableError) as caught:
        Registry(settings.registry).schema(1)
    assert secrets_in(str(caught.value)) == []


@pytest.mark.parametrize(
    "name",
    [
        *("sasl.password", "ssl.key.password", "ssl.keystore.pwd", "x.pwd", "api_key", "apikey", "passwd"),
        *("sasl.oauthbearer.config", "ssl.key.pem", "sasl.jaas.config", "client_secret", "access_token"),
        "sasl.kerberos.kinit.cmd",
    ],
)
def test_names_of_secrets(name):
    """Names that speak of a secret are known."""
    assert is_secret_name(name)


@pytest.mark.parametrize("name", ["bootstrap.servers", "ssl.ca.location", "group", "sasl.mechanism", "topics", "keys"])
def test_other_names(name):
    """Names that do not are shown."""
    assert not is_secret_name(name)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("redis://me:pw@host:1/0", f"redis://{MASK}@host:1/0"),
        ("redis://:p@w@host", f"redis://{MASK}@host"),
        ("me:pw@host:9092,other:9092", f"{MASK}@host:9092,other:9092"),
        ("https://host/path?apikey=x&b=2", f"https://host/path?apikey={MASK}&b={MASK}"),
        ("host:9092", "host:9092"),
        ("no answer from Kafka at 10.0.0.1:9092", "no answer from Kafka at 10.0.0.1:9092"),
    ],
)
def test_addresses_are_masked(text, shown):
    """Users, passwords and query values of addresses are masked, hosts and paths are shown."""
    assert masked_address(text) == shown


def test_short_secrets_do_not_blot_out_sentences():
    """A secret of a letter or two is not looked for in texts."""
    remember(["a", "abcd"])
    assert conceal("a banana abcd") == f"a banana {MASK}"
    remember(())

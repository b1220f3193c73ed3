"""Settings from a file, the environment and the command line."""

import time
from pathlib import Path

import pytest

from broker_filter.config import Settings, load, masked, parser_of
from broker_filter.errors import ConfigurationError
from broker_filter.secret import MASK

FLAGS = (
    "--allow-untrained",
    "--batch",
    "--batch.alert-limit",
    "--batch.byte-limit",
    "--batch.decode-threads",
    "--batch.queue-limit",
    "--batch.wait-s",
    "--check",
    "--color",
    "--config",
    "--dead-letter",
    "--dead-letter.topic",
    "--exit-on-end",
    "--from",
    "--help",
    "--http",
    "--http.api",
    "--http.host",
    "--http.host-names",
    "--http.index",
    "--http.index-byte-limit",
    "--http.index-object-limit",
    "--http.objects",
    "--http.port",
    "--http.stuck-after-s",
    "--kafka",
    "--kafka.brokers",
    "--kafka.client",
    "--kafka.consumer",
    "--kafka.group",
    "--kafka.instance-id",
    "--kafka.password",
    "--kafka.producer",
    "--kafka.start",
    "--kafka.topics",
    "--kafka.username",
    "--life",
    "--life.drain-s",
    "--life.idle-exit-s",
    "--life.retry-first-s",
    "--life.retry-limit",
    "--life.retry-longest-s",
    "--life.workers",
    "--log",
    "--log.accounts-every-s",
    "--log.format",
    "--log.level",
    "--message",
    "--message.inflated-byte-limit",
    "--message.record-limit",
    "--model",
    "--model.allow-untrained",
    "--model.deterministic",
    "--model.device",
    "--model.engine",
    "--model.threads",
    "--model.weights",
    "--night",
    "--no-allow-untrained",
    "--no-exit-on-end",
    "--no-http.api",
    "--no-http.objects",
    "--no-model.allow-untrained",
    "--no-model.deterministic",
    "--no-output.create-topics",
    "--no-span.exit-on-end",
    "--no-store.sync",
    "--output",
    "--output.broker-name",
    "--output.create-topics",
    "--output.delivery",
    "--output.delivery-timeout-s",
    "--output.format",
    "--output.partitions",
    "--output.routes",
    "--output.schema-id",
    "--output.topic",
    "--registry",
    "--registry.datum-schema",
    "--registry.folder",
    "--registry.password",
    "--registry.timeout-s",
    "--registry.url",
    "--registry.username",
    "--span",
    "--span.exit-on-end",
    "--span.from-time",
    "--span.night",
    "--span.until-time",
    "--store",
    "--store.byte-limit",
    "--store.frame-limit",
    "--store.kind",
    "--store.object-limit",
    "--store.path",
    "--store.sync",
    "--store.url",
    "--trace",
    "--trace.endpoint",
    "--until",
    "--version",
    "--workers",
    "-h",
)


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch):
    """No variable of the machine reaches these tests."""
    import os

    for name in list(os.environ):
        if name.startswith("ICTC_"):
            monkeypatch.delenv(name)


def write(tmp_path: Path, text: str) -> str:
    path = tmp_path / "ictc.yaml"
    path.write_text(text)
    return str(path)


def test_command_line_is_frozen():
    """Operators' scripts hold these flags: a change is a deliberate act."""
    parser, _ = parser_of("ictc-broker")
    flags = sorted(flag for action in parser._actions for flag in action.option_strings)
    assert flags == list(FLAGS)


def test_every_setting_has_a_help_text():
    """No flag is left unexplained."""
    parser, _ = parser_of("ictc-broker")
    assert [a.dest for a in parser._actions if not a.help or a.help.startswith("(default")] == []


def test_command_line_beats_environment_beats_file(tmp_path, monkeypatch):
    """The nearest to the operator wins, setting by setting."""
    path = write(tmp_path, "kafka: {brokers: 'file:1', group: file, start: latest}")
    monkeypatch.setenv("ICTC_KAFKA__GROUP", "environment")
    monkeypatch.setenv("ICTC_KAFKA__START", "latest")
    kafka = load(["--config", path, "--kafka.start", "earliest"]).settings.kafka
    assert (kafka.brokers, kafka.group, kafka.start) == ("file:1", "environment", "earliest")


def test_settings_cannot_change():
    """One object, frozen at birth."""
    with pytest.raises(ValueError, match="frozen"):
        Settings().kafka.group = "other"


@pytest.mark.parametrize("text", ["kafka: {grop: x}", "kafko: {group: x}", "batch: {wait_s: -1}", "- a", "kafka: 3"])
def test_wrong_file_is_refused(tmp_path, text):
    """Unknown keys, wrong values and wrong shapes stop the service before it starts."""
    with pytest.raises(ConfigurationError):
        load(["--config", write(tmp_path, text)])


def test_key_written_twice_is_refused(tmp_path):
    """YAML would keep the last of two silently."""
    with pytest.raises(ConfigurationError, match=r"line 3, column 3: group is written twice"):
        load(["--config", write(tmp_path, "kafka:\n  group: a\n  group: b\n")])


def test_absent_file_is_named():
    """A wrong path is said so."""
    with pytest.raises(ConfigurationError, match=r"/nowhere\.yaml: No such file"):
        load(["--config", "/nowhere.yaml"])


@pytest.mark.parametrize("name", ["ICTC_KAFKA__GROP", "ICTC_KAFKO__GROUP"])
def test_mistyped_variable_is_refused(monkeypatch, name):
    """A variable that names no setting is an error, not silence."""
    monkeypatch.setenv(name, "x")
    with pytest.raises(ConfigurationError, match="(?i)" + name.split("_", 1)[1].replace("__", "(.|__)")):
        load([])


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("ICTC_KAFKA_BROKERS", "ICTC_KAFKA__BROKERS"),
        ("ICTC_HTTP_PORT", "ICTC_HTTP__PORT"),
        ("ICTC_STORE__PAHT", "ICTC_STORE__PATH"),
        ("ictc_log_level", "ICTC_LOG__LEVEL"),
    ],
)
def test_nearest_setting_is_named(monkeypatch, name, nearest):
    """A variable that is nearly a setting is refused with the setting's name, and without its value."""
    monkeypatch.setenv(name, "hunter22")
    with pytest.raises(ConfigurationError, match=rf"{name} is no setting: did you mean {nearest}\?") as caught:
        load([])
    assert "hunter22" not in str(caught.value)


def test_variable_given_twice_is_refused(monkeypatch):
    """Small and capital letters name one setting, of which one value would be silently lost."""
    monkeypatch.setenv("ICTC_KAFKA__GROUP", "a")
    monkeypatch.setenv("ictc_kafka__group", "b")
    with pytest.raises(ConfigurationError, match=r"(?i)ICTC_KAFKA__GROUP is given twice.*keep one"):
        load([])


def test_variables_of_others_are_left_alone(monkeypatch):
    """What tests, deployments and Kubernetes set under our prefix is no setting, and no error."""
    for name, value in {
        "ICTC_BROKERS": "x",
        "ICTC_CONFIG": "x",
        "ICTC_SHARED_DATA": "x",
        "ICTC_KAFKA_HOME": "x",
        "ICTC_TAG": "x",
        "ICTC_TEST_ANYTHING": "x",
        "ICTC_SERVICE_HOST": "10.0.0.1",
        "ICTC_SERVICE_PORT": "8080",
        "ICTC_SERVICE_PORT_HTTP": "8080",
        "ICTC_PORT": "tcp://10.0.0.1:8080",
        "ICTC_PORT_8080_TCP": "tcp://10.0.0.1:8080",
        "ICTC_PORT_8080_TCP_ADDR": "10.0.0.1",
        "ICTC_KAFKA_SERVICE_HOST": "10.0.0.2",
        "ICTC_KAFKA_PORT": "tcp://10.0.0.2:9092",
        "ICTC_KAFKA": '{"group": "mine"}',
        "ICTC_KAFKA__CLIENT": '{"client.rack": "a"}',
    }.items():
        monkeypatch.setenv(name, value)
    kafka = load([]).settings.kafka
    assert (kafka.group, kafka.client) == ("mine", {"client.rack": "a"})


HOSTILE_FILES = {
    "unhashable key": "? [a, b]\n: c\n",
    "a mapping as a key": "? {a: b}\n: c\n",
    "impossible date": "log:\n  level: 2020-13-45\n",
    "deep nesting": "kafka: " + "[" * 20_000,
    "deep mappings": "{a: " * 3_000,
    "alias bomb": "a: &a [x,x,x,x,x,x,x,x,x]\n"
    + "".join(f"{b}: &{b} [{','.join([f'*{a}'] * 9)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)),
    "an alias within itself": "kafka: &a [*a]\n",
    "a merge within itself": "kafka: &a\n  <<: *a\n",
    "a tag of Python": "kafka: !!python/object/apply:os.system ['true']\n",
    "an integer without end": "batch: {alert_limit: 1" + "0" * 9_000 + "}\n",
    "no text": "kafka: \x00\n",
    "too large": "# " + "x" * (1 << 20),
    "a hundred thousand values": "kafka:\n" + "- a\n" * 60_000,
    "a hundred thousand aliases": "a: &a x\nkafka: [" + "*a," * 60_000 + "]\n",
    "merges upon merges": "a: &a {k: 1}\n"
    + "".join(f"{b}: &{b} {{<<: [{','.join([f'*{a}'] * 9)}]}}\n" for a, b in zip("abcdefg", "bcdefgh", strict=True)),
    "a merge of no mapping": "kafka:\n  <<: 3\n",
    "a boolean that is none": "kafka: !!bool hunter22\n",
    "a date that is none": "kafka: !!timestamp hunter22\n",
    "a number that is none": "kafka:\n  password: !!int hunter22\n",
    "a number without digits": "kafka: !!int ''\n",
    "a hexadecimal number without end": "batch: {alert_limit: 0x" + "f" * 5_000 + "}\n",
    "half a character": 'kafka: {group: "\\ud800"}\n',
    "half a character as a key": 'kafka: {"\\udfff": 1}\n',
    "an escape sequence as a key": 'kafka: {"\\u001b[31m": 1}\n',
    "bytes": "kafka: !!binary YQ==\n",
    "a set": "kafka: !!set {a, b}\n",
    "two documents": "kafka: {}\n---\nkafka: {}\n",
    "a secret in a broken line": "kafka:\n  password: hunter22: x: [\n",
    "a secret as an alias": "kafka: {password: *hunter22}\n",
    "a secret as an anchor": "kafka: {password: &hunter22}\n",
    "a secret as a tag": "kafka: {password: !hunter22 x}\n",
    "a secret as a tag of YAML's": "kafka: {password: !!hunter22 x}\n",
    "a secret as a handle of a tag": "kafka: {password: !hunter22!a x}\n",
    "a secret in a tag's own words": "%TAG !hunter22! a\n%TAG !hunter22! b\n---\nkafka: {}\n",
    "a secret for a section": "kafka: 'password=hunter22'\n",
    "a secret for a mapping": "kafka: {client: 'ssl.key.password=hunter22,x'}\n",
    "a secret for a list": "kafka: {topics: ['password=hunter22']}\n",
    "a secret for a number": "http: {port: 'password=hunter22'}\n",
    "a secret in an address as a key": "redis://u:hunter22@h/0: x\n",
    "a secret in a key": "kafka.password=hunter22: x\n",
    "a secret in a key of a section": "kafka: {password=hunter22: x}\n",
    "a secret in a key of librdkafka": "kafka: {client: {ssl.key.password=hunter22: [x]}}\n",
    "a secret in a key twice": "password=hunter22: x\npassword=hunter22: y\n",
    "a topic without end": "kafka: {topics: [" + "x" * 50_000 + "]}\n",
    "a value without end": "http: {port: " + "x" * 50_000 + "}\n",
    "a key without end": "kafka: {? " + "x" * 50_000 + " : 1}\n",
    "a name of pydantic's own": "_env_prefix: X_\n",
    "a name of pydantic's own object": "__pydantic_self__: x\n",
}


@pytest.mark.parametrize("name", HOSTILE_FILES)
def test_hostile_files_are_refused_in_a_line(tmp_path, name):
    """Whatever a file holds, it is refused at once, in one line that names the file and no secret."""
    begun_s = time.process_time()
    with pytest.raises(ConfigurationError) as caught:
        load(["--config", write(tmp_path, HOSTILE_FILES[name])])
    assert time.process_time() - begun_s < 2
    assert "hunter22" not in str(caught.value)
    assert len(str(caught.value)) < 400


def test_merge_keys_are_read(tmp_path):
    """A mapping may begin with another, as YAML's merge key says; its own keys win."""
    text = "kafka:\n  <<: {group: theirs, brokers: 'host:1'}\n  group: mine\n"
    kafka = load(["--config", write(tmp_path, text)]).settings.kafka
    assert (kafka.group, kafka.brokers) == ("mine", "host:1")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Kafka: {group: a}\nkafka: {group: b}\nKAFKA: {group: c}", "Kafka is no setting.*KAFKA is no setting"),
        ("kafka:\n  <<: {group: a}\n  <<: {group: b}", "line 3, column 3: << is written twice"),
        ("kafka: {password: *a}", r"line 1, column 19: found undefined alias: .* \*, & or ! wants quotes"),
        ("kafka: {password: !a b}", "tag: .* wants quotes"),
        ("kafka: {password: &a}", "wants quotes"),
        ("kafka: {group: 123}", r"kafka\.group = 123: must be text.*quotes"),
        ("kafka: {group: 2026-11-28}", r"kafka\.group: must be text.*quotes"),
        ("kafka: {group: on}", r"kafka\.group = True: must be text.*quotes"),
        ("span: {night: 20240101}", r"span\.night = 20240101: must be text.*quotes"),
        ("store: {path: 5}", r"store\.path = 5: must be text.*quotes"),
        ("kafka: 5", "kafka: must be a mapping"),
        ("dead_letter: null", "dead_letter: must be a mapping"),
        ("kafka: {client: a}", r"kafka\.client: must be a mapping"),
        ("yes: a", "True is no section.*YAML reads yes"),
        ("5: a", "5 is no section"),
        ("http: {port: yes}", r"http\.port = True: must be a number"),
        ("life: {workers: true}", r"life\.workers = True: must be a number"),
        ("registry: {timeout_s: true}", r"registry\.timeout_s = True: must be a number"),
        ("store: {sync: 1.0}", r"store\.sync = 1\.0: must be true or false"),
        ("store: {sync: 0}", r"store\.sync = 0: must be true or false"),
        ("http: {port: 1:30}", r"http\.port = '1:30'"),
        ("life: {drain_s: 1:30}", r"life\.drain_s = '1:30'"),
        ("batch: {wait_s: 1:30.5}", r"batch\.wait_s = '1:30\.5'"),
        ("batch: {alert_limit: 190:20:30}", r"batch\.alert_limit = '190:20:30'"),
        ("kafka: {client: {a: .nan}}", r"kafka\.client\.a = nan: must be finite"),
        ("kafka: {client: {a: -.inf}}", r"kafka\.client\.a = -inf: must be finite"),
        ('kafka: {client: {"enable.auto.commit\\0": true}}', "control character such as a zero byte"),
        ('kafka: {client: {a: "b\\0"}}', r"kafka\.client\.a = 'b\\x00': has a zero byte"),
        ('model: {weights: ["a\\0"]}', r"model\.weights\.0 = 'a\\x00': .*control character"),
        ('kafka: {password: "a\\0"}', r"kafka\.password: has a zero byte"),
    ],
)
def test_what_is_wrong_is_said_with_a_remedy(tmp_path, text, words):
    """What YAML or pydantic would take for something else, or lose, is refused by name, with what to write."""
    with pytest.raises(ConfigurationError, match=words):
        load(["--config", write(tmp_path, text)])


@pytest.mark.parametrize(
    ("text", "group"),
    [("12:30", "12:30"), ("0777", "0777"), ("-1:30.5", "-1:30.5"), ("'5'", "5"), ("'*a'", "*a"), ("&a b", "b")],
)
def test_texts_stay_as_they_are_written(tmp_path, text, group):
    """Neither a time nor a number with zeros before it becomes another number, as in YAML 1.1."""
    assert load(["--config", write(tmp_path, f"kafka: {{group: {text}}}")]).settings.kafka.group == group


@pytest.mark.parametrize("text", ["kafka:\n  # group: a\n", "kafka:\n  client:\n  topics:\n", "output:\n  routes:\n"])
def test_empty_parts_say_nothing(tmp_path, text):
    """A header whose every line is a comment leaves what it heads as it is."""
    assert load(["--config", write(tmp_path, text)]).settings == Settings()


@pytest.mark.parametrize(("text", "value"), [("true", True), ("1", True), ("false", False), ("0", False)])
def test_switches_in_variables(monkeypatch, text, value):
    """A variable is text, in which 1 and 0 are true and false."""
    monkeypatch.setenv("ICTC_STORE__SYNC", text)
    assert load([]).settings.store.sync is value


def test_given_cases_are_refused_in_a_line(shared_data):
    """Files that once ended in tracebacks, or took minutes, are refused with the file's name."""
    folder = shared_data.parent / "cases" / "config"
    if not folder.is_dir():
        pytest.skip(f"no cases at {folder}")
    for path in sorted(folder.glob("*.yaml")):
        with pytest.raises(ConfigurationError, match=path.name):
            load(["--config", str(path)])


@pytest.mark.parametrize(
    "pattern",
    [
        r"^ztf_\d{8}$",
        r"^a(?:b|c)$",
        r"^a\Z",
        r"^\Aa",
        r"^[\w]+$",
        "^a.*?b",
        "^a++",
        "^a{2}?",
        r"^(?i)a",
        r"^\x41",
        "^[[:alpha",
    ],
)
def test_patterns_that_kafkas_client_cannot_read_are_refused(pattern):
    """What Python would read and librdkafka would not is refused by name, instead of reading nothing in silence."""
    with pytest.raises(ConfigurationError, match=r"kafka\.topics.*Kafka's client does not read"):
        load(["--kafka.topics", f'["{pattern}"]'.replace("\\", "\\\\")])


def test_topics_in_every_notation(monkeypatch):
    """Spaces, commas, JSON and repeated flags all give topics, and a comma within a pattern stays in it."""
    regex = "^ztf_[0-9]{8,8}_programid1$"
    monkeypatch.setenv("ICTC_KAFKA__TOPICS", f"a {regex}")
    assert load([]).settings.kafka.topics == ("a", regex)
    assert load(["--kafka.topics", "a,b"]).settings.kafka.topics == ("a", "b")
    assert load(["--kafka.topics", '["a", "b"]']).settings.kafka.topics == ("a", "b")
    assert load(["--kafka.topics", "a", "--kafka.topics", regex]).settings.kafka.topics == ("a", regex)


@pytest.mark.parametrize("topic", ["^ztf_[", "two/parts"])
def test_impossible_topic_is_refused(topic):
    """A pattern that does not compile, or a name that Kafka does not allow, is said at once."""
    with pytest.raises(ConfigurationError, match=r"kafka\.topics"):
        load(["--kafka.topics", topic])


@pytest.mark.parametrize("topic", ["", "bad topic", "a/b", "x" * 250])
@pytest.mark.parametrize("setting", ["output.topic", "dead-letter.topic"])
def test_impossible_output_topic_is_refused(setting, topic):
    """What Kafka would refuse when it is created is said at once."""
    with pytest.raises(ConfigurationError, match=setting.replace("-", "_").replace(".", r"\.")):
        load([f"--{setting}", topic])


@pytest.mark.parametrize(
    "text", ["2024", "60500.5", "-5", "1e9", "nan", "yesterday", "0001-01-01", "9999-12-31T23:59-14:00"]
)
@pytest.mark.parametrize("flag", ["--from", "--until"])
def test_times_are_iso_8601(flag, text):
    """A number is refused: as seconds since 1970 a year, a date or an MJD would mean another decade."""
    with pytest.raises(ConfigurationError, match=r"span\.(from|until)_time = '.*(ISO 8601|outside)"):
        load([f"{flag}={text}"])


@pytest.mark.parametrize("text", ["2024-06-01", "20240601", "2024-06-01T00:00Z", "2024-06-01T14:00:00+14:00"])
def test_one_moment_in_every_notation(text, tmp_path):
    """Basic and extended form, with and without a zone, give the same time; a number in a file is none of them."""
    moment = load(["--from", text]).settings.span.from_time
    assert moment.isoformat() == "2024-06-01T00:00:00+00:00"
    with pytest.raises(ConfigurationError, match="ISO 8601"):
        load(["--config", write(tmp_path, "span: {from_time: 20240601}")])


NAMES = (
    *("kafka.group", "kafka.instance-id", "kafka.username", "http.host"),
    *("store.path", "http.index", "registry.folder", "registry.datum-schema"),
)


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("registry.timeout-s", "inf"),
        ("batch.wait-s", "inf"),
        ("batch.wait-s", "nan"),
        ("life.retry-longest-s", "1e300"),
        ("output.delivery-timeout-s", "1e300"),
        ("store.byte-limit", "9" * 25),
        ("store.object-limit", "9" * 25),
        ("model.threads", "100000000"),
        ("life.workers", "100000"),
        ("span.night", "00010101"),
        ("registry.url", "http://[::1"),
        ("registry.url", "http://a..b"),
        ("registry.url", f"http://{'a' * 80}"),
        ("registry.url", "http://host:70000"),
        ("registry.url", "http://host/\x1b[31m"),
        ("trace.endpoint", "http://[::1"),
        ("kafka.brokers", "a\0b"),
        *((setting, text) for setting in NAMES for text in ("", "a\0b", "a\n")),
    ],
)
def test_values_without_measure_are_refused(setting, value):
    """Numbers that no machine holds, and names and addresses that no library reads, are refused when they are read."""
    name = setting.replace("-", "_").removesuffix(".night")
    with pytest.raises(ConfigurationError, match=f"^{name}"):
        load([f"--{'night' if setting == 'span.night' else setting}", value])


@pytest.mark.parametrize(
    "url", ["http://host", "https://a.b-c_d.:8081/x?y=1", "http://[::1]:8081/", "http://127.0.0.1"]
)
def test_addresses_of_registries(url):
    """Names, numbers, ports and paths are taken."""
    assert load(["--registry.url", url]).settings.registry.url == url


@pytest.mark.parametrize("setting", ["kafka.topics", "kafka.client", "output.routes"])
def test_json_without_a_bottom(setting, monkeypatch):
    """JSON that nests deeper than it can be read is refused, in a variable and on the command line."""
    deep = "[" * 100_000
    with pytest.raises(ConfigurationError):
        load([f"--{setting}", deep])
    monkeypatch.setenv(f"ICTC_{setting.upper().replace('.', '__')}", deep)
    with pytest.raises(ConfigurationError):
        load([])


def test_any_librdkafka_key_passes_through(tmp_path):
    """What we do not know, librdkafka may."""
    path = write(tmp_path, "kafka: {client: {sasl.mechanism: SCRAM-SHA-512}, consumer: {fetch.min.bytes: 10485760}}")
    kafka = load(["--config", path, "--kafka.producer", "compression.type=zstd"]).settings.kafka
    assert kafka.client == {"sasl.mechanism": "SCRAM-SHA-512"}
    assert kafka.consumer == {"fetch.min.bytes": 10485760}
    assert kafka.producer == {"compression.type": "zstd"}


def test_keys_that_would_break_the_promises_are_refused():
    """Auto-commit would acknowledge alerts that were never delivered."""
    with pytest.raises(ConfigurationError, match=r"enable\.auto\.commit"):
        load(["--kafka.consumer", "enable.auto.commit=true"])


def test_secrets_are_never_shown(monkeypatch):
    """Neither the printed settings, nor their repr, nor an error tells a secret."""
    monkeypatch.setenv("ICTC_KAFKA__PASSWORD", "hunter2")
    monkeypatch.setenv("ICTC_STORE__URL", "redis://me:hunter2@host/0")
    monkeypatch.setenv("ICTC_KAFKA__CLIENT", '{"ssl.key.password": "hunter2", "sasl.mechanism": "PLAIN"}')
    settings = load([]).settings
    shown = masked(settings)
    assert "hunter2" not in f"{shown} {settings!r} {settings}"
    assert shown["kafka"]["client"] == {"ssl.key.password": MASK, "sasl.mechanism": "PLAIN"}
    assert settings.kafka.password.get_secret_value() == "hunter2"
    with pytest.raises(ConfigurationError) as caught:
        load(["--registry.url", "https://me:hunter2@host"])
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "redis://:pa#ss@host:1",
        "redis://:pa/hunter22@host",
        "redis://:pa?ss@host",
        "redis://me:hun@ter22@host",
        "host:1",
    ],
)
def test_addresses_of_redis_that_cannot_be_read_are_refused_unseen(url):
    """A password with a sign that cuts an address in two is refused with the remedy, and no part of it is shown."""
    with pytest.raises(ConfigurationError, match=r"store\.url.*write %23 for #") as caught:
        load(["--store.kind", "redis", "--store.url", url])
    assert not [part for part in ("pa#", "hunter22", "hun@", "ss@", "pa/") if part in str(caught.value)]


@pytest.mark.parametrize(
    "url",
    [
        "redis://host",
        "redis://host:6379/0",
        "rediss://me:p%23w@host/1?timeout=3",
        "redis://:pw@[::1]:6379",
        "unix:///run/redis.sock?db=1",
    ],
)
def test_addresses_of_redis(url):
    """Every form that the client reads is taken."""
    assert load(["--store.kind", "redis", "--store.url", url]).settings.store.url.get_secret_value() == url


def test_null_switches_off():
    """None means off, on the command line too."""
    settings = load(["--dead-letter.topic", "null", "--http.port", "null"]).settings
    assert settings.dead_letter.topic is None
    assert settings.http.port is None


def test_untrained_has_its_short_flag():
    """The one flag that operators type by hand is short."""
    assert load(["--allow-untrained"]).settings.model.allow_untrained
    assert not load([]).settings.model.allow_untrained


def test_example_is_valid_and_names_every_section(repo_root):
    """The example that we ship loads."""
    path = repo_root / "deploy" / "config.example.yaml"
    settings = load(["--config", str(path)]).settings
    assert settings.kafka.topics
    text = path.read_text()
    assert all(f"\n{section}:" in text for section in Settings.model_fields)


def test_the_store_of_a_span_lies_beside_the_other(tmp_path, monkeypatch):
    """Also where that one is the folder we are in; beside the root lies nothing."""
    (tmp_path / "data").mkdir()
    monkeypatch.chdir(tmp_path / "data")
    paths = [load(["--night", "20240101", "--store.path", path]).settings.store.path for path in ("near", ".")]
    assert [path.name.split(".")[0] for path in paths] == ["near", "data"]
    assert paths[1].parent == tmp_path
    with pytest.raises(ConfigurationError, match="nothing beside it"):
        load(["--night", "20240101", "--store.path", "/"])

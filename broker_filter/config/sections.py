"""Sections of the settings: each room's own small part, with what is allowed and what it means. ``null`` means off."""

import datetime as dt
import json
import math
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    field_validator,
    model_validator,
)
from pydantic_settings import NoDecode

from broker_filter.errors import ConfigurationError
from broker_filter.secret import mask, shown
from broker_filter.topic_pattern import compile_pattern

_TOPIC = r"^[A-Za-z0-9._-]{1,249}$"
_SEPARATOR = re.compile(r"[,\s]+(?![^{]*\})")  # but the comma in ^x{1,2}$
_REDIS_ADDRESS = re.compile(
    r"(rediss?://([^@/?#\s]*@)?[^@/?#\s:]*(\[[0-9A-Fa-f:.]+\])?(:\d{1,5})?(/\d*)?|unix://[^#\s]+)(\?[^#\s]*)?"
)
_REDIS_ADDRESS_IS = (
    "must be redis://[user:password@]host:port/db (rediss:// for TLS, unix:// for a socket); in user and password "
    "write %23 for #, %2F for /, %3F for ?, %40 for @"
)
_HTTP_ADDRESS = re.compile(
    r"https?://([\w-]{1,63}(\.[\w-]{1,63})*\.?|\[[0-9A-Fa-f:.]+\])(:(\d{1,5}))?([/?][!-?A-~]*)?", re.ASCII
)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
LONGEST_S = 2_000_000.0  # 23 days; librdkafka counts milliseconds in 32 bits
MOST_BYTES = 2**46  # of a file in an address space
MOST_PORT = 65_535
YEARS = (1970, 2200)  # that Kafka's times and ours are in
NIGHT_END = dt.timedelta(hours=18)  # UTC: between the noons of Palomar (19.8 h) and Cerro Pachón (16.7 h)
Seconds = Annotated[float, Field(gt=0, le=LONGEST_S)]
Count = Annotated[int, Field(ge=1, le=2**40)]
Threads = Annotated[int, Field(ge=1, le=1024)]
Topic = Annotated[str, Field(pattern=_TOPIC)]

# Keys that the service sets itself, with the setting to use instead: another value would break what it promises.
OWN_KEYS = {
    "bootstrap.servers": "kafka.brokers",
    "metadata.broker.list": "kafka.brokers",
    "group.id": "kafka.group",
    "group.instance.id": "kafka.instance_id",
    "auto.offset.reset": "kafka.start",
    "sasl.username": "kafka.username",
    "sasl.password": "kafka.password",
    "enable.auto.commit": "nothing: offsets are committed after delivery",
    "enable.auto.offset.store": "nothing: offsets are stored after delivery",
    "enable.idempotence": "nothing: the producer is always idempotent",
    "enable.partition.eof": "nothing: the stream has no end",
    "transactional.id": "output.delivery: its id comes from kafka.group and kafka.instance_id",
}


def _split(topics: object) -> object:
    """Names apart by spaces or commas, as one writes them in a variable, or a JSON list."""
    if isinstance(topics, str):
        return json.loads(topics) if topics.startswith("[") else [name for name in _SEPARATOR.split(topics) if name]
    return topics


def _is_http_address(text: str) -> bool:
    """Whether it is an address of a host, without a user, in letters that any client sends."""
    found = _HTTP_ADDRESS.fullmatch(text)
    return found is not None and int(found[4] or 0) <= MOST_PORT


def _named(text: object) -> object:
    """Text that names something: C libraries stop at a zero byte, and librdkafka ends the process over no group."""
    if isinstance(text, str) and (not text or _CONTROL.search(text)):
        raise ValueError(
            "must have a character, and no control character such as a zero byte or a line's end: write it without, or "
            "leave the setting away"
        )
    return text


def _unbroken(value: object) -> object:
    """A value that librdkafka takes whole; a text may be empty, or have lines."""
    if isinstance(value, str) and "\0" in value:
        raise ValueError("has a zero byte, at which librdkafka stops reading: write it without")
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("must be finite, as every number that librdkafka takes")
    return value


LibrdkafkaValue = Annotated[str | int | float | bool, BeforeValidator(_unbroken)]


def _foreign_keys(mapping: dict[str, LibrdkafkaValue]) -> dict[str, LibrdkafkaValue]:
    for key in mapping:
        if key in OWN_KEYS:
            raise ValueError(f"the service sets {key!r} itself; use {OWN_KEYS[key]}")
    return mapping


Name = Annotated[str, BeforeValidator(_named)]
Place = Annotated[Path, BeforeValidator(_named)]
Librdkafka = Annotated[dict[Name, LibrdkafkaValue], AfterValidator(_foreign_keys)]


class Section(BaseModel):
    """A room's own small part of the settings; a secret in it is not printed."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, hide_input_in_errors=True)

    @field_validator("*", mode="before")
    @classmethod
    def _nothing_is_empty(cls, value: object, info: ValidationInfo) -> object:
        """A list or mapping of which every line is a comment, which YAML reads as null."""
        default = cls.model_fields[str(info.field_name)].default
        return default if value is None and default in ((), {}) else value

    @field_validator("*", mode="wrap")
    @classmethod
    def _of_its_kind(cls, value: object, read: ValidatorFunctionWrapHandler) -> object:
        """A value that is no number where true or false is due, nor the other way: pydantic reads one as the other."""
        setting = read(value)
        if isinstance(value, int | float) and isinstance(value, bool) != isinstance(setting, bool):
            due = "true or false, no number" if isinstance(setting, bool) else "a number; YAML reads yes and on as true"
            raise ValueError(f"must be {due}")
        return setting

    def __repr_args__(self) -> Iterable[tuple[str | None, Any]]:
        return [(name, mask(name or "", value)) for name, value in super().__repr_args__()]


class KafkaSettings(Section):
    """Where alerts come from, and every librdkafka key."""

    brokers: Annotated[str, BeforeValidator(_unbroken)] = "127.0.0.1:9092"
    """host:port[,host:port...] to start from"""
    topics: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)] = ()
    """topics to read; one that starts with ^ is a regular expression, e.g. ^ztf_[0-9]{8}_programid1$"""
    group: Name = "ictc"
    """consumer group; some surveys ask that it starts with your user name"""
    instance_id: Name | None = None
    """static membership: a name of this process that survives its restart, so that none of its partitions move"""
    start: Literal["earliest", "latest"] = "earliest"
    """where a group without committed offsets begins"""
    username: Name | None = None
    """SASL user"""
    password: Annotated[SecretStr, BeforeValidator(_unbroken)] | None = None
    """SASL password; better given as ICTC_KAFKA__PASSWORD than on a command line"""
    client: Librdkafka = {}
    """librdkafka keys of every client, e.g. security.protocol, sasl.mechanism, ssl.ca.location"""
    consumer: Librdkafka = {}
    """librdkafka keys of the consumer alone"""
    producer: Librdkafka = {}
    """librdkafka keys of the producer alone"""

    @field_validator("brokers")
    @classmethod
    def _brokers_without_password(cls, brokers: str) -> str:
        if "@" in brokers or not brokers.strip():
            raise ValueError("brokers are host:port; user and password go to kafka.username and kafka.password")
        return brokers

    @field_validator("topics")
    @classmethod
    def _topics_parse(cls, topics: tuple[str, ...]) -> tuple[str, ...]:
        for topic in topics:
            if topic.startswith("^"):
                compile_pattern(topic)
            elif not re.fullmatch(_TOPIC, topic):
                raise ValueError(f"{shown(topic)} is no topic: 1-249 of letters, digits, '.', '_', '-', or ^regex$")
        return topics


class RegistrySettings(Section):
    """Where schemas come from that the program does not carry."""

    url: str | None = None
    """schema registry, e.g. https://host/schema-registry"""
    username: str | None = None
    """basic authentication"""
    password: SecretStr | None = None
    """basic authentication"""
    folder: Place | None = None
    """folder of schemas that were fetched before: <id>.avsc or, of LSST, <major>.<minor>.avsc"""
    datum_schema: Place | None = None
    """schema (.avsc) of messages that carry neither an id nor their schema"""
    timeout_s: Seconds = 10.0
    """longest wait for one answer"""

    @field_validator("url")
    @classmethod
    def _url_without_password(cls, url: str | None) -> str | None:
        if url is not None and not _is_http_address(url):
            raise ValueError("must be http(s)://host/path; user and password go to registry.username and .password")
        return url


class ModelSettings(Section):
    """Which network classifies, and where."""

    weights: Annotated[tuple[Name, ...], NoDecode, BeforeValidator(_split)] = ()
    """one for each survey to read: a safetensors file with its JSON beside it, or a name of weights that the package
    ships (ztf, lsst: the first choice; ict-convention-ztf); ztf and lsst when not given"""
    device: Annotated[str, Field(pattern=r"^(cpu|cuda(:\d+)?)$")] = "cpu"
    """asked for and absent: the service stops and says so"""
    engine: Literal["auto", "torch", "onnxruntime"] = "auto"
    """what computes the network, with the same answers to 1e-5; auto: onnxruntime on a processor, for networks of which
    the package ships the graph, else torch"""
    allow_untrained: bool = False
    """publish from a network that was never trained"""
    deterministic: bool = False
    """row by row on one thread: the same bytes for the same series, at a price in speed"""
    threads: Threads | None = None
    """processor threads of the network; as many as cores when not given"""


def server_url(text: str) -> str:
    """The address of a shared store, checked, as it was given on a command line.

    Raises
    ------
    ConfigurationError
        When it is none; its text is not repeated, for a password may be in it.
    """
    if not _REDIS_ADDRESS.fullmatch(text):
        raise ConfigurationError(f"the address of a shared store {_REDIS_ADDRESS_IS}")
    return text


class StoreSettings(Section):
    """Where the series of stamps live."""

    kind: Literal["lmdb", "redis"] = "lmdb"
    """lmdb: embedded, for one process that reads all partitions; redis: a server that many processes share"""
    path: Place = Path("ictc-store")
    """folder of the embedded store"""
    url: SecretStr | None = None
    """redis://[user:password@]host:port/db of the shared store"""
    frame_limit: Annotated[int, Field(ge=3, le=1000)] = 99
    """most observations of one object that a classification reads; a network may read fewer"""
    object_limit: Count = 10_000_000
    """objects kept; the longest silent go first"""
    byte_limit: Annotated[int, Field(ge=2**24, le=MOST_BYTES)] = 16 * 2**30
    """bytes kept of all objects; the longest silent go first"""
    sync: bool = True
    """wait for the disk after each batch; without, a crash of the machine (not of the process) can lose some"""

    @field_validator("url")
    @classmethod
    def _url_is_one(cls, url: SecretStr | None) -> SecretStr | None:
        if url is not None and not _REDIS_ADDRESS.fullmatch(url.get_secret_value()):
            raise ValueError(_REDIS_ADDRESS_IS)
        return url

    @model_validator(mode="after")
    def _redis_has_url(self) -> "StoreSettings":
        if self.kind == "redis" and self.url is None:
            raise ValueError("store.kind redis needs store.url")
        return self


class BatchSettings(Section):
    """When a micro-batch is closed, and how many may wait."""

    alert_limit: Count = 256
    """alerts that close a batch"""
    byte_limit: Annotated[int, Field(ge=2**20, le=MOST_BYTES)] = 64 * 2**20
    """bytes of alerts that close a batch"""
    wait_s: Annotated[float, Field(ge=0, le=LONGEST_S)] = 0.1
    """age of its first alert that closes a batch; a quarter of it while nothing else is in work"""
    queue_limit: Count = 4
    """closed batches that may wait for the worker before partitions are paused"""
    decode_threads: Threads | None = None
    """alerts decoded at a time; two where the network may use as many cores when not given"""


class MessageSettings(Section):
    """How much one message may hold; beyond it the whole message is one rejection, too_large."""

    record_limit: Count = 1_000
    """records of an Avro container"""
    inflated_byte_limit: Count = 64 * 2**20
    """bytes of all its blocks together once they are inflated"""


class RouteSettings(Section):
    """A further topic, for the classifications of which a rule is true."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")]
    """in metrics and messages; small letters, digits and hyphens"""
    topic: Topic
    """where these classifications go too"""
    rule: str
    """expression over the fields of the output, e.g. best == "SNIa" and p_SNIa > 0.8 and magnitude < 19.5"""

    @model_validator(mode="after")
    def _rule_compiles(self) -> "RouteSettings":
        from broker_filter.rules import Route  # noqa: PLC0415 - only who has routes waits for its library

        try:
            Route(self.name, self.topic, self.rule)
        except ConfigurationError as error:
            raise ValueError(str(error)) from error
        return self


class OutputSettings(Section):
    """Where classifications go, in which form."""

    topic: Topic = "ictc-classifications"
    """must exist, unless create_topics"""
    format: Literal["container", "confluent", "json", "elasticc", "elasticc-container"] = "container"
    """Avro object container; Confluent-framed Avro; JSON; the ELAsTiCC brokerClassification, bare or in a container"""
    schema_id: Annotated[int, Field(ge=1, le=2**31 - 1)] | None = None
    """Confluent schema id to write; asked from (or registered with) the registry when not given"""
    broker_name: str = "ICTC"
    """name of this broker in the ELAsTiCC form"""
    routes: tuple[RouteSettings, ...] = ()
    """further topics, each with a rule: a list of name, topic and rule; on a command line as JSON"""
    create_topics: bool = False
    """create the output and dead-letter topics when they are absent"""
    partitions: Count = 8
    """partitions of a topic that is created"""
    delivery: Literal["at_least_once", "exactly_once"] = "at_least_once"
    """exactly_once: classifications and offsets in one transaction; readers need isolation.level=read_committed"""
    delivery_timeout_s: Seconds = 120.0
    """longest wait for the broker to acknowledge a classification before the batch is tried again"""

    @field_validator("routes")
    @classmethod
    def _names_are_unique(cls, routes: tuple[RouteSettings, ...]) -> tuple[RouteSettings, ...]:
        names = [route.name for route in routes]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"two routes are named {', '.join(twice)}: a name counts one route")
        return routes


class DeadLetterSettings(Section):
    """Where rejected messages go."""

    topic: Topic | None = "ictc-dead-letters"
    """original bytes, with the reason in the headers; null: rejected messages are counted and logged only"""


class HttpSettings(Section):
    """Where metrics, health and readiness are served."""

    host: Name = "127.0.0.1"
    """interface, for instance ::1; 0.0.0.0 in a container"""
    port: Annotated[int, Field(ge=0, le=65535)] | None = 8080
    """0 takes a free one; null: no server"""
    host_names: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)] = ()
    """names besides localhost under which a server on loopback is asked, for instance by a proxy"""
    objects: bool = True
    """pages of the objects that this service saw, from an index beside the store"""
    api: bool = False
    """query interface over them under /api, for whoever reaches the port"""
    index: Place | None = None
    """file of that index; null: objects.sqlite in store.path"""
    index_object_limit: Count = 100_000
    """objects in it; the longest-silent ones leave"""
    index_byte_limit: Annotated[int, Field(ge=2**20, le=MOST_BYTES)] = 200 * 2**20
    """bytes of the file; the longest-silent objects go first"""
    stuck_after_s: Seconds = 120.0
    """no progress for so long, while alerts wait, is unhealthy"""


class LogSettings(Section):
    """What is written to standard error."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """least severity"""
    format: Literal["auto", "json", "text"] = "auto"
    """auto: text on a terminal, JSON lines otherwise"""
    accounts_every_s: Seconds = 60.0
    """seconds between lines of accounts"""


class TraceSettings(Section):
    """Where traces go; needs the extra ``trace``."""

    endpoint: str | None = None
    """OTLP over HTTP, e.g. http://host:4318/v1/traces; secrets go to OTEL_EXPORTER_OTLP_HEADERS; null: no traces"""

    @field_validator("endpoint")
    @classmethod
    def _endpoint_without_password(cls, endpoint: str | None) -> str | None:
        if endpoint is not None and not _is_http_address(endpoint):
            raise ValueError("must be http(s)://host/path without a user; secrets go to OTEL_EXPORTER_OTLP_HEADERS")
        return endpoint


class LifeSettings(Section):
    """How the service retries and ends."""

    retry_first_s: Seconds = 0.5
    """wait before the first new attempt of a batch; doubles with each"""
    retry_longest_s: Seconds = 30.0
    """longest wait between attempts"""
    retry_limit: Count | None = None
    """attempts before the service gives up; null: for ever"""
    drain_s: Seconds = 20.0
    """longest wait at the end, or when a partition leaves, for alerts in flight"""
    idle_exit_s: Seconds | None = None
    """stop after so many seconds without an alert; null: run until told to stop"""
    workers: Threads = 1
    """processes that share the partitions, each a service of its own; more than one need a store that is shared"""


def _from_iso(time: object) -> object:
    """A time from its text; a number could be seconds, a year or an MJD."""
    if isinstance(time, str):
        try:
            return dt.datetime.fromisoformat(time.strip())
        except ValueError as error:
            raise ValueError(_TIME_IS) from error
    if isinstance(time, int | float):
        raise ValueError(_TIME_IS)
    return time


def _in_utc(time: dt.datetime) -> dt.datetime:
    if not YEARS[0] < time.year < YEARS[1]:
        raise ValueError(f"lies outside of the years {YEARS[0]} to {YEARS[1]}")
    return time.replace(tzinfo=dt.UTC) if time.tzinfo is None else time.astimezone(dt.UTC)


_TIME_IS = "must be a time in ISO 8601, such as 2026-11-28T18:00:00Z or 2026-11-28, and no number"
Time = Annotated[dt.datetime, BeforeValidator(_from_iso), AfterValidator(_in_utc)]


class SpanSettings(Section):
    """A part of what Kafka keeps, read apart from the running stream."""

    from_time: Time | None = None
    """read messages from this time on (that of the message in Kafka, ISO 8601, UTC unless told), in a group, a store
    and output topics of their own"""
    until_time: Time | None = None
    """stop before the first message of this time or later; also apart from the running stream"""
    night: Annotated[str, Field(pattern=r"^\d{8}$")] | None = None
    """read one night, apart from the running stream: YYYYMMDD, the date (UTC) of local midnight, which is also the date
    in the names of ZTF's topics; it lasts from 18 h of the day before to 18 h (UTC)"""
    exit_on_end: bool = False
    """stop when everything is done that was there at the start"""

    @model_validator(mode="after")
    def _one_span(self) -> "SpanSettings":
        if self.night is not None:
            if self.from_time is not None or self.until_time is not None:
                raise ValueError("night is a span by itself: leave from_time and until_time away")
            try:
                _in_utc(self._midnight())
            except ValueError as error:
                raise ValueError(
                    f"{self.night} is no date: YYYYMMDD, after {YEARS[0]} and before {YEARS[1]}"
                ) from error
        if self.from_time is not None and self.until_time is not None and self.from_time >= self.until_time:
            raise ValueError(f"from_time {self.from_time} must lie before until_time {self.until_time}")
        return self

    def _midnight(self) -> dt.datetime:
        return dt.datetime.strptime(f"{self.night}", "%Y%m%d").replace(tzinfo=dt.UTC)

    @property
    def begin(self) -> dt.datetime | None:
        """Of the first message; None: wherever the group is."""
        return self.from_time if self.night is None else self._midnight() + NIGHT_END - dt.timedelta(days=1)

    @property
    def end(self) -> dt.datetime | None:
        """After the last message; None: open."""
        return self.until_time if self.night is None else self._midnight() + NIGHT_END

    @property
    def ends(self) -> bool:
        """Whether reading comes to an end."""
        return self.exit_on_end or self.end is not None

    @property
    def name(self) -> str | None:
        """By which group, store and topics are told from those of the running stream, from which None does not part."""
        if self.night is not None:
            return f"night-{self.night}"
        times = [f"{word}-{time:%Y%m%dT%H%M%SZ}" for word, time in (("from", self.begin), ("until", self.end)) if time]
        return "-".join(times) or None

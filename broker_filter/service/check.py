"""``--check``: a table of what works and what does not. Changes nothing but a trial of the store's folder."""

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from broker_filter.classify.classifier import cards_of
from broker_filter.config import Settings, masked
from broker_filter.errors import ConfigurationError, FatalError, RetryableError
from broker_filter.kafka import admin as topics
from broker_filter.kafka.schema_registry import Registry
from broker_filter.secret import conceal, masked_address
from broker_filter.series.lmdb.look import look_at
from broker_filter.series.redis.store import RedisSeriesStore
from broker_filter.service import assembly
from broker_filter.service.store_of_settings import open_store
from model.printable import printable


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the table."""

    what: str
    good: bool
    text: str


def run(settings: Settings, console: Console | None = None) -> int:
    """Print settings and findings; 0 when everything is in order, 2 otherwise."""
    console = Console() if console is None else console
    shown = Table("setting", "value", title="settings")
    for section, values in masked(settings).items():
        for name, value in values.items():
            shown.add_row(f"{section}.{name}", Text("null" if value is None else printable(str(value))))
    console.print(shown)
    findings = list(findings_of(settings))
    table = Table("", "what", "found", title="check")
    for finding in findings:
        mark = Text("ok", "green") if finding.good else Text("FAILED", "bold red")
        table.add_row(mark, finding.what, Text(conceal(printable(finding.text))))
    console.print(table)
    return 0 if all(finding.good for finding in findings) else 2


def findings_of(settings: Settings) -> Iterator[Finding]:
    """Look at everything the service will need, one thing after the other."""
    for what, look in (
        ("kafka", lambda: _kafka(settings)),
        ("topics", lambda: _topics(settings)),
        ("registry", lambda: _registry(settings)),
        ("store", lambda: _store(settings)),
        ("model", lambda: _model(settings)),
        ("output", lambda: _output(settings)),
        *([("routes", lambda: _routes(settings))] if settings.output.routes else []),
    ):
        yield _finding(what, look)


def _finding(what: str, look: Callable[[], str]) -> Finding:
    try:
        return Finding(what, True, look())
    except (FatalError, RetryableError) as error:
        return Finding(what, False, str(error))


def _kafka(settings: Settings) -> str:
    topics.refuse_unknown_settings(settings)
    cluster = topics.Admin(settings.kafka).cluster()
    return f"{cluster.brokers} brokers at {settings.kafka.brokers}, {len(cluster.partitions)} topics that we may see"


def _topics(settings: Settings) -> str:
    if not settings.kafka.topics:
        raise ConfigurationError("kafka.topics names no topic to read")
    topics.refuse_loops(settings)
    cluster = topics.Admin(settings.kafka).cluster()
    missing = topics.missing_outputs(settings, cluster)
    read_topics = cluster.matching(settings.kafka.topics)
    written_topics = [topic for topic in topics.output_topics(settings) if topic not in missing]
    topics.Admin(settings.kafka).refuse_missing_rights(list(read_topics), written_topics, settings.kafka.group)
    read = ", ".join(f"{topic} ({count} partitions)" for topic, count in read_topics.items()) or "nothing yet to read"
    written = ", ".join(
        f"{topic} ({'to be created' if topic in missing else f'{cluster.partitions[topic]} partitions'})"
        for topic in topics.output_topics(settings)
    )
    return f"reads {read}; writes {written}"


def _registry(settings: Settings) -> str:
    assembly.open_schemas(settings.registry)
    if settings.registry.url is None:
        return "none: schemas come from the messages, the package and registry.folder"
    return f"{masked_address(settings.registry.url)} has {Registry(settings.registry).subjects()} subjects"


def _store(settings: Settings) -> str:
    if settings.store.kind == "lmdb":
        try:
            parent = _nearest_folder(settings.store.path)
            if settings.store.path.exists() and parent != settings.store.path.absolute():
                raise ConfigurationError(f"store.path {settings.store.path} is a file: it names a folder")
            with tempfile.TemporaryFile(dir=parent):
                pass
        except OSError as error:
            raise ConfigurationError(f"store.path {settings.store.path} is not writable: {error.strerror}") from error
        if not settings.store.path.exists():
            return f"{settings.store.path} can be created"
        summary = look_at(settings.store.path)
        if summary is None:
            return f"{settings.store.path} holds no store yet"
        return (
            f"{summary.objects} objects, {summary.observations} observations, version {summary.version}{summary.owner}"
        )
    store = open_store(settings.store)
    try:
        if isinstance(store, RedisSeriesStore):
            store.refuse_evicting_server()
        stats = store.stats()
    finally:
        store.close()
    return f"{stats.objects} objects, {stats.observations} observations, {stats.bytes / 2**20:.1f} MiB"


def _routes(settings: Settings) -> str:
    router = assembly.open_router(settings.output, assembly.open_classifiers(settings.model))
    return "; ".join(f"{route.name} to {route.topic} where {route.rule}" for route in router.routes)


def _nearest_folder(path: Path) -> Path:
    path = path.absolute()
    while not path.is_dir():
        path = path.parent
    return path


def _model(settings: Settings) -> str:
    lines = []
    for survey, classifier in assembly.open_classifiers(settings.model).items():
        card = classifier.card
        state = "trained" if card.trained else "UNTRAINED: its classifications mean nothing"
        lines.append(f"{survey}: {card.name} {card.version} on {settings.model.device}, {state}")
    return "; ".join(lines)


def _output(settings: Settings) -> str:
    if (
        settings.output.format == "confluent"
        and settings.output.schema_id is None
        and settings.registry.url is not None
    ):
        return "confluent: the schema will be registered at the start"
    needs_codes = settings.output.format.startswith("elasticc")
    cards = cards_of(assembly.open_classifiers(settings.model)) if needs_codes else {}
    assembly.output_encoder(settings.output, settings.registry, cards)
    return settings.output.format

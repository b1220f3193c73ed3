"""The two stages of a cluster replay, as functions of files: each task reads one and writes one, with a report.

A task that was done is not done again: its report, written last, is the sign. Whatever kills a task half-way leaves
nothing that a second try could trip over. Knows nothing of Ray.
"""

import dataclasses
import socket
import tempfile
import time
from array import array
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import chain, islice
from pathlib import Path
from typing import Any, BinaryIO

import lmdb
import numpy as np
import orjson
from isal import igzip
from numpy.typing import NDArray
from pydantic import TypeAdapter

from broker_filter.alerts.decode import Arrival, Decoder, connect
from broker_filter.alerts.packet_schema import Schemas
from broker_filter.archive.cluster.embedded_store import EmbeddedSeriesStore, without_pixels
from broker_filter.archive.cluster.handover import write_series
from broker_filter.archive.cluster.rejects import RejectRows
from broker_filter.archive.cluster.shared_folder import SharedFolder, read_url
from broker_filter.archive.cluster.shuffle import (
    ShuffledAlert,
    ShuffleFile,
    embedding_bytes,
    embedding_of,
    read_rows,
)
from broker_filter.archive.cluster.sky import Pixel, SkyOrder, leaf_name, write_pixel, write_sorted
from broker_filter.archive.cluster.work_plan import PLAN, InputFile, Plan, ReplaySettings, partition_of
from broker_filter.archive.left_out import LeftOutCounts
from broker_filter.archive.read import ALERTS_AT_ONCE, in_chunks
from broker_filter.archive.time_order import TimeOrder, pack_arrival, packed_key, unpack_arrival
from broker_filter.classify.classifier import StreamClassifier, cards_of, load_classifiers
from broker_filter.classify.pipeline import Pipeline
from broker_filter.errors import FatalError, RetryableError
from broker_filter.records import (
    PACKET_CLASSES,
    Accounts,
    Classification,
    Message,
    Observation,
    Outcome,
    Rejected,
    account,
)
from model.series import Series

_LENGTH_BYTES = 4


@dataclass(frozen=True, slots=True)
class Report:
    """What a task has done; one line of JSON beside its file."""

    accounts: Accounts = field(default_factory=Accounts)
    rows: int = 0  # alerts that went on to the next stage
    input_bytes: int = 0
    output_bytes: int = 0
    duration_s: float = 0.0
    cpu_s: float = 0.0
    batches: Sequence[int] = ()  # partition of each record batch, of stage 1
    left_out: Mapping[str, Sequence[Any]] = field(default_factory=dict)  # as LeftOutCounts.to_json, of stage 1
    rows_of_pixel: Mapping[int, int] = field(default_factory=dict)  # of a catalogue, pixels of sky.COUNT_ORDER


@dataclass(frozen=True, slots=True)
class Tools:
    """What every task of a worker process shares."""

    classifiers: dict[str, StreamClassifier]
    decoder: Decoder

    @property
    def classes(self) -> list[str]:
        """Of all networks, and those that packets tell."""
        return [*(name for one in self.classifiers.values() for name in one.card.classes), *PACKET_CLASSES]

    def embeds(self, survey: str, settings: ReplaySettings) -> bool:
        """Whether frames of the survey are embedded in stage 1."""
        return not settings.keep_pixels and self.classifiers[survey].card.group_size == 1


@lru_cache(1)
def tools_of(settings: ReplaySettings) -> Tools:
    """Networks and schemas, loaded once a process.

    Raises
    ------
    FatalError
        When the weights of this machine are not those that the replay was planned with.
    """
    schemas = Schemas(
        folder=None if settings.schemas is None else Path(settings.schemas),
        bare_schema=None if settings.schema is None else Path(settings.schema),
    )
    classifiers = load_classifiers(
        [*settings.weights], settings.device, settings.deterministic, settings.allow_untrained
    )
    if (loaded := networks_of(classifiers)) != settings.networks:
        raise FatalError(f"{socket.gethostname()} has the networks {', '.join(loaded)}, the replay was planned with "
                         f"{', '.join(settings.networks)}: give all machines the same weights")  # fmt: skip
    return Tools(classifiers, connect(schemas, cards_of(classifiers), threads=1))


def networks_of(classifiers: Mapping[str, StreamClassifier]) -> tuple[str, ...]:
    """Name and version of each survey's network."""
    return tuple(f"{survey}: {c.card.name} {c.card.version}" for survey, c in sorted(classifiers.items()))


@lru_cache(1)
def plan_of(work: str) -> Plan:
    """The plan of a work folder, read once a process."""
    return Plan.from_json(SharedFolder(work).read_text(PLAN))


def decoded_name(task: int) -> str:
    return f"decoded/{task:06d}.arrow"


def rejects_name(task: int) -> str:
    return f"decoded/{task:06d}.rejects.arrow"


def classified_name(partition: int, settings: ReplaySettings) -> str:
    return f"classified/{partition:06d}.{'parquet' if settings.as_catalogue else 'jsonl.gz'}"


def series_name(partition: int) -> str:
    return f"series/{partition:06d}.arrow"


def report_name(name: str) -> str:
    return f"{name}.report.json"


def finished(work: SharedFolder, name: str) -> Report | None:
    """The report of a file that is whole, None where it is not."""
    if not work.exists(report_name(name)):
        return None
    table = orjson.loads(work.read_text(report_name(name)))
    return Report(
        **{
            **table,
            "accounts": Accounts(**table["accounts"]),
            "batches": array("H", table["batches"]),
            "rows_of_pixel": {int(k): v for k, v in table["rows_of_pixel"].items()},
        }
    )


def decode_files(work_url: str, task: int) -> Report:
    """Stage 1: decode and embed the files of one task, and sort what they hold by partition."""
    work = SharedFolder(work_url)
    if (done := finished(work, decoded_name(task))) is not None:
        return done
    plan = plan_of(work_url)
    files, settings = plan.tasks[task], plan.settings
    tools = tools_of(settings)
    watch = _TaskClock()
    accounts, left_out = Accounts(), LeftOutCounts()
    with ExitStack() as stack:
        out = ShuffleFile(stack.enter_context(work.writing(decoded_name(task))), stack)
        rejects = None
        if settings.keep_rejects:
            rejects = RejectRows(stack.enter_context(work.writing(rejects_name(task))), stack)
        for messages in in_chunks(_messages(files, left_out)):
            decoded = tools.decoder.decode(messages)
            rejected = [item for item in decoded if isinstance(item, Rejected)]
            accounts.add(account([Outcome(item.message, item) for item in rejected]))
            if rejects is not None:
                rejects.write(rejected)
            arrivals = [item for item in decoded if isinstance(item, Arrival)]
            for arrival, values in zip(arrivals, _embeddings(arrivals, tools, settings), strict=True):
                out.put(partition_of(arrival.key, plan.partitions), _row(arrival, values))
        batches = out.finish()
    input_bytes = sum(file.size_bytes for file in files)
    name = decoded_name(task)
    report = Report(
        accounts, batches.rows, input_bytes, batches=batches.partition_of_batch, left_out=left_out.to_json()
    )
    return _reported(work, name, watch, report)


def classify_partition(work_url: str, partition: int, batches_of_task: Sequence[tuple[int, tuple[int, ...]]]) -> Report:
    """Stage 2: classify all alerts of a partition's objects in order of time.

    Parameters
    ----------
    batches_of_task
        Tasks of stage 1 that hold rows of the partition, in order, and the numbers of their record batches.

    Raises
    ------
    RetryableError
        When this machine's own disk is full, or fails: another may have room.
    """
    try:
        return _classify_partition(work_url, partition, batches_of_task)
    except FatalError as error:
        if isinstance(error.__cause__, lmdb.Error):
            raise RetryableError(f"{socket.gethostname()}: {error}") from error
        raise


def _classify_partition(
    work_url: str, partition: int, batches_of_task: Sequence[tuple[int, tuple[int, ...]]]
) -> Report:
    work = SharedFolder(work_url)
    settings = plan_of(work_url).settings
    if (done := finished(work, classified_name(partition, settings))) is not None:
        return done
    tools = tools_of(settings)
    watch = _TaskClock()
    accounts = Accounts()
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ictc-partition-")))
        order = TimeOrder(scratch)
        stack.callback(order.close)
        input_bytes = 0
        for task, batches in batches_of_task:
            for row in read_rows(work, decoded_name(task), batches):
                record = _record(row)
                input_bytes += len(record)
                order.put(row.time_mjd, row.alert_id, record, packed_key(row.arrival))
        names = {survey: f"{c.card.name} {c.card.version}" for survey, c in tools.classifiers.items()}
        store = EmbeddedSeriesStore(scratch / "series", names)
        stack.callback(store.close)
        pipeline = Pipeline(tools.decoder, tools.classifiers, store)
        name = classified_name(partition, settings)
        answers = stack.enter_context(_answers(work, name, settings, tools, scratch))
        for arrivals in _offered(order, store):
            batch = pipeline.classify(arrivals)
            for outcome in batch.outcomes:
                if isinstance(outcome.result, Classification):
                    answers.put(outcome.result)
            pipeline.settle(batch)
            accounts.add(batch.accounts)
        if settings.keep_series:
            write_series(stack.enter_context(work.writing(series_name(partition))), store.whole())
    report = Report(accounts, accounts.read, input_bytes, rows_of_pixel=dict(answers.rows_of_pixel))
    return _reported(work, name, watch, report)


class _Lines:
    """Classifications in order of time, a line of JSON each."""

    def __init__(self, out: BinaryIO) -> None:
        self._out = out
        self.rows_of_pixel: dict[int, int] = {}

    def put(self, one: Classification) -> None:
        self._out.write(orjson.dumps(one, option=orjson.OPT_APPEND_NEWLINE))


@contextmanager
def _answers(
    work: SharedFolder, name: str, settings: ReplaySettings, tools: Tools, scratch: Path
) -> Iterator["_Lines | SkyOrder"]:
    """Where stage 2 puts its answers: lines, or the rows of a catalogue."""
    with work.writing(name) as raw:
        if not settings.as_catalogue:
            with igzip.open(raw, "wb") as out:
                yield _Lines(out)
            return
        order = SkyOrder(scratch)
        try:
            yield order
            write_sorted(raw, order, tools.classes)
        finally:
            order.close()


def gather_pixel(work_url: str, names: Sequence[str], catalogue_url: str, pixel: Pixel) -> Report:
    """The last step of a catalogue: bring together the rows of one pixel."""
    watch = _TaskClock()
    catalogue, name = SharedFolder(catalogue_url), leaf_name(pixel)
    rows = write_pixel(SharedFolder(work_url), names, catalogue, pixel)
    return watch.timed(Report(rows=rows, output_bytes=catalogue.size_bytes(name)))


def classifications(work: SharedFolder, partition: int, settings: ReplaySettings) -> Iterator[Classification]:
    """What stage 2 wrote of a partition, in order of time."""
    read = TypeAdapter(Classification).validate_json
    with work.reading(classified_name(partition, settings)) as raw, igzip.open(raw, "rb") as lines:
        for line in lines:
            yield read(line)


def _messages(files: Sequence[InputFile], left_out: LeftOutCounts) -> Iterator[Message | Rejected]:
    return chain.from_iterable(read_url(file.path, left_out) for file in files)


def _embeddings(
    arrivals: Sequence[Arrival], tools: Tools, settings: ReplaySettings
) -> list[NDArray[np.float32] | None]:
    """The embedding of each arrival's frame; None where stage 2 embeds, or there is no frame."""
    embedded: list[NDArray[np.float32] | None] = [None] * len(arrivals)
    for survey, classifier in tools.classifiers.items():
        if not tools.embeds(survey, settings):
            continue
        of_survey = [n for n, a in enumerate(arrivals) if a.survey == survey and a.observation is not None]
        frames = [_series_of_one(arrivals[n].observation) for n in of_survey]
        for n, values in zip(of_survey, classifier.embed(frames), strict=True):
            embedded[n] = values
    return embedded


def _series_of_one(observation: Observation | None) -> Series:
    assert observation is not None
    return Series(
        pixels_TCHW=observation.pixels[None],
        scale_TC=observation.scale_njy[None],
        band_T=np.array([observation.band], np.int8),
        time_T=np.array([observation.time_mjd]),
        flux_T=np.array([observation.flux_njy], np.float32),
        flux_error_T=np.array([observation.flux_error_njy], np.float32),
    )


def _row(arrival: Arrival, values: NDArray[np.float32] | None) -> ShuffledAlert:
    if values is None:
        return ShuffledAlert(arrival.time_mjd, arrival.alert_id, pack_arrival(arrival), None)
    assert arrival.observation is not None
    light = dataclasses.replace(arrival, observation=without_pixels(arrival.observation))
    return ShuffledAlert(arrival.time_mjd, arrival.alert_id, pack_arrival(light), embedding_bytes(values))


def _record(row: ShuffledAlert) -> bytes:
    embedding = row.embedding or b""
    return len(embedding).to_bytes(_LENGTH_BYTES, "big") + embedding + row.arrival


def _offered(order: TimeOrder, store: EmbeddedSeriesStore) -> Iterator[list[Arrival]]:
    """Arrivals in order of time, some at a time; the store has been told their embeddings."""
    records = iter(order)
    while some := list(islice(records, ALERTS_AT_ONCE)):
        arrivals = []
        for record in some:
            end = _LENGTH_BYTES + int.from_bytes(record[:_LENGTH_BYTES], "big")
            arrival = unpack_arrival(record[end:])
            if end > _LENGTH_BYTES:
                store.offer(arrival.key, arrival.alert_id, embedding_of(record[_LENGTH_BYTES:end]))
            arrivals.append(arrival)
        yield arrivals


class _TaskClock:
    """Time that a task takes, its networks loaded before."""

    def __init__(self) -> None:
        self._wall_s, self._cpu_s = time.perf_counter(), time.process_time()

    def timed(self, report: Report) -> Report:
        """The report with its times."""
        wall_s, cpu_s = time.perf_counter() - self._wall_s, time.process_time() - self._cpu_s
        return dataclasses.replace(report, duration_s=wall_s, cpu_s=cpu_s)


def _reported(work: SharedFolder, name: str, watch: _TaskClock, report: Report) -> Report:
    """Write the report of a file that is whole: the sign that its task is done."""
    report = watch.timed(dataclasses.replace(report, output_bytes=work.size_bytes(name)))
    plain = dataclasses.replace(report, batches=[*report.batches])
    work.write_text(report_name(name), orjson.dumps(plain, option=orjson.OPT_NON_STR_KEYS).decode())
    return report

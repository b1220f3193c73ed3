"""``ictc-replay``: classifications of archives, through the same rooms as the service; or their alerts onto a topic.

In order of time (the default) the result is a function of the archive alone. Two passes: the first decodes everything
and keeps it, compact, in a sorted temporary file; the second classifies. Memory does not grow with the archive. An
alert that is in the archive twice is classified twice, identically.
"""

import dataclasses
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from itertools import chain, islice
from pathlib import Path

import orjson
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from broker_filter.alerts.decode import Arrival, Decoder, connect
from broker_filter.alerts.packet_schema import Schemas
from broker_filter.archive.archive_options import CATALOGUE, ReplayOptions, checked, parser
from broker_filter.archive.left_out import LeftOutCounts
from broker_filter.archive.read import ALERTS_AT_ONCE, in_chunks, nothing_below, read_messages
from broker_filter.archive.republish import AlertPublisher, Pace, as_given, in_order_of_time
from broker_filter.archive.time_order import TimeOrder, pack_arrival, unpack_arrival
from broker_filter.classify.classifier import StreamClassifier, cards_of, load_classifiers
from broker_filter.classify.pipeline import Pipeline
from broker_filter.config import server_url
from broker_filter.errors import ConfigurationError, FatalError, RetryableError
from broker_filter.kafka.read_topic import read_topic
from broker_filter.output.reject_file import RejectFile
from broker_filter.output.result_files import ResultFile, open_output, open_results
from broker_filter.records import PACKET_CLASSES, Accounts, Classification, Message, Rejected
from broker_filter.series.lmdb.store import LmdbSeriesStore
from broker_filter.series.redis.store import RedisSeriesStore
from broker_filter.series.store import SeriesStore
from broker_filter.terminal import command, complain
from model.commands import DONE, FAILED, is_quiet

PROGRAM = "ictc-replay"


@command(
    PROGRAM,
    ConfigurationError,
    failed=(FatalError, RetryableError),
    interrupted="interrupted, the output is incomplete",
)
def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Returns
    -------
    int
        0 done: every alert is accounted for, 1 it failed, or nothing could be classified (or published), 2 asked
        wrongly, 130 interrupted.
    """
    options = checked(parser(), parser().parse_args(arguments))
    run = publish if options.publish else _replay_on_ray if options.engine == "ray" else replay
    left_out = LeftOutCounts()
    accounts = run(options, left_out)
    _warn(accounts, left_out, options)
    good = accounts.read - sum(accounts.rejected.values()) if options.publish else accounts.classified
    return DONE if good else FAILED


def _warn(accounts: Accounts, left_out: LeftOutCounts, options: ReplayOptions) -> None:
    """Say what no number of the summary says by itself: what was not read, that there was nothing, or nothing good."""
    if left_out:
        complain(PROGRAM, f"left out: {left_out}")
    if accounts.read == 0:
        complain(PROGRAM, nothing_below(options.paths, options.topic))
    elif accounts.read == (rejected := sum(accounts.rejected.values())):
        complain(PROGRAM, f"all {rejected} messages were rejected: {_numbers(accounts.rejected)}")
    elif not options.publish and accounts.classified == 0:
        reasons = _numbers(accounts.not_classified | accounts.rejected)
        complain(PROGRAM, f"none of {accounts.read} alerts could be classified: {reasons}")


def _numbers(by_reason: Mapping[str, int]) -> str:
    return ", ".join(f"{reason} {count}" for reason, count in sorted(by_reason.items()))


def replay(options: ReplayOptions, left_out: LeftOutCounts) -> Accounts:
    """Classify what is at the paths, and write results, rejects and summary."""
    with ExitStack() as stack:
        schemas = Schemas(folder=options.schemas, bare_schema=options.schema)
        classifiers = load_classifiers(options.weights, options.device, options.deterministic, options.allow_untrained)
        incoming = _incoming(options, left_out)
        store = store_at(options.store, stack) or _temporary_store(stack)
        decoder = connect(schemas, cards_of(classifiers), options.threads)
        stack.callback(decoder.close)
        run = _Run(
            decoder,
            Pipeline(decoder, classifiers, store),
            _results(options, classifiers, stack)(),
            _open_rejects(options.rejects, stack),
        )
        progress = stack.enter_context(_progress())
        if options.order == "time":
            run.in_order_of_time(incoming, stack, progress)
        else:
            run.as_given(incoming, progress)
        _warn_of_evictions(store)
    _summarise(run.accounts, left_out, options.summary)
    return run.accounts


def _replay_on_ray(options: ReplayOptions, left_out: LeftOutCounts) -> Accounts:
    """The same as :func:`replay`, on the machines of a cluster."""
    from broker_filter.archive.cluster import cluster_replay  # noqa: PLC0415 - of the extra "archive"
    from broker_filter.archive.cluster.ray_cluster import ray_cluster  # noqa: PLC0415
    from broker_filter.archive.cluster.stages import networks_of  # noqa: PLC0415
    from broker_filter.archive.cluster.work_plan import ReplaySettings  # noqa: PLC0415

    classifiers = load_classifiers(options.weights, "cpu", False, options.allow_untrained)
    settings = ReplaySettings(
        weights=tuple(_absolute(name) for name in options.weights),
        networks=networks_of(classifiers),
        device=options.device,
        deterministic=options.deterministic,
        allow_untrained=options.allow_untrained,
        schema=None if options.schema is None else str(options.schema.resolve()),
        schemas=None if options.schemas is None else str(options.schemas.resolve()),
        keep_rejects=options.rejects is not None,
        as_catalogue=options.format == CATALOGUE,
        keep_pixels=options.store is not None,
        keep_series=options.store is not None,
    )
    division = cluster_replay.ClusterOptions(options.work, options.partitions)
    with ExitStack() as stack:
        rejects, store = _open_rejects(options.rejects, stack), store_at(options.store, stack)
        cluster = stack.enter_context(ray_cluster(options.address, options.workers))
        output = cluster_replay.Output(rejects, catalogue=options.output, store=store)
        if options.format != CATALOGUE:
            results = _results(options, classifiers, stack)
            output = cluster_replay.Output(rejects, results, store=store)
        accounts = cluster_replay.replay_on(cluster, options.paths, settings, division, output, left_out)
        if store is not None:
            _warn_of_evictions(store)
    _summarise(accounts, left_out, options.summary)
    return accounts


def _absolute(weights: str) -> str:
    """A path that means the same in every folder; the name of shipped weights as it is."""
    return str(Path(weights).resolve()) if Path(weights).parent != Path() else weights


def publish(options: ReplayOptions, left_out: LeftOutCounts) -> Accounts:
    """Put what is at the paths on a topic; what cannot be read from the archive is accounted for as rejected."""
    assert options.publish is not None  # why this was called
    accounts = Accounts()

    def readable() -> Iterator[Message]:
        for item in _incoming(options, left_out):
            accounts.read += 1
            if isinstance(item, Message):
                yield item
            else:
                accounts.rejected[str(item.reason)] = accounts.rejected.get(str(item.reason), 0) + 1

    with ExitStack() as stack:
        schemas = Schemas(folder=options.schemas, bare_schema=options.schema)
        publisher = AlertPublisher(options.publish, options.brokers, options.kafka)
        if options.order == "time":
            order = TimeOrder()
            stack.callback(order.close)
            timed = in_order_of_time(readable(), schemas, order)
        else:
            timed = as_given(readable(), schemas)
        progress = stack.enter_context(_progress())
        task = progress.add_task("publish", total=None)
        for sent in publisher.publish(timed, Pace(options.rate, options.burst, options.speed)):
            progress.update(task, completed=sent)
    summary = {"read": accounts.read, "published": publisher.acknowledged, "rejected": accounts.rejected}
    _write_summary(summary, left_out, options.summary)
    return accounts


class _Run:
    """One replay under way."""

    def __init__(self, decoder: Decoder, pipeline: Pipeline, results: ResultFile, rejects: RejectFile | None) -> None:
        self._decoder, self._pipeline, self._results, self._rejects = decoder, pipeline, results, rejects
        self.accounts = Accounts()

    def in_order_of_time(self, incoming: Iterable[Message | Rejected], stack: ExitStack, progress: Progress) -> None:
        """Sort, then classify; rejections are accounted at once."""
        ordered = TimeOrder()
        stack.callback(ordered.close)
        task = progress.add_task("read", total=None)
        for chunk in in_chunks(incoming):
            rejected = []
            for item in self._decoder.decode(chunk):
                if isinstance(item, Rejected):
                    rejected.append(item)
                else:
                    ordered.put(item.time_mjd, item.alert_id, pack_arrival(item), item.key)
            self._classify(rejected)
            progress.advance(task, len(chunk))
        task = progress.add_task("classify", total=len(ordered))
        arrivals = (unpack_arrival(record) for record in ordered)
        while some := list(islice(arrivals, ALERTS_AT_ONCE)):
            self._classify(some)
            progress.advance(task, len(some))

    def as_given(self, incoming: Iterable[Message | Rejected], progress: Progress) -> None:
        """Classify alerts as they come, as the service would; late ones cause revisions."""
        task = progress.add_task("classify", total=None)
        for chunk in in_chunks(incoming):
            self._classify(self._decoder.decode(chunk))
            progress.advance(task, len(chunk))

    def _classify(self, decoded: Sequence[Arrival | Rejected]) -> None:
        if not decoded:
            return
        done = self._pipeline.classify(decoded)
        for outcome in done.outcomes:
            if isinstance(outcome.result, Classification):
                self._results.write(outcome.result)
            elif self._rejects is not None:
                self._rejects.write(outcome.result)
        self._pipeline.settle(done)
        self.accounts.add(done.accounts)


def _incoming(options: ReplayOptions, left_out: LeftOutCounts) -> Iterator[Message | Rejected]:
    """What is to be read, from paths first, then from a topic."""
    sources: list[Iterable[Message | Rejected]] = [read_messages([*map(Path, options.paths)], left_out)]
    if options.topic:
        sources.append(read_topic(options.topic, options.brokers, options.kafka))
    return islice(chain.from_iterable(sources), options.limit)


def _results(
    options: ReplayOptions, classifiers: Mapping[str, StreamClassifier], stack: ExitStack
) -> Callable[[], ResultFile]:
    """Opens where classifications are written."""
    taxonomies = {survey: one.card.taxonomy for survey, one in classifiers.items()}
    where, form, name = options.output, options.format, options.broker_name
    return partial(open_results, where, form, _classes(classifiers), name, stack, taxonomies)


def _classes(classifiers: Mapping[str, StreamClassifier]) -> list[str]:
    return [*(name for classifier in classifiers.values() for name in classifier.card.classes), *PACKET_CLASSES]


def store_at(place: str | None, stack: ExitStack) -> SeriesStore | None:
    """The store that was asked for, in a folder or on a server."""
    if place is None:
        return None
    if "://" in place:
        shared = RedisSeriesStore(server_url(place))
        shared.refuse_evicting_server()
        stack.callback(shared.close)
        return shared
    store = LmdbSeriesStore(Path(place))
    stack.callback(store.close)
    return store


def _temporary_store(stack: ExitStack) -> SeriesStore:
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ictc-replay-")))
    store = LmdbSeriesStore(folder, sync=False)
    stack.callback(store.close)
    return store


def _warn_of_evictions(store: SeriesStore) -> None:
    if (evicted := store.stats().evicted_objects) > 0:
        complain(PROGRAM, f"the store was full: {evicted} objects lost their series")


def _open_rejects(path: str | None, stack: ExitStack) -> RejectFile | None:
    if path is None:
        return None
    rejects = RejectFile(open_output(path, stack))
    stack.callback(rejects.close)
    return rejects


def _progress() -> Progress:
    """A bar on standard error, when that is a terminal."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, console=console, disable=is_quiet() or not console.is_terminal)


def _summarise(accounts: Accounts, left_out: LeftOutCounts, path: str | None) -> None:
    """Read = classified + the sum of not_classified + the sum of rejected: read is the sum of all the rest."""
    if not accounts.balanced:
        raise FatalError(f"the accounts do not balance, please report it: {accounts}")
    summary = dataclasses.asdict(accounts)
    del summary["lost"]  # by a Kafka topic's retention: an archive loses nothing
    if revisions := summary.pop("revisions"):
        sys.stderr.write(f"{revisions} classifications were published again, for an earlier alert came later\n")
    if refused := summary.pop("pasts_refused"):
        sys.stderr.write(f"{refused} alerts tell of a past with one time for all its epochs: it was not read\n")
    _write_summary(summary, left_out, path)


def _write_summary(summary: dict[str, object], left_out: LeftOutCounts, path: str | None) -> None:
    if left_out:
        summary["left_out"] = left_out.by_reason
    text = orjson.dumps(summary, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
    if path is None:
        sys.stderr.write(text.decode())
        return
    with ExitStack() as stack:
        open_output(path, stack).write(text)


if __name__ == "__main__":
    sys.exit(main())

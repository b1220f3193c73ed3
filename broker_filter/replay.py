"""``ictc-replay``: archives in, classifications out, through the same rooms as the service. Knows no Kafka.

In order of time (the default) the result is a function of the archive alone. Two passes: the first decodes everything
and keeps it, compact, in a sorted temporary file; the second classifies. Memory does not grow with the archive. An
alert that is in the archive twice is classified twice, identically.
"""

import argparse
import dataclasses
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from itertools import islice
from pathlib import Path

import orjson
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from broker_filter.archive import read_messages
from broker_filter.buffer_lmdb import LmdbSeriesStore
from broker_filter.classifier import Classifier, load_classifiers
from broker_filter.decode import Arrival, Decoder
from broker_filter.errors import FatalError, RetryableError
from broker_filter.pipeline import Pipeline, connect
from broker_filter.records import Accounts, Classification, Message, Rejected
from broker_filter.reject_file import RejectFile
from broker_filter.result_files import FORMATS, ResultFile, open_output, open_results
from broker_filter.schema import Schemas
from broker_filter.time_order import TimeOrder, pack_arrival, unpack_arrival

ALERTS_AT_ONCE = 256
DECODE_BYTES_AT_ONCE = 32 << 20
EXIT_FAILED, EXIT_INTERRUPTED = 1, 130


def parser() -> argparse.ArgumentParser:
    """The command line."""
    p = argparse.ArgumentParser("ictc-replay", description="Classify the alerts of an archive, or publish it to Kafka.")
    p.add_argument("paths", nargs="+", type=Path, metavar="PATH", help="file, folder, tar or tar.gz of alerts")
    p.add_argument("--output", default="-", metavar="FILE", help="where classifications go; - is standard output")
    p.add_argument("--format", choices=FORMATS, default="jsonl", help="of the output (default: %(default)s)")
    p.add_argument("--rejects", metavar="FILE", help="tar archive of rejected messages, which this command reads again")
    p.add_argument("--summary", metavar="FILE", help="where the accounts go as JSON; standard error without it")
    p.add_argument("--order", choices=("time", "given"), default="time", help="of alerts (default: %(default)s)")
    p.add_argument("--limit", type=_positive, metavar="N", help="stop reading after N messages")
    p.add_argument(
        "--weights", action="append", default=[], metavar="PATH|SURVEY", help="network to use; repeat for each survey"
    )
    p.add_argument("--allow-untrained", action="store_true", help="accept networks that were never trained")
    p.add_argument("--device", default="cpu", help="cpu or cuda (default: %(default)s)")
    p.add_argument("--deterministic", action="store_true", help="equal bytes whatever the batches, more slowly")
    p.add_argument("--schema", type=Path, metavar="FILE", help="schema of alerts that carry neither id nor schema")
    p.add_argument("--schemas", type=Path, metavar="FOLDER", help="schemas by id, for ids that the program lacks")
    p.add_argument("--store", type=Path, metavar="FOLDER", help="keep the series there; a temporary folder without it")
    p.add_argument("--broker-name", default="ICTC", help="ours, in the desc format (default: %(default)s)")
    p.add_argument("--threads", type=_positive, default=2, help="that decode alerts (default: %(default)s)")
    return p


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is not positive")
    return number


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; 0 when every alert is accounted for."""
    options = parser().parse_args(arguments)
    try:
        replay(options)
    except (FatalError, RetryableError) as error:
        print(f"ictc-replay: {error}", file=sys.stderr)
        return EXIT_FAILED
    except KeyboardInterrupt:
        print("ictc-replay: interrupted, the output is incomplete", file=sys.stderr)
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        sys.stderr.close()  # the reader of our output has seen enough
        return EXIT_FAILED
    return 0


def replay(options: argparse.Namespace) -> Accounts:
    """Classify what is at the paths, and write results, rejects and summary."""
    with ExitStack() as stack:
        schemas = Schemas(folder=options.schemas, bare_schema=options.schema)
        classifiers = load_classifiers(options.weights, options.device, options.deterministic, options.allow_untrained)
        incoming = islice(read_messages(options.paths), options.limit)
        folder = options.store or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ictc-replay-")))
        store = LmdbSeriesStore(folder, sync=options.store is not None)
        stack.callback(store.close)
        decoder = connect(schemas, classifiers, options.threads)
        stack.callback(decoder.close)
        run = _Run(
            decoder,
            Pipeline(decoder, classifiers, store),
            open_results(options.output, options.format, _classes(classifiers), options.broker_name, stack),
            _open_rejects(options.rejects, stack),
        )
        progress = stack.enter_context(_progress())
        if options.order == "time":
            run.in_order_of_time(incoming, stack, progress)
        else:
            run.as_given(incoming, progress)
        if (evicted := store.stats().evicted_objects) > 0:
            print(f"ictc-replay: the store was full: {evicted} objects lost their series", file=sys.stderr)
    _summarise(run.accounts, options.summary)
    return run.accounts


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
        for chunk in _chunks(incoming):
            rejected = []
            for item in self._decoder.decode(chunk):
                if isinstance(item, Rejected):
                    rejected.append(item)
                else:
                    ordered.put(item.time_mjd, item.alert_id, pack_arrival(item))
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
        for chunk in _chunks(incoming):
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


def _chunks(incoming: Iterable[Message | Rejected]) -> Iterator[list[Message | Rejected]]:
    """Groups of messages, bounded in number and bytes."""
    chunk: list[Message | Rejected] = []
    size = 0
    for item in incoming:
        chunk.append(item)
        size += len(item.value) if isinstance(item, Message) else 0
        if len(chunk) >= ALERTS_AT_ONCE or size >= DECODE_BYTES_AT_ONCE:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


def _classes(classifiers: dict[str, Classifier]) -> list[str]:
    return [name for classifier in classifiers.values() for name in classifier.card.classes]


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
    return Progress(*columns, console=console, disable=not console.is_terminal)


def _summarise(accounts: Accounts, path: str | None) -> None:
    """Read = classified + the sum of not_classified + the sum of rejected; revisions are counted apart."""
    if not accounts.balanced:
        raise FatalError(f"the accounts do not balance, please report it: {accounts}")
    text = orjson.dumps(dataclasses.asdict(accounts), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
    if path is None:
        sys.stderr.write(text.decode())
        return
    with ExitStack() as stack:
        open_output(path, stack).write(text)


if __name__ == "__main__":
    sys.exit(main())

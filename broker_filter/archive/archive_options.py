"""Command lines of ``ictc-replay``, ``ictc-inspect``, ``ictc-look``. Knows nothing of what is done with the options."""

import argparse
import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations, product
from os.path import realpath
from pathlib import Path
from typing import TYPE_CHECKING

from broker_filter.archive.file_names import as_text, looks_like_alerts
from broker_filter.output.format_names import FILE_FORMATS
from model.commands import add_common_options, picture_path, png_path

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
HIGHEST_NUMBER = 10**15
WEIGHTS_HELP = "network: its path, or a name that ships (ztf, lsst, ict-convention-ztf); repeat for each survey"
LOOK_LIMIT = 60  # objects that are drawn unless more are asked for

if TYPE_CHECKING:
    from broker_filter.archive.republish import Rate


@dataclass(frozen=True, slots=True)
class ReplayOptions:
    """What ``ictc-replay`` is asked for; each field is the option of its name, None where it was left out."""

    paths: tuple[str, ...]  # files, folders and archives; on Ray also URLs
    output: str  # path, URL or "-"
    format: str
    rejects: str | None
    summary: str | None
    order: str  # "time" or "given"
    limit: int | None  # messages
    weights: tuple[str, ...]
    allow_untrained: bool
    device: str
    deterministic: bool
    schema: Path | None
    schemas: Path | None
    store: str | None  # folder or URL
    broker_name: str
    threads: int
    engine: str  # "process" or "ray"
    address: str | None
    work: str | None
    partitions: int | None
    workers: int | None
    topic: str | None
    publish: str | None
    brokers: str  # "" where left out, which goes without topics only
    rate: "Rate"
    burst: int  # alerts
    speed: float  # times faster than recorded
    kafka: Mapping[str, str]  # keys of librdkafka


def inspect_parser() -> argparse.ArgumentParser:
    """Options of ``ictc-inspect``."""
    p = argparse.ArgumentParser("ictc-inspect", description="Show what is in alerts.")
    p.add_argument("paths", nargs="+", type=Path, metavar="PATH", help="file, folder, tar or tar.gz")
    p.add_argument("--json", action="store_true", help="one JSON line per record")
    p.add_argument("--png", type=png_path, metavar="FILE", help="picture of the first alert; FILE-ALERTID of others")
    p.add_argument("--schema", type=Path, metavar="FILE", help="schema of bare datums")
    p.add_argument("--limit", type=_natural, metavar="N", help="stop after N records")
    add_common_options(p)
    return p


CATALOGUE = "hats"  # a folder of Parquet files by position; written by the engine "ray"
NOT_ON_RAY = ("topic", "publish", "limit")


def look_parser() -> argparse.ArgumentParser:
    """Options of ``ictc-look``."""
    p = argparse.ArgumentParser(
        "ictc-look",
        description="Draw what is known of objects: stamps, light curve, and the answer after each alert. One object "
        "becomes a sheet, several become a contact sheet, or a sheet each in a folder.",
    )
    p.add_argument("paths", nargs="*", type=Path, metavar="PATH", help="file, folder, tar or tar.gz of alerts")
    p.add_argument("--store", metavar="FOLDER|URL", help="look into a store of series (redis://... is shared) instead")
    p.add_argument(
        "--index", type=Path, metavar="FILE", help="published answers beside it (default: FOLDER/objects.sqlite)"
    )
    p.add_argument("--service", metavar="URL", help="ask a running service instead, which has http.api: true")
    p.add_argument(
        "--object",
        action="append",
        default=[],
        dest="objects",
        metavar="ID",
        help="that is wanted; repeat; all without it",
    )
    p.add_argument("--out", type=picture_path, required=True, metavar="FILE", help="picture to write: png, svg, pdf")
    p.add_argument("--each", action="store_true", help="a sheet for each object, named FILE-OBJECT")
    p.add_argument("--dark", action="store_true", help="on dark ground")
    p.add_argument(
        "--limit",
        type=_positive,
        default=LOOK_LIMIT,
        metavar="N",
        help="most objects, those with most alerts (default: %(default)s)",
    )
    p.add_argument("--weights", action="append", default=[], metavar="PATH|NAME", help=WEIGHTS_HELP)
    p.add_argument("--allow-untrained", action="store_true", help="accept networks that were never trained")
    p.add_argument("--device", default="cpu", help="cpu or cuda (default: %(default)s)")
    p.add_argument("--schema", type=Path, metavar="FILE", help="schema of alerts that carry neither id nor schema")
    p.add_argument("--schemas", type=Path, metavar="FOLDER", help="schemas by id, for ids that the program lacks")
    add_common_options(p)
    return p


def parser() -> argparse.ArgumentParser:
    """Options of ``ictc-replay``."""
    p = argparse.ArgumentParser("ictc-replay", description="Classify the alerts of an archive, or publish it to Kafka.")
    p.add_argument("paths", nargs="*", metavar="PATH", help="file, folder, tar or tar.gz of alerts")
    p.add_argument("--output", default="-", metavar="FILE", help="where classifications go; - is standard output")
    forms = (*FILE_FORMATS, CATALOGUE)
    p.add_argument("--format", choices=forms, default="jsonl", help="of the output (default: %(default)s)")
    p.add_argument("--rejects", metavar="FILE", help="tar archive of rejected messages, which this command reads again")
    p.add_argument("--summary", metavar="FILE", help="where the accounts go as JSON; standard error without it")
    p.add_argument("--order", choices=("time", "given"), default="time", help="of alerts (default: %(default)s)")
    p.add_argument("--limit", type=_positive, metavar="N", help="stop reading after N messages")
    p.add_argument("--weights", action="append", default=[], metavar="PATH|NAME", help=WEIGHTS_HELP)
    p.add_argument("--allow-untrained", action="store_true", help="accept networks that were never trained")
    p.add_argument("--device", default="cpu", help="cpu or cuda (default: %(default)s)")
    p.add_argument("--deterministic", action="store_true", help="equal bytes whatever the batches, more slowly")
    p.add_argument("--schema", type=Path, metavar="FILE", help="schema of alerts that carry neither id nor schema")
    p.add_argument("--schemas", type=Path, metavar="FOLDER", help="schemas by id, for ids that the program lacks")
    p.add_argument(
        "--store",
        metavar="FOLDER|URL",
        help="keep the series there, in a folder or on a redis:// server; a temporary folder without it",
    )
    p.add_argument("--broker-name", default="ICTC", help="ours, in the desc format (default: %(default)s)")
    p.add_argument("--threads", type=_positive, default=2, help="that decode alerts (default: %(default)s)")
    cluster = p.add_argument_group("Ray", "replay an archive on the machines of a Ray cluster; PATH may be a URL then")
    cluster.add_argument("--engine", choices=("process", "ray"), default="process", help="default: %(default)s")
    cluster.add_argument("--address", metavar="HOST:PORT", help="of a Ray cluster, or auto; this machine without it")
    cluster.add_argument("--work", metavar="FOLDER", help="that all machines reach; the same command goes on from it")
    cluster.add_argument("--partitions", type=_positive, metavar="N", help="of objects (default: by size)")
    cluster.add_argument("--workers", type=_positive, metavar="N", help="cores of this machine (default: all)")
    kafka = p.add_argument_group("Kafka", "read a topic as if it were an archive, or put an archive on a topic")
    kafka.add_argument("--topic", metavar="TOPIC", help="read this topic to its end; no group, no commits")
    kafka.add_argument("--publish", metavar="TOPIC", help="put the original bytes there instead of classifying them")
    kafka.add_argument("--brokers", metavar="HOST:PORT,...", help="where the topics are")
    kafka.add_argument("--rate", type=_rate, default="max", help="alerts per second, recorded, or max (default)")
    kafka.add_argument("--burst", type=_positive, default=1, metavar="N", help="alerts sent together at a --rate")
    kafka.add_argument("--speed", type=_positive_float, default=1.0, metavar="X", help="times faster than recorded")
    kafka.add_argument(
        "--kafka", action="append", default=[], type=_setting, metavar="KEY=VALUE", help="any key of librdkafka"
    )
    add_common_options(p)
    return p


def checked_look(p: argparse.ArgumentParser, options: argparse.Namespace) -> argparse.Namespace:
    """The options of ``ictc-look``, when they name one place to look at."""
    places = [name for name in ("paths", "store", "service") if getattr(options, name)]
    if len(places) != 1:
        p.error("give one of PATH, --store and --service: that is where to look")
    if options.index is not None and not options.store:
        p.error("--index belongs to --store")
    return options


def checked(p: argparse.ArgumentParser, options: argparse.Namespace) -> ReplayOptions:
    """The options, when they go together; a wrong pair ends the program with what is wrong about it."""
    if (options.publish or options.topic) and not options.brokers:
        p.error("--publish and --topic need --brokers")
    if not options.paths and not options.topic:
        p.error("nothing to read: give a PATH or --topic")
    if options.topic is not None and options.topic == options.publish:
        p.error("--publish and --topic name the same topic: it would never end")
    if options.engine == "ray":
        if given := [f"--{name}" for name in NOT_ON_RAY if getattr(options, name)]:
            p.error(f"--engine ray cannot do {' and '.join(given)}: leave it out, or use one process")
        if options.order != "time":
            p.error("--engine ray reads archives in order of time only: leave --order out, or use one process")
        if options.address is not None and options.work is None:
            p.error("--address needs --work: a folder or URL that all machines of the cluster reach")
    elif given := [f"--{name}" for name in ("address", "work", "partitions", "workers") if getattr(options, name)]:
        p.error(f"{' and '.join(given)} belong to --engine ray")
    elif urls := [path for path in options.paths if _URL.match(path) and not Path(path).exists()]:
        p.error(f"{as_text(urls[0])} is a URL: --engine ray reads those")
    if options.format == CATALOGUE and (options.engine != "ray" or options.output == "-"):
        p.error(f"--format {CATALOGUE} needs --engine ray and a folder or URL as --output")
    if (clash := _clash(options)) is not None:
        p.error(clash)
    several = {"paths": tuple(options.paths), "weights": tuple(options.weights), "kafka": dict(options.kafka)}
    return ReplayOptions(**{**vars(options), **several, "brokers": options.brokers or ""})


def _clash(options: argparse.Namespace) -> str | None:
    """What is wrong where a file would be written over one that is read, or written beside it."""
    names = {f"--{option}": getattr(options, option) for option in ("output", "rejects", "summary")}
    written = {option: Path(name) for option, name in names.items() if name not in (None, "-") and not _URL.match(name)}
    for (one, path), (other, second) in combinations(written.items(), 2):
        if _are_one_file(path, second):
            return f"{one} and {other} are one file, {as_text(str(path))}: give each its own"
    read = [Path(name) for name in (*options.paths, options.schema) if name is not None]
    for (option, path), source in product(written.items(), read):
        if _are_one_file(path, source):
            return f"{option} {as_text(str(path))} would be written over what is read: choose another file"
        if looks_like_alerts(path.name) and source.is_dir() and Path(realpath(path)).is_relative_to(realpath(source)):
            return (
                f"{option} {as_text(str(path))} would be read as alerts, for it lies in {as_text(str(source))}: choose "
                "another folder, or a name that ends otherwise"
            )
    return None


def _are_one_file(one: Path, other: Path) -> bool:
    """Whether two names mean one file or folder, through links too; devices and pipes are none."""
    if one.exists() and other.exists():
        return (one.is_file() or one.is_dir()) and one.samefile(other)
    return realpath(one) == realpath(other)


def _positive_float(text: str) -> float:
    number = float(text)
    if not number > 0:
        raise argparse.ArgumentTypeError(f"{text} is not positive")
    return number


def _rate(text: str) -> "Rate":
    match text:
        case "recorded":
            return "recorded"
        case "max":
            return "max"
    return _positive_float(text)


def _setting(text: str) -> tuple[str, str]:
    key, separator, value = text.partition("=")
    if not separator:
        raise argparse.ArgumentTypeError(f"{text} is not KEY=VALUE")
    return key, value


def _natural(text: str) -> int:
    number = int(text)
    if not 0 <= number <= HIGHEST_NUMBER:
        raise argparse.ArgumentTypeError(f"{number} is not between 0 and {HIGHEST_NUMBER}")
    return number


def _positive(text: str) -> int:
    number = int(text)
    if not 1 <= number <= HIGHEST_NUMBER:
        raise argparse.ArgumentTypeError(f"{number} is not between 1 and {HIGHEST_NUMBER}")
    return number

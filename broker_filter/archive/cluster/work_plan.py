"""The plan of a cluster replay: which files each task reads, into how many partitions, and under which settings.

The plan is written to the work folder before the first task starts. A run that finds a plan there goes on with it, and
refuses to when files or settings are no longer what they were: finished tasks would be of another run.
"""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import chain

from broker_filter.archive.cluster.shared_folder import SharedFolder, files_at
from broker_filter.archive.left_out import LeftOutCounts
from broker_filter.errors import ConfigurationError
from broker_filter.records import Rejected
from model.json_text import parse_json

PLAN = "plan.json"
TASK_BYTES = 512 << 20  # of input; a task holds no more than a few frames of it at a time
PARTITION_BYTES = 32 << 30  # of input: about 450,000 ZTF alerts, 0.5 GB on the disk of a task of stage 2
MOST_PARTITIONS = 4096
HASH_BYTES = 8


@dataclass(frozen=True, slots=True)
class InputFile:
    """A file of alerts."""

    path: str  # or URL
    size_bytes: int


@dataclass(frozen=True, slots=True)
class ReplaySettings:
    """What decides the answers, the same for every task."""

    weights: tuple[str, ...] = ()
    networks: tuple[str, ...] = ()  # name and version of each, in order of surveys
    device: str = "cpu"
    deterministic: bool = False
    allow_untrained: bool = False
    schema: str | None = None
    schemas: str | None = None
    keep_pixels: bool = False  # of every frame until stage 2
    keep_series: bool = False  # for a store; asks for keep_pixels
    keep_rejects: bool = False
    as_catalogue: bool = False  # stage 2 sorts its answers by position


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that a task must know beside its own number."""

    settings: ReplaySettings
    tasks: tuple[tuple[InputFile, ...], ...]  # of stage 1, in the order of the archive
    partitions: int  # of stage 2

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "Plan":
        """Read a plan.

        Raises
        ------
        ConfigurationError
            When it is none.
        """
        try:
            table = parse_json(text)
            settings = {
                **table["settings"],
                **{name: tuple(table["settings"][name]) for name in ("weights", "networks")},
            }
            tasks = tuple(tuple(InputFile(**file) for file in files) for files in table["tasks"])
            return cls(ReplaySettings(**settings), tasks, int(table["partitions"]))
        except (ValueError, KeyError, TypeError) as error:
            raise ConfigurationError(
                f"{PLAN} of the work folder is no plan ({error}): choose another --work"
            ) from error


def group(files: Sequence[InputFile], task_bytes: int = TASK_BYTES) -> tuple[tuple[InputFile, ...], ...]:
    """Neighbouring files together until they hold ``task_bytes``; a larger file is a task by itself."""
    tasks: list[list[InputFile]] = []
    size = task_bytes
    for file in files:
        if size + file.size_bytes > task_bytes:
            tasks.append([])
            size = 0
        tasks[-1].append(file)
        size += file.size_bytes
    return tuple(map(tuple, tasks))


def partitions_for(files: Iterable[InputFile], at_least: int = 1) -> int:
    """How many partitions keep each task of stage 2 within its disk and its hour."""
    total_bytes = sum(file.size_bytes for file in files)
    return min(max(-(-total_bytes // PARTITION_BYTES), at_least, 1), MOST_PARTITIONS)


def partition_of(object_key: str, partitions: int) -> int:
    """Where all alerts of an object meet; the same in every process and on every machine."""
    digest = hashlib.blake2b(object_key.encode(), digest_size=HASH_BYTES).digest()
    return int.from_bytes(digest, "big") % partitions


def settled_plan(work: SharedFolder, wanted: Plan) -> Plan:
    """The plan to follow: the one wanted, written into an empty work folder, or the one of the replay that goes on.

    How files were grouped and partitioned stays what it was, for finished tasks depend on it.

    Raises
    ------
    ConfigurationError
        When the folder belongs to a replay of other files or with other settings.
    """
    if not work.exists(PLAN):
        work.write_text(PLAN, wanted.to_json())
        return wanted
    begun = Plan.from_json(work.read_text(PLAN))
    for differs, was, now in (
        ("settings", begun.settings, wanted.settings),
        ("files", [*chain(*begun.tasks)], [*chain(*wanted.tasks)]),
    ):
        if was != now:
            raise ConfigurationError(
                f"the work folder {work} holds a replay with other {differs}: give the paths and options of that one "
                "to go on with it, or choose another --work"
            )
    return begun


def input_files(paths: Sequence[str], left_out: LeftOutCounts) -> tuple[list[InputFile], list[Rejected]]:
    """The files of alerts at paths and URLs, folders in the order of names, and what could not be looked into.

    Raises
    ------
    ConfigurationError
        When a path does not exist.
    """
    files: list[InputFile] = []
    unreadable: list[Rejected] = []
    for path in paths:
        for entry in files_at(path, left_out):
            if isinstance(entry, Rejected):
                unreadable.append(entry)
            else:
                files.append(InputFile(*entry))
    return files, unreadable

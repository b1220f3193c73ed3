"""Writer of a data set's folder: whole or not at all, resumable, in bounded memory.

Knows nothing of where the series come from. Everything goes to ``<folder>.partial``; a shard counts once it and its
truth are renamed into place there; ``close`` writes the manifest and gives the folder its name.
"""

import contextlib
import errno
import fcntl
import json
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TextIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pydantic import ValidationError

from model.data.format import (
    FORMAT,
    FRAME_COLUMNS,
    HISTORY_COLUMNS,
    MANIFEST,
    SCHEMA,
    SCHEMA_WITH_HISTORY,
    TRUTH,
    DatasetError,
    Head,
    shard_name,
)
from model.data.limits import LIMITS, in_64_bits, kind_of_truth
from model.files import sha256_of
from model.past_photometry import History
from model.series import Series
from model.taxonomy import check_class_names

BATCH_BYTES = 4 << 20  # pixels per record batch: what one random read may have to map
SHARD_BYTES = 64 << 20  # pixels per file: what an interrupted run loses at most, and the writer's memory
IDENTITY = "identity.json"

LARGEST_FOLD = 127  # of the column's type
_TYPES = {
    field.name: np.dtype(field.type.value_type.to_pandas_dtype())
    for field in SCHEMA_WITH_HISTORY
    if field.name in LIMITS
}

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class DatasetContents:
    """What a data set is to hold: the head of its manifest, by which an unfinished one is known again."""

    survey: str
    channels: Sequence[str]
    size_px: int
    classes: Sequence[str]
    recipe: Mapping[str, Any] | str  # what was asked for; anything JSON can hold
    seed: int
    version: str
    _: KW_ONLY
    with_history: bool = False  # every object comes with what packets tell beside its frames
    simulator: str | None = None  # hash of the sources that draw the objects, where some do

    def to_json(self) -> dict[str, Any]:
        """As the manifest has it."""
        head: dict[str, Any] = {
            "format": FORMAT,
            "version": self.version,
            "survey": self.survey,
            "channels": list(self.channels),
            "size_px": self.size_px,
            "classes": list(self.classes),
            "recipe": self.recipe if isinstance(self.recipe, str) else dict(self.recipe),
            "seed": self.seed,
        }
        head |= {"with_history": True} if self.with_history else {}
        return head | ({} if self.simulator is None else {"simulator": self.simulator})


class DatasetWriter:
    """Writes a data set object by object.

    Use as a context manager: leaving it normally calls :meth:`close`; leaving it by an exception keeps the finished
    shards, and a writer with the same arguments goes on from there. ``len(writer)`` is the number of objects that it
    holds already, so a caller skips that many.

    Parameters
    ----------
    folder
        Must not exist, or be empty.
    contents
        What it is to hold; with a ``simulator``, half a data set is not finished by another.

    Raises
    ------
    DatasetError
        When a class has no proper name or the survey is unknown, the folder holds something else, another writer
        works, or the disk is full.
    """

    def __init__(self, folder: str | Path, contents: DatasetContents) -> None:
        self.folder = Path(folder)
        self._partial = self.folder.with_name(self.folder.name + ".partial")
        self._shape_CHW = (len(contents.channels), contents.size_px, contents.size_px)
        try:
            check_class_names(contents.classes)
        except ValueError as exc:
            raise DatasetError(str(exc)) from exc
        self._identity = contents.to_json()
        _check_head(self._identity)
        self._schema = SCHEMA_WITH_HISTORY if contents.with_history else SCHEMA
        self._classes = {name: index for index, name in enumerate(contents.classes)}
        self._rows: list[Row] = []
        self._truths: list[Mapping[str, Any]] = []
        self._truth_kinds: dict[str, str] = {}  # of what this process has appended
        self._counts: Counter[tuple[str, str]] = Counter()
        self._objects = self._frames = self._shard_bytes = 0
        self._shards: list[str] = []
        self.object_ids: list[int] = []  # in the order in which they were appended
        self._held: set[int] = set()  # the same, to look up
        self._closed = False
        self._lock = self._claim_folder()
        try:
            self._take_over()
            self._resume()
            self._held.update(self.object_ids)
        except DatasetError:
            self._lock.close()
            raise

    def _claim_folder(self) -> TextIO:
        """Lock the unfinished data set of this name, or a new one."""
        if self.folder.exists() and (not self.folder.is_dir() or any(self.folder.iterdir())):
            what = "a whole data set" if (self.folder / MANIFEST).exists() else "something else"
            raise DatasetError(f"{self.folder} holds {what} already: choose another folder, or remove it")
        identity = self._partial / IDENTITY
        with disk_errors(self.folder):
            if self._partial.is_dir() and any(self._partial.iterdir()) and not identity.is_file():
                raise DatasetError(f"{self._partial} is not ours: remove it, or move it away")
            self._partial.mkdir(parents=True, exist_ok=True)
            lock = identity.open("a+", encoding="utf-8")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as exc:
            lock.close()
            raise DatasetError(f"{self._partial} is being written by another process") from exc
        return lock

    def _take_over(self) -> None:
        """Make the unfinished data set ours: it is, or it holds no object yet."""
        wanted = json.dumps(self._identity, indent=1)
        with disk_errors(self.folder):
            self._lock.seek(0)
            written = self._lock.read()
            if written == wanted:
                return
            if (self._partial / shard_name(0)).exists():
                raise DatasetError(
                    f"{self._partial} is the beginning of another data set ({_difference(written, self._identity)}): "
                    "remove it, or move it away"
                )
            for path in self._partial.iterdir():  # what a run left that failed before its first shard
                if path.name.endswith((".unfinished", ".parquet")):
                    path.unlink()
            self._lock.truncate(0)
            self._lock.write(wanted)
            self._lock.flush()

    def _resume(self) -> None:
        while (self._partial / shard_name(len(self._shards))).exists():
            name = shard_name(len(self._shards))
            try:
                with pa.memory_map(str(self._partial / name)) as file:
                    table = pa.ipc.open_file(file).read_all().select(["object_id", "label", "split", "band"])
                    labels, splits = table["label"].to_pylist(), table["split"].to_pylist()
                    self.object_ids += table["object_id"].to_pylist()
                    frames = sum(len(chunk.values) for chunk in table["band"].chunks)
            except (pa.ArrowException, OSError) as exc:
                raise DatasetError(f"{self._partial / name} is damaged: remove {self._partial}: {exc}") from exc
            classes = list(self._classes)
            self._counts.update((split, classes[label]) for label, split in zip(labels, splits, strict=True))
            self._objects += len(labels)
            self._frames += frames
            self._shards.append(name)

    def __len__(self) -> int:
        return self._objects

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self.close()
        finally:
            self._lock.close()

    def append(
        self,
        object_id: int,
        label: str,
        split: str,
        fold: int | None,
        series: Series,
        truth: Mapping[str, Any],
        history: History | None = None,
    ) -> None:
        """Add one object; ``truth`` may hold numbers, text, yes or no, and flat lists of numbers, one kind a name.

        Raises
        ------
        ValueError
            When the series does not fit this data set, a number is beyond its limits, or the object is there already:
            then nothing of it is kept.
        """
        self._check_place(object_id, label, split, fold)
        shape = (len(series), *self._shape_CHW)
        if len(series) == 0 or series.pixels_TCHW.shape != shape or series.scale_TC.shape != shape[:2]:
            raise ValueError(
                f"object {object_id}: pixels {series.pixels_TCHW.shape} of scale {series.scale_TC.shape}, this data "
                f"set has {shape} of {shape[:2]}, and one frame or more"
            )
        if (history is None) == (self._schema is SCHEMA_WITH_HISTORY):
            raise ValueError(f"object {object_id}: all objects of a data set have a history, or none has")
        row: Row = {"object_id": object_id, "label": self._classes[label], "split": split}
        row["fold"] = -1 if fold is None else fold
        try:
            row |= _columns(series, history)
        except ValueError as exc:
            raise ValueError(f"object {object_id}: {exc}") from exc
        with np.errstate(over="ignore"):
            row["pixels"] = np.ascontiguousarray(series.pixels_TCHW, np.float16).ravel()
        if np.isinf(row["pixels"]).any():
            raise ValueError(
                f"object {object_id}: a pixel is infinite in float16, whose largest is 65,504: give pixels in units of "
                "their noise, as model.series.compact makes them"
            )
        self._check_truth(object_id, truth)
        self._rows.append(row)
        self._truths.append({"object_id": object_id, "label": label, "split": split, **truth})
        self._counts[split, label] += 1
        self._objects += 1
        self.object_ids.append(object_id)
        self._held.add(object_id)
        self._frames += len(series)
        self._shard_bytes += row["pixels"].nbytes
        if self._shard_bytes >= SHARD_BYTES:
            self._finish_shard()

    def _check_place(self, object_id: int, label: str, split: str, fold: int | None) -> None:
        """Check the number of an object, and where it belongs."""
        if not isinstance(object_id, int | np.integer) or not in_64_bits(int(object_id)):
            raise ValueError(f"object {object_id!r}: give each object a whole number of 64 bits as its own")
        if object_id in self._held:
            raise ValueError(f"object {object_id}: it is there already: give each object a number of its own")
        if label not in self._classes:
            raise ValueError(f"object {object_id}: class {label!r} is none of {', '.join(self._classes)}")
        if not isinstance(split, str) or not split:
            raise ValueError(f"object {object_id}: split {split!r} is no name: give one, such as 'train'")
        if fold is not None and (not isinstance(fold, int | np.integer) or not 0 <= fold <= LARGEST_FOLD):
            raise ValueError(f"object {object_id}: fold {fold!r} is none of 0 to {LARGEST_FOLD}, nor None for no fold")

    def _check_truth(self, object_id: int, truth: Mapping[str, Any]) -> None:
        """Check that a column of the truth can hold each value beside those of earlier objects."""
        kinds: dict[str, str] = {}
        for name, value in truth.items():
            try:
                kind = kind_of_truth(_plain(value))
            except ValueError as exc:
                raise ValueError(f"object {object_id}: truth {name!r}: {exc}") from exc
            if kind is not None:
                kinds[name] = kind
                if (other := self._truth_kinds.get(name, kind)) != kind:
                    raise ValueError(f"object {object_id}: truth {name!r} is {kind}, that of earlier objects {other}")
        self._truth_kinds |= kinds

    def _finish_shard(self) -> None:
        if not self._rows:
            return
        index = len(self._shards)
        with disk_errors(self.folder):
            truth = self._partial / f"truth-{index:05d}.parquet"
            pq.write_table(_as_table(self._truths), truth)
            unfinished = self._partial / (shard_name(index) + ".unfinished")
            with pa.OSFile(str(unfinished), "wb") as sink, pa.ipc.new_file(sink, self._schema) as writer:
                for rows in _record_batches(self._rows):
                    writer.write_batch(_as_record_batch(rows, self._schema))
            unfinished.rename(self._partial / shard_name(index))
        self._shards.append(shard_name(index))
        self._rows, self._truths, self._shard_bytes = [], [], 0

    def close(self) -> None:
        """Finish the last shard, write the manifest and give the folder its name. May be called twice."""
        if self._closed:
            return
        self._finish_shard()
        with disk_errors(self.folder):
            truths = [self._partial / f"truth-{index:05d}.parquet" for index in range(len(self._shards))]
            _join_truths(truths, self._partial / TRUTH)
            files = {}
            for name in [*self._shards, TRUTH]:
                path = self._partial / name
                files[name] = {"bytes": path.stat().st_size, "sha256": sha256_of(path)}
            counts: dict[str, dict[str, int]] = {}
            for split, label in sorted(self._counts):
                counts.setdefault(split, {})[label] = self._counts[split, label]
            totals = {"objects": self._objects, "frames": self._frames, "counts": counts, "files": files}
            (self._partial / MANIFEST).write_text(json.dumps(self._identity | totals, indent=1) + "\n", "utf-8")
            for path in [*truths, self._partial / IDENTITY]:
                path.unlink()
            self._partial.rename(self.folder)
        self._closed = True
        self._lock.close()


def _check_head(identity: Mapping[str, Any]) -> None:
    try:
        Head.model_validate(identity)
    except ValidationError as exc:
        fault = exc.errors(include_url=False)[0]
        name = str(fault["loc"][0])
        raise DatasetError(f"no data set can have {name} {identity[name]!r}: {fault['msg']}") from exc


def _columns(series: Series, history: History | None) -> Row:
    """The columns of numbers of one object but its pixels, of their types; times count from the first frame.

    Raises
    ------
    ValueError
        When one has not a number a frame, or a number that none can be.
    """
    values: Row = {column: getattr(series, field) for column, field in FRAME_COLUMNS.items()}
    due = dict.fromkeys(values, len(series)) | {"scale": series.scale_TC.size}
    values["scale"] = series.scale_TC.ravel()
    if history is not None:
        values |= {column: getattr(history, field) for column, field in HISTORY_COLUMNS.items()}
        due |= dict.fromkeys(HISTORY_COLUMNS, len(history))
    columns = {name: _numbers(name, value, due[name]) for name, value in values.items()}
    first = columns["time"][0]
    for name in {"time", "history_time"} & columns.keys():
        with np.errstate(invalid="ignore"):  # of infinite ones, which are refused below
            columns[name] = columns[name] - first  # a network must not learn from the date
    if np.any(np.diff(columns["time"]) < 0):
        raise ValueError("frames are not in time order: sort them")
    for name, value_N in columns.items():
        kept_N = LIMITS[name].are_kept(value_N)
        if not kept_N.all():
            since = " days after the first frame" if name.endswith("time") else ""
            raise ValueError(
                f"{name} {value_N[kept_N.argmin()]}{since}, not {LIMITS[name]}: correct it, or leave the object out"
            )
    return {name: value_N.astype(_TYPES[name], copy=False) for name, value_N in columns.items()}


def _numbers(name: str, values: Any, due: int) -> NDArray:
    """So many numbers as numpy keeps them, of a column's type if that can hold fractions."""
    value_N = np.asarray(values)
    if value_N.shape != (due,):
        raise ValueError(f"{value_N.shape} values of {name}, not {due}: give each frame or epoch its own")
    if not np.can_cast(value_N.dtype, _TYPES[name], "same_kind"):
        raise ValueError(f"{name} of type {value_N.dtype}, not {_TYPES[name]}: convert it")
    if _TYPES[name].kind != "f":
        return value_N  # as it was told: a number beyond its type would come back as another
    with np.errstate(over="ignore"):
        return value_N.astype(_TYPES[name], copy=False)


def _record_batches(rows: list[Row]) -> Iterator[list[Row]]:
    batch: list[Row] = []
    held = 0
    for row in rows:
        batch.append(row)
        held += row["pixels"].nbytes
        if held >= BATCH_BYTES:
            yield batch
            batch, held = [], 0
    if batch:
        yield batch


def _as_record_batch(rows: list[Row], schema: pa.Schema) -> pa.RecordBatch:
    columns = []
    for field in schema:
        values = [row[field.name] for row in rows]
        if pa.types.is_large_list(field.type):
            offsets = np.cumsum([0, *(len(v) for v in values)], dtype=np.int64)
            flat = pa.array(np.concatenate(values), field.type.value_type, from_pandas=False)
            columns.append(pa.LargeListArray.from_arrays(pa.array(offsets), flat, type=field.type))
        else:
            columns.append(pa.array(values, field.type))
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _as_table(truths: Sequence[Mapping[str, Any]]) -> pa.Table:
    """Every key that any object has becomes a column; objects without it get null."""
    names = dict.fromkeys(name for truth in truths for name in truth)
    return pa.table({name: pa.array([_plain(truth.get(name)) for truth in truths]) for name in names})


def _plain(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else value


def _join_truths(parts: list[Path], whole: Path) -> None:
    """One Parquet file out of the shards' own, whose columns may differ by the classes that they hold."""
    if not parts:
        pq.write_table(pa.table({"object_id": pa.array([], pa.int64())}), whole)
        return
    schema = pa.unify_schemas([pq.read_schema(part) for part in parts], promote_options="permissive")
    schema = pa.schema([schema.field("object_id"), *(f for f in sorted(schema, key=_name) if f.name != "object_id")])
    with pq.ParquetWriter(whole, schema) as writer:
        for part in parts:
            table = pq.read_table(part)
            columns = [
                table[f.name].cast(f.type) if f.name in table.column_names else pa.nulls(len(table), f.type)
                for f in schema
            ]
            writer.write_table(pa.table(columns, schema=schema))


def _name(field: pa.Field) -> str:
    return field.name


def _difference(written: str, wanted: Mapping[str, Any]) -> str:
    """Which keys of two identities differ."""
    try:
        other = json.loads(written)
    except ValueError:
        other = None
    if not isinstance(other, dict):
        return "it does not say which"
    plain = json.loads(json.dumps(wanted))  # tuples and the like as they come back
    names = [name for name in plain.keys() | other.keys() if plain.get(name) != other.get(name)]
    return "another " + ", ".join(sorted(names))


@contextlib.contextmanager
def disk_errors(folder: Path) -> Iterator[None]:
    """Make errors of the disk a ``DatasetError`` that says what to do: on a full one how much room is left."""
    try:
        yield
    except OSError as exc:
        if exc.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise DatasetError(f"cannot write {folder}: {exc}: choose another folder, or mend it") from exc
        free = shutil.disk_usage(next(path for path in (folder, *folder.absolute().parents) if path.exists())).free
        raise DatasetError(
            f"cannot write {folder} ({free >> 20} MiB free): {exc}; free some space and run the same command again to "
            "go on"
        ) from exc

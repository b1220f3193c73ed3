"""Data sets opened with nothing taken on trust: bytes, columns, counts and truth, each checked once.

What a command was given is opened here; what it made itself, ``Dataset.open`` opens faster. Of pixels the lengths
alone are looked at.

Legend: ``B`` objects of a record batch, ``N`` values of all of them.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from model.data.dataset import Dataset
from model.data.format import FRAME_COLUMNS, HISTORY_COLUMNS, MANIFEST, TRUTH, DatasetError
from model.data.limits import LIMITS

REMEDY = "copy it again or make it again"
SIMULATOR = "simulator"  # of a manifest: its objects were drawn, so that there is a truth of them

NUMBERS, TEXT, LISTS = "numbers", "text", "lists of numbers without empty places"
TRUTH_COLUMNS: Mapping[str, str] = {  # what is read of a truth, where it has them
    "redshift": NUMBERS,
    "peak_b_abs_mag": NUMBERS,
    "peak_r_abs_mag": NUMBERS,
    "origin_mjd": NUMBERS,
    "first_mjd": NUMBERS,
    "peak_day": NUMBERS,
    "explosion_day": NUMBERS,
    "first_detection": NUMBERS,
    "kind": TEXT,
    "label_mode": TEXT,
    "visit_T": LISTS,
    "true_flux_T": LISTS,
}


def open_checked(folder: str | Path) -> Dataset:
    """Map a data set into memory: bytes as their checksums, numbers within limits, truth of the same objects.

    Raises
    ------
    DatasetError
        When the folder holds no whole data set of a format that we read, or one that contradicts itself; the message
        names file and object, and says what was found and what is allowed.
    """
    for path in sorted(Path(folder).glob("series-*.arrow")):  # Arrow follows offsets blindly: before any text is read
        try:
            for batch in _batches(path):
                _check_layout(batch)
        except (pa.ArrowException, ValueError, OSError) as exc:
            raise DatasetError(f"{path} is damaged, {REMEDY}: {exc}") from exc
    dataset = Dataset.open(folder, verify=True)
    frames = 0
    for path in (dataset.folder / name for name in dataset.manifest["files"] if name != TRUTH):
        try:
            frames += sum(_frames_of(batch, len(dataset.channels), dataset.size_px) for batch in _batches(path))
        except ValueError as exc:
            raise DatasetError(f"{path} is damaged, or its {MANIFEST} is, {REMEDY}: {exc}") from exc
    _check_numbering(dataset)
    _check_totals(dataset, frames)
    _check_truth(dataset)
    return dataset


def _batches(path: Path) -> Iterator[pa.RecordBatch]:
    shard = pa.ipc.open_file(pa.memory_map(str(path)))
    for b in range(shard.num_record_batches):
        yield shard.get_batch(b)


def _check_layout(batch: pa.RecordBatch) -> None:
    """Check that offsets lead to values, that text is text, and that no object lacks a column."""
    batch.validate(full=True)
    if missing := [name for name in batch.schema.names if batch.column(name).null_count]:
        raise ValueError(f"an object without {', '.join(missing)}")


def _frames_of(batch: pa.RecordBatch, channels: int, size_px: int) -> int:
    """How many frames the objects of a record batch have, once all that is told of them is found sound.

    Raises
    ------
    ValueError
        When it is not.
    """
    object_B, frames_B = batch.column("object_id").to_numpy(), _lengths(batch.column("band"))
    if not frames_B.all():
        raise ValueError(f"object {object_B[frames_B.argmin()]} has no frames")
    values_a_frame = {"scale": channels, "pixels": channels * size_px**2}
    for name in (*FRAME_COLUMNS, *values_a_frame):
        _check_column(batch, name, [frames * values_a_frame.get(name, 1) for frames in frames_B.tolist()])
    if "history_band" in batch.schema.names:
        epochs = _lengths(batch.column("history_band")).tolist()
        for name in HISTORY_COLUMNS:
            _check_column(batch, name, epochs)
    row_N = np.repeat(np.arange(len(batch)), frames_B)
    earlier_N = (np.diff(batch.column("time").flatten().to_numpy()) < 0) & (np.diff(row_N) == 0)
    if earlier_N.any():
        raise ValueError(f"object {object_B[row_N[earlier_N.argmax()]]} has frames that are not in time order")
    return len(row_N)


def _check_column(batch: pa.RecordBatch, name: str, due: Sequence[int]) -> None:
    """Compare how many values each object has with how many are due, and the values with their limits."""
    column, object_B = batch.column(name), batch.column("object_id").to_numpy()
    length_B = _lengths(column)
    for number, length, expected in zip(object_B.tolist(), length_B.tolist(), due, strict=True):
        if length != expected:
            raise ValueError(f"object {number} has {length} values of {name}, not {expected}")
    if column.values.null_count:
        raise ValueError(f"{name} has empty places")
    if name in LIMITS:
        value_N = column.flatten().to_numpy()
        kept_N = LIMITS[name].are_kept(value_N)
        if not kept_N.all():
            number = np.repeat(object_B, length_B)[kept_N.argmin()]
            raise ValueError(f"object {number} has {name} {value_N[kept_N.argmin()]}, not {LIMITS[name]}")


def _lengths(column: pa.LargeListArray) -> NDArray[np.int64]:
    lengths_B: NDArray[np.int64] = np.diff(column.offsets.to_numpy())
    return lengths_B


def _check_numbering(dataset: Dataset) -> None:
    """Check that no two objects have one number."""
    number_M, count_M = np.unique(dataset.object_ids, return_counts=True)
    if (count_M > 1).any():
        number, count = number_M[count_M.argmax()], count_M.max()
        raise DatasetError(
            f"{dataset.folder} holds object {number} {count} times: make it again, each object with a number of its own"
        )


def _check_totals(dataset: Dataset, frames: int) -> None:
    """Compare the manifest's own sums with what is there."""
    manifest = dataset.manifest
    if frames != manifest["frames"]:
        raise DatasetError(f"{dataset.folder} holds {frames} frames, its manifest says {manifest['frames']}: {REMEDY}")
    held = {
        (split, label): int(np.count_nonzero(dataset.labels[rows] == k))
        for split, rows in dataset.splits.items()
        for k, label in enumerate(dataset.classes)
    }
    counted = {(split, label): n for split, counts in manifest["counts"].items() for label, n in counts.items()}
    for split, label in sorted(held.keys() | counted.keys()):
        of_data, of_manifest = held.get((split, label), 0), counted.get((split, label), 0)
        if of_data != of_manifest:
            raise DatasetError(
                f"{dataset.folder} holds {of_data} objects of class {label} in split {split}, its manifest says "
                f"{of_manifest}: {REMEDY}"
            )


def _check_truth(dataset: Dataset) -> None:
    """Compare the objects of the truth with those of the series; real objects may be without truth."""
    path, manifest = dataset.folder / TRUTH, dataset.manifest
    if TRUTH not in manifest["files"]:
        if SIMULATOR in manifest or path.exists():
            raise DatasetError(f"{dataset.folder / MANIFEST} has no checksum of {TRUTH}: {REMEDY}")
        return
    try:
        with pq.ParquetFile(path) as file:
            truth = file.read(columns=["object_id", *TRUTH_COLUMNS])
    except (pa.ArrowException, OSError) as exc:
        raise DatasetError(f"{path} is damaged, {REMEDY}: {exc}") from exc
    if twice := sorted({name for name in truth.column_names if truth.column_names.count(name) > 1}):
        raise DatasetError(f"{path} has more than one column {', '.join(twice)}: {REMEDY}")
    if "object_id" not in truth.column_names:
        raise DatasetError(f"{path} has no column object_id, so that nobody knows of which objects it tells: {REMEDY}")
    if len(truth) != len(dataset):
        raise DatasetError(f"{path} tells of {len(truth)} objects, the data set holds {len(dataset)}: {REMEDY}")
    other = np.flatnonzero(truth["object_id"].to_numpy() != dataset.object_ids)
    if len(other):
        told, held = truth["object_id"][int(other[0])], dataset.object_ids[other[0]]
        raise DatasetError(f"{path} tells of object {told} where the series are of object {held}: {REMEDY}")
    for name, kind in TRUTH_COLUMNS.items():
        if name in truth.column_names and not _holds(truth[name], kind):
            raise DatasetError(f"{path} has {truth[name].type} as {name}, not {kind}: {REMEDY}")


def _holds(column: pa.ChunkedArray, kind: str) -> bool:
    """Whether a column has values of this kind, or none at all; lists have no empty places."""
    if pa.types.is_null(column.type):
        return kind != LISTS
    if kind == TEXT:
        return pa.types.is_string(column.type) or pa.types.is_large_string(column.type)
    if kind == NUMBERS:
        return _are_numbers(column.type)
    lists = pa.types.is_list(column.type) or pa.types.is_large_list(column.type)
    whole = lists and not column.null_count and not sum(chunk.values.null_count for chunk in column.chunks)
    return whole and _are_numbers(column.type.value_type)


def _are_numbers(kind: pa.DataType) -> bool:
    return pa.types.is_integer(kind) or pa.types.is_floating(kind)

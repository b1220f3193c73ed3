"""Data sets opened with nothing taken on trust: every byte and every object's truth compared once.

What a command was given is opened here; what it made itself, ``Dataset.open`` opens faster.
"""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from model.data.dataset import Dataset
from model.data.format import MANIFEST, TRUTH, DatasetError

REMEDY = "copy it again or make it again"
SIMULATOR = "simulator"  # of a manifest: its objects were drawn, so that there is a truth of them


def open_checked(folder: str | Path) -> Dataset:
    """Map a data set into memory, every byte of which has its checksum and whose truth is of its objects.

    Raises
    ------
    DatasetError
        When the folder holds no whole data set of a format that we read, or one that contradicts itself; the message
        names file and object, and says what was found.
    """
    dataset = Dataset.open(folder, verify=True)
    _check_truth(dataset)
    return dataset


def _check_truth(dataset: Dataset) -> None:
    """Compare the objects of the truth with those of the series; real objects may be without truth."""
    path, manifest = dataset.folder / TRUTH, dataset.manifest
    if TRUTH not in manifest["files"]:
        if SIMULATOR in manifest or path.exists():
            raise DatasetError(f"{dataset.folder / MANIFEST} has no checksum of {TRUTH}: {REMEDY}")
        return
    try:
        with pq.ParquetFile(path) as file:
            truth = file.read(columns=["object_id"])
    except (pa.ArrowException, OSError) as exc:
        raise DatasetError(f"{path} is damaged, {REMEDY}: {exc}") from exc
    if truth.column_names != ["object_id"]:
        raise DatasetError(f"{path} has no column object_id, so that nobody knows of which objects it tells: {REMEDY}")
    if len(truth) != len(dataset):
        raise DatasetError(f"{path} tells of {len(truth)} objects, the data set holds {len(dataset)}: {REMEDY}")
    other = np.flatnonzero(truth["object_id"].to_numpy() != dataset.object_ids)
    if len(other):
        told, held = truth["object_id"][int(other[0])], dataset.object_ids[other[0]]
        raise DatasetError(f"{path} tells of object {told} where the series are of object {held}: {REMEDY}")

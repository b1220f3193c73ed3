"""A labelled set of image series on disk: Arrow files that map into memory, truth apart, a manifest beside them.

Layout of a data set's folder::

    manifest.json        recipe, seed, version, survey, classes, counts, sizes and SHA-256 of the other files
    series-00000.arrow   Arrow IPC file, one row per object, record batches of a few objects (read by memory map)
    series-00001.arrow   the next shard, after some 64 MiB of pixels
    truth.parquet        one row per object, same order: everything a network must not see

The Arrow columns are those of ``model.dataset_format.SCHEMA``: ``object_id``, ``label``, ``split``, ``fold`` and the
ragged columns of ``model.series.Series``, pixels as float16 in units of each channel's own scale; alert streams have
those of ``model.history.History`` too.
While a data set is being written it lives in ``<folder>.partial``; only a whole one has the asked-for name.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from model.dataset_format import (
    FORMAT,
    FRAME_COLUMNS,
    HISTORY_COLUMNS,
    MANIFEST,
    SCHEMA,
    SCHEMA_WITH_HISTORY,
    TRUTH,
    DatasetError,
    sha256_of,
)
from model.dataset_writer import DatasetWriter
from model.history import History
from model.series import Series

__all__ = ["Dataset", "DatasetError", "DatasetWriter"]

MANIFEST_KEYS = ("survey", "channels", "size_px", "classes", "objects", "files")


class Dataset:
    """Labelled series, read lazily: opening one reads labels and splits; pixels are paged in when asked for."""

    def __init__(self, folder: Path, manifest: dict[str, Any], shards: list[pa.ipc.RecordBatchFileReader]) -> None:
        self.folder = folder
        self.manifest = manifest
        self.survey: str = manifest["survey"]
        self.channels: tuple[str, ...] = tuple(manifest["channels"])
        self.size_px: int = manifest["size_px"]
        self.classes: tuple[str, ...] = tuple(manifest["classes"])
        self.has_history = any("history_time" in shard.schema.names for shard in shards)
        self._batches = [(shard, b) for shard in shards for b in range(shard.num_record_batches)]
        columns: dict[str, list[NDArray]] = {"object_id": [], "label": [], "split": [], "fold": []}
        for shard, b in self._batches:
            batch = shard.get_batch(b)
            for name, parts in columns.items():
                parts.append(batch.column(name).to_numpy(zero_copy_only=False))
        starts = np.cumsum([0, *(len(part) for part in columns["label"])])
        self._first_row = starts[:-1]
        if starts[-1] != manifest["objects"]:
            raise DatasetError(f"{folder} holds {starts[-1]} objects, its manifest says {manifest['objects']}")
        joined = {name: np.concatenate(parts) if parts else np.empty(0) for name, parts in columns.items()}
        self.object_ids: NDArray[np.int64] = joined["object_id"].astype(np.int64)
        self.labels: NDArray[np.int64] = joined["label"].astype(np.int64)
        self.splits: dict[str, NDArray[np.int64]] = {
            str(name): np.flatnonzero(joined["split"] == name) for name in sorted(set(joined["split"]))
        }
        folds = joined["fold"].astype(np.int8)
        self.folds: NDArray[np.int8] | None = folds if (folds >= 0).any() else None

    @classmethod
    def open(cls, folder: str | Path) -> "Dataset":
        """Map a data set into memory.

        Raises
        ------
        DatasetError
            When the folder holds no whole data set of a format that we read. Sizes are checked here, contents by
            :meth:`verify`.
        """
        folder = Path(folder)
        manifest = _read_manifest(folder)
        shards = []
        for name, entry in manifest["files"].items():
            path = folder / name
            if not path.is_file():
                raise DatasetError(f"{path} is missing: make the data set again, or copy it again")
            if path.stat().st_size != entry["bytes"]:
                raise DatasetError(
                    f"{path} has {path.stat().st_size} bytes, the manifest says {entry['bytes']}: copy it again"
                )
            if path.suffix == ".arrow":
                try:
                    shard = pa.ipc.open_file(pa.memory_map(str(path)))
                except pa.ArrowInvalid as exc:
                    raise DatasetError(f"{path} is no Arrow file: {exc}") from exc
                if shard.schema not in (SCHEMA, SCHEMA_WITH_HISTORY):
                    raise DatasetError(f"{path} has other columns than {FORMAT}: {shard.schema.names}")
                shards.append(shard)
        return cls(folder, manifest, shards)

    def __reduce__(self) -> tuple[Any, tuple[Path]]:
        return Dataset.open, (self.folder,)  # a loader's worker maps the files itself

    def __len__(self) -> int:
        return len(self.labels)

    def series(self, index: int) -> Series:
        """The frames of object ``index``; its arrays are read-only views of the mapped file.

        Raises
        ------
        IndexError
            When there is no such object.
        """
        values = self._reader(index)
        frames = {field: values(column) for column, field in FRAME_COLUMNS.items()}
        shape = (len(frames["time_T"]), len(self.channels), self.size_px, self.size_px)
        return Series(
            pixels_TCHW=values("pixels").reshape(shape), scale_TC=values("scale").reshape(shape[:2]), **frames
        )

    def history(self, index: int) -> History:
        """What the packets of object ``index`` tell beside its frames; nothing where the data set has no histories.

        Raises
        ------
        IndexError
            When there is no such object.
        """
        values = self._reader(index)
        if not self.has_history:
            return History.joined([])
        return History(**{field: values(column) for column, field in HISTORY_COLUMNS.items()})

    def _reader(self, index: int) -> Callable[[str], NDArray]:
        """Values of one object by column: views of the mapped file."""
        if not 0 <= index < len(self):
            raise IndexError(f"object {index} of {len(self)}")
        where = int(np.searchsorted(self._first_row, index, side="right")) - 1
        shard, b = self._batches[where]
        batch = shard.get_batch(b)
        row = index - int(self._first_row[where])

        def values(column: str) -> NDArray:
            array = batch.column(column)
            start, stop = array.offsets[row].as_py(), array.offsets[row + 1].as_py()
            return array.values.slice(start, stop - start).to_numpy(zero_copy_only=True)

        return values

    def truth(self) -> pa.Table:
        """Everything the simulator (or the catalogue) knows of each object, in the order of the series."""
        return pq.read_table(self.folder / TRUTH)

    def verify(self) -> None:
        """Read every byte and compare it with the manifest's checksums.

        Raises
        ------
        DatasetError
            Naming the first file whose contents changed.
        """
        for name, entry in self.manifest["files"].items():
            if (found := sha256_of(self.folder / name)) != entry["sha256"]:
                raise DatasetError(f"{self.folder / name} has SHA-256 {found}, the manifest says {entry['sha256']}")


def _read_manifest(folder: Path) -> dict[str, Any]:
    path = folder / MANIFEST
    if not path.is_file():
        partial = folder.with_name(folder.name + ".partial")
        hint = f"; {partial} is an interrupted one: run the same command again" if partial.exists() else ""
        raise DatasetError(f"{folder} is no data set: it has no {MANIFEST}{hint}")
    try:
        manifest = json.loads(path.read_text("utf-8"))
    except ValueError as exc:
        raise DatasetError(f"{path} is not JSON: {exc}") from exc
    found = manifest.get("format") if isinstance(manifest, dict) else None
    if found != FORMAT:
        raise DatasetError(f"{path} is of format {found!r}, this version reads {FORMAT!r}")
    if missing := [key for key in MANIFEST_KEYS if key not in manifest]:
        raise DatasetError(f"{path} lacks {', '.join(missing)}")
    return manifest

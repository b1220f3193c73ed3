"""A labelled set of image series on disk: Arrow files that map into memory, truth apart, a manifest beside them.

Layout of a data set's folder::

    manifest.json        recipe, seed, version, survey, classes, counts, sizes and SHA-256 of the other files
    series-00000.arrow   Arrow IPC file, one row per object, record batches of a few objects (read by memory map)
    series-00001.arrow   the next shard, after some 64 MiB of pixels
    truth.parquet        one row per object, same order: everything a network must not see

The Arrow columns are those of ``model.data.format.SCHEMA``: ``object_id``, ``label``, ``split``, ``fold`` and the
ragged columns of ``model.series.Series``, pixels as float16 in units of each channel's own scale; alert streams have
those of ``model.past_photometry.History`` too.
While a data set is being written it lives in ``<folder>.partial``; only a whole one has the asked-for name.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

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
    read_json,
)
from model.data.writer import DatasetContents, DatasetWriter
from model.files import sha256_of
from model.past_photometry import History
from model.series import Series

__all__ = ["Dataset", "DatasetContents", "DatasetError", "DatasetWriter"]


class _File(BaseModel):
    model_config = ConfigDict(strict=True)
    bytes: Annotated[int, Field(ge=0)]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class _Manifest(Head):
    """What a reader relies on; the rest of a manifest is for people."""

    objects: Annotated[int, Field(ge=0)]
    frames: Annotated[int, Field(ge=0)]
    counts: dict[str, dict[str, int]]
    files: dict[Annotated[str, Field(pattern=r"^(series-\d+\.arrow|truth\.parquet)$")], _File]


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
            try:
                batch = shard.get_batch(b)
            except (pa.ArrowException, OSError) as exc:
                raise DatasetError(f"{folder} is damaged, copy it again or make it again: {exc}") from exc
            for name, parts in columns.items():
                parts.append(batch.column(name).to_numpy(zero_copy_only=False))
        starts = np.cumsum([0, *(len(part) for part in columns["label"])])
        self._first_row = starts[:-1]
        if starts[-1] != manifest["objects"]:
            raise DatasetError(f"{folder} holds {starts[-1]} objects, its manifest says {manifest['objects']}")
        joined = {name: np.concatenate(parts) if parts else np.empty(0) for name, parts in columns.items()}
        self.object_ids: NDArray[np.int64] = joined["object_id"].astype(np.int64)
        self.labels: NDArray[np.int64] = joined["label"].astype(np.int64)
        if len(self.labels) and not 0 <= self.labels.min() <= self.labels.max() < len(self.classes):
            raise DatasetError(f"{folder} is damaged: it holds a label that is none of its {len(self.classes)} classes")
        self.splits: dict[str, NDArray[np.int64]] = {
            str(name): np.flatnonzero(joined["split"] == name) for name in sorted(set(joined["split"]))
        }
        folds = joined["fold"].astype(np.int8)
        self.folds: NDArray[np.int8] | None = folds if (folds >= 0).any() else None

    @classmethod
    def open(cls, folder: str | Path, *, verify: bool = False) -> "Dataset":
        """Map a data set into memory.

        Parameters
        ----------
        verify
            Compare every byte with the manifest's checksums first (0.5 s/GB on one core). Otherwise only sizes are
            checked. Commands that were given a folder open it by ``model.data.checked``.

        Raises
        ------
        DatasetError
            When the folder holds no whole data set of a format that we read.
        """
        folder = Path(folder)
        manifest = _read_manifest(folder)
        if verify:
            _verify(folder, manifest)
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
                except (pa.ArrowException, OSError) as exc:
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
        """Everything the simulator (or the catalogue) knows of each object, in the order of the series.

        Raises
        ------
        DatasetError
            When the file is damaged, or tells of another number of objects (``model.data.checked`` compares them).
        """
        try:
            truth = pq.read_table(self.folder / TRUTH)
        except (pa.ArrowException, OSError) as exc:
            raise DatasetError(f"{self.folder / TRUTH} is damaged, copy it again or make it again: {exc}") from exc
        if "object_id" not in truth.column_names or len(truth) != len(self):
            raise DatasetError(f"{self.folder / TRUTH} tells of {len(truth)} objects, the data set holds {len(self)}")
        return truth

    def verify(self) -> None:
        """Read every byte and compare it with the manifest's checksums.

        Raises
        ------
        DatasetError
            Naming the first file whose contents changed.
        """
        _verify(self.folder, self.manifest)


def _verify(folder: Path, manifest: dict[str, Any]) -> None:
    for name, entry in manifest["files"].items():
        try:
            sha256 = sha256_of(folder / name)
        except OSError as exc:
            raise DatasetError(f"{folder / name} cannot be read: {exc.strerror}: copy it again") from exc
        if sha256 != entry["sha256"]:
            raise DatasetError(
                f"{folder / name} is damaged: its SHA-256 is {sha256[:16]}…, the manifest says "
                f"{entry['sha256'][:16]}…: copy it again or make it again"
            )


def _read_manifest(folder: Path) -> dict[str, Any]:
    path = folder / MANIFEST
    if not path.is_file():
        partial = folder.with_name(folder.name + ".partial")
        hint = f"; {partial} is an interrupted one: run the same command again" if partial.exists() else ""
        raise DatasetError(f"{folder} is no data set: it has no {MANIFEST}{hint}")
    manifest = read_json(path, "is not JSON")
    written_as = manifest.get("format") if isinstance(manifest, dict) else None
    if written_as != FORMAT:
        raise DatasetError(f"{path} is of format {written_as!r}, this version reads {FORMAT!r}")
    try:
        _Manifest.model_validate(manifest)
    except ValidationError as exc:
        fault = exc.errors(include_url=False)[0]
        where = ".".join(str(step) for step in fault["loc"])
        raise DatasetError(f"{path} is damaged, copy it again: {where}: {fault['msg']}") from exc
    checked: dict[str, Any] = manifest
    return checked

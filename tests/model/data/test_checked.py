"""A data set is believed only where bytes, manifest, series and truth agree; else a line says where they do not."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from test_dataset import fill, writer_at

from model.data.checked import open_checked
from model.data.dataset import DatasetError
from model.files import sha256_of


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A data set of four objects that nobody drew."""
    with writer_at(tmp_path / "set") as writer:
        fill(writer, 4)
    return tmp_path / "set"


def change_manifest(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    change(manifest)
    (folder / "manifest.json").write_text(json.dumps(manifest))


def sign(folder: Path, name: str) -> None:
    """Give a changed file the checksum that it has now."""
    path = folder / name
    entry = {"bytes": path.stat().st_size, "sha256": sha256_of(path)}
    change_manifest(folder, lambda manifest: manifest["files"].update({name: entry}))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.take([3, 2, 1, 0]), "tells of object 3 where the series are of object 0: copy it again"),
        (lambda t: t.slice(1), "tells of 3 objects, the data set holds 4"),
        (lambda t: t.drop_columns("object_id"), "has no column object_id"),
        (lambda t: t.set_column(0, "object_id", pa.array(["0", "1", "2", "3"])), "tells of object 0 where"),
    ],
)
def test_a_truth_of_other_objects_is_refused(
    folder: Path, change: Callable[[pa.Table], pa.Table], message: str
) -> None:
    """Objects in another order, missing ones and other names are errors, although every checksum is right."""
    assert len(open_checked(folder)) == 4
    pq.write_table(change(pq.read_table(folder / "truth.parquet")), folder / "truth.parquet")
    sign(folder, "truth.parquet")
    with pytest.raises(DatasetError, match=message):
        open_checked(folder)


def test_a_truth_without_checksum_is_refused(folder: Path) -> None:
    """A truth that the manifest does not list is not read; objects that were drawn have one."""
    change_manifest(folder, lambda manifest: manifest["files"].pop("truth.parquet"))
    with pytest.raises(DatasetError, match=r"has no checksum of truth\.parquet"):
        open_checked(folder)
    (folder / "truth.parquet").unlink()
    assert len(open_checked(folder)) == 4
    change_manifest(folder, lambda manifest: manifest.update(simulator="abc"))
    with pytest.raises(DatasetError, match=r"has no checksum of truth\.parquet"):
        open_checked(folder)

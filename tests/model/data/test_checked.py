"""A data set is believed only where bytes, manifest, series and truth agree; else a line says where they do not."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray
from test_dataset import draw_series, fill, writer_at

from model.data.checked import open_checked
from model.data.dataset import DatasetError
from model.files import sha256_of
from model.past_photometry import NO_HISTORY, History


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


def change_column(folder: Path, name: str, change: Callable[[list], list]) -> None:
    """Give the objects other values of a column, and the file its checksum."""
    path = folder / "series-00000.arrow"
    table = pa.ipc.open_file(path.read_bytes()).read_all()
    at, field = table.schema.get_field_index(name), table.schema.field(name)
    table = table.set_column(at, field, pa.array(change(table[name].to_pylist()), field.type))
    with pa.ipc.new_file(path, table.schema) as writer:
        writer.write_table(table)
    sign(folder, path.name)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.take([3, 2, 1, 0]), "tells of object 3 where the series are of object 0: copy it again"),
        (lambda t: t.slice(1), "tells of 3 objects, the data set holds 4"),
        (lambda t: t.drop_columns("object_id"), "has no column object_id"),
        (lambda t: t.set_column(0, "object_id", pa.array(["0", "1", "2", "3"])), "tells of object 0 where"),
        (lambda t: t.append_column("object_id", t["object_id"]), "has more than one column object_id"),
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


@pytest.mark.parametrize(
    ("name", "values", "kind"),
    [
        ("peak_day", ["1", "2", "3", "4"], "string as peak_day, not numbers"),
        ("kind", [1, 2, 3, 4], "int64 as kind, not text"),
        ("visit_T", [1, 2, 3, 4], "int64 as visit_T, not lists of numbers"),
        ("visit_T", [[1], [2], None, [4]], "> as visit_T, not lists of numbers"),
        ("visit_T", [[1], [2], [None, 3], [4]], "> as visit_T, not lists of numbers"),
        ("true_flux_T", [["1"], ["2"], ["3"], ["4"]], "string> as true_flux_T, not lists of numbers"),
    ],
)
def test_a_truth_of_other_types_is_refused(folder: Path, name: str, values: list, kind: str) -> None:
    """Columns that are read later hold what they are read as; one without any value is none of it."""
    path = folder / "truth.parquet"
    columns = dict(zip((sound := pq.read_table(path)).column_names, sound.columns, strict=True))
    pq.write_table(pa.table({**columns, name: pa.array(values)}), path)
    sign(folder, path.name)
    with pytest.raises(DatasetError, match=kind):
        open_checked(folder)
    pq.write_table(pa.table({**columns, "redshift": pa.nulls(4)}), path)
    sign(folder, path.name)
    assert len(open_checked(folder)) == 4


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


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"size_px": 31}, "object 0 has 50 values of pixels, not 1922"),
        ({"size_px": 10**40}, "object 0 has 50 values of pixels"),
        ({"channels": ["science"]}, "object 0 has 2 values of scale, not 1"),
        ({"frames": 10**9}, "holds 10 frames, its manifest says 1000000000: copy it again or make it again"),
        ({"counts": {}}, r"holds \d objects of class \w+ in split \w+, its manifest says 0"),
        ({"counts": {"train": {"AGN": 2, "SNIa": 1}, "test": {"SNIa": 2}}}, "1 objects of class SNIa in split test"),
        ({"classes": ["SNIa", "AGN"]}, r"holds \d objects of class"),
    ],
)
def test_a_manifest_of_other_series_is_refused(folder: Path, change: dict[str, Any], message: str) -> None:
    """Size, channels, frames and counts are those of the series, or an error that says which are not."""
    change_manifest(folder, lambda manifest: manifest.update(change))
    with pytest.raises(DatasetError, match=message):
        open_checked(folder)


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("scale", 0.0, "object 2 has scale 0.0, not 1.17549e-38 to"),
        ("scale", math.nan, "object 2 has scale nan"),
        ("band", 9, "object 2 has band 9, not 0 to 5"),
        ("band", -1, "object 2 has band -1, not 0 to 5"),
        ("time", math.nan, r"object 2 has time nan, not 0 to 1e\+06"),
        ("time", 1e300, r"object 2 has time 1e\+300"),
        ("time", 90.5, "object 2 has frames that are not in time order"),
        ("flux", math.inf, "object 2 has flux inf"),
        ("flux_error", -1.0, "object 2 has flux_error -1.0, not 0 to .*, or NaN"),
        ("pixels", None, "pixels has empty places"),
    ],
)
def test_numbers_beyond_their_limits_are_refused(folder: Path, column: str, value: float, message: str) -> None:
    """A number that no series can have is an error that names object, value and limits, whatever the checksum."""
    change_column(folder, column, lambda rows: [*rows[:2], [value, *rows[2][1:]], *rows[3:]])
    with pytest.raises(DatasetError, match=f"series-00000.arrow .* copy it again or make it again: {message}"):
        open_checked(folder)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (("flux",), "object 3 has 0 values of flux, not 4"),
        (("pixels",), "object 3 has 0 values of pixels, not 200"),
        (("band", "time", "flux", "flux_error", "scale", "pixels"), "object 3 has no frames"),
    ],
)
def test_columns_of_other_lengths_are_refused(folder: Path, columns: tuple[str, ...], message: str) -> None:
    """Every frame has all of its values, and every object a frame."""
    for column in columns:
        change_column(folder, column, lambda rows: [*rows[:3], []])
    with pytest.raises(DatasetError, match=message):
        open_checked(folder)


@pytest.mark.parametrize(
    ("column", "values", "offsets"),
    [
        ("flux", None, np.int64([0, 1, 1_000, 6, 10])),
        ("split", b"train" * 4, np.int32([0, 5, 1 << 30, 15, 20])),
        ("split", b"\xff" * 20, np.int32([0, 5, 10, 15, 20])),
    ],
)
def test_offsets_that_lead_nowhere_are_refused(
    folder: Path, column: str, values: bytes | None, offsets: NDArray[np.integer]
) -> None:
    """Offsets beyond the values, and bytes that are no text, are found before anything is read there."""
    path = folder / "series-00000.arrow"
    batch = pa.ipc.open_file(path.read_bytes()).get_batch(0)
    at, field = batch.schema.get_field_index(column), batch.schema.field(column)
    if values is None:
        changed = pa.LargeListArray.from_arrays(pa.array(offsets), batch[column].values, field.type)
    else:
        changed = pa.Array.from_buffers(
            field.type, len(batch), [None, pa.py_buffer(offsets.tobytes()), pa.py_buffer(values)]
        )
    with pa.ipc.new_file(path, batch.schema) as writer:
        writer.write_batch(batch.set_column(at, field, changed))
    sign(folder, path.name)
    with pytest.raises(DatasetError, match=r"series-00000\.arrow is damaged, copy it again or make it again"):
        open_checked(folder)


@pytest.mark.parametrize("column", ["split", "label", "flux"])
def test_an_object_without_a_value_is_refused(folder: Path, column: str) -> None:
    """Null is no split, no class and no series."""
    change_column(folder, column, lambda rows: [None, *rows[1:]])
    with pytest.raises(DatasetError, match=f"an object without {column}"):
        open_checked(folder)


def test_objects_of_one_number_are_refused(folder: Path) -> None:
    """Two objects of one number could lie in train and test unseen."""
    change_column(folder, "object_id", lambda rows: [0, 1, 1, 3])
    with pytest.raises(DatasetError, match="set holds object 1 2 times: make it again"):
        open_checked(folder)


def test_unknown_fluxes_and_histories_are_sound(tmp_path: Path) -> None:
    """NaN is a flux that nobody knows; epochs of a history lie before the first frame, or there are none."""
    series = draw_series(1, 3)
    series.flux_T[0] = series.flux_error_T[0] = math.nan
    history = History(
        np.array([53590.0, 53600.5]), np.array([1, 2], np.int8), np.float32([0, 70]), np.float32([20, 30])
    )
    with writer_at(tmp_path / "set", with_history=True) as writer:
        writer.append(1, "AGN", "train", None, series, {}, history)
        writer.append(2, "AGN", "train", None, series, {}, NO_HISTORY)
    assert len(open_checked(tmp_path / "set").history(0)) == 2
    change_column(tmp_path / "set", "history_flux_error", lambda rows: [[20.0, 0.0], []])
    with pytest.raises(DatasetError, match=r"object 1 has history_flux_error 0\.0"):
        open_checked(tmp_path / "set")
    change_column(tmp_path / "set", "history_flux_error", lambda rows: [[20.0], []])
    with pytest.raises(DatasetError, match="object 1 has 1 values of history_flux_error, not 2"):
        open_checked(tmp_path / "set")

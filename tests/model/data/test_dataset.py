"""The data-set container: what is written comes back, whole or not at all."""

import json
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

import model.data.writer
from model.data.checked import open_checked
from model.data.dataset import Dataset, DatasetContents, DatasetError, DatasetWriter
from model.data.join import join
from model.files import sha256_of
from model.past_photometry import History
from model.series import Series, compact

CLASSES = ("AGN", "SNIa")


def draw_series(seed: int, frames: int, channels: int = 2, size: int = 5) -> Series:
    rng = np.random.default_rng(seed)
    drawn = [compact(rng.normal(0, 100, (channels, size, size)).astype(np.float32)) for _ in range(frames)]
    pixels = np.stack([p for p, _ in drawn])
    pixels[0, 0, 0, 0] = np.nan
    return Series(
        pixels,
        np.stack([s for _, s in drawn]),
        rng.integers(0, 6, frames).astype(np.int8),
        53600.0 + np.sort(rng.uniform(0, 90, frames)),
        rng.normal(0, 100, frames).astype(np.float32),
        np.full(frames, 30, np.float32),
    )


def writer_at(folder: Path, **changes: object) -> DatasetWriter:
    settings: dict = {
        "survey": "sdss",
        "channels": ("science", "difference"),
        "size_px": 5,
        "classes": CLASSES,
        "recipe": {"name": "test"},
        "seed": 1,
        "version": "0",
    }
    return DatasetWriter(folder, DatasetContents(**(settings | changes)))


def fill(writer: DatasetWriter, count: int, start: int = 0, first_seed: int = 0) -> None:
    for i in range(start, count):
        split = "test" if i % 4 == 3 else "train"
        fold = None if split == "test" else i % 3
        truth = {"redshift": 0.1 * i, "flux_T": [1.0] * (i + 1)} | ({"period_d": 0.5} if i % 2 else {})
        writer.append(i, CLASSES[i % 2], split, fold, draw_series(first_seed + i, 1 + i), truth)


@pytest.fixture
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model.data.writer, "BATCH_BYTES", 500)
    monkeypatch.setattr(model.data.writer, "SHARD_BYTES", 1500)


def test_series_labels_and_truth_come_back(tmp_path: Path, small_shards: None) -> None:
    """What was appended is read back bit for bit, across record batches and shards."""
    with writer_at(tmp_path / "set") as writer:
        fill(writer, 12)
    dataset = Dataset.open(tmp_path / "set")
    assert len(dataset) == 12 and dataset.classes == CLASSES and dataset.channels == ("science", "difference")
    assert len(list((tmp_path / "set").glob("*.arrow"))) > 2
    for i in range(12):
        wanted, read = draw_series(i, 1 + i), dataset.series(i)
        np.testing.assert_array_equal(read.pixels_TCHW, wanted.pixels_TCHW)
        np.testing.assert_array_equal(read.scale_TC, wanted.scale_TC)
        np.testing.assert_array_equal(read.band_T, wanted.band_T)
        np.testing.assert_allclose(read.time_T, wanted.time_T - wanted.time_T[0])
        np.testing.assert_array_equal(read.flux_T, wanted.flux_T)
    assert dataset.labels.tolist() == [0, 1] * 6 and dataset.labels.dtype == np.int64
    assert dataset.splits["test"].tolist() == [3, 7, 11]
    assert dataset.folds is not None and dataset.folds[3] == -1 and dataset.folds[4] == 1
    truth = dataset.truth()
    assert truth["object_id"].to_pylist() == list(range(12))
    assert truth["period_d"].to_pylist()[:2] == [None, 0.5]
    dataset.verify()


def test_dates_do_not_reach_a_network(tmp_path: Path) -> None:
    """Times are kept as days since the first frame, whatever the calendar said."""
    with writer_at(tmp_path / "set") as writer:
        fill(writer, 3)
    assert all(Dataset.open(tmp_path / "set").series(i).time_T[0] == 0 for i in range(3))


def test_series_are_views_of_the_mapped_file(tmp_path: Path) -> None:
    """Pixels are not copied when a series is asked for."""
    with writer_at(tmp_path / "set") as writer:
        fill(writer, 3)
    pixels = Dataset.open(tmp_path / "set").series(1).pixels_TCHW
    assert not pixels.flags.owndata and not pixels.flags.writeable


def test_a_loader_worker_can_receive_it(tmp_path: Path) -> None:
    """A data set sent to another process opens its files there."""
    with writer_at(tmp_path / "set") as writer:
        fill(writer, 3)
    dataset = pickle.loads(pickle.dumps(Dataset.open(tmp_path / "set")))
    assert len(dataset.series(2)) == 3


def test_same_objects_give_the_same_bytes(tmp_path: Path) -> None:
    """Two runs of one recipe have equal manifests, checksums included."""
    for name in ("one", "two"):
        with writer_at(tmp_path / name) as writer:
            fill(writer, 5)
    assert (tmp_path / "one/manifest.json").read_bytes() == (tmp_path / "two/manifest.json").read_bytes()


def test_an_interrupted_run_goes_on(tmp_path: Path, small_shards: None) -> None:
    """After an interruption the finished shards are kept and the result is the same as that of one run."""
    with writer_at(tmp_path / "whole") as writer:
        fill(writer, 12)
    with pytest.raises(KeyboardInterrupt), writer_at(tmp_path / "set") as writer:
        fill(writer, 9)
        raise KeyboardInterrupt
    with pytest.raises(DatasetError, match="interrupted"):
        Dataset.open(tmp_path / "set")
    with writer_at(tmp_path / "set") as writer:
        assert 0 < len(writer) <= 9
        fill(writer, 12, start=len(writer))
    assert (tmp_path / "set/manifest.json").read_bytes() == (tmp_path / "whole/manifest.json").read_bytes()
    assert not (tmp_path / "set.partial").exists()


def test_another_data_set_is_not_overwritten(tmp_path: Path, small_shards: None) -> None:
    """A folder that holds anything, or the beginning of another data set, is refused."""
    with writer_at(tmp_path / "set") as writer:
        fill(writer, 1)
    with pytest.raises(DatasetError, match="whole data set"):
        writer_at(tmp_path / "set")
    with pytest.raises(KeyboardInterrupt), writer_at(tmp_path / "other") as writer:
        fill(writer, 9)
        raise KeyboardInterrupt
    with pytest.raises(DatasetError, match=r"beginning of another data set \(another seed\)"):
        writer_at(tmp_path / "other", seed=2)
    with pytest.raises(DatasetError, match="another simulator"):
        writer_at(tmp_path / "other", simulator="abc")
    (tmp_path / "third.partial").mkdir()
    (tmp_path / "third.partial/mine.txt").write_text("precious")
    with pytest.raises(DatasetError, match="not ours"):
        writer_at(tmp_path / "third")


def test_a_beginning_without_objects_is_taken_over(tmp_path: Path) -> None:
    """What a run left that failed before its first shard does not stand in the way of a corrected one."""
    with pytest.raises(KeyboardInterrupt), writer_at(tmp_path / "set") as writer:
        fill(writer, 1)
        raise KeyboardInterrupt
    (tmp_path / "set.partial/truth-00000.parquet").write_bytes(b"half")
    with writer_at(tmp_path / "set", seed=2) as writer:
        fill(writer, 1)
    dataset = Dataset.open(tmp_path / "set")
    assert dataset.manifest["seed"] == 2 and len(dataset) == 1
    assert {path.name for path in dataset.folder.iterdir()} == {"manifest.json", *dataset.manifest["files"]}


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    """Only a full disk is told with the room that is left."""
    (tmp_path / "file").write_text("")
    with pytest.raises(DatasetError, match="Not a directory") as history:
        writer_at(tmp_path / "file" / "set")
    assert "MiB" not in str(history.value)


def test_a_class_without_a_name_is_told(tmp_path: Path) -> None:
    """What could be no label of a metric and no column is refused before the first object is drawn."""
    for name in ("", "SN Ia", "SNIa\n", "a" * 33):
        with pytest.raises(DatasetError, match="is no name of a class: 1 to 32 letters, digits and _"):
            writer_at(tmp_path / "set", classes=("AGN", name))
    assert not list(tmp_path.iterdir())


def test_two_writers_do_not_share_a_folder(tmp_path: Path) -> None:
    """A second writer of the same data set is refused while the first is at work."""
    with writer_at(tmp_path / "set") as writer:
        with pytest.raises(DatasetError, match="another process"):
            writer_at(tmp_path / "set")
        fill(writer, 1)


def test_a_full_disk_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the disk is full the error says so and the folder is not taken for whole."""

    def full(*args: object, **kwargs: object) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(DatasetError, match="free some space"), writer_at(tmp_path / "set") as writer:
        fill(writer, 2)
        monkeypatch.setattr(model.data.writer.pa.ipc, "new_file", full)
    assert not (tmp_path / "set").exists()


def test_changed_bytes_are_found(tmp_path: Path) -> None:
    """A truncated file is refused at opening, a flipped byte at verifying."""
    with writer_at(tmp_path / "set") as writer:
        fill(writer, 4)
    shard = tmp_path / "set/series-00000.arrow"
    whole = bytearray(shard.read_bytes())
    shard.write_bytes(whole[:-8])
    with pytest.raises(DatasetError, match="bytes"):
        Dataset.open(tmp_path / "set")
    whole[len(whole) // 2] ^= 1
    shard.write_bytes(whole)
    with pytest.raises(DatasetError, match="SHA-256"):
        Dataset.open(tmp_path / "set").verify()
    with pytest.raises(DatasetError, match="is damaged: its SHA-256"):
        Dataset.open(tmp_path / "set", verify=True)


@pytest.mark.parametrize("at", [-12, -40, -200])
def test_a_damaged_footer_is_told(tmp_path: Path, at: int) -> None:
    """Arrow's own complaint becomes an error that names the file."""
    with writer_at(tmp_path / "set") as writer:
        fill(writer, 4)
    shard = tmp_path / "set/series-00000.arrow"
    broken = bytearray(shard.read_bytes())
    broken[at : at + 8] = b"\xff" * 8
    shard.write_bytes(broken)
    with pytest.raises(DatasetError, match="set"):
        Dataset.open(tmp_path / "set")


def test_a_damaged_truth_is_told(tmp_path: Path) -> None:
    """A truth file that is no Parquet is an error that names it."""
    with writer_at(tmp_path / "set") as writer:
        fill(writer, 4)
    path = tmp_path / "set/truth.parquet"
    path.write_bytes(b"x" * path.stat().st_size)
    with pytest.raises(DatasetError, match=r"truth.parquet is damaged"):
        Dataset.open(tmp_path / "set").truth()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m.pop("classes"), "classes: Field required"),
        (lambda m: m.update(objects="4"), "objects: Input should be a valid integer"),
        (lambda m: m.update(files=[]), "files: Input should be a valid dictionary"),
        (lambda m: m.update(classes=["AGN"]), "none of its 1 classes"),
        (lambda m: m.update(classes=["AGN", "SNIa\n"]), "classes.1: String should match pattern"),
        (lambda m: m["files"].update({"../other": {"bytes": 1, "sha256": "0" * 64}}), "should match pattern"),
        (lambda m: m.update(format="x"), "format"),
        (lambda m: m.update(objects=3), "holds 4 objects"),
        (lambda m: m["files"].update({"series-00009.arrow": {"bytes": 1, "sha256": "0" * 64}}), "missing"),
    ],
)
def test_a_wrong_manifest_is_refused(tmp_path: Path, change: object, message: str) -> None:
    """A manifest that does not describe the folder is an error that names the difference."""
    with writer_at(tmp_path / "set") as writer:
        fill(writer, 4)
    path = tmp_path / "set/manifest.json"
    manifest = json.loads(path.read_text())
    change(manifest)  # type: ignore[operator]
    path.write_text(json.dumps(manifest))
    with pytest.raises(DatasetError, match=message):
        Dataset.open(tmp_path / "set")


def in_njy(series: Series) -> Series:
    """With pixels that nobody divided by their noise."""
    bright = series.pixels_TCHW.astype(np.float32) + 1e5
    return replace(series, pixels_TCHW=bright)


@pytest.mark.parametrize(
    ("label", "series", "message"),
    [
        ("Quasar", draw_series(0, 2), "none of"),
        ("AGN", draw_series(0, 2, size=4), "pixels"),
        ("AGN", draw_series(0, 3)[::-1], "time order"),
        ("AGN", in_njy(draw_series(0, 2)), "infinite in float16"),
    ],
)
def test_series_that_do_not_fit_are_refused(tmp_path: Path, label: str, series: Series, message: str) -> None:
    """An unknown class, another stamp size, unordered frames or pixels beyond float16 are errors at once."""
    with pytest.raises(ValueError, match=message), writer_at(tmp_path / "set") as writer:
        writer.append(1, label, "train", None, series, {})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"object_id": None}, "object None: give each object a whole number of 64 bits"),
        ({"object_id": 1.5}, r"object 1\.5: give each"),
        ({"object_id": 2**63}, "object 9223372036854775808: give each"),
        ({"object_id": 0}, "object 0: it is there already"),
        ({"fold": 200}, "object 7: fold 200 is none of 0 to 127"),
        ({"fold": -2}, "object 7: fold -2 is none of"),
        ({"split": None}, "object 7: split None is no name"),
        ({"split": ""}, "object 7: split '' is no name"),
    ],
)
def test_a_place_that_no_object_has_is_refused(tmp_path: Path, changes: dict, message: str) -> None:
    """A number, split or fold that could not be written or read is an error at once, and the neighbours are kept."""
    place = {"object_id": 7, "label": "AGN", "split": "train", "fold": None} | changes
    with writer_at(tmp_path / "set") as writer:
        fill(writer, 2)
        with pytest.raises(ValueError, match=message):
            writer.append(**place, series=draw_series(7, 3), truth={})
        writer.append(8, "AGN", "train", 127, draw_series(8, 3), {})
    assert open_checked(tmp_path / "set").object_ids.tolist() == [0, 1, 8]


@pytest.mark.parametrize(
    ("truth", "message"),
    [
        ({"redshift": "unknown"}, "object 7: truth 'redshift' is text, that of earlier objects a number"),
        ({"redshift": [0.1]}, "truth 'redshift' is a list of numbers, that of earlier"),
        ({"redshift": True}, "truth 'redshift' is yes or no, that of earlier"),
        ({"flux_T": np.ones((2, 2))}, "truth 'flux_T': .* is none of number"),
        ({"host": {"mass": 1.0}}, "truth 'host': .* is none of number"),
        ({"host": 2**70}, "truth 'host': .* is none of number"),
    ],
)
def test_a_truth_that_no_column_holds_is_refused(tmp_path: Path, truth: dict, message: str) -> None:
    """A value of another kind than its column's is an error at once, and the neighbours are kept."""
    with writer_at(tmp_path / "set") as writer:
        fill(writer, 2)
        with pytest.raises(ValueError, match=message):
            writer.append(7, "AGN", "train", None, draw_series(7, 3), truth)
        writer.append(8, "AGN", "train", None, draw_series(8, 3), {"redshift": 1, "flux_T": [], "host": None})
    assert open_checked(tmp_path / "set").truth()["redshift"].to_pylist() == [0.0, 0.1, 1.0]


@pytest.mark.parametrize(
    ("field", "values", "message"),
    [
        ("time_T", [53600.0, np.nan, 53602.0], r"time nan days after the first frame, not 0 to 1e\+06"),
        ("time_T", [np.inf, np.inf, np.inf], "time nan days"),
        ("time_T", [0.0, 1.0, 2e6], r"time 2000000\.0 days"),
        ("band_T", [0, 1, 256], "band 256, not 0 to 5"),
        ("band_T", [0, -1, 0], "band -1, not 0 to 5"),
        ("band_T", [0.0, 1.5, 0.0], "band of type float64, not int8"),
        ("band_T", np.int8([0, 1]), r"\(2,\) values of band, not 3"),
        ("flux_T", [1.0, 2.0, 3.0, 4.0], r"\(4,\) values of flux, not 3"),
        ("flux_T", [1.0, np.inf, 3.0], "flux inf, not .*, or NaN"),
        ("flux_T", [1.0, 1e39, 3.0], "flux inf"),
        ("flux_error_T", [1.0], r"\(1,\) values of flux_error"),
        ("flux_error_T", [1.0, -1.0, 3.0], r"flux_error -1\.0, not 0 to"),
        ("scale_TC", np.ones((3, 1)), r"of scale \(3, 1\), this data set has .* of \(3, 2\)"),
        ("scale_TC", np.zeros((3, 2)), r"scale 0\.0, not 1\.17549e-38 to .*: correct it, or leave the object out"),
        ("scale_TC", -np.ones((3, 2)), r"scale -1\.0"),
        ("scale_TC", np.full((3, 2), np.nan), "scale nan"),
        ("time_P", [0.0, np.nan], "history_time nan"),
        ("time_P", [0.0], r"\(2,\) values of history_band, not 1"),
        ("band_P", [0, 9], "history_band 9, not 0 to 5"),
        ("flux_P", [0.0, np.nan], "history_flux nan"),
        ("flux_error_P", [1.0, 0.0], r"history_flux_error 0\.0"),
    ],
)
def test_numbers_that_no_reader_believes_are_refused(tmp_path: Path, field: str, values: list, message: str) -> None:
    """A column of another length or with a number beyond its limits is an error at once; the neighbours are kept."""
    series = draw_series(1, 3)
    history = History(53590.0 + np.arange(2), np.int8([1, 2]), np.float32([0, 70]), np.float32([20, 30]))
    change = {field: np.asarray(values)}
    broken = (replace(series, **change), history) if hasattr(series, field) else (series, replace(history, **change))
    with writer_at(tmp_path / "set", with_history=True) as writer:
        writer.append(1, "AGN", "train", None, series, {}, history)
        with pytest.raises(ValueError, match=f"object 2: .*{message}"):
            writer.append(2, "AGN", "train", None, broken[0], {}, broken[1])
        writer.append(2, "AGN", "train", None, series, {}, history)
    assert open_checked(tmp_path / "set").object_ids.tolist() == [1, 2]


def test_a_number_is_given_once(tmp_path: Path, small_shards: None) -> None:
    """Also after an interruption an object whose number is there already is refused."""
    with pytest.raises(KeyboardInterrupt), writer_at(tmp_path / "set") as writer:
        fill(writer, 9)
        raise KeyboardInterrupt
    with writer_at(tmp_path / "set") as writer:
        with pytest.raises(ValueError, match="object 0: it is there already: give each object a number of its own"):
            fill(writer, 1)
        fill(writer, 12, start=len(writer))
    assert len(open_checked(tmp_path / "set")) == 12


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"survey": "panstarrs"}, "have survey 'panstarrs': Input should be 'sdss', 'ztf' or 'lsst'"),
        ({"channels": ()}, r"have channels \[\]: "),
    ],
)
def test_a_head_that_no_reader_takes_is_refused(tmp_path: Path, change: dict, message: str) -> None:
    """What a manifest may not say is refused before the first object is drawn."""
    with pytest.raises(DatasetError, match=message):
        writer_at(tmp_path / "set", **change)
    assert not list(tmp_path.iterdir())


def test_an_empty_data_set_opens(tmp_path: Path) -> None:
    """A data set without objects is whole."""
    with writer_at(tmp_path / "set"):
        pass
    assert len(Dataset.open(tmp_path / "set")) == 0


def test_histories_come_back_on_the_clock_of_the_frames(tmp_path: Path) -> None:
    """A history is read back with times since the first frame; a set without histories has empty ones."""
    history = History(
        np.array([53590.0, 53600.5]),
        np.array([1, 2], np.int8),
        np.array([0.0, 70.0], np.float32),
        np.array([20.0, 30.0], np.float32),
    )
    series = draw_series(1, 3)
    with writer_at(tmp_path / "set", with_history=True) as writer:
        writer.append(1, "AGN", "train", None, series, {}, history)
        with pytest.raises(ValueError, match="have a history, or none"):
            writer.append(2, "AGN", "train", None, series, {})
    dataset = Dataset.open(tmp_path / "set")
    assert dataset.has_history
    read = dataset.history(0)
    np.testing.assert_allclose(read.time_P, history.time_P - series.time_T[0])
    np.testing.assert_array_equal(read.flux_P, history.flux_P)
    np.testing.assert_array_equal(read.band_P, history.band_P)
    with writer_at(tmp_path / "bare") as writer:
        fill(writer, 2)
    bare = Dataset.open(tmp_path / "bare")
    assert not bare.has_history
    assert len(bare.history(1)) == 0


def test_joined_data_sets_hold_every_object_of_their_parts(tmp_path: Path, small_shards: None) -> None:
    """Series, labels, splits and truth of the parts follow one another, numbered anew, each with its own seed."""
    for seed, count in ((1, 7), (2, 5)):
        with writer_at(tmp_path / f"{seed}", seed=seed) as writer:
            fill(writer, count, first_seed=100 * seed)
    parts = [Dataset.open(tmp_path / name) for name in ("1", "2")]
    whole = join([part.folder for part in parts], tmp_path / "whole")
    whole.verify()
    assert whole.object_ids.tolist() == list(range(12)) == whole.truth()["object_id"].to_pylist()
    assert whole.labels.tolist() == [*parts[0].labels, *parts[1].labels]
    assert whole.splits["test"].tolist() == [3, 7 + 3] and whole.folds is not None and whole.folds[8] == 1
    assert whole.truth()["drawn_seed"].to_pylist() == [1] * 7 + [2] * 5
    assert whole.truth()["redshift"].to_pylist() == [row for p in parts for row in p.truth()["redshift"].to_pylist()]
    for part, first in zip(parts, (0, 7), strict=True):
        for row in range(len(part)):
            for field in Series.__slots__:
                in_whole, in_part = whole.series(first + row), part.series(row)
                np.testing.assert_array_equal(getattr(in_whole, field), getattr(in_part, field))


@pytest.mark.parametrize(
    ("changes", "fault"),
    [({}, "another --seed"), ({"seed": 2, "survey": "ztf"}, "survey"), ({"seed": 2, "simulator": "b"}, "simulator")],
)
def test_what_does_not_belong_together_is_not_joined(tmp_path: Path, changes: dict, fault: str) -> None:
    """The same objects again, another survey or another simulator are refused by name, and nothing is written."""
    for name, of in (("first", {}), ("second", changes)):
        with writer_at(tmp_path / name, **of) as writer:
            fill(writer, 4)
    with pytest.raises(DatasetError, match=fault):
        join([tmp_path / "first", tmp_path / "second"], tmp_path / "whole")
    assert not (tmp_path / "whole").exists()


def test_parts_that_share_an_object_are_not_joined(tmp_path: Path) -> None:
    """The same pixels at the same times under another number, label or split are one object: both are named."""
    for name, first_seed in (("first", 0), ("second", 7)):
        with writer_at(tmp_path / name) as writer:
            fill(writer, 2, first_seed=first_seed)
            writer.append(5 + first_seed, "AGN", name, None, draw_series(3, 4), {})
    with pytest.raises(DatasetError, match=r"second holds as object 12 what .*first holds as object 5, 1 objects"):
        join([tmp_path / "first", tmp_path / "second"], tmp_path / "whole")
    assert not (tmp_path / "whole").exists()


def test_parts_of_other_simulators_are_joined_where_asked(tmp_path: Path) -> None:
    """The whole names no simulator then, each part its own."""
    for name, seed in (("a", 1), ("b", 2)):
        with writer_at(tmp_path / name, seed=seed, simulator=name) as writer:
            fill(writer, 2 + seed, first_seed=100 * seed)
    whole = join([tmp_path / "a", tmp_path / "b"], tmp_path / "whole", any_simulator=True)
    assert "simulator" not in whole.manifest
    assert [part["simulator"] for part in whole.manifest["recipe"]["joined"]] == ["a", "b"]


def test_a_part_whose_truth_tells_little_is_joined(tmp_path: Path) -> None:
    """Label and split are those of the series; a part without any truth is refused by name."""
    for seed in (1, 2):
        with writer_at(tmp_path / f"{seed}", seed=seed) as writer:
            fill(writer, 3 + seed, first_seed=100 * seed)
    manifest = json.loads((tmp_path / "2/manifest.json").read_text())
    truth = tmp_path / "2/truth.parquet"
    pq.write_table(pq.read_table(truth).select(["object_id"]), truth)
    manifest["files"][truth.name] = {"bytes": truth.stat().st_size, "sha256": sha256_of(truth)}
    (tmp_path / "2/manifest.json").write_text(json.dumps(manifest))
    whole = join([tmp_path / "1", tmp_path / "2"], tmp_path / "whole")
    assert whole.labels.tolist() == [0, 1, 0, 1, 0, 1, 0, 1, 0] and whole.splits["test"].tolist() == [3, 7]
    truth.unlink()
    manifest["files"].pop(truth.name)
    (tmp_path / "2/manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(DatasetError, match=r"has no truth\.parquet"):
        join([tmp_path / "1", tmp_path / "2"], tmp_path / "other")

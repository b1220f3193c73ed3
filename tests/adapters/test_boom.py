"""The file for BOOM, run by onnxruntime on tensors as BOOM's Rust makes them of alerts."""

import gzip
import io
import json
from pathlib import Path
from typing import Any

import fastavro
import numpy as np
import onnxruntime
import pytest
from astropy.io import fits
from numpy.typing import NDArray

from ictc import ConfigurationError, Predictor, series_of
from ictc.adapters import boom
from model.past_photometry import NO_HISTORY
from model.simulation.alerts.night import write_night

pytestmark = pytest.mark.timeout(1800)  # torch's exporter on a busy machine


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> onnxruntime.InferenceSession:
    """The shipped ZTF weights as a file for BOOM."""
    path = boom.export("ztf", tmp_path_factory.mktemp("boom") / "ictc.onnx")
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])


@pytest.fixture(scope="module")
def packets() -> list[bytes]:
    """Alerts of the simulated object that has most; BOOM passes over those that the edge of the detector cut."""
    of_object: dict[str, list[bytes]] = {}
    for packet, truth in write_night("ztf", 6, 12, seed=8, mix={"SNIa": 1.0}):
        record: Any = next(fastavro.reader(io.BytesIO(packet)))
        if stamp_of(record["cutoutScience"]["stampData"]).shape == (63, 63):
            of_object.setdefault(truth["object_id"], []).append(packet)
    return max(of_object.values(), key=len)[:8]


def stamp_of(content: bytes) -> NDArray[np.float32]:
    """Pixels as astropy reads them."""
    with fits.open(io.BytesIO(gzip.decompress(content)), ignore_missing_simple=True) as hdus:
        return np.asarray(hdus[0].data, np.float32)


def tensors_of(packets: list[bytes]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """What BOOM's ``prepare_triplet`` and the Rust of the documentation make of one object's alerts."""
    triplets, rows = [], []
    for packet in packets:
        record: Any = next(fastavro.reader(io.BytesIO(packet)))
        candidate = record["candidate"]
        stamps = [stamp_of(record[f"cutout{kind}"]["stampData"]) for kind in ("Science", "Template", "Difference")]
        stamps = [np.nan_to_num(stamp, nan=0.0) for stamp in stamps]
        norms = [float(np.sqrt((stamp.astype(np.float64) ** 2).sum())) for stamp in stamps]
        triplets.append(np.stack([stamp / norm for stamp, norm in zip(stamps, norms, strict=True)], -1))
        sign = 1.0 if candidate["isdiffpos"] in ("t", "1") else -1.0
        values = [candidate["jd"], candidate["fid"], candidate["magpsf"], candidate["sigmapsf"], sign]
        rows.append([*values, candidate["magzpsci"], *norms])
    rows_NM = np.array(rows)
    rows_NM[:, 0] -= rows_NM[0, 0]
    return np.array(triplets, np.float32), rows_NM.astype(np.float32)


def answer(session: onnxruntime.InferenceSession, packets: list[bytes]) -> NDArray[np.float32]:
    """Probabilities that the file gives to an object's alerts."""
    triplet, metadata = tensors_of(packets)
    (probabilities,) = session.run([boom.OUTPUT], {"triplet": triplet, "metadata": metadata})
    return probabilities


def test_tensors_have_the_shapes_of_the_loader(session: onnxruntime.InferenceSession) -> None:
    """Two float32 inputs of ranks 4 and 2, named as BOOM's own models name theirs, and the outputs."""
    shapes = {one.name: (one.type, len(one.shape)) for one in session.get_inputs()}
    assert shapes == {"triplet": ("tensor(float)", 4), "metadata": ("tensor(float)", 2)}
    assert session.get_inputs()[0].shape[1:] == [63, 63, 3]
    assert session.get_inputs()[1].shape[1:] == [len(boom.METADATA)]
    assert [one.name for one in session.get_outputs()] == ["probs", "unknown"]


def test_probabilities_are_the_networks(session: onnxruntime.InferenceSession, packets: list[bytes]) -> None:
    """For one alert and for a series the file says what the network says of the same frames without their past."""
    vigil = Predictor.load("ztf")
    assert len(packets) > 3
    for count in (1, 2, len(packets)):
        series, _ = series_of(packets[:count], vigil)
        expected = vigil.predict([series], [NO_HISTORY]).probabilities[0]
        np.testing.assert_allclose(answer(session, packets[:count])[0], expected, atol=2e-3)


def test_a_series_is_more_than_its_last_alert(session: onnxruntime.InferenceSession, packets: list[bytes]) -> None:
    """As a series grows, its alerts together give another answer than the last one alone."""
    assert answer(session, packets).shape == answer(session, packets[-1:]).shape == (1, 4)
    changes = [
        np.abs(answer(session, packets[:count]) - answer(session, packets[count - 1 : count])).max()
        for count in range(2, len(packets) + 1)
    ]
    assert max(changes) > 0.01
    assert min(changes) > 1e-3  # one engine answers twice: rounding is 1e-6


def test_metadata_says_how_to_feed_it(session: onnxruntime.InferenceSession) -> None:
    """Columns, order of classes, normalisation, calibration and version are in the file."""
    notes = session.get_modelmeta().custom_metadata_map
    assert json.loads(notes["classes"]) == ["AGN", "SNIa", "Variable", "SNOther"]
    assert tuple(json.loads(notes["metadata_columns"])) == boom.METADATA
    assert "Euclidean norm" in notes["normalisation"]
    assert json.loads(notes["calibration"])["inside"] is True
    assert notes["layout"] == "boom"
    assert notes["model_version"].startswith("ztf-")


def test_weights_of_another_survey_are_refused(tmp_path: Path) -> None:
    """LSST's weights read stamps that BOOM does not give in this layout."""
    with pytest.raises(ConfigurationError, match="of lsst"):
        boom.export("lsst", tmp_path / "x.onnx")

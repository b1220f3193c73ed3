"""What packets of both skies are compared in: kinds told from the packet, registration measured on stamps by hand."""

import json

import numpy as np
import pytest

from benchmarks.real_ztf.ablations import ABLATIONS
from benchmarks.real_ztf.simulated import answered, with_intervals
from benchmarks.real_ztf.skies import compared, registration, row_of
from model.data.dataset import Dataset
from model.networks.vigil import Vigil
from model.serving.predictor import untrained
from model.simulation.cli import main as simulate
from model.simulation.datasets.plan import CLASSES, load_recipe

OWN = {"jd": 2460236.0, "fid": 1, "magpsf": 18.0, "isdiffpos": "t", "magnr": 17.0, "jdstarthist": 2460206.0}
CATALOGUE = {"distpsnr1": 0.2, "sgscore1": 0.9, "ndethist": 12, "neargaia": 0.3, "ssdistnr": -999.0}
POLE = {"ra": 192.86, "dec": 27.13}


def packet(**changes):
    """A record with one earlier detection in r, an hour before."""
    past = [{"jd": 2460235.96, "fid": 2, "magpsf": 17.5, "isdiffpos": "t"}]
    return {"objectId": "ZTF18abc", "candidate": OWN | CATALOGUE | POLE | changes, "prv_candidates": past}


def star(off_px: float, light: float) -> np.ndarray:
    """A round source, ``off_px`` to the right of the middle of a stamp."""
    y, x = np.indices((24, 24)) - 12.0
    return light * np.exp(-((x - off_px) ** 2 + y**2) / 4)


@pytest.mark.parametrize(
    ("changes", "kind"), [({}, "star"), ({"sgscore1": 0.1}, "nucleus"), ({"distpsnr1": 3.0}, "transient")]
)
def test_a_packet_tells_what_its_object_is_like(changes, kind):
    """Kind, age, colour and brightness above the reference source follow from the fields of the packet."""
    row = row_of(packet(**changes), None)
    assert row is not None and row.kind == kind
    assert row.values["age, days"] == 30.0 and row.values["g - r"] == pytest.approx(0.5)
    assert row.values["change / reference source"] == pytest.approx(10**-0.4)


def test_bodies_and_single_detections_are_not_compared():
    """What moves, what was seen once, and what has no catalogue are left out."""
    for changes in ({"ssdistnr": 1.0}, {"ndethist": 1}, {"distpsnr1": -999.0}):
        assert row_of(packet(**changes), None) is None


@pytest.mark.parametrize(("off_px", "sense"), [(0.0, 1), (0.5, 1), (0.5, -1)])
def test_registration_is_the_distance_between_star_and_change(off_px, sense):
    """Half a pixel between the template's light and the difference's is half an arcsecond, in either sense."""
    template = star(0.0, 1e4) + np.random.default_rng(0).standard_normal((24, 24))
    answers = registration(np.stack([template, template, sense * star(off_px, 500.0)]))
    assert answers["difference off the star, arcsec"] == pytest.approx(1.01 * off_px, abs=0.1)
    assert answers["hole beside it / its peak"] < 0.1
    assert registration(np.stack([template, 0 * template + 1, template])) == {}


def test_the_same_sky_is_no_distance_from_itself():
    """Two samples of the same rows have the same quantiles; too few are not compared."""
    rows = [row_of(packet(magpsf=17 + 0.1 * i), None) for i in range(10)]
    table = compared(rows, rows)
    assert table["star"]["lines"]["change, mag"]["ks"] == 0 and table["star"]["real"] == 10
    assert table["star off the plane"]["real"] == 10 and table["star in the plane"]["real"] == 0
    assert table["nucleus"] == {"real": 0, "simulated": 0, "lines": {}}


@pytest.mark.slow
def test_every_ablation_changes_the_answers_of_a_network(tmp_path):
    """Each takes something away that the network reads; against itself the whole network gains nothing."""
    groups = [{"split": "test", "labels": "spectroscopic", "counts": dict.fromkeys(CLASSES, 3)}]
    (tmp_path / "few.json").write_text(json.dumps(dict(load_recipe("smoke").source) | {"groups": groups}))
    recipe = f"--recipe {tmp_path}/few.json --seed 1 --workers 1"
    assert simulate(f"dataset --survey ztf {recipe} --out {tmp_path}/set".split()) == 0
    dataset = Dataset.open(tmp_path / "set")
    size = {"size": dataset.size_px, "history_limit": 96, "curve_shape": True, "stamp_shape_px": 1.0}
    answers = {}
    for ablation in ABLATIONS:
        network, card = untrained("ztf", "vigil", 1, **size)
        assert isinstance(network, Vigil)
        for layer in (network.series_encoder.shape.layers[-1], network.frame_encoder.from_shape):
            layer.weight.data.normal_(generator=None)
        ablation.silence(network.eval())
        answers[ablation.name] = answered(network, card, dataset, 1, changed=ablation.changed)
    whole = answers.pop("whole network")
    assert len(answers) == 8 and all(np.abs(one.p_NK - whole.p_NK).max() > 1e-4 for one in answers.values())
    assert all(of["value"] == 0 for of in with_intervals(whole, whole).values())

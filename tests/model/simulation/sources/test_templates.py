"""Supernovae from a folder of spectral templates."""

import io
import json
import shutil
import tarfile

import numpy as np
import pyarrow.parquet as pq
import pytest

from model.data.dataset import Dataset
from model.simulation.cli import main
from model.simulation.datasets.plan import load_recipe
from model.simulation.sky.population import draw_object, redraw
from model.simulation.sky_records import SkySettings
from model.simulation.sources import Circumstances
from model.simulation.sources.spectral import draw_spectral
from model.simulation.sources.templates import PASSBANDS, TemplatesError, hash_of_templates, load_templates
from model.simulation.surveys import LSST, SDSS, ZTF, ab_mag


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Grey templates that rise for 20 days and fade: enough to know what should come out."""
    folder = tmp_path_factory.mktemp("templates")
    (folder / "sako").mkdir()
    grid = [(phase, wave) for phase in range(-19, 81) for wave in range(1000, 15000, 100)]
    rows = [(phase, wave, 10 ** (-0.4 * abs(phase) / 20) * 1e8 / wave**2) for phase, wave in grid]
    for name in ("000018", "002000", "013195"):
        np.savetxt(folder / "sako" / f"S11_SDSS-{name}.SED", rows)
    with tarfile.open(folder / "salt3-k21.tar.gz", "w:gz") as tar:
        for component, factor in ((0, 1.0), (1, 0.01)):
            text = io.StringIO()
            np.savetxt(text, [(p, w, factor * f) for p, w, f in rows if p <= 50])
            data = text.getvalue().encode()
            member = tarfile.TarInfo(f"salt3-k21/salt3_template_{component}.dat")
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    for survey, names in PASSBANDS.items():
        facts = {"sdss": SDSS, "ztf": ZTF, "lsst": LSST}[survey]
        for band, name in names.items():
            path = folder / "bandpasses" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            pivot = facts.pivot_angstrom_B["ugrizy".index(band)]
            wave = np.linspace(0.9 * pivot, 1.1 * pivot, 60)
            np.savetxt(path, np.stack([wave / (10 if survey == "lsst" else 1), np.ones(60)], 1))
    return folder


def test_a_flat_spectrum_has_no_colour(folder):
    """A template of constant F_nu without dust is equally bright in all bands, at any redshift, in any survey."""
    source = draw_spectral(np.random.default_rng(1), Circumstances(90.0, 0.1), "Ib", load_templates(folder))
    source = type(source)(**{name: getattr(source, name) for name in source.__slots__} | {"reddening": (0.0, 0.0)})
    for survey in (SDSS, ZTF, LSST):
        mags = [ab_mag(source.flux(np.array([source.peak_day]), np.array([b]), survey))[0] for b in survey.band_indices]
        assert np.ptp(mags) < 0.02


@pytest.mark.parametrize("label", ["SNIa", "SNOther"])
def test_an_object_from_templates_is_remade_and_redrawn(folder, label):
    """Objects say that spectra were used, repeat by seed and can be put under another survey."""
    for object_id in range(6):
        obj = draw_object(SkySettings(survey=SDSS, seed=3, templates=folder), label, object_id)
        again = draw_object(SkySettings(survey=SDSS, seed=3, templates=folder), label, object_id)
        np.testing.assert_array_equal(obj.flux_T, again.flux_T)
        assert (obj.truth.get("spectral_template") == 1) == (obj.truth["subtype"] != "IIn")
        assert redraw(obj, LSST, folder).truth["redshift"] == obj.truth["redshift"]


def test_the_real_templates_give_type_ia_like_the_shipped_table(shared_data):
    """With the real spectra a type Ia at z = 0.1 peaks within 0.25 mag of the built-in one in g, r and i."""
    folder = shared_data / "science" / "templates"
    if not folder.is_dir():
        pytest.skip(f"no templates at {folder}")
    from model.simulation.sources.snia import draw_snia

    seen = Circumstances(90.0, 0.1)
    built_in = draw_snia(np.random.default_rng(5), seen)
    spectral = draw_spectral(np.random.default_rng(5), seen, "Ia", load_templates(folder))
    for band in (1, 2, 3):
        peaks = [s.flux(np.array([s.peak_day]), np.array([band]), SDSS)[0] for s in (built_in, spectral)]
        assert ab_mag(peaks[0]) == pytest.approx(ab_mag(peaks[1]), abs=0.25)


def test_an_empty_folder_is_refused(tmp_path):
    """The error says which part is missing."""
    with pytest.raises(TemplatesError, match=r"holds no sako"):
        draw_object(SkySettings(survey=SDSS, seed=1, templates=tmp_path), "SNIa", 1)
    with pytest.raises(TemplatesError, match=r"no templates folder"):
        load_templates(tmp_path / "none")


@pytest.mark.parametrize(
    ("part", "content", "message"),
    [
        ("sako/S11_SDSS-000018.SED", b"\xff\xfe", "no table of numbers"),
        ("sako/S11_SDSS-000018.SED", b"1 2 3\n4 5 6\n", "one for each phase and wavelength"),
        ("bandpasses/ztf/P48_g.dat", b"", "no table of 2 columns"),
        ("salt3-k21.tar.gz", b"not a tar", "cannot be read"),
    ],
)
def test_a_damaged_part_is_refused(folder, tmp_path, part, content, message):
    """The error names the file that cannot be used."""
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    (copy / part).write_bytes(content)
    with pytest.raises(TemplatesError, match=message) as error:
        load_templates(copy)
    assert part in str(error.value)


def test_a_data_set_says_which_templates_it_was_drawn_from(folder, tmp_path):
    """The command draws from them, their hash is in the manifest, and it changes with any of their files."""
    table = dict(load_recipe("smoke").source)
    table["groups"] = [{"split": "all", "labels": "spectroscopic", "counts": {"SNIa": 2}}]
    (tmp_path / "recipe.json").write_text(json.dumps(table))
    arguments = (
        f"dataset --survey sdss --recipe {tmp_path}/recipe.json --seed 1 --size 9 --workers 1 --out {tmp_path}/set"
    )
    assert main([*arguments.split(), "--templates", str(folder)]) == 0
    dataset = Dataset.open(tmp_path / "set")
    assert dataset.manifest["recipe"]["templates"] == hash_of_templates(folder)
    assert dataset.truth()["spectral_template"].to_pylist() == [1, 1]
    arguments = f"alerts --survey ztf --objects 12 --workers 1 --templates {folder} --out {tmp_path}/night"
    assert main(arguments.split()) == 0
    truth = pq.read_table(tmp_path / "night/truth.parquet")
    assert 1 in truth["spectral_template"].to_pylist()
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    assert hash_of_templates(copy) == hash_of_templates(folder)
    passband = copy / "bandpasses/ztf/P48_g.dat"
    passband.write_text(passband.read_text() + "9999 0\n")
    assert hash_of_templates(copy) != hash_of_templates(folder)

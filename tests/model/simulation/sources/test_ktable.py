"""The shipped table of type Ia supernovae."""

import numpy as np
import pytest

from model.simulation.sources.ktable import load_ktable
from model.simulation.surveys import LSST, SDSS


def test_at_redshift_zero_the_table_is_bright_in_g_at_peak():
    """Near B maximum g is close to the B peak by construction, and u fades fastest."""
    table = load_ktable()
    at_zero = table.at(SDSS, 0.0)
    peak = int(np.flatnonzero(table.phase_P == 0)[0])
    assert abs(at_zero[1, peak]) < 0.2
    later = int(np.flatnonzero(table.phase_P == 20)[0])
    fading = at_zero[:5, later] - at_zero[:5, peak]
    assert fading[0] == fading.max()
    assert np.isnan(at_zero[5]).all()


def test_interpolation_meets_the_table_at_its_own_redshifts():
    """At a redshift of the table the interpolated values are its own; beyond its end they stay."""
    table = load_ktable()
    row = table.row["lsst_y"]
    np.testing.assert_allclose(table.at(LSST, 0.5)[5], table.mag_RZP[row, 20], atol=1e-5)
    np.testing.assert_allclose(table.at(LSST, 3.0)[5], table.at(LSST, 1.2)[5], rtol=1e-12)


def test_the_table_agrees_with_the_independent_one(shared_data):
    """Made from other versions of the same public data, the table differs by less than 0.05 mag almost everywhere."""
    path = shared_data / "science" / "snia_ktable.npz"
    if not path.is_file():
        pytest.skip(f"no {path.name} among the shared data")
    ours = load_ktable()
    with np.load(path, allow_pickle=False) as theirs:
        rows = [ours.row[str(name)] for name in theirs["bands"]]
        difference = ours.mag_RZP[rows][:, :41, 2:] - theirs["mag"][:, :41, 2:]
    assert np.percentile(np.abs(difference), 99) < 0.05
    assert np.abs(difference).max() < 0.12


def test_the_script_makes_the_shipped_table():
    """Running the maker again gives the table that is shipped."""
    pytest.importorskip("sncosmo", reason="the table's maker needs the templates extra: sncosmo")
    pytest.importorskip("speclite", reason="the table's maker needs the templates extra: speclite")
    pytest.importorskip("pyphot", reason="the table's maker needs the templates extra: pyphot")
    import warnings

    from model.simulation.sources import make_ktable

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        table = make_ktable.make_table()
    np.testing.assert_allclose(table["mag"], load_ktable().mag_RZP, atol=1e-3)

"""Dust of the Milky Way by latitude, and the colours that it leaves."""

import numpy as np
import pytest

from model.simulation.sky.dust import SFD
from model.simulation.sky.measure_dust import ring_centres
from model.simulation.sky.population import draw_object
from model.simulation.sky_records import SkySettings
from model.simulation.surveys import SDSS, ZTF


def test_dust_falls_with_latitude_and_scatters_about_the_map():
    """Medians of the map at both signs of the latitude; more dust for a larger deviate."""
    assert SFD.at(35.0, 0.0) == pytest.approx(0.059)
    assert SFD.at(-12.6, 0.0) == pytest.approx(0.220)
    assert SFD.at(10.0, 0.0) > SFD.at(30.0, 0.0) > SFD.at(80.0, 0.0)
    assert SFD.at(35.0, 1.0) > SFD.at(35.0, 0.0) > SFD.at(35.0, -1.0) > 0


def test_simulated_ztf_supernovae_are_behind_the_map_and_sdss_ones_behind_stripe_82():
    """E(B-V) of drawn supernovae varies by more than a factor of ten in ZTF."""
    ebv = [draw_object(SkySettings(survey=ZTF, seed=3), "SNIa", i).truth["ebv_mag"] for i in range(40)]
    assert 0.03 < np.median(ebv) < 0.08
    assert max(ebv) / min(ebv) > 10
    assert draw_object(SkySettings(survey=SDSS, seed=3), "SNIa", 0).truth["ebv_mag"] < 0.2


def test_the_centres_of_a_healpix_sphere_cover_it_evenly():
    """As many pixels in every twelfth of the sphere; the known centres of the twelve largest."""
    longitude, latitude = ring_centres(1)
    np.testing.assert_allclose(np.sin(latitude), np.repeat([2 / 3, 0, -2 / 3], 4), atol=1e-12)
    np.testing.assert_allclose(longitude[:4], np.pi / 4 * np.array([1, 3, 5, 7]))
    longitude, latitude = ring_centres(16)
    assert np.sin(latitude).mean() == pytest.approx(0, abs=1e-12)
    assert np.cos(longitude).mean() == pytest.approx(0, abs=1e-12)
    assert (np.sin(latitude) ** 2).mean() == pytest.approx(1 / 3, abs=1e-3)

"""Sums of Gaussians stand for Sersic profiles."""

import numpy as np
import pytest

from model.simulation.images import sersic


@pytest.mark.parametrize(("index", "error"), [(0.5, 0.001), (1.0, 0.002), (2.0, 0.015), (4.0, 0.03), (6.0, 0.07)])
def test_the_curve_of_growth_is_that_of_the_profile(index, error):
    """The flux within any radius is the exact profile's, to a stated error that grows with the index."""
    flux, variance = sersic.gaussians(index)
    radius = np.geomspace(0.05, 8, 60)
    grown = (flux * (1 - np.exp(-(radius[:, None] ** 2) / 2 / variance))).sum(1)
    assert np.abs(grown - sersic.enclosed_flux(radius, index)).max() < error


def test_flux_is_one():
    """The Gaussians' fluxes are not negative and sum to one."""
    for index in np.arange(0.5, 8.1, 0.5):
        flux, _ = sersic.gaussians(float(index))
        assert (flux >= 0).all()
        assert flux.sum() == pytest.approx(1)


def test_half_the_light_of_a_disc_is_within_its_half_light_radius():
    """Half the flux of an exponential disc lies within radius 1."""
    assert sersic.enclosed_flux(np.array(1.0), 1.0) == pytest.approx(0.5, abs=1e-3)


@pytest.mark.parametrize("index", [0.1, 9.0, float("nan")])
def test_impossible_indices_are_refused(index):
    """An index outside 0.3 to 8 is an error that states the limits."""
    with pytest.raises(ValueError, match=r"0\.3 to 8"):
        sersic.gaussians(index)

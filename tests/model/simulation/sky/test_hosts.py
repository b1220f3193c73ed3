"""Hosts and neighbours."""

import numpy as np
import pytest

from model.simulation.sky import hosts
from model.simulation.sky.intrinsic import IntrinsicObject
from model.simulation.sky.scenes import place
from model.simulation.sources import Circumstances
from model.simulation.sources.snia import draw_snia
from model.simulation.sources.spectra import kpc_per_arcsec
from model.simulation.surveys import SDSS, ZTF, ab_mag


@pytest.fixture
def rng():
    return np.random.default_rng(4)


@pytest.mark.parametrize("population", sorted(hosts.load_populations()))
def test_a_population_has_the_quantiles_of_its_class(rng, population):
    """Drawn r magnitudes and offsets have the quartiles that the shipped statistics say, a redshift where known."""
    statistics = hosts.load_populations()[population]
    drawn = [hosts.draw_entry(rng, population) for _ in range(1500)]
    for column, values in ((0, [e.mag_B[2] for e in drawn]), (5, np.log10([e.offset_arcsec for e in drawn]))):
        expected = np.interp((25, 50, 75), statistics.percentile_Q, statistics.quantile_DQ[column])
        spread = expected[2] - expected[0]
        np.testing.assert_allclose(np.percentile(values, (25, 50, 75)), expected, atol=0.15 * spread)
    assert np.mean([e.matched for e in drawn]) == pytest.approx(statistics.host_fraction, abs=0.04)
    known = np.isfinite([e.redshift for e in drawn])
    assert known.all() == (len(statistics.quantile_DQ) == 7)


def test_brighter_hosts_of_type_ia_are_nearer(rng):
    """The joint draw keeps the dependence of magnitude on redshift."""
    drawn = [hosts.draw_entry(rng, "SNIa_spec") for _ in range(600)]
    r, z = np.array([e.mag_B[2] for e in drawn]), np.array([e.redshift for e in drawn])
    assert np.corrcoef(r, z)[0, 1] > 0.35


def test_a_galaxy_keeps_the_flux_of_its_entry_and_reaches_its_transient(rng):
    """Total flux is that of the catalogue; the transient lies within four half-light radii."""
    entry = hosts.draw_entry(rng, "SNIa_spec")
    galaxy = hosts.draw_galaxy(rng, entry, 0.1, 6.0, 8.0)
    np.testing.assert_allclose(ab_mag(galaxy.flux_B), entry.mag_B, atol=1e-4)
    assert 4 * galaxy.half_light_arcsec >= 10.0
    assert 0.2 <= galaxy.axis_ratio <= 1
    assert galaxy.sersic_index in (1.0, 4.0)


def test_massive_galaxies_are_a_few_kiloparsec_large(rng):
    """Half-light radii at 10^10.5 solar masses are near 3 to 5 kpc, whatever the redshift."""
    for redshift in (0.05, 0.3):
        radii = [hosts.half_light_arcsec(rng, 10.5, redshift, False) for _ in range(400)]
        assert 2.5 < np.median(radii) * kpc_per_arcsec(redshift) < 5.5


def test_hosts_by_volume_fade_with_distance(rng):
    """A host of the same kind is 3 to 4 mag fainter at z = 0.3 than at z = 0.07."""
    near, far = (np.median([hosts.entry_at(rng, z, "Ia").mag_B[2] for _ in range(400)]) for z in (0.07, 0.3))
    assert 3.0 < far - near < 4.5


def test_a_host_drawn_by_its_mass_is_turned_so_that_its_transient_is_where_it_was_drawn(rng):
    """Supernovae follow their host's light: half of them lie within its half-light ellipse, thin discs included."""
    source, inside = draw_snia(rng, Circumstances(90.0, 0.02)), []
    for _ in range(400):
        entry = hosts.entry_at(rng, 0.02, "CC")
        scene, _ = place(rng, IntrinsicObject("SNIa", "SN", entry, 0.02, source, entry.mag_B), ZTF, 45.0)
        host = scene.galaxies[0]
        cos, sin = np.cos(host.position_angle_rad), np.sin(host.position_angle_rad)
        along, across = -host.x_arcsec * cos - host.y_arcsec * sin, host.x_arcsec * sin - host.y_arcsec * cos
        inside.append(np.hypot(along, across / host.axis_ratio) <= host.half_light_arcsec)
    assert np.mean(inside) == pytest.approx(0.5, abs=0.08)


def test_stars_crowd_towards_the_plane_of_the_milky_way(rng):
    """A stamp of ZTF holds many times more stars near the plane than at the pole; Stripe 82 is what it is."""
    at = {b: np.mean([len(hosts.draw_neighbours(rng, ZTF, b)[1]) for _ in range(60)]) for b in (90.0, -10.0, 1.0)}
    assert 5 * at[90.0] < at[-10.0] < at[1.0]
    poles = [len(hosts.draw_neighbours(rng, SDSS, b)[1]) for b in (1.0, 90.0) for _ in range(40)]
    assert np.mean(poles) == pytest.approx(hosts.STARS_PER_STAMP, abs=0.2)


def test_neighbours_scale_with_the_area_and_stay_in_the_stamp(rng):
    """A ZTF stamp has six times the area of an SDSS stamp, and as many more galaxies."""
    counts = {}
    for survey in (SDSS, ZTF):
        drawn = [hosts.draw_neighbours(rng, survey, 45.0) for _ in range(300)]
        counts[survey.name] = np.mean([len(galaxies) for galaxies, _ in drawn])
        reach = max(abs(g.x_arcsec) for galaxies, _ in drawn for g in galaxies)
        assert reach <= survey.stamp_arcsec / 2
    assert counts["sdss"] == pytest.approx(0.5, abs=0.12)
    assert counts["ztf"] / counts["sdss"] == pytest.approx((63.63 / 25.344) ** 2, rel=0.3)


def test_a_host_lies_at_the_catalogues_distance_from_the_measured_centre(rng):
    """The separation is counted from the stamp's centre, which is off the true position by the centroid error."""
    entry = hosts.draw_entry(rng, "SNIa_spec")
    drawn = IntrinsicObject("SNIa", "SN", entry, 0.1, draw_snia(rng, Circumstances(90.0, 0.1)), entry.mag_B)
    errors = []
    for _ in range(200):
        scene, centre = place(rng, drawn, SDSS, 45.0)
        host = scene.galaxies[0]
        separation = np.hypot(host.x_arcsec - centre[0], host.y_arcsec - centre[1])
        assert separation == pytest.approx(entry.offset_arcsec, rel=1e-5)
        errors.append(np.hypot(*centre))
    assert np.median(errors) == pytest.approx(hosts.CENTROID_ERROR_ARCSEC * 1.177, rel=0.2)

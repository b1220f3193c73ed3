"""Places of stars in the Milky Way, and the dust in front of them."""

import erfa
import numpy as np
import pytest

from model.simulation.sky.disc import DISC, DUST_R, column_mag
from model.simulation.sky.dust import SFD
from model.simulation.sky.population import draw_sample
from model.simulation.sky_records import SkySettings
from model.simulation.surveys import ZTF, ab_mag


def median_latitude_deg(subtype: str, r_mag: float) -> float:
    rng = np.random.default_rng(5)
    return float(np.median([DISC[subtype].draw_latitude_deg(rng, r_mag) for _ in range(400)]))


@pytest.mark.parametrize("subtype", sorted(DISC))
@pytest.mark.parametrize("latitude_deg", [0.5, 5.0, 20.0, 80.0])
def test_a_star_is_as_far_as_its_light_and_its_dust_say(subtype: str, latitude_deg: float) -> None:
    """Absolute magnitude, distance and extinction give the apparent magnitude; no star has more dust than its line."""
    populace, r_mag = DISC[subtype], 16.0
    distance_kpc = populace.distance_kpc(r_mag, latitude_deg, 0.0)
    reddening_mag = populace.reddening_mag(r_mag, latitude_deg, 0.0)
    assert 0 < reddening_mag <= column_mag(latitude_deg, 0.0)
    if distance_kpc < populace.farthest_kpc:
        seen_mag = populace.absolute_mag + 10 + 5 * np.log10(distance_kpc) + DUST_R * reddening_mag
        assert seen_mag == pytest.approx(r_mag, abs=0.2)


def test_dust_in_the_plane_dims_a_visual_magnitude_and_a_half_a_kiloparsec() -> None:
    """Columns are the map's where it has some, and grow towards the plane; the faint giant is behind more of it."""
    assert column_mag(30.0, 1.0) == SFD.at(30.0, 1.0)
    assert column_mag(2.0, 0.0) > 3 * column_mag(8.4, 0.0)
    near = DISC["EB"]
    per_kpc = 3.1 * near.reddening_mag(15.0, 0.1, 0.0) / near.distance_kpc(15.0, 0.1, 0.0)
    assert per_kpc == pytest.approx(1.4, abs=0.1)
    assert DISC["LPV"].reddening_mag(17.0, 1.0, 0.0) > 2 * near.reddening_mag(17.0, 1.0, 0.0)


def test_young_and_far_stars_hug_the_plane_and_dust_hides_the_halo_there() -> None:
    """Cepheids and giants lie nearest to the plane, near dwarfs farther; RR Lyrae stars anywhere but in it."""
    assert median_latitude_deg("Cepheid", 15.0) < 2.5
    assert median_latitude_deg("LPV", 16.5) < 6
    assert 6 < median_latitude_deg("EB", 17.0) < median_latitude_deg("EB", 14.0)
    rng = np.random.default_rng(2)
    halo = [DISC["RRab"].draw_latitude_deg(rng, 17.0) for _ in range(400)]
    assert np.mean(np.array(halo) < 5) < 0.02
    assert np.median(halo) > 30


def test_stars_in_the_plane_are_red() -> None:
    """Variables of ZTF are half a magnitude redder below 8 degrees of latitude than above 20, as dust makes them."""
    colour: dict[bool, list[float]] = {True: [], False: []}
    for obj in draw_sample(SkySettings(survey=ZTF, seed=3), {"Variable": 120}):
        _, latitude = erfa.icrs2g(*np.radians((obj.truth["ra_deg"], obj.truth["dec_deg"])))
        g_mag, r_mag = (float(ab_mag(obj.reference_flux_B[band])) for band in (1, 2))
        if obj.truth["subtype"] in ("Rotator", "LPV"):  # whose catalogue magnitudes are those of the reference
            assert obj.truth["host_g_mag"] - obj.truth["host_r_mag"] == pytest.approx(g_mag - r_mag, abs=0.5)
        if not 8 <= abs(np.degrees(latitude)) <= 20:
            colour[abs(np.degrees(latitude)) < 8].append(g_mag - r_mag)
    assert np.median(colour[True]) > np.median(colour[False]) + 0.5

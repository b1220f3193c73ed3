"""Positions on the sky."""

import erfa
import numpy as np
import pytest

from model.simulation.sky.hosts import HostEntry
from model.simulation.sky.intrinsic import IntrinsicObject
from model.simulation.sky.population import draw_sample
from model.simulation.sky.positions import DECLINATION_DEG, PLANE_OF_DUST_DEG, Position, draw_position
from model.simulation.sky_records import SkySettings
from model.simulation.sources.stars import Pulsator
from model.simulation.surveys import LSST, SDSS, ZTF, Survey


def star(subtype: str, mag: float) -> IntrinsicObject:
    mag_B = np.full(6, mag)
    source = Pulsator(subtype, mag_B, 0.5, 0.0, np.full(6, 0.5), np.zeros((6, 4)))
    return IntrinsicObject("Variable", "Star", HostEntry(True, mag_B, 0.1, 0.0), 0.0, source, None)


def positions(drawn: IntrinsicObject, survey: Survey, mode: str = "physical", count: int = 400) -> list[Position]:
    rng = np.random.default_rng(5)
    return [draw_position(rng, drawn, survey, mode) for _ in range(count)]


def median_latitude_deg(places: list[Position]) -> float:
    return float(np.median([abs(position.latitude_deg) for position in places]))


@pytest.mark.parametrize("survey", [SDSS, ZTF, LSST], ids=lambda survey: survey.name)
def test_a_position_is_on_the_surveys_sky_and_its_latitude_is_that_of_the_same_place(survey: Survey) -> None:
    """Declinations stay within the survey; the Galactic latitude follows from right ascension and declination."""
    low, high = DECLINATION_DEG[survey.name]
    for position in positions(star("EW", 17.0), survey, count=50):
        assert 0 <= position.ra_deg < 360
        assert low <= position.dec_deg <= high
        _, latitude = erfa.icrs2g(*np.radians((position.ra_deg, position.dec_deg)))
        assert np.degrees(latitude) == pytest.approx(position.latitude_deg, abs=1e-6)


def test_young_and_far_stars_hug_the_plane() -> None:
    """Cepheids lie nearer to the plane than eclipsing stars, faint ones than bright ones; RR Lyrae stars anywhere."""
    median = {
        (subtype, mag): median_latitude_deg(positions(star(subtype, mag), ZTF))
        for subtype, mag in (("Cepheid", 16.0), ("EW", 18.0), ("EW", 14.0), ("RRab", 17.0))
    }
    assert median["Cepheid", 16.0] < 1.5
    assert median["Cepheid", 16.0] < median["EW", 18.0] < 8 < median["EW", 14.0] < median["RRab", 17.0]


def test_galaxies_are_not_seen_through_the_plane() -> None:
    """Supernovae and nuclei keep away from the plane; so does everything where classes differ in changes only."""
    objects = draw_sample(SkySettings(survey=ZTF, seed=3), {"SNIa": 15, "AGN": 15})
    for obj in objects:
        _, latitude = erfa.icrs2g(*np.radians((obj.truth["ra_deg"], obj.truth["dec_deg"])))
        assert abs(np.degrees(latitude)) >= PLANE_OF_DUST_DEG
    places = positions(star("Cepheid", 16.0), ZTF, mode="deconfounded")
    assert min(abs(position.latitude_deg) for position in places) >= PLANE_OF_DUST_DEG

"""Variable stars of a survey that looks through the Milky Way."""

import numpy as np
import pytest

from model.simulation.sky.labels import elasticc_code
from model.simulation.sky.population import draw_object, redraw
from model.simulation.sky_records import SkySettings
from model.simulation.sources import TEMPLATE_DAYS
from model.simulation.sources.galactic import (
    DRAW,
    ERUPTIVE,
    ERUPTIVE_SHARE,
    KINDS,
    SHARE,
    SHARE_OF_ERUPTIVE,
    SHARE_WITH_GAIA,
    draw_galactic,
)
from model.simulation.sources.irregular import Irregular, wander
from model.simulation.sources.outbursts import draw_dwarf_nova, draw_nova
from model.simulation.surveys import LSST, ZTF, ab_mag
from model.taxonomy import load_taxonomy

R = 2
LARGEST_CHANGE_MAG = {"DwarfNova": 9.5, "Nova": 14}


@pytest.mark.parametrize("subtype", sorted(DRAW))
def test_every_kind_shines_at_all_times(subtype):
    """Fluxes are finite and positive, also in the template's years, and change by less than they can."""
    days = np.r_[TEMPLATE_DAYS, np.linspace(0, 365, 300)]
    for seed in range(20):
        star = DRAW[subtype](np.random.default_rng(seed), np.full(6, 17.0), 365.0)
        flux_T = star.flux(days, np.full(len(days), R), ZTF)
        assert np.isfinite(flux_T).all() and (flux_T > 0).all()
        asleep = subtype == "DwarfNova"  # some do not erupt in a year
        assert (0 if asleep else 1e-9) <= np.ptp(ab_mag(flux_T)) < LARGEST_CHANGE_MAG.get(subtype, 8)


def test_contact_binaries_lead_and_what_is_held_out_is_not_drawn():
    """The mix is the catalogue's, with a share of stars that erupt; microlensing is no part of it."""
    assert sum(SHARE) == pytest.approx(1)
    assert sum(SHARE_OF_ERUPTIVE) == pytest.approx(1)
    assert max(KINDS, key=lambda name: KINDS[name].count) == "EW"
    drawn = {draw_object(SkySettings(survey=ZTF, seed=5), "Variable", i).truth["subtype"] for i in range(25)}
    assert {"EB", "LPV"} <= drawn
    rng = np.random.default_rng(0)
    subtypes = [draw_galactic(rng, 365.0, ZTF).subtype for _ in range(600)]
    assert np.isin(subtypes, list(ERUPTIVE)).mean() == pytest.approx(ERUPTIVE_SHARE, abs=0.04)
    assert "uLens" not in subtypes


def test_giants_of_ztf_are_as_many_as_gaia_counts():
    """A quarter of ZTF's quiet kinds are semi-regular, twice their share of a catalogue of known periods."""
    giants = list(KINDS).index("SemiRegular")
    assert sum(SHARE_WITH_GAIA) == pytest.approx(1)
    assert SHARE_WITH_GAIA[giants] == pytest.approx(0.28, abs=0.02)
    assert SHARE[giants] == pytest.approx(0.15, abs=0.01)


def test_an_outburst_is_bluer_than_its_star_and_over_within_weeks():
    """A dwarf nova rises within two days by magnitudes, and is back before the next; a nova has no star to see."""
    days = np.arange(0.0, 365.0, 0.5)
    for seed in range(10):
        star = draw_dwarf_nova(np.random.default_rng(seed), np.array([21.3, 21.3, 21.0, 20.8, 20.7, 20.6]), 365.0)
        r_T, g_T = (ab_mag(star.flux(days, np.full(len(days), band), ZTF)) for band in (R, 1))
        if np.ptp(r_T) > 2:
            assert (g_T - r_T)[r_T.argmin()] < 0.2
            assert (r_T > 20).mean() > 0.3
    nova = draw_nova(np.random.default_rng(1), np.full(6, 16.0), 365.0)
    assert ab_mag(nova.flux(np.array([-700.0]), np.array([R]), ZTF))[0] > 23
    assert elasticc_code("Nova") == load_taxonomy().codes["Variable"]


def test_kinds_without_a_name_in_the_taxonomy_are_recurring_variables():
    """Rotators, young, Be and symbiotic stars carry the code of the class."""
    for subtype in ("Rotator", "YSO", "Be", "Symbiotic"):
        assert elasticc_code(subtype) == load_taxonomy().codes["Variable"]


def test_lsst_sees_fainter_ones():
    """The same random numbers give the same kinds, three magnitudes fainter; dust that its place will tell is ZTF's."""
    for seed in (1, 2, 3):
        near, far = (draw_galactic(np.random.default_rng(seed), 365.0, survey) for survey in (ZTF, LSST))
        assert near.subtype == far.subtype
        assert far.mag_B[R] - near.mag_B[R] == pytest.approx(3.0)
        assert far.mag_B[1] - far.mag_B[R] >= near.mag_B[1] - near.mag_B[R] - 1e-9


def test_a_walk_has_unit_variance_and_a_longer_window_only_adds_to_it():
    """Whatever the memory; and the generator goes on alike."""
    rngs = np.random.default_rng(2), np.random.default_rng(2)
    short, long = (wander(rng, 10.0, days, 2.0) for rng, days in zip(rngs, (90.0, 730.0), strict=True))
    np.testing.assert_allclose(short, long[: len(short)])
    assert rngs[0].random() == rngs[1].random()
    many = np.concatenate([wander(rngs[0], 10.0, 365.0, 2.0) for _ in range(50)])
    assert many.std() == pytest.approx(1, abs=0.05)


def test_a_dipping_star_fades_farther_than_it_brightens():
    """A positive skew makes faint excursions the larger ones."""
    star = Irregular(
        "YSO", np.full(6, 16.0), np.full(6, 0.2), 0.8, (), 1.0, wander(np.random.default_rng(3), 5, 365, 1), 1
    )
    mag_T = ab_mag(star.flux(np.arange(0.0, 365.0), np.full(365, R), LSST))
    assert mag_T.max() - np.median(mag_T) > 1.5 * (np.median(mag_T) - mag_T.min())


def test_a_star_of_ztf_is_the_same_under_lsst():
    """Redrawn under a survey with a longer window, an irregular star keeps its light curve."""
    sky = SkySettings(survey=ZTF, seed=6)
    walking = ("Rotator", "YSO", "LPV")
    obj = next(o for i in range(60) if (o := draw_object(sky, "Variable", i)).truth["subtype"] in walking)
    twin = redraw(obj, LSST)
    for name in ("subtype", "period_days", "amplitude_g_mag"):
        assert twin.truth[name] == obj.truth[name]

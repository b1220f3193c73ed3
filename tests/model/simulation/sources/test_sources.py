"""Light curves against what is known of them."""

import numpy as np
import pytest

from model.simulation.sources import TEMPLATE_DAYS, Circumstances
from model.simulation.sources.agn import draw_agn
from model.simulation.sources.corecollapse import FRACTION, draw_corecollapse
from model.simulation.sources.snia import SNIa, draw_snia
from model.simulation.sources.spectra import comoving_volume_mpc3, distance_modulus, dust, planck_mag, star_formation
from model.simulation.sources.spurious import draw_asteroid, draw_bogus
from model.simulation.sources.star_tables import COLOUR
from model.simulation.sources.stars import Eruptive, MicroLens, draw_star
from model.simulation.sources.transients import TRANSIENTS, draw_transient
from model.simulation.surveys import LSST, SDSS, SURVEYS, ZTF, ab_mag

G, R, I = 1, 2, 3  # noqa: E741 - names of bands


def curve(source, band, day_T, survey=SDSS):
    return source.flux(day_T, np.full(len(day_T), band), survey)


@pytest.fixture
def rng():
    return np.random.default_rng(20)


def test_distances_dust_and_black_bodies_have_their_known_values():
    """Against published numbers: mu(0.5), A_B/A_V, Rayleigh-Jeans slope, peak of the star-formation history."""
    assert distance_modulus(0.5) == pytest.approx(42.26, abs=0.02)
    assert comoving_volume_mpc3(0.1) == pytest.approx(0.299e9, rel=0.05)
    assert dust(5495.0) == pytest.approx(1.0, abs=0.01)
    assert dust(4400.0) == pytest.approx(1.337, abs=0.02)
    assert planck_mag(np.array([12_400.0]), 1e6)[0] == pytest.approx(5 * np.log10(2), abs=0.02)
    z = np.linspace(0, 5, 200)
    assert z[np.argmax(star_formation(z))] == pytest.approx(1.9, abs=0.2)
    assert star_formation(0.0) == pytest.approx(1.0)


def test_a_mean_type_ia_peaks_where_it_should():
    """At z = 0.1 a mean supernova peaks near r = 19.1 around B maximum, and is 2.7 mag fainter in g after 30 days."""
    source = SNIa("Ia", 0.1, 0.0, 0.0, 0.0, 0.0)
    days = np.arange(-25.0, 80.0, 0.5)
    r_mag = ab_mag(curve(source, R, days))
    assert np.nanmin(r_mag) == pytest.approx(19.1, abs=0.2)
    assert abs(days[np.nanargmin(r_mag)]) < 4
    g = curve(source, G, np.array([0.0, 33.0]))
    assert ab_mag(g[1]) - ab_mag(g[0]) == pytest.approx(2.7, abs=0.4)


def test_a_type_ia_is_dark_before_it_explodes():
    """More than 19 stretched rest-frame days before maximum there is no light."""
    source = SNIa("Ia", 0.1, 50.0, 0.0, 0.0, 0.0)
    assert (curve(source, R, np.linspace(0, 28, 20)) == 0).all()


def test_redder_and_faster_type_ia_are_fainter():
    """Colour dims and reddens; stretch brightens and widens."""
    mean, red, wide = (SNIa("Ia", 0.1, 0.0, x1, c, 0.0) for x1, c in ((0, 0), (0, 0.2), (2, 0)))
    day = np.array([0.0, 15.0])
    assert (curve(red, G, day) < curve(mean, G, day)).all()
    assert ab_mag(curve(red, G, day))[0] - ab_mag(curve(red, R, day))[0] > 0.1 + (
        ab_mag(curve(mean, G, day))[0] - ab_mag(curve(mean, R, day))[0]
    )
    decline = {s: ab_mag(curve(s, G, day))[1] - ab_mag(curve(s, G, day))[0] for s in (mean, wide)}
    assert decline[wide] < decline[mean]


def test_populations_of_type_ia_have_their_means(rng):
    """x1 peaks near 1.1 with a long tail below; c is narrow and near zero."""
    drawn = [draw_snia(rng, Circumstances(90.0, 0.2)) for _ in range(3000)]
    assert np.mean([s.x1 for s in drawn]) == pytest.approx(1.14 - 0.8 * (1.65 - 0.30), abs=0.1)
    assert np.mean([s.c for s in drawn]) == pytest.approx(-0.038 + 0.8 * (0.079 - 0.048), abs=0.01)


@pytest.mark.parametrize("subtype", sorted(FRACTION))
def test_core_collapse_reaches_its_luminosity_and_fades(rng, subtype):
    """Whatever the subtype, the shape's peak is 1 and the light after 300 days is less than a tenth of it."""
    source = draw_corecollapse(rng, Circumstances(90.0, 0.05), subtype)
    tau = np.arange(0.0, 120.0)
    assert source.shape(tau).max() == pytest.approx(1.0)
    assert source.shape(np.array([-1.0]))[0] == 0
    assert source.shape(np.array([300.0]))[0] < (0.1 if subtype != "IIn" else 1.0)


def test_a_plateau_is_flat_in_red_and_reddens(rng):
    """IIP: between 25 and 70 days r changes little; g - r grows from 10 to 50 days."""
    source = draw_corecollapse(rng, Circumstances(90.0, 0.05), "IIP")
    days = source.explosion_day + 1.05 * np.array([10.0, 25.0, 50.0, 70.0])
    r, g = ab_mag(curve(source, R, days)), ab_mag(curve(source, G, days))
    assert abs(r[3] - r[1]) < 1.2
    assert (g - r)[2] - (g - r)[0] > 0.3


def test_bands_of_a_nucleus_vary_together_and_blue_ones_more(rng):
    """Changes in g and i correlate over 0.98, and those in g are larger."""
    ratios, correlations = [], []
    for _ in range(20):
        source = draw_agn(rng, Circumstances(400.0, 1.0, np.full(6, 19.0)))
        days = np.arange(-800.0, 400.0, 5.0)
        g, i = ab_mag(curve(source, G, days)), ab_mag(curve(source, I, days))
        correlations.append(np.corrcoef(g, i)[0, 1])
        ratios.append(g.std() / i.std())
    assert np.median(correlations) > 0.98
    assert np.median(ratios) == pytest.approx((7497 / 4701) ** 0.479, rel=0.1)


def test_the_walk_has_the_variance_and_memory_it_claims(rng):
    """The rms is SF/sqrt(2), and the correlation at one time scale is 1/e."""
    source = draw_agn(rng, Circumstances(90.0, 0.5, np.full(6, 20.0)))
    assert source.structure_function(np.array([4000.0]))[0] > source.structure_function(np.array([8000.0]))[0]
    walks = np.array([_walk(rng) for _ in range(400)])
    assert walks.std() == pytest.approx(1.0, abs=0.08)
    lagged = np.mean(walks[:, :-100] * walks[:, 100:]) / np.mean(walks**2)
    assert lagged == pytest.approx(np.mean(_expected(rng)), abs=0.12)


def _walk(rng):
    return draw_agn(rng, Circumstances(90.0, 0.5, np.full(6, 20.0))).walk_NB[:800, R]


def _expected(rng):
    return [np.exp(-100 / draw_agn(rng, Circumstances(0.0, 0.5, np.full(6, 20.0))).tau_days) for _ in range(400)]


def test_blazars_vary_more_and_faster_and_faint_nuclei_like_the_faintest_that_were_fitted():
    """A blazar has a larger and shorter walk; a limit on luminosity caps the structure function."""
    pairs = [
        [
            draw_agn(np.random.default_rng(i), Circumstances(90.0, 0.05, np.full(6, 18.0)), -22.0, blazar)
            for i in range(60)
        ]
        for blazar in (False, True)
    ]
    assert [{s.subtype for s in sources} for sources in pairs] == [{"QSO"}, {"Blazar"}]
    calm, wild = (np.median([s.truth["sf_infinity_r_mag"] for s in sources]) for sources in pairs)
    assert wild > 1.8 * calm
    assert np.median([s.tau_days for s in pairs[1]]) < np.median([s.tau_days for s in pairs[0]])
    free = np.median(
        [
            draw_agn(np.random.default_rng(i), Circumstances(90.0, 0.05, np.full(6, 18.0))).absolute_i_mag
            for i in range(9)
        ]
    )
    assert free > -20 > -21 > pairs[0][0].absolute_i_mag


def test_a_longer_window_only_adds_to_the_walk():
    """The same nucleus under a survey with a longer window takes the same walk."""
    short, long = (
        draw_agn(np.random.default_rng(3), Circumstances(days, 0.5, np.full(6, 20.0))).walk_NB for days in (90.0, 730.0)
    )
    np.testing.assert_array_equal(short, long[: len(short)])


@pytest.mark.parametrize("subtype", sorted(COLOUR))
def test_every_star_shines_in_every_survey(rng, subtype):
    """Fluxes are finite and positive in all bands of all surveys, also in the template's years."""
    source = draw_star(rng, Circumstances(365.0, mag_B=np.full(6, 18.0)), subtype)
    for survey in SURVEYS.values():
        for band in survey.band_indices:
            flux = curve(source, band, np.r_[TEMPLATE_DAYS, np.linspace(0, 365, 200)], survey)
            assert np.isfinite(flux).all()
            assert (flux > 0).all()


def test_a_periodic_star_repeats(rng):
    """One period later an RR Lyrae and an eclipsing pair have the same flux."""
    for subtype in ("RRab", "RRc", "EB", "Cepheid"):
        source = draw_star(rng, Circumstances(90.0, mag_B=np.full(6, 17.0)), subtype)
        days = np.linspace(0, 3, 50)
        np.testing.assert_allclose(curve(source, G, days), curve(source, G, days + source.period_days), rtol=1e-6)


def test_a_flare_is_bluer_than_its_star_and_soon_gone():
    """At the peak of a flare u brightens more than z; an hour later little is left."""
    mag_B = np.array([22.0, 20.0, 18.5, 17.3, 16.6, 16.3])
    star = Eruptive("Flare", mag_B, np.array([10.0]), np.array([1.0]), np.array([5 / 1440]), 10_000.0)
    rise = {b: curve(star, b, np.array([10.0001]))[0] / curve(star, b, np.array([9.9]))[0] for b in (0, 4)}
    assert rise[0] > 3 * rise[4]
    assert curve(star, 0, np.array([10.15]))[0] < 1.1 * curve(star, 0, np.array([9.9]))[0]


def test_a_lens_magnifies_by_paczynski_and_without_colour():
    """At u = 1 the magnification is 1.342 in every band."""
    lens = MicroLens("uLens", np.arange(18.0, 24.0), 0.0, 1.0, 20.0)
    for band in (G, I):
        near, far = curve(lens, band, np.array([0.0, 1e5]))
        assert near / far == pytest.approx(1.342, abs=0.001)


@pytest.mark.parametrize("subtype", sorted(TRANSIENTS))
def test_rare_transients_come_and_go(rng, subtype):
    """Each peaks inside its window's reach, brighter than two years later, and never below zero."""
    source = draw_transient(rng, Circumstances(365.0, 0.05), subtype)
    flux = curve(source, R, source.peak_day + np.array([-300.0, 0.0, 500.0]), LSST)
    assert (flux >= 0).all()
    assert flux[1] > 5 * flux[2]
    assert flux[0] < 1e-3 * flux[1]


def test_an_asteroid_passes_once_and_an_artefact_has_no_light(rng):
    """One visit holds the asteroid; nothing varies under an artefact."""
    days = np.linspace(0, 365, 80)
    asteroid = draw_asteroid(rng, Circumstances(365.0, mag_B=np.full(6, 18.0)))
    assert np.count_nonzero(curve(asteroid, R, days, ZTF)) == 1
    assert not curve(draw_bogus(rng, Circumstances(365.0)), R, days, ZTF).any()

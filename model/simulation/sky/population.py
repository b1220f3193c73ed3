"""The door of the physics: one ``SimulatedObject`` by seed, survey, class and number. Knows no pixels.

Every object can be remade alone, from five streams of random numbers. *Entry* (seed, object) holds its catalogue entry,
*physics* (seed, object, attempt) what it is; neither knows the survey, so that the same object can be put under
another one. *Observing* (seed, survey, object) holds the schedule, which cannot depend on the class: when a survey
would not have noticed an object, its physics is drawn again, never its schedule. *Scene* holds its surroundings, *sky*
its position.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from model.simulation.sky import dust, labels
from model.simulation.sky.intrinsic import EXPLOSIONS, IntrinsicObject, draw_physics
from model.simulation.sky.positions import draw_position
from model.simulation.sky.scenes import place
from model.simulation.sky_records import RedrawKey, Sampling, Scene, Schedule, SimulatedObject, SkySettings
from model.simulation.sources import TEMPLATE_DAYS
from model.simulation.sources.galactic import DUST_PER_REDDENING_B
from model.simulation.sources.spurious import Bogus
from model.simulation.sources.templates import load_templates
from model.simulation.survey import selection
from model.simulation.survey.schedule import draw_schedule
from model.simulation.surveys import Survey, ab_mag, flux_njy, survey_named

ENTRY, PHYSICS, OBSERVING, SCENE, SKY = 11, 13, 17, 19, 23  # streams; never 0, which a seed sequence would not see
ATTEMPTS = 240  # at the physics of one object until it triggers
SUBSTITUTES = 50  # objects that may stand for one that the survey does not see
ID_STRIDE = 1_000_000_000  # between their ids
SPECTROSCOPIC = Sampling()
MISSES_BEFORE_GIVING_UP = 50
ATTEMPTS_PER_ENTRY = 60  # after which the catalogue entry, too, is drawn again
FIRST_SEASON_MJD = (53_614.0, 53_979.0, 54_344.0)  # 1 September 2005, 2006, 2007
SURVEY_START_MJD: Mapping[str, tuple[float, float]] = {"ztf": (58_300.0, 60_500.0), "lsst": (61_000.0, 63_500.0)}
REDDENING_MEDIAN_MAG, REDDENING_LN_BELOW, REDDENING_LN_ABOVE = 0.041, 0.38, 0.65
DECONFOUNDED_PEAK_MAG: Mapping[str, tuple[float, float]] = {
    "sdss": (18.0, 20.8),
    "ztf": (16.5, 19.2),
    "lsst": (19.0, 22.8),
}
STATIC_OVER_PEAK = (1.3, 3.0)  # static light under a deconfounded source, in units of its largest change
STATIC_COLOUR_SCATTER_MAG = 0.15
# Of transients whose reference images were taken while they shone: a choice, of which 2 to 5 % alert all the same.
TEMPLATE_HOLDS_TRANSIENT = 0.06
TEMPLATE_NIGHTS, TEMPLATE_SPAN_DAYS = 15, 60.0
LEAST_LIT = 0.02  # of its brightest: when a transient counts as shining


@dataclass(frozen=True, slots=True)
class _Wanted:
    """One object that is asked for, and the visits that its survey made there."""

    sky: SkySettings
    true_class: str | None  # None: as the label's sample would have it
    published: str  # its label
    object_id: int
    mode: str
    sampling: Sampling
    origin_mjd: float
    schedule: Schedule


def draw_object(
    sky: SkySettings, label: str, object_id: int, mode: str = "physical", sampling: Sampling = SPECTROSCOPIC
) -> SimulatedObject | None:
    """Draw one object of the simulated sky.

    Parameters
    ----------
    sky
        Survey, seed and realism: 0 noise only, 1 + seeing and depth, 2 + hosts and neighbours, 3 + artefacts and gaps,
        4 + wrong labels; with a folder of spectral templates (``templates.py`` says what it holds) supernovae are drawn
        from them.
    label
        A class of the taxonomy, or one of its subtypes and extensions (``labels.EXTENSIONS``).
    mode
        "physical", "sdss_label" (what the labels of SDSS really hold) or "deconfounded" (host, brightness and offset
        do not depend on the class).
    sampling
        How it comes into a sample. With ``labelled_as`` the ``label`` is its true class; two surveys with the same
        ``population`` are paired.

    Returns
    -------
    SimulatedObject, or None when no attempt would have been noticed.

    Raises
    ------
    ValueError
        When a name is unknown, the level is not 0 to 4, or (``TemplatesError``) the folder of templates lacks a part.
    """
    labels.check_request(label, mode, sampling.sample)
    if not 0 <= sky.level <= 4:
        raise ValueError(f"level is {sky.level}: choose 0 to 4")
    true_class, published = (None, label) if sampling.labelled_as is None else (label, sampling.labelled_as)
    observing = np.random.default_rng([sky.seed, sky.survey.index, object_id, OBSERVING])
    origin_mjd = _origin_mjd(observing, sky.survey, published, mode)
    schedule = draw_schedule(sky.survey, observing, origin_mjd, sky.level)
    wanted = _Wanted(sky, true_class, published, object_id, mode, sampling, origin_mjd, schedule)
    turns = range(ATTEMPTS) if sampling.attempt is None else (sampling.attempt,)
    return next((obj for turn in turns if (obj := _attempt(wanted, turn)) is not None), None)


def _attempt(wanted: _Wanted, turn: int) -> SimulatedObject | None:
    """Draw the physics once: None where the survey would not have noticed it, unless this very attempt is named."""
    sky, sampling, object_id = wanted.sky, wanted.sampling, wanted.object_id
    # 1. What it is.
    entry_rng = np.random.default_rng([sky.seed, object_id, turn // ATTEMPTS_PER_ENTRY, ENTRY])
    physics_rng = np.random.default_rng([sky.seed, object_id, turn, PHYSICS])
    composition = labels.compose(entry_rng, wanted.published, wanted.mode, sampling.sample, sky.level >= 4)
    if wanted.true_class is not None:
        composition = replace(composition, true_class=wanted.true_class)
    of = sky.survey if sampling.population is None else sampling.population
    spectra = None if sky.templates is None else load_templates(sky.templates)
    drawn = draw_physics(entry_rng, physics_rng, composition, of, wanted.mode, sky.survey.window_days, spectra)
    # 2. Where it is, and what its survey sees of it.
    scene_rng = np.random.default_rng([sky.seed, object_id, turn, SCENE])
    sky_rng = np.random.default_rng([sky.seed, sky.survey.index, object_id, turn, SKY])
    position = draw_position(sky_rng, drawn, sky.survey, wanted.mode)
    obj = _observe(drawn, wanted, scene_rng, position.latitude_deg)
    truth = dict(obj.truth) | {"attempt": turn, "sample": sampling.sample, "population_survey": of.name}
    obj = replace(obj, truth=truth)
    if sampling.attempt is None and not _selected(obj):
        return None
    # 3. What stands around it.
    scene, centre = place(scene_rng, drawn, sky.survey, position.latitude_deg)
    truth |= {"ra_deg": position.ra_deg, "dec_deg": position.dec_deg}
    truth["first_detection"] = selection.first_detection(obj)
    return replace(obj, scene=scene if sky.level >= 2 else Scene(), centre_arcsec=centre, truth=truth)


def draw_sample(
    sky: SkySettings,
    counts: Mapping[str, int],
    *,
    first_id: int = 0,
    mode: str = "physical",
    sampling: Sampling = SPECTROSCOPIC,
) -> Iterator[SimulatedObject]:
    """Yield objects class by class until every count is met; ids that a survey never notices are passed over.

    Raises
    ------
    ValueError
        When the survey never notices any object of a class.
    """
    object_id = first_id
    for label, count in counts.items():
        seen = missed = 0
        while seen < count:
            obj = draw_object(sky, label, object_id, mode, sampling)
            object_id += 1
            if obj is not None:
                seen, missed = seen + 1, 0
                yield obj
            elif (missed := missed + 1) >= MISSES_BEFORE_GIVING_UP:
                raise ValueError(
                    f"{sky.survey.name} did not notice {missed} objects of {label} in a row: ask for another class"
                )


def redraw(obj: SimulatedObject, survey: Survey, templates: Path | None = None) -> SimulatedObject:
    """Put the same object under another survey: same physics, other schedule and noise.

    An object that was drawn from ``templates`` needs them again.
    """
    key = RedrawKey.of({**obj.truth, "drawn_id": obj.object_id})
    return draw_again(key, obj.label, SkySettings(survey=survey, seed=obj.seed, level=obj.level, templates=templates))


def draw_again(key: RedrawKey, label: str, sky: SkySettings) -> SimulatedObject:
    """Draw the object of a key, with the label that it got, under the survey of a sky."""
    sampling = Sampling(key.sample, label, survey_named(key.population_survey), key.attempt)
    obj = draw_object(sky, key.drawn_class, key.drawn_id, key.mode, sampling)
    assert obj is not None  # an attempt that is named is always returned
    return obj


def noticed_objects(
    sky: SkySettings, label: str, number: int, mode: str, sampling: Sampling
) -> Iterator[SimulatedObject]:
    """The objects that may stand for object ``number``, each drawn anew: those that the survey noticed at all."""
    for attempt in range(SUBSTITUTES):
        obj = draw_object(sky, label, number + attempt * ID_STRIDE, mode, sampling)
        if obj is not None:
            yield obj


def _selected(obj: SimulatedObject) -> bool:
    """Whether it became a candidate, whether alerts are often of it and, for a supernova of the spectroscopic sample,
    whether a spectrum was taken."""
    truth = obj.truth
    if truth["mode"] == "physical" and not selection.met(obj):
        return False
    typed = truth["sample"] == "spec" and truth["kind"] == "SN" and truth["mode"] != "deconfounded"
    return selection.triggered(obj) and (not typed or selection.followed_up(obj))


def _origin_mjd(rng: Generator, survey: Survey, label: str, mode: str) -> float:
    if survey.name == "sdss":
        return FIRST_SEASON_MJD[labels.season(rng, label, mode)]
    return float(np.floor(rng.uniform(*SURVEY_START_MJD[survey.name])))


def _observe(drawn: IntrinsicObject, wanted: _Wanted, rng: Generator, latitude_deg: float) -> SimulatedObject:
    """Give the source its fluxes at the survey's visits, behind the dust of the Milky Way."""
    survey, schedule = wanted.sky.survey, wanted.schedule
    band_T = schedule.band_T.astype(np.int64)
    flux_T = drawn.source.flux(schedule.time_T - wanted.origin_mjd, band_T, survey)
    reference_B = np.zeros(6)
    if drawn.kind in ("AGN", "Star"):
        bands = survey.band_indices
        days = np.tile(TEMPLATE_DAYS, len(bands))
        template = drawn.source.flux(days, np.repeat(bands, len(TEMPLATE_DAYS)), survey)
        reference_B[bands] = template.reshape(len(bands), -1).mean(axis=1)
    deviate = float(rng.standard_normal())
    ebv = _reddening(deviate, survey, latitude_deg)
    if drawn.populace is not None:  # its r is as observed, its colours are those behind the dust
        ebv = drawn.populace.reddening_mag(float(drawn.entry.mag_B[2]), latitude_deg, deviate)
        redder_mag_B = ebv * (DUST_PER_REDDENING_B - DUST_PER_REDDENING_B[2])
        seen_B = 10 ** (-0.4 * redder_mag_B)
        flux_T, reference_B = flux_T * seen_B[band_T], reference_B * seen_B
        drawn = replace(drawn, entry=replace(drawn.entry, mag_B=drawn.entry.mag_B + redder_mag_B))
    if drawn.kind not in ("AGN", "Star"):  # whose magnitudes are those observed
        flux_T = flux_T * (10 ** (-0.4 * ebv * survey.dust_B))[band_T]
        explodes = drawn.true_class in EXPLOSIONS
        if explodes and survey.name != "sdss" and rng.random() < TEMPLATE_HOLDS_TRANSIENT:
            reference_B = _in_template(rng, drawn, survey) * 10 ** (-0.4 * ebv * np.nan_to_num(survey.dust_B))
    if wanted.mode == "deconfounded" and drawn.kind not in ("Bogus", "Asteroid"):
        flux_T, reference_B = _deconfound(rng, survey, flux_T - reference_B[band_T], band_T)
    largest_njy = np.abs(flux_T - reference_B[band_T]).max(initial=0.0)
    return SimulatedObject(
        object_id=wanted.object_id,
        seed=wanted.sky.seed,
        survey=survey,
        label=wanted.published,
        schedule=schedule,
        flux_T=flux_T.astype(np.float32),
        reference_flux_B=reference_B.astype(np.float32),
        scene=Scene(),
        truth=_truth_of(drawn, wanted, ebv, float(ab_mag(largest_njy))),
        level=wanted.sky.level,
    )


def _truth_of(drawn: IntrinsicObject, wanted: _Wanted, ebv_mag: float, largest_mag: float) -> dict[str, Any]:
    """What is known of an object before its surroundings are drawn."""
    truth: dict[str, float | int | str] = {
        "drawn_class": drawn.true_class,
        "kind": drawn.kind,
        "subtype": drawn.source.subtype,
        "elasticc_code": labels.elasticc_code(drawn.source.subtype),
        "redshift": drawn.redshift,
        "mode": wanted.mode,
        "origin_mjd": wanted.origin_mjd,
        "ebv_mag": ebv_mag,
        "largest_change_mag": largest_mag,
        "host_matched": int(drawn.entry.matched),
        "host_offset_arcsec": drawn.entry.offset_arcsec if drawn.entry.matched else float("nan"),
        **drawn.source.truth,
    }
    for band, mag in zip("ugriz", drawn.entry.mag_B, strict=False):
        truth[f"host_{band}_mag"] = float(mag) if drawn.entry.matched else float("nan")
    if isinstance(drawn.source, Bogus):
        truth |= {f"artefact_day_{i:02d}": day for i, day in enumerate(drawn.source.days)}
    return truth


def _in_template(rng: Generator, drawn: IntrinsicObject, survey: Survey) -> NDArray[np.float64]:
    """Mean flux of a transient over the nights of a template that began while it shone."""
    reference_B, bands = np.zeros(6), survey.band_indices
    day_N = np.arange(-TEMPLATE_SPAN_DAYS, survey.window_days)
    r_N = drawn.source.flux(day_N, np.full(len(day_N), 2), survey)
    lit_N = day_N[r_N >= LEAST_LIT * r_N.max()]
    days = np.tile(rng.choice(lit_N) + rng.uniform(0, TEMPLATE_SPAN_DAYS, TEMPLATE_NIGHTS), len(bands))
    flux = drawn.source.flux(days, np.repeat(bands, TEMPLATE_NIGHTS), survey)
    reference_B[bands] = flux.reshape(len(bands), -1).mean(axis=1)
    return reference_B


def _reddening(x: float, survey: Survey, latitude_deg: float) -> float:
    """E(B-V) of the Milky Way: along Stripe 82, or of the map at a latitude."""
    if survey.name != "sdss":
        return dust.SFD.at(latitude_deg, x)
    return float(REDDENING_MEDIAN_MAG * np.exp(x * (REDDENING_LN_ABOVE if x > 0 else REDDENING_LN_BELOW)))


def _deconfound(rng: Generator, survey: Survey, change_T: NDArray, band_T: NDArray) -> tuple[NDArray, NDArray]:
    """Scale the largest change in r to a magnitude that does not depend on the class, over static light of one pool."""
    largest = np.abs(change_T[band_T == 2]).max(initial=0.0)
    peak = float(flux_njy(rng.uniform(*DECONFOUNDED_PEAK_MAG[survey.name])))
    static_B = peak * rng.uniform(*STATIC_OVER_PEAK) * 10 ** (0.4 * STATIC_COLOUR_SCATTER_MAG * rng.standard_normal(6))
    if largest > 0:
        change_T = change_T * (peak / largest)
    return np.maximum(static_B[band_T] + change_T, 0.0), static_B

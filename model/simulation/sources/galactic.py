"""The variable stars that a survey of the whole sky meets, the plane of the Milky Way included: which, how bright.

Stripe 82 lies off the plane; ZTF and LSST look through it, where most variable stars are. What is drawn here is the mix
of a catalogue; which of its stars alert is left to the survey's depth, so that small amplitudes are rare by themselves.
Stars that erupt (dwarf novae, flares, novae) are a tenth of a per cent of such a catalogue, but of what looks *new* to
a survey they are a good part: ``ERUPTIVE_SHARE`` of the mix is theirs, a choice, so that networks learn them. Few
flares are caught, so most of that share is theirs: of the variables that alert in ZTF a thirteenth are dwarf novae, a
ninth flares and one in 35 a nova.
Stars of ZTF are reddened where they lie (``sky/disc.py``), and their giants are as many per RR Lyrae as in Gaia, for a
year of ZTF finds the periods of half of them only. Those of LSST keep a mean reddening and ZTF's own counts, with which
its weights were trained.
Microlensing is not of this mix: it is held out, to see whether a network finds it strange.

References
----------
Chen et al. 2020 (ApJS 249, 18), the 781,602 periodic variables of ZTF: the counts of all periodic kinds, their periods
and amplitudes. Rimoldini et al. 2023 (A&A 674, A14), Gaia DR3: young, Be and symbiotic stars, by their number per RR
Lyrae; Lebzelter et al. 2023 (A&A 674, A15), its 1,720,588 long-period variables. Cody & Hillenbrand 2018 (AJ 156, 71)
and Venuti et al. 2021 (AJ 162, 101), shapes, amplitudes and time scales of young stars: stochastic, dipping, bursting.
Soszynski et al. 2009 (AcA 59, 239), semi-regular giants and Miras. Labadie-Bartz et al. 2017 (AJ 153, 252), Be stars.
Gromadzki et al. 2013 (AcA 63, 405), symbiotic stars.
Szkody et al. 2020 (AJ 159, 198), Darnley et al. 2006 (MNRAS 369, 257), Kawash et al. 2022 (ApJ 937, 64): some 300 dwarf
novae a year in ZTF, 65 novae in M31 and 26 here.
Amplitudes are log-normal choices near the medians of these papers; the magnitude ranges begin where ZTF saturates.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from model.simulation.sources import Circumstances
from model.simulation.sources.irregular import Irregular, wander
from model.simulation.sources.outbursts import Outbursts, draw_dwarf_nova, draw_nova
from model.simulation.sources.star_tables import COLOUR
from model.simulation.sources.stars import Eclipsing, Eruptive, Pulsator, Star, draw_eruptive, draw_star
from model.simulation.surveys import Survey

RR_LYRAE_OF_CHEN, RR_LYRAE_OF_GAIA = 32_518 + 13_875, 297_981
MEAN_REDDENING_MAG = 0.3  # E(B-V) of stars near the plane, exponential
MOST_REDDENING_MAG = 1.5
DUST_PER_REDDENING_B = np.array([4.24, 3.30, 2.29, 1.70, 1.26, 1.09])
REDDENED_BY_PLACE = frozenset({"ztf"})  # surveys whose stars are reddened where they lie; novae are not among them
LONG_PERIOD_OF_GAIA = 1_720_588
FAINTER_FOR_LSST_MAG = 3.0  # what LSST does not saturate on is as much farther
MORE_FAINT_ONES = 0.6  # power of a uniform number: below 1 there are more stars near the faint end
FAST_DAYS, SLOW_DAYS = 0.25, 2.0  # grids of random walks


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of the catalogue."""

    count: float
    bright_mag: float  # in r, of ZTF
    faint_mag: float
    near_plane: bool


KINDS: Mapping[str, Kind] = {
    "RRab": Kind(32_518, 13.5, 20.3, False),
    "RRc": Kind(13_875, 13.5, 20.3, False),
    "DeltaScuti": Kind(16_709, 13.0, 19.0, True),
    "EW": Kind(369_707, 13.0, 19.5, True),
    "EA": Kind(49_943, 13.0, 19.5, True),
    "BYDra": Kind(84_697, 13.0, 18.5, False),
    "RSCVn": Kind(81_393, 13.0, 18.5, True),
    "SemiRegular": Kind(119_261, 12.5, 18.5, True),
    "Mira": Kind(11_879, 12.5, 18.5, True),
    "Cepheid": Kind(1_262 + 358, 12.5, 17.5, True),
    "YSO": Kind(79_375 * RR_LYRAE_OF_CHEN / RR_LYRAE_OF_GAIA, 13.0, 19.5, True),
    "Be": Kind(8_560 * RR_LYRAE_OF_CHEN / RR_LYRAE_OF_GAIA, 12.5, 16.0, True),
    "Symbiotic": Kind(649 * RR_LYRAE_OF_CHEN / RR_LYRAE_OF_GAIA, 12.5, 17.0, True),
}
SHARE = np.array([kind.count for kind in KINDS.values()]) / sum(kind.count for kind in KINDS.values())
COUNT_WITH_GAIA = {name: kind.count for name, kind in KINDS.items()} | {
    "SemiRegular": LONG_PERIOD_OF_GAIA * RR_LYRAE_OF_CHEN / RR_LYRAE_OF_GAIA - KINDS["Mira"].count
}
SHARE_WITH_GAIA = np.array(list(COUNT_WITH_GAIA.values())) / sum(COUNT_WITH_GAIA.values())
ERUPTIVE_SHARE = 0.35
ERUPTIVE: Mapping[str, Kind] = {  # counts: per cent, drawn; magnitudes: of the quiet star, of novae at maximum
    "DwarfNova": Kind(20, 15.5, 22.5, False),
    "Flare": Kind(65, 14.5, 21.5, False),
    "Nova": Kind(15, 12.5, 19.5, True),
}
SHARE_OF_ERUPTIVE = np.array([kind.count for kind in ERUPTIVE.values()]) / sum(k.count for k in ERUPTIVE.values())
COLOURS = {  # mean (u-g, g-r, r-i, i-z) without dust, and the scatter of each
    "DeltaScuti": COLOUR["DeltaScuti"],
    "EW": ((1.3, 0.45, 0.15, 0.08), 0.20),
    "EA": ((1.3, 0.35, 0.12, 0.05), 0.25),
    "BYDra": ((2.4, 1.20, 0.65, 0.35), 0.15),
    "RSCVn": ((1.9, 0.75, 0.30, 0.15), 0.12),
    "SemiRegular": ((2.5, 1.45, 1.00, 0.60), 0.25),
    "Mira": ((2.3, 1.60, 1.60, 1.00), 0.30),
    "Cepheid": COLOUR["Cepheid"],
    "YSO": ((1.4, 1.10, 0.70, 0.45), 0.25),
    "Be": ((0.5, -0.10, -0.15, -0.10), 0.10),
    "Symbiotic": ((0.4, 0.90, 0.80, 0.50), 0.25),
    "DwarfNova": ((0.0, 0.30, 0.30, 0.25), 0.20),
    "Flare": COLOUR["Flare"],
    "Nova": ((0.0, 0.05, 0.10, 0.0), 0.15),
}


def draw_galactic(rng: Generator, window_days: float, survey: Survey) -> Star | Irregular | Outbursts:
    """Draw a variable star of a survey's sky, its kind and its magnitude included."""
    if rng.random() < ERUPTIVE_SHARE:
        subtype = str(rng.choice(list(ERUPTIVE), p=SHARE_OF_ERUPTIVE))
    else:
        share = SHARE_WITH_GAIA if survey.name in REDDENED_BY_PLACE else SHARE
        subtype = str(rng.choice(list(KINDS), p=share))
    kind = ERUPTIVE[subtype] if subtype in ERUPTIVE else KINDS[subtype]
    r_mag = kind.bright_mag + (kind.faint_mag - kind.bright_mag) * rng.random() ** MORE_FAINT_ONES
    r_mag += FAINTER_FOR_LSST_MAG if survey.name == "lsst" else 0.0
    if subtype in ("RRab", "RRc"):
        return draw_star(rng, Circumstances(window_days, mag_B=np.full(6, r_mag)), subtype)
    reddened = kind.near_plane and (survey.name not in REDDENED_BY_PLACE or subtype == "Nova")
    reddening = min(rng.exponential(MEAN_REDDENING_MAG), MOST_REDDENING_MAG) if reddened else 0.0
    mag_B = _mags(rng, subtype, r_mag) + reddening * (DUST_PER_REDDENING_B - DUST_PER_REDDENING_B[2])
    return DRAW[subtype](rng, mag_B, window_days)


def _mags(rng: Generator, subtype: str, r_mag: float) -> NDArray[np.float64]:
    mean, scatter = COLOURS[subtype]
    ug, gr, ri, iz = np.array(mean) + scatter * (0.8 * rng.standard_normal() + 0.6 * rng.standard_normal(4))
    return r_mag + np.array([ug + gr, gr, 0.0, -ri, -ri - iz, -ri - 1.4 * iz])


def _log_normal(rng: Generator, median: float, sigma: float, low: float, high: float) -> float:
    return float(np.clip(median * np.exp(sigma * rng.standard_normal()), low, high))


def _pulsator(
    rng: Generator, subtype: str, mag_B: NDArray, log_period: float, swing_g: float, ratio_B: NDArray, skew: float
) -> Pulsator:
    """A pulsator of two harmonics; a positive skew rises faster than it falls."""
    first = np.array([-0.5, 0.0, -0.12 * skew, 0.12 * skew])
    return Pulsator(subtype, mag_B, 10**log_period, float(rng.random()), swing_g * ratio_B, np.tile(first, (6, 1)))


def _delta_scuti(rng: Generator, mag_B: NDArray, window_days: float) -> Pulsator:
    ratio_B = np.array([0.9, 1.0, 0.71, 0.55, 0.48, 0.46])
    return _pulsator(
        rng, "DeltaScuti", mag_B, rng.uniform(-1.4, -0.7), _log_normal(rng, 0.16, 0.6, 0.03, 0.9), ratio_B, rng.random()
    )


def _cepheid(rng: Generator, mag_B: NDArray, window_days: float) -> Pulsator:
    ratio_B = np.array([1.25, 1.0, 0.68, 0.54, 0.47, 0.44])
    return _pulsator(rng, "Cepheid", mag_B, rng.normal(0.7, 0.35), rng.uniform(0.3, 1.2), ratio_B, rng.random())


def _mira(rng: Generator, mag_B: NDArray, window_days: float) -> Pulsator:
    ratio_B = np.array([1.2, 1.15, 1.0, 0.75, 0.55, 0.5])  # amplitude counted in r
    return _pulsator(
        rng,
        "LPV",
        mag_B,
        np.log10(np.clip(rng.normal(300, 90), 120, 600)),
        rng.uniform(2.0, 5.5),
        ratio_B,
        rng.random(),
    )


def _contact(rng: Generator, mag_B: NDArray, window_days: float) -> Eclipsing:
    first = 1 - 10 ** (-0.4 * _log_normal(rng, 0.36, 0.45, 0.05, 0.95))
    period = 10 ** float(np.clip(rng.normal(-0.45, 0.10), -0.66, 0.0))
    return Eclipsing("EB", mag_B, period, float(rng.random()), (first, first * rng.uniform(0.75, 1.0)), 0.0)


def _detached(rng: Generator, mag_B: NDArray, window_days: float) -> Eclipsing:
    first = 1 - 10 ** (-0.4 * _log_normal(rng, 0.45, 0.5, 0.08, 2.5))
    period = 10 ** float(np.clip(rng.normal(0.2, 0.35), -0.5, 1.6))
    width = float(rng.uniform(0.015, 0.05))
    return Eclipsing("EB", mag_B, period, float(rng.random()), (first, first * rng.uniform(0.1, 1.0)), width)


def _spotted(subtype: str, median_mag: float, shortest: float, longest: float) -> Callable[..., Irregular]:
    """Spots that turn with the star, and that come and go over seasons."""

    def draw(rng: Generator, mag_B: NDArray, window_days: float) -> Irregular:
        period = float(np.exp(rng.uniform(np.log(shortest), np.log(longest))))
        swing = _log_normal(rng, median_mag, 0.5, 0.02, 0.6)
        walk_N = wander(rng, 200.0, window_days, SLOW_DAYS)
        turning = ((period, 0.5, float(rng.random())), (period / 2, 0.12, float(rng.random())))
        swing_B = swing * np.array([1.3, 1.15, 1.0, 0.85, 0.8, 0.75])
        return Irregular("Rotator", mag_B, swing_B, 0.0, turning, 0.2, walk_N, SLOW_DAYS)

    return draw


def _semi_regular(rng: Generator, mag_B: NDArray, window_days: float) -> Irregular:
    """Two periods that beat, and a slow drift."""
    period = float(np.exp(rng.uniform(np.log(25), np.log(300))))
    pulses = ((period, 0.4, float(rng.random())), (period * rng.uniform(0.45, 0.9), 0.25, float(rng.random())))
    walk_N = wander(rng, 150.0, window_days, SLOW_DAYS)
    swing_B = _log_normal(rng, 0.35, 0.6, 0.08, 2.0) * np.array([1.35, 1.25, 1.0, 0.7, 0.55, 0.5])
    return Irregular("LPV", mag_B, swing_B, 0.0, pulses, 0.2, walk_N, SLOW_DAYS)


def _young(rng: Generator, mag_B: NDArray, window_days: float) -> Irregular:
    """Accretion and dust: a fast walk and a slow one; a third dips, a sixth bursts, many turn with spots, too."""
    fast_days = float(np.exp(rng.uniform(np.log(0.7), np.log(20))))
    walk_N = wander(rng, fast_days, window_days, FAST_DAYS)
    walk_N = walk_N + rng.uniform(0.2, 1.2) * wander(rng, rng.uniform(100, 600), window_days, FAST_DAYS)
    skew = float(rng.choice([0.0, 0.5, -0.5], p=[0.5, 0.33, 0.17]))
    turning = ((float(rng.uniform(2, 12)), rng.uniform(0, 0.8), float(rng.random())),)
    rms_B = _log_normal(rng, 0.18, 0.7, 0.03, 0.6) * np.array([1.6, 1.25, 1.0, 0.8, 0.7, 0.65])
    return Irregular("YSO", mag_B, rms_B, skew, turning, 1.0, walk_N, FAST_DAYS)


def _be(rng: Generator, mag_B: NDArray, window_days: float) -> Irregular:
    """A disc that builds up and decays: mostly brightenings."""
    walk_N = wander(rng, float(np.exp(rng.uniform(np.log(15), np.log(300)))), window_days, SLOW_DAYS)
    rms_B = _log_normal(rng, 0.10, 0.6, 0.02, 0.5) * np.array([0.8, 0.9, 1.0, 1.1, 1.15, 1.2])
    return Irregular("Be", mag_B, rms_B, -0.5, (), 1.0, walk_N, SLOW_DAYS)


def _symbiotic(rng: Generator, mag_B: NDArray, window_days: float) -> Irregular:
    """The orbit of a giant, and outbursts of its hot companion that brighten the blue."""
    walk_N = wander(rng, rng.uniform(60, 250), window_days, SLOW_DAYS)
    orbit = ((float(rng.uniform(400, 900)), rng.uniform(0.3, 0.8), float(rng.random())),)
    rms_B = _log_normal(rng, 0.25, 0.6, 0.05, 1.2) * np.array([2.0, 1.5, 1.0, 0.7, 0.5, 0.45])
    return Irregular("Symbiotic", mag_B, rms_B, -0.7, orbit, 1.0, walk_N, SLOW_DAYS)


def _flaring(rng: Generator, mag_B: NDArray, window_days: float) -> Eruptive:
    return draw_eruptive(rng, "Flare", mag_B, window_days)


DRAW: Mapping[str, Callable[[Generator, NDArray, float], Star | Irregular | Outbursts]] = {
    "DeltaScuti": _delta_scuti,
    "EW": _contact,
    "EA": _detached,
    "BYDra": _spotted("BYDra", 0.09, 0.3, 20.0),
    "RSCVn": _spotted("RSCVn", 0.16, 1.0, 30.0),
    "SemiRegular": _semi_regular,
    "Mira": _mira,
    "Cepheid": _cepheid,
    "YSO": _young,
    "Be": _be,
    "Symbiotic": _symbiotic,
    "DwarfNova": draw_dwarf_nova,
    "Flare": _flaring,
    "Nova": draw_nova,
}

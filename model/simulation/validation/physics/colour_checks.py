"""Check 5, colours: type Ia supernovae against SALT3, which was trained on real ones; core collapse as published.

References
----------
Kenworthy et al. 2021 (ApJ 923, 265), SALT3. Core collapse without dust: de Jaeger et al. 2018 (MNRAS 476, 4592), type
II; Taddia et al. 2015 (A&A 574, A60) and Stritzinger et al. 2018 (A&A 609, A135), stripped envelopes; Nyholm et al.
2020 (A&A 637, A73), type IIn. Their colours are of other filters; brought to g - r they are good to 0.15 mag.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from model.series import BANDS
from model.simulation.sources import Circumstances
from model.simulation.sources.corecollapse import draw_corecollapse
from model.simulation.sources.snia import SNIa
from model.simulation.sources.templates import read_salt3
from model.simulation.surveys import SDSS, ZTF, Survey, ab_mag
from model.simulation.validation import Check, skipped, within

LIGHT_A_PER_S = 2.99792458e18
PHASES = {"-3..+3 d": np.arange(-3.0, 4.0), "+5..+18 d": np.arange(5.0, 19.0), "+20..+30 d": np.arange(20.0, 31.0)}
CORE_COLLAPSE = {"IIP": (0.0, 0.65), "Ic": (0.2, 0.8), "IIn": (-0.1, 0.0)}  # g - r at r maximum, and 30 d later
CORE_COLLAPSE_TOLERANCE_MAG = 0.15
DRAWN, MONTH_D = 200, 30
DUST_OF_G_MINUS_R = {True: 0.365, False: 0.33}  # per A_V, for R_V of 3.1 and for those of stripped envelopes


@dataclass(frozen=True, slots=True)
class ColourComparison:
    """Colours of the mean type Ia supernova under one survey."""

    survey: Survey
    bands: str
    passbands: str  # files of the shared passbands, ``{}`` for a band
    names: Mapping[str, str]  # band -> what its file calls it
    redshifts: tuple[float, ...]
    tolerance_mag: Mapping[str, float]  # by phases


COMPARISONS = (
    ColourComparison(
        SDSS,
        "griz",
        "sdss/sdss_{}.dat",
        {band: band for band in "griz"},
        (0.05, 0.10, 0.15, 0.20, 0.25),
        {"-3..+3 d": 0.08, "+5..+18 d": 0.15},
    ),
    ColourComparison(
        ZTF,
        "gr",
        "ztf/P48_{}.dat",
        {"g": "g", "r": "R"},
        (0.02, 0.05, 0.08),
        {"-3..+3 d": 0.05, "+5..+18 d": 0.05, "+20..+30 d": 0.05},
    ),
)


def colour_checks(seed: int, shared: Path | None) -> Iterator[Check]:
    """Compare colours; SALT3 and passbands are of the shared data, and skipped without them."""
    archive = None if shared is None else shared / "science" / "templates" / "salt3-k21.tar.gz"
    for of in COMPARISONS:
        statistic = f"{of.survey.name.upper()} colours of the mean SN Ia against SALT3, largest difference"
        if shared is None or archive is None or not archive.is_file():
            yield skipped(5, statistic, "no SALT3 templates; set ICTC_SHARED_DATA")
        else:
            yield from _against_salt3(of, archive, shared / "science" / "templates" / "bandpasses", statistic)
    yield from _core_collapse(seed)


def _against_salt3(of: ColourComparison, archive: Path, folder: Path, statistic: str) -> Iterator[Check]:
    mean = read_salt3(archive, 0)
    passbands = [_passband(folder / of.passbands.format(of.names[band])) for band in of.bands]
    colours = [f"{blue}-{red}" for blue, red in zip(of.bands, of.bands[1:], strict=False)]
    for name, limit in of.tolerance_mag.items():
        worst, where = 0.0, ""
        for z in of.redshifts:
            ours = _our_fluxes(of, z, PHASES[name])
            theirs = _their_fluxes(z, PHASES[name], mean.phase_P, mean.wave_W, mean.flux_PW, passbands)
            for k, colour in enumerate(colours):
                difference = float(_colour(ours, k) - _colour(theirs, k))
                if abs(difference) > abs(worst):
                    worst, where = difference, f"{colour} at z = {z}"
        yield Check(5, f"{statistic}, {name}", f"<= {limit}", f"{worst:+.3f} ({where})", abs(worst) <= limit)


def _core_collapse(seed: int) -> Iterator[Check]:
    """Median g - r of nearby core collapse in ZTF, without dust."""
    rng = np.random.default_rng([seed, 5])
    for subtype, targets in CORE_COLLAPSE.items():
        at_peak, later = np.median([_bluest_and_later(rng, subtype) for _ in range(DRAWN)], axis=0)
        for when, value, target in (("at r maximum", at_peak, targets[0]), (f"{MONTH_D} d later", later, targets[1])):
            yield Check(
                5,
                f"ZTF g-r of type {subtype} without dust, {when}, median",
                f"{target} +-{CORE_COLLAPSE_TOLERANCE_MAG}",
                f"{value:+.2f}",
                within(float(value), target, CORE_COLLAPSE_TOLERANCE_MAG),
            )


def _bluest_and_later(rng: np.random.Generator, subtype: str) -> tuple[float, float]:
    source = draw_corecollapse(rng, Circumstances(ZTF.window_days, 0.02, near=True), subtype)
    days = source.explosion_day + np.arange(1, 90.0)
    g_N, r_N = (ab_mag(source.flux(days, np.full(len(days), BANDS.index(band)), ZTF)) for band in "gr")
    peak = int(np.nanargmin(r_N))
    bare_N = g_N - r_N - DUST_OF_G_MINUS_R[source.dust_ratio == 3.1] * source.dust_mag
    return float(bare_N[peak]), float(bare_N[min(peak + MONTH_D, len(days) - 1)])


def _colour(mean_flux_B: NDArray, k: int) -> float:
    return float(-2.5 * np.log10(mean_flux_B[k] / mean_flux_B[k + 1]))


def _our_fluxes(of: ColourComparison, z: float, phases: NDArray) -> NDArray:
    """Mean flux over the phases in each band of the average supernova (x1 = 0, c = 0 as SALT3's own zero)."""
    source = SNIa("Ia", z, 0.0, 0.0, 0.0, 0.0)
    days = phases * (1 + z)
    return np.array([source.flux(days, np.full(len(days), BANDS.index(b)), of.survey).mean() for b in of.bands])


def _their_fluxes(
    z: float, phases: NDArray, phase_P: NDArray, wave_W: NDArray, flux_PW: NDArray, passbands: list
) -> NDArray:
    fluxes = []
    for wave_a, response in passbands:
        reference = np.trapezoid(LIGHT_A_PER_S / wave_a * response, wave_a)
        at_phase = []
        for phase in phases:
            row = np.array([np.interp(phase, phase_P, flux_PW[:, w]) for w in range(len(wave_W))])
            f_lambda = np.interp(wave_a / (1 + z), wave_W, row, left=0, right=0)
            at_phase.append(np.trapezoid(f_lambda * response * wave_a, wave_a) / reference)
        fluxes.append(np.mean(at_phase))
    return np.array(fluxes)


def _passband(path: Path) -> tuple[NDArray, NDArray]:
    """Wavelengths (angstrom) and response, in order."""
    table = np.loadtxt(path)
    table = table[np.argsort(table[:, 0])]
    return table[:, 0], table[:, 1]

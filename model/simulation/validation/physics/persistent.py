"""Check 8: quasars against their measured scatter in Stripe 82, RR Lyrae against the 483 found there."""

import gzip
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from model.simulation.sources import TEMPLATE_DAYS, Circumstances
from model.simulation.sources.agn import draw_agn
from model.simulation.sources.stars import Pulsator, draw_star
from model.simulation.surveys import SDSS, ab_mag
from model.simulation.validation import Check, skipped, within

BASELINE_DAYS = 3300.0  # of the real light curves
SF_ONE_YEAR_MAG = (0.13, 0.22)
LARGEST_SKEWNESS = 0.15
LEAST_VARIABLE_FRACTION = 0.90  # with rms over 0.03 mag
QUASAR_REDSHIFT = (0.5, 2.5)  # of the real, bright, spectroscopic quasars
BRIGHT_QUASAR_MAG = 19.5  # whose scatter is hardly photometric error
QUASAR_SCATTER_TOLERANCE = 0.25  # of the median and of the quartiles, relative
RR_LYRAE = {  # type -> (mean log10 period, its tolerance, median amplitude in g, its tolerance)
    "RRab": (-0.238, 0.01, 0.99, 0.08),
    "RRc": (-0.470, 0.01, 0.507, 0.04),
}
AMPLITUDE_RATIOS = {"RRab": (0.954, 0.721, 0.577, 0.521), "RRc": (0.884, 0.707, 0.551, 0.481)}
COLOURS = {"RRab": (1.14, 0.14, 0.03, -0.01), "RRc": (1.15, 0.04, -0.03, -0.04)}


def persistent_checks(seed: int, objects: int, shared: Path | None) -> Iterator[Check]:
    """Draw quasars and RR Lyrae and compare them."""
    yield from _quasars(seed, objects, shared)
    for subtype in RR_LYRAE:
        yield from _rr_lyrae(seed, objects, subtype)
    yield from _real_rr_lyrae(seed, objects, shared)


def _quasars(seed: int, objects: int, shared: Path | None) -> Iterator[Check]:
    rng = np.random.default_rng([seed, 8])
    day_N = np.arange(0.0, BASELINE_DAYS, 5.0) + TEMPLATE_DAYS[0]
    curves, year = [], 73  # samples in a year
    for _ in range(objects):
        redshift = rng.uniform(*QUASAR_REDSHIFT)
        mag_B = rng.normal(BRIGHT_QUASAR_MAG - 0.5, 0.4) + np.zeros(6)
        source = draw_agn(rng, Circumstances(BASELINE_DAYS, redshift, mag_B))
        curves.append(ab_mag(source.flux(day_N, np.full(len(day_N), 2), SDSS)))
    curve_KN = np.array(curves)
    change_KN = curve_KN[:, year:] - curve_KN[:, :-year]
    structure = float(np.sqrt(np.mean(change_KN**2)))
    change_KN = change_KN / change_KN.std(axis=1, keepdims=True)
    low, high = SF_ONE_YEAR_MAG
    yield Check(
        8,
        "quasars: structure function at 1 yr in r, mag",
        f"{low} to {high}",
        f"{structure:.3f}",
        low <= structure <= high,
    )
    skewness = float(np.mean(change_KN**3))
    yield Check(
        8,
        "quasars: skewness of changes in a year",
        f"0 +-{LARGEST_SKEWNESS}",
        f"{skewness:+.3f}",
        abs(skewness) <= LARGEST_SKEWNESS,
    )
    scatter_K = curve_KN.std(axis=1)
    varying = float((scatter_K > 0.03).mean())
    yield Check(8, "quasars with rms over 0.03 mag", ">= 0.90", f"{varying:.3f}", varying >= LEAST_VARIABLE_FRACTION)
    statistic = "bright quasars: rms in r over 9 yr at 25, 50, 75 %"
    table = None if shared is None else shared / "science" / "sdss" / "s82_qso_lc_stats.csv"
    if table is None or not table.is_file():
        yield skipped(8, statistic, "no statistics of real quasars; set ICTC_SHARED_DATA")
        return
    real = _real_quasar_scatter(table)
    ours = np.percentile(scatter_K, (25, 50, 75))
    good = bool(np.all(np.abs(ours / real - 1) <= QUASAR_SCATTER_TOLERANCE))
    yield Check(8, statistic, f"{np.round(real, 3)} +-25 %", f"{np.round(ours, 3)}", good)


def _real_quasar_scatter(table: Path) -> NDArray:
    rows = np.genfromtxt(table, delimiter=",", names=True, dtype=None, encoding="utf-8")
    quasars = rows[(rows["band"] == "r") & (rows["mean_mag"] < BRIGHT_QUASAR_MAG) & (rows["n_obs"] >= 30)]
    return np.percentile(quasars["std_mag"], (25, 50, 75))


def _draw_pulsators(seed: int, objects: int, subtype: str) -> list[Pulsator]:
    rng = np.random.default_rng([seed, 9])
    stars = [draw_star(rng, Circumstances(90.0, mag_B=np.full(6, 17.0)), subtype) for _ in range(objects)]
    return [star for star in stars if isinstance(star, Pulsator)]


def _rr_lyrae(seed: int, objects: int, subtype: str) -> Iterator[Check]:
    stars = _draw_pulsators(seed, objects, subtype)
    period, period_tolerance, amplitude, amplitude_tolerance = RR_LYRAE[subtype]
    log_period = float(np.mean([np.log10(star.period_days) for star in stars]))
    yield Check(
        8,
        f"{subtype}: mean log10 period, d",
        f"{period} +-{period_tolerance}",
        f"{log_period:.3f}",
        within(log_period, period, period_tolerance),
    )
    phase_N = np.linspace(0, 1, 200)
    mags = [[ab_mag(s.flux(phase_N * s.period_days, np.full(200, b), SDSS)) for b in range(5)] for s in stars]
    swing_KB = np.ptp(np.array(mags), axis=2)
    swing = float(np.median(swing_KB[:, 1]))
    yield Check(
        8,
        f"{subtype}: median amplitude in g, mag",
        f"{amplitude} +-{amplitude_tolerance}",
        f"{swing:.3f}",
        within(swing, amplitude, amplitude_tolerance),
    )
    ratios = np.median(swing_KB / swing_KB[:, 1:2], axis=0)[[0, 2, 3, 4]]
    yield _all_near(f"{subtype}: amplitudes of u, r, i, z over g", ratios, np.array(AMPLITUDE_RATIOS[subtype]), 0.05)
    colours = np.median(-np.diff(np.array(mags).mean(axis=2), axis=1), axis=0)
    yield _all_near(f"{subtype}: u-g, g-r, r-i, i-z", colours, np.array(COLOURS[subtype]), 0.03)


def _all_near(statistic: str, values: NDArray, targets: NDArray, tolerance: float, places: int = 3) -> Check:
    """Whether each of some values lies within an absolute tolerance of its target."""
    good = bool(np.abs(values - targets).max() <= tolerance)
    return Check(8, statistic, f"{np.round(targets, places)} +-{tolerance}", f"{np.round(values, places)}", good)


def _real_rr_lyrae(seed: int, objects: int, shared: Path | None) -> Iterator[Check]:
    statistic = "RRab: amplitude in g at 16, 50, 84 % against the real ones"
    table = None if shared is None else shared / "science" / "sdss" / "table2.dat.gz"
    if table is None or not table.is_file():
        yield skipped(8, statistic, "no table of real RR Lyrae; set ICTC_SHARED_DATA")
        return
    with gzip.open(table, "rt") as lines:
        rows = [line.split() for line in lines if not line.startswith("#")]
    real = np.percentile([float(row[7]) for row in rows if row[1] == "ab"], (16, 50, 84))
    ours = np.percentile([star.amplitude_B[1] for star in _draw_pulsators(seed, objects, "RRab")], (16, 50, 84))
    yield _all_near(statistic, ours, real, 0.1, places=2)

"""Checks 1 and 2: cadence and depth of the SDSS-II supernova survey against 202 real light curves.

Check 1 also holds the cadence of ZTF against its pointings of 2018 to 2022 (300 fields with over 400 exposures) and
that of LSST against the simulated survey baseline_v3.0.
"""

from collections.abc import Iterator

import numpy as np

from model.simulation.sky_records import Schedule
from model.simulation.survey.schedule import draw_schedule
from model.simulation.surveys import LSST, SDSS, ZTF, Survey
from model.simulation.validation import Check, within

NIGHTS = {25: 19, 50: 21, 75: 23}  # percentile -> nights per object
SPANS_DAYS = {25: 82, 50: 87, 75: 89}
GAPS_DAYS = {25: 2, 50: 3, 75: 5, 90: 8, 95: 10}
MEAN_GAP_DAYS = 3.95
ALL_BANDS = 0.84
DEPTHS_MAG = {
    "u": (20.50, 20.95, 21.42, 21.69, 21.78),
    "g": (21.39, 21.86, 22.53, 22.84, 22.95),
    "r": (21.29, 21.69, 22.14, 22.40, 22.50),
    "i": (21.08, 21.40, 21.73, 21.95, 22.03),
    "z": (19.91, 20.19, 20.50, 20.72, 20.82),
}  # 5, 16, 50, 84, 95 %
# Nights and gaps are whole numbers: their quantiles cannot be compared more finely than by one.
ALERT_GAPS_DAYS = {"ztf": {25: 1, 50: 2, 75: 3, 90: 6, 95: 9}, "lsst": {25: 1, 50: 3, 75: 6, 95: 17}}  # in a season
OFF_SEASON_DAYS = 50  # gaps longer than this
ZTF_VISITS_A_YEAR = {"g": 78, "r": 128}  # medians
ZTF_SINGLE_G, ZTF_G_WITH_R, ZTF_SHARE_TOLERANCE = 0.77, 0.82, 0.05  # nights with one visit in g; with r, too
LSST_VISITS_IN_TEN_YEARS = {"u": 49, "g": 70, "r": 194, "i": 199, "z": 169, "y": 173}
VISITS_TOLERANCE = 0.25
# Of the nights of Stripe 82, as measured; stated here once more so that a slip in the generator's table shows.
DEPTH_CORRELATIONS = {
    **{"ug": 0.87, "ur": 0.80, "ui": 0.74, "uz": 0.65, "gr": 0.87},
    **{"gi": 0.74, "gz": 0.54, "ri": 0.89, "rz": 0.71, "iz": 0.83},
}
RELATIVE, WHOLE_NUMBER, DEPTH_TOLERANCE_MAG, CORRELATION_TOLERANCE = 0.10, 1.0, 0.15, 0.08


def schedule_checks(seed: int, objects: int) -> Iterator[Check]:
    """Draw schedules and compare them."""
    drawn = [draw_schedule(SDSS, np.random.default_rng([seed, i, 1]), 53_614.0) for i in range(objects)]
    yield from _cadence(drawn)
    yield from _depth(drawn)
    for survey in (ZTF, LSST):
        drawn = [draw_schedule(survey, np.random.default_rng([seed, i, 1]), 60_000.0) for i in range(objects)]
        yield from _alert_cadence(survey, [schedule for schedule in drawn if len(schedule.time_T)])


def _cadence(drawn: list[Schedule]) -> Iterator[Check]:
    nights = [np.unique(s.night_T) for s in drawn]
    measured = {
        "nights per object": (NIGHTS, np.array([len(n) for n in nights])),
        "span, days": (SPANS_DAYS, np.array([np.ptp(n) for n in nights])),
        "gap between nights, days": (GAPS_DAYS, np.concatenate([np.diff(n) for n in nights])),
    }
    for name, (target, values) in measured.items():
        measured_at = {p: float(np.percentile(values, p)) for p in target}
        good = all(within(measured_at[p], target[p], max(RELATIVE * target[p], WHOLE_NUMBER)) for p in target)
        yield Check(
            1, f"{name} at {_list(target)} %", f"{_list(target.values())} +-10 %", _list(measured_at.values()), good
        )
    mean_gap = float(np.mean(measured["gap between nights, days"][1]))
    good = within(mean_gap, MEAN_GAP_DAYS, RELATIVE * MEAN_GAP_DAYS)
    yield Check(1, "mean gap, days", f"{MEAN_GAP_DAYS} +-10 %", f"{mean_gap:.2f}", good)
    full = np.concatenate([np.unique(s.night_T, return_counts=True)[1] == len(SDSS.bands) for s in drawn])
    yield Check(
        1, "nights with all five bands", "0.84 +-0.02", f"{full.mean():.3f}", within(full.mean(), ALL_BANDS, 0.02)
    )


def _alert_cadence(survey: Survey, drawn: list[Schedule]) -> Iterator[Check]:
    name, target = survey.name.upper(), ALERT_GAPS_DAYS[survey.name]
    gaps = np.concatenate([np.diff(np.unique(s.night_T)) for s in drawn])
    measured_at = {p: float(np.percentile(gaps[gaps <= OFF_SEASON_DAYS], p)) for p in target}
    good = all(within(measured_at[p], target[p], max(RELATIVE * target[p], WHOLE_NUMBER)) for p in target)
    statistic = f"{name}: gap between nights, days at {_list(target)} %"
    yield Check(1, statistic, f"{_list(target.values())} +-10 % or 1", _list(measured_at.values()), good)
    years = survey.window_days / 365
    visits = {
        band: np.array([np.count_nonzero(s.band_T == b) for s in drawn]) / years
        for band, b in zip(survey.bands, survey.band_indices, strict=True)
    }
    if survey is LSST:
        ten = {band: round(float(10 * visits[band].mean())) for band in LSST_VISITS_IN_TEN_YEARS}
        yield _visits("LSST: visits in ten years, ugrizy", LSST_VISITS_IN_TEN_YEARS, ten)
        return
    one = {band: round(float(np.median(visits[band]))) for band in ZTF_VISITS_A_YEAR}
    yield _visits("ZTF: median visits in a year, g and r", ZTF_VISITS_A_YEAR, one)
    counts = [np.unique(s.night_T[s.band_T == 1], return_counts=True) for s in drawn]
    single = float(np.mean(np.concatenate([number for _, number in counts]) == 1))
    both = float(
        np.mean(np.concatenate([np.isin(n, s.night_T[s.band_T == 2]) for (n, _), s in zip(counts, drawn, strict=True)]))
    )
    good = within(single, ZTF_SINGLE_G, ZTF_SHARE_TOLERANCE) and within(both, ZTF_G_WITH_R, ZTF_SHARE_TOLERANCE)
    statistic, target_text = "ZTF: nights in g with one visit; with r, too", f"{ZTF_SINGLE_G}, {ZTF_G_WITH_R} +-0.05"
    yield Check(1, statistic, target_text, f"{single:.2f}, {both:.2f}", good)


def _visits(statistic: str, target: dict[str, int], measured: dict[str, int]) -> Check:
    good = all(within(measured[band], target[band], VISITS_TOLERANCE * target[band]) for band in target)
    return Check(1, statistic, f"{_list(target.values())} +-25 %", _list(measured.values()), good)


def _depth(drawn: list[Schedule]) -> Iterator[Check]:
    table_NB = np.concatenate([_depth_by_night(s) for s in drawn])
    for b, band in enumerate(SDSS.bands):
        depths = np.nanpercentile(table_NB[:, b], (5, 16, 50, 84, 95))
        worst = float(np.abs(depths - DEPTHS_MAG[band]).max())
        yield Check(
            2,
            f"5-sigma depth in {band} at 5, 16, 50, 84, 95 %",
            f"{_list(DEPTHS_MAG[band])} +-{DEPTH_TOLERANCE_MAG}",
            _list(np.round(depths, 2)),
            worst <= DEPTH_TOLERANCE_MAG,
        )
    whole_NB = table_NB[np.isfinite(table_NB).all(axis=1)]
    found_BB = np.corrcoef(whole_NB.T)
    pairs = {pair: found_BB[SDSS.bands.index(pair[0]), SDSS.bands.index(pair[1])] for pair in DEPTH_CORRELATIONS}
    difference = max(abs(pairs[pair] - measured) for pair, measured in DEPTH_CORRELATIONS.items())
    yield Check(
        2,
        "correlation of depth between bands, largest difference",
        f"<= {CORRELATION_TOLERANCE}",
        f"{difference:.3f}",
        difference <= CORRELATION_TOLERANCE,
    )


def _depth_by_night(schedule: Schedule) -> np.ndarray:
    nights = np.unique(schedule.night_T)
    table_NB = np.full((len(nights), len(SDSS.bands)), np.nan)
    table_NB[np.searchsorted(nights, schedule.night_T), schedule.band_T] = schedule.depth_T
    return table_NB


def _list(values: object) -> str:
    return ", ".join(f"{value:g}" for value in values)  # type: ignore[attr-defined]

"""Check 11: noise ratios, correlations, masks and sizes of simulated ZTF stamps against real alerts."""

from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from model.simulation.images import photometry
from model.simulation.images import render as products
from model.simulation.sky.population import draw_object
from model.simulation.sky_records import SkySettings
from model.simulation.survey import selection
from model.simulation.surveys import ZTF, flux_njy
from model.simulation.validation import Check, within
from model.simulation.validation.stamps import real_ztf, stamp_features

# What alerts are of. Half of the real sample's are labelled: variable stars lead by far. Of the rest 59 are known
# asteroids, and 2 % of all have a real-bogus score below 0.3. A choice within what these numbers allow.
MIX = {"Variable": 0.55, "AGN": 0.08, "SNIa": 0.11, "SNOther": 0.09, "Bogus": 0.05, "Asteroid": 0.12}
REAL_COUNT, LEAST_COUNT, SPARE = 817, 150, 2
CANDIDATES = 4
SPARSE = 0.035  # fewer template pixels than this beyond 3 sigma: noise is seen, not confusion
TOLERANCES = {  # of the median over sparse stamps
    "noise template/science": 0.25,
    "noise difference/science": 0.05,
    "science lag x": 0.05,
    "science lag y": 0.05,
    "template lag x": 0.05,
    "template lag y": 0.05,
    "difference lag x": 0.05,
    "difference lag y": 0.05,
}
MASKED, CUT = (0.17, 0.04), (0.03, 0.02)
LIMIT_QUANTILES, LIMIT_MAG = (5, 16, 50, 84, 95), 0.2


@cache
def real_stamps(folder: Path) -> real_ztf.RealStamps:
    """The real alerts, read once."""
    return real_ztf.read(folder)


@cache
def simulated_stamps(seed: int, count: int) -> tuple[NDArray[np.float32], NDArray[np.bool_], NDArray[np.float64]]:
    """One detected visit of each of ``count`` objects of the alert mix.

    Returns
    -------
    pixels_NCHW : DN.
    whole_N : False where the detector's edge cut the stamp.
    limit_N : published limiting magnitudes.
    """
    rng = np.random.default_rng([seed, 11])
    sky = SkySettings(survey=ZTF, seed=seed)
    pixels: list[NDArray[np.float32]] = []
    whole: list[bool] = []
    limits: list[float] = []
    object_id = 0
    while len(pixels) < count:
        kind = str(rng.choice(list(MIX), p=list(MIX.values())))
        # A stream holds an object as often as it alerts: of some candidates, one in proportion to its detections.
        candidates = []
        for _ in range(CANDIDATES):
            object_id += 1
            obj = draw_object(sky, kind, 2_000_000 + object_id)
            # Real alerts of the sample are in g and r.
            if obj is not None:
                seen_T = selection.detections(obj) & np.isin(obj.schedule.band_T, (1, 2))
                candidates.append((obj, np.flatnonzero(seen_T)))
        alerts = np.array([len(seen) for _, seen in candidates])
        if alerts.sum() == 0:
            continue
        obj, seen = candidates[int(rng.choice(len(candidates), p=alerts / alerts.sum()))]
        visit = rng.choice(seen)
        frames = products.render_frames(
            obj, ZTF.stamp_pixels, ZTF.products, np.array([visit]), 4, np.random.default_rng([seed, obj.object_id])
        )
        flux_N, error_N = photometry.of_frames(frames, ZTF.products, ZTF)
        if kind != "Bogus" and not np.abs(flux_N[0]) >= selection.DETECTION_SIGMA * error_N[0]:
            continue
        pixels.append(frames.pixels_NCHW[0] / np.float32(flux_njy(obj.schedule.zero_point_T[visit])))
        whole.append(tuple(frames.window_N4[0]) == (0, ZTF.stamp_pixels, 0, ZTF.stamp_pixels))
        limits.append(float(obj.schedule.depth_T[visit]))
    return np.array(pixels, np.float32), np.array(whole), np.array(limits, np.float64)


def pool_size(share: float) -> int:
    """Simulated stamps that checks 11 and 12 draw together: twice the real ones, so that 12 can choose."""
    return SPARE * max(round(REAL_COUNT * share), LEAST_COUNT)


def ztf_stamps(folder: Path, seed: int, share: float) -> Iterator[Check]:
    """Compare simulated stamps with the real ones below a folder."""
    real = real_stamps(folder)
    pixels_NCHW, whole_N, limit_N = simulated_stamps(seed, pool_size(share))
    names, real_NF = stamp_features.table(real.pixels_NCHW)
    _, simulated_NF = stamp_features.table(pixels_NCHW)
    crowding = names.index("template faint tail")
    for name, tolerance in TOLERANCES.items():
        f = names.index(name)
        target, value = (float(np.nanmedian(rows[rows[:, crowding] < SPARSE, f])) for rows in (real_NF, simulated_NF))
        yield Check(
            11,
            f"ZTF, sparse fields: {name}",
            f"{target:+.2f} ± {tolerance}",
            f"{value:+.2f}",
            within(value, target, tolerance),
        )
    # A chip's edge is no mask: real packets hold smaller stamps there.
    masked = float(np.mean([np.isnan(p).any() for p, w in zip(pixels_NCHW, whole_N, strict=True) if w]))
    real_masked = np.mean([np.isnan(p).any() for p, w in zip(real.pixels_NCHW, real.whole_N, strict=True) if w])
    yield Check(
        11,
        "ZTF: stamps with masked pixels",
        f"{real_masked:.1%} ± {MASKED[1]:.0%}",
        f"{masked:.1%}",
        within(masked, float(real_masked), MASKED[1]),
    )
    cut, real_cut = 1 - whole_N.mean(), 1 - real.whole_N.mean()
    yield Check(
        11, "ZTF: stamps cut short", f"{real_cut:.1%} ± {CUT[1]:.0%}", f"{cut:.1%}", within(cut, real_cut, CUT[1])
    )
    quantiles, real_quantiles = (
        np.nanpercentile(limits, LIMIT_QUANTILES) for limits in (limit_N, real.number["diffmaglim"])
    )
    worst = float(np.abs(quantiles - real_quantiles).max())
    yield Check(
        11, "ZTF: largest error of diffmaglim's quantiles", f"< {LIMIT_MAG} mag", f"{worst:.2f} mag", worst < LIMIT_MAG
    )

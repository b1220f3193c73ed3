"""Numbers behind the simulated ZTF camera, measured on real alerts and printed; ``--simulated``: on our own.

Run: ``python -m model.simulation.validation.measure_ztf shared/data/alerts/ztf [--simulated 817] [--seed 1]``.
Developers compare both tables when they change ``cameras``, ``artefacts``, ``schedule`` or ``hosts``.
"""

import argparse
import warnings
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import erfa
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter

from model.simulation.surveys import ZTF, ZTF_READ_VARIANCE_DN2
from model.simulation.validation.stamps import blank_sky, isolated_stars, real_ztf, stamp_features, ztf_stamps

PERCENT = (5, 16, 50, 84, 95)
CYCLES = np.array([0.15, 0.25, 0.35, 0.4, 0.45, 0.5])
PEAKS_DN = (11.2, 35.0, 112.0, 350.0, 1120.0)
LATITUDES_DEG = (0, 5, 8, 12, 18, 27, 40, 60, 90)
LEAST_BLANK = 0.7
ZERO_POINT_MAG = 26.25
BRIGHT_SKY_DN = 20.0  # thick clouds and twilight's short exposures lie below

Row = tuple[str, NDArray[np.float64]]


def stamps_only(pixels_NCHW: NDArray[np.float32]) -> Iterator[Row]:
    """What stamps alone tell."""
    blank = [blank_sky.blank(triplet) for triplet in pixels_NCHW]
    sparse = [one for one in blank if np.isfinite(one[0]).mean() > LEAST_BLANK]
    for rows, columns in ((1, 3), (2, 3), (2, 1), (1, 2)):
        values = [blank_sky.pattern_variance(one[0], rows, columns) for one in sparse]
        yield f"pattern of {rows} rows, {columns} columns: variance, science", np.array(values)
    filters = [one for one in map(blank_sky.filters, pixels_NCHW) if one is not None]
    yield f"difference explained by two filters ({len(filters)} stamps)", np.array([one.explained for one in filters])
    for axis, name in ((1, "x"), (0, "y")):
        science_NF = np.array([blank_sky.transfer(one.science_KK, CYCLES, axis) for one in filters])
        share_NF = np.abs(science_NF)
        shift_NF = np.angle(science_NF * np.sign(science_NF[:, :1].real)) / (2 * np.pi * CYCLES)
        for f, cycles in enumerate(CYCLES):
            yield f"science in difference at {cycles} cycles/px along {name}, in noise", share_NF[:, f]
            yield f"its shift at {cycles} cycles/px along {name}, px", shift_NF[:, f]
    stars = [pair for triplet in pixels_NCHW for pair in isolated_stars.pairs(triplet)]
    for c, name in enumerate(("science", "template")):
        yield f"{name}: FWHM of {len(stars)} stars, px", np.array([star.fwhm_px_2[c] for star in stars])
        yield f"{name}: 1 - minor/major axis", np.array([star.ellipticity_2[c] for star in stars])
    for c, name in enumerate("xy"):
        yield f"template minus science along {name}, px", np.array([star.shift_px_2[c] for star in stars])
    concentration_N2 = np.array([one for triplet in pixels_NCHW for one in isolated_stars.concentrations(triplet)])
    for c, name in enumerate(("science", "template")):
        yield f"{name}: light of {len(concentration_N2)} stars within 1.5 px, of 3 px", concentration_N2[:, c]
    remnant_N2 = np.array([one for triplet in pixels_NCHW for one in isolated_stars.remnants(triplet)])
    yield f"difference: left of {len(remnant_N2)} stars, of their light", remnant_N2[:, 0]
    yield "difference: size of what is left of them", remnant_N2[:, 1]
    peaks_NL = np.array([_peaks(triplet[1]) for triplet in pixels_NCHW])
    for k, limit in enumerate(PEAKS_DN):
        yield f"peaks of a template above {limit} DN", peaks_NL[:, k]


def with_packets(stamps: real_ztf.RealStamps) -> Iterator[Row]:
    """What stamps tell together with the zero point and the limit of their packets."""
    level_NC, sigma_NC = (
        np.array(both) for both in zip(*map(stamp_features.noise_of, stamps.pixels_NCHW), strict=True)
    )
    zero_point_N, limit_N = stamps.number["magzpsci"], stamps.number["diffmaglim"]
    names, features_NF = stamp_features.table(stamps.pixels_NCHW)
    sparse_N = (features_NF[:, names.index("template faint tail")] < 0.06) & np.isfinite(zero_point_N)
    clear_N = 10 ** (0.4 * (zero_point_N - ZERO_POINT_MAG))
    for band in (1, 2):
        of_N = stamps.band_N == band
        letter = "?gri"[band]
        yield f"{letter}: zero point, mag", zero_point_N[of_N & np.isfinite(zero_point_N)]
        yield f"{letter}: limit, mag", limit_N[of_N]
        of_N &= sparse_N & (level_NC[:, 0] > BRIGHT_SKY_DN)
        photons_N = level_NC[:, 0] / ZTF.gain_B[band] + ZTF_READ_VARIANCE_DN2
        yield f"{letter}: background at zero point {ZERO_POINT_MAG}, DN", (level_NC[:, 0] / clear_N)[of_N]
        yield f"{letter}: template noise there, DN", (sigma_NC[:, 1] / clear_N)[of_N]
        yield f"{letter}: science variance over the background's photons", (sigma_NC[:, 0] ** 2 / photons_N)[of_N]
        yield f"{letter}: visits in a template", (photons_N / sigma_NC[:, 1] ** 2)[of_N]
        cost_N = zero_point_N - 2.5 * np.log10(5 * sigma_NC[:, 0]) - limit_N
        yield f"{letter}: zero point - 2.5 log10(5 noise) - limit, mag", cost_N[of_N]
    _, latitude_N = np.abs(erfa.icrs2g(*np.radians((stamps.number["ra"], stamps.number["dec"]))))
    first = np.zeros(len(latitude_N), bool)
    first[np.unique(stamps.object_N, return_index=True)[1]] = True
    for low, high in pairwise(LATITUDES_DEG):
        at_N = first & (np.radians(low) <= latitude_N) & (latitude_N < np.radians(high))
        peaks_NL = np.array([_peaks(triplet[1]) for triplet in stamps.pixels_NCHW[at_N]]).reshape(-1, len(PEAKS_DN))
        yield f"peaks of a template above {PEAKS_DN[1]} DN, |b| {low} to {high} ({at_N.sum()} objects)", peaks_NL[:, 1]


def _peaks(template_HW: NDArray[np.float32]) -> list[float]:
    """Peaks beyond 4 pixels of the centre above each brightness, over the measured share of the stamp."""
    level = np.nanmedian(template_HW)
    light_HW = np.nan_to_num(template_HW - level)
    axis = np.arange(len(light_HW)) - len(light_HW) // 2
    peak_HW = (light_HW == maximum_filter(light_HW, 5)) & (np.hypot(axis, axis[:, None]) > 4)
    measured = max(float(np.isfinite(template_HW).mean()), 0.3)
    return [float((peak_HW & (light_HW > limit)).sum()) / measured for limit in PEAKS_DN]


def main() -> None:
    """Print one row of quantiles per number."""
    parser = argparse.ArgumentParser(description="What real ZTF alerts say of the camera, and what simulated ones do.")
    parser.add_argument("alerts", type=Path, help="folder of alert packets, *.avro")
    parser.add_argument("--simulated", type=int, metavar="N", help="measure N simulated stamps instead")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    warnings.simplefilter("ignore", RuntimeWarning)  # masked stamps have empty rings and logarithms of nothing
    print(f"{'quantiles, %':62}" + "".join(f"{q:>10}" for q in PERCENT))
    if options.simulated:
        pixels_NCHW = ztf_stamps.simulated_stamps(options.seed, options.simulated)[0]
        rows = stamps_only(pixels_NCHW)
    else:
        stamps = real_ztf.read(options.alerts)
        rows = (row for part in (stamps_only(stamps.pixels_NCHW), with_packets(stamps)) for row in part)
    for name, values in rows:
        print(f"{name:62}" + "".join(f"{value:10.3f}" for value in np.nanpercentile(values, PERCENT)), flush=True)


if __name__ == "__main__":
    main()

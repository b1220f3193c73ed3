"""Picture of one alert: its decoded stamps and the light curve of its packet. Knows no Avro."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from broker_filter.alerts.packet_epochs import DETECTION, FORCED, LIMIT, Point
from broker_filter.records import STAMP_KINDS, Alert
from model.past_photometry import LIMIT_SIGMA
from model.printable import short
from model.series import MAD_TO_SIGMA

BAND_COLOURS = {"u": "#6a4c93", "g": "#2a9d8f", "r": "#d1495b", "i": "#e09f3e", "z": "#7f5539", "y": "#444444"}
NOT_OBSERVED = "#dfe7ef"
INK, FAINT = "#1f2933", "#8795a1"
SOFTENING_SIGMA = 3.0  # the asinh stretch is linear up to here
SCALE_BAR_ARCSEC = {"ztf": 10.0, "lsst": 2.0}
NJY_PER_UJY = 1_000.0
MANY_POINTS = 100


def draw(
    path: Path,
    alert: Alert,
    stamps: Mapping[str, NDArray[np.float32] | None],
    arcsec_per_pixel: float,
    points: Sequence[Point],
) -> None:
    """Draw the three stamps with an asinh stretch, and below them the light curve, into a PNG file.

    The difference is drawn as science minus template, whichever way it was published.

    Parameters
    ----------
    stamps
        Kind -> pixels_HW as published, NaN where not observed; None where there is none.
    """
    figure = Figure(figsize=(9.6, 7.4), dpi=150, facecolor="white")
    grid = figure.add_gridspec(2, 3, height_ratios=(1.0, 0.82), left=0.085, right=0.965, top=0.845, bottom=0.09)
    grid.update(hspace=0.24, wspace=0.06)
    for column, kind in enumerate(STAMP_KINDS):
        _draw_stamp(figure.add_subplot(grid[0, column]), alert, kind, stamps[kind], arcsec_per_pixel)
    _draw_light_curve(figure.add_subplot(grid[1, :]), alert, points)
    figure.text(0.085, 0.945, short(alert.object_id), fontsize=19, fontweight="bold", color=INK, parse_math=False)
    score = "" if alert.real_bogus is None else f"  ·  real {alert.real_bogus:.2f}"
    moving = "  ·  Solar-system object" if alert.solar_system else ""
    line = f"{alert.survey.upper()} alert {alert.alert_id}  ·  MJD {alert.time_mjd:.5f}  ·  {alert.band} band"
    place = f"RA {alert.ra_deg:.5f}°  Dec {alert.dec_deg:+.5f}°"
    figure.text(0.085, 0.907, f"{line}  ·  {place}{score}{moving}", fontsize=9.5, color=FAINT)
    figure.savefig(path, format="png")


def _draw_stamp(
    axes: Axes, alert: Alert, kind: str, pixels_HW: NDArray[np.float32] | None, arcsec_per_pixel: float
) -> None:
    axes.set_facecolor(NOT_OBSERVED)
    axes.set_title(kind, fontsize=11, color=INK, pad=7)
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_color(FAINT)
        spine.set_linewidth(0.6)
    if pixels_HW is not None:
        sign = alert.difference_sign if kind == "difference" else 1.0
        pixels_HW = np.where(np.isfinite(pixels_HW), sign * pixels_HW, np.nan)
    real = None if pixels_HW is None else pixels_HW[np.isfinite(pixels_HW)]
    if pixels_HW is None or real is None or real.size == 0:
        axes.set_box_aspect(1)
        axes.text(0.5, 0.5, "no stamp", transform=axes.transAxes, ha="center", va="center", color=FAINT)
        return
    height, width = pixels_HW.shape
    middle = float(np.median(real))
    sigma = MAD_TO_SIGMA * float(np.median(np.abs(real - middle))) or float(np.std(real)) or 1.0
    stretched_HW = np.arcsinh((pixels_HW.astype(np.float64) - middle) / (SOFTENING_SIGMA * sigma))
    if kind == "difference":
        reach = float(np.nanmax(np.abs(stretched_HW))) or 1.0
        axes.imshow(stretched_HW, cmap="RdBu_r", vmin=-reach, vmax=reach, origin="lower", interpolation="nearest")
        bar_colour = INK
    else:
        low, high = np.nanpercentile(stretched_HW, (1.0, 99.8))
        axes.imshow(stretched_HW, cmap="gray", vmin=low, vmax=high, origin="lower", interpolation="nearest")
        bar_colour = "white"
    axes.set_box_aspect(1)
    centre_x, centre_y, gap, arm = width // 2, height // 2, 0.07 * width, 0.09 * width
    mark_colour = INK if kind == "difference" else "#ffd166"
    axes.plot([centre_x + gap, centre_x + gap + arm], [centre_y, centre_y], color=mark_colour, linewidth=1.3)
    axes.plot([centre_x, centre_x], [centre_y + gap, centre_y + gap + arm], color=mark_colour, linewidth=1.3)
    bar_arcsec = SCALE_BAR_ARCSEC[alert.survey]
    left, bottom = 0.05 * width, 0.06 * height
    axes.plot([left, left + bar_arcsec / arcsec_per_pixel], [bottom, bottom], color=bar_colour, linewidth=2.2)
    axes.text(left, bottom + 0.025 * height, f"{bar_arcsec:g}″", color=bar_colour, fontsize=8.5, va="bottom")
    axes.set_xlim(-0.5, width - 0.5)
    axes.set_ylim(-0.5, height - 0.5)


def _draw_light_curve(axes: Axes, alert: Alert, points: Sequence[Point]) -> None:
    marker_size = 5.0 if len(points) < MANY_POINTS else 3.0
    for band, colour in BAND_COLOURS.items():
        of_band = [point for point in points if point.band == band]
        if not of_band:
            continue
        for kind, marker, size, alpha in ((FORCED, ".", 0.8 * marker_size, 0.45), (DETECTION, "o", marker_size, 0.9)):
            _errorbar(axes, [point for point in of_band if point.kind == kind], colour, marker, size, alpha)
        limits = [point for point in of_band if point.kind == LIMIT]
        if limits:
            axes.scatter(
                [point.time_mjd for point in limits],
                [LIMIT_SIGMA * point.flux_error_njy / NJY_PER_UJY for point in limits],
                s=26,
                marker="v",
                facecolors="none",
                edgecolors=colour,
                alpha=0.6,
                linewidths=0.9,
            )
        axes.plot([], [], "o", color=colour, markersize=5, label=band)
    if any(point.kind == FORCED for point in points):
        axes.plot([], [], ".", color=FAINT, markersize=5, label="forced")
    if any(point.kind == LIMIT for point in points):
        axes.plot([], [], "v", color=FAINT, fillstyle="none", markersize=5, label=f"{LIMIT_SIGMA:.0f}σ limit")
    axes.axhline(0.0, color=FAINT, linewidth=0.7)
    if np.isfinite(alert.flux_njy):
        now = (alert.time_mjd, alert.flux_njy / NJY_PER_UJY)
        axes.plot(*now, "o", markersize=12, fillstyle="none", color=INK, markeredgewidth=1.1, label="this alert")
    axes.margins(0.05, 0.12)
    axes.xaxis.set_major_locator(MaxNLocator(7))
    axes.ticklabel_format(axis="x", useOffset=False, style="plain")
    axes.set_xlabel("MJD (TAI)", color=INK)
    axes.set_ylabel("difference flux  [µJy]", color=INK)
    axes.tick_params(colors=INK, labelsize=9)
    axes.grid(color="#e8edf2", linewidth=0.7)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.legend(loc="upper left", bbox_to_anchor=(0.0, 1.13), ncols=9, frameon=False, fontsize=9, handletextpad=0.2)


def _errorbar(axes: Axes, points: Sequence[Point], colour: str, marker: str, size: float, alpha: float) -> None:
    if points:
        axes.errorbar(
            [point.time_mjd for point in points],
            [point.flux_njy / NJY_PER_UJY for point in points],
            yerr=[point.flux_error_njy / NJY_PER_UJY for point in points],
            fmt=marker,
            markersize=size,
            color=colour,
            ecolor=colour,
            elinewidth=0.8,
            alpha=alpha,
        )

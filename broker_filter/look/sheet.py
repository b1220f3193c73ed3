"""The sheet of one object: light curve, probabilities and unknown score after each alert, and the stamps.

``draw_sheet`` draws one object on a page, ``draw_contact_sheet`` several, each in a tile.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from astropy.coordinates import SkyCoord
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from broker_filter.alerts.units import magnitude_of_flux
from broker_filter.look.links import links_of
from broker_filter.look.story import ObjectStory, bands_of
from broker_filter.records import STRANGE_SCORE, Classification
from model.clock import calendar_date
from model.pictures import light_curve
from model.pictures.colours import colours_of_classes
from model.pictures.figure import Picture
from model.pictures.stamps import draw_stamps, layout_of
from model.pictures.theme import LIGHT, Theme
from model.printable import short
from model.taxonomy import load_taxonomy

WIDTH_IN, LEFT, RIGHT = 13.2, 0.068, 0.945
TITLE_IN, CURVE_IN, PROBABILITY_IN, UNKNOWN_IN = 1.12, 2.35, 1.45, 0.62
PANEL_GAP_IN, STAMP_GAP_IN, BOTTOM_IN = 0.16, 0.82, 0.14
FEWEST_COLUMNS = 9


def draw_sheet(story: ObjectStory, theme: Theme = LIGHT) -> Figure:
    """Draw an object on one page.

    The time axis is the same for all panels: days since the first alert. A dashed line marks the alert since which the
    most probable class has stayed what it is.
    """
    has_stamps = len(story.frames) > 0
    layout = layout_of(story.frames, story.channels) if has_stamps else None
    across = max(len(layout.columns), FEWEST_COLUMNS) if layout else 1
    stamps_in = (RIGHT - LEFT) * WIDTH_IN / across * len(layout.names) if layout else 0.0
    panels = (CURVE_IN, PROBABILITY_IN, UNKNOWN_IN)
    height = TITLE_IN + sum(panels) + 2 * PANEL_GAP_IN + STAMP_GAP_IN + stamps_in + BOTTOM_IN
    figure = Picture(WIDTH_IN, height, theme.ground)
    curve, probability, unknown = _panels(figure, panels, height, theme)
    first_mjd = story.answers[0].time_mjd
    _draw_curve(curve, story, first_mjd, theme)
    _draw_probabilities(probability, story, first_mjd, theme)
    _draw_unknown(unknown, story, first_mjd, theme)
    _same_time_axis((curve, probability, unknown), story, first_mjd, theme)
    if layout is not None:
        grid = figure.add_gridspec(
            len(layout.names), across, left=LEFT, right=RIGHT, bottom=BOTTOM_IN / height, wspace=0.05, hspace=0.05
        )
        grid.update(top=(BOTTOM_IN + stamps_in) / height)
        draw_stamps(figure, grid, story.frames, layout, theme)
        if len(layout.columns) < len(story.frames) and not layout.by_band:
            words = f"{len(layout.columns)} of {len(story.frames)} stamps"
            top = (BOTTOM_IN + stamps_in + 0.08) / height
            figure.text(RIGHT + 0.004, top, words, fontsize=7, color=theme.faint, rotation=270, va="top")
    _write_title(figure, story, theme)
    return figure


def _panels(figure: Figure, heights_in: Sequence[float], height_in: float, theme: Theme) -> list[Axes]:
    """Panels below each other, from under the title on."""
    panels, top_in = [], height_in - TITLE_IN
    for panel_in in heights_in:
        box = (LEFT, (top_in - panel_in) / height_in, RIGHT - LEFT, panel_in / height_in)
        panels.append(figure.add_axes(box, facecolor=theme.ground))
        top_in -= panel_in + PANEL_GAP_IN
    return panels


def _draw_curve(axes: Axes, story: ObjectStory, first_mjd: float, theme: Theme) -> None:
    light_curve.draw_epochs(axes, replace(story.epochs, time_P=story.epochs.time_P - first_mjd))
    light_curve.draw_frames(axes, replace(story.frames, time_T=story.frames.time_T - first_mjd))
    light_curve.limit_fluxes(axes, story.frames, story.epochs)
    words = []
    if (story.epochs.flux_P != 0).any():
        words.append(("x", "measured, no stamp"))
    if (story.epochs.flux_P == 0).any():
        words.append(("v", "5σ limit"))
    light_curve.finish(axes, bands_of(story), theme, words)
    axes.set_ylabel("difference flux  [µJy]", color=theme.ink, fontsize=9)
    _magnitude_axis(axes, theme)


def _magnitude_axis(axes: Axes, theme: Theme) -> None:
    """AB magnitudes at the right, at whole and half ones where there is room."""
    low, high = axes.get_ylim()
    if high <= 0:
        return
    ticks: list[tuple[float, float]] = []
    for magnitude in np.arange(8.0, 28.0, 0.5):
        flux_ujy = 10 ** ((light_curve.AB_MAG_OF_1_UJY - magnitude) / 2.5)
        if max(low, 0.04 * high) < flux_ujy < high and (not ticks or ticks[-1][1] - flux_ujy > 0.09 * (high - low)):
            ticks.append((magnitude, flux_ujy))
    twin = axes.twinx()
    twin.set_ylim(low, high)
    twin.set_yticks([flux for _, flux in ticks], [f"{magnitude:g}" for magnitude, _ in ticks])
    twin.set_ylabel("AB mag", color=theme.faint, fontsize=9)
    twin.tick_params(colors=theme.faint, labelsize=8, length=3)
    for spine in twin.spines.values():
        spine.set_visible(False)


def _draw_probabilities(axes: Axes, story: ObjectStory, first_mjd: float, theme: Theme) -> None:
    """One line a class, the most probable on top and heaviest."""
    answers = story.classified
    colours = colours_of_classes(story.classes)
    best = answers[-1].best if answers else None
    days = [answer.time_mjd - first_mjd for answer in answers]
    for name, colour in colours.items():
        is_best = name == best
        axes.plot(
            days,
            [answer.probabilities.get(name, 0.0) for answer in answers],
            "o-",
            color=colour,
            markersize=4.5 if is_best else 3.2,
            linewidth=2.0 if is_best else 1.1,
            alpha=1.0 if is_best else 0.85,
            label=name,
            zorder=3 if is_best else 2,
        )
    for name in groups_of(story):
        whole = [(answer.broad_probabilities or {}).get(name, np.nan) for answer in answers]
        axes.plot(
            days, whole, linestyle=(0, (5, 2)), color=theme.ink, linewidth=1.2, label=f"{name}, all types", zorder=2
        )
    axes.set_ylim(-0.04, 1.04)
    axes.set_yticks([0, 0.5, 1])
    axes.set_ylabel("probability", color=theme.ink, fontsize=9)
    _plain(axes, theme)
    if colours:
        axes.legend(
            frameon=False,
            fontsize=8,
            ncols=9,
            loc="lower right",
            bbox_to_anchor=(1.0, 0.97),
            borderaxespad=0,
            handletextpad=0.3,
            columnspacing=1.2,
            labelcolor=theme.ink,
        )


def _draw_unknown(axes: Axes, story: ObjectStory, first_mjd: float, theme: Theme) -> None:
    known = [(a.time_mjd - first_mjd, a.unknown_score) for a in story.classified if a.unknown_score is not None]
    axes.axhline(STRANGE_SCORE, color="#c4543a", linewidth=0.8, linestyle=(0, (4, 3)), zorder=1)
    axes.text(
        1.003,
        STRANGE_SCORE,
        "strange",
        transform=axes.get_yaxis_transform(),
        fontsize=7.5,
        color="#c4543a",
        va="center",
    )
    if known:
        days, scores = zip(*known, strict=True)
        axes.plot(days, scores, "o-", color=theme.faint, markersize=3.2, linewidth=1.1, zorder=2)
    low = min([-1.0, *(score for _, score in known)])
    high = max([STRANGE_SCORE + 1.0, *(score for _, score in known)])
    axes.set_ylim(low - 0.08 * (high - low), high + 0.08 * (high - low))
    axes.set_ylabel("unknown", color=theme.ink, fontsize=9)
    _plain(axes, theme)


def _plain(axes: Axes, theme: Theme) -> None:
    axes.tick_params(colors=theme.ink, labelsize=8, length=3)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(theme.ink)
    axes.yaxis.grid(color=theme.line, linewidth=0.7)
    axes.set_axisbelow(True)


def _same_time_axis(panels: Sequence[Axes], story: ObjectStory, first_mjd: float, theme: Theme) -> None:
    """The same limits for all, labels below the last, and the moment since which the answer has stayed."""
    start = min([0.0, *(story.epochs.time_P - first_mjd).tolist()])
    margin_days = max(0.02 * (story.days - start), 0.5)
    since = story.decided
    for axes in panels:
        axes.set_xlim(start - margin_days, story.days + margin_days)
        if since is not None and since is not story.classified[0]:
            day = since.time_mjd - first_mjd
            axes.axvline(day, color=theme.faint, linewidth=0.9, linestyle=(0, (2, 2)), zorder=0)
            if axes is panels[0]:
                is_late = day - start > 0.6 * (story.days - start)  # at its right the words would meet the legend
                axes.text(
                    day,
                    1.0,
                    f" {since.best} since day {day:.0f} ",
                    transform=axes.get_xaxis_transform(),
                    fontsize=7.5,
                    color=theme.faint,
                    va="top",
                    ha="right" if is_late else "left",
                )
        if axes is not panels[-1]:
            axes.tick_params(labelbottom=False)
    panels[-1].set_xlabel(
        f"days since the first alert, MJD {first_mjd:.4f} ({_date(first_mjd)})", color=theme.ink, fontsize=9
    )


def _date(mjd: float) -> str:
    date = calendar_date(mjd)
    return f"{date[:4]}-{date[4:6]}-{date[6:]}"


def _write_title(figure: Figure, story: ObjectStory, theme: Theme) -> None:
    """Name, class, what is known, and links that an SVG can follow."""
    height = figure.get_figheight()
    title: dict[str, Any] = {"fontsize": 17, "fontweight": "bold", "va": "center"}
    figure.text(LEFT, 1 - 0.33 / height, short(story.object_id), color=theme.ink, parse_math=False, **title)
    if story.classified:
        newest = story.classified[-1]
        colour = colours_of_classes(story.classes)[newest.best or ""]
        words = "   ".join(f"{name} {probability:.2f}" for name, probability in verdict_of(newest))
        figure.text(RIGHT, 1 - 0.33 / height, words, color=colour, ha="right", **title)
    figure.text(LEFT, 1 - 0.64 / height, "   ·   ".join(facts_of(story)), fontsize=9, color=theme.faint, va="center")
    left = LEFT
    for link in links_of(story.survey, story.object_id, story.position_deg):
        text = figure.text(
            left, 1 - 0.87 / height, link.name, fontsize=8.5, color="#0f85c9", va="center", url=link.address
        )
        left += text.get_window_extent().width / figure.bbox.width + 0.014


def groups_of(story: ObjectStory) -> list[str]:
    """The classes of the first level that are no classes themselves: supernovae of all types."""
    broad = dict.fromkeys(name for answer in story.classified for name in answer.broad_probabilities or {})
    return [name for name in broad if name not in story.classes]


def verdict_of(answer: Classification) -> list[tuple[str, float]]:
    """The most probable class, behind its group of the first level where that is more than the class itself."""
    best = answer.best or ""
    broad = answer.broad_probabilities or {}
    group = load_taxonomy().group_of(best)
    words = [(group, broad[group])] if group != best and group in broad else []
    return [*words, (best, answer.probabilities[best])]


def facts_of(story: ObjectStory) -> list[str]:
    """What is known of an object, in a few words each."""
    newest = story.newest
    facts = [story.survey.upper()]
    if story.position_deg is not None:
        place = SkyCoord(*story.position_deg, unit="deg")
        facts.append(f"{place.ra.to_string('h', sep=':', precision=2, pad=True)} "
                     f"{place.dec.to_string(sep=':', precision=1, alwayssign=True, pad=True)}")  # fmt: skip
        facts.append(f"{place.ra.deg:.5f}° {place.dec.deg:+.5f}°")
        facts.append(f"b {place.galactic.b.deg:+.0f}°")
    count = len(story.answers)
    facts.append(f"{count} alert{'s' if count > 1 else ''} in {story.days:.1f} d")
    facts += _measured(newest)
    if story.classified and (score := story.classified[-1].unknown_score) is not None:
        facts.append(f"unknown {score:+.1f}")
    facts += [f"{newest.classifier} {newest.classifier_version}"]
    return facts


def _measured(answer: Classification) -> list[str]:
    detection = answer.detection
    if detection is None:
        return []
    facts = []
    magnitude, error = magnitude_of_flux(detection.flux_njy, detection.flux_error_njy)
    if magnitude is not None:
        sign = "fainter by " if (detection.flux_njy or 0.0) < 0 else ""
        facts.append(f"{answer.band} {sign}{magnitude:.2f}" + ("" if error is None else f" ± {error:.2f}"))
    if detection.real_bogus is not None:
        facts.append(f"real {detection.real_bogus:.2f}")
    return facts

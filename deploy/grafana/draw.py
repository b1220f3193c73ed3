"""A dashboard drawn from a running Prometheus, where no Grafana is at hand.

    python deploy/grafana/draw.py ictc-operators --prometheus http://127.0.0.1:9090 --minutes 10 --png operators.png

It asks the expressions of the dashboard's own JSON, so the picture shows what Grafana would ask for
of all processes.
"""

import argparse
import json
import math
import time
import urllib.parse
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib.dates
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch
from matplotlib.ticker import FuncFormatter, MaxNLocator

FOLDER = Path(__file__).resolve().parent / "dashboards"
COLUMNS = 24  # Grafana's grid
COLUMN_IN, ROW_IN, HEADER_IN, GAP_IN = 0.62, 0.34, 0.62, 0.05
POINTS = 240  # of a curve
NAMED = 5  # curves with a name in the legend; of more, only those that are ever above zero
LETTER_IN = 0.066  # of the legend, about
DOTS_PER_INCH = 110
SECONDS_PER_DAY = 86_400.0
COLOURS = ("#73bf69", "#f2cc0c", "#5794f2", "#ff9830", "#b877d9", "#8ab8ff", "#f2495c", "#37872d", "#fade2a", "#705da0")
GOOD, BAD = "#73bf69", "#f2495c"
UNITS = {"cps": "/s", "bytes": "B"}
GROUND, CARD, EDGE, TEXT, FAINT, GRID = "#0b0c0e", "#181b1f", "#22252b", "#d8d9da", "#8e9199", "#2a2d33"
Colours = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Curve:
    """One answer of Prometheus: finite values only."""

    name: str
    times_d: tuple[float, ...]  # days since 1970, as matplotlib counts
    values: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Span:
    """What the picture looks back on, Unix seconds."""

    start_s: float
    end_s: float


@dataclass(frozen=True, slots=True)
class Box:
    """A part of the page, inches from its lower left corner."""

    x: float
    y: float
    width: float
    height: float

    def inset(self, left: float, bottom: float, right: float, top: float) -> "Box":
        """What remains within margins."""
        return Box(self.x + left, self.y + bottom, self.width - left - right, self.height - bottom - top)


def ask(prometheus: str, expression: str, span: Span) -> list[dict[str, Any]]:
    """The curves that Prometheus answers, each with its labels and its [[time, value]]."""
    step = max((span.end_s - span.start_s) / POINTS, 1)
    query = {"query": expression, "start": span.start_s, "end": span.end_s, "step": step}
    url = f"{prometheus}/api/v1/query_range?{urllib.parse.urlencode(query)}"
    with urllib.request.urlopen(url, timeout=30) as answer:  # noqa: S310 - the address is the operator's own
        return json.load(answer)["data"]["result"]


def curves_of(panel: dict[str, Any], prometheus: str, span: Span) -> list[Curve]:
    """What a panel shows."""
    curves = []
    for target in panel["targets"]:
        for answer in ask(prometheus, target["expr"].replace("$instance", ".*"), span):
            pairs = [(float(t) / SECONDS_PER_DAY, float(v)) for t, v in answer["values"]]
            finite = [(t, v) for t, v in pairs if math.isfinite(v)]
            if finite:
                curves.append(Curve(legend_of(target, answer["metric"]), *zip(*finite, strict=True)))
    return curves


def written(value: float, unit: str) -> str:
    """A number as Grafana writes it in this unit."""
    if unit == "percentunit":
        return f"{100 * value:.3g} %"
    if unit == "s":
        return f"{value * 1000:.3g} ms" if 0 < abs(value) < 1 else f"{value:.3g} s"
    steps = ((1e9, "G"), (1e6, "M"), (1e3, "k"))
    scale, prefix = next((step for step in steps if abs(value) >= step[0]), (1.0, ""))
    return f"{value / scale:.3g} {prefix}{UNITS.get(unit, '')}".strip()


def legend_of(target: dict[str, Any], labels: dict[str, str]) -> str:
    """The name of a curve: Grafana's template, filled."""
    text = target["legendFormat"]
    for name, value in labels.items():
        text = text.replace("{{" + name + "}}", value)
    return "" if text == "__auto" else text


class Page:
    """One picture: cards with titles, and axes within them."""

    def __init__(self, dashboard: dict[str, Any], span: Span) -> None:
        self._span = span
        rows = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in dashboard["panels"])
        self._size = (COLUMNS * COLUMN_IN + 2 * GAP_IN, rows * ROW_IN + HEADER_IN + 2 * GAP_IN)
        self.figure: Figure = plt.figure(figsize=self._size, facecolor=GROUND)
        when = [time.strftime("%Y-%m-%d %H:%M", time.gmtime(s)) for s in (span.start_s, span.end_s)]
        self._write(0.15, self._size[1] - 0.4, dashboard["title"], TEXT, 14, weight="bold")
        self._write(self._size[0] - 0.15, self._size[1] - 0.4, f"{when[0]} to {when[1][-5:]} UTC", FAINT, 9, ha="right")

    def _write(self, x: float, y: float, text: str, colour: str, points: float, **look: Any) -> None:
        self.figure.text(x / self._size[0], y / self._size[1], text, color=colour, fontsize=points, **look)

    def _axes(self, box: Box) -> Axes:
        (width, height), margins = self._size, (box.x, box.y)
        axes = self.figure.add_axes(
            (margins[0] / width, margins[1] / height, box.width / width, box.height / height), facecolor="none"
        )
        axes.set_xlim(self._span.start_s / SECONDS_PER_DAY, self._span.end_s / SECONDS_PER_DAY)
        return axes

    def panel(self, panel: dict[str, Any], curves: list[Curve]) -> None:
        """A number, bars, or curves."""
        place = panel["gridPos"]
        top = self._size[1] - HEADER_IN - place["y"] * ROW_IN
        card = Box(place["x"] * COLUMN_IN + GAP_IN, top - place["h"] * ROW_IN, place["w"] * COLUMN_IN, 0)
        card = Box(card.x, card.y, card.width, place["h"] * ROW_IN).inset(*4 * (GAP_IN,))
        self._card(card)
        self._write(card.x + 0.12, card.y + card.height - 0.24, panel["title"], TEXT, 9)
        if not curves:
            self._write(card.x + card.width / 2, card.y + card.height / 2, "no data", BAD, 11, ha="center")
        elif panel["type"] == "stat":
            self._stat(card, panel, curves)
        elif panel["type"] == "bargauge":
            self._bars(card, panel, curves)
        else:
            self._curves(card, panel, curves)

    def _card(self, card: Box) -> None:
        axes = self.figure.add_axes((0, 0, 1, 1), facecolor="none", zorder=-1)
        axes.set_axis_off()
        axes.set_xlim(0, self._size[0])
        axes.set_ylim(0, self._size[1])
        look = {"facecolor": CARD, "edgecolor": EDGE, "linewidth": 0.8, "boxstyle": "round,pad=0,rounding_size=0.05"}
        axes.add_patch(FancyBboxPatch((card.x, card.y), card.width, card.height, **look))

    def _stat(self, card: Box, panel: dict[str, Any], curves: list[Curve]) -> None:
        unit, alarm = unit_of(panel), alarm_of(panel)
        high = alarm is not None and any(curve.values[-1] >= alarm for curve in curves)
        colour = BAD if high else GOOD
        axes = self._axes(card.inset(0, 0, 0, 0.75 * card.height))
        axes.set_axis_off()
        longest = max(curves, key=lambda curve: len(curve.values))
        axes.fill_between(longest.times_d, 0, longest.values, color=colour, alpha=0.22, linewidth=0)
        axes.plot(longest.times_d, longest.values, color=colour, linewidth=1)
        axes.set_ylim(0, 1.1 * max(*longest.values, 1e-9))
        text = ", ".join(f"{written(curve.values[-1], unit)} {curve.name}".strip() for curve in curves)
        size = 21 if len(text) < 12 else 13
        middle = (card.x + card.width / 2, card.y + 0.5 * card.height)
        self._write(*middle, text, colour, size, ha="center", va="center", weight="bold")

    def _bars(self, card: Box, panel: dict[str, Any], curves: list[Curve]) -> None:
        names, lasts = [curve.name for curve in curves], [curve.values[-1] for curve in curves]
        axes = self._axes(card.inset(0.2 + LETTER_IN * max(map(len, names)), 0.15, 0.8, 0.4))
        largest = max(*lasts, 1e-9)
        axes.set_xlim(0, largest)
        axes.barh(names, [largest] * len(names), color=GRID, height=0.62)
        axes.barh(names, lasts, color=COLOURS[: len(names)], height=0.62)
        axes.invert_yaxis()
        for row, last in enumerate(lasts):
            axes.annotate(
                written(last, unit_of(panel)),
                (largest, row),
                (6, 0),
                textcoords="offset points",
                color=TEXT,
                va="center",
            )
        axes.tick_params(colors=TEXT, labelsize=8, length=0)
        axes.xaxis.set_visible(False)
        frameless(axes)

    def _curves(self, card: Box, panel: dict[str, Any], curves: list[Curve]) -> None:
        names = legend_rows([c.name for c in named(curves)], card.width - 0.3)
        axes = self._axes(card.inset(0.68, 0.32 + 0.17 * len(names), 0.18, 0.42))
        stacked = panel["fieldConfig"]["defaults"]["custom"]["stacking"]["mode"] == "normal"
        lines = dict(zip((c.name for c in curves), (stack if stacked else overlay)(axes, curves), strict=True))
        unit, alarm = unit_of(panel), alarm_of(panel)
        lowest, highest = axes.get_ylim()
        if "min" in panel["fieldConfig"]["defaults"]:
            largest = max(value for curve in curves for value in curve.values)
            lowest, highest = 0.0, highest if largest > 0 else 2 * (alarm or 0.5)
        axes.set_ylim(lowest, highest)
        if alarm is not None and alarm <= highest:
            axes.axhline(alarm, color=BAD, linewidth=0.8, linestyle=(0, (4, 3)))
        minutes = (self._span.end_s - self._span.start_s) / 60
        axes.xaxis.set_major_formatter(matplotlib.dates.DateFormatter("%H:%M" if minutes > 6 else "%H:%M:%S"))
        axes.xaxis.set_major_locator(matplotlib.dates.AutoDateLocator(minticks=4, maxticks=8))
        axes.yaxis.set_major_locator(MaxNLocator(5))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: written(value, unit)))
        axes.tick_params(colors=FAINT, labelsize=7, length=0)
        axes.grid(color=GRID, linewidth=0.6)
        axes.set_axisbelow(True)
        frameless(axes)
        for row, part in enumerate(reversed(names)):
            x, y = card.x + 0.16, card.y + 0.1 + 0.17 * row
            for name in part:
                self._write(x, y, "▬", lines[name], 7)
                self._write(x + 0.15, y, name, FAINT, 7)
                x += 0.36 + LETTER_IN * len(name)


def unit_of(panel: dict[str, Any]) -> str:
    """Grafana's name of a panel's unit."""
    return panel["fieldConfig"]["defaults"]["unit"]


def alarm_of(panel: dict[str, Any]) -> float | None:
    """From where on a panel is red."""
    steps = panel["fieldConfig"]["defaults"]["thresholds"]["steps"][1:]
    return steps[0]["value"] if steps else None


def named(curves: list[Curve]) -> list[Curve]:
    """The curves that the legend names."""
    with_names = [curve for curve in curves if curve.name]
    alive = [curve for curve in with_names if any(curve.values)]
    return with_names if len(with_names) <= NAMED else alive[: 2 * NAMED]


def legend_rows(names: list[str], width_in: float) -> list[list[str]]:
    """Names in rows that fit."""
    rows: list[list[str]] = []
    free_in = 0.0
    for name in names:
        needed_in = 0.36 + LETTER_IN * len(name)
        if needed_in > free_in:
            rows.append([])
            free_in = width_in
        rows[-1].append(name)
        free_in -= needed_in
    return rows


def overlay(axes: Axes, curves: list[Curve]) -> Colours:
    """Draw curves one over the other."""
    colours = tuple(COLOURS[number % len(COLOURS)] for number in range(len(curves)))
    for curve, colour in zip(curves, colours, strict=True):
        axes.plot(curve.times_d, curve.values, color=colour, linewidth=1.3)
        if len(curves) == 1:
            axes.fill_between(curve.times_d, 0, curve.values, color=colour, alpha=0.12, linewidth=0)
    return colours


def stack(axes: Axes, curves: list[Curve]) -> Colours:
    """Draw each curve on top of those before it."""
    colours = tuple(COLOURS[number % len(COLOURS)] for number in range(len(curves)))
    base: dict[float, float] = {}
    for curve, colour in zip(curves, colours, strict=True):
        low = [base.get(t, 0.0) for t in curve.times_d]
        high = [b + v for b, v in zip(low, curve.values, strict=True)]
        axes.fill_between(curve.times_d, low, high, color=colour, alpha=0.45, linewidth=0)
        axes.plot(curve.times_d, high, color=colour, linewidth=1)
        base |= dict(zip(curve.times_d, high, strict=True))
    return colours


def frameless(axes: Axes) -> None:
    """No lines around."""
    for spine in axes.spines.values():
        spine.set_visible(False)


def draw(dashboard: dict[str, Any], prometheus: str, minutes: float, png: Path) -> list[str]:
    """Draw every panel of a dashboard; returns the titles of those that had no data."""
    now_s = time.time()
    span = Span(now_s - 60 * minutes, now_s)
    page = Page(dashboard, span)
    empty = []
    for panel in dashboard["panels"]:
        curves = curves_of(panel, prometheus, span)
        if not curves:
            empty.append(panel["title"])
        page.panel(panel, curves)
    page.figure.savefig(png, dpi=DOTS_PER_INCH, facecolor=GROUND)
    plt.close(page.figure)
    return empty


def main() -> None:
    """Read the command line and draw."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dashboard", choices=sorted(path.stem for path in FOLDER.glob("*.json")))
    parser.add_argument("--prometheus", default="http://127.0.0.1:9090", metavar="URL")
    parser.add_argument("--minutes", type=float, default=60.0, help="how far back the panels look")
    parser.add_argument("--png", type=Path, required=True)
    arguments = parser.parse_args()
    dashboard = json.loads((FOLDER / f"{arguments.dashboard}.json").read_text("utf-8"))
    for title in draw(dashboard, arguments.prometheus.rstrip("/"), arguments.minutes, arguments.png):
        print(f"no data: {title}")


if __name__ == "__main__":
    main()

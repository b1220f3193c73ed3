"""Draw a dashboard from a running Prometheus, where no Grafana is at hand: panels and answers in, a PNG out.

    python deploy/grafana/draw.py ictc-operators --prometheus http://127.0.0.1:9090 --minutes 10 --png operators.png

It asks the expressions of the dashboard's own JSON, so the picture shows what Grafana would ask for.
"""

import argparse
import json
import time
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

import matplotlib.dates
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter

FOLDER = Path(__file__).resolve().parent / "dashboards"
INCHES_PER_COLUMN = 0.7
INCHES_PER_ROW = 0.34
POINTS = 240  # of a curve
COLOURS = ("#7eb26d", "#eab839", "#6ed0e0", "#ef843c", "#e24d42", "#1f78c1", "#ba43a9", "#705da0", "#508642", "#cca300")
UNITS = {"cps": "/s", "bytes": "B"}
GROUND, CARD, TEXT, GRID = "#111217", "#181b1f", "#ccccdc", "#2c3235"


def ask(prometheus: str, expression: str, start_s: float, end_s: float) -> list[dict[str, Any]]:
    """The curves that Prometheus answers, each with its labels and its [[time, value]]."""
    query = {"query": expression, "start": start_s, "end": end_s, "step": max((end_s - start_s) / POINTS, 1)}
    url = f"{prometheus}/api/v1/query_range?{urllib.parse.urlencode(query)}"
    with urllib.request.urlopen(url, timeout=30) as answer:  # noqa: S310 - the address is the operator's own
        return json.load(answer)["data"]["result"]


def written(value: float, unit: str) -> str:
    """A number as Grafana writes it in this unit."""
    if unit == "percentunit":
        return f"{100 * value:.3g} %"
    if unit == "s":
        return f"{value * 1000:.3g} ms" if abs(value) < 1 else f"{value:.3g} s"
    steps = ((1e9, "G"), (1e6, "M"), (1e3, "k"))
    scale, prefix = next((step for step in steps if abs(value) >= step[0]), (1.0, ""))
    return f"{value / scale:.3g} {prefix}{UNITS.get(unit, '')}".strip()


def legend_of(target: dict[str, Any], labels: dict[str, str]) -> str:
    """The name of a curve: Grafana's template, filled."""
    text = target["legendFormat"]
    for name, value in labels.items():
        text = text.replace("{{" + name + "}}", value)
    return "" if text == "__auto" else text


def draw_panel(axes: Axes, panel: dict[str, Any], curves: list[tuple[str, list[float], list[float]]]) -> None:
    """One panel: a number, bars, or curves."""
    unit = panel["fieldConfig"]["defaults"]["unit"]
    axes.set_facecolor(CARD)
    axes.set_title(panel["title"], color=TEXT, fontsize=9, loc="left", pad=5)
    for spine in axes.spines.values():
        spine.set_color(GRID)
    if not curves:
        axes.text(0.5, 0.5, "no data", color="#e24d42", ha="center", va="center", transform=axes.transAxes)
    if panel["type"] == "stat":
        axes.set_axis_off()
        alarm = panel["fieldConfig"]["defaults"]["thresholds"]["steps"][1:]
        last = "\n".join(f"{written(values[-1], unit)} {legend}".strip() for legend, _, values in curves)
        high = any(values[-1] >= step["value"] for step in alarm for _, _, values in curves)
        colour = "#e24d42" if high else "#7eb26d"
        size = 20 if len(last) < 12 else 11
        axes.text(0.5, 0.42, last, color=colour, fontsize=size, ha="center", va="center", transform=axes.transAxes)
        return
    axes.tick_params(colors=TEXT, labelsize=7)
    formatter = FuncFormatter(lambda value, _: written(value, unit))
    if panel["type"] == "bargauge":
        names, lasts = [legend for legend, _, _ in curves], [values[-1] for _, _, values in curves]
        axes.barh(names, lasts, color=COLOURS[: len(names)])
        axes.xaxis.set_major_formatter(formatter)
        return
    axes.grid(color=GRID, linewidth=0.6)
    stacked = panel["fieldConfig"]["defaults"]["custom"]["stacking"]["mode"] == "normal"
    base: dict[float, float] = {}
    for number, (legend, times, values) in enumerate(curves):
        days = [t / 86_400 for t in times]
        colour = COLOURS[number % len(COLOURS)]
        if stacked:
            low = [base.get(t, 0.0) for t in times]
            high = [b + v for b, v in zip(low, values, strict=True)]
            axes.fill_between(days, low, high, color=colour, alpha=0.55, label=legend, linewidth=0)
            base |= dict(zip(times, high, strict=True))
        else:
            axes.plot(days, values, color=colour, label=legend, linewidth=1.3)
    axes.xaxis.set_major_formatter(matplotlib.dates.DateFormatter("%H:%M"))
    axes.xaxis.set_major_locator(matplotlib.dates.AutoDateLocator(maxticks=5))
    axes.yaxis.set_major_formatter(formatter)
    axes.set_ylim(bottom=0)
    if any(legend for legend, _, _ in curves):
        axes.legend(fontsize=6.5, labelcolor=TEXT, facecolor=CARD, edgecolor=GRID, loc="upper left", framealpha=0.7)


def draw(dashboard: dict[str, Any], prometheus: str, minutes: float, png: Path) -> list[str]:
    """Draw every panel of a dashboard; returns the titles of those that had no data."""
    end_s = time.time()
    start_s = end_s - 60 * minutes
    height = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in dashboard["panels"])
    figure = plt.figure(figsize=(24 * INCHES_PER_COLUMN, height * INCHES_PER_ROW + 0.5), facecolor=GROUND)
    figure.suptitle(dashboard["title"], color=TEXT, fontsize=13, x=0.01, ha="left")
    empty = []
    for panel in dashboard["panels"]:
        curves = []
        for target in panel["targets"]:
            for answer in ask(prometheus, target["expr"], start_s, end_s):
                pairs = [(float(t), float(v)) for t, v in answer["values"] if v not in ("NaN", "+Inf", "-Inf")]
                if pairs:
                    times, values = zip(*pairs, strict=True)
                    curves.append((legend_of(target, answer["metric"]), list(times), list(values)))
        if not curves:
            empty.append(panel["title"])
        place = panel["gridPos"]
        box = (
            (place["x"] + 0.9) / 24,
            1 - (place["y"] + place["h"] + 0.1) / (height + 1.5) - 0.02,
            (place["w"] - 1.3) / 24,
            (place["h"] - 1.9) / (height + 1.5),
        )
        draw_panel(figure.add_axes(box), panel, curves)
    figure.savefig(png, dpi=90, facecolor=GROUND)
    plt.close(figure)
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

"""Words and coordinates of the status page. Knows no HTML.

Everything here is pure; escaping is the template's.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from broker_filter.monitoring.recent import Shown
from broker_filter.records import PACKET_CLASSES, STRANGE_SCORE, Classification
from model.pictures.colours import UNNAMED_COLOUR, colours_of_classes
from model.serving.card import ModelCard

CHART_WIDTH, CHART_HEIGHT, CHART_MARGIN, CHART_LEFT = 300, 84, 6, 14
RATE_WIDTH, RATE_HEIGHT, RATE_BIN_S = 240, 44, 10
TEXT_LIMIT = 300  # characters of one value of a model card


@dataclass(frozen=True, slots=True)
class Share:
    """One class of one classification."""

    name: str
    colour: str
    probability: float


@dataclass(frozen=True, slots=True)
class Line:
    """The probability of one class over the observations of an object, in the chart's units."""

    name: str
    colour: str
    points: tuple[tuple[float, float], ...]

    @property
    def path(self) -> str:
        """For a polyline."""
        return " ".join(f"{x:.1f},{y:.1f}" for x, y in self.points)


@dataclass(frozen=True, slots=True)
class RecentObjectView:
    """One object on the page."""

    newest: Classification
    age: str  # from the survey's own time of the alert to our publication
    shares: tuple[Share, ...]  # most probable first
    lines: tuple[Line, ...]
    days: float  # that the chart reaches back
    strange: bool
    pictures: Mapping[str, str]  # kind of stamp -> data address


@dataclass(frozen=True, slots=True)
class CardView:
    """One model card on the page."""

    card: ModelCard
    facts: tuple[tuple[str, str], ...]
    scores: tuple[tuple[str, tuple[tuple[str, str], ...]], ...]  # by the data that they were measured on


def object_view(shown: Shown, colours: Mapping[str, str], pictures: Mapping[str, str]) -> RecentObjectView:
    """One object, its newest classification, and how it came to it."""
    newest = shown.newest
    ranked = sorted(newest.probabilities.items(), key=lambda item: -item[1])
    age = "" if newest.alert_time_ms is None else duration((newest.publication_time_ms - newest.alert_time_ms) / 1000)
    return RecentObjectView(
        newest=newest,
        age=age,
        shares=tuple(Share(name, colours.get(name, UNNAMED_COLOUR), p) for name, p in ranked),
        lines=_lines(shown.history, [name for name, _ in ranked], colours),
        days=shown.history[-1].time_mjd - shown.history[0].time_mjd,
        strange=newest.unknown_score is not None and newest.unknown_score > STRANGE_SCORE,
        pictures=pictures,
    )


def colours_of(cards: Sequence[ModelCard]) -> dict[str, str]:
    """A colour for each class, the same for every network; also for those that only packets tell of."""
    return colours_of_classes([*(name for card in cards for name in card.classes), *PACKET_CLASSES])


def rate_path(per_second: Sequence[int]) -> tuple[str, float]:
    """The points of a polyline of the rate in bins of ten seconds, and the largest rate, per second."""
    bins = [sum(per_second[start : start + RATE_BIN_S]) / RATE_BIN_S for start in range(0, len(per_second), RATE_BIN_S)]
    top = max(bins, default=0.0)
    step = RATE_WIDTH / max(len(bins) - 1, 1)
    points = (f"{i * step:.1f},{RATE_HEIGHT * (1 - rate / (top or 1.0)):.1f}" for i, rate in enumerate(bins))
    return " ".join(points), top


def card_view(card: ModelCard) -> CardView:
    """A model card as two lists of names and words: where it comes from, and what it reached."""
    facts = [
        ("classes", ", ".join(card.classes)),
        ("taxonomy", card.taxonomy_version),
        ("reads", f"{', '.join(card.channels)}; {card.size_px} × {card.size_px} pixels; bands {', '.join(card.bands)}"),
        ("observations", f"at most {card.frame_limit}, in groups of {card.group_size}"),
        ("epochs without stamp", f"at most {card.history_limit}" if card.history_limit else "none"),
    ]
    scores = []
    for name, value in card.provenance.items():
        if "score" in name and isinstance(value, Mapping):
            rows = tuple((_spaced(key), in_words(score)) for key, score in value.items() if _is_short(score))
            scores.append((_spaced(name), rows))
        elif value is not None or name == "commit":
            facts.append((_spaced(name), in_words(value)))
    return CardView(card, tuple(facts), tuple(scores))


def in_words(value: Any) -> str:
    """A value of a model card in a few words."""
    match value:
        case None:
            text = "not known"
        case bool() | int() | str():
            text = str(value)
        case float():
            text = f"{value:.3g}"
        case Mapping():
            short = {key: part for key, part in value.items() if _is_plain(part)}
            text = str(value["name"]) if "name" in value else " · ".join(f"{k} {in_words(v)}" for k, v in short.items())
        case list() | tuple() if all(map(_is_plain, value)):
            text = ", ".join(map(in_words, value))
        case _:
            text = f"{len(value)} entries"
    return text if len(text) <= TEXT_LIMIT else text[:TEXT_LIMIT] + " …"


def number(value: float) -> str:
    """1234567 as 1,234,567, and 3.14159 as 3.1."""
    return f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:,.1f}"


def size(count: float) -> str:
    """Bytes with a prefix."""
    for prefix in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.0f} {prefix}" if prefix == "B" else f"{count:.1f} {prefix}"
        count /= 1024
    return f"{count:.1f} TiB"


def duration(seconds: float) -> str:
    """Seconds in the unit that suits them; a clock that is ahead of the survey's gives nothing below zero."""
    seconds = max(seconds, 0.0)
    for unit, length in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"


def _lines(history: Sequence[Classification], names: Sequence[str], colours: Mapping[str, str]) -> tuple[Line, ...]:
    first = history[0].time_mjd
    span = history[-1].time_mjd - first
    width, height = CHART_WIDTH - CHART_LEFT - CHART_MARGIN, CHART_HEIGHT - 2 * CHART_MARGIN
    across = [CHART_LEFT + width * ((one.time_mjd - first) / span if span > 0 else 0.5) for one in history]
    return tuple(
        Line(
            name,
            colours.get(name, UNNAMED_COLOUR),
            tuple(
                (x, CHART_MARGIN + height * (1 - one.probabilities.get(name, 0.0)))
                for x, one in zip(across, history, strict=True)
            ),
        )
        for name in reversed(names)  # the most probable class is drawn last, on top
    )


def _is_plain(value: Any) -> bool:
    return value is None or isinstance(value, bool | int | float | str)


def _is_short(value: Any) -> bool:
    return _is_plain(value) or (isinstance(value, Mapping) and all(map(_is_plain, value.values())))


def _spaced(name: str) -> str:
    return name.replace("_", " ")

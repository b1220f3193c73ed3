"""A classifier for programs and notebooks: stories of objects and a table of answers, from their alerts.

import ictc

result = ictc.Classifier.load("ztf").classify_files("alerts/")
result              # in a notebook: a table of the objects
result.table        # one row per alert, an astropy table
result.plot()       # a sheet of the one object, or a contact sheet of several
"""

import io
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Self

from astropy.table import Table
from matplotlib.figure import Figure

from broker_filter.alerts.packet_schema import Schemas
from broker_filter.archive.read import read_messages
from broker_filter.classify.classifier import StreamClassifier, load_classifiers
from broker_filter.look.contact_sheet import MOST_TILES, draw_contact_sheet
from broker_filter.look.gather import stories_of
from broker_filter.look.sheet import draw_sheet, verdict_of
from broker_filter.look.story import ObjectStory
from broker_filter.output.tables import table_of
from broker_filter.records import Message, Origin, Rejected
from model.pictures.theme import DARK, LIGHT
from model.serving.card import ModelCard

OBJECTS_IN_REPR = 20


class Classifier:
    """Networks of one or more surveys, ready to classify alerts as the stream does."""

    def __init__(self, classifiers: Mapping[str, StreamClassifier], schemas: Schemas | None = None) -> None:
        self._classifiers, self._schemas = dict(classifiers), schemas or Schemas()

    @classmethod
    def load(
        cls,
        *weights: str | Path,
        device: str = "cpu",
        schemas: Schemas | None = None,
        allow_untrained: bool = False,
    ) -> Self:
        """Load weights: ``load("ztf")``, ``load("ztf", "lsst")``, ``load("my/weights")``; none: all that ship.

        Parameters
        ----------
        schemas
            For packets that do not carry their own: folders and registries. None: what comes with this program.

        Raises
        ------
        ConfigurationError
            When weights are missing, broken, untrained or two of one survey, or the device is absent.
        """
        return cls(load_classifiers(weights, device, allow_untrained=allow_untrained), schemas)

    @property
    def cards(self) -> dict[str, ModelCard]:
        """The model card of each survey's network."""
        return {survey: classifier.card for survey, classifier in self._classifiers.items()}

    def classify(self, packets: Iterable[bytes]) -> "Classifications":
        """Classify alerts as their surveys send them, of any objects and in any order.

        Each alert is answered from what was known of its object when it was taken. What is no alert is no error: it
        stands in ``Classifications.rejected`` with its reason.

        Raises
        ------
        TypeError
            When this is one packet: give a list of it.
        """
        if isinstance(packets, bytes | bytearray | memoryview | str):
            raise TypeError("packets are given as a list, also where there is one")
        return self._classify(Message(packet, Origin("packets", 0, number)) for number, packet in enumerate(packets))

    def classify_files(self, *paths: str | Path, objects: Iterable[str] = ()) -> "Classifications":
        """Classify the alerts in files, folders and tar archives, of all objects or of the one or those named.

        Raises
        ------
        ConfigurationError
            When a path does not exist.
        """
        named = frozenset([objects] if isinstance(objects, str) else objects)
        return self._classify(read_messages([Path(path) for path in paths]), named)

    def _classify(
        self, messages: Iterable[Message | Rejected], objects: frozenset[str] = frozenset()
    ) -> "Classifications":
        stories, rejected = stories_of(messages, self._classifiers, self._schemas, objects)
        return Classifications(stories, tuple(rejected))

    def __repr__(self) -> str:
        networks = ", ".join(f"{card.survey}: {card.name} {card.version}" for card in self.cards.values())
        return f"<ictc.Classifier {networks}>"


@dataclass(frozen=True, slots=True, repr=False)
class Classifications:
    """Answers to alerts, by object."""

    objects: Mapping[str, ObjectStory]  # by id, in order of their first alerts
    rejected: tuple[Rejected, ...] = ()  # what was no alert, with the reason

    def __len__(self) -> int:
        return len(self.objects)

    def __iter__(self) -> Iterator[ObjectStory]:
        return iter(self.objects.values())

    def __getitem__(self, object_id: str) -> ObjectStory:
        try:
            return self.objects[object_id]
        except KeyError as error:
            raise KeyError(f"{object_id} is not here; what is: {self._some_ids() or 'nothing'}") from error

    @property
    def table(self) -> Table:
        """One row per alert, in order of objects and time; columns, units and descriptions of the output schema."""
        return table_of([answer for story in self for answer in story.answers])

    def plot(self, object_id: str | None = None, dark: bool = False) -> Figure:
        """The sheet of an object or, of several, a contact sheet of those with most alerts.

        Raises
        ------
        KeyError
            When there is no such object.
        ValueError
            When there is none at all.
        """
        theme = DARK if dark else LIGHT
        if object_id is not None:
            return draw_sheet(self[object_id], theme)
        if not self.objects:
            raise ValueError(f"no alert was classified, {len(self.rejected)} rejected: nothing to draw")
        if len(self) == 1:
            return draw_sheet(next(iter(self)), theme)
        return draw_contact_sheet(sorted(self, key=lambda story: -len(story.answers))[:MOST_TILES], theme)

    def __repr__(self) -> str:
        lines = [f"<ictc.Classifications: {self._counts()}>"]
        for story in list(self)[:OBJECTS_IN_REPR]:
            count = _number(len(story.answers), "alert")
            lines.append(f"  {story.object_id:<20} {count:>11}  {_verdict(story)}")
        if len(self) > OBJECTS_IN_REPR:
            lines.append(f"  … and {len(self) - OBJECTS_IN_REPR} more")
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td><b>{escape(story.object_id)}</b></td><td>{len(story.answers)}</td><td>{story.days:.1f}</td>"
            f"<td>{escape(_verdict(story))}</td></tr>"
            for story in list(self)[:OBJECTS_IN_REPR]
        )
        head = "<tr><th>object</th><th>alerts</th><th>days</th><th>class</th></tr>"
        picture = "" if len(self) != 1 else f"<div>{_svg(self.plot())}</div>"
        return f"<p>{escape(self._counts())}</p><table>{head}{rows}</table>{picture}"

    def _counts(self) -> str:
        rejected = f", {len(self.rejected)} rejected" if self.rejected else ""
        alerts = sum(len(story.answers) for story in self)
        return f"{_number(len(self), 'object')}, {_number(alerts, 'alert')}{rejected}"

    def _some_ids(self) -> str:
        ids = list(self.objects)
        return ", ".join(ids[:OBJECTS_IN_REPR]) + (" …" if len(ids) > OBJECTS_IN_REPR else "")


def _number(count: int, thing: str) -> str:
    return f"{count} {thing}{'' if count == 1 else 's'}"


def _verdict(story: ObjectStory) -> str:
    if not story.classified:
        return f"not classified: {story.newest.reason}"
    return "  ".join(f"{name} {probability:.2f}" for name, probability in verdict_of(story.classified[-1]))


def _svg(figure: Figure) -> str:
    out = io.StringIO()
    figure.savefig(out, format="svg")
    return out.getvalue()[out.getvalue().index("<svg") :]

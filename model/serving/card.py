"""Model card: what weights are, what they read and how their answers are calibrated; readable without torch.

The card is the JSON file beside a network's tensors. It holds the network's configuration, classes, inputs, calibration
and provenance. Knows nothing of tensors, alerts or devices.
"""

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict, TypeAdapter, ValidationError
from scipy import special

from model.series import BANDS
from model.taxonomy import Taxonomy, check_class_names, load_taxonomy

if TYPE_CHECKING:
    from torch import Tensor

SHIPPED_FOLDER = Path(__file__).parents[1] / "weights"
SHIPPED_SURVEYS = ("sdss", "ztf", "lsst")
CHANNELS = ("science", "template", "difference")
SCORE_KINDS = ("energy_and_distance", "energy")
LARGEST_STAMP_PX, LONGEST_SERIES = 256, 4_096  # beyond what surveys cut; four times what a store keeps
# Far beyond what calibration finds, and within what float64 computes with.
TEMPERATURES, SCALES, LOCATIONS, LOGIT_OFFSETS = (1e-3, 1e3), (1e-12, 1e12), (-1e30, 1e30), (-100.0, 100.0)
STRICT = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)  # how JSON becomes a card
Values = TypeVar("Values", NDArray[np.float64], "Tensor")


class WeightsError(ValueError):
    """Weights that are missing, broken, or not of the network that their card names."""


def check_ranges(*numbers: tuple[str, float, tuple[float, float]]) -> None:
    """Refuse a number, given with its name and its range, that lies outside.

    Raises
    ------
    WeightsError
        With the first.
    """
    for what, number, (least, most) in numbers:
        if not least <= number <= most:
            raise WeightsError(f"{what} is {number}: it must be from {least:g} to {most:g}")


def energy(logits_BK: NDArray, temperature: float = 1.0) -> NDArray[np.float64]:
    """−T logsumexp(logits / T), [B]: large where no class answers strongly (Liu et al. 2020)."""
    return -temperature * np.logaddexp.reduce(np.asarray(logits_BK, np.float64) / temperature, axis=1)


@dataclass(frozen=True, slots=True)
class UnknownScore:
    """How far an alert is from everything in training; larger is stranger, 0 is usual, 1 a robust deviation more.

    Of kind ``energy``: −T logsumexp(logits / T), with T = ``temperature``, less ``location``, over ``scale``: its
    median and robust standard deviation over held-out objects of known classes. Of kind ``energy_and_distance``: to
    that the distance of :class:`model.networks.layers.class_distance.ClassDistance` is added, standardised alike, and
    the sum divided by √2. What one of them takes for familiar is often strange to the other.
    """

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    kind: str = "energy"
    temperature: float = 1.0
    location: float = 0.0
    scale: float = 1.0
    distance_location: float = 0.0
    distance_scale: float = 1.0
    auroc: float | None = None  # measured on held-out classes; like provenance, no part of the version

    def __post_init__(self) -> None:
        if self.kind not in SCORE_KINDS:
            raise WeightsError(f"unknown score of kind {self.kind!r}: known are {', '.join(SCORE_KINDS)}")
        check_ranges(
            ("temperature of the unknown score", self.temperature, TEMPERATURES),
            ("scale of the unknown score", self.scale, SCALES),
            ("distance_scale of the unknown score", self.distance_scale, SCALES),
            ("location of the unknown score", self.location, LOCATIONS),
            ("distance_location of the unknown score", self.distance_location, LOCATIONS),
        )

    def of(self, logits_BK: NDArray, distance_B: NDArray | None) -> NDArray[np.float64]:
        """The score [B] of logits and, where its kind asks for them, distances.

        Raises
        ------
        ValueError
            When there are none, but the kind asks for them.
        """
        return self.joined(energy(logits_BK, self.temperature), distance_B)

    def joined(self, energy_B: Values, distance_B: Values | None) -> Values:
        """The score [B] of energies and distances, as :meth:`of`; arrays and tensors alike."""
        energy_B = (energy_B - self.location) / self.scale
        if self.kind == "energy":
            return energy_B
        if distance_B is None:
            raise ValueError(f"an unknown score of kind {self.kind!r} needs a network that remembers its training")
        return (energy_B + (distance_B - self.distance_location) / self.distance_scale) / math.sqrt(2)


@dataclass(frozen=True, slots=True)
class PredictionSets:
    """Which classes stay possible: those whose probability reaches what most held-out objects of the class gave it.

    Of the held-out answers about objects of each class a share ``coverage`` named their class; new objects like them do
    as often (conformal prediction by class, Vovk et al. 2005; Sadinle et al. 2019). Where ``least_by_age`` is given the
    promise holds at every age of a light curve by itself.
    """

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    coverage: float
    least: tuple[float, ...]  # probability of each class that keeps it in the set, at any age
    age_edges_d: tuple[float, ...] = ()  # days since the first detection at which ages are divided, ascending
    least_by_age: tuple[tuple[float, ...], ...] = ()  # as ``least``: up to each edge, and beyond the last

    def __post_init__(self) -> None:
        if not 0 < self.coverage < 1:
            raise WeightsError(f"coverage is {self.coverage}: it must lie between 0 and 1")
        for least in (self.least, *self.least_by_age):
            if len(least) != len(self.least) or not all(0 <= value <= 1 for value in least):
                raise WeightsError(f"least probabilities of prediction sets are {least}: one a class, from 0 to 1")
        edges = self.age_edges_d
        if len(self.least_by_age) != len(edges) + bool(edges) or sorted(set(edges)) != list(edges):
            raise WeightsError(
                f"{len(self.least_by_age)} ages of prediction sets for edges at {edges}: one more, rising"
            )

    def of(self, probabilities_BK: NDArray, age_B: NDArray | None = None) -> NDArray[np.bool_]:
        """Which classes are in the set, [B, K]; the most probable one always is.

        Parameters
        ----------
        age_B
            Days since the first detection; None: unknown, then the limits of all ages together count.
        """
        least = np.array(self.least)
        if age_B is not None and self.least_by_age:
            least = np.array(self.least_by_age)[np.searchsorted(self.age_edges_d, age_B)]
        sets_BK = np.asarray(probabilities_BK >= least)
        sets_BK[np.arange(len(sets_BK)), probabilities_BK.argmax(1)] = True
        return sets_BK


@dataclass(frozen=True, slots=True)
class ModelCard:
    """Everything about weights that is not a tensor."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    name: str  # of the network, a key of model.networks.registry
    version: str
    survey: str
    classes: tuple[str, ...]  # in the order of the outputs
    taxonomy_version: str
    channels: tuple[str, ...]  # of "science", "template", "difference", in this order
    size_px: int
    bands: str  # subset of model.series.BANDS that training saw
    frame_limit: int
    group_size: int
    trained: bool
    network: Mapping[str, Any]  # configuration for model.networks.registry.build
    form: str = "series"  # in which training showed it series (model.training.data.input_form); alerts come as "series"
    temperature: float = 1.0  # probabilities = softmax((logits + logit_offset) / temperature)
    logit_offset: tuple[float, ...] = ()  # per class, e.g. a prior; empty means zero
    unknown: UnknownScore | None = None  # None where not calibrated
    sets: PredictionSets | None = None  # None where not calibrated
    provenance: Mapping[str, Any] = field(default_factory=dict)  # data, recipe, seed, commit, scores, limits
    tensors_sha256: str = ""
    codes: Mapping[str, int] = field(default_factory=dict)  # class or group -> its code; empty: as in the package's
    groups: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # classes that are one at the first level

    def __post_init__(self) -> None:
        if self.survey not in SHIPPED_SURVEYS:
            raise WeightsError(f"survey is {self.survey!r}: it must be one of {', '.join(SHIPPED_SURVEYS)}")
        for what, names, allowed in (
            ("classes", self.classes, None),
            ("channels", self.channels, CHANNELS),
            ("bands", tuple(self.bands), tuple(BANDS)),
        ):
            if not names or len(set(names)) < len(names) or not all(names):
                raise WeightsError(f"{what} are {names}: they must be named, each once")
            if allowed is not None and not set(names) <= set(allowed):
                raise WeightsError(f"{what} are {names}: they must be some of {', '.join(allowed)}")
        try:
            check_class_names((*self.classes, *self.codes, *self.groups))
        except ValueError as error:
            raise WeightsError(str(error)) from error
        check_ranges(
            ("size_px", self.size_px, (1, LARGEST_STAMP_PX)),
            ("frame_limit", self.frame_limit, (1, LONGEST_SERIES)),
            ("group_size", self.group_size, (1, LONGEST_SERIES)),
            ("temperature", self.temperature, TEMPERATURES),
            *(("logit_offset", offset, LOGIT_OFFSETS) for offset in self.logit_offset),
        )
        if len(self.classes) != self.network.get("class_count", 4):
            raise WeightsError(f"{len(self.classes)} classes, but the network has {self.network.get('class_count')}")
        if self.logit_offset and len(self.logit_offset) != len(self.classes):
            raise WeightsError(f"{len(self.logit_offset)} logit offsets for {len(self.classes)} classes")
        if self.sets is not None and len(self.sets.least) != len(self.classes):
            raise WeightsError(f"prediction sets of {len(self.sets.least)} classes for {len(self.classes)}")
        if self.codes and (without := [name for name in self.classes if name not in self.codes]):
            raise WeightsError(f"classes without a code: {', '.join(without)}")

    @property
    def taxonomy(self) -> Taxonomy:
        """The taxonomy that the weights were trained with; what surveys tell themselves has the package's codes."""
        shipped = load_taxonomy()
        if not self.codes:
            return dataclasses.replace(shipped, version=self.taxonomy_version, classes=self.classes)
        codes = shipped.codes | dict(self.codes)
        return Taxonomy(self.taxonomy_version, self.classes, codes, shipped.not_classified_code, dict(self.groups))

    @property
    def history_limit(self) -> int:
        """Most epochs without stamp that the network reads of a packet's light curve; 0: it reads none."""
        return int(self.network.get("history_limit", 0))

    def probabilities(self, logits: NDArray) -> NDArray[np.float64]:
        """Calibrated probabilities, classes along the last axis."""
        scaled = (np.asarray(logits, np.float64) + np.array(self.logit_offset or 0.0)) / self.temperature
        return np.asarray(special.softmax(scaled, axis=-1))

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, text: bytes | str) -> "ModelCard":
        """Read a card.

        Raises
        ------
        WeightsError
            When this is no JSON, a key is unknown or missing, or a value is not of its type or not possible: the
            message names the first.
        """
        try:
            return TypeAdapter(cls).validate_json(text)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(str(part) for part in first["loc"]) or "model card"
            raise WeightsError(f"{where}: {first['msg'].removeprefix('Value error, ')}") from error


def load_card(weights: Path | str) -> ModelCard:
    """Read only the card."""
    path = find(weights)
    path = path.with_name(path.name + ".json")
    try:
        return ModelCard.from_json(path.read_bytes())
    except (OSError, WeightsError) as error:
        raise WeightsError(f"cannot read the model card {path}: {error}") from error


def find(weights: Path | str) -> Path:
    """Where weights lie, without suffix.

    Raises
    ------
    WeightsError
        When there are none: the message says what to do.
    """
    names = shipped_names()
    shipped = str(weights) in (*names, *SHIPPED_SURVEYS)
    path = SHIPPED_FOLDER / str(weights) if shipped else stem_of(Path(weights))
    if not path.name or not path.with_name(path.name + ".json").is_file():
        if shipped:
            raise WeightsError(
                f"this package ships no trained weights for {weights}: give a path to weights, train them with "
                "ictc-train, or allow an untrained model"
            )
        raise WeightsError(
            f"no weights at {path}.safetensors and {path}.json: give a path, or the name of shipped ones "
            f"({', '.join(names)})"
        )
    return path


def shipped_names() -> list[str]:
    """What ``find`` takes for names: of surveys, whose first choice they are, and of other weights in the package."""
    return sorted(path.stem for path in SHIPPED_FOLDER.glob("*.json"))


def stem_of(path: Path) -> Path:
    """The path of weights without the suffix of either of their files."""
    return path.with_suffix("") if path.suffix in (".safetensors", ".json") else path

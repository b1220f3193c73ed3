"""Calibrated probabilities of series, numpy to numpy, for those who must not know torch.

``embed`` turns groups of frames into vectors that can be kept; ``classify`` turns the vectors of a series, and its
light curve, into probabilities. It knows devices, batch shapes and calibration; it knows no alerts and keeps no state.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from model.networks import registry
from model.networks.contract import collate, collate_curve
from model.networks.grouped import GroupedNetwork
from model.past_photometry import History
from model.series import BANDS, Photometry, Series
from model.serving import weights
from model.serving.card import ModelCard, WeightsError
from model.serving.engine import EngineName, open_engine
from model.taxonomy import load_taxonomy

# Rows of one pass. They bound memory, whatever a caller asks for: 64 groups of full-width ConvEntion hold 28 MB in the
# widest layer. A processor classifies fastest when what attention makes of all pairs of epochs stays in its cache. The
# deterministic mode computes row by row: in larger batches, even of fixed shape, matrix products were seen to round a
# row differently at another place in the batch as soon as two threads share the work.
EMBED_ROWS, CLASSIFY_ROWS = 64, 256
CARD_ROWS = 1024  # of either, on a card
PAIRS_AT_ONCE = {"cpu": 1 << 15, "cuda": 1 << 22}  # of epochs of a series, in all rows of a pass
UNTRAINED_SEED = 20_010_101


class DeviceUnavailableError(ValueError):
    """A device was asked for that this machine does not have."""


@dataclass(frozen=True, slots=True)
class SurveyInput:
    """What a network of a survey reads when nobody says otherwise."""

    channels: tuple[str, ...]
    size_px: int
    bands: str
    arcsec_per_pixel: float
    sigma_njy: float  # typical pixel, for networks that standardise by constants before any training has measured them


SURVEY_INPUTS = {
    "sdss": SurveyInput(("science",), 32, "ugriz", 0.396, 500.0),
    "ztf": SurveyInput(("science", "template", "difference"), 32, "gri", 1.01, 1_000.0),
    "lsst": SurveyInput(("science", "template", "difference"), 30, "ugrizy", 0.2, 100.0),
}


@dataclass(frozen=True, slots=True)
class Prediction:
    """One row per series."""

    probabilities_BK: NDArray[np.float64]  # rows sum to 1, columns in the order of the card's classes
    unknown_B: NDArray[np.float64] | None  # larger is stranger; None where not calibrated

    @property
    def probabilities(self) -> NDArray[np.float64]:
        return self.probabilities_BK

    @property
    def unknown(self) -> NDArray[np.float64] | None:
        return self.unknown_B


class Predictor:
    """A network with its card, on a device, ready to answer.

    In the deterministic mode every pass computes one row, in a shape that follows from its series alone, so that the
    bits of a row do not depend on what else was in the batch (on one machine, with one number of threads).
    """

    def __init__(
        self,
        network: GroupedNetwork,
        card: ModelCard,
        device: str = "cpu",
        deterministic: bool = False,
        engine: EngineName = "torch",
    ) -> None:
        if card.form != "series":
            raise WeightsError(
                f"{card.name} {card.version} was trained on series in the form {card.form!r}, and alerts are not shown "
                "in it: train with form 'series'"
            )
        self.card = card
        self.device = resolve_device(device)
        self.deterministic = deterministic
        network.prepare_for_inference()
        self._network = network
        self._engine = open_engine(engine, network, self.device)

    @property
    def engine(self) -> str:
        """What computes: "torch" or "onnxruntime"."""
        return self._engine.name

    @classmethod
    def load(
        cls, path: Path | str, device: str = "cpu", deterministic: bool = False, engine: EngineName = "auto"
    ) -> "Predictor":
        """Read weights from a path, or the shipped ones of a survey ("sdss", "ztf", "lsst").

        Raises
        ------
        model.serving.card.WeightsError
            When there are no such weights, they are broken, or were trained on series in another form.
        DeviceUnavailableError
            When the device is absent.
        model.serving.engine.EngineUnavailableError
            When the engine is, or cannot compute this network; "auto" then takes torch.
        """
        resolve_device(device)
        network, card = weights.load(path)
        return cls(network, card, device, deterministic, engine)

    @classmethod
    def untrained(
        cls,
        survey: str,
        network: str = "convention",
        device: str = "cpu",
        deterministic: bool = False,
        seed: int = UNTRAINED_SEED,
        **settings: Any,
    ) -> "Predictor":
        """A network with random weights, the same for the same seed; its card says that it is untrained."""
        built, card = untrained(survey, network, seed, **settings)
        return cls(built, card, device, deterministic)

    def embed(self, groups: Sequence[Series]) -> NDArray[np.float32]:
        """Vectors [N, D] of groups, each of 1 to ``group_size`` frames with the card's channels.

        Raises
        ------
        ValueError
            When a group has more frames.
        """
        size, longest = self.card.group_size, max(map(len, groups), default=0)
        if longest > size:
            raise ValueError(f"a group of {longest} frames, but {self.card.name} embeds group_size = {size} at a time: "
                             f"cut each series with series.groups({size})")  # fmt: skip
        rows = 1 if self.deterministic else self._most_rows(EMBED_ROWS)
        width = int(np.prod(self._network.embedding_shape))
        vectors = np.empty((len(groups), width), np.float32)
        for part, chunk in chunks(groups, rows):
            vectors[part] = self._engine.embed(collate(chunk, size))
        return vectors

    def classify(
        self,
        embeddings: Sequence[NDArray[np.float32]],
        curves: Sequence[Photometry | Series],
        histories: Sequence[History] | None = None,
    ) -> Prediction:
        """Probabilities of series.

        Parameters
        ----------
        embeddings
            Of each series, [G, D] vectors of its groups in order, as :meth:`embed` gives them.
        curves
            Their light curves; of whole series images are not read.
        histories
            What else is known of each (:func:`model.past_photometry.lacking`), ``NO_HISTORY`` where nothing is.
            A network whose card says ``history_limit`` 0 reads none, and needs none.

        Raises
        ------
        ValueError
            When a series has more frames than the network reads, or not one vector per group, or when histories are
            missing that the network reads: without them it would give another answer.
        """
        if histories is None and self.card.history_limit:
            raise ValueError(f"{self.card.name} {self.card.version} also reads what packets tell of the past: give one "
                             "history per series, model.past_photometry.NO_HISTORY where nothing is told")  # fmt: skip
        past = histories if self.card.history_limit else None
        length_B = np.array([len(curve) + (0 if past is None else len(past[b])) for b, curve in enumerate(curves)])
        pairs = 0 if self.deterministic else PAIRS_AT_ONCE[self.device.type]
        logits_BK = np.empty((len(curves), len(self.card.classes)), np.float64)
        distance_B = None if self._network.familiar is None else np.empty(len(curves), np.float64)
        for part in of_like_length(length_B, pairs, self._most_rows(CLASSIFY_ROWS)):
            chunk = [curves[b] for b in part]
            vectors = self._pad_embeddings([embeddings[b] for b in part], chunk)
            epochs = None if past is None else [past[b] for b in part]
            logits_BK[part], distance = self._engine.answer(vectors, collate_curve(chunk, histories=epochs))
            if distance_B is not None and distance is not None:
                distance_B[part] = distance
        score = self.card.unknown
        unknown_B = None if score is None else score.of(logits_BK, distance_B)
        return Prediction(self.card.probabilities(logits_BK), unknown_B)

    def predict(self, series: Sequence[Series], histories: Sequence[History] | None = None) -> Prediction:
        """Probabilities of whole series: :meth:`embed`, of which nothing is kept, and :meth:`classify`.

        Raises
        ------
        ValueError
            As :meth:`classify`, or when the times of a series are no numbers, or not in order.
        """
        for number, one in enumerate(series):
            if not (np.isfinite(one.time_T).all() and (np.diff(one.time_T) >= 0).all()):
                raise ValueError(f"the times of series {number} are not finite and in order: sort its frames, "
                                 "and leave out those without a time")  # fmt: skip
        size = self.card.group_size
        return self.classify([self.embed(one.groups(size)) for one in series], series, histories)

    def warm_up(self) -> None:
        """Compute once at the largest shapes, so that the first alert does not wait for allocations."""
        frame = blank_series(self.card, self.card.group_size)
        vectors = self.embed([frame] * self._most_rows(EMBED_ROWS))
        group_count = -(-self.card.frame_limit // self.card.group_size)
        series = blank_series(self.card, self.card.frame_limit)
        past = blank_history(self.card, self.card.history_limit) if self.card.history_limit else None
        epochs = len(series) + (0 if past is None else len(past))
        rows = min(
            max(PAIRS_AT_ONCE[self.device.type] // epochs**2, 1), self._most_rows(CLASSIFY_ROWS)
        )  # that one pass takes
        histories = None if past is None else [past] * rows
        self.classify([np.repeat(vectors[:1], group_count, 0)] * rows, [series] * rows, histories)

    def _most_rows(self, on_a_processor: int) -> int:
        return on_a_processor if self.device.type == "cpu" else CARD_ROWS

    def _pad_embeddings(
        self, embeddings: Sequence[NDArray[np.float32]], curves: Sequence[Photometry | Series]
    ) -> torch.Tensor:
        size = self._network.group_size
        group_counts = [-(-len(series) // size) for series in curves]
        width = int(np.prod(self._network.embedding_shape))
        vectors = np.zeros((len(curves), max(group_counts), width), np.float32)
        for row, (vector_GD, count) in enumerate(zip(embeddings, group_counts, strict=True)):
            if vector_GD.shape != (count, width):
                raise ValueError(
                    f"a series of {len(curves[row])} frames needs embeddings ({count}, {width}), got {vector_GD.shape}"
                )
            vectors[row, :count] = vector_GD
        return torch.from_numpy(vectors).unflatten(2, self._network.embedding_shape)


def chunks(items: Sequence[Series], rows: int) -> Iterator[tuple[slice, Sequence[Series]]]:
    """Consecutive parts of at most ``rows`` items, and where they lie."""
    for start in range(0, len(items), rows):
        chunk = items[start : start + rows]
        yield slice(start, start + len(chunk)), chunk


def of_like_length(length_B: NDArray[np.int64], pairs: int, rows: int = CLASSIFY_ROWS) -> Iterator[NDArray[np.int64]]:
    """Indices of series in passes, like lengths together, for attention pays for padding too.

    A pass has at most ``rows`` rows, and with padding at most ``pairs`` pairs of epochs, but at least one row.
    """
    order_B = np.argsort(length_B, kind="stable")
    start = 0
    for stop in range(1, len(order_B) + 1):
        is_last = stop == len(order_B)
        if is_last or stop - start == rows or (stop + 1 - start) * int(length_B[order_B[stop]]) ** 2 > pairs:
            yield order_B[start:stop]
            start = stop


def untrained(survey: str, network: str, seed: int, **settings: Any) -> tuple[GroupedNetwork, ModelCard]:
    """A seeded network for a survey's stamps, and a card that says that nothing trained it.

    Raises
    ------
    ValueError
        When survey, network or a setting is unknown.
    """
    if survey not in SURVEY_INPUTS:
        raise ValueError(f"survey is {survey!r}: choose one of {', '.join(SURVEY_INPUTS)}")
    taxonomy, facts = load_taxonomy(), SURVEY_INPUTS[survey]
    defaults: dict[str, Any] = {
        "class_count": len(taxonomy.classes),
        "channels": len(facts.channels),
        "size": facts.size_px,
    }
    if survey != "sdss":
        defaults["mean_njy"] = ((0.0,) * len(facts.channels),) * len(BANDS)
        defaults["sigma_njy"] = ((facts.sigma_njy,) * len(facts.channels),) * len(BANDS)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        built = registry.build({"network": network} | registry.accepted(network, defaults) | settings)
    card = ModelCard(
        name=network,
        version="",
        survey=survey,
        classes=taxonomy.classes,
        taxonomy_version=taxonomy.version,
        channels=facts.channels,
        size_px=facts.size_px,
        bands=facts.bands,
        frame_limit=built.frame_limit,
        group_size=built.group_size,
        trained=False,
        network=registry.describe(built),
        provenance={"data": None, "recipe": "none: random weights", "seed": seed},
    )
    card = weights.stamped(card, built.state_dict())
    return built, replace(card, version=f"untrained-{card.version}")


def resolve_device(name: str) -> torch.device:
    """The device of this name, never another one.

    Raises
    ------
    DeviceUnavailableError
        When the machine does not have it.
    """
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise DeviceUnavailableError(f"device is {name!r}: choose 'cpu', 'cuda' or 'cuda:N'") from error
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise DeviceUnavailableError(
            f"device is {name!r}, but torch {torch.__version__} sees {torch.cuda.device_count()} CUDA devices here: "
            "install a CUDA build of torch and a driver, or choose 'cpu'"
        )
    if device.type not in ("cpu", "cuda"):
        raise DeviceUnavailableError(f"device is {name!r}: choose 'cpu' or 'cuda'")
    return device


def blank_series(card: ModelCard, length: int) -> Series:
    """A series of the largest shape with nothing on it."""
    shape = (length, len(card.channels), card.size_px, card.size_px)
    return Series(
        pixels_TCHW=np.zeros(shape, np.float16),
        scale_TC=np.ones(shape[:2], np.float32),
        band_T=np.full(length, BANDS.index(card.bands[0]), np.int8),
        time_T=np.arange(length, dtype=np.float64),
        flux_T=np.zeros(length, np.float32),
        flux_error_T=np.zeros(length, np.float32),
    )


def blank_history(card: ModelCard, length: int) -> History:
    """As many epochs as a network reads, of nothing, from before the blank series."""
    return History(
        np.arange(-length, 0, dtype=np.float64),
        np.full(length, BANDS.index(card.bands[0]), np.int8),
        np.zeros(length, np.float32),
        np.ones(length, np.float32),
    )

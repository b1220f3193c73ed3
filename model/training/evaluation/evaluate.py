"""``ictc-evaluate``: scores of weights on a data set, as JSON, tables and an HTML report."""

import dataclasses
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from model.commands import command
from model.data.checked import open_checked
from model.data.dataset import Dataset, DatasetError
from model.files import replacing
from model.networks.grouped import GroupedNetwork
from model.serving import weights
from model.serving.card import ModelCard, UnknownScore, WeightsError, energy
from model.serving.predictor import DeviceUnavailableError, resolve_device
from model.taxonomy import NATURAL_MIX, SUPERNOVAE
from model.training.data.dataset_identity import is_simulated, name_of
from model.training.data.input_form import OF_EACH_FRAME
from model.training.data.loader import Loader, loader_for
from model.training.data.splits import SplitsError, divide
from model.training.evaluation import early
from model.training.evaluation.calibrate import unknown_scores
from model.training.evaluation.card_limits import is_balanced, limits, read_controls
from model.training.evaluation.evaluation_report import write_report
from model.training.evaluation.intervals import bootstrap, macro_f1_interval, wilson
from model.training.evaluation.plain_table import plain_table
from model.training.evaluation.predict import predict_logits
from model.training.evaluation.prefix_predictions import answers_of, predict_prefixes
from model.training.evaluation.scorecard import (
    ClassCounts,
    FollowUp,
    NaturalMix,
    Scorecard,
    ScoredData,
    ScoredWeights,
    ScoreIntervals,
    Strangers,
    StrangersAtNight,
)
from model.training.evaluation.scoring import balanced_accuracy, reliability, score
from model.training.evaluation.seen_objects import TO_LEARN_FROM, check_unseen, count_seen
from model.training.training_options import evaluate_parser

ALERTS_IN_A_ROW = (1, 2)  # after which somebody may act
RESULT = "scores.json"
PREDICTIONS = "predictions.npz"


@dataclass(frozen=True, slots=True)
class Evaluation:
    """All that was measured of one set of weights on one set of objects."""

    card: ModelCard
    label_N: NDArray[np.int64]
    probability_NK: NDArray[np.float64]
    predictions: early.PrefixPredictions
    scorecard: Scorecard


def check_fit(card: ModelCard, dataset: Dataset) -> None:
    """Refuse a data set that the weights cannot read or know no classes of.

    Raises
    ------
    WeightsError
        Naming what differs.
    """
    check_pixels(card, dataset)
    if not card.trained:
        raise WeightsError("the weights were told no class, their answers are guesses: go on with them by ictc-train "
                           "--start-from, and score what comes of it")  # fmt: skip
    if card.form not in OF_EACH_FRAME:
        raise WeightsError(f"the weights were trained on series in the form {card.form!r}, in which early frames show "
                           "what came later: score that recipe by ictc-compare")  # fmt: skip
    if card.classes != dataset.classes:
        raise WeightsError(f"{dataset.folder} has the classes {', '.join(dataset.classes)}, the weights know "
                           f"{', '.join(card.classes)}: give a data set of those, in this order")  # fmt: skip


def check_pixels(card: ModelCard, dataset: Dataset) -> None:
    """Refuse a data set whose stamps the network cannot read.

    Raises
    ------
    WeightsError
        Naming what differs.
    """
    if card.survey != dataset.survey:
        raise WeightsError(f"{dataset.folder} is of survey {dataset.survey}, the weights are for {card.survey}: "
                           f"give a data set of {card.survey}, or weights for {dataset.survey}")  # fmt: skip
    if card.channels != dataset.channels:
        raise WeightsError(f"{dataset.folder} has the channels {', '.join(dataset.channels)}, the weights read "
                           f"{', '.join(card.channels)}: make a data set with those")  # fmt: skip
    if dataset.size_px < (size := int(card.network.get("size", 0))):
        raise WeightsError(f"{dataset.folder} has stamps of {dataset.size_px} pixels, the network reads {size}: "
                           f"make a data set with --size {size}")  # fmt: skip


def check_strange(card: ModelCard, unknown: Dataset) -> None:
    """Refuse to measure the unknown score on a data set that is empty, unreadable, or of classes that are known.

    Raises
    ------
    WeightsError
        Naming what is wrong.
    """
    check_pixels(card, unknown)
    if len(unknown) == 0:
        raise WeightsError(f"{unknown.folder} holds no objects: --unknown needs some")
    if known := [
        name for k, name in enumerate(unknown.classes) if name in card.classes and (unknown.labels == k).any()
    ]:
        raise WeightsError(f"{unknown.folder} holds objects of {', '.join(known)}, which the weights know: "
                           "--unknown needs classes that they do not")  # fmt: skip


def evaluate(
    network: GroupedNetwork,
    card: ModelCard,
    dataset: Dataset,
    rows: NDArray[np.int64],
    device: torch.device,
    unknown: Dataset | None = None,
) -> Evaluation:
    """Score weights on some rows of a data set; the calibration is the card's own.

    Parameters
    ----------
    unknown
        Objects of classes that the weights were not trained on, if their score is to be measured.
    """
    network = network.to(device)
    loader = loader_for(network, dataset, rows, device, card.form)
    logits_NK = predict_logits(network, loader)
    probability_NK = card.probabilities(logits_NK)
    label_N = loader.label_N.cpu().numpy()
    predictions = predict_prefixes(network, dataset, loader, card.probabilities, card.unknown or UnknownScore())
    chosen_N, count = probability_NK.argmax(1), len(card.classes)
    reached = score(label_N, probability_NK, card.classes)
    hits = np.diagonal(np.array(reached.confusion))
    objects = {name: int((label_N == k).sum()) for k, name in enumerate(card.classes)}
    modes = label_modes(dataset, rows)
    strangers = None
    if unknown is not None:
        strange = loader_for(network, unknown, np.arange(len(unknown)), device, card.form)
        strangers = strangeness(network, card, predictions, loader, strange, unknown)
    scorecard = Scorecard(
        ScoredWeights(card.name, card.version, card.survey),
        ScoredData(dataset.folder.name, name_of(dataset), dataset.manifest.get("seed"), is_simulated(dataset)),
        ClassCounts(objects, is_balanced(objects)),
        reached,
        ScoreIntervals(
            macro_f1_interval(label_N, chosen_N, count),
            bootstrap(label_N, lambda rows: balanced_accuracy(label_N[rows], chosen_N[rows], count)),
            {name: wilson(int(hits[k]), objects[name]) for k, name in enumerate(card.classes)},
        ),
        reliability(probability_NK.max(1), chosen_N == label_N).tolist(),
        early.curves(predictions),
        early.confidence(predictions),
        [early.decisions(predictions, in_a_row=in_a_row) for in_a_row in ALERTS_IN_A_ROW],
        follow_up(predictions, card.classes),
        in_natural_mix(predictions, card),
        {mode: score(label_N[at], probability_NK[at], card.classes) for mode, at in modes.items()} or None,
        strangers,
    )
    return Evaluation(card, label_N, probability_NK, predictions, scorecard)


def follow_up(
    predictions: early.PrefixPredictions, classes: Sequence[str], weight_N: NDArray[np.float64] | None = None
) -> FollowUp:
    """What awaits somebody who follows up supernovae; it depends on the mix of classes, which weights can change."""
    kinds = tuple(classes.index(name) for name in SUPERNOVAE if name in classes)
    quiet = tuple(k for k in range(len(classes)) if k not in kinds)
    purity = None
    if "SNIa" in classes:
        purity = early.before_peak_purity(predictions, classes.index("SNIa"), weight_N=weight_N)
    return FollowUp(purity, early.false_alarms(predictions, kinds, quiet, weight_N))


def in_natural_mix(predictions: early.PrefixPredictions, card: ModelCard) -> NaturalMix | None:
    """The same in the mix of classes that a survey gave labels to; None where nobody counted it."""
    mix = NATURAL_MIX.get(card.survey)
    if mix is None or not set(card.classes) <= set(mix):
        return None
    weight_N = early.in_mix(predictions.label_N, [mix[name] for name in card.classes])
    return NaturalMix(dict(mix), **dataclasses.asdict(follow_up(predictions, card.classes, weight_N)))


def strangeness(
    network: GroupedNetwork,
    card: ModelCard,
    known: early.PrefixPredictions,
    loader: Loader,
    strange: Loader,
    unknown: Dataset,
) -> Strangers:
    """How well the unknown score tells a data set from known objects: of whole series, and as they grow.

    Each part of the score is asked of whole series too.
    """
    others = predict_prefixes(network, unknown, strange, card.probabilities, card.unknown or UnknownScore())
    known_N, strange_M = (early.unknown_at(side, side.last_frame) for side in (known, others))
    by_class = {
        name: unknown_scores(known_N, strange_M[unknown.labels == k]).auroc
        for k, name in enumerate(unknown.classes)
        if (unknown.labels == k).any()
    }
    whole, of_others = (answers_of(network, side, prefixes=False) for side in (loader, strange))
    parts = {"energy": unknown_scores(energy(whole.logits_MK), energy(of_others.logits_MK)).auroc}
    known_distance_N, strange_distance_M = whole.distances(network), of_others.distances(network)
    if known_distance_N is not None and strange_distance_M is not None:
        parts["distance"] = unknown_scores(known_distance_N, strange_distance_M).auroc
    by_night = {}
    for night in early.NIGHTS:
        then = [early.unknown_at(side, early.frame_after_nights(side, night)) for side in (known, others)]
        by_night[night] = StrangersAtNight(unknown_scores(*then).auroc, float(np.median(then[0])))
    return Strangers(**dataclasses.asdict(unknown_scores(known_N, strange_M)), auroc_by_class=by_class,
                     auroc_of_parts=parts, by_night=by_night)  # fmt: skip


def label_modes(dataset: Dataset, rows: NDArray[np.int64]) -> dict[str, NDArray[np.bool_]]:
    """Which rows have the survey's own labels and which are deconfounded, where the truth tells."""
    truth = dataset.truth()
    if "label_mode" not in truth.column_names:
        return {}
    mode_N = np.asarray(truth["label_mode"].to_numpy(zero_copy_only=False)).astype(str)[rows]
    return {str(mode): mode_N == mode for mode in np.unique(mode_N)}


def write(evaluation: Evaluation, dataset: Dataset, rows: NDArray[np.int64], folder: Path) -> None:
    """Write scores.json, scores.txt, predictions.npz and report.html."""
    folder.mkdir(parents=True, exist_ok=True)
    with replacing(folder / PREDICTIONS) as partial, partial.open("wb") as file:
        np.savez_compressed(
            file,
            row=rows,
            object_id=dataset.object_ids[rows],
            label=evaluation.label_N,
            probability=evaluation.probability_NK.astype(np.float32),
        )
    with replacing(folder / "report.html") as partial:
        write_report(evaluation.card, evaluation.scorecard, evaluation.predictions, dataset, rows, partial)
    with replacing(folder / "scores.txt") as partial:
        partial.write_text(plain_table(evaluation.scorecard), "utf-8")
    with replacing(folder / RESULT) as partial:
        partial.write_text(json.dumps(evaluation.scorecard.as_json(), indent=1) + "\n", "utf-8")


def with_scores(card: ModelCard, scorecard: Scorecard, controls: dict[str, Any] | None = None) -> ModelCard:
    """The card with what an evaluation found, and its limits; ``controls`` as :func:`limits` takes them."""
    names = ("objects", "accuracy", "macro_f1", "balanced_accuracy", "auc", "log_loss", "ece", "recall")
    on_card: dict[str, Any] = {name: getattr(scorecard.scores, name) for name in names}
    on_card["macro_f1_interval"] = dataclasses.asdict(scorecard.intervals.macro_f1)
    on_card["data"] = dataclasses.asdict(scorecard.data)
    on_card["macro_f1_by_night"] = {night: scores.macro_f1 for night, scores in scorecard.early.by_night.items()}
    unknown = card.unknown
    if unknown is not None and scorecard.unknown is not None:
        unknown = dataclasses.replace(unknown, auroc=scorecard.unknown.auroc)
        on_card["unknown_auroc_by_class"] = scorecard.unknown.auroc_by_class
    provenance = {**card.provenance, "test_scores": on_card, "limits": limits(card, scorecard, controls)}
    return dataclasses.replace(card, unknown=unknown, provenance=provenance)


@command("ictc-evaluate", WeightsError, DatasetError, SplitsError, DeviceUnavailableError)
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    options = evaluate_parser().parse_args(argv)
    device = resolve_device(options.device)
    if options.copy_to is not None:
        weights.check_place(options.copy_to)
    network, card = weights.load(options.weights)
    dataset = open_checked(options.data)
    check_fit(card, dataset)
    rows = divide(dataset, options.fold).test if options.fold is not None else split_rows(dataset, options.split)
    asked_for = options.fold is None and options.split in TO_LEARN_FROM
    if not asked_for:
        check_unseen(card, dataset, rows)
    strange = None if options.unknown is None else open_checked(options.unknown)
    if strange is not None:
        check_strange(card, strange)
    controls = None if options.controls is None else read_controls(options.controls)
    options.out.mkdir(parents=True, exist_ok=True)  # what cannot be written to is told before the work, not after
    evaluation = evaluate(network, card, dataset, rows, device, strange)
    write(evaluation, dataset, rows, options.out)
    if options.copy_to is not None:
        weights.save(
            options.copy_to, network.cpu(), with_scores(card, evaluation.scorecard, controls), half=options.half
        )
    print(plain_table(evaluation.scorecard), end="")
    if asked_for and (seen := count_seen(card, dataset, rows)):
        print(f"The weights were trained on or chosen by {seen} of these {len(rows)} objects.")
    return 0


def split_rows(dataset: Dataset, split: str) -> NDArray[np.int64]:
    """Rows of a split by its name.

    Raises
    ------
    SplitsError
        When there is none.
    """
    if split not in dataset.splits:
        raise SplitsError(f"the data set has no split {split!r}; it has {', '.join(dataset.splits)}")
    return dataset.splits[split]


if __name__ == "__main__":
    sys.exit(main())

"""Model cards with the calibration and the unknown score that held-out objects ask for."""

import dataclasses
from pathlib import Path

import numpy as np
import torch

from model.data.dataset import Dataset
from model.networks.grouped import GroupedNetwork
from model.networks.layers.class_distance import ClassDistance
from model.serving.card import SCORE_KINDS, ModelCard
from model.training.data.loader import loader_for
from model.training.data.splits import Splits
from model.training.evaluation.calibrate import fit_bias_and_temperature, fit_sets, fit_unknown
from model.training.evaluation.predict import predict_logits, softmax
from model.training.evaluation.prefix_predictions import answers_of
from model.training.evaluation.scoring import score


def calibrated(
    card: ModelCard,
    network: GroupedNetwork,
    dataset: Dataset,
    splits: Splits,
    prefixes: bool,
    unknown_kind: str = SCORE_KINDS[0],
) -> ModelCard:
    """The card with the calibration and the unknown score that the validation rows ask for, and their scores.

    All is computed on the processor, where the service answers: ``network`` must be there. A network that answers in
    one pass gets a memory of what its training objects look like. One that was trained on ``prefixes`` is calibrated on
    its answers after every frame and remembers objects as they were then; others on their answers to whole series.
    An unknown score of kind ``energy`` needs no memory, and the network keeps none.
    """
    training, validation = (
        loader_for(network, dataset, rows, torch.device("cpu"), card.form) for rows in (splits.train, splits.validation)
    )
    held_out = answers_of(network, validation, prefixes)
    alerts = prefixes and "difference" in card.channels  # whose series begin with a detection
    network.familiar = None
    if network.one_pass and unknown_kind == "energy_and_distance":
        seen = answers_of(network, training, prefixes)
        features_MF, label_M, weight_M = map(torch.from_numpy, (seen.features_MF, seen.label_M, seen.weight_M))
        network.familiar = ClassDistance.of(features_MF, label_M, len(card.classes), weight_M)
    offset, temperature = fit_bias_and_temperature(held_out.logits_MK, held_out.label_M, held_out.weight_M)
    probability_MK = softmax(held_out.logits_MK + np.array(offset), temperature)
    probability_NK = softmax(predict_logits(network, validation) + np.array(offset), temperature)
    reached = dataclasses.asdict(score(validation.label_N.cpu().numpy(), probability_NK, card.classes))
    return dataclasses.replace(
        card,
        temperature=temperature,
        logit_offset=offset,
        unknown=fit_unknown(held_out.logits_MK, held_out.distances(network), held_out.weight_M),
        sets=fit_sets(probability_MK, held_out.label_M, held_out.object_M, held_out.age_M if alerts else None),
        provenance={**card.provenance, "validation_scores": reached},
    )


def validated(card: ModelCard, path: Path) -> str:
    """One line on weights that were calibrated just now."""
    reached = card.provenance["validation_scores"]
    return (
        f"{card.name} {card.version}: validation macro-F1 {reached['macro_f1']:.3f}, "
        f"log loss {reached['log_loss']:.3f} in {path}.*"
    )

"""Scores of a network on validation objects, as a training sees it after each epoch."""

import numpy as np

from model.networks.grouped import GroupedNetwork
from model.training.data.loader import Loader
from model.training.evaluation import scoring
from model.training.evaluation.predict import predict, predict_features, softmax
from model.training.evaluation.separation import separation


def validation_scores(network: GroupedNetwork, loader: Loader, classes: int) -> dict[str, float]:
    """Macro-F1, log loss with every class weighing the same, and how far the features of the classes lie apart."""
    label_N = loader.label_N.cpu().numpy()
    apart: dict[str, float] = {}
    if network.one_pass:
        feature_NF, logits_NK = predict_features(network, loader)
        probability_NK = softmax(logits_NK)
        if 1 < len(np.unique(label_N)) < len(label_N):  # else there is no silhouette
            spread = separation(feature_NF, label_N, classes)
            apart = {
                "validation_within": spread.within,
                "validation_between": spread.between,
                "validation_silhouette": spread.silhouette,
            }
    else:
        probability_NK = predict(network, loader)
    return {
        "validation_macro_f1": scoring.macro_f1(label_N, np.argmax(probability_NK, 1), classes),
        "validation_log_loss": scoring.log_loss(label_N, probability_NK, balanced=True),
        **apart,
    }

"""Separation of classes in feature space: what it must not depend on, and what it must tell apart."""

import numpy as np
import pytest

from model.training.evaluation.separation import separation

CLASSES = 3


def clouds(width: float, objects: int = 60, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    label_N = np.arange(objects) % CLASSES
    return np.eye(CLASSES)[label_N] + width * rng.normal(size=(objects, CLASSES)), label_N


def test_tighter_clouds_are_better_separated():
    """Narrower classes have less scatter within, a larger ratio and a larger silhouette."""
    narrow, wide = (separation(*clouds(width), CLASSES) for width in (0.05, 0.5))
    assert narrow.within < wide.within
    assert narrow.ratio > 10 * wide.ratio
    assert narrow.silhouette > 0.8 > wide.silhouette


def test_the_scale_of_features_does_not_matter():
    """Features a thousand times as large give the same numbers."""
    feature_NF, label_N = clouds(0.3)
    small, large = (separation(feature_NF * factor, label_N, CLASSES) for factor in (1.0, 1e3))
    assert large.within == pytest.approx(small.within)
    assert large.silhouette == pytest.approx(small.silhouette)


def test_every_class_weighs_the_same():
    """Showing the objects of one class four times over changes no scatter."""
    feature_NF, label_N = clouds(0.3)
    index = np.concatenate([np.arange(len(label_N)), *[np.flatnonzero(label_N == 0)] * 3])
    once, often = separation(feature_NF, label_N, CLASSES), separation(feature_NF[index], label_N[index], CLASSES)
    assert often.within == pytest.approx(once.within)
    assert often.between == pytest.approx(once.between)


def test_scatter_adds_up():
    """Of classes alike in number, scatter within and between is the scatter about the common mean."""
    feature_NF, label_N = clouds(0.4)
    unit_NF = feature_NF / np.linalg.norm(feature_NF, axis=1, keepdims=True)
    spread = separation(feature_NF, label_N, CLASSES)
    total = ((unit_NF - unit_NF.mean(0)) ** 2).sum(1).mean()
    assert spread.within + spread.between == pytest.approx(total)


def test_one_class_alone_cannot_be_separated():
    """Objects of a single class are refused, and said to be."""
    feature_NF, label_N = clouds(0.3)
    with pytest.raises(ValueError, match="1 class"):
        separation(feature_NF[label_N == 0], label_N[label_N == 0], CLASSES)

"""What training objects look like: the distance that scipy finds, nearest class, an error without objects."""

import pytest
import torch
from scipy.spatial.distance import mahalanobis

from model.networks.layers.class_distance import SHRINKAGE, ClassDistance


def clouds(count: int = 400) -> tuple[torch.Tensor, torch.Tensor]:
    """Four classes of one oblique shape, far apart."""
    torch.manual_seed(2)
    label_N = torch.arange(count) % 4
    shape_FF = torch.tensor([[2.0, 0.0, 0.0], [1.5, 0.5, 0.0], [0.0, 0.3, 1.0]])
    return torch.randn(count, 3) @ shape_FF.T + 10.0 * torch.eye(4, 3)[label_N], label_N


def test_distance_is_that_to_the_nearest_class():
    """Scipy finds the same distance to the nearest class mean under the pooled covariance."""
    features_NF, label_N = clouds()
    familiar = ClassDistance.of(features_NF, label_N, 4)
    mean_KF = torch.stack([features_NF[label_N == k].mean(0) for k in range(4)]).double()
    within_NF = features_NF.double() - mean_KF[label_N]
    covariance = within_NF.T @ within_NF / len(within_NF)
    covariance += SHRINKAGE * covariance.diagonal().mean() * torch.eye(3)
    inverse = torch.linalg.inv(covariance).numpy()
    for x in (features_NF[0], torch.tensor([50.0, -3.0, 2.0])):
        nearest = min(mahalanobis(x.double().numpy(), mean.numpy(), inverse) for mean in mean_KF)
        assert familiar(x[None])[0].exp().item() == pytest.approx(nearest**2, rel=1e-4)


def test_weights_are_repetitions():
    """A row of weight 3 counts as that row written three times."""
    features_NF, label_N = clouds(40)
    weight_N = 1 + torch.arange(40) % 3
    rows_N = torch.arange(40).repeat_interleave(weight_N)
    repeated = ClassDistance.of(features_NF[rows_N], label_N[rows_N], 4)
    weighted = ClassDistance.of(features_NF, label_N, 4, weight_N)
    assert torch.allclose(repeated.mean_KF, weighted.mean_KF)
    assert torch.allclose(repeated.whiten_FF, weighted.whiten_FF, rtol=1e-4)


def test_far_away_is_stranger():
    """A point off all classes is stranger than nearly all of their members; so is one along a narrow direction."""
    features_NF, label_N = clouds()
    familiar = ClassDistance.of(features_NF, label_N, 4)
    usual = familiar(features_NF).quantile(0.99)
    off = features_NF[:1] + torch.tensor([[-3.0, 3.0, 0.0]])  # across the long axis of every class
    assert familiar(off)[0] > usual
    assert familiar(torch.full((1, 3), 40.0))[0] > usual


def test_every_class_needs_objects():
    """A class without training objects is an error that gives the counts."""
    features_NF, label_N = clouds()
    with pytest.raises(ValueError, match="at least one"):
        ClassDistance.of(features_NF, label_N % 3, 4)

"""Penultimate features in, how unlike the training objects they are out: distance to the nearest class.

A network may be sure of what it never saw, and then its logits hide it. Features keep what the logits drop. Each class
is a normal distribution about its mean, all of one covariance (Lee et al. 2018, "A simple unified framework for
detecting out-of-distribution samples and adversarial attacks").

Legend: ``N`` or ``B`` objects, ``F`` features, ``K`` classes.
"""

import torch
from torch import Tensor, nn

SHRINKAGE = 0.01  # share of the mean variance that is added to every variance: features that hardly vary count little


class Familiar(nn.Module):
    """What training objects look like; part of a network's weights once it is calibrated."""

    def __init__(self, class_count: int, feature_width: int) -> None:
        super().__init__()
        self.mean_KF: Tensor
        self.whiten_FF: Tensor
        self.register_buffer("mean_KF", torch.zeros(class_count, feature_width))
        self.register_buffer("whiten_FF", torch.eye(feature_width))

    @classmethod
    def of(cls, features_NF: Tensor, label_N: Tensor, class_count: int) -> "Familiar":
        """Fit to features of labelled objects.

        Raises
        ------
        ValueError
            When a class has no object.
        """
        counts_K = torch.bincount(label_N, minlength=class_count)
        if not counts_K.all():
            raise ValueError(f"the classes have {counts_K.tolist()} training objects: each needs at least one")
        familiar = cls(class_count, features_NF.shape[1])
        x_NF = features_NF.double()
        mean_KF = torch.stack([x_NF[label_N == k].mean(0) for k in range(class_count)])
        from_mean_NF = x_NF - mean_KF[label_N]
        covariance_FF = from_mean_NF.T @ from_mean_NF / len(x_NF)
        share = SHRINKAGE * covariance_FF.diagonal().mean().clamp(min=1e-12)
        covariance_FF += share * torch.eye(len(covariance_FF), dtype=x_NF.dtype)
        whiten_FF = torch.linalg.inv(torch.linalg.cholesky(covariance_FF)).T
        familiar.mean_KF.copy_(mean_KF)
        familiar.whiten_FF.copy_(whiten_FF)
        return familiar

    def forward(self, features_BF: Tensor) -> Tensor:
        """Logarithm of the squared Mahalanobis distance to the nearest class, [B]."""
        white_BF, centre_KF = features_BF @ self.whiten_FF, self.mean_KF @ self.whiten_FF
        square_BK = (white_BF[:, None, :] - centre_KF).square().sum(-1)
        return square_BK.amin(1).clamp(min=1e-6).log()

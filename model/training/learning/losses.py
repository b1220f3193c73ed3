"""Losses, one number per object, from logits and labels. They know no network, no data set, no optimiser.

Legend: ``B`` objects, ``K`` classes, ``D`` width of a projection, ``P`` prototypes, ``V`` views of
all objects (2B).
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

LDAM_LARGEST_MARGIN = 0.5
CONTRAST_TEMPERATURE = 0.1
DINO_STUDENT_TEMPERATURE = 0.1
DINO_TEACHER_TEMPERATURE = 0.04
DINO_CENTRE_MOMENTUM = 0.9


def class_balanced_weights(counts_K: Tensor, beta: float) -> Tensor:
    """Weights (1 - beta) / (1 - beta^n), scaled to sum to the number of classes; ``beta`` 0 gives ones.

    References
    ----------
    Cui et al. 2019, "Class-balanced loss based on effective number of samples".
    """
    weight_K = (1 - beta) / (1 - torch.pow(torch.as_tensor(beta, dtype=torch.float64), counts_K.double()))
    return (weight_K * len(weight_K) / weight_K.sum()).float()


def cross_entropy(logits_BK: Tensor, label_B: Tensor, counts_K: Tensor, smoothing: float = 0.0) -> Tensor:
    """Minus the log probability of the label, mixed with the uniform distribution by ``smoothing``. Returns [B]."""
    return functional.cross_entropy(logits_BK, label_B, reduction="none", label_smoothing=smoothing)


def focal_factor(entropy: Tensor, gamma: float) -> Tensor:
    """The factor (1 - p)^gamma of a cross entropy of -log p, with a finite gradient also where p is 1."""
    return (1 - torch.exp(-entropy)).clamp(min=torch.finfo(entropy.dtype).tiny).pow(gamma)


def focal(logits_BK: Tensor, label_B: Tensor, counts_K: Tensor, gamma: float = 2.0) -> Tensor:
    """Cross entropy times (1 - p)^gamma, per object. Returns [B]."""
    entropy_B = functional.cross_entropy(logits_BK, label_B, reduction="none")
    return focal_factor(entropy_B, gamma) * entropy_B


def balanced_weights(counts_K: Tensor) -> Tensor:
    """Weights N / (K n): every class weighs as much in a sum over the objects that these are the counts of."""
    present_K = counts_K > 0
    return torch.where(present_K, counts_K.sum() / (present_K.sum() * counts_K.clamp(min=1)), 0.0)


def focal_of_mean(
    logits_BK: Tensor, label_B: Tensor, counts_K: Tensor, gamma: float = 2.0, weight_K: Tensor | None = None
) -> Tensor:
    """The focal factor of the batch's mean cross entropy, as ConvEntion's authors trained. Returns [1].

    With ``weight_K`` the mean is one of objects that weigh what their class does.
    """
    entropy = functional.cross_entropy(logits_BK, label_B, weight=weight_K)
    return (focal_factor(entropy, gamma) * entropy).reshape(1)


def class_balanced_focal(
    logits_BK: Tensor, label_B: Tensor, counts_K: Tensor, beta: float = 0.999, gamma: float = 2.0
) -> Tensor:
    """Focal loss weighted by the effective number of objects of each class. Returns [B]."""
    weight_K = class_balanced_weights(counts_K, beta).to(logits_BK)
    return weight_K[label_B] * focal(logits_BK, label_B, counts_K, gamma)


def logit_adjusted(
    logits_BK: Tensor, label_B: Tensor, counts_K: Tensor, tau: float = 1.0, smoothing: float = 0.0
) -> Tensor:
    """Cross entropy of logits + tau log prior: what the network itself learns is free of the prior. Returns [B].

    References
    ----------
    Menon et al. 2021, "Long-tail learning via logit adjustment".
    """
    prior_K = (counts_K / counts_K.sum()).to(logits_BK)
    shifted_BK = logits_BK + tau * torch.log(prior_K + 1e-12)
    return functional.cross_entropy(shifted_BK, label_B, reduction="none", label_smoothing=smoothing)


def balanced_softmax(logits_BK: Tensor, label_B: Tensor, counts_K: Tensor) -> Tensor:
    """Cross entropy of logits + log counts (Ren et al. 2020): logit adjustment with tau = 1. Returns [B]."""
    shifted_BK = logits_BK + torch.log(counts_K.to(logits_BK))
    return functional.cross_entropy(shifted_BK, label_B, reduction="none")


def ldam_margins(counts_K: Tensor, largest: float = LDAM_LARGEST_MARGIN) -> Tensor:
    """Margins proportional to n^(-1/4), the rarest class at ``largest``."""
    margin_K = counts_K.double().pow(-0.25)
    return (margin_K * (largest / margin_K.max())).float()


def ldam(logits_BK: Tensor, label_B: Tensor, counts_K: Tensor, beta: float = 0.0, scale: float = 1.0) -> Tensor:
    """Label-distribution-aware margins; ``beta`` > 0 adds the deferred class-balanced weights. Returns [B].

    The margin is taken off the logit of the label.

    Parameters
    ----------
    scale
        How many logits a margin of 1 is: 30 for the cosine head of the paper (``model.cosine_head``), 1 for a linear
        head.

    References
    ----------
    Cao et al. 2019, "Learning imbalanced datasets with label-distribution-aware margin loss".
    """
    margin_K = ldam_margins(counts_K).to(logits_BK)
    held_BK = functional.one_hot(label_B, logits_BK.shape[1]) * margin_K
    entropy_B = functional.cross_entropy(logits_BK - scale * held_BK, label_B, reduction="none")
    return class_balanced_weights(counts_K, beta).to(logits_BK)[label_B] * entropy_B


CLASS_LOSSES: dict[str, Callable[..., Tensor]] = {
    "cross_entropy": cross_entropy,
    "focal": focal,
    "focal_of_mean": focal_of_mean,
    "class_balanced_focal": class_balanced_focal,
    "logit_adjusted": logit_adjusted,
    "balanced_softmax": balanced_softmax,
    "ldam": ldam,
}


def cosine_distance(prediction_BD: Tensor, target_BD: Tensor) -> Tensor:
    """BYOL's normalised mean squared error, 2 - 2 cos(prediction, target). Returns [B]."""
    return 2 - 2 * functional.cosine_similarity(prediction_BD, target_BD, dim=1)


def dino(student_BP: Tensor, teacher_BP: Tensor, centre_P: Tensor) -> Tensor:
    """Cross entropy of a sharpened, centred teacher with the student (Caron et al. 2021), of cosines. Returns [B]."""
    teacher = functional.softmax((teacher_BP - centre_P) / DINO_TEACHER_TEMPERATURE, dim=1)
    return -(teacher * functional.log_softmax(student_BP / DINO_STUDENT_TEMPERATURE, dim=1)).sum(1)


def supervised_contrastive(projection_VD: Tensor, label_V: Tensor, temperature: float = CONTRAST_TEMPERATURE) -> Tensor:
    """Pull views of one class together, push others away. Returns [V]; 0 for a view alone in its class.

    References
    ----------
    Khosla et al. 2020, "Supervised contrastive learning", the form with the sum outside the logarithm.
    """
    unit_VD = functional.normalize(projection_VD, dim=1)
    itself = torch.eye(len(unit_VD), dtype=torch.bool, device=unit_VD.device)
    similarity_VV = (unit_VD @ unit_VD.T / temperature).masked_fill(itself, -math.inf)
    log_share_VV = similarity_VV - torch.logsumexp(similarity_VV, dim=1, keepdim=True)
    positive_VV = (label_V[:, None] == label_V[None, :]) & ~itself
    pulled_V = torch.where(positive_VV, log_share_VV, 0.0).sum(1)
    return -pulled_V / positive_VV.sum(1).clamp(min=1)


def balanced_contrastive(
    projection_VD: Tensor, label_V: Tensor, prototype_KD: Tensor, temperature: float = CONTRAST_TEMPERATURE
) -> Tensor:
    """Supervised contrast in which each class weighs the same, completed by one prototype per class. Returns [V].

    References
    ----------
    Zhu et al. 2022, "Balanced contrastive learning for long-tailed visual recognition".
    """
    classes = len(prototype_KD)
    unit_VD = functional.normalize(projection_VD, dim=1)
    pool = torch.cat([unit_VD, functional.normalize(prototype_KD, dim=1)])
    pool_label = torch.cat([label_V, torch.arange(classes, device=label_V.device)])
    views = len(unit_VD)
    itself = torch.zeros(views, len(pool), dtype=torch.bool, device=unit_VD.device)
    itself[:, :views].fill_diagonal_(True)
    similarity = (unit_VD @ pool.T / temperature).masked_fill(itself, -math.inf)
    members_K = torch.bincount(pool_label, minlength=classes)
    same = pool_label[None, :] == label_V[:, None]
    share = (members_K[pool_label][None, :] - same.long()).clamp(min=1)  # how many of its class each one speaks for
    log_share = similarity - torch.logsumexp(similarity - torch.log(share), dim=1, keepdim=True)
    positive = same & ~itself
    return -torch.where(positive, log_share, 0.0).sum(1) / positive.sum(1).clamp(min=1)

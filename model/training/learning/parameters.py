"""Parameters of a network by what a training does with them: those of its head, drawn anew, and those that decay."""

from typing import Any

import torch
from torch import nn

from model.networks.grouped import GroupedNetwork
from model.training.learning.objective import Objective
from model.training.learning.recipe import RecipeError


def head_parameters(network: GroupedNetwork, head: str = "last") -> list[nn.Parameter]:
    """The parameters of a network's head.

    Parameters
    ----------
    head
        "last": those that act after the penultimate features, which ``head`` has a gradient for; "dense": those of
        the network's ``dense_head`` too.

    Raises
    ------
    RecipeError
        When a network without a dense head is asked for it.
    """
    if head == "dense":
        modules = network.dense_head()
        if not modules:
            raise RecipeError(f"{network.name} has no dense head to train alone: use head 'last'")
        return [parameter for module in modules for parameter in module.parameters()]
    learned = list(network.parameters())
    wanted = [parameter.requires_grad for parameter in learned]
    was_training = network.training
    network.eval().requires_grad_(True)
    with torch.enable_grad():
        features = torch.zeros(2, network.feature_width, device=learned[0].device)
        gradients = torch.autograd.grad(network.head(features).sum(), learned, allow_unused=True)
    for parameter, want in zip(learned, wanted, strict=True):
        parameter.requires_grad_(want)
    network.train(was_training)
    return [parameter for parameter, gradient in zip(learned, gradients, strict=True) if gradient is not None]


def renew(network: GroupedNetwork, parameters: list[nn.Parameter]) -> None:
    """Draw anew the modules that own these parameters."""
    for module in network.modules():
        own = list(module.parameters(recurse=False))
        reset = getattr(module, "reset_parameters", None)
        if own and callable(reset) and all(any(p is one for one in parameters) for p in own):
            reset()


def decay_groups(objective: Objective, weight_decay: float) -> list[dict[str, Any]]:
    """Parameters of several axes decay, ConvEntion's gains of layer norms over maps among them; vectors do not."""
    learned = [parameter for parameter in objective.parameters() if parameter.requires_grad]
    return [
        {"params": [p for p in learned if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in learned if p.ndim <= 1], "weight_decay": 0.0},
    ]

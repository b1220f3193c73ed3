"""Objective of a training step on two views of some objects: classes, ICT's pull, prefixes, restored nights.

The objective holds the networks; it knows no data set, no optimiser and no schedule.

Legend: ``B`` objects, ``T`` frames, ``K`` classes, ``F`` penultimate features, ``D`` width of a projection, ``P``
prototypes of DINO's head.

References
----------
ICT-ConvEntion as reconstructed in docs/results.md; Grill et al. 2020, "Bootstrap your own latent".
"""

import copy
from collections.abc import Callable
from typing import Any, Self, cast

import torch
from torch import Tensor, nn

from model.networks.contract import Frames
from model.networks.grouped import GroupedNetwork, at_last_frame, last_frame
from model.training.data.physics import Physics
from model.training.learning import losses
from model.training.learning.denoising import ReadsNights, Restorer
from model.training.learning.dino_head import PROTOTYPES, DinoHead
from model.training.learning.physics_head import PhysicsHead
from model.training.learning.recipe import PULLS_WITHOUT_LABELS, Recipe, RecipeError, Stage


class TargetNetwork(nn.Module):
    """The network that ICT follows and does not train; its output is projections [B, D]."""

    def __init__(self, network: GroupedNetwork, projector: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.projector = projector

    def forward(self, frames: Frames) -> Tensor:
        return self.projector(self.network.features(frames))


class Objective(nn.Module):
    """The online network, the target network that follows it, and what compares their views.

    Parameters
    ----------
    network
        Where the recipe's ``prefix`` is "all" it must also offer ``prefix_features(frames)`` [B, T, F].

    Raises
    ------
    RecipeError
        When a stage restores nights and the network cannot read them, or prefixes are examples and it has no features
        of them.
    """

    def __init__(self, network: GroupedNetwork, recipe: Recipe, classes: int) -> None:
        super().__init__()
        self.network = network
        self.ict = ict = recipe.ict
        self.prefix = recipe.prefix
        self.divergence_weight = recipe.divergence_weight
        self.restorer: Restorer | None = None
        self.projector: nn.Module | None = None
        self.predictor: nn.Module | None = None
        self.target: TargetNetwork | None = None
        self.physics_weight = recipe.physics_weight
        self.physics = PhysicsHead(network.feature_width) if recipe.physics_weight else None
        self.centre_P: Tensor
        if recipe.prefix == "all" and not hasattr(network, "prefix_features"):
            raise RecipeError(
                f"recipe {recipe.name} has prefix 'all', and {network.name} knows no prefixes: use prefix 'none'"
            )
        if any(stage.restores for stage in recipe.stages):
            if not isinstance(network, ReadsNights):
                raise RecipeError(f"recipe {recipe.name} has a stage that restores nights, which {network.name} cannot")
            self.restorer = Restorer(network)
        if ict.pull == "none" or not ict.weight:
            return
        width = ict.projection_width
        head = DinoHead if ict.pull == "dino" else nn.Linear
        self.projector = head(network.feature_width, width)
        if ict.predictor and ict.pull == "cosine":
            self.predictor = nn.Sequential(
                nn.Linear(width, width), nn.BatchNorm1d(width), nn.ReLU(), nn.Linear(width, width)
            )
        if ict.momentum is not None and ict.pull in PULLS_WITHOUT_LABELS:
            self.target = TargetNetwork(copy.deepcopy(network), copy.deepcopy(self.projector))
            self.target.requires_grad_(False)
        if ict.pull == "dino":
            self.register_buffer("centre_P", torch.zeros(PROTOTYPES))
        if ict.pull == "balanced_contrastive":
            self.prototype_KD = nn.Parameter(torch.randn(classes, width))

    def train(self, mode: bool = True) -> Self:
        """As any module; the target's dropout stays off where the recipe says so, its batch norms do not."""
        super().train(mode)
        if self.target is not None and not self.ict.target_dropout:
            for module in self.target.modules():
                if isinstance(module, nn.Dropout):
                    module.eval()
        return self

    def forward(
        self,
        first: Frames,
        second: Frames | None,
        label_B: Tensor,
        counts_K: Tensor,
        stage: Stage,
        beta: float,
        weight_K: Tensor | None = None,
        truth: Physics | None = None,
    ) -> dict[str, Tensor]:
        """The loss of one batch and its parts, each a scalar; ``loss`` is what to descend.

        Parameters
        ----------
        second
            Another view of the same objects, or of others of the same classes; None where nothing is pulled.
        beta
            Of the deferred weights of ``ldam``; 0 before they begin.
        weight_K
            What an object of each class weighs, of the losses that take it.
        truth
            Of the supernovae of the first view, where the recipe has their physics learnt.
        """
        if stage.restores:
            return self._restoring(first, stage)
        if stage.without_labels:
            assert second is not None  # the recipe was checked
            pull = self._pull(first, second, self.network.features(first), self.network.features(second), label_B)
            return {"pull": pull, "loss": self.ict.weight * pull}
        if self.prefix == "all":
            return self._over_prefixes(first, second, label_B, counts_K, stage, beta, weight_K, truth)

        def class_loss(features_BF: Tensor) -> Tensor:
            return self._class_loss(self.network.head(features_BF), label_B, counts_K, stage, beta, weight_K).mean()

        feature_BF = self.network.features(first)
        parts = {"class": class_loss(feature_BF)}
        if second is not None:
            other_BF = self.network.features(second)
            parts["class"] = parts["class"] + class_loss(other_BF)
            if self.projector is not None:
                parts["pull"] = self._pull(first, second, feature_BF, other_BF, label_B)
        parts["loss"] = parts["class"] + self.ict.weight * parts.get("pull", torch.zeros_like(parts["class"]))
        if self.physics is not None and truth is not None:
            curve, last_B1 = first.curve, last_frame(first.curve.mask_BT).unsqueeze(1)
            at_last = curve.map(lambda values: values.gather(1, last_B1))
            parts["physics"] = self.physics.loss(feature_BF.unsqueeze(1), at_last, truth)
            parts["loss"] = parts["loss"] + self.physics_weight * parts["physics"]
        extra = getattr(self.network, "extra_loss", lambda: None)()
        if extra is not None:  # a Bayesian network's divergence from its prior, shared out over the objects
            parts["loss"] = parts["loss"] + self.divergence_weight * extra / counts_K.sum()
        return parts

    def _class_loss(
        self,
        logits_BK: Tensor,
        label_B: Tensor,
        counts_K: Tensor,
        stage: Stage,
        beta: float,
        weight_K: Tensor | None = None,
    ) -> Tensor:
        """What each object costs [B], or all together [1]."""
        options: dict[str, Any] = dict(stage.loss_options)
        if stage.loss == "ldam":
            options |= {"beta": beta, "scale": self.network.logit_scale}
        if weight_K is not None:
            options["weight_K"] = weight_K
        return losses.CLASS_LOSSES[stage.loss](logits_BK.float(), label_B, counts_K, **options)

    def _restoring(self, frames: Frames, stage: Stage) -> dict[str, Tensor]:
        assert self.restorer is not None
        network = cast(ReadsNights, self.network)
        return {"loss": self.restorer(network, frames.curve, **stage.loss_options)}

    def _over_prefixes(
        self,
        first: Frames,
        second: Frames | None,
        label_B: Tensor,
        counts_K: Tensor,
        stage: Stage,
        beta: float,
        weight_K: Tensor | None = None,
        truth: Physics | None = None,
    ) -> dict[str, Tensor]:
        """Every prefix of a series is an example, and the whole of it counts as much as all the others together.

        Each object weighs the same, however long. Two views are pulled together by what is known of whole series.
        """

        def class_losses(view: Frames, features_BTF: Tensor) -> tuple[Tensor, Tensor]:
            mask_BT = view.curve.mask_BT
            label, length_B = label_B[:, None].expand(mask_BT.shape).flatten(), mask_BT.sum(1)
            logits_BTK = self.network.head(features_BTF)
            loss_BT = self._class_loss(logits_BTK.flatten(0, 1), label, counts_K, stage, beta, weight_K)
            loss_BT = loss_BT.reshape(mask_BT.shape)
            prefixes = (torch.where(mask_BT, loss_BT, 0.0).sum(1) / length_B).mean()
            return prefixes, loss_BT.gather(1, length_B[:, None] - 1).mean()

        prefix_features = cast(Callable[[Frames], Tensor], self.network.prefix_features)
        features_BTF = prefix_features(first)
        prefixes, whole = class_losses(first, features_BTF)
        parts = {"prefixes": prefixes, "whole": whole, "loss": (prefixes + whole) / 2}
        if second is not None:
            other_BTF = prefix_features(second)
            parts["loss"] = parts["loss"] + sum(class_losses(second, other_BTF)) / 2
            if self.projector is not None:
                feature_BF = at_last_frame(features_BTF, first.curve.mask_BT)
                other_BF = at_last_frame(other_BTF, second.curve.mask_BT)
                parts["pull"] = self._pull(first, second, feature_BF, other_BF, label_B)
                parts["loss"] = parts["loss"] + self.ict.weight * parts["pull"]
        if self.physics is not None and truth is not None:
            parts["physics"] = self.physics.loss(features_BTF, first.curve, truth)
            parts["loss"] = parts["loss"] + self.physics_weight * parts["physics"]
        return parts

    def _pull(self, first: Frames, second: Frames, feature_BF: Tensor, other_BF: Tensor, label_B: Tensor) -> Tensor:
        assert self.projector is not None
        ours = self.projector(feature_BF).float(), self.projector(other_BF).float()
        if self.ict.pull == "supervised_contrastive":
            return losses.supervised_contrastive(torch.cat(ours), label_B.repeat(2)).mean()
        if self.ict.pull == "balanced_contrastive":
            return losses.balanced_contrastive(torch.cat(ours), label_B.repeat(2), self.prototype_KD).mean()
        theirs = self._targets(first, second, ours)
        if self.predictor is not None:
            ours = self.predictor(ours[0]).float(), self.predictor(ours[1]).float()
        if self.ict.pull == "dino":
            pull = losses.dino(ours[0], theirs[1], self.centre_P) + losses.dino(ours[1], theirs[0], self.centre_P)
            if self.training:
                momentum = losses.DINO_CENTRE_MOMENTUM
                self.centre_P.mul_(momentum).add_(torch.cat(theirs).mean(0), alpha=1 - momentum)
            return pull.mean()
        return (losses.cosine_distance(ours[0], theirs[1]) + losses.cosine_distance(ours[1], theirs[0])).mean()

    @torch.no_grad()
    def _targets(self, first: Frames, second: Frames, ours: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """What the target network makes of both views; without one, the online projections held fast."""
        if self.target is None:
            return ours[0].detach(), ours[1].detach()
        return self.target(first).float(), self.target(second).float()

    @torch.no_grad()
    def follow(self, at_once: bool = False) -> None:
        """Move the target a step towards the online network, or all the way; call after each optimiser's step."""
        if self.target is None or self.projector is None or self.ict.momentum is None:
            return
        momentum = 0.0 if at_once else self.ict.momentum
        follow(self.target.network, self.network, momentum)
        follow(self.target.projector, self.projector, momentum)


@torch.no_grad()
def follow(follower: nn.Module, leader: nn.Module, momentum: float) -> None:
    """Parameters become momentum * follower + (1 - momentum) * leader; buffers are copied."""
    pairs = list(zip(follower.parameters(), leader.parameters(), strict=True))
    torch._foreach_lerp_([f for f, _ in pairs], [p.detach() for _, p in pairs], 1 - momentum)
    for own, others in zip(follower.buffers(), leader.buffers(), strict=True):
        own.copy_(others)


def of_same_class(label_B: Tensor, generator: torch.Generator) -> Tensor:
    """For each object another one of its class in the batch, or itself when it is alone. Returns index [B]."""
    label = label_B.cpu()
    other = torch.arange(len(label))
    for value in label.unique():
        members = torch.nonzero(label == value)[:, 0]
        if len(members) > 1:
            shuffled = members[torch.randperm(len(members), generator=generator)]
            other[shuffled] = shuffled.roll(1)
    return other

"""The training loop: a network trained by a recipe on batches of series, and the log of its epochs.

It reads from top to bottom: run, stage, epoch, step. Every step seeds its own random generators with (seed, stage,
epoch, step, rank), so a training that was killed goes on to the same weights without any generator's state being kept.
Several processes take the same steps as one, each on its share of every batch (``processes``).
"""

import copy
import hashlib
import json
import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import MISSING, asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import torch
from pydantic import TypeAdapter
from torch import Tensor, nn

from model.networks.contract import Frames
from model.networks.grouped import GroupedNetwork
from model.training.data.augment import change_epochs, change_view
from model.training.data.dataset_identity import differences
from model.training.data.loader import Loader, batch_order
from model.training.learning import losses
from model.training.learning.checkpoint import (
    CheckpointError,
    load_checkpoint,
    optimizer_tensors,
    restore_optimizer,
    save_checkpoint,
    with_prefix,
    without_prefix,
)
from model.training.learning.distributed import ProcessGroup
from model.training.learning.execution import ExecutionSettings
from model.training.learning.objective import Objective, follow, of_same_class
from model.training.learning.parameters import decay_groups, head_parameters, renew
from model.training.learning.progress import Progress
from model.training.learning.recipe import Recipe, RecipeError, Stage, recipe_of
from model.training.learning.validation import validation_scores

CHECKPOINT = "checkpoint.safetensors"
CHECKPOINT_EVERY_S = 120.0  # what a kill may cost
DEFERRED_FROM = 0.8  # of a stage: where LDAM's deferred re-weighting begins
DEFERRED_BETA = 0.9999
BEGUN_PLAINLY = {"labels": 1, "started_from": None}  # what a checkpoint that does not tell is of


@dataclass(slots=True)
class Place:
    """Where a training stands, and the best that it has seen."""

    stage: int = 0
    epoch: int = 0
    step: int = 0  # of this epoch
    best: float = -math.inf
    loss_sum: float = 0.0  # over the steps of this epoch that are done
    pull_sum: float = 0.0  # the same of ICT's pull, before its weight
    seconds: float = 0.0  # that these took, in all processes that went on with them
    finished: bool = False


@dataclass(slots=True)
class Training:
    """One training from its first step to its last, or from its checkpoint on.

    Parameters
    ----------
    network
        Trained in place. When ``run`` returns it holds the weights to hand out.
    loaders
        By name: the parts that the recipe's stages ask for, and "validation".
    folder
        For the checkpoint; None: keep none.
    watch
        Asked after every epoch with the network as it would be handed out; its numbers go to the log, and
        decide nothing.
    origin
        Where the rows come from, data set and fold, and what else is no setting of the recipe: a checkpoint is of one
        origin, and JSON can hold it.
    processes
        Which of several processes this is: all of them train alike, and the first keeps the checkpoint.
    interrupted
        Asked after every step whether to stop there, with a checkpoint.
    stage_ends
        Folder that trainings share, for the state at the end of every stage but the last: what begins like another
        training goes on from where that one's stage ended. None: keep none.

    Raises
    ------
    DistributedError
        When a stage's batches are too small to be shared by that many processes, or for one.
    """

    recipe: Recipe
    network: GroupedNetwork
    loaders: Mapping[str, Loader]
    classes: int
    seed: int
    engine: ExecutionSettings
    progress: Progress
    folder: Path | None = None
    processes: ProcessGroup = field(default_factory=ProcessGroup)
    watch: Callable[[nn.Module], dict[str, float]] | None = None
    checkpoint_every_s: float = CHECKPOINT_EVERY_S
    origin: Mapping[str, Any] = field(default_factory=dict)
    interrupted: Callable[[], bool] | None = None
    stage_ends: Path | None = None
    log: list[dict[str, Any]] = field(default_factory=list)
    place: Place = field(default_factory=Place)
    objective: Objective = field(init=False)
    runner: nn.Module = field(init=False)
    average: GroupedNetwork | None = field(init=False, default=None)
    optimizer: torch.optim.Optimizer = field(init=False)
    best: dict[str, Tensor] = field(init=False, default_factory=dict)
    _saved_at_s: float = field(init=False, default=0.0)

    def __post_init__(self) -> None:
        torch.manual_seed(seed_of(self.seed))
        recipe = self.recipe
        for stage in recipe.stages:
            self.processes.check_batch(min(recipe.batch_size, len(self.loaders[stage.part])))
        self.objective = Objective(self.network, recipe, self.classes)
        self.objective.to(self.engine.device)
        if self.recipe.average_momentum is not None:
            self.average = copy.deepcopy(self.network).requires_grad_(False)
        self.runner = self.engine.ready(self.objective)

    @property
    def handed_out(self) -> GroupedNetwork:
        """The network that a reader of the results would get now."""
        return self.network if self.average is None else self.average

    def run(self, resume: bool = False, stop_after_steps: int | None = None) -> list[dict[str, Any]]:
        """Train to the end, and return what each epoch reached.

        Parameters
        ----------
        resume
            Go on from the checkpoint in the folder, if there is one.
        stop_after_steps
            Stop there with a checkpoint, as a kill would.

        Raises
        ------
        CheckpointError
            When the checkpoint is damaged, of another recipe, seed, data set or fold, or cannot be written.
        DistributedError
            When the processes have not read the same checkpoint.
        RecipeError
            When an epoch ends with a loss or weights that are not finite.
        KeyboardInterrupt
            When ``interrupted`` says so in any process; the checkpoint is of that step.
        """
        memory = self._load() if resume else {}
        if resume and not self.log and self.place == Place():
            self._begin_like_another()
        self.processes.check_agreed([self.place.stage, self.place.epoch, self.place.step], self.engine.device)
        self.progress.start(self.log)
        self._saved_at_s = time.monotonic()
        budget = math.inf if stop_after_steps is None else stop_after_steps
        while not self.place.finished:
            stage = self.recipe.stages[self.place.stage]
            self._begin(stage, memory)
            memory = {}
            while self.place.epoch < stage.epochs:
                budget -= self._epoch(stage, budget)
                if budget <= 0:
                    self._save()
                    return self.log
            self._end(stage)
        self.network.load_state_dict(self.best)
        self._save()
        return self.log

    def _begin(self, stage: Stage, memory: dict[str, Tensor]) -> None:
        """Set the networks and the optimiser up for a stage, or for the rest of one."""
        head = head_parameters(self.network, stage.head)
        if self.place.epoch == self.place.step == 0:
            torch.manual_seed(seed_of(self.seed, self.place.stage))
            if stage.renew_head:
                renew(self.network, head)
            if self.average is not None:
                self.average.load_state_dict(self.network.state_dict())
            self.objective.follow(at_once=True)
        self.objective.zero_grad(set_to_none=True)  # a frozen parameter's old gradient would count in the norm
        for parameter in self.network.parameters():
            parameter.requires_grad_(not stage.freeze_backbone or any(parameter is one for one in head))
        self.optimizer = torch.optim.AdamW(
            decay_groups(self.objective, self.recipe.weight_decay), lr=stage.learning_rate, amsgrad=self.recipe.amsgrad
        )
        restore_optimizer(self.optimizer, memory)

    def _epoch(self, stage: Stage, budget: float) -> int:
        """Go through an epoch, or through the rest of it; return the steps done."""
        done = 0
        loader = self.loaders[stage.part]
        counts_K = sampled_counts(loader, stage, self.classes).to(self.engine.device)
        weight_K = class_weights(loader, stage, self.classes)
        weight_K = None if weight_K is None else weight_K.to(self.engine.device)
        generator = torch.Generator().manual_seed(seed_of(self.seed, self.place.stage, self.place.epoch))
        length_N = loader.length_N if self.recipe.like_lengths else None
        weighted, size = stage.sampler == "weighted", self.recipe.batch_size
        order = [
            batch
            for _ in range(stage.passes)
            for batch in batch_order(loader.label_N, size, weighted, generator, length_N)
        ]
        self.objective.train()
        if stage.freeze_backbone and stage.frozen_statistics:
            self.network.eval()  # its running statistics are part of what is frozen
        while self.place.step < len(order):
            if done >= budget:
                return done
            started = time.monotonic()
            self._step(stage, loader, order, counts_K, weight_K)
            self.place.seconds += time.monotonic() - started
            done += 1
            self.progress.step(self.place.step, len(order))
            stopped = self.interrupted is not None and self.interrupted()
            if any(self.processes.largest([stopped], self.engine.device)):
                self._save()
                raise KeyboardInterrupt
            if time.monotonic() - self._saved_at_s > self.checkpoint_every_s:
                self._save()
        self._judge(stage, len(order))
        return done

    def _step(
        self, stage: Stage, loader: Loader, order: list[Tensor], counts_K: Tensor, weight_K: Tensor | None
    ) -> None:
        """One batch, or our share of it: two views, the loss, the gradient, the optimiser; then the followers."""
        place = self.place
        seed = seed_of(self.seed, place.stage, place.epoch, place.step, self.processes.rank)
        torch.manual_seed(seed)
        so_far = place.epoch * len(order) + place.step
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(stage, so_far, stage.epochs * len(order))
        beta = DEFERRED_BETA if place.epoch >= DEFERRED_FROM * stage.epochs else 0.0
        share_B = self.processes.share(order[place.step])
        first, second, label_B = views(self.recipe, loader, share_B, seed)
        with self.engine.autocast:
            parts = self.runner(first, second, label_B, counts_K, stage, beta, weight_K, loader.physics(share_B))
        self.optimizer.zero_grad(set_to_none=True)
        parts["loss"].backward()
        loss = parts["loss"].detach()
        told = torch.stack([loss, parts.get("pull", torch.zeros_like(loss)).detach()])
        self.processes.average(self.objective, told, len(share_B) / len(order[place.step]))
        if self.recipe.clip_norm is not None:
            nn.utils.clip_grad_norm_(self.objective.parameters(), self.recipe.clip_norm)
        self.optimizer.step()
        self.objective.follow()
        if self.average is not None and self.recipe.average_momentum is not None:
            follow(self.average, self.network, min(self.recipe.average_momentum, (1 + so_far) / (10 + so_far)))
        loss_of_step, pull_of_step = told.tolist()
        place.loss_sum, place.pull_sum = place.loss_sum + loss_of_step, place.pull_sum + pull_of_step
        place.step += 1

    def _judge(self, stage: Stage, steps: int) -> None:
        """Score the epoch of so many steps on the validation loader, and keep its weights if they are to be kept."""
        place = self.place
        self._check_finite(place.loss_sum / steps)
        scores = validation_scores(self.handed_out, self.loaders["validation"], self.classes)
        macro_f1, log_loss = scores["validation_macro_f1"], scores["validation_log_loss"]
        entry: dict[str, Any] = {
            "stage": place.stage,
            "epoch": place.epoch,
            "loss": place.loss_sum / steps,
            **({} if self.objective.projector is None else {"pull": place.pull_sum / steps}),
            "learning_rate": learning_rate(stage, (place.epoch + 1) * steps - 1, stage.epochs * steps),
            **scores,
            "seconds": place.seconds,
            **(self.watch(self.handed_out) if self.watch is not None else {}),
        }
        self.log.append(entry)
        merit = {"best_f1": macro_f1, "best_loss": -log_loss}.get(self.recipe.keep, math.inf)
        if place.stage == len(self.recipe.stages) - 1 and (self.recipe.keep == "last" or merit > place.best):
            place.best = merit
            self.best = {name: tensor.detach().clone() for name, tensor in self.handed_out.state_dict().items()}
        place.epoch, place.step = place.epoch + 1, 0
        place.loss_sum = place.pull_sum = place.seconds = 0.0
        if self.processes.rank == 0:
            self.progress.epoch(entry, len(self.log))

    def _check_finite(self, loss: float) -> None:
        """Refuse to judge an epoch of which the mean loss or the weights are no numbers any more."""
        if not math.isfinite(loss):
            broken = f"the loss is {loss:g}"
        elif not all(bool(torch.isfinite(tensor).all()) for tensor in self.objective.state_dict().values()):
            broken = "some weights are not finite"
        else:
            return
        raise RecipeError(
            f"stages[{self.place.stage}], epoch {self.place.epoch}: {broken}; lower the learning_rate of the stage or "
            "the recipe's clip_norm, and train anew in another folder"
        )

    def _end(self, stage: Stage) -> None:
        """What a stage hands to the next one: the averaged weights, where they are kept."""
        self.place.stage, self.place.epoch = self.place.stage + 1, 0
        self.place.finished = self.place.stage == len(self.recipe.stages)
        if not self.place.finished and self.average is not None:
            self.network.load_state_dict(self.average.state_dict())
        if not self.place.finished and self.stage_ends is not None and self.processes.rank == 0:
            tensors = with_prefix("objective", self.objective.state_dict())
            state = {"identity": self._identity(), "place": asdict(self.place), "history": self.log}
            save_checkpoint(self._stage_end(self.place.stage), tensors, state)

    def _begin_like_another(self) -> None:
        """Go on from the furthest end of a stage that a training which began alike has left."""
        for stages in range(len(self.recipe.stages) - 1, 0, -1):
            if self.stage_ends is not None and self._stage_end(stages).exists():
                path = self._stage_end(stages)
                with fitting(path):
                    self._take_up(*load_checkpoint(path))
                return

    def _stage_end(self, stages: int) -> Path:
        """The file for the end of so many stages, named by all that decides them."""
        assert self.stage_ends is not None
        identity = self._identity()
        recipe = identity["recipe"]
        for later in ("name", "note", "keep"):
            del recipe[later]
        recipe["stages"] = recipe["stages"][:stages]
        digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
        return self.stage_ends / f"{digest[:16]}.safetensors"

    def _identity(self) -> dict[str, Any]:
        settings = {"recipe": self.recipe.as_json(), "seed": self.seed, "network": asdict(self.network.config)}
        return json.loads(json.dumps({**settings, "precision": self.engine.precision, **self.origin}))

    def _as_today(self, identity: dict[str, Any]) -> dict[str, Any]:
        """The identity that a checkpoint holds, with the defaults of settings that are newer than it."""
        recipe = recipe_of(identity["recipe"], "the recipe in a checkpoint").as_json()
        network = {
            setting.name: setting.default for setting in fields(self.network.config) if setting.default is not MISSING
        } | identity["network"]
        return json.loads(json.dumps({**BEGUN_PLAINLY, **identity, "recipe": recipe, "network": network}))

    def _save(self) -> None:
        self._saved_at_s = time.monotonic()
        if self.folder is None or self.processes.rank > 0:
            return
        tensors = with_prefix("objective", self.objective.state_dict()) | optimizer_tensors(self.optimizer)
        tensors |= with_prefix("best", self.best)
        tensors |= {} if self.average is None else with_prefix("average", self.average.state_dict())
        state = {"identity": self._identity(), "place": asdict(self.place), "history": self.log}
        save_checkpoint(self.folder / CHECKPOINT, tensors, state)

    def _load(self) -> dict[str, Tensor]:
        if self.folder is None or not (self.folder / CHECKPOINT).exists():
            return {}
        path = self.folder / CHECKPOINT
        with fitting(path):
            tensors, state = load_checkpoint(path)
            if differing := differences(self._as_today(state["identity"]), self._identity()):
                raise CheckpointError(
                    f"{path} is of another training, with {', '.join(differing)}: go on with what began it, "
                    "or choose another folder"
                )
            self._take_up(tensors, state)
            if self.average is not None:
                self.average.load_state_dict(without_prefix("average", tensors))
        self.best = {name: tensor.to(self.engine.device) for name, tensor in without_prefix("best", tensors).items()}
        if self.place.finished:
            self.optimizer = torch.optim.AdamW(self.objective.parameters())
        return tensors

    def _take_up(self, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
        """Go on with the weights and from the place that a checkpoint tells of."""
        place = TypeAdapter(Place).validate_python(state["place"])
        stages = len(self.recipe.stages)
        if not (0 <= place.stage <= stages and place.finished == (place.stage == stages) and place.epoch >= 0):
            raise ValueError(f"it has no stage {place.stage} with an epoch {place.epoch}")
        self.objective.load_state_dict(without_prefix("objective", tensors))
        self.place, self.log = place, TypeAdapter(list[dict[str, Any]]).validate_python(state["history"])


@contextmanager
def fitting(path: Path) -> Iterator[None]:
    """Errors of a checkpoint that is whole, but of which the parts do not fit the training."""
    try:
        yield
    except (TypeError, LookupError, ValueError, AttributeError, RuntimeError) as exc:
        what = " ".join(str(exc).split())[:200]
        raise CheckpointError(f"{path} does not fit this training ({what}); remove it to start anew") from exc


def seed_of(*parts: int) -> int:
    """A 63-bit seed from whole numbers, the same on every machine."""
    digest = hashlib.sha256(repr(parts).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def learning_rate(stage: Stage, step: int, steps: int) -> float:
    """The rate at a step of a stage: a linear rise, then constant or half a cosine."""
    warm = max(1, round(stage.warm_up * steps))
    if step < warm:
        return stage.learning_rate * (step + 1) / warm
    if stage.schedule == "constant":
        return stage.learning_rate
    return stage.learning_rate * 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm)))


def views(recipe: Recipe, loader: Loader, index: Tensor, seed: int) -> tuple[Frames, Frames | None, Tensor]:
    """One disturbed view of the objects with these numbers in the loader, or two where the recipe compares them."""
    generator = torch.Generator().manual_seed(seed)
    frames, label_B = loader.batch(index)
    how = recipe.augmentation
    shared = change_epochs(frames, how, generator, loader.history_days)
    first = change_view(shared, how, generator)
    if recipe.ict.pull == "none":
        return first, None, label_B
    if recipe.ict.class_positive:
        frames, _ = loader.batch(index[of_same_class(label_B, generator)])
    if recipe.ict.class_positive or recipe.ict.own_frames:
        shared = change_epochs(frames, how, generator, loader.history_days)
    return first, change_view(shared, how, generator), label_B


def sampled_counts(loader: Loader, stage: Stage, classes: int) -> Tensor:
    """The class counts that the losses of a stage must reckon with: those of its sampler. Returns [K]."""
    counts_K = loader.counts(classes)
    if stage.sampler == "weighted":
        present_K = counts_K > 0
        return torch.where(present_K, counts_K.sum() / present_K.sum(), 0.0)
    return counts_K


def class_weights(loader: Loader, stage: Stage, classes: int) -> Tensor | None:
    """What an object of each class weighs in a stage's loss [K], whatever its sampler; None: all the same."""
    if stage.listed_weights is not None:
        return torch.tensor(stage.listed_weights)
    return losses.balanced_weights(loader.counts(classes)) if stage.class_weights == "balanced" else None

"""Data-parallel training: each process's share of a batch, and sums over all of them.

Together they take the steps that one alone would take: on the same batches, with the mean of the gradients and of the
running statistics, each process weighing as much as it had of the batch. What looks at a batch as a whole looks at a
process's own share of it: the statistics of a batch normalisation, the mean within ``focal_of_mean``, the number of
restored nights, the other views of a contrastive loss, the mates of class-positive pairs.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, distributed, nn

from model.serving.predictor import resolve_device

FEWEST = 2  # objects of a batch for each process: batch normalisation needs them


class DistributedError(ValueError):
    """The processes cannot share this training."""


@dataclass(frozen=True, slots=True)
class ProcessGroup:
    """Which of several processes this is; alone, nothing is exchanged."""

    rank: int = 0
    size: int = 1

    def check_batch(self, objects: int) -> None:
        """Refuse batches of which some process would get too little.

        Raises
        ------
        DistributedError
            When a batch has fewer than twice as many objects as there are processes.
        """
        if objects < FEWEST * self.size:
            raise DistributedError(
                f"batches of {objects} objects for {self.size} processes: each process needs at least {FEWEST} of a "
                "batch; start fewer processes, or train in larger batches, on more objects"
            )

    def check_agreed(self, numbers: Sequence[int], device: torch.device) -> None:
        """Refuse to begin where the processes have read different things.

        Raises
        ------
        DistributedError
            When these numbers are not the same in all of them.
        """
        both = [*numbers, *(-number for number in numbers)]
        if self.largest(both, device) != both:
            raise DistributedError(
                "the processes do not go on from the same checkpoint: give all of them the same folder"
            )

    def share(self, batch_B: Tensor) -> Tensor:
        """This process's part of a batch; no part is larger than another by more than one object."""
        return batch_B[self.rank :: self.size]

    def largest(self, numbers: Sequence[float], device: torch.device) -> list[float]:
        """Of each number the largest that any process has."""
        if self.size == 1:
            return list(numbers)
        values = torch.tensor(numbers, dtype=torch.float64, device=device)
        distributed.all_reduce(values, distributed.ReduceOp.MAX)
        return values.tolist()

    @torch.no_grad()
    def mean(self, tensors: Sequence[Tensor], weight: float) -> None:
        """Put into each tensor its mean over all processes; the weights of all of them add up to 1.

        They travel in one piece, in float64: a number that is the same in all processes stays what it is.
        """
        if self.size == 1:
            return
        whole = torch.cat([tensor.flatten().double() for tensor in tensors]) * weight
        distributed.all_reduce(whole)
        for tensor, mean in zip(tensors, whole.split([tensor.numel() for tensor in tensors]), strict=True):
            tensor.copy_(mean.view_as(tensor))

    def average(self, module: nn.Module, losses: Tensor, weight: float) -> None:
        """Make a step's losses, gradients and running statistics those of the whole batch.

        A parameter that no process has a gradient for keeps none, as when one process trains alone.
        """
        if self.size == 1:
            return
        learned = [parameter for parameter in module.parameters() if parameter.requires_grad]
        reached_P = losses.new_tensor([parameter.grad is not None for parameter in learned])
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in learned]
        statistics = [buffer for buffer in module.buffers() if buffer.is_floating_point()]
        self.mean([losses, reached_P, *gradients, *statistics], weight)
        for parameter, gradient, reached in zip(learned, gradients, reached_P.tolist(), strict=True):
            parameter.grad = gradient if reached > 0 else None


@contextmanager
def launched(device: torch.device) -> Iterator[tuple[ProcessGroup, torch.device]]:
    """This process among those that ``torchrun`` started, and the device that is its own; alone where it did not.

    Raises
    ------
    DeviceUnavailableError
        When there are more processes than GPUs.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield ProcessGroup(), device
        return
    if device.type == "cuda":
        device = resolve_device(f"cuda:{os.environ['LOCAL_RANK']}")
        torch.cuda.set_device(device)
    distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield ProcessGroup(int(os.environ["RANK"]), size), device
    finally:
        distributed.destroy_process_group()

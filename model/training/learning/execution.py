"""Device, precision and compiler of a training: faster or slower, and alike but for rounding."""

from dataclasses import dataclass

import torch
from torch import nn

from model.networks.layers.fused import fuse
from model.training.learning.freed_memory import keep_freed_memory


@dataclass(frozen=True, slots=True)
class ExecutionSettings:
    """Where and how a step is computed: faster or slower, and alike but for rounding."""

    device: torch.device
    precision: str = "float32"  # or "bfloat16": products under autocast, weights and sums in float32
    compiled: bool = False  # on a GPU the whole step, on a processor what lies between its products

    @classmethod
    def of(
        cls, device: torch.device, precision: str | None = None, compiled: bool | None = None
    ) -> "ExecutionSettings":
        """What suits a device, where nothing else is asked for: a GPU has units for bfloat16, and a compiler."""
        on_gpu = device.type == "cuda"
        chosen = precision or ("bfloat16" if on_gpu else "float32")
        return cls(device, chosen, on_gpu if compiled is None else compiled)

    def ready(self, objective: nn.Module) -> nn.Module:
        """What computes a step of this objective.

        Raises
        ------
        CompilerMissingError
            When it is to be compiled on a processor and there is no C++ compiler.
        """
        if self.device.type == "cpu":
            keep_freed_memory()
            fuse(self.compiled)
            return objective
        return torch.compile(objective) if self.compiled else objective  # type: ignore[return-value]

    @property
    def autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bfloat16")

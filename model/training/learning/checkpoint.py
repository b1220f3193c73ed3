"""Checkpoints of a training: one safetensors file, written whole or not at all, read without pickle."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from model.files import replacing
from model.json_text import parse_json

STATE = "state"  # key of the JSON text in the file's header
FACTS = ("identity", "place", "history")  # what that text must hold


class CheckpointError(Exception):
    """A checkpoint cannot be read or written, or is of another training."""


def save_checkpoint(path: Path, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
    """Write tensors and a JSON table; an interruption leaves the checkpoint that was there before.

    The folder is made where it is missing.

    Raises
    ------
    CheckpointError
        When the disk is full or must not be written to.
    """
    whole = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as partial:
            save_file(whole, partial, metadata={STATE: json.dumps(state)})
    except (SafetensorError, OSError) as exc:
        raise CheckpointError(f"cannot write {path}: {exc}; make room there, then go on with --resume") from exc


def load_checkpoint(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read back what :func:`save_checkpoint` wrote.

    Raises
    ------
    CheckpointError
        When the file is damaged or holds something else.
    """
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as exc:
        raise CheckpointError(f"{path} is no checkpoint: {exc}; remove it to start anew") from exc
    if STATE not in metadata:
        raise CheckpointError(f"{path} holds no state of a training; remove it to start anew")
    try:
        state = parse_json(metadata[STATE])
    except ValueError as exc:
        raise CheckpointError(f"{path} holds a damaged state: {exc}; remove it to start anew") from exc
    if not isinstance(state, dict) or any(fact not in state for fact in FACTS):
        raise CheckpointError(f"{path} lacks one of {', '.join(FACTS)}; remove it to start anew")
    return tensors, state


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The optimiser's memory as named tensors."""
    return {
        f"optimizer.{index}.{name}": torch.as_tensor(value)
        for index, entry in optimizer.state_dict()["state"].items()
        for name, value in entry.items()
    }


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Put back what :func:`optimizer_tensors` named; learning rates are the schedule's, not the memory's."""
    state: dict[int, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        if key.startswith("optimizer."):
            _, index, name = key.split(".", 2)
            state.setdefault(int(index), {})[name] = tensor
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def with_prefix(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {f"{prefix}.{name}": tensor for name, tensor in tensors.items()}


def without_prefix(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors under a prefix, by their names without it."""
    return {
        name.removeprefix(prefix + "."): tensor for name, tensor in tensors.items() if name.startswith(prefix + ".")
    }

"""Weights on disk: tensors in safetensors, and beside them a readable JSON card that says what they are.

``NAME.safetensors`` and ``NAME.json`` belong together. The card (:mod:`model.serving.card`) holds the SHA-256 of the
tensors; its version is derived from everything that changes an answer. Nothing here knows alerts or devices.
"""

import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.overrides import TorchFunctionMode

from model.files import replacing
from model.networks import registry
from model.networks.grouped import GroupedNetwork
from model.networks.layers.class_distance import ClassDistance
from model.serving.card import ModelCard, WeightsError, find, load_card, stem_of

VERSION_DIGITS = 10  # hexadecimal digits of the hash that make a version
# Values that a network may be built of: each of the file's is made and drawn, and tables that no file holds are few.
ROOM_FACTOR, ROOM_VALUES = 4, 1 << 24


class Room(TorchFunctionMode):
    """Within it torch makes so many values in all: a card may name a network of any size, its file tells the true one.

    ``ValueError`` beyond, before what was allocated is written to.
    """

    def __init__(self, values: int) -> None:
        super().__init__()
        self._values = self._left = values

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        made = func(*args, **(kwargs or {}))
        if isinstance(made, Tensor):
            self._left -= made.numel()
            if self._left < 0:
                raise ValueError(f"it takes more than the {self._values} values that a network of these tensors needs")
        return made


def stamped(card: ModelCard, tensors: Mapping[str, Tensor]) -> ModelCard:
    """The card with the hash of these tensors, and the version that follows from tensors, inputs and calibration.

    What an evaluation adds to a card leaves its version as it is.
    """
    sha256 = tensors_sha256(tensors)
    unknown = None if card.unknown is None else replace(card.unknown, auroc=None)
    identity = replace(card, version="", unknown=unknown, provenance={}, tensors_sha256=sha256).to_json()
    if card.sets is None:
        del identity["sets"]  # weights from before there were any keep their version
    elif not card.sets.least_by_age:
        del identity["sets"]["age_edges_d"], identity["sets"]["least_by_age"]  # and from before they told ages apart
    for name in ("codes", "groups"):
        if not identity[name]:
            del identity[name]  # and those whose classes are the package's
    digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:VERSION_DIGITS]
    return replace(card, version=f"{card.survey}-{digest}", tensors_sha256=sha256)


def tensors_sha256(tensors: Mapping[str, Tensor]) -> str:
    """Hash of names, types, shapes and little-endian values, in the order of names."""
    sha256 = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        sha256.update(f"{name}:{tensor.dtype}:{tuple(tensor.shape)}\n".encode())
        sha256.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return sha256.hexdigest()


def check_place(path: Path) -> None:
    """Make the folder that weights are to be written to, and refuse a place that no file can have.

    Raises
    ------
    WeightsError
        When the path names no file, or its folder cannot be made or written to.
    """
    stem = stem_of(path)
    if stem.name in ("", ".."):
        raise WeightsError(f"{str(path)!r} names a folder: give the path of the weights to write, such as out/weights")
    try:
        stem.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise WeightsError(f"cannot write {path}: {error}: choose another path") from error
    if not os.access(stem.parent, os.W_OK):
        raise WeightsError(f"cannot write {path}: {stem.parent} may not be written to: choose another path")


def save(path: Path, network: GroupedNetwork, card: ModelCard, *, half: bool = False) -> ModelCard:
    """Write ``path`` with the suffixes .safetensors and .json; return the card as written.

    Parameters
    ----------
    path
        With or without suffix.
    network
        As trained, before ``prepare_for_inference``.
    card
        Its network, frame limit, group size, hash and version are filled in from ``network``.
    half
        Keep matrices and kernels as float16: half the bytes; scales, biases and statistics stay float32.

    Raises
    ------
    WeightsError
        When the card is impossible, or the files cannot be written: then both are what they were.
    """
    tensors = {name: value.detach().cpu().contiguous() for name, value in network.state_dict().items()}
    if half:
        tensors = {n: v.half() if v.ndim > 1 and v.is_floating_point() else v for n, v in tensors.items()}
        if broken := [name for name, value in tensors.items() if not torch.isfinite(value).all()]:
            raise WeightsError(f"tensors {', '.join(broken)} are not finite as float16: save with half=False")
    card = replace(
        card,
        name=network.name,
        network=registry.describe(network),
        frame_limit=network.frame_limit,
        group_size=network.group_size,
    )
    card = stamped(ModelCard.from_json(json.dumps(card.to_json())), tensors)  # as it will be read
    check_place(path)
    path = stem_of(path)
    tensor_path, card_path = (path.with_name(path.name + suffix) for suffix in (".safetensors", ".json"))
    try:
        with replacing(tensor_path) as tensors_beside, replacing(card_path) as card_beside:
            save_file(tensors, tensors_beside)
            card_beside.write_text(json.dumps(card.to_json(), indent=2) + "\n", "utf-8")
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"cannot write {tensor_path}: {error}") from error
    return card


def load(weights: Path | str) -> tuple[GroupedNetwork, ModelCard]:
    """Read weights by path (either file of the pair), or the shipped ones of a survey by its name.

    Returns
    -------
    network : in ``eval`` mode, float32, on the CPU.
    card : as written.

    Raises
    ------
    WeightsError
        When a file is missing or broken, one of them was changed after they were written, or tensors do not fit the
        network that the card names.
    """
    path = find(weights)
    card = load_card(path)
    tensor_path = path.with_name(path.name + ".safetensors")
    tensors = _tensors_of(tensor_path, path, card)
    familiar = any(name.startswith("familiar.") for name in tensors)
    if not familiar and card.unknown is not None and card.unknown.kind != "energy":
        raise WeightsError(f"{tensor_path} lacks what its card's unknown score is measured from: copy both again")
    with Room(ROOM_FACTOR * sum(value.numel() for value in tensors.values()) + ROOM_VALUES):
        network = _network_of(path, card, familiar)
    _check_fit(tensor_path, tensors, network)
    network.load_state_dict(tensors)
    return network.eval(), card


def _tensors_of(tensor_path: Path, path: Path, card: ModelCard) -> dict[str, Tensor]:
    """The tensors beside a card, as float32 where they are floats, if both are as they were written."""
    try:
        tensors = load_file(tensor_path)
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"cannot read {tensor_path}: {error}") from error
    computed = tensors_sha256(tensors)
    if computed != card.tensors_sha256:
        raise WeightsError(
            f"{tensor_path} has SHA-256 {computed}, its card says {card.tensors_sha256}: copy both again"
        )
    if (version := stamped(card, tensors).version) != card.version:
        raise WeightsError(
            f"the card of {path} was changed after it was written: its version is {card.version}, what it says makes "
            f"{version}; copy both files again, or save the weights anew"
        )
    tensors = {name: value.float() if value.is_floating_point() else value for name, value in tensors.items()}
    if broken := [name for name, value in tensors.items() if not torch.isfinite(value).all()]:
        raise WeightsError(
            f"{tensor_path} holds numbers that are not finite, in {registry.shown(', '.join(broken))}: train anew"
        )
    return tensors


def _check_fit(tensor_path: Path, tensors: Mapping[str, Tensor], network: GroupedNetwork) -> None:
    """Refuse tensors that differ from the network's in a name, a type or a shape."""
    own, held = ({name: _kind(value) for name, value in of.items()} for of in (network.state_dict(), tensors))
    if differing := sorted(name for name in own | held if own.get(name) != held.get(name)):
        first = differing[0]
        raise WeightsError(
            f"{tensor_path} does not fit the network of its card: {registry.shown(first)} is "
            f"{held.get(first, 'absent')}, there it is {own.get(first, 'absent')}; {len(differing)} tensors differ"
        )


def _kind(tensor: Tensor) -> str:
    """Type and shape of a tensor in words."""
    return f"{str(tensor.dtype).removeprefix('torch.')} {list(tensor.shape)}"


def _network_of(path: Path, card: ModelCard, familiar: bool) -> GroupedNetwork:
    """The network that a card names, without its tensors; ``familiar``: one that remembers its training objects."""
    try:
        network = registry.build(card.network)
    except registry.NetworkError as error:
        raise WeightsError(f"the card of {path} names a network that cannot be built: {error}") from error
    made = (network.name, network.frame_limit, network.group_size)
    if made != (card.name, card.frame_limit, card.group_size):
        raise WeightsError(
            f"the card of {path} says {card.name} of {card.frame_limit} frames in groups of {card.group_size}, "
            f"its network is {made[0]} of {made[1]} in groups of {made[2]}"
        )
    try:
        network.check_stamps(len(card.channels), card.size_px)
    except ValueError as error:
        raise WeightsError(f"the card of {path} says {error}") from error
    if familiar:
        network.familiar = ClassDistance(len(card.classes), network.feature_width)
    return network

"""One transfer to a device for all tensors of a pass, from pinned memory.

A pass has a dozen small tensors, and a card takes some 10 µs for each copy, however small: they go side by side in one
buffer and are views of it on the other side.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

import torch
from torch import Tensor

from model.networks.contract import Frames, LightCurve

_ALIGNED = 16  # bytes: every type may begin there
Change = Callable[[Tensor], Tensor]
Thing = TypeVar("Thing")


def frames_to(frames: Frames, device: torch.device) -> Frames:
    """Frames on a device; on the processor they are what they were."""
    return frames if device.type == "cpu" else transferred(frames, each_of_frames, device, pinned=True)


def series_to(series: tuple[Tensor, LightCurve], device: torch.device) -> tuple[Tensor, LightCurve]:
    """Embeddings and light curve on a device; on the processor they are what they were."""
    return series if device.type == "cpu" else transferred(series, each_of_series, device, pinned=True)


def transferred(thing: Thing, each: Callable[[Thing, Change], Thing], device: torch.device, *, pinned: bool) -> Thing:
    """A copy on a device, by one buffer; ``each`` changes every tensor of it in one order."""
    places: list[tuple[Tensor, int]] = []
    end = 0

    def enter(tensor: Tensor) -> Tensor:
        nonlocal end
        places.append((tensor, end))
        end += -(-tensor.numel() * tensor.element_size() // _ALIGNED) * _ALIGNED
        return tensor

    each(thing, enter)
    here = torch.empty(end, dtype=torch.uint8, pin_memory=pinned)
    for tensor, start in places:
        _part(here, start, tensor).copy_(tensor)
    there, waiting = here.to(device, non_blocking=True, copy=True), iter(places)
    return each(thing, lambda tensor: _part(there, next(waiting)[1], tensor))


def each_of_series(series: tuple[Tensor, LightCurve], change: Change) -> tuple[Tensor, LightCurve]:
    """Embeddings, then the light curve's tensors and its history's."""
    return change(series[0]), _each_of_curve(series[1], change)


def each_of_frames(frames: Frames, change: Change) -> Frames:
    """Images, then the light curve's tensors and its history's."""
    return Frames(
        change(frames.pixels_BTCHW),
        change(frames.pixel_mask_BTCHW),
        change(frames.scale_BTC),
        _each_of_curve(frames.curve, change),
    )


def _each_of_curve(curve: LightCurve, change: Change) -> LightCurve:
    changed = curve.map(change)
    return changed if curve.history is None else replace(changed, history=curve.history.map(change))


def _part(buffer: Tensor, start: int, like: Tensor) -> Tensor:
    """The part of a buffer that holds one tensor."""
    bytes_held = like.numel() * like.element_size()
    return buffer[start : start + bytes_held].view(like.dtype).view(like.shape)

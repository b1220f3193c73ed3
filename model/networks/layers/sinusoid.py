"""Encoding of positions by sines and cosines, as in transformers (Vaswani et al. 2017, arXiv:1706.03762)."""

import torch
from torch import Tensor


def sinusoid(positions: int, width: int) -> Tensor:
    """Fixed encoding of positions [positions, width]: sine on even channels, cosine on odd ones."""
    channel = torch.arange(width)
    angle = torch.arange(positions)[:, None] / 10_000 ** (2 * (channel // 2) / width)
    return torch.where(channel % 2 == 0, angle.sin(), angle.cos())

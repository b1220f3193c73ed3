"""The base of our networks: one embedding per group of frames, class logits from all of them.

It knows how groups are cut, padded and put together again; what an embedding means is each network's own business.

Legend: ``B`` objects, ``N`` groups of any objects, ``G`` groups of one object, ``T`` frames, ``C`` channels, ``H W``
pixels, ``D...`` shape of an embedding, ``F`` width of the penultimate features, ``K`` classes.

For training: ``features(frames)`` then ``head(features)`` is ``forward(frames)``, so that a loss on features (ICT, a
contrastive term) and a loss on logits share one pass. For serving: ``embed`` each group once, keep it, and
``classify`` as the series grows. In ``eval`` mode the two ways agree.
"""

from dataclasses import replace
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from model.networks.contract import Frames, LightCurve
from model.networks.layers.class_distance import ClassDistance


class GroupedNetwork(nn.Module):
    """A network that satisfies :class:`model.networks.contract.Network`.

    Children write ``embed``, ``penultimate`` and ``head``.
    """

    name: ClassVar[str]  # its key in model.networks.registry
    config: Any  # a frozen dataclass that goes to JSON and back (model.networks.registry)
    frame_limit: int
    history_limit: int = 0  # epochs without stamp that it reads of a light curve's history
    group_size: int
    feature_width: int  # F
    logit_scale: float = 1.0  # how many logits a margin of 1 is: the scale of a cosine head
    embedding_shape: tuple[int, ...]  # D...
    familiar: ClassDistance | None  # what training objects look like; None before calibration

    def __init__(self) -> None:
        super().__init__()
        self.familiar = None

    def embed(self, frames: Frames) -> Tensor:
        """One embedding per row, which holds one group of ``group_size`` frames. Returns [N, D...]."""
        raise NotImplementedError

    def penultimate(self, embeddings_BGD: Tensor, curve: LightCurve) -> Tensor:
        """Features [B, F] of series whose groups are embedded."""
        raise NotImplementedError

    def head(self, features_BF: Tensor) -> Tensor:
        """Logits [B, K] of features."""
        raise NotImplementedError

    def embed_series(self, frames: Frames) -> Tensor:
        """Embeddings of every group of whole series, zero where a group has no real frame. Returns [B, G, D...]."""
        groups, real_N = cut_groups(frames, self.group_size)
        rows = len(frames.curve.mask_BT)
        real = self.embed(select_rows(groups, real_N))
        embeddings = real.new_zeros((len(real_N), *self.embedding_shape))
        embeddings[real_N] = real
        return embeddings.unflatten(0, (rows, -1))

    def features(self, frames: Frames) -> Tensor:
        """Penultimate features [B, F] of whole series: the entry for losses on features."""
        return self.penultimate(self.embed_series(frames), frames.curve)

    def classify(self, embeddings_BGD: Tensor, curve: LightCurve) -> Tensor:
        """Logits [B, K] of series whose groups are embedded."""
        return self.head(self.penultimate(embeddings_BGD, curve))

    def answer(self, embeddings_BGD: Tensor, curve: LightCurve) -> tuple[Tensor, Tensor | None]:
        """Logits [B, K] and, of a network that remembers its training objects, the distance [B] to them."""
        if self.familiar is None:
            return self.classify(embeddings_BGD, curve), None
        features_BF = self.penultimate(embeddings_BGD, curve)
        return self.head(features_BF), self.familiar(features_BF)

    def dense_head(self) -> list[nn.Module]:
        """The layers after what the network pools over its series; empty where that is not a part of its own."""
        return []

    @property
    def one_pass(self) -> bool:
        """Whether ``classify`` is ``head`` of ``penultimate``, and not a mean over several answers."""
        return True

    def forward(self, frames: Frames) -> Tensor:
        """Logits [B, K] of whole series: the entry for training."""
        return self.head(self.features(frames))

    def extra_loss(self) -> Tensor | None:
        """A loss of the weights themselves, for the whole training set: divide it by the number of its objects."""
        return None

    def prepare_for_inference(self) -> None:
        """Fold and cache what no longer changes. After this the network must not be trained; ``eval`` mode only."""
        self.eval()

    def check_length(self, frame_count: int) -> None:
        """Refuse a series that the network cannot read.

        Raises
        ------
        ValueError
            When the series is longer than ``frame_limit``.
        """
        if frame_count > self.frame_limit:
            raise ValueError(f"{frame_count} frames, but {self.name} reads at most {self.frame_limit}: cut the series")

    @property
    def reads_stamps(self) -> bool:
        """Whether images go in; networks of light curves read none."""
        return hasattr(self.config, "size")

    def check_stamps(self, channels: int, size_px: int) -> None:
        """Refuse stamps that the network cannot read; larger ones are cropped, and light-curve networks read none.

        Raises
        ------
        ValueError
            When the stamps have other channels, or are smaller than what the network reads of them.
        """
        read = getattr(self.config, "channels", channels), getattr(self.config, "size", size_px)
        if read[0] != channels or read[1] > size_px:
            raise ValueError(
                f"stamps of {channels} channels and {size_px} pixels, but {self.name} reads {read[0]} channels and "
                f"{read[1]} pixels: give it those, or another network"
            )


def cut_groups(frames: Frames, group_size: int) -> tuple[Frames, Tensor]:
    """One row per group instead of one per object, and which rows hold a real frame.

    The length is padded at the end to a multiple of ``group_size``. Returns frames with N = B G rows, and bool [N];
    the history of a series is no part of its groups.
    """
    length = frames.curve.mask_BT.shape[1]
    missing = -length % group_size
    curve = frames.curve

    def cut(values: Tensor, fill: float = 0.0) -> Tensor:
        if missing:
            padding = values.new_full((values.shape[0], missing, *values.shape[2:]), fill)
            values = torch.cat([values, padding], 1)
        return values.reshape(-1, group_size, *values.shape[2:])

    cut_curve = replace(curve.map(cut), history=None, drawn_from_B=None, zero_B=None)
    groups = Frames(cut(frames.pixels_BTCHW), cut(frames.pixel_mask_BTCHW), cut(frames.scale_BTC, 1.0), cut_curve)
    return groups, cut_curve.mask_BT.any(1)


def select_rows(frames: Frames, rows: Tensor) -> Frames:
    """Only some rows, by a mask or by indices."""
    return Frames(
        frames.pixels_BTCHW[rows], frames.pixel_mask_BTCHW[rows], frames.scale_BTC[rows], frames.curve.select(rows)
    )


def last_frame(mask_BT: Tensor) -> Tensor:
    """Index [B] of the last real frame; 0 where there is none."""
    index_T = torch.arange(mask_BT.shape[1], device=mask_BT.device)
    return (mask_BT * index_T).amax(1)


def at_last_frame(states_BTF: Tensor, mask_BT: Tensor) -> Tensor:
    """The states [B, F] at the last real frame."""
    row_B = torch.arange(states_BTF.shape[0], device=states_BTF.device)  # len() would fix B in an exported graph
    return states_BTF[row_B, last_frame(mask_BT)]

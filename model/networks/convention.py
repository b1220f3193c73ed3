"""ConvEntion as published: groups of three frames through a 3-D CNN, then attention by convolutions over the groups.

Series in, logits out. It knows no times: only the order of frames, their bands and their pixels.

Legend: ``B`` objects, ``N`` groups of any objects, ``G`` groups of one object, ``S`` frames of one group, ``T``
frames, ``C`` image channels, ``H W`` pixels, ``D`` channels of an embedding, ``h w`` its pixels, ``M`` heads,
``F`` penultimate width, ``K`` classes.

Kept from the original on purpose: the u band (index 0) has the frozen zero vector of padding; groups of padding are
attended to and can win the maximum; layer normalisation is tied to the number of groups and the size of the map;
photometry is not used. Pixels that were not observed take the mean of their band, that is 0 after standardisation.

In training, batch normalisation sees the groups of all objects of the batch in one go, groups of padding included,
as if every series had been padded to ``frame_limit`` (its authors normalise the first group of all objects, then the
second, and so on: ``norm_by_place``); but the stem computes the padding group once and counts it as
often as it occurs, which gives the same statistics, values and gradients.

Of the first convolution's channels the last is the map of the band, one of a few for every frame. That convolution is
linear, so its answer to the maps is computed once for every band and place in a group, and added: the same function,
without a gradient by pixel.

References
----------
Bairouk et al. 2023, A&A 673, A141 (arXiv:2304.01236).
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

from model.cosine_head import SCALE, CosineHead
from model.networks.contract import Frames, LightCurve
from model.networks.grouped import GroupedNetwork, cut_groups
from model.networks.layers.counted_batch_norm import CountedBatchNorm
from model.networks.layers.pixel_standard import SDSS_MEAN_NJY, SDSS_SIGMA_NJY, PixelStandard, Table, check_tables
from model.networks.layers.sinusoid import sinusoid
from model.networks.layers.spectral_convolution import Factors, factors_of, spectral_conv3d
from model.series import BANDS

BAND_VECTORS = 10  # rows of the band embedding; more than there are bands, as published
FEATURE_WIDTH = 256
FEWEST_FOR_SPECTRA = 8  # groups: below this the spectra of the kernels are more to read than the convolution to compute
SPECTRA_ON_PROCESSORS = True  # False: every convolution is torch's own, as on a GPU


@dataclass(frozen=True, slots=True)
class ConvEntionConfig:
    """The defaults are the published network: 1,253,108 parameters."""

    class_count: int = 4
    channels: int = 1
    size: int = 32  # pixels; larger stamps are cropped about the centre
    frame_limit: int = 99
    group_size: int = 3
    width: float = 1.0  # factor on the 64, 128 and 64 channels of the stem
    embedding_channels: int = 8
    layers: int = 2
    heads: int = 4
    dropout: float = 0.5
    head: str = "linear"  # "linear" | "cosine": the last layer
    attention: str = "linear"  # "linear" | "quadratic": O(T) and O(T^2), the same function
    norm_by_place: bool = False  # in training: batch statistics of each group of a series by itself, as its authors do
    # Standardisation of pixels by band (index in model.series.BANDS) and channel, nJy per pixel.
    mean_njy: Table = SDSS_MEAN_NJY
    sigma_njy: Table = SDSS_SIGMA_NJY

    def __post_init__(self) -> None:
        if self.attention not in ("linear", "quadratic"):
            raise ValueError(f"attention is {self.attention!r}: choose 'linear' or 'quadratic'")
        if self.head not in ("linear", "cosine"):
            raise ValueError(f"head is {self.head!r}: choose 'linear' or 'cosine'")
        check_tables(self.channels, mean_njy=self.mean_njy, sigma_njy=self.sigma_njy)
        if self.embedding_channels % self.heads:
            raise ValueError(f"{self.embedding_channels} channels cannot be shared by {self.heads} heads")


class ConvEntion(GroupedNetwork):
    """The published network. ``embed`` returns maps [N, D, h, w], ``penultimate`` the 256 features before the last."""

    name = "convention"

    def __init__(self, config: ConvEntionConfig) -> None:
        super().__init__()
        self.config = config
        self.frame_limit = config.frame_limit
        self.group_size = config.group_size
        self.group_limit = math.ceil(config.frame_limit / config.group_size)
        self.feature_width = FEATURE_WIDTH
        self.pixel_standard = PixelStandard(config.mean_njy, config.sigma_njy, config.size)
        self.band_map = nn.Embedding(BAND_VECTORS, config.size**2, padding_idx=0)
        self.stem = Stem(config)
        side = self.stem.output_side(config.size)
        self.embedding_shape = (config.embedding_channels, side, side)
        shape = (self.group_limit, *self.embedding_shape)
        self.blocks = nn.ModuleList([Block(shape, config) for _ in range(config.layers)])
        self.dropout = nn.Dropout(config.dropout)
        self.dense = nn.Linear(math.prod(self.embedding_shape), FEATURE_WIDTH)
        self.output: nn.Module
        if config.head == "cosine":
            self.output, self.logit_scale = CosineHead(FEATURE_WIDTH, config.class_count), SCALE
        else:
            self.output = nn.Linear(FEATURE_WIDTH, config.class_count)
        self.position_GD11: Tensor
        self.padding_Dhw: Tensor | None
        position = sinusoid(self.group_limit, config.embedding_channels)[..., None, None]
        self.register_buffer("position_GD11", position, persistent=False)
        self.register_buffer("padding_Dhw", None, persistent=False)
        self.of_bands_RP: Tensor | None
        self.register_buffer("of_bands_RP", None, persistent=False)

    def embed(self, frames: Frames) -> Tensor:
        """Maps [N, D, h, w] of groups; each row holds one group, short groups are padded at the end."""
        return self.stem(self.standardise(frames), self.of_bands(frames.curve.band_BT))

    def standardise(self, frames: Frames) -> Tensor:
        """Standardised pixels [N, C, S, H, W]; 0 on padding."""
        return self.pixel_standard(frames).transpose(1, 2)

    def of_bands(self, band_NS: Tensor) -> Tensor:
        """What the maps of these bands add to the stem's first convolution [N, P], flat; 0 for padding (band 0)."""
        of_bands_RP = self.of_bands_RP if self.of_bands_RP is not None else self.of_every_band()
        place_S = torch.arange(band_NS.shape[1], device=band_NS.device)
        return functional.embedding(place_S * len(BANDS) + band_NS, of_bands_RP).sum(1)

    def of_every_band(self) -> Tensor:
        """The same for one map alone, R = place in the group x band. Returns [R, P]."""
        size, places = self.config.size, self.group_size
        bands = torch.arange(len(BANDS), device=self.band_map.weight.device)
        maps_LHW = self.band_map(bands).unflatten(-1, (size, size))
        alone_SLSHW = torch.stack(
            [functional.pad(maps_LHW[:, None], (0,) * 4 + (s, places - 1 - s)) for s in range(places)]
        )
        return self.stem.of_maps(alone_SLSHW.flatten(0, 1)).flatten(1)

    def padding_embedding(self) -> Tensor:
        """Map [D, h, w] of a group without any frame: the stem's answer to zeros."""
        if self.padding_Dhw is not None:
            return self.padding_Dhw
        c = self.config
        zeros = self.position_GD11.new_zeros((1, c.channels, c.group_size, c.size, c.size))
        return self.stem(zeros, zeros.new_zeros(1, 1))[0]

    def embed_series(self, frames: Frames) -> Tensor:
        """Maps [B, G, D, h, w] of whole series, padded to the limit of groups as the original pads them."""
        self.check_length(frames.curve.mask_BT.shape[1])
        groups, real_N = cut_groups(frames, self.group_size)
        rows = len(frames.curve.mask_BT)
        present = real_N.reshape(rows, -1)
        real_BG, source_BG = self.places(present.sum(1), frames.curve.drawn_from_B)
        images = self.standardise(groups)[real_N]
        band_NS = groups.curve.band_BT[real_N]
        images, band_NS = (torch.cat([real, real.new_zeros((1, *real.shape[1:]))]) for real in (images, band_NS))
        index_BG = torch.where(real_BG, source_BG, len(images) - 1)
        count_N = torch.bincount(index_BG.flatten(), minlength=len(images)).to(images.dtype)
        if self.training and self.config.norm_by_place:
            padding = present.shape[1] if count_N[-1] > 0 else 0  # a place of its own, if any series is padded
            place_N = functional.pad((present.cumsum(1) - 1)[present], (0, 1), value=padding)
            maps = self.stem_by_place(images, band_NS, count_N, place_N)
        else:
            maps = self.stem(images, self.of_bands(band_NS), count_N)
        return maps[index_BG.flatten()].unflatten(0, index_BG.shape)

    def stem_by_place(self, images: Tensor, band_NS: Tensor, count_N: Tensor, place_N: Tensor) -> Tensor:
        """The stem's maps where the groups that have a place in common are normalised together, and with no others."""
        rows = [torch.nonzero(place_N == place)[:, 0] for place in place_N.unique()]
        maps = [self.stem(images[row], self.of_bands(band_NS[row]), count_N[row]) for row in rows]
        return torch.cat(maps)[torch.cat(rows).argsort()]

    def places(self, groups_B: Tensor, drawn_from_B: Tensor | None) -> tuple[Tensor, Tensor]:
        """Which places of the padded series hold a group [B, G], and which of all real groups, counted through.

        Groups that were drawn from a longer series stand for those that were not: each fills several places in a row,
        as many for all but rounding, so that the network sees a series as long as the one it was drawn from.
        """
        whole_B = groups_B if drawn_from_B is None else -(-drawn_from_B // self.group_size)
        place_G = torch.arange(self.group_limit, device=groups_B.device)
        own_BG = place_G * groups_B[:, None] // whole_B[:, None].clamp(min=1)
        first_B = groups_B.cumsum(0) - groups_B
        return place_G < whole_B[:, None], first_B[:, None] + own_BG

    def features(self, frames: Frames) -> Tensor:
        return self.read(self.embed_series(frames))

    def penultimate(self, embeddings_BGD: Tensor, curve: LightCurve) -> Tensor:
        """Features [B, F]; groups without a real frame, and those after the last, take the embedding of padding."""
        self.check_length(curve.mask_BT.shape[1])
        mask_BT = curve.mask_BT
        mask_BT = functional.pad(mask_BT, (0, -mask_BT.shape[1] % self.group_size))
        real_BG = mask_BT.unflatten(1, (-1, self.group_size)).any(2)
        missing = self.group_limit - real_BG.shape[1]
        real_BG = functional.pad(real_BG, (0, missing))[..., None, None, None]
        missing = self.group_limit - embeddings_BGD.shape[1]
        embeddings = functional.pad(embeddings_BGD, (0, 0, 0, 0, 0, 0, 0, missing))
        return self.read(torch.where(real_BG, embeddings, self.padding_embedding()))

    def read(self, maps_BGDhw: Tensor) -> Tensor:
        """Attention over complete groups, the maximum over them, and the first dense layer: [B, F]."""
        x = maps_BGDhw + self.position_GD11
        for block in self.blocks:
            x = block(x)
        pooled_BDhw = x.amax(1)
        return functional.relu(self.dense(self.dropout(pooled_BDhw.flatten(1))))

    def head(self, features_BF: Tensor) -> Tensor:
        return self.output(self.dropout(features_BF))

    def dense_head(self) -> list[nn.Module]:
        return [self.dense, self.output]

    def prepare_for_inference(self) -> None:
        super().prepare_for_inference()
        self.stem.fold()
        with torch.inference_mode():
            self.padding_Dhw = self.padding_embedding()
            self.of_bands_RP = self.of_every_band()


class Stem(nn.Module):
    """Groups of images [N, C, S, H, W] to maps [N, D, h, w]; four 3-D convolutions, each normalised.

    The first has one input channel more, for the maps of the bands; its answer to those is given to ``forward``.
    """

    def __init__(self, config: ConvEntionConfig) -> None:
        super().__init__()
        first, second, third = (max(1, round(config.width * n)) for n in (64, 128, 64))
        self.convolutions = nn.ModuleList(
            [
                nn.Conv3d(config.channels + 1, first, (3, 11, 11), stride=2, padding=2),
                nn.Conv3d(first, second, (3, 5, 5), padding=2),
                nn.Conv3d(second, third, 3),
                nn.Conv3d(third, config.embedding_channels, 3),
            ]
        )
        widths = (first, second, third, config.embedding_channels)
        self.normalisations = nn.ModuleList([CountedBatchNorm(width) for width in widths])
        self.folded = False
        self.factors: list[Factors] | None = None  # of the wide kernels, once folded
        depth = ((config.group_size + 4 - 3) // 2 + 1) + 2 - 2 - 2
        if depth != 1 or self.output_side(config.size) < 1:
            raise ValueError(
                f"groups of {config.group_size} frames of {config.size} pixels: the stem needs groups of 3 or 4 frames "
                "and at least 15 pixels"
            )

    @staticmethod
    def output_side(size: int) -> int:
        """Pixels on a side of the map."""
        return (size + 4 - 11) // 2 + 1 - 4

    def forward(self, images: Tensor, of_bands_NP: Tensor, count_N: Tensor | None = None) -> Tensor:
        first, *others = self.convolutions
        assert isinstance(first, nn.Conv3d)
        x = functional.conv3d(images, first.weight[:, :-1], first.bias, first.stride, first.padding)
        x = (x.flatten(1) + of_bands_NP).unflatten(1, x.shape[1:])
        if self.by_spectra(x):
            return self._by_spectra(x, count_N)
        x = x.contiguous(memory_format=torch.channels_last_3d)  # the second convolution's gradient: an eighth
        if self.by_rows(x):
            return self._by_rows(x, count_N)
        x = self._normalised(x, 0, count_N)
        for layer, convolution in enumerate(others, start=1):
            x = self._normalised(convolution(x), layer, count_N)
        return x.squeeze(2)

    def of_maps(self, maps_NSHW: Tensor) -> Tensor:
        """What the first convolution answers to maps of bands alone, without its bias: [N, D, d, h, w]."""
        first = self.convolutions[0]
        assert isinstance(first, nn.Conv3d)
        return functional.conv3d(maps_NSHW[:, None], first.weight[:, -1:], None, first.stride, first.padding)

    def by_rows(self, x: Tensor) -> bool:
        """Whether normalisation and rectifier are one piece over rows of channels: on a processor, step by step."""
        return on_processor(x) and not self.folded

    def by_spectra(self, x: Tensor) -> bool:
        """Whether the two wide convolutions are products of spectra: where that is faster, and can be done."""
        return (
            SPECTRA_ON_PROCESSORS
            and on_processor(x)  # before any size: asking for one would make it a constant of a graph
            and not torch.is_autocast_enabled("cpu")
            and x.shape[2] == 3  # depth
            and (not self.folded or len(x) >= FEWEST_FOR_SPECTRA)
        )

    def _by_rows(self, x: Tensor, count_N: Tensor | None) -> Tensor:
        """What follows the first convolution's answer [N, D, d, h, w], channels last in memory."""
        count = None if count_N is None else count_N[:, None, None, None]
        bias_C = x.new_zeros(x.shape[1])  # of the first convolution: x has it
        for layer, (convolution, normalisation) in enumerate(zip(self.convolutions, self.normalisations, strict=True)):
            assert isinstance(convolution, nn.Conv3d)
            assert isinstance(normalisation, CountedBatchNorm)
            if layer:
                assert convolution.bias is not None
                x, bias_C = functional.conv3d(x, convolution.weight, None, 1, convolution.padding), convolution.bias
            x = normalisation.rectified(x.permute(0, 2, 3, 4, 1), bias_C, count).permute(0, 4, 1, 2, 3)
        return x.squeeze(2)

    def _by_spectra(self, x: Tensor, count_N: Tensor | None) -> Tensor:
        """What follows the first convolution's answer [N, D, d, h, w], pixels first in memory."""
        first, second, third, fourth = (layer for layer in self.convolutions if isinstance(layer, nn.Conv3d))
        assert second.bias is not None
        assert third.bias is not None
        of_first, of_second, of_third, _ = (n for n in self.normalisations if isinstance(n, CountedBatchNorm))
        x_xdNC = x.permute(3, 4, 2, 0, 1).flatten(0, 1).contiguous()
        if self.folded:
            side = x.shape[-1]
            if self.factors is None:
                kernels = ((second.weight, (2, 2)), (third.weight, (0, 0)))
                self.factors = [factors_of(weight, side, padding) for weight, padding in kernels]
            x_xdNC = functional.relu(x_xdNC)
            x_xdNC = spectral_conv3d(x_xdNC, second.weight, (2, 2), self.factors[0]).add_(second.bias).relu_()
            x_xdNC = spectral_conv3d(x_xdNC, third.weight, (0, 0), self.factors[1]).add_(third.bias).relu_()
            return functional.relu(fourth(images_of(x_xdNC))).squeeze(2)
        x_xdNC = of_first.rectified(x_xdNC, x.new_zeros(first.out_channels), count_N)
        x_xdNC = of_second.rectified(spectral_conv3d(x_xdNC, second.weight, (2, 2)), second.bias, count_N)
        x_xdNC = of_third.rectified(spectral_conv3d(x_xdNC, third.weight, (0, 0)), third.bias, count_N)
        return self._normalised(fourth(images_of(x_xdNC)), 3, count_N).squeeze(2)

    def _normalised(self, x: Tensor, layer: int, count_N: Tensor | None) -> Tensor:
        return functional.relu(x if self.folded else self.normalisations[layer](x, count_N))

    def fold(self) -> None:
        """Put the fixed normalisation into the convolutions."""
        if not self.folded:
            folded: list[nn.Module] = []
            for convolution, normalisation in zip(self.convolutions, self.normalisations, strict=True):
                assert isinstance(convolution, nn.Conv3d)
                assert isinstance(normalisation, CountedBatchNorm)
                folded.append(fuse_conv_bn_eval(convolution, normalisation))
            self.convolutions = nn.ModuleList(folded)
            self.folded = True


def on_processor(x: Tensor) -> bool:
    """Whether a processor computes this step by step: nothing compiles or traces the whole."""
    return not torch.compiler.is_compiling() and not torch.jit.is_tracing() and x.device.type == "cpu"


def images_of(x_xdNC: Tensor) -> Tensor:
    """[N, C, d, h, w] of values whose pixels come first in memory."""
    side = math.isqrt(len(x_xdNC))
    return x_xdNC.unflatten(0, (side, side)).permute(3, 4, 2, 0, 1)


class Block(nn.Module):
    """Pre-normalised attention and convolutions, each added to its input [B, G, D, h, w]."""

    def __init__(self, shape: tuple[int, ...], config: ConvEntionConfig) -> None:
        super().__init__()
        width = config.embedding_channels
        self.norm_attention = nn.LayerNorm(shape)
        self.attention = ConvolutionalAttention(width, config.heads, config.attention)
        self.norm_feed_forward = nn.LayerNorm(shape)
        self.feed_forward = nn.Sequential(
            nn.Conv2d(width, 2 * width, 3, padding=1),
            nn.ReLU(),
            nn.BatchNorm2d(2 * width),
            nn.Conv2d(2 * width, width, 3, padding=1),
            nn.ReLU(),
            nn.BatchNorm2d(width),
        )

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.norm_attention(x))
        frames = self.norm_feed_forward(x).flatten(0, 1)
        return x + self.feed_forward(frames).unflatten(0, x.shape[:2])


class ConvolutionalAttention(nn.Module):
    """Per head and pixel, a softmax over groups j of one convolution of Q_i + K_j.

    That convolution is linear: its share of Q_i and its bias are the same for all j and cancel in the softmax. So
    every i gets the same answer, which needs one convolution per group ("linear"), not one per pair ("quadratic").
    """

    def __init__(self, width: int, heads: int, form: str) -> None:
        super().__init__()
        self.heads, self.form = heads, form
        self.query_key_value = nn.Conv2d(width, 3 * width, 1)
        self.compatibility = nn.Conv2d(width, heads, 5, padding=2)
        self.output = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """[B, G, D, h, w] to the same shape; "linear" leaves G = 1, to be broadcast."""
        rows, groups = x.shape[:2]
        query, key, value = self.query_key_value(x.flatten(0, 1)).unflatten(0, (rows, groups)).chunk(3, 2)
        value_BGMdhw = value.unflatten(2, (self.heads, -1))
        if self.form == "quadratic":
            pairs = (query[:, :, None] + key[:, None]).flatten(0, 2)
            weight_BijMhw = self.compatibility(pairs).unflatten(0, (rows, groups, groups)).softmax(2)
            mixed = torch.einsum("bijmhw,bjmdhw->bimdhw", weight_BijMhw, value_BGMdhw)
        else:
            weight_BGMhw = self.compatibility(key.flatten(0, 1)).unflatten(0, (rows, groups)).softmax(1)
            mixed = (weight_BGMhw.unsqueeze(3) * value_BGMdhw).sum(1, keepdim=True)
        mixed = mixed.flatten(2, 3)
        return self.output(mixed.flatten(0, 1)).unflatten(0, mixed.shape[:2])

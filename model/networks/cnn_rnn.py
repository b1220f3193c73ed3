"""CNN+GRU and CNN+LSTM: one vector per frame by a CNN, a recurrent network over them.

Legend: ``B`` objects, ``N`` frames, ``T`` frames of one object, ``C`` image channels, ``H W`` pixels, ``D`` width of a
vector, ``F`` recurrent width, ``K`` classes.

Neither paper's layers are public. The published parameter counts, 1.993 M and 2.190 M, differ by one gate of a single
recurrent layer of width 256 on vectors of 512, exactly 197,120; which leaves 1.4004 M ± 0.0005 M for the CNN. Ours has
five convolutions of 1,400,368 parameters, with the map of the band as a second image channel: 1,992,756 and 2,189,876.
The first convolution is linear: it answers to each band's map once, and the answer is added. What is read is the answer
after the last real frame; padding is never seen.

References
----------
Gómez et al. 2020, MNRAS 499, 3130 (arXiv:2004.13877): CNN and GRU.
Carrasco-Davis et al. 2019, PASP 131, 108006 (arXiv:1807.03869): CNN and LSTM.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

from model.networks.contract import Frames, LightCurve
from model.networks.grouped import GroupedNetwork, at_last_frame
from model.networks.layers.pixel_standard import SDSS_MEAN_NJY, SDSS_SIGMA_NJY, PixelStandard, Table, check_tables
from model.series import BANDS

BAND_VECTORS = 10  # as ConvEntion's
KERNELS = (5, 5, 3, 3, 3)
FILTERS = (16, 64, 96, 128, 128)
POOLED = (True, True, True, False, False)  # halve the map after this convolution
HALVINGS = 8  # by how much three poolings shrink a side


@dataclass(frozen=True, slots=True)
class CnnRnnConfig:
    """The defaults are the published size."""

    class_count: int = 4
    channels: int = 1
    size: int = 32
    frame_limit: int = 99
    cell: str = "gru"  # "gru" | "lstm"
    width: float = 1.0  # factor on the filters
    vector_width: int = 512
    recurrent_width: int = 256
    dropout: float = 0.5
    mean_njy: Table = SDSS_MEAN_NJY
    sigma_njy: Table = SDSS_SIGMA_NJY

    def __post_init__(self) -> None:
        if self.cell not in ("gru", "lstm"):
            raise ValueError(f"cell is {self.cell!r}: choose 'gru' or 'lstm'")
        check_tables(self.channels, mean_njy=self.mean_njy, sigma_njy=self.sigma_njy)


class CnnRnn(GroupedNetwork):
    """CNN+GRU or CNN+LSTM; ``embed`` returns vectors [N, D]."""

    name = "cnn_rnn"

    def __init__(self, config: CnnRnnConfig) -> None:
        super().__init__()
        self.config = config
        self.frame_limit, self.group_size = config.frame_limit, 1
        self.embedding_shape = (config.vector_width,)
        self.feature_width = config.recurrent_width
        self.pixel_standard = PixelStandard(config.mean_njy, config.sigma_njy, config.size)
        self.band_map = nn.Embedding(BAND_VECTORS, config.size**2)
        filters = [max(1, round(config.width * n)) for n in FILTERS]
        before = [config.channels + 1, *filters[:-1]]
        self.convolutions = nn.ModuleList(
            nn.Sequential(nn.Conv2d(c_in, c_out, k, padding=k // 2), nn.BatchNorm2d(c_out), nn.ReLU())
            for c_in, c_out, k in zip(before, filters, KERNELS, strict=True)
        )
        self.pool = nn.MaxPool2d(2)
        self.dense = nn.Linear(filters[-1] * (config.size // HALVINGS) ** 2, config.vector_width)
        cell = {"gru": nn.GRU, "lstm": nn.LSTM}[config.cell]
        self.recurrent = cell(config.vector_width, config.recurrent_width, batch_first=True)
        self.dropout = nn.Dropout(config.dropout)
        self.output = nn.Linear(config.recurrent_width, config.class_count)

    def embed(self, frames: Frames) -> Tensor:
        blocks = [block for block in self.convolutions if isinstance(block, nn.Sequential)]
        first = blocks[0][0]
        assert isinstance(first, nn.Conv2d)
        x = self.of_pixels_and_map(first, frames)
        for block, pooled in zip((blocks[0][1:], *blocks[1:]), POOLED, strict=True):
            x = block(x)
            x = self.pool(x) if pooled else x
        return self.dense(x.flatten(1)).relu()

    def of_pixels_and_map(self, convolution: nn.Conv2d, frames: Frames) -> Tensor:
        """What a convolution answers to pixels and map of the band side by side; the maps' share only once a band."""
        pixels_NCHW = self.pixel_standard(frames)[:, 0].contiguous(memory_format=torch.channels_last)
        maps_LHW = self.band_map.weight[: len(BANDS)].unflatten(-1, (self.config.size, self.config.size))
        weight, padding = convolution.weight, convolution.padding
        of_pixels = functional.conv2d(pixels_NCHW, weight[:, :-1], convolution.bias, padding=padding)
        of_maps = functional.conv2d(maps_LHW[:, None], weight[:, -1:], padding=padding)
        return of_pixels + functional.embedding(frames.curve.band_BT[:, 0], of_maps.flatten(1)).view_as(of_pixels)

    def penultimate(self, embeddings_BGD: Tensor, curve: LightCurve) -> Tensor:
        self.check_length(curve.mask_BT.shape[1])
        state_BTF, _ = self.recurrent(embeddings_BGD)
        return at_last_frame(state_BTF, curve.mask_BT)

    def head(self, features_BF: Tensor) -> Tensor:
        return self.output(self.dropout(features_BF))

    def prefix_features(self, frames: Frames) -> Tensor:
        """Features [B, T, F] after each frame."""
        return self.recurrent(self.embed_series(frames))[0]

    def prefix_logits(self, frames: Frames) -> Tensor:
        """Logits [B, T, K] after each frame."""
        return self.head(self.prefix_features(frames))

    def prepare_for_inference(self) -> None:
        super().prepare_for_inference()
        for index, layer in enumerate(self.convolutions):
            assert isinstance(layer, nn.Sequential)
            if len(layer) == 3:
                convolution, normalisation, activation = layer
                assert isinstance(convolution, nn.Conv2d)
                assert isinstance(normalisation, nn.BatchNorm2d)
                self.convolutions[index] = nn.Sequential(fuse_conv_bn_eval(convolution, normalisation), activation)

"""SITS-BERT: a transformer over nights, each a vector of fluxes beside its day.

Legend: ``B`` objects, ``N`` nights, ``L`` bands, ``E`` width of a token, ``K`` classes.

With width 128, three layers, five bands and four classes it has the published 595,716 parameters. Unlike the original,
the maximum over nights leaves padding out, as its attention does. Its pretraining is
:mod:`model.training.learning.denoising`.

References
----------
Yuan & Lin 2021, IEEE J-STARS 14, 474, "Self-supervised pretraining of transformers for satellite image time series".
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from model.networks.contract import LightCurve
from model.networks.layers.sinusoid import sinusoid
from model.networks.nightly_photometry import FluxStandard, LightCurveNetwork, Nights, tabulate
from model.series import BANDS


@dataclass(frozen=True, slots=True)
class SitsBertConfig:
    """The defaults are the published size."""

    class_count: int = 4
    frame_limit: int = 99
    bands: str = "ugriz"
    width: int = 128
    layers: int = 3
    heads: int = 8
    dropout: float = 0.1
    day_limit: int = 1_200  # rows of the table of days: three seasons
    flux_mean_njy: tuple[float, ...] = (0.0,) * len(BANDS)
    flux_sigma_njy: tuple[float, ...] = (3_000.0,) * len(BANDS)


class SitsBert(LightCurveNetwork):
    """A transformer over the nights of a light curve."""

    name = "sits_bert"

    def __init__(self, config: SitsBertConfig) -> None:
        super().__init__()
        self.config = config
        self.frame_limit, self.feature_width = config.frame_limit, config.width
        self.standard = FluxStandard(config.flux_mean_njy, config.flux_sigma_njy, config.bands)
        self.from_flux = nn.Linear(len(config.bands), config.width // 2)
        self.layers = nn.ModuleList([BertLayer(config) for _ in range(config.layers)])
        self.dropout = nn.Dropout(config.dropout)
        self.output = nn.Linear(config.width, config.class_count)
        self.day_table: Tensor
        self.register_buffer("day_table", sinusoid(config.day_limit, config.width // 2), persistent=False)

    def penultimate(self, embeddings_BGD: Tensor, curve: LightCurve) -> Tensor:
        values_BNL, nights = self.nights(curve)
        tokens_BNE = self.read_nights(values_BNL, nights)
        return tokens_BNE.masked_fill(~seen(nights)[..., None], -torch.inf).amax(1)

    def nights(self, curve: LightCurve) -> tuple[Tensor, Nights]:
        """Standardised fluxes [B, N, L], 0 where a band was not measured, and the nights that they are of."""
        self.check_length(curve.mask_BT.shape[1])
        nights = tabulate(curve, self.config.bands, best=False)
        return self.standard(nights), nights

    def read_nights(self, values_BNL: Tensor, nights: Nights) -> Tensor:
        """Tokens [B, N, E] after the last layer, of nights with these values."""
        day_BN = nights.day_BN.round().long().clamp(0, self.config.day_limit - 1)
        tokens_BNE = self.dropout(torch.cat([self.from_flux(values_BNL), self.day_table[day_BN]], -1))
        seen_B11N = seen(nights)[:, None, None]
        for layer in self.layers:
            tokens_BNE = layer(tokens_BNE, seen_B11N)
        return tokens_BNE

    def head(self, features_BF: Tensor) -> Tensor:
        return self.output(features_BF)


class BertLayer(nn.Module):
    """Attention and feed-forward, normalised before and added after, with one more dropout at the end."""

    def __init__(self, config: SitsBertConfig) -> None:
        super().__init__()
        width = config.width
        self.heads, self.rate = config.heads, config.dropout
        self.norm_attention, self.norm_feed_forward = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query_key_value = nn.Linear(width, 3 * width)
        self.output = nn.Linear(width, width)
        self.feed_forward = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU("tanh"), nn.Dropout(config.dropout), nn.Linear(4 * width, width)
        )
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x_BNE: Tensor, seen_B11N: Tensor) -> Tensor:
        parts = self.query_key_value(self.norm_attention(x_BNE)).chunk(3, -1)
        query, key, value = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in parts)
        rate = self.rate if self.training else 0.0
        mixed = functional.scaled_dot_product_attention(query, key, value, attn_mask=seen_B11N, dropout_p=rate)
        x_BNE = x_BNE + self.dropout(self.output(mixed.transpose(1, 2).flatten(2)))
        x_BNE = x_BNE + self.dropout(self.feed_forward(self.norm_feed_forward(x_BNE)))
        return self.dropout(x_BNE)


def seen(nights: Nights) -> Tensor:
    """Which nights are attended to [B, N]: the real ones, or all of an object that has none."""
    return nights.mask_BN | ~nights.mask_BN.any(1, keepdim=True)

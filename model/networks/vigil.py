"""Vigil, our own network: one small embedding per frame, then causal attention over frames, their fluxes and times.

Series in, logits out. It needs no fixed length and no padding, knows times only as differences within the series, and
gives the logits of every prefix of a series in one pass.

Legend: ``B`` objects, ``N`` frames of any objects, ``T`` frames of one object, ``C`` image channels, ``H W`` pixels,
``P`` pixels of the border, ``X`` frames and epochs without stamp together, ``Q`` frames at which answers are asked,
``D`` width of an embedding, ``E`` width of a token, ``M`` heads, ``R`` time lags, ``F`` penultimate width,
``K`` classes.

What is kept from ConvEntion: convolutions on stamps, attention over the series, ``embed`` and ``classify``. What
differs, each with a switch for ablations: real times (``times``), photometry beside pixels (``photometry``), statistics
of the light curve so far beside what attention makes of it (``summary``), template and difference beside science
(``use_channels``), exact masking of padding (``mask_padding``), causal order (``causal``), and a group of one frame, so
that a new alert costs the embedding of that one frame. Epochs that a packet tells of without stamps are tokens like the
others (``history_limit``).

References
----------
ATAT, Cabrera-Vives et al. 2024, A&A 689, A289: modulation of tokens by functions of time.
RAPID, Muthukrishna et al. 2019, PASP 131, 118002: a causal network that answers after every observation.
"""

import math
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

from model.networks.contract import Frames, LightCurve, in_order_of_time
from model.networks.grouped import GroupedNetwork, last_frame
from model.networks.layers.crop import central_crop
from model.networks.layers.flux_features import BASELINE_FEATURES, FLUX_FEATURES, baseline_features, flux_features
from model.networks.layers.light_curve_shape import SHAPE_WIDTH, light_curve_shape
from model.networks.layers.light_curve_statistics import SUMMARY_WIDTH, summary
from model.networks.layers.stamp_shape import STAMP_SHAPE_WIDTH, StampShape
from model.series import BANDS

NOISE_UNIT_NJY = 300.0  # a typical pixel noise: the zero point of the logarithm
SHORTEST_PERIOD_D, LONGEST_PERIOD_D = 2.0, 2_000.0  # of the sines that modulate tokens
LAG_STEP = 0.8  # in ln(1 + days): 10 lags reach 1,300 days
FRAME_SCALARS = len(BANDS)  # and one noise level per channel
STANDARD_LIMIT = 4.0  # deviations beyond which a statistic of the light curve says no more


@dataclass(frozen=True, slots=True)
class VigilConfig:
    """Sizes, then what can be switched off."""

    class_count: int = 4
    channels: int = 1
    size: int = 32  # pixels; larger stamps are cropped about the centre
    frame_limit: int = 99
    filters: int = 16  # of the first convolution; twice and four times as many follow
    embedding_width: int = 64
    token_width: int = 64
    layers: int = 2
    heads: int = 4
    feature_width: int = 128
    periods: int = 16
    lags: int = 10
    dropout: float = 0.1
    use_channels: tuple[int, ...] = ()  # indices of image channels to read; empty means all
    images: bool = True
    photometry: bool = True
    times: bool = True
    causal: bool = True
    mask_padding: bool = True
    summary: bool = True  # beside what attention finds, statistics of the light curve so far
    summary_width: int = 128
    history_limit: int = 0  # epochs without stamp that are read beside the frames
    baseline: bool = False  # also read fluxes above the faintest so far: for direct images, whose fluxes hold the host
    curve_shape: bool = False  # slopes, curvature, colours and limits of the last month beside attention and summary
    stamp_shape_px: float = 0.0  # unit of the windows that measure template and difference; 0: they are not measured

    def __post_init__(self) -> None:
        if self.token_width % self.heads:
            raise ValueError(f"token_width {self.token_width} cannot be shared by {self.heads} heads")
        if any(not 0 <= channel < self.channels for channel in self.use_channels):
            raise ValueError(f"use_channels is {self.use_channels}, but there are {self.channels} channels")
        if self.history_limit and not (self.causal and self.mask_padding and self.photometry):
            raise ValueError("only a causal network with photometry, padding masked, reads epochs without stamp")
        if self.stamp_shape_px and (self.channels != 3 or self.use_channels or not self.images):
            raise ValueError("stamp_shape_px needs science, template and difference: set it to 0 for other stamps")


class Vigil(GroupedNetwork):
    """The network Vigil. ``embed`` returns [N, D]; ``prefix_logits`` the logits after every frame."""

    name = "vigil"

    def __init__(self, config: VigilConfig) -> None:
        super().__init__()
        self.config = config
        self.frame_limit = config.frame_limit
        self.history_limit = config.history_limit
        self.group_size = 1
        self.feature_width = config.feature_width
        self.embedding_shape = (config.embedding_width,)
        self.frame_encoder = FrameEncoder(config)
        self.series_encoder = SeriesEncoder(config)
        self.dropout = nn.Dropout(config.dropout)
        self.output = nn.Linear(config.feature_width, config.class_count)

    def embed(self, frames: Frames) -> Tensor:
        return self.frame_encoder(
            frames.pixels_BTCHW[:, 0], frames.pixel_mask_BTCHW[:, 0], frames.scale_BTC[:, 0], frames.curve.band_BT[:, 0]
        )

    def penultimate(self, embeddings_BGD: Tensor, curve: LightCurve) -> Tensor:
        self.check_length(curve.mask_BT.shape[1])
        if not self.config.mask_padding:
            embeddings_BGD, curve = pad_to(embeddings_BGD, curve, self.frame_limit)
        read_BT = curve.mask_BT if self.config.mask_padding else torch.ones_like(curve.mask_BT)
        last_B = last_frame(read_BT)
        return self.series_encoder(embeddings_BGD, curve, last_B)[:, 0]

    def head(self, features_BF: Tensor) -> Tensor:
        return self.output(self.dropout(features_BF))

    def penultimate_prefixes(self, embeddings_BTD: Tensor, curve: LightCurve) -> Tensor:
        """Features [B, T, F] after each frame: row t is ``penultimate`` of the first t + 1 frames."""
        if self.config.causal and self.config.mask_padding:
            return self.series_encoder(embeddings_BTD, curve, None)
        steps = []
        for t in range(curve.mask_BT.shape[1]):
            before = torch.arange(curve.mask_BT.shape[1], device=curve.mask_BT.device) <= t
            mask_BT = curve.mask_BT & before
            cut = curve.map(partial(torch.mul, mask_BT))
            steps.append(self.penultimate(embeddings_BTD * mask_BT[..., None], cut))
        return torch.stack(steps, 1)

    def prefix_features(self, frames: Frames) -> Tensor:
        """Features [B, T, F] after each frame of whole series."""
        return self.penultimate_prefixes(self.embed_series(frames), frames.curve)

    def prefix_logits(self, frames: Frames) -> Tensor:
        """Logits [B, T, K] after each frame of whole series: the entry for training on prefixes."""
        return self.head(self.prefix_features(frames))

    def prepare_for_inference(self) -> None:
        super().prepare_for_inference()
        self.frame_encoder.fold()


class FrameEncoder(nn.Module):
    """One frame to one vector: pixels in units of their noise, sky taken off, stretched; three convolutions."""

    def __init__(self, config: VigilConfig) -> None:
        super().__init__()
        self.size, self.images = config.size, config.images
        channels = config.use_channels or tuple(range(config.channels))
        self.border_P: Tensor
        self.channel_C: Tensor
        self.register_buffer("border_P", border(config.size), persistent=False)
        self.register_buffer("channel_C", torch.tensor(channels), persistent=False)
        widths = (len(channels), config.filters, 2 * config.filters, 4 * config.filters)
        self.layers = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(widths[i], widths[i + 1], 5 if i == 0 else 3, stride=2, padding=2 if i == 0 else 1),
                nn.BatchNorm2d(widths[i + 1]),
                nn.ReLU(),
            )
            for i in range(3)
        )
        side = math.ceil(config.size / 8)
        self.from_map = nn.Linear(widths[-1] * side * side, config.embedding_width)
        self.shape = StampShape(config.size, config.stamp_shape_px) if config.stamp_shape_px else None
        self.from_shape = zeroed(nn.Linear(STAMP_SHAPE_WIDTH, config.embedding_width)) if self.shape else None
        self.from_scalars = nn.Linear(FRAME_SCALARS + len(channels), config.embedding_width)
        self.mix = nn.Linear(config.embedding_width, config.embedding_width)

    def forward(self, pixels_NCHW: Tensor, observed_NCHW: Tensor, scale_NC: Tensor, band_N: Tensor) -> Tensor:
        scale_NC = scale_NC[:, self.channel_C]
        band = functional.one_hot(band_N, len(BANDS)).to(scale_NC.dtype)
        noise_NC = torch.log10(scale_NC.clamp(min=1e-3) / NOISE_UNIT_NJY)
        vector_ND = self.from_scalars(torch.cat([band, noise_NC], 1))
        if self.images:
            sigma_NCHW = self.above_sky(pixels_NCHW, observed_NCHW, scale_NC)
            if self.shape is not None and self.from_shape is not None:
                vector_ND = vector_ND + self.from_shape(self.shape(sigma_NCHW, scale_NC))
            image = asinh(sigma_NCHW).contiguous(memory_format=torch.channels_last)
            for layer in self.layers:
                image = layer(image)
            vector_ND = vector_ND + self.from_map(image.flatten(1))
        return self.mix(functional.gelu(vector_ND))

    def above_sky(self, pixels_NCHW: Tensor, observed_NCHW: Tensor, scale_NC: Tensor) -> Tensor:
        """What is above the sky in units of noise; the sky is the median of the border; 0 where masked."""
        observed = central_crop(observed_NCHW, self.size)[:, self.channel_C]
        sigma = central_crop(pixels_NCHW, self.size)[:, self.channel_C] / scale_NC[..., None, None]
        seen_NCP = observed.flatten(2)[..., self.border_P]
        values_NCP = sigma.flatten(2)[..., self.border_P].masked_fill(~seen_NCP, math.inf).sort(-1).values
        middle_NC1 = (seen_NCP.sum(-1, keepdim=True) - 1).clamp(min=0) // 2
        sky_NC1 = values_NCP.gather(-1, middle_NC1)
        sky_NC1 = torch.where(torch.isinf(sky_NC1), torch.zeros_like(sky_NC1), sky_NC1)
        return (sigma - sky_NC1[..., None]).masked_fill(~observed, 0.0)

    def fold(self) -> None:
        """Put the fixed normalisation into the convolutions."""
        for index, layer in enumerate(self.layers):
            assert isinstance(layer, nn.Sequential)
            if len(layer) == 3:
                convolution, normalisation, activation = layer
                assert isinstance(convolution, nn.Conv2d)
                assert isinstance(normalisation, nn.BatchNorm2d)
                folded = fuse_conv_bn_eval(convolution, normalisation)
                folded.weight = nn.Parameter(folded.weight.contiguous(memory_format=torch.channels_last))
                self.layers[index] = nn.Sequential(folded, activation)


class SeriesEncoder(nn.Module):
    """Embeddings and light curve of a series to features after its last frame, or after every frame."""

    def __init__(self, config: VigilConfig) -> None:
        super().__init__()
        self.config = config
        width = config.token_width
        self.from_embedding = nn.Linear(config.embedding_width, width)
        flux_width = FLUX_FEATURES + config.baseline * BASELINE_FEATURES + len(BANDS)
        self.from_flux = nn.Sequential(nn.Linear(flux_width, width), nn.GELU(), nn.Linear(width, width))
        self.modulation = nn.Linear(2 * config.periods + 2, 2 * width)
        self.layers = nn.ModuleList([Layer(config) for _ in range(config.layers + 1)])  # the last one pools
        self.lag_bias = nn.Linear(config.lags, (config.layers + 1) * config.heads, bias=False)
        self.norm = nn.LayerNorm(width)
        self.readout = nn.Sequential(nn.Linear(width, config.feature_width), nn.GELU())
        self.summary = Summary(config) if config.summary and config.photometry else None
        self.shape = ShapeHead(config) if config.curve_shape and config.photometry else None
        self.without_stamp = nn.Parameter(torch.zeros(width)) if config.history_limit else None
        self.frequency_J: Tensor
        self.lag_R: Tensor
        period = torch.logspace(math.log10(SHORTEST_PERIOD_D), math.log10(LONGEST_PERIOD_D), config.periods)
        self.register_buffer("frequency_J", 2 * math.pi / period, persistent=False)
        self.register_buffer("lag_R", torch.arange(config.lags) * 1.0, persistent=False)
        nn.init.normal_(self.lag_bias.weight, std=0.02)

    def forward(self, embeddings_BTD: Tensor, curve: LightCurve, last_B: Tensor | None) -> Tensor:
        """Features [B, 1, F] after frame ``last_B``, or [B, T, F] after every frame when None."""
        vectors_BXE, curve, place_BT = self.with_history(self.from_embedding(embeddings_BTD), curve)
        place_BQ = place_BT if last_B is None else place_BT.gather(1, last_B.unsqueeze(1))
        tokens_BXE = self.tokens(vectors_BXE, curve)
        among_all, of_asked = self.attention_bias(curve, place_BQ)
        for layer, bias_BMXX in zip(self.layers[:-1], among_all, strict=True):
            tokens_BXE = layer(tokens_BXE, tokens_BXE, bias_BMXX)
        row_B1 = torch.arange(place_BQ.shape[0], device=place_BQ.device).unsqueeze(1)
        features_BQF = self.readout(self.norm(self.layers[-1](tokens_BXE[row_B1, place_BQ], tokens_BXE, of_asked[0])))
        read_BX = curve.mask_BT if self.config.mask_padding else torch.ones_like(curve.mask_BT)
        asked_BQ = read_BX.gather(1, place_BQ)
        if self.summary is not None:
            features_BQF = features_BQF + self.summary(curve, place_BQ, asked_BQ)
        if self.shape is not None:
            stamp_BQD = embeddings_BTD if last_B is None else embeddings_BTD[row_B1, last_B.unsqueeze(1)]
            features_BQF = features_BQF + self.shape(curve, place_BQ, asked_BQ, stamp_BQD)
        return features_BQF

    def with_history(self, vectors_BTE: Tensor, curve: LightCurve) -> tuple[Tensor, LightCurve, Tensor]:
        """Vectors and light curve of frames and epochs without stamp in one order of time, and each frame's place."""
        history = curve.history
        if history is None or self.without_stamp is None:
            index_T = torch.arange(curve.band_BT.shape[1], device=curve.band_BT.device)
            return vectors_BTE, curve, index_T.expand(curve.band_BT.shape)
        whole, place_BX = in_order_of_time(history, curve)
        since_BX = torch.where(whole.mask_BT, whole.time_BT - whole.time_BT[:, :1], 0.0)
        blank_BPE = self.without_stamp.expand(*history.band_BT.shape, -1)
        joined_BXE = torch.cat([blank_BPE, vectors_BTE], 1)
        place_BXE = place_BX.unsqueeze(-1).expand(joined_BXE.shape)
        vectors_BXE = torch.zeros_like(joined_BXE).scatter(1, place_BXE, joined_BXE)
        return vectors_BXE, replace(whole, time_BT=since_BX), place_BX[:, history.band_BT.shape[1] :]

    def tokens(self, vectors_BXE: Tensor, curve: LightCurve) -> Tensor:
        """Embedding and photometry added, modulated by time: x (1 + alpha(t)) + beta(t)."""
        tokens_BTE = vectors_BXE
        if self.config.photometry:
            band = functional.one_hot(curve.band_BT, len(BANDS)).to(tokens_BTE.dtype)
            above = [baseline_features(curve)] if self.config.baseline else []
            tokens_BTE = tokens_BTE + self.from_flux(torch.cat([flux_features(curve), *above, band], -1))
        index_T = torch.arange(curve.band_BT.shape[1], device=curve.band_BT.device)
        count_BT1 = torch.log1p(index_T).expand(curve.band_BT.shape).unsqueeze(-1)
        time_BT = curve.time_BT if self.config.times else torch.zeros_like(curve.time_BT)
        age_BT1 = torch.log1p(time_BT.clamp(min=0)).unsqueeze(-1)
        phase_BTJ = time_BT.unsqueeze(-1) * self.frequency_J
        moments = torch.cat([phase_BTJ.sin(), phase_BTJ.cos(), age_BT1 / 3, count_BT1 / 3], -1)
        gain_BTE, shift_BTE = self.modulation(moments).chunk(2, -1)
        return tokens_BTE * (1 + gain_BTE) + shift_BTE

    def attention_bias(self, curve: LightCurve, place_BQ: Tensor) -> tuple[Tensor, Tensor]:
        """What is added to attention: learned of the lag, −inf for what is not seen.

        Returns
        -------
        Of the layers in which all attend [layer, B, M, X, X], and of the last one, in which those asked for do
        [1, B, M, Q, X].
        """
        lag_BXX = torch.log1p((curve.time_BT[:, :, None] - curve.time_BT[:, None, :]).abs()) / LAG_STEP
        if not self.config.times:
            lag_BXX = torch.zeros_like(lag_BXX)
        hat_BXXR = (1 - (lag_BXX.unsqueeze(-1) - self.lag_R).abs()).clamp(min=0)
        hidden_BXX = ~visible(curve.mask_BT, self.config.causal, self.config.mask_padding)
        row_B1 = torch.arange(place_BQ.shape[0], device=place_BQ.device).unsqueeze(1)
        among_all, last = self.lag_bias.weight.tensor_split([self.config.layers * self.config.heads])

        def of_lags(hat: Tensor, hidden: Tensor, weight: Tensor) -> Tensor:
            bias = functional.linear(hat, weight).permute(3, 0, 1, 2).unflatten(0, (-1, self.config.heads))
            return bias.transpose(1, 2).masked_fill(hidden.unsqueeze(1), -math.inf)

        of_places = hat_BXXR[row_B1, place_BQ], hidden_BXX[row_B1, place_BQ]
        return of_lags(hat_BXXR, hidden_BXX, among_all), of_lags(*of_places, last)


class Summary(nn.Module):
    """Statistics of the light curve so far, standardised over the frames seen in training, to features."""

    def __init__(self, config: VigilConfig) -> None:
        super().__init__()
        self.times = config.times
        self.standard = nn.BatchNorm1d(SUMMARY_WIDTH, affine=False, momentum=None)
        self.layers = nn.Sequential(
            nn.Linear(SUMMARY_WIDTH, config.summary_width),
            nn.GELU(),
            nn.Dropout(config.dropout),
            nn.Linear(config.summary_width, config.feature_width),
            nn.GELU(),
        )

    def forward(self, curve: LightCurve, ends_BQ: Tensor, asked_BQ: Tensor) -> Tensor:
        """[B, Q, F] after each of some frames; those that are not asked for are padding, and are not learnt from."""
        if not self.times:
            curve = replace(curve, time_BT=torch.zeros_like(curve.time_BT))
        return self.layers(standardised(self.standard, summary(curve, ends_BQ), asked_BQ))


class ShapeHead(nn.Module):
    """The shape of the last month and the newest stamp's embedding, together, to features.

    The last layer begins at zero: a network that was trained without goes on from what it knows.
    """

    def __init__(self, config: VigilConfig) -> None:
        super().__init__()
        self.standard = nn.BatchNorm1d(SHAPE_WIDTH, affine=False, momentum=None)
        width = config.summary_width
        self.layers = nn.Sequential(
            nn.Linear(SHAPE_WIDTH + config.embedding_width, width),
            nn.GELU(),
            nn.Dropout(config.dropout),
            nn.Linear(width, width),
            nn.GELU(),
            zeroed(nn.Linear(width, config.feature_width)),
        )

    def forward(self, curve: LightCurve, ends_BQ: Tensor, asked_BQ: Tensor, stamp_BQD: Tensor) -> Tensor:
        """[B, Q, F] after each of some frames, as :class:`Summary` gives them."""
        standard_BQX = standardised(self.standard, light_curve_shape(curve, ends_BQ), asked_BQ)
        return self.layers(torch.cat([standard_BQX, torch.tanh(stamp_BQD)], -1))


def standardised(standard: nn.BatchNorm1d, values_BQX: Tensor, asked_BQ: Tensor) -> Tensor:
    """Numbers less their mean, over their deviation, both of all frames asked for in training; far ones are cut off."""
    if standard.training:
        standard(values_BQX[asked_BQ])  # learns mean and variance; what it returns is of this batch alone
    mean_X, variance_X = standard.running_mean, standard.running_var
    assert mean_X is not None
    assert variance_X is not None
    standard_BQX = (values_BQX - mean_X) / torch.sqrt(variance_X + standard.eps)
    return standard_BQX.clamp(-STANDARD_LIMIT, STANDARD_LIMIT)


def zeroed(layer: nn.Linear) -> nn.Linear:
    """A layer that says nothing until it is trained."""
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


class Layer(nn.Module):
    """Attention of queries to tokens and a feed-forward step, each normalised before and added after."""

    def __init__(self, config: VigilConfig) -> None:
        super().__init__()
        width = config.token_width
        self.heads, self.dropout = config.heads, config.dropout
        self.norm_attention = nn.LayerNorm(width)
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.output = nn.Linear(width, width)
        self.norm_feed_forward = nn.LayerNorm(width)
        self.feed_forward = nn.Sequential(
            nn.Linear(width, 2 * width), nn.GELU(), nn.Dropout(config.dropout), nn.Linear(2 * width, width)
        )

    def forward(self, queries_BQE: Tensor, tokens_BTE: Tensor, bias_BMQT: Tensor) -> Tensor:
        query = self.query(self.norm_attention(queries_BQE))
        key, value = self.key_value(self.norm_attention(tokens_BTE)).chunk(2, -1)
        query, key, value = (x.unflatten(-1, (self.heads, -1)).transpose(1, 2) for x in (query, key, value))
        dropout = self.dropout if self.training else 0.0
        mixed = functional.scaled_dot_product_attention(
            query, key, value, attn_mask=bias_BMQT.to(query.dtype), dropout_p=dropout
        )
        heads_side_by_side = torch.cat(mixed.unbind(1), -1)  # not transpose and flatten: torch 2.13 cannot export that
        x = queries_BQE + self.output(heads_side_by_side)
        return x + self.feed_forward(self.norm_feed_forward(x))


def visible(mask_BT: Tensor, causal: bool, mask_padding: bool) -> Tensor:
    """Which frames j a frame i sees: bool [B, T, T]. Every frame sees itself, so that no row is empty."""
    index_T = torch.arange(mask_BT.shape[1], device=mask_BT.device)
    itself_TT = index_T[:, None] == index_T[None, :]
    earlier_TT = index_T[:, None] >= index_T[None, :] if causal else torch.ones_like(itself_TT)
    seen_B1T = mask_BT[:, None, :] if mask_padding else torch.ones_like(mask_BT)[:, None, :]
    return (earlier_TT & seen_B1T) | itself_TT


def pad_to(embeddings_BTD: Tensor, curve: LightCurve, length: int) -> tuple[Tensor, LightCurve]:
    """Zeros at the end, up to ``length`` frames."""
    return functional.pad(embeddings_BTD, (0, 0, 0, length - embeddings_BTD.shape[1])), curve.padded(length)


def border(size: int) -> Tensor:
    """Flat indices [P] of every other of the outermost pixels of a square."""
    index = torch.arange(size)
    chosen = (index[:, None] + index[None, :]) % 2 == 0
    chosen[1:-1, 1:-1] = False
    return torch.nonzero(chosen.flatten())[:, 0]


def asinh(x: Tensor) -> Tensor:
    """torch.asinh to 1e-6, in half its time on a processor, where torch has no vector instructions for it."""
    size = x.abs()
    return torch.sign(x) * torch.log(size + torch.sqrt(size * size + 1))

"""SuperNNova: a bidirectional LSTM over nights, plain or Bayesian.

Legend: ``B`` objects, ``N`` nights, ``L`` bands, ``I`` inputs of a step, ``F`` features, ``K`` classes.

A step has the fluxes and errors of all bands (0 where not measured), the days since the step before, and which of the
2^L − 1 combinations of bands was measured. With five bands and four classes: 44,804 parameters; the Bayesian one has a
mean and a spread for each weight except the last bias, 89,604. Normalisation is the authors' "global" one: logarithm
above the smallest training value, then standardised. The Bayesian network draws its weights once per pass in training
and averages ``draws`` passes, always the same ones, in ``eval`` mode; ``extra_loss`` is its Kullback-Leibler term.

References
----------
Möller & de Boissière 2020, MNRAS 491, 4277 (arXiv:1901.06384).
Fortunato, Blundell & Vinyals 2017, arXiv:1704.02798: Bayes by backprop for recurrent networks.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from model.networks.contract import Frames, LightCurve
from model.networks.nightly_photometry import LOG_FLOOR, NJY_PER_FLUXCAL, LightCurveNetwork, Nights, tabulate

Moments = tuple[float, float, float]  # smallest value, mean and standard deviation of the logarithm above it

INITIAL_MEAN = 0.05  # half-width of the uniform distribution of initial means
SPREAD_FLOOR = 1e-5
DRAW_SEED = 1
LARGEST_INPUT = 5.0  # standard deviations: beyond it only that a value is far out matters


@dataclass(frozen=True, slots=True)
class SuperNNovaConfig:
    """The defaults are the published size."""

    class_count: int = 4
    frame_limit: int = 99
    bands: str = "ugriz"
    bayesian: bool = False
    hidden: int = 32
    layers: int = 2
    dropout: float = 0.05  # of the plain network; the Bayesian one has none
    draws: int = 50
    log_flux: Moments = (-1_000.0, 6.9, 0.5)  # FLUXCAL
    log_error: Moments = (0.0, 3.0, 1.0)
    log_interval: Moments = (0.0, 1.0, 1.5)  # days


class SuperNNova(LightCurveNetwork):
    """A bidirectional LSTM over nights, plain or Bayesian."""

    name = "supernnova"

    def __init__(self, config: SuperNNovaConfig) -> None:
        super().__init__()
        self.config = config
        self.frame_limit, self.feature_width = config.frame_limit, 2 * config.hidden
        inputs = 2 * len(config.bands) + 1 + 2 ** len(config.bands) - 1
        dropout = 0.0 if config.bayesian else config.dropout
        recurrent = nn.LSTM(inputs, config.hidden, config.layers, batch_first=True, dropout=dropout, bidirectional=True)
        output = nn.Linear(self.feature_width, config.class_count)
        self.recurrent: nn.Module = recurrent
        self.output: nn.Module = output
        if config.bayesian:
            self.recurrent = Posterior(recurrent, Prior(0.75, -1.0, -7.0), (4.0, 3.0))
            self.output = Posterior(output, Prior(0.75, -0.5, -0.1), (3.0, 2.0), fixed=("bias",))

    def inputs(self, nights: Nights) -> Tensor:
        """Normalised steps [B, N, I]."""
        c = self.config
        flux = logarithmic(nights.flux_BNL / NJY_PER_FLUXCAL, c.log_flux)
        error = logarithmic(nights.error_BNL / NJY_PER_FLUXCAL, c.log_error)
        interval_BN = functional.pad(nights.day_BN[:, 1:] - nights.day_BN[:, :-1], (1, 0))
        interval = logarithmic(interval_BN[..., None], c.log_interval)
        place_L = 2 ** torch.arange(len(c.bands), device=nights.mask_BN.device)
        combination_BN = (nights.measured_BNL * place_L).sum(-1)
        which = functional.one_hot(combination_BN, 2 ** len(c.bands))[..., 1:].to(flux.dtype)
        measured = nights.measured_BNL
        return torch.cat([torch.where(measured, flux, 0.0), torch.where(measured, error, 0.0), interval, which], -1)

    def penultimate(self, embeddings_BGD: Tensor, curve: LightCurve) -> Tensor:
        """The mean state over nights [B, F]."""
        self.check_length(curve.mask_BT.shape[1])
        nights = tabulate(curve, self.config.bands, best=True)
        length_B = nights.mask_BN.sum(1).clamp(min=1)
        packed = pack_padded_sequence(self.inputs(nights), length_B.cpu(), batch_first=True, enforce_sorted=False)
        state_BNF, _ = pad_packed_sequence(self.recurrent(packed)[0], batch_first=True)
        return state_BNF.sum(1) / length_B[:, None]  # states of padding are 0

    def head(self, features_BF: Tensor) -> Tensor:
        return self.output(features_BF)

    @property
    def one_pass(self) -> bool:
        return not self.config.bayesian

    def classify(self, embeddings_BGD: Tensor, curve: LightCurve) -> Tensor:
        """Logits; of the Bayesian network in ``eval`` mode the logarithm of the mean probability over draws."""
        if not self.config.bayesian or self.training:
            return super().classify(embeddings_BGD, curve)
        log_p = []
        generator = torch.Generator().manual_seed(DRAW_SEED)
        for _ in range(self.config.draws):
            for part in (self.recurrent, self.output):
                assert isinstance(part, Posterior)
                part.draw(generator)
            log_p.append(super().classify(embeddings_BGD, curve).log_softmax(-1))
        for part in (self.recurrent, self.output):
            assert isinstance(part, Posterior)
            part.release()
        return torch.logsumexp(torch.stack(log_p), 0) - math.log(self.config.draws)

    def forward(self, frames: Frames) -> Tensor:
        return self.classify(self.embed_series(frames), frames.curve)

    def extra_loss(self) -> Tensor | None:
        """Kullback-Leibler divergence of the weights from their prior, at the weights of the last pass."""
        if not self.config.bayesian:
            return None
        assert isinstance(self.recurrent, Posterior)
        assert isinstance(self.output, Posterior)
        return self.recurrent.divergence() + self.output.divergence()


@dataclass(frozen=True, slots=True)
class Prior:
    """A mixture of two normal distributions about zero."""

    share: float  # of the wide one
    log_wide: float
    log_narrow: float

    @property
    def spread(self) -> float:
        return math.sqrt(self.share * math.exp(2 * self.log_wide) + (1 - self.share) * math.exp(2 * self.log_narrow))

    def log_density(self, weight: Tensor) -> Tensor:
        """Sum over all weights."""
        wide = normal_log_density(weight, self.log_wide) + math.log(self.share)
        narrow = normal_log_density(weight, self.log_narrow) + math.log(1 - self.share)
        return torch.logaddexp(wide, narrow).sum()


class Posterior(nn.Module):
    """A module whose weights are drawn: normal with a learned mean and spread each, some left ``fixed``.

    In training every pass draws anew. In ``eval`` mode the means are used, unless :meth:`draw` came before.
    """

    def __init__(
        self, module: nn.Module, prior: Prior, divisors: tuple[float, float], fixed: tuple[str, ...] = ()
    ) -> None:
        super().__init__()
        self.prior = prior
        self.shell = [module]  # in a list: its own parameters are replaced, not learned
        lowest, highest = (math.log(math.expm1(prior.spread / divisor)) for divisor in divisors)
        self.mean, self.spread, self.fixed = nn.ParameterDict(), nn.ParameterDict(), nn.ParameterDict()
        for name, parameter in module.named_parameters():
            value = torch.empty_like(parameter).uniform_(-INITIAL_MEAN, INITIAL_MEAN)
            if name in fixed:
                self.fixed[name] = nn.Parameter(value)
                continue
            self.mean[name] = nn.Parameter(value)
            self.spread[name] = nn.Parameter(torch.empty_like(parameter).uniform_(lowest, highest))
        self.drawn: dict[str, Tensor] = {}

    def forward(self, *inputs: object) -> object:
        if self.training:
            self.draw(None)
        weights = self.drawn or dict(self.mean.items())
        return functional_call(self.shell[0], weights | dict(self.fixed.items()), inputs)

    def draw(self, generator: torch.Generator | None) -> None:
        """Draw all weights; from torch's own generator when None."""
        self.drawn = {}
        for name, mean in self.mean.items():
            if generator is None:
                deviate = torch.randn_like(mean)
            else:
                deviate = torch.randn(mean.shape, generator=generator).to(mean)
            self.drawn[name] = mean + deviate * self.sigma(name)

    def release(self) -> None:
        """Go back to the means."""
        self.drawn = {}

    def sigma(self, name: str) -> Tensor:
        return functional.softplus(self.spread[name]) + SPREAD_FLOOR

    def divergence(self) -> Tensor:
        """ln q − ln p at the weights drawn last."""
        terms = []
        for name, weight in self.drawn.items():
            sigma = self.sigma(name)
            terms.append(normal_log_density((weight - self.mean[name]) / sigma, 0.0).sum() - sigma.log().sum())
            terms.append(-self.prior.log_density(weight))
        if not terms:
            raise RuntimeError("the divergence is taken at drawn weights: make a pass in training mode before")
        return torch.stack(terms).sum()

    def train(self, mode: bool = True) -> "Posterior":
        self.shell[0].train(mode)
        return super().train(mode)


def normal_log_density(x: Tensor, log_sigma: float) -> Tensor:
    return -0.5 * (x * math.exp(-log_sigma)).square() - log_sigma - 0.5 * math.log(2 * math.pi)


def logarithmic(values: Tensor, moments: Moments) -> Tensor:
    smallest, mean, sigma = moments
    logs = torch.log((values - smallest).clamp(min=0) + LOG_FLOOR)
    return ((logs - mean) / sigma).clamp(-LARGEST_INPUT, LARGEST_INPUT)

"""Scores of weights on single simulated alerts: the gate for new weights, fixed thresholds."""

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.real_ztf.rises import ia_without_rise, rises
from benchmarks.real_ztf.scores import (
    RESAMPLES,
    auc,
    binary,
    ia_share_of,
    recalls_at,
    scored,
    scored_in_mix,
    supernova_of,
)
from model.data.dataset import Dataset
from model.networks.contract import Frames, LightCurve
from model.networks.grouped import GroupedNetwork
from model.serving import weights
from model.serving.card import ModelCard
from model.training.data.augment import one_frame
from model.training.data.loader import Loader, loader_for
from model.training.evaluation.intervals import bootstrap
from model.training.evaluation.scoring import macro_f1

ALERTS_OF_EACH = 5  # single alerts drawn of every test object: 1 % of a few hundred objects are too few
FALSE_RATE = 0.01
ERUPTIVE = ("Flare", "DwarfNova", "Nova")


@dataclass(frozen=True, slots=True)
class Singles:
    """Answers to single alerts of simulated objects, of which packets tell the month before."""

    label_N: NDArray[np.int64]
    subtype_N: NDArray[np.str_]
    detections_N: NDArray[np.int64]  # positive, in the month and now
    rises_N: NDArray[np.bool_]  # something of the told month is significantly brighter than an earlier epoch
    p_NK: NDArray[np.float64]
    alone_NK: NDArray[np.float64]  # where the same packets tell nothing
    classes: tuple[str, ...]

    @property
    def once(self) -> int:
        """Objects: alerts of one draw."""
        return len(self.alone_NK)


def singles(name: str, folder: Path, draws: int = ALERTS_OF_EACH, split: str = "test", seed: int = 0) -> Singles:
    """Draw ``draws`` alerts of every object of a split, each by itself."""
    network, card = weights.load(name)
    return answered(network, card, Dataset.open(folder), draws, split, seed)


def answered(
    network: GroupedNetwork,
    card: ModelCard,
    dataset: Dataset,
    draws: int = ALERTS_OF_EACH,
    split: str = "test",
    seed: int = 0,
    changed: Callable[[Frames], Frames] = lambda frames: frames,
) -> Singles:
    """The same of a network at hand; ``changed`` takes from an alert what the network is not to see."""
    loader = loader_for(network, dataset, dataset.splits[split], torch.device("cpu"))
    rng = np.random.default_rng(seed)
    parts = [_answers(network, loader, rng, changed, alone=draw == 0) for draw in range(draws)]
    logits_NK, detections_N, rises_N = (np.concatenate([part[i] for part in parts]) for i in (0, 1, 2))
    subtype_N = np.array(dataset.truth()["subtype"].to_pylist(), str)[loader.rows]
    return Singles(
        np.tile(loader.label_N.numpy(), draws),
        np.tile(subtype_N, draws),
        detections_N,
        rises_N,
        card.probabilities(logits_NK),
        card.probabilities(parts[0][3]),
        card.classes,
    )


def _answers(
    network: GroupedNetwork,
    loader: Loader,
    rng: np.random.Generator,
    changed: Callable[[Frames], Frames],
    alone: bool,
) -> tuple[NDArray, NDArray, NDArray, NDArray]:
    """Logits of one random alert of each object, its detections, whether it rises, and logits of the alert alone."""
    logits, counts, rising, blank = [], [], [], []
    for index in torch.arange(len(loader)).split(64):
        frames, _ = loader.batch(index)
        chosen_B = torch.from_numpy(rng.integers(0, frames.curve.mask_BT.sum(1).numpy()))
        one = one_frame(frames, chosen_B, loader.history_days)
        past = one.curve.history
        seen_B = torch.ones(len(index), dtype=torch.int64)
        if past is not None:
            seen_B += (past.mask_BT & (past.flux_BT > 3 * past.flux_error_BT)).sum(1)
        with torch.inference_mode():
            logits.append(network(changed(one)))
            blank.append(network(one_frame(frames, chosen_B, 0.0)) if alone else logits[-1])
        counts.append(seen_B)
        rising += [rises(*_epochs([one.curve] if past is None else [past, one.curve], b)) for b in range(len(index))]
    return torch.cat(logits).numpy(), torch.cat(counts).numpy(), np.array(rising), torch.cat(blank).numpy()


def _epochs(curves: Sequence[LightCurve], row: int) -> list[NDArray]:
    """Times, bands, fluxes and errors of one object in several light curves together."""
    names = ("time_BT", "band_BT", "flux_BT", "flux_error_BT")
    return [np.concatenate([getattr(of, name)[row, of.mask_BT[row]].numpy() for of in curves]) for name in names]


def tables(singles: Singles, mix_K: NDArray) -> dict[str, dict[str, Any]]:
    """Scores of one alert of each object; weighted to another class mix; of alerts whose packets tell nothing."""
    once = len(singles.alone_NK)
    label_N, classes = singles.label_N[:once], singles.classes
    return {
        "simulated_single_alerts": scored(label_N, singles.p_NK[:once], classes),
        "simulated_single_alerts_real_mix": scored_in_mix(label_N, singles.p_NK[:once], classes, mix_K),
        "simulated_single_stamps": scored(label_N, singles.alone_NK, classes),
    }


@dataclass(frozen=True, slots=True)
class Separations:
    """What an answer says of each alert in the questions that the gate asks, and what is true."""

    sn_N: NDArray[np.float64]  # p(supernova)
    share_N: NDArray[np.float64]  # of it that is type Ia
    is_sn_N: NDArray[np.bool_]
    is_ia_N: NDArray[np.bool_]
    is_agn_N: NDArray[np.bool_]

    @classmethod
    def of(cls, singles: Singles) -> "Separations":
        """Of all alerts."""
        is_ia_N, is_other_N, is_agn_N = (
            singles.label_N == singles.classes.index(name) for name in ("SNIa", "SNOther", "AGN")
        )
        p_NK, classes = singles.p_NK, singles.classes
        return cls(supernova_of(p_NK, classes), ia_share_of(p_NK, classes), is_ia_N | is_other_N, is_ia_N, is_agn_N)

    def at(self, rows_N: NDArray[np.int64]) -> "Separations":
        """Of some of the alerts."""
        return Separations(
            self.sn_N[rows_N], self.share_N[rows_N], self.is_sn_N[rows_N], self.is_ia_N[rows_N], self.is_agn_N[rows_N]
        )

    def ia_among_supernovae(self) -> float:
        """Area under the curve."""
        return auc(self.share_N[self.is_ia_N], self.share_N[self.is_sn_N & ~self.is_ia_N])

    def supernova_recall_at_1_percent(self) -> float:
        """Of false alarms among all others."""
        return float(recalls_at(self.sn_N[self.is_sn_N], self.sn_N[~self.is_sn_N], FALSE_RATE)[-1])

    def against_agn_alone(self) -> float:
        """The same of false alarms among AGN."""
        return float(recalls_at(self.sn_N[self.is_sn_N], self.sn_N[self.is_agn_N], FALSE_RATE)[-1])


GATE_SCORES = (
    Separations.ia_among_supernovae,
    Separations.supernova_recall_at_1_percent,
    Separations.against_agn_alone,
)


def gate(singles: Singles) -> dict[str, Any]:
    """What new weights must reach in the simulation before a real label is looked at."""
    classes, separations = singles.classes, Separations.of(singles)
    sn_N, share_N, is_sn_N, is_ia_N = separations.sn_N, separations.share_N, separations.is_sn_N, separations.is_ia_N
    reached: dict[str, Any] = {
        "alerts": len(sn_N),
        "ia_among_supernovae": binary(share_N[is_sn_N], is_ia_N[is_sn_N], ("auc",))["auc"],
        "supernova_recall_at_1_percent": separations.supernova_recall_at_1_percent(),
        "against_agn_alone": separations.against_agn_alone(),
        "ia_by_detections": {},
        "ia_without_rise": ia_without_rise(singles.label_N, singles.p_NK, singles.rises_N, classes),
        "taken_for_supernovae": {},
    }
    for stratum, low, high in (("1", 1, 1), ("2-3", 2, 3), ("4-8", 4, 8), ("> 8", 9, 10**6)):
        some_N = is_sn_N & (singles.detections_N >= low) & (singles.detections_N <= high)
        if is_ia_N[some_N].any() and not is_ia_N[some_N].all():
            value = auc(share_N[some_N & is_ia_N], share_N[some_N & ~is_ia_N])
            reached["ia_by_detections"][stratum] = {"alerts": int(some_N.sum()), "auc": value}
    for kind in ERUPTIVE:
        of_kind_N = (singles.subtype_N == kind) & ~is_sn_N
        if of_kind_N.any():
            share = float((sn_N[of_kind_N] > 0.5).mean())
            reached["taken_for_supernovae"][kind] = {"alerts": int(of_kind_N.sum()), "share": share}
    return reached


def scores_of(singles: Singles) -> dict[str, Callable[[NDArray[np.int64]], float]]:
    """The scores of a learning curve or an ablation, each of some rows of the alerts."""
    separations, chosen_N = Separations.of(singles), singles.p_NK.argmax(1)
    return {
        "macro_f1": lambda rows_N: macro_f1(singles.label_N[rows_N], chosen_N[rows_N], len(singles.classes)),
        **{score.__name__: (lambda rows_N, score=score: score(separations.at(rows_N))) for score in GATE_SCORES},
    }


def with_intervals(singles: Singles, others: Singles | None = None) -> dict[str, dict[str, float]]:
    """Those scores, or how far they are ahead of others' on the same alerts, with intervals over the objects."""
    draws = np.arange(0, len(singles.label_N), singles.once)[:, None]
    theirs = None if others is None else scores_of(others)

    def interval(name: str, score: Callable[[NDArray[np.int64]], float]) -> dict[str, float]:
        def of_objects(rows: NDArray[np.int64]) -> float:
            rows_N = (rows + draws).ravel()
            return score(rows_N) - (0.0 if theirs is None else theirs[name](rows_N))

        return dataclasses.asdict(bootstrap(singles.label_N[: singles.once], of_objects, RESAMPLES))

    return {name: interval(name, score) for name, score in scores_of(singles).items()}


def threshold(singles: Singles, mix_K: NDArray, false_rate: float = FALSE_RATE) -> float:
    """The p(supernova) that so many of the simulated others exceed, others weighted to a mix of classes."""
    names = [k for k, name in enumerate(singles.classes) if name not in ("SNIa", "SNOther")]
    others_N = np.isin(singles.label_N, names)
    sn_N, label_N = supernova_of(singles.p_NK, singles.classes)[others_N], singles.label_N[others_N]
    weight_N = (mix_K / np.maximum(np.bincount(label_N, minlength=len(mix_K)), 1))[label_N]
    order = np.argsort(sn_N)[::-1]
    passed = np.cumsum(weight_N[order]) / weight_N.sum()
    return float(sn_N[order][np.searchsorted(passed, false_rate, side="right")])

"""Type Ia among simulated supernovae from one alert: boosted trees on the numbers that the network reads, beside it.

``python -m benchmarks.real_ztf.trees --data data/ztf [--weights ztf] [--shift 0.3] [--out FILE]``. The trees learn
single alerts of the split ``train``, their colours as they are or shifted as the network's training shifts them, and
answer those of ``test`` and ``validation``, which are never shifted. They are the head that a network must beat, and
say what its numbers hold; those that learn from a half and a quarter of the objects say what more objects would bring.
No real alert is read.
"""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier

from benchmarks.parser import parser_of
from benchmarks.real_ztf.scores import auc
from benchmarks.setting import describe
from model.data.dataset import Dataset
from model.networks.layers.light_curve_shape import light_curve_shape
from model.networks.vigil import Vigil
from model.serving import weights
from model.training.data.augment import one_frame, shift_colours
from model.training.data.dataset_identity import identity_of
from model.training.data.loader import Loader, loader_for

STRATA = {"all": (1, 10**6), "1": (1, 1), "2-3": (2, 3), "4-8": (4, 8), "> 8": (9, 10**6)}  # positive detections
SEEDS = 3  # of trees, averaged
SHARES = (1.0, 0.5, 0.25)  # of the training objects


@dataclass(frozen=True, slots=True)
class Alerts:
    """Single alerts of supernovae: the numbers of their light curves, and the network's answer."""

    numbers_NF: NDArray[np.float32]
    is_ia_N: NDArray[np.bool_]
    detections_N: NDArray[np.int64]
    network_N: NDArray[np.float32]  # logit of type Ia less that of other supernovae; NaN where it was not asked


def drawn(
    network: Vigil,
    loader: Loader,
    kinds: tuple[int, int],
    draws: int,
    seed: int,
    *,
    shift_mag: float = 0.0,
    share: float = 1.0,
    ask_network: bool = False,
) -> Alerts:
    """``draws`` random alerts of a share of a split's supernovae; ``kinds`` are the classes SNIa and SNOther."""
    rng, generator = np.random.default_rng(seed), torch.Generator().manual_seed(seed)
    supernovae = torch.nonzero(torch.isin(loader.label_N, torch.tensor(kinds)))[:, 0]
    supernovae = supernovae[torch.randperm(len(supernovae), generator=generator)[: round(share * len(supernovae))]]
    parts = []
    for index in supernovae.split(64):
        whole, label_B = loader.batch(index)
        for _ in range(draws):
            frames = shift_colours(whole, shift_mag, generator) if shift_mag else whole
            chosen_B = torch.from_numpy(rng.integers(0, frames.curve.mask_BT.sum(1).numpy()))
            one = one_frame(frames, chosen_B, loader.history_days)
            past = one.curve.history
            assert past is not None
            with torch.inference_mode():
                encoder = network.series_encoder
                blank_BTE = torch.zeros(*one.curve.mask_BT.shape, encoder.config.token_width)
                _, curve, place_BT = encoder.with_history(blank_BTE, one.curve)
                numbers_BF = light_curve_shape(curve, place_BT[:, :1])[:, 0]
                logits_BK = network(one) if ask_network else torch.full((len(index), max(kinds) + 1), torch.nan)
            detections_B = 1 + (past.mask_BT & (past.flux_BT > 3 * past.flux_error_BT)).sum(1)
            ia, other = kinds
            parts.append((numbers_BF, label_B == ia, detections_B, logits_BK[:, ia] - logits_BK[:, other]))
    return Alerts(*(torch.cat(column).numpy() for column in zip(*parts, strict=True)))


def by_trees(learnt: Alerts, tested: Alerts) -> NDArray[np.float64]:
    """The trees' logit of type Ia."""
    total_N = np.zeros(len(tested.is_ia_N))
    for seed in range(SEEDS):
        trees = HistGradientBoostingClassifier(
            learning_rate=0.05,
            max_iter=250,
            max_leaf_nodes=15,
            l2_regularization=1.0,
            max_features=0.4,
            random_state=seed,
        )
        total_N += trees.fit(learnt.numbers_NF, learnt.is_ia_N).decision_function(tested.numbers_NF)
    return total_N


def scores_of(value_N: NDArray, tested: Alerts) -> dict[str, dict[str, float]]:
    """AUC of all alerts, and by number of detections."""
    of_strata = {}
    for stratum, (low, high) in STRATA.items():
        some_N = (tested.detections_N >= low) & (tested.detections_N <= high)
        area = auc(value_N[some_N & tested.is_ia_N], value_N[some_N & ~tested.is_ia_N])
        of_strata[stratum] = {"alerts": int(some_N.sum()), "auc": float(area)}
    return of_strata


def tell(name: str, scores: dict[str, dict[str, float]]) -> None:
    """One row."""
    cells = (f"{of['auc']:.3f} ({of['alerts']})" for of in scores.values())
    print(f"{name:<34}" + "  ".join(f"{cell:>12}" for cell in cells), flush=True)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    parser = parser_of(__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--weights", default="ztf")
    parser.add_argument("--shift", type=float, default=0.3, metavar="MAG", help="of colours, as in training")
    parser.add_argument("--out", type=Path, metavar="FILE.json", help="write the numbers, too")
    options = parser.parse_args(argv)
    network, card = weights.load(options.weights)
    if not isinstance(network, Vigil):
        raise SystemExit(f"{card.name} is another network: give weights of vigil")
    dataset = Dataset.open(options.data)
    kinds = (card.classes.index("SNIa"), card.classes.index("SNOther"))
    held_out = np.concatenate([dataset.splits["test"], dataset.splits["validation"]])
    train, rest = (
        loader_for(network, dataset, rows, torch.device("cpu")) for rows in (dataset.splits["train"], held_out)
    )
    tested = drawn(network, rest, kinds, 5, 1, ask_network=True)
    print(f"{'AUC (alerts), detections:':<34}" + "  ".join(f"{name:>12}" for name in STRATA))
    lines = {f"network {card.version}": scores_of(tested.network_N, tested)}
    tell(*next(iter(lines.items())))
    for shift in dict.fromkeys((0.0, options.shift)):
        for share in SHARES:
            learnt = drawn(network, train, kinds, 4, 2, shift_mag=shift, share=share)
            name = f"trees, {shift} mag, {len(learnt.is_ia_N) // 4} objects"
            lines[name] = scores_of(by_trees(learnt, tested), tested)
            tell(name, lines[name])
    if options.out is not None:
        table = {"data": identity_of(dataset), "setting": describe("torch", "scikit-learn"), "auc": lines}
        options.out.write_text(json.dumps(table, indent=1) + "\n", "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""What the shipped network's inputs are worth: the same weights on single simulated alerts, one input taken away.

``python -m benchmarks.real_ztf.ablations --data DIR [--weights ztf]``. Nothing is trained anew: a network that learnt
to read an input misses it more than one that never had it, so each line is the most that the input can be worth. Each
is compared with the whole network on the same alerts. Writes ``ablations.json`` and ``ablations.png``.
"""

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
import torch
from matplotlib.figure import Figure

from benchmarks.parser import parser_of
from benchmarks.real_ztf import simulated
from benchmarks.real_ztf.learning_curve import NAMES, OUT, dress, whiskers
from benchmarks.setting import describe
from model.data.dataset import Dataset
from model.networks.contract import Frames, LightCurve
from model.networks.vigil import Vigil
from model.serving import weights
from model.training.comparison.markdown import value_and_range
from model.training.data.augment import shift_colours

DRAWS, SHIFT_MAG = 3, 0.3


@dataclass(frozen=True, slots=True)
class Ablation:
    """One input taken away: of the network, or of the alerts."""

    name: str
    silence: Callable[[Vigil], None] = lambda network: None
    changed: Callable[[Frames], Frames] = lambda frames: frames


def _without(part: str, name: str) -> Callable[[Vigil], None]:
    return lambda network: setattr(getattr(network, part), name, None)


def _blind(network: Vigil) -> None:
    network.frame_encoder.images = False


def _epochs(frames: Frames, keep: Callable[[LightCurve], torch.Tensor]) -> Frames:
    return replace(frames, curve=frames.curve.keep_epochs(keep))


def _own_band(frames: Frames) -> Frames:
    """Nothing of the past in other bands than the alert's: no colour."""
    return _epochs(frames, lambda past: past.band_BT == frames.curve.band_BT[:, :1])


def _no_past(frames: Frames) -> Frames:
    return _epochs(frames, lambda past: torch.zeros_like(past.mask_BT))


def _detections(frames: Frames) -> Frames:
    return _epochs(frames, lambda past: past.flux_BT != 0)


def _other_colours(frames: Frames) -> Frames:
    return shift_colours(frames, SHIFT_MAG, torch.Generator().manual_seed(0))


ABLATIONS = (
    Ablation("whole network"),
    Ablation("no colour: past in the alert's own band alone", changed=_own_band),
    Ablation(f"wrong colour: bands shifted by {SHIFT_MAG} mag", changed=_other_colours),
    Ablation("no limits: detections of the past alone", changed=_detections),
    Ablation("no past: the alert alone", changed=_no_past),
    Ablation("shape of the month silent", _without("series_encoder", "shape")),
    Ablation("statistics of the light curve silent", _without("series_encoder", "summary")),
    Ablation("shape of the stamps silent", _without("frame_encoder", "shape")),
    Ablation("stamps unseen", _blind),
)


def measure(name: str, folder: Path) -> dict[str, Any]:
    """Scores of every ablation, and what it is behind the whole network."""
    dataset, lines = Dataset.open(folder), []
    whole = None
    for ablation in ABLATIONS:
        network, card = weights.load(name)
        if not isinstance(network, Vigil):
            raise SystemExit(f"{card.name} is another network: give weights of vigil")
        ablation.silence(network)
        answered = simulated.answered(network, card, dataset, DRAWS, changed=ablation.changed)
        whole = whole or answered
        behind = simulated.with_intervals(answered, whole)
        lines.append({"name": ablation.name, "scores": simulated.with_intervals(answered), "less_the_whole": behind})
        shown = "  ".join(value_and_range(of, "+.3f") for of in behind.values())
        print(f"{ablation.name:<46} {shown}", flush=True)
    return {"weights": card.version, "objects": answered.once, "alerts": len(answered.label_N),
            "setting": describe("torch", "numpy"), "lines": lines}  # fmt: skip


def draw(lines: Sequence[Mapping[str, Any]], path: Path) -> None:
    """One panel a score: how far each ablation falls behind."""
    figure = Figure(figsize=(13, 3.4), layout="constrained")
    place = list(range(len(lines)))
    panels = figure.subplots(1, len(NAMES), sharey=True)
    for axes, (score, title) in zip(panels, NAMES.items(), strict=True):
        scored = [line["scores"][score] for line in lines]
        value = [one["value"] for one in scored]
        axes.errorbar(value, place, xerr=whiskers(scored), fmt="o", capsize=3, color="#d1495b")
        axes.axvline(value[0], color="lightgray", linestyle="--", zorder=0)
        dress(axes, title)
    panels[0].set_yticks(place, [line["name"] for line in lines])
    panels[0].invert_yaxis()
    figure.savefig(path, dpi=110)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    parser = parser_of(__doc__)
    parser.add_argument("--weights", default="ztf")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=OUT, metavar="DIR")
    options = parser.parse_args(argv)
    table = measure(options.weights, options.data)
    (options.out / "ablations.json").write_text(json.dumps(table, indent=1) + "\n", "utf-8")
    draw(table["lines"], options.out / "ablations.png")
    return 0


if __name__ == "__main__":
    sys.exit(main())

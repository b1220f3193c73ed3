"""All frames at test, or the mean of eight draws: ``python -m benchmarks.ict.draws WEIGHTS... --data FOLDER``.

A training of the published experiment sees 24 of an object's 95 frames in a step and is asked with all of them. Here
the test objects are answered both ways, the draws as in training: accuracy, macro-F1 and log loss side by side, and how
often the two answers name the same class.
"""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.parser import parser_of
from model.data.checked import open_checked
from model.networks.grouped import GroupedNetwork
from model.serving import weights
from model.training.comparison.markdown import table_of
from model.training.data.augment import draw
from model.training.data.loader import Loader, loader_for
from model.training.evaluation import scoring
from model.training.evaluation.evaluate import check_pixels
from model.training.evaluation.predict import in_order, predict_logits, softmax

SEED = 0


@torch.inference_mode()
def drawn_probability(
    network: GroupedNetwork, loader: Loader, runs: int, draws: int, temperature: float
) -> NDArray[np.float64]:
    """Mean probability [N, K] over draws of so many runs of three frames."""
    generator = torch.Generator().manual_seed(SEED)

    def once() -> NDArray[np.float64]:
        logits = [network(draw(loader.batch(index)[0], runs, generator)) for index in in_order(loader)]
        return softmax(torch.cat(logits).numpy(), temperature)

    mean_NK: NDArray[np.float64] = np.mean([once() for _ in range(draws)], axis=0)
    return mean_NK


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("weights", nargs="+", help="paths of weights, or names of shipped ones")
    parser.add_argument("--data", type=Path, required=True, help="folder of a data set")
    parser.add_argument("--runs", type=int, default=8, help="of three frames in a draw")
    parser.add_argument("--draws", type=int, default=8)
    options = parser.parse_args()
    torch.set_num_threads(1)
    dataset = open_checked(options.data)
    head = ["weights", "frames", "accuracy", "macro-F1", "log loss", "same class"]
    rows = [head]
    for path in options.weights:
        network, card = weights.load(path)
        check_pixels(card, dataset)
        network.prepare_for_inference()
        loader = loader_for(network, dataset, dataset.splits["test"], torch.device("cpu"), card.form)
        label_N, classes = loader.label_N.numpy(), len(card.classes)
        whole_NK = softmax(predict_logits(network, loader), card.temperature)
        drawn_NK = drawn_probability(network, loader, options.runs, options.draws, card.temperature)
        same = float((whole_NK.argmax(1) == drawn_NK.argmax(1)).mean())
        for frames, probability_NK in (
            ("all", whole_NK),
            (f"{options.draws} draws of {3 * options.runs}", drawn_NK),
        ):
            chosen_N = probability_NK.argmax(1)
            numbers = (
                float((chosen_N == label_N).mean()),
                scoring.macro_f1(label_N, chosen_N, classes),
                scoring.log_loss(label_N, probability_NK),
                same,
            )
            rows.append([Path(path).name, frames, *[f"{number:.3f}" for number in numbers]])
    print(table_of(rows), end="")


if __name__ == "__main__":
    main()

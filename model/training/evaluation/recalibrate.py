"""``ictc-calibrate``: trained weights, calibrated anew on the objects of another data set.

Trains nothing: it fits offsets, temperature and the unknown score again, to the split ``validation`` (or a share of the
training rows), and what training objects look like to the training rows; all classes count alike. The data set that the
weights were trained on is divided as it was then. For objects of another survey's quality, or after the way to
calibrate has changed.
"""

import dataclasses
import sys
from collections.abc import Sequence

from model.commands import command
from model.data.checked import open_checked
from model.data.dataset import DatasetError
from model.serving import weights
from model.serving.card import WeightsError
from model.training.data.dataset_identity import identity_of
from model.training.data.splits import SplitsError, divide, refuse_absent_classes
from model.training.evaluation.calibrated_card import calibrated, validated
from model.training.evaluation.evaluate import check_fit
from model.training.evaluation.seen_objects import splits_of_training
from model.training.source_commit import commit
from model.training.training_options import calibrate_parser

OF_OTHER_CALIBRATIONS = ("test_scores", "limits", "validation_scores")


@command("ictc-calibrate", WeightsError, DatasetError, SplitsError)
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    options = calibrate_parser().parse_args(argv)
    weights.check_place(options.out)
    network, card = weights.load(options.weights)
    dataset = open_checked(options.data)
    check_fit(card, dataset)
    splits = splits_of_training(card, dataset) or divide(dataset)
    refuse_absent_classes(dataset, splits)
    provenance = {key: value for key, value in card.provenance.items() if key not in OF_OTHER_CALIBRATIONS}
    provenance["calibrated"] = {"commit": commit(), "data": identity_of(dataset), "on": len(splits.validation)}
    recipe = provenance.get("recipe")
    prefixes = isinstance(recipe, dict) and recipe.get("prefix") == "all"
    card = calibrated(
        dataclasses.replace(card, provenance=provenance), network, dataset, splits, prefixes, options.unknown_score
    )
    print(validated(weights.save(options.out, network, card, half=options.half), options.out))
    return 0


if __name__ == "__main__":
    sys.exit(main())

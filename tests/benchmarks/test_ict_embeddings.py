"""The picture of classes in networks' features."""

import json
from pathlib import Path

import numpy as np
from matplotlib.image import imread

from benchmarks.ict.embeddings import history_of, named, picture


def test_a_picture_has_a_plane_for_each_network_and_a_row_of_trainings(tmp_path: Path):
    """Three networks make a picture three planes wide, and histories make it higher."""
    rng = np.random.default_rng(1)
    features = {name: (rng.normal(size=(20, 6)), np.arange(20) % 2) for name in ("one", "two", "three")}
    lines = [{f"validation_{name}": 0.1 * epoch for name in ("within", "between", "silhouette")} for epoch in (1, 2)]
    (tmp_path / "history.jsonl").write_text("\n".join(json.dumps(line) for line in lines))
    history = history_of(tmp_path / "history.jsonl")
    assert history["between"] == [0.1, 0.2]
    picture(features, ("a", "b"), {}, tmp_path / "planes.png")
    picture(features, ("a", "b"), {"one": history}, tmp_path / "both.png")
    (height, width, _), (height_of_both, width_of_both, _) = (
        imread(tmp_path / name).shape for name in ("planes.png", "both.png")
    )
    assert width == width_of_both == 3 * height
    assert height_of_both > 1.5 * height


def test_weights_are_named_by_the_user_or_by_their_file():
    """NAME=PATH gives the name, a path alone its last part."""
    assert named("ICT=out/weights") == ("ICT", "out/weights")
    assert named("out/weights") == ("weights", "out/weights")

"""Graphs of networks for ONNX Runtime: shipped without weights, one file for each configuration.

A graph says what is computed, the weights of the network at hand fill it: new weights of the same configuration need no
new graph, and a file has some 40 kB. Each holds ``embed`` and ``answer`` of :mod:`model.networks.grouped`;
:mod:`model.serving.make_graph` makes them.
"""

import hashlib
import json
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from numpy.typing import NDArray
from torch import Tensor

from model.networks import registry
from model.networks.contract import LightCurve
from model.networks.grouped import GroupedNetwork
from model.serving.export_options import OPSET

FOLDER = Path(__file__).parent / "graphs"
PARTS = EMBED, ANSWER = "embed", "answer"
EMBED_INPUTS = ("pixels", "observed", "scale", "band")
ANSWER_INPUTS = ("embeddings", "band", "t", "flux", "flux_error", "mask")
HISTORY_INPUTS = ("told_band", "told_t", "told_flux", "told_flux_error", "told_mask")
INSIDE = "network."  # before the names of weights in a graph
TENSORS = "tensors.json"
_NAME_DIGITS = 10


@dataclass(frozen=True, slots=True)
class Graph:
    """One part of a network: ONNX whose weights are to be filled in, and their names in the network's own words."""

    content: bytes
    tensors: tuple[str, ...]

    def filling(self, network: GroupedNetwork) -> dict[str, NDArray]:
        """Weights by their name in the graph."""
        known = dict(network.named_parameters()) | dict(network.named_buffers())
        return {INSIDE + name: known[name].detach().cpu().contiguous().numpy() for name in self.tensors}


def file_of(network: GroupedNetwork) -> Path:
    """Where the graph of a network of this configuration lies, if it was made."""
    kind = {"opset": OPSET, "familiar": network.familiar is not None, **registry.describe(network)}
    digest = hashlib.sha256(json.dumps(kind, sort_keys=True).encode()).hexdigest()[:_NAME_DIGITS]
    return FOLDER / f"{network.name}-{digest}.zip"


def read(network: GroupedNetwork) -> dict[str, Graph] | None:
    """The graphs of a network's parts, by their names; None where nobody made them."""
    path = file_of(network)
    if not path.is_file():
        return None
    with zipfile.ZipFile(path) as file:
        tensors = json.loads(file.read(TENSORS))
        return {part: Graph(file.read(f"{part}.onnx"), tuple(tensors[part])) for part in PARTS}


def columns(curve: LightCurve) -> tuple[Tensor, ...]:
    """A light curve in the order of a graph's inputs."""
    return curve.band_BT, curve.time_BT, curve.flux_BT, curve.flux_error_BT, curve.mask_BT


def curve_of(columns: Sequence[Tensor]) -> LightCurve:
    """The light curve of a graph's inputs, in that order."""
    band, time, flux, flux_error, mask = columns
    return LightCurve(band, time, flux, flux_error, mask)

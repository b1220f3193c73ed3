"""Maker of the graphs that ONNX Runtime computes: ``python -m model.serving.make_graph WEIGHTS...``.

It is to be run again whenever a network's code or the configuration of shipped weights changes (a test says so), and
needs ``ictc[export]``. WEIGHTS are paths or names of shipped ones; a graph serves all weights of their configuration.
"""

import argparse
import json
import logging
import sys
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from model.commands import command
from model.files import replacing
from model.networks.contract import Frames, LightCurve, collate
from model.networks.grouped import GroupedNetwork
from model.serving import weights
from model.serving.card import ModelCard
from model.serving.export import random_histories, random_series, traced
from model.serving.graph import (
    ANSWER,
    ANSWER_INPUTS,
    EMBED,
    EMBED_INPUTS,
    HISTORY_INPUTS,
    INSIDE,
    TENSORS,
    Graph,
    columns,
    curve_of,
    file_of,
)

FREE_LENGTH = ("vigil",)  # whose graph takes any number of frames
_WHEN = (2026, 1, 1, 0, 0, 0)  # of the members: the same graph makes the same file


def make(network: GroupedNetwork, card: ModelCard) -> Path:
    """Trace a network, which is prepared for inference on the way, and write its graphs.

    Raises
    ------
    ValueError
        For a network whose graph would have one fixed length.
    """
    if network.name not in FREE_LENGTH:
        raise ValueError(f"{network.name} has no graph of free length, only {', '.join(FREE_LENGTH)}")
    network.prepare_for_inference()
    series = [random_series(card, min(4, card.frame_limit), seed) for seed in (1, 2)]
    frames = collate(series, histories=random_histories(card, series))
    one = collate([each[:1] for each in series], 1)
    rows, length = torch.export.Dim("rows", min=1), torch.export.Dim("frames", min=1, max=card.frame_limit)
    epochs = torch.export.Dim("epochs", min=1, max=max(card.history_limit, 2))
    with torch.inference_mode():
        embeddings = network.embed_series(frames)
    embed = (one.pixels_BTCHW, one.pixel_mask_BTCHW, one.scale_BTC, one.curve.band_BT)
    past = () if frames.curve.history is None else columns(frames.curve.history)
    dims = [{0: rows, 1: length}] * len(ANSWER_INPUTS) + [({0: rows, 1: epochs},) * len(past)]
    graphs = {
        EMBED: _graph_of(_Embed(network), embed, EMBED_INPUTS, ("vectors",), ({0: rows},) * len(embed)),
        ANSWER: _graph_of(
            _Answer(network),
            (embeddings.clone(), *columns(frames.curve), *past),
            (*ANSWER_INPUTS, *HISTORY_INPUTS[: len(past)]),
            ("logits", "distance")[: 1 if network.familiar is None else 2],
            tuple(dims if past else dims[:-1]),
        ),
    }
    path = file_of(network)
    path.parent.mkdir(exist_ok=True)
    with replacing(path) as beside, zipfile.ZipFile(beside, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as file:
        members = {f"{part}.onnx": graph.content for part, graph in graphs.items()}
        members[TENSORS] = json.dumps({part: graph.tensors for part, graph in graphs.items()}).encode()
        for name, content in members.items():
            file.writestr(zipfile.ZipInfo(name, _WHEN), content, zipfile.ZIP_DEFLATED, 9)
    return path


class _Embed(nn.Module):
    """``embed`` from tensors."""

    def __init__(self, network: GroupedNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, pixels: Tensor, observed: Tensor, scale: Tensor, band: Tensor) -> Tensor:
        zero = torch.zeros_like(band).to(scale.dtype)
        curve = LightCurve(band, zero, zero, zero, torch.ones_like(band, dtype=torch.bool))
        return self.network.embed(Frames(pixels, observed, scale, curve))


class _Answer(nn.Module):
    """``answer`` from tensors."""

    def __init__(self, network: GroupedNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(
        self,
        embeddings: Tensor,
        band: Tensor,
        t: Tensor,
        flux: Tensor,
        flux_error: Tensor,
        mask: Tensor,
        *past: Tensor,
    ) -> tuple[Tensor, ...]:
        curve = LightCurve(band, t, flux, flux_error, mask)
        logits, distance = self.network.answer(embeddings, replace(curve, history=curve_of(past)) if past else curve)
        return (logits,) if distance is None else (logits, distance)


def _graph_of(
    module: nn.Module,
    example: Sequence[Tensor],
    inputs: Sequence[str],
    outputs: Sequence[str],
    shapes: tuple[Any, ...],
) -> Graph:
    # Unoptimised: else weights are folded into new ones. ONNX Runtime folds them when they are there.
    program = traced(module, example, inputs, outputs, shapes, optimize=False)
    return _emptied(program.model_proto, dict(module.named_parameters()) | dict(module.named_buffers()))


def _emptied(model: Any, values: Mapping[str, Tensor]) -> Graph:
    """A graph without the network's weights, and without notes on how it was made."""
    from onnx import TensorProto  # noqa: PLC0415 - of the extra ``export``

    for node in model.graph.node:
        for field in ("name", "doc_string", "metadata_props"):
            node.ClearField(field)
    del model.graph.value_info[:]
    for field in ("metadata_props", "doc_string"):
        model.graph.ClearField(field)
    names = []
    for tensor in model.graph.initializer:
        tensor.ClearField("metadata_props")
        tensor.ClearField("doc_string")
        if tensor.name in values:
            names.append(tensor.name.removeprefix(INSIDE))
            bytes_held = values[tensor.name].numel() * values[tensor.name].element_size()
            for field in ("raw_data", "external_data"):
                tensor.ClearField(field)
            tensor.data_location = TensorProto.EXTERNAL
            for key, value in (("location", "weights"), ("offset", "0"), ("length", str(bytes_held))):
                tensor.external_data.add(key=key, value=value)
    return Graph(model.SerializeToString(deterministic=True), tuple(names))


@command("make_graph", weights.WeightsError)
def main(argv: Sequence[str] | None = None) -> int:
    """Make the graphs of some weights, by path or name."""
    parser = argparse.ArgumentParser("python -m model.serving.make_graph", description=__doc__)
    parser.add_argument("weights", nargs="+", metavar="WEIGHTS")
    options = parser.parse_args(argv)
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it reports every package that it can do without
    for source in options.weights:
        path = make(*weights.load(source))
        print(f"{source}: {path} ({path.stat().st_size / 1000:.0f} kB)")
    return 0


if __name__ == "__main__":
    sys.exit(main())

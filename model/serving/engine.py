"""Engines that compute a prepared network: torch on any device, or ONNX Runtime on the processor.

Tensors of :mod:`model.networks.contract` in, numpy out, one pass at a time. Which rows make a pass is the predictor's
business. Weights are the same, and so are answers, to 1e-5 in probability.
"""

import importlib
from typing import Any, Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model.networks.contract import Frames, LightCurve
from model.networks.grouped import GroupedNetwork
from model.serving import graph
from model.serving.transfer import frames_to, series_to

EngineName = Literal["auto", "torch", "onnxruntime"]
ENGINES: tuple[EngineName, ...] = ("auto", "torch", "onnxruntime")
_ERRORS_ONLY = 3  # of ONNX Runtime's levels of severity


class EngineUnavailableError(ValueError):
    """An engine was asked for that cannot compute this network here."""


class Engine(Protocol):
    """What a predictor asks."""

    name: str

    def embed(self, frames: Frames) -> NDArray[np.float32]:
        """Vectors [N, D] of groups, flat."""
        ...

    def answer(self, embeddings_BGD: Tensor, curve: LightCurve) -> tuple[NDArray[np.float32], NDArray | None]:
        """Logits [B, K] and, of a network that remembers its training objects, the distance [B] to them."""
        ...


def open_engine(name: EngineName, network: GroupedNetwork, device: torch.device) -> Engine:
    """The engine of this name; ``auto`` takes ONNX Runtime on a processor where it can compute the network.

    Raises
    ------
    EngineUnavailableError
        When the engine that was asked for is absent, is for another device, or has no graph of the network.
    """
    if name not in ENGINES:
        raise EngineUnavailableError(f"engine is {name!r}: choose one of {', '.join(ENGINES)}")
    if name == "torch":
        return TorchEngine(network, device)
    if device.type != "cpu":
        why = f"it computes on the processor, not on {device}: set the device to cpu, or the engine to torch"
    elif (graphs := graph.read(network)) is None:
        why = f"there is no graph of this {network.name}: make one with python -m model.serving.make_graph WEIGHTS"
    elif (runtime := _runtime()) is None:
        why = "it is not installed: pip install onnxruntime, or set the engine to torch"
    else:
        return OnnxEngine(network, graphs, runtime)
    if name == "onnxruntime":
        raise EngineUnavailableError(f"engine is 'onnxruntime', but {why}")
    return TorchEngine(network, device)


class TorchEngine:
    """The network itself, on any device."""

    name = "torch"

    def __init__(self, network: GroupedNetwork, device: torch.device) -> None:
        self._network, self._device = network.to(device), device

    def embed(self, frames: Frames) -> NDArray[np.float32]:
        with torch.inference_mode():
            return self._network.embed(frames_to(frames, self._device)).flatten(1).cpu().numpy()

    def answer(self, embeddings_BGD: Tensor, curve: LightCurve) -> tuple[NDArray[np.float32], NDArray | None]:
        with torch.inference_mode():
            logits, distance = self._network.answer(*series_to((embeddings_BGD, curve), self._device))
            return logits.cpu().numpy(), None if distance is None else distance.cpu().numpy()


class OnnxEngine:
    """The network's graph, filled with its weights: less than half of torch's time for one alert."""

    name = "onnxruntime"

    def __init__(self, network: GroupedNetwork, graphs: dict[str, graph.Graph], runtime: Any) -> None:
        self._has_past = network.history_limit > 0
        sessions = []
        for part in graph.PARTS:
            options = runtime.SessionOptions()
            options.intra_op_num_threads = torch.get_num_threads()
            options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # other threads want to decode
            options.log_severity_level = _ERRORS_ONLY
            filling = graphs[part].filling(network)
            values = [runtime.OrtValue.ortvalue_from_numpy(value) for value in filling.values()]
            options.add_external_initializers(list(filling), values)
            content = graphs[part].content
            sessions.append(runtime.InferenceSession(content, options, providers=["CPUExecutionProvider"]))
        self._embed, self._answer = sessions
        self._names = {entry.name for session in sessions for entry in session.get_inputs()}

    def embed(self, frames: Frames) -> NDArray[np.float32]:
        values = (frames.pixels_BTCHW, frames.pixel_mask_BTCHW, frames.scale_BTC, frames.curve.band_BT)
        vectors: NDArray[np.float32] = self._embed.run(None, self._fed(graph.EMBED_INPUTS, values))[0]
        return vectors

    def answer(self, embeddings_BGD: Tensor, curve: LightCurve) -> tuple[NDArray[np.float32], NDArray | None]:
        feed = self._fed(graph.ANSWER_INPUTS, (embeddings_BGD, *graph.columns(curve)))
        if self._has_past:
            past = graph.columns(curve.history.padded(max(curve.history.mask_BT.shape[1], 1)))  # type: ignore[union-attr]
            feed |= self._fed(graph.HISTORY_INPUTS, past)
        logits, *distance = self._answer.run(None, feed)
        return logits, distance[0] if distance else None

    def _fed(self, names: tuple[str, ...], values: tuple[Tensor, ...]) -> dict[str, NDArray]:
        return {name: value.numpy() for name, value in zip(names, values, strict=True) if name in self._names}


def _runtime() -> Any:
    try:
        return importlib.import_module("onnxruntime")
    except ImportError:
        return None

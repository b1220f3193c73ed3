"""``ictc-export``: an ONNX file that answers like the predictor and says how to feed it.

Legend: ``N`` objects, ``T`` frames, ``P`` epochs without stamp, ``C`` image channels, ``H W`` pixels, ``K`` classes.

Inputs of the graph, padded at the end to equal length: ``stamps`` float32 [N, T, C, H, W] in nJy per pixel, NaN where
not observed; ``t`` float32 [N, T] days since the first frame; ``band`` int64 [N, T]; ``mask`` bool [N, T], True for
real frames; ``flux`` and ``flux_error`` float32 [N, T] in nJy, 0 where unknown; ``scale`` float32 [N, T, C], noise of a
pixel in nJy (1 on padding). A network that reads what packets tell of the past has ``history_t``, ``history_band``,
``history_mask``, ``history_flux`` and ``history_flux_error`` [N, P] too, in time order, on the clock of ``t`` and as
:mod:`model.past_photometry` means them; P is at least 1. A network that does not read an input may not have it. Output:
``probs`` float32 [N, K], calibrated; where the card has that score, ``unknown`` float32 [N]. What each means, and the
order of classes, is in the file's metadata (:mod:`model.serving.export_notes`). Of the comparators only CNN+GRU and
CNN+LSTM are exported: the others read nights, whose number depends on the data.
"""

import errno
import logging
import os
import sys
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from model.commands import command
from model.files import replacing
from model.networks.contract import Frames, LightCurve, collate
from model.networks.grouped import GroupedNetwork, cut_groups
from model.past_photometry import History, lacking
from model.series import BANDS, Series
from model.serving import weights
from model.serving.card import ModelCard, WeightsError
from model.serving.export_notes import metadata, outputs
from model.serving.export_options import OPSET, OPSETS, export_parser
from model.serving.predictor import Predictor

INPUTS = ("stamps", "t", "band", "mask", "flux", "flux_error", "scale")
HISTORY_INPUTS = ("history_t", "history_band", "history_mask", "history_flux", "history_flux_error")
EXPORTABLE = ("convention", "vigil", "cnn_rnn")
FREE_LENGTH = ("vigil", "cnn_rnn")  # whose graph takes any number of frames
TOLERANCE = 1e-4
CHECK_SEED = 1
SUFFIX = ".onnx"


class ExportError(ValueError):
    """This network cannot be exported, or its graph does not answer as it should."""


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written, and how far its answers lie from torch's."""

    path: Path
    largest_difference: float


class CalibratedGraph(nn.Module):
    """The network from arrays to what :mod:`model.serving.export_notes` calls its outputs, in that order.

    Every frame is embedded, padding is masked afterwards.
    """

    def __init__(self, network: GroupedNetwork, card: ModelCard) -> None:
        super().__init__()
        self.network = network
        self.temperature, self.score = card.temperature, card.unknown
        self.offset_K: Tensor
        offset = torch.tensor(card.logit_offset or (0.0,) * len(card.classes))
        self.register_buffer("offset_K", offset, persistent=False)

    def forward(
        self,
        stamps: Tensor,
        t: Tensor,
        band: Tensor,
        mask: Tensor,
        flux: Tensor,
        flux_error: Tensor,
        scale: Tensor,
        *history: Tensor,
    ) -> tuple[Tensor, ...]:
        # Whatever a caller left in padding is cleared. This also tells the exporter, one plain equation per axis, that
        # all inputs have the same numbers of objects and frames.
        curve = _cleared(t, band, mask, flux, flux_error)
        if history:
            curve = replace(curve, history=_cleared(*history))
        scale = torch.where(mask[..., None], scale, 1.0)
        observed = mask[..., None, None, None] & ~torch.isnan(stamps)
        pixels = torch.where(observed, stamps, 0.0)
        groups, _ = cut_groups(Frames(pixels, observed, scale, curve), self.network.group_size)
        embeddings = self.network.embed(groups)
        group_count = -(-stamps.shape[1] // self.network.group_size)
        embeddings = embeddings.reshape(stamps.shape[0], group_count, *self.network.embedding_shape)
        logits, distance = self.network.answer(embeddings, curve)
        probabilities = ((logits + self.offset_K) / self.temperature).softmax(-1)
        if self.score is None:
            return (probabilities,)
        energy = -self.score.temperature * (logits / self.score.temperature).logsumexp(-1)
        return probabilities, self.score.joined(energy, distance)


def traced(
    module: nn.Module,
    example: Sequence[Tensor],
    inputs: Iterable[str],
    outputs: Iterable[str],
    shapes: tuple[Any, ...],
    opset: int = OPSET,
    *,
    optimize: bool = True,
) -> Any:
    """The ONNX program of a module, without what torch warns of on the way."""
    with warnings.catch_warnings(), torch.no_grad():  # a recurrent layer is exported without gradients only
        warnings.filterwarnings("ignore", message=".*(LeafSpec|_check_is_size)", category=FutureWarning)  # of torch
        warnings.filterwarnings("ignore", message=".*_flat_weights", category=UserWarning)  # of its RNNs
        warnings.filterwarnings("ignore", message=".*axis name", category=UserWarning)  # axes are shared on purpose
        program = torch.onnx.export(
            module.eval(),
            tuple(example),
            input_names=list(inputs),
            output_names=list(outputs),
            dynamic_shapes=shapes,
            opset_version=opset,
            dynamo=True,
            verbose=False,
            optimize=optimize,
        )
    assert program is not None
    return program


def export(source: Path | str, out: Path, opset: int = OPSET) -> Exported:
    """Write the ONNX file of some weights, then compare it with torch.

    Raises
    ------
    model.serving.card.WeightsError
        When the weights cannot be read.
    ExportError
        When the network is not exportable, the operator set is not supported, or the graph's answers differ from
        torch's by over 1e-4. Then there is no new file.
    """
    network, card = weights.load(source)
    return export_network(network, card, out, opset)


def export_network(network: GroupedNetwork, card: ModelCard, out: Path, opset: int = OPSET) -> Exported:
    """:func:`export` of a network at hand; it is prepared for inference on the way."""
    if network.name not in EXPORTABLE:
        raise ExportError(f"{network.name} is not exported, only {', '.join(EXPORTABLE)}")
    if opset not in OPSETS:
        raise ExportError(f"operator set {opset} is not supported: choose one from {OPSETS[0]} to {OPSETS[-1]}")
    predictor = Predictor(network, card)
    graph = CalibratedGraph(network, card).eval()
    length = min(4, card.frame_limit) if network.name in FREE_LENGTH else card.frame_limit
    series = [random_series(card, length, seed) for seed in (1, 2)]
    example = arrays(series, random_histories(card, series), length)
    batch = torch.export.Dim("objects", min=1)
    free: dict[int, Any] = {0: batch}
    if network.name in FREE_LENGTH:
        free[1] = torch.export.Dim("frames", min=1, max=card.frame_limit)
    past_axes: dict[int, Any] = {0: batch, 1: torch.export.Dim("epochs", min=1, max=max(card.history_limit, 2))}
    histories = tuple(name for name in HISTORY_INPUTS if name in example)
    shapes = (*(free for _ in INPUTS), *(((past_axes,) * len(histories),) if histories else ()))
    for module in ("onnx", "onnxscript", "onnxruntime"):
        _need(module)
    inputs = (*INPUTS, *histories)
    program = traced(graph, [torch.from_numpy(example[name]) for name in inputs], inputs, outputs(card), shapes, opset)
    program.model.metadata_props.update(metadata(card, network.name in FREE_LENGTH))
    if (written := program.model.opset_imports.get("")) != opset:
        raise ExportError(f"torch wrote operator set {written}, not {opset}: choose {OPSET}")
    out.parent.mkdir(parents=True, exist_ok=True)
    with replacing(out) as partial:
        program.save(partial, external_data=False)
        difference = largest_difference(predictor, partial)
        if not difference <= TOLERANCE:
            raise ExportError(f"the graph differs from torch by {difference:.2g}, more than {TOLERANCE}: {out} is not "
                              "written")  # fmt: skip
    return Exported(out, difference)


def largest_difference(predictor: Predictor, path: Path) -> float:
    """Run the file on random series of several lengths, with gaps, and compare with the predictor."""
    session = _need("onnxruntime").InferenceSession(str(path), providers=["CPUExecutionProvider"])
    card = predictor.card
    names = {entry.name for entry in session.get_inputs()}
    largest = 0.0
    limit = card.frame_limit
    for lengths in ([1], [max(1, limit // 2)], [max(1, limit * share // 6) for share in (1, 2, 3)]):
        batch = [random_series(card, length, CHECK_SEED + length) for length in lengths]
        padded = max(lengths) if predictor.card.name in FREE_LENGTH else card.frame_limit
        histories = random_histories(card, batch)
        feed = {name: array for name, array in arrays(batch, histories, padded).items() if name in names}
        answer = predictor.predict(batch, histories)
        for exported, expected in zip(session.run(None, feed), (answer.probabilities, answer.unknown), strict=False):
            largest = max(largest, float(np.abs(exported - expected).max()))
    return largest


def arrays(series: Sequence[Series], histories: Sequence[History] | None, length: int) -> dict[str, NDArray]:
    """The inputs of the graph for some series."""
    frames = collate(series, length, histories)
    stamps = torch.where(frames.pixel_mask_BTCHW, frames.pixels_BTCHW, torch.nan)
    stamps = torch.where(frames.curve.mask_BT[..., None, None, None], stamps, 0.0)
    curve = frames.curve
    values = (
        stamps,
        curve.time_BT,
        curve.band_BT,
        curve.mask_BT,
        curve.flux_BT,
        curve.flux_error_BT,
        frames.scale_BTC,
    )
    named = {name: value.numpy() for name, value in zip(INPUTS, values, strict=True)}
    if curve.history is None:
        return named
    history = curve.history
    past = (history.time_BT, history.band_BT, history.mask_BT, history.flux_BT, history.flux_error_BT)
    return named | {name: value.numpy() for name, value in zip(HISTORY_INPUTS, past, strict=True)}


def random_histories(card: ModelCard, series: Sequence[Series]) -> list[History] | None:
    """Detections and limits before and between the frames of each series; None where the network reads none."""
    if not card.history_limit:
        return None
    histories = []
    for row, one in enumerate(series):
        rng = np.random.default_rng(row)
        count = card.history_limit if row % 2 == 0 else 1 + int(rng.integers(card.history_limit))
        flux = rng.normal(5000, 5000, count) * (rng.random(count) < 0.5)
        history = History(
            np.sort(one.time_T[-1] - rng.uniform(0, 30, count)),
            rng.choice(one.band_T, count).astype(np.int8),
            flux.astype(np.float32),
            rng.uniform(100, 1000, count).astype(np.float32),
        )
        histories.append(lacking([history], one, card.history_limit))
    return histories


def random_series(card: ModelCard, length: int, seed: int) -> Series:
    """A series of the card's shape with every input at work: noise, a source, missing pixels and fluxes."""
    rng = np.random.default_rng(seed)
    shape = (length, len(card.channels), card.size_px, card.size_px)
    pixels = rng.normal(size=shape)
    pixels[..., card.size_px // 2, card.size_px // 2] += rng.uniform(0, 50, shape[:2])
    pixels[rng.random(shape) < 0.01] = np.nan
    bands = np.array([BANDS.index(band) for band in card.bands], np.int8)
    flux_error = rng.uniform(100, 1000, length)
    flux_error[rng.random(length) < 0.1] = np.nan
    return Series(
        pixels_TCHW=pixels.astype(np.float16),
        scale_TC=rng.uniform(50, 1000, shape[:2]).astype(np.float32),
        band_T=rng.choice(bands, length),
        time_T=np.sort(rng.uniform(0, 300, length)),
        flux_T=rng.normal(5000, 5000, length).astype(np.float32),
        flux_error_T=flux_error.astype(np.float32),
    )


def check_place(out: Path) -> None:
    """Refuse a file that is no ONNX file's, or cannot be written: before the work, not after.

    Raises
    ------
    ExportError
        When it is a folder, or has another suffix.
    OSError
        When its folder cannot be made or written to.
    """
    if out.is_dir():
        raise ExportError(f"{out} is a folder: --out is the file to write")
    if out.suffix != SUFFIX:
        raise ExportError(f"{out} does not end in {SUFFIX}: give --out {out}{SUFFIX}")
    out.parent.mkdir(parents=True, exist_ok=True)
    if not os.access(out.parent, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(out.parent))


@command("ictc-export", WeightsError, ExportError)
def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns its exit status."""
    options = export_parser().parse_args(argv)
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it reports every package that it can do without
    check_place(options.out)
    written = export(options.weights, options.out, options.opset)
    size_kb = written.path.stat().st_size / 1000
    print(f"{written.path}: {size_kb:.0f} kB, largest difference from torch {written.largest_difference:.1e}")
    return 0


def _cleared(t: Tensor, band: Tensor, mask: Tensor, flux: Tensor, flux_error: Tensor) -> LightCurve:
    """A light curve whose padding is 0, whatever a caller left there."""
    return LightCurve(
        torch.where(mask, band, 0),
        torch.where(mask, t, 0.0),
        torch.where(mask, flux, 0.0),
        torch.where(mask, flux_error, 0.0),
        mask,
    )


def _need(module: str) -> Any:
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        raise ExportError(f"{module} is not installed: pip install '.[export]'") from error


if __name__ == "__main__":
    sys.exit(main())

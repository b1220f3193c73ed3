"""BOOM: weights as an ONNX file in the layout that its loader reads.

BOOM gives every model two float32 tensors: the triplets of N alerts, [N, 63, 63, 3] (science, template, difference),
each stamp divided by its Euclidean norm and 0 where it was NaN, and N rows of numbers out of the alerts. Here the N
rows are **one object's alerts in order of time**, and the answer, [1, K], is the object's classes as of the last. The
division is undone inside the graph, with the norms that are among the numbers; calibration, crop and noise follow
there too. ``METADATA`` names the numbers in their order; the file's metadata holds them, the order of classes, the
normalisation and the calibration. ``docs/adapters/boom.md`` says what the Rust beside it has to do.

Legend: ``N`` alerts, ``H W`` pixels, ``C`` stamps, ``K`` classes.
"""

import argparse
import json
import logging
import sys
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ictc import ConfigurationError, load_card
from ictc import export as export_network
from ictc.adapters import required
from ictc.command import add_common_options

SIDE_PX = 63
METADATA = (
    "days since the first of these alerts, from jd",
    "fid: 1 g, 2 r, 3 i",
    "magpsf",
    "sigmapsf",
    "1 where isdiffpos is t or 1, else -1",
    "magzpsci; 26.23, 26.24 and 25.66 in g, r and i where the alert has none",
    "Euclidean norm of the science stamp in DN, by which the triplet was divided",
    "the same of the template",
    "the same of the difference",
)
TRIPLET_INPUT, METADATA_INPUT, OUTPUT, UNKNOWN_OUTPUT = "triplet", "metadata", "probs", "unknown"
NORMALISATION = (
    "triplet: each stamp divided by its Euclidean norm, NaN as 0, as prepare_triplet of BOOM makes it; everything else "
    "(norms, zero point, sign, crop to the centre, noise) is inside the graph"
)
AB_MAG_OF_1_NJY = 31.4
MAG_TO_FRACTION = 0.4 * 2.302585092994046  # relative flux error per magnitude
MAD_TO_SIGMA = 1.4826


def export(weights: Path | str, out: Path) -> Path:
    """Write an ONNX file for BOOM and check it against the network.

    Parameters
    ----------
    weights
        ``ztf``, or a path to weights of a network that reads ZTF's three stamps.
    out
        The file to write.

    Raises
    ------
    ConfigurationError
        When the weights are of another survey, or read other stamps; or when onnx is not installed.
    """
    onnx = required("onnx", "boom")
    card = load_card(weights)
    if card.survey != "ztf" or tuple(card.channels) != ("science", "template", "difference"):
        raise ConfigurationError(
            f"BOOM gives ZTF's science, template and difference; {weights} reads {', '.join(card.channels)} of "
            f"{card.survey}"
        )
    with tempfile.TemporaryDirectory(prefix="ictc-boom-") as folder:
        network_path, front_path = Path(folder) / "network.onnx", Path(folder) / "front.onnx"
        export_network(weights, network_path)
        network = onnx.load(str(network_path))
        _write_front(card.size_px, bool(card.history_limit), network.opset_import[0].version, front_path)
        front = onnx.load(str(front_path))
    wanted = [tensor.name for tensor in network.graph.input]
    front.ir_version = network.ir_version
    merged = onnx.compose.merge_models(
        onnx.compose.add_prefix(front, "front_"),
        network,
        io_map=[(f"front_{name}", name) for name in wanted],
    )
    _rename(merged.graph, {f"front_{TRIPLET_INPUT}": TRIPLET_INPUT, f"front_{METADATA_INPUT}": METADATA_INPUT})
    onnx.checker.check_model(merged, full_check=True)
    inherited = {entry.key: entry.value for entry in network.metadata_props}
    onnx.helper.set_model_props(merged, inherited | _notes(inherited))
    onnx.save(merged, str(out))
    return out


def _notes(of_network: dict[str, str]) -> dict[str, str]:
    """What replaces the network's own notes: inputs as BOOM gives them."""
    return {
        "inputs": json.dumps(
            {
                TRIPLET_INPUT: f"float32 [N, {SIDE_PX}, {SIDE_PX}, 3]: science, template, difference of one object's "
                "alerts, ascending in time",
                METADATA_INPUT: f"float32 [N, {len(METADATA)}]",
            }
        ),
        "metadata_columns": json.dumps(METADATA),
        "normalisation": NORMALISATION,
        "rows": f"alerts of one object, {of_network['frames']}; the answer is as of the last",
        "layout": "boom",
    }


def _rename(graph: Any, names: dict[str, str]) -> None:
    """Give tensors of a graph other names."""
    for tensor in (*graph.input, *graph.output):
        tensor.name = names.get(tensor.name, tensor.name)
    for node in graph.node:
        for n, name in enumerate(node.input):
            node.input[n] = names.get(name, name)


def _write_front(size_px: int, with_history: bool, opset: int, path: Path) -> None:
    """The graph from BOOM's two tensors to the network's inputs."""
    torch = required("torch", "boom")
    start = SIDE_PX // 2 - size_px // 2

    class Front(torch.nn.Module):  # type: ignore[misc,name-defined]
        def forward(self, triplet_NHWC: Any, metadata_NM: Any) -> tuple[Any, ...]:
            days_N, fid_N, mag_N, mag_error_N, sign_N, zero_point_N = metadata_NM[:, :6].unbind(1)
            njy_per_dn_N = 10.0 ** ((AB_MAG_OF_1_NJY - zero_point_N) / 2.5)
            one_N = torch.ones_like(sign_N)
            factor_NC = metadata_NM[:, 6:9] * njy_per_dn_N[:, None] * torch.stack([one_N, one_N, sign_N], 1)
            cut_NHWC = triplet_NHWC[:, start : start + size_px, start : start + size_px]
            observed_NCHW = cut_NHWC.permute(0, 3, 1, 2)
            missing = observed_NCHW == 0
            pixels_NCHW = observed_NCHW * factor_NC[:, :, None, None]
            scale_NC = _noise(torch, pixels_NCHW.flatten(2), missing.flatten(2))
            stamps_NCHW = torch.where(missing, torch.nan, pixels_NCHW)
            flux_N = 10.0 ** ((AB_MAG_OF_1_NJY - mag_N) / 2.5)
            flux_error_N = flux_N * MAG_TO_FRACTION * mag_error_N
            frames = (
                stamps_NCHW[None],
                days_N[None],
                fid_N.round().to(torch.int64)[None],
                torch.ones_like(days_N, dtype=torch.bool)[None],
                (flux_N * sign_N)[None],
                flux_error_N[None],
                scale_NC[None],
            )
            if not with_history:
                return frames
            none = torch.zeros_like(days_N[None, :1])
            return (*frames, none, none.to(torch.int64), none.to(torch.bool), none, none)

    names = ["stamps", "t", "band", "mask", "flux", "flux_error", "scale"]
    if with_history:
        names += ["history_t", "history_band", "history_mask", "history_flux", "history_flux_error"]
    triplet, metadata = torch.rand(3, SIDE_PX, SIDE_PX, 3), torch.rand(3, len(METADATA))
    alerts = torch.export.Dim("alerts")
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it reports every package that it can do without
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch's exporter about torch
        torch.onnx.export(
            Front().eval(),
            (triplet, metadata),
            str(path),
            input_names=[TRIPLET_INPUT, METADATA_INPUT],
            output_names=names,
            dynamic_shapes=({0: alerts}, {0: alerts}),
            dynamo=True,
            opset_version=opset,
            verbose=False,
        )


def _noise(torch: Any, pixels_NCP: Any, missing_NCP: Any) -> Any:
    """1.4826 times the median absolute deviation of each stamp's observed pixels, [N, C]; 1 where there are none."""
    count_NC = (~missing_NCP).sum(2, keepdim=True)
    median_NC = _median(torch, pixels_NCP, missing_NCP, count_NC)
    scale_NC = MAD_TO_SIGMA * _median(torch, (pixels_NCP - median_NC).abs(), missing_NCP, count_NC)
    return torch.where(scale_NC > 0, scale_NC, torch.ones_like(scale_NC)).squeeze(2)


def _median(torch: Any, values_NCP: Any, missing_NCP: Any, count_NC: Any) -> Any:
    """The median of what is not missing, as numpy has it: the mean of the middle two of an even number."""
    large = torch.full_like(values_NCP, 3e38)
    ordered_NCP = torch.where(missing_NCP, large, values_NCP).sort(dim=2).values
    last = (count_NC - 1).clamp(min=0)
    low, high = ordered_NCP.gather(2, last // 2), ordered_NCP.gather(2, (last + 1) // 2)
    return torch.where(count_NC > 0, (low + high) / 2, torch.zeros_like(low))


def parser() -> argparse.ArgumentParser:
    """Options of ``python -m ictc.adapters.boom``."""
    p = argparse.ArgumentParser("ictc.adapters.boom", description="Write weights as an ONNX file for BOOM.")
    p.add_argument("weights", help="path of weights, or ztf")
    p.add_argument("--out", type=Path, required=True, metavar="FILE.onnx")
    add_common_options(p)
    return p


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the file; 2 when that is not possible."""
    options = parser().parse_args(arguments)
    try:
        path = export(options.weights, options.out)
    except ConfigurationError as error:
        print(f"ictc.adapters.boom: {error}", file=sys.stderr)
        return 2
    print(f"{path}: {path.stat().st_size / 1000:.0f} kB, reads {TRIPLET_INPUT} and {METADATA_INPUT}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

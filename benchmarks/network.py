"""What one more alert costs each network: ``python -m benchmarks.network [--device cuda --batch 1024]``.

An update embeds the newest group of frames and classifies the series, here of 20 frames of 32 x 32 pixels (24 x 24
where it says "as shipped") with as many channels as the survey has: SDSS one, ZTF three. Multiply-adds are counted by
torch on the way; times are torch's with one thread, in batches, median of repeats, calibration and copies included; on
a card, transfers there and back too. Where epochs are told, packets tell of up to so many without a stamp beside the
frames. "ONNX" is onnxruntime on whole series of 20 frames, which keeps no embeddings, for the networks that are
exported; ``benchmarks.peers`` times it on updates.
"""

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import onnxruntime
import torch
from rich.console import Console
from rich.table import Table
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.parser import parser_of
from benchmarks.setting import describe
from model.networks.contract import collate
from model.networks.grouped import cut_groups, select_rows
from model.serving.export import EXPORTABLE, FREE_LENGTH, arrays, export_network, random_histories, random_series
from model.serving.predictor import Predictor, untrained

FRAMES = 20
BATCH = 64
REPEATS = 5
NETWORKS = {
    "ConvEntion": ("sdss", "convention", {}),
    "ConvEntion, attention O(T²)": ("sdss", "convention", {"attention": "quadratic"}),
    "ConvEntion, quarter width": ("sdss", "convention", {"width": 0.25}),
    "Vigil": ("sdss", "vigil", {}),
    "Vigil, 30 epochs told": ("sdss", "vigil", {"history_limit": 30}),
    "Vigil as shipped for ZTF, 96 epochs told": ("ztf", "vigil", {"size": 24, "history_limit": 96}),
    "Vigil, double width": ("sdss", "vigil", {"filters": 32, "embedding_width": 128, "token_width": 128}),
    "CNN+GRU": ("sdss", "cnn_rnn", {"cell": "gru"}),
    "CNN+LSTM": ("sdss", "cnn_rnn", {"cell": "lstm"}),
    "SITS-BERT": ("sdss", "sits_bert", {}),
    "SCONE": ("sdss", "scone", {}),
    "SuperNNova": ("sdss", "supernnova", {}),
    "SuperNNova, Bayesian": ("sdss", "supernnova", {"bayesian": True}),
    "LSTM": ("sdss", "lstm", {}),
}


def multiply_adds(survey: str, name: str, settings: dict) -> tuple[int, int, int]:
    """Parameters, and millions of multiply-adds of an update and of training on one series (forward pass only)."""
    network, card = untrained(survey, name, 1, **settings)
    parameters = sum(p.numel() for p in network.parameters())
    series = [random_series(card, FRAMES, 1)]
    frames = collate(series, histories=random_histories(card, series))
    groups, _ = cut_groups(frames, network.group_size)
    newest = select_rows(groups, torch.tensor([len(groups.scale_BTC) - 1]))
    whole = counted(lambda: network.eval()(frames))
    network.prepare_for_inference()
    embeddings = network.embed(groups).unflatten(0, (1, -1))
    update = counted(lambda: (network.embed(newest), network.classify(embeddings, frames.curve)))
    return parameters, update, whole


def counted(call: Callable[[], object]) -> int:
    """Multiply-adds of a call; without oneDNN, whose recurrent layers the counter cannot see."""
    with torch.inference_mode(), torch.backends.mkldnn.flags(enabled=False), FlopCounterMode(display=False) as counter:
        call()
    return counter.get_total_flops() // 2


def update_seconds(survey: str, name: str, settings: dict, device: str, batch: int) -> tuple[float, float]:
    """Seconds of embedding one group and of classifying one series, as the service does them."""
    predictor = Predictor.untrained(survey, name, device, **settings)
    series = [random_series(predictor.card, FRAMES, seed) for seed in range(batch)]
    groups = [s.groups(predictor.card.group_size) for s in series]
    vectors = [predictor.embed(of_one) for of_one in groups]
    newest = [of_one[-1] for of_one in groups]
    embed = median_seconds(lambda: predictor.embed(newest))
    histories = random_histories(predictor.card, series)
    classify = median_seconds(lambda: predictor.classify(vectors, series, histories))
    return embed / batch, classify / batch


def onnx_seconds(survey: str, name: str, settings: dict) -> float | None:
    """Seconds of one whole series of ``FRAMES`` in onnxruntime with one thread."""
    if name not in EXPORTABLE or settings.get("attention") == "quadratic":
        return None
    network, card = untrained(survey, name, 1, **settings)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    with tempfile.TemporaryDirectory() as folder:
        path = export_network(network, card, Path(folder) / "network.onnx").path
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    names = {entry.name for entry in session.get_inputs()}
    count = 16 if name in FREE_LENGTH else 2  # without free length every series costs the frame limit
    batch = [random_series(card, FRAMES, seed) for seed in range(count)]
    feed = arrays(batch, random_histories(card, batch), FRAMES if name in FREE_LENGTH else card.frame_limit)
    feed = {key: value for key, value in feed.items() if key in names}
    return median_seconds(lambda: session.run(["probs"], feed)) / count


def median_seconds(call: Callable[[], object]) -> float:
    call()
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N (default: %(default)s)")
    parser.add_argument("--batch", type=int, default=BATCH, metavar="N", help="updates at a time, here %(default)s")
    options = parser.parse_args()
    torch.set_num_threads(1)
    console = Console(width=150)
    where = "one thread" if options.device == "cpu" else f"on {torch.cuda.get_device_name(options.device)}"
    table = Table(
        title=f"One more alert on a series of {FRAMES} frames, {options.batch} at a time, {where}",
        caption=describe("torch", "onnxruntime"),
    )
    for column in (
        "network",
        "parameters",
        "M multiply-adds / update",
        "/ whole series",
        "embed ms",
        "classify ms",
        "updates/s",
        "ONNX ms / whole series",
    ):
        table.add_column(column, justify="left" if column == "network" else "right")
    for title, (survey, name, settings) in NETWORKS.items():
        parameters, update, whole = multiply_adds(survey, name, settings)
        embed, classify = update_seconds(survey, name, settings, options.device, options.batch)
        onnx = onnx_seconds(survey, name, settings)
        table.add_row(
            title,
            f"{parameters:,}",
            f"{update / 1e6:,.2f}",
            f"{whole / 1e6:,.1f}",
            f"{embed * 1e3:.3f}",
            f"{classify * 1e3:.3f}",
            f"{1 / (embed + classify):,.0f}",
            "" if onnx is None else f"{onnx * 1e3:.1f}",
        )
    console.print(table)


if __name__ == "__main__":
    main()

"""How near a training step comes to the arithmetic it must do: ``python -m benchmarks.training_step``.

A step is both views where the recipe has two, the loss, its gradient and the optimiser, on random series of 36 frames
that lie on the device; augmentation and reading are left out. Floating-point operations are counted by torch on the
way. The peak is what the faster of a large matrix product and a large convolution reaches on the same device in the
same precision, so that a share of 1 would mean a step that does nothing but multiply. One thread on a processor unless
``--threads`` says more; on a GPU give ``--device cuda --batch 128 --compile``. On a processor ConvEntion's step is
timed with its wide convolutions by spectra and direct, with freed memory kept and given back, and with ``--compile``
what lies between products of spectra compiled too; the arithmetic is that of the direct one.
"""

import statistics
import time
from collections.abc import Callable

import torch
from rich.console import Console
from rich.table import Table
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.parser import parser_of
from benchmarks.setting import describe
from model.networks import convention, registry
from model.networks.contract import Frames, collate
from model.serving.export import random_series
from model.serving.predictor import resolve_device, untrained
from model.training.learning.execution import ExecutionSettings
from model.training.learning.freed_memory import keep_freed_memory
from model.training.learning.objective import Objective
from model.training.learning.parameters import decay_groups
from model.training.learning.recipe import Recipe, load_recipe
from model.training.training_options import PRECISIONS

FRAMES = 36
REPEATS = 5
MATRIX = 2048
RECIPES = ("convention", "ict-convention", "cnn-gru", "vigil", "convention-mini", "ict-convention-mini", "sits-bert")


class Step:
    """One recipe's training step on one batch that never changes."""

    def __init__(self, recipe: Recipe, batch: int, engine: ExecutionSettings, frames: int = FRAMES) -> None:
        settings = dict(recipe.network)
        name = str(settings.pop("network"))
        network, card = untrained("sdss", name, 1, **settings)
        self.recipe, self.engine = recipe, engine
        self.stage = recipe.stages[-1]
        self.objective = Objective(registry.build(registry.describe(network)), recipe, 4)
        self.objective.to(engine.device).train()
        self.runner = engine.ready(self.objective)
        self.optimizer = torch.optim.AdamW(decay_groups(self.objective, recipe.weight_decay), amsgrad=recipe.amsgrad)
        self.frames: Frames = collate([random_series(card, frames, seed) for seed in range(batch)]).to(engine.device)
        self.label_B = (torch.arange(batch) % 4).to(engine.device)
        self.counts_K = torch.bincount(self.label_B, minlength=4).float()

    def __call__(self) -> None:
        second = self.frames if self.recipe.ict.pull != "none" else None
        with self.engine.autocast:
            parts = self.runner(self.frames, second, self.label_B, self.counts_K, self.stage, 0.0)
        self.optimizer.zero_grad(set_to_none=True)
        parts["loss"].backward()
        self.optimizer.step()
        self.objective.follow()

    def operations(self) -> int:
        """Floating-point operations of one step; without oneDNN, whose recurrent layers the counter cannot see."""
        runner, self.runner = self.runner, self.objective
        with torch.backends.mkldnn.flags(enabled=False), FlopCounterMode(display=False) as counter:
            self()
        self.runner = runner
        return counter.get_total_flops()


def median_seconds(call: Callable[[], object], device: torch.device) -> float:
    """Median over repeats, after two calls that compile, choose kernels and fill caches."""
    times = []
    for _ in range(REPEATS + 2):
        start = time.perf_counter()
        call()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(time.perf_counter() - start)
    return statistics.median(times[2:])


def peak_flops(engine: ExecutionSettings) -> float:
    """Operations per second of a large matrix product, or of a large convolution where that is faster."""
    dtype = torch.bfloat16 if engine.precision == "bfloat16" else torch.float32
    a, b = (torch.randn(MATRIX, MATRIX, device=engine.device, dtype=dtype) for _ in range(2))
    image = torch.randn(8, 256, 32, 32, device=engine.device, dtype=dtype).to(memory_format=torch.channels_last)
    kernel = torch.randn(256, 256, 3, 3, device=engine.device, dtype=dtype)
    with torch.inference_mode():
        product = median_seconds(lambda: a @ b, engine.device)
        convolution = median_seconds(lambda: functional.conv2d(image, kernel), engine.device)
    return max(2 * MATRIX**3 / product, 2 * 8 * 30 * 30 * 256 * 256 * 9 / convolution)


def ways_of(recipe: Recipe, engine: ExecutionSettings) -> list[tuple[str, bool, bool]]:
    """How a recipe's step is computed: what is told of it, whether by spectra, and whether freed memory is kept."""
    on_processor = engine.device.type == "cpu" and engine.precision == "float32"
    if not on_processor or recipe.network["network"] != "convention":
        return [("", False, True)]
    if engine.compiled:
        return [(", by spectra", True, True)]
    return [
        (", direct, memory given back", False, False),
        (", direct", False, True),
        (", by spectra, memory given back", True, False),
        (", by spectra", True, True),
    ]


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--recipes", default=",".join(RECIPES))
    parser.add_argument("--frames", type=int, default=FRAMES, help="of each series")
    parser.add_argument("--compile", action="store_true", help="also compiled")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    device = resolve_device(options.device)
    ways = (False, True) if options.compile else (False,)
    engines = [ExecutionSettings(device, precision, compiled) for compiled in ways for precision in PRECISIONS]
    peaks = {engine.precision: peak_flops(engine) for engine in engines}
    table = Table(
        title=f"A training step of {options.batch} objects of {options.frames} frames on {device}, "
        f"{options.threads} thread(s)",
        caption=", ".join(f"peak in {name}: {peak / 1e9:,.0f} GFLOP/s" for name, peak in peaks.items())
        + f"\n{describe('torch')}",
    )
    for column in ("recipe", "how", "GFLOP / object", "ms / object", "GFLOP/s", "share of peak"):
        table.add_column(column, justify="left" if column in ("recipe", "how") else "right")
    for name in options.recipes.split(","):
        recipe = load_recipe(name)
        convention.SPECTRA_ON_PROCESSORS = False  # operations are those of the direct convolutions
        operations = Step(recipe, options.batch, engines[0], options.frames).operations()
        for engine in engines:
            step = Step(recipe, options.batch, engine, options.frames)
            for how, by_spectra, keep in ways_of(recipe, engine):
                keep_freed_memory(keep)
                convention.SPECTRA_ON_PROCESSORS = by_spectra
                seconds = median_seconds(step, device)
                rate = operations / seconds
                table.add_row(
                    name,
                    engine.precision + (", compiled" if engine.compiled else "") + how,
                    f"{operations / options.batch / 1e9:,.3f}",
                    f"{seconds / options.batch * 1e3:,.2f}",
                    f"{rate / 1e9:,.0f}",
                    f"{rate / peaks[engine.precision]:.2f}",
                )
    Console(width=130).print(table)


if __name__ == "__main__":
    main()

"""What a network answers when information is taken away: ``python -m benchmarks.controls --data DIR --out DIR``.

``[--weights NAME|FILES] [--per-class N]``. The controls of the evaluation protocol, each with what an honest network
does and with the value that was measured elsewhere. Those that change the sky have the simulator draw the test objects
again, of the data set's seed; without ``--data``, or where today's simulator would not give the data set's bytes, new
ones. Objects labelled ``deconfounded``, whose hosts, brightness and offsets do not depend on the class, are added, new
ones too. With ``--data`` models on dates, positions, numbers and times, and on shuffled labels are trained as well.
"""

import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks import setting
from benchmarks.controls import inputs, learners, objects
from benchmarks.controls.cases import (
    Case,
    Seen,
    drawn,
    noticed,
    recorded,
    seen_at,
    settings_of_card,
    settings_of_dataset,
)
from benchmarks.controls.scores import (
    ALL,
    Control,
    ControlAnswers,
    Result,
    as_json,
    at_chance,
    drops,
    markdown,
    measure,
    nearly_all,
    seasons_of_the_sample,
    stays,
    together,
)
from benchmarks.parser import parser_of
from model.data.dataset import Dataset, DatasetError
from model.networks.contract import collate
from model.networks.grouped import GroupedNetwork
from model.past_photometry import lacking
from model.serving import weights
from model.serving.card import ModelCard, WeightsError
from model.simulation.datasets.draw import DatasetSettings
from model.simulation.datasets.plan import SURVEY_MODE
from model.training.evaluation.evaluate import check_fit

BATCH = 32
OTHER_NOISE = 1_007  # a stream of random numbers that no data set uses
PAIRING = 3  # seed of who is paired with whom
UNCHANGED, SWAPPED = "unchanged", "swap host of supernovae"

CONTROLS = (
    Control(UNCHANGED, "the objects as recorded", "–"),
    Control("fresh noise", "the same objects photographed again", "stays", holds=stays),
    Control(
        "host only",
        "sources at what the template shows of them",
        "drops to context",
        "trees .53 (real catalogue), .82 (physical), .26 (deconfounded)",
        drops,
    ),
    Control(
        "constant flux",
        "sources at the mean flux of each band, fresh noise",
        "drops to colour and context",
        "trees .79 (physical), .71 (sdss_label), .63 (deconfounded)",
        drops,
    ),
    Control("shuffled time", "fluxes dealt out anew within each band", "small drop", "trees .950 to .940"),
    Control("reversed time", "the last frame first", "drops, most for supernovae", holds=drops),
    Control("cadence only", "empty sky at the same visits", "chance", ".25", at_chance),
    Control("background only", "source's disc and photometry hidden", "chance, neighbours and host", holds=drops),
    Control("centre only", f"{inputs.CENTRE_PX} central pixels", "95 % of unchanged", "≥ 95 %", nearly_all),
    Control(SWAPPED, "in the host of an object of another class; the others stay", "follows the transient"),
    Control("flux scaled", "largest change at the same significance in all classes", "graceful"),
    Control("other seeing and depth", "under the conditions of another position", "within .02", "< .02", stays),
    Control("images without photometry", "all fluxes unknown", "–"),
    Control("photometry without images", "all pixels hidden", "–"),
    Control(
        "date only",
        "trees on the date of the first frame",
        "chance; as in the real sample where labels are those of SDSS, whose seasons differ by class",
        "real .40",
        seasons_of_the_sample,
    ),
    Control("position only", "trees on right ascension and declination", "chance", "real .73", at_chance),
    Control("number and times only", "trees on how often and when it was observed", "chance", ".25", at_chance),
    Control("label permutation", "photometry trees trained on shuffled labels", "chance", ".25", at_chance),
)


def changed(cases: Sequence[Case], settings: DatasetSettings) -> dict[str, Callable[[int], Seen | None]]:
    """By control, the n-th object as the network is to see it; None where its survey would not see it any more."""
    pixel_arcsec = settings.survey.pixel_arcsec
    radius_px = inputs.SOURCE_RADIUS_ARCSEC[settings.survey.name] / pixel_arcsec
    order = np.random.default_rng(PAIRING).permutation(len(cases))
    partner = dict(zip(order.tolist(), np.roll(order, 1).tolist(), strict=True))
    donors = donors_of(cases)
    wanted = float(np.exp(np.mean([np.log(max(objects.significance(case.obj), 1.0)) for case in cases])))

    def rng(n: int) -> np.random.Generator:
        return np.random.default_rng([PAIRING, n])

    def shown(of: Callable[[Case, int], Any]) -> Callable[[int], Seen]:
        return lambda n: seen_at(of(cases[n], n), cases[n].visits_N, settings)

    def sky(of: Callable[[Case, int], Any]) -> Callable[[int], Seen | None]:
        return lambda n: noticed(of(cases[n], n), settings)

    def hidden(of: Callable[[Any], Any]) -> Callable[[int], Seen]:
        return lambda n: (of(cases[n].series), None)

    return {
        UNCHANGED: lambda n: (cases[n].series, cases[n].history),
        "fresh noise": lambda n: noticed(cases[n].obj, settings, OTHER_NOISE),
        "host only": shown(lambda case, n: objects.source_off(case.obj)),
        "constant flux": shown(lambda case, n: objects.constant(case.obj, case.visits_N)),
        "shuffled time": shown(lambda case, n: objects.shuffled(case.obj, case.visits_N, rng(n))),
        "reversed time": lambda n: inputs.reversed_time(cases[n].series, cases[n].history),
        "cadence only": shown(lambda case, n: objects.dark(case.obj)),
        "background only": hidden(lambda series: inputs.without_centre(series, radius_px)),
        "centre only": lambda n: (inputs.centre_only(cases[n].series), cases[n].history),
        SWAPPED: sky(lambda case, n: objects.in_host_of(case.obj, cases[donors[n]].obj) if n in donors else case.obj),
        "flux scaled": sky(lambda case, n: objects.scaled(case.obj, wanted)),
        "other seeing and depth": sky(
            lambda case, n: objects.under_conditions_of(case.obj, cases[partner[n]].obj, rng(n))
        ),
        "images without photometry": hidden(inputs.without_photometry),
        "photometry without images": lambda n: (inputs.without_pixels(cases[n].series), cases[n].history),
    }  # fmt: skip


def donors_of(cases: Sequence[Case]) -> dict[int, int]:
    """For each supernova another object, of another class and with a host, into whose surroundings it is put."""
    rng = np.random.default_rng(PAIRING)
    hosted = [n for n, case in enumerate(cases) if case.obj.scene.galaxies and case.obj.truth["host_matched"]]
    donors = {}
    for n, case in enumerate(cases):
        others = [m for m in hosted if cases[m].label != case.label]
        if case.obj.truth["kind"] == "SN" and others:
            donors[n] = int(rng.choice(others))
    return donors


@torch.inference_mode()
def answer(network: GroupedNetwork, card: ModelCard, seen: Sequence[Seen]) -> NDArray[np.float64]:
    """Probabilities [N, K] of series, of each the newest frames that the network reads."""
    parts = []
    for start in range(0, len(seen), BATCH):
        batch = seen[start : start + BATCH]
        series = [one[max(len(one) - card.frame_limit, 0) :] for one, _ in batch]
        histories = None
        if card.history_limit:
            pairs = zip(batch, series, strict=True)
            histories = [lacking([] if h is None else [h], s, card.history_limit) for (_, h), s in pairs]
        parts.append(network(collate(series, None, histories)).numpy())
    return card.probabilities(np.concatenate(parts))


def ask(
    network: GroupedNetwork, card: ModelCard, cases: Sequence[Case], settings: DatasetSettings
) -> Iterator[ControlAnswers]:
    """Every control of the network on objects of one label mode; the first changes nothing."""
    label_N, donors = np.array([case.label for case in cases]), donors_of(cases)
    unchanged_NK = None
    for name, of in changed(cases, settings).items():
        stamps_of = {n: seen for n in range(len(cases)) if (seen := of(n)) is not None}
        at = np.array(sorted(stamps_of), np.int64)
        probability_NK = answer(network, card, [stamps_of[n] for n in at])
        host_N = np.array([cases[donors[n]].label if n in donors else -1 for n in at]) if name == SWAPPED else None
        before_NK = None if unchanged_NK is None else unchanged_NK[at]
        yield ControlAnswers(name, cases[0].mode, label_N[at], probability_NK, before_NK, host_N)
        if unchanged_NK is None:
            unchanged_NK = probability_NK


def results(answers: Sequence[ControlAnswers], classes: Sequence[str]) -> list[dict[str, Any]]:
    """Scores of every control in every label mode, and in all of them together."""
    modes = [mode for mode in dict.fromkeys(one.mode for one in answers) if mode != ALL]
    rows = []
    for mode in [*modes, ALL] if len(modes) > 1 else modes:
        unchanged: Result | None = None
        for control in CONTROLS:
            parts = [one for one in answers if one.control == control.name and mode in (one.mode, ALL)]
            if not parts:
                continue
            result = measure(together(parts, mode), classes)
            unchanged = unchanged or result
            rows.append(as_json(result, control, unchanged))
    return rows


def cases_of(
    card: ModelCard, dataset: Dataset | None, per_class: int
) -> tuple[list[list[Case]], list[DatasetSettings], str]:
    """Test objects by label mode, what each was drawn with, and in words where they come from."""
    sets, settings_of_sets, fresh = [], [], settings_of_card(card)
    own = SURVEY_MODE[card.survey]
    cases = [] if dataset is None else recorded(dataset, per_class)
    source = f"new objects of seed {fresh.seed}"
    if dataset is not None and cases:
        for mode in sorted({case.mode for case in cases}):
            sets.append([case for case in cases if case.mode == mode])
            settings_of_sets.append(settings_of_dataset(dataset))
        source = f"test objects of {dataset.folder.name} (seed {settings_of_sets[0].seed}), made again byte for byte; "
        source += f"labels without test objects: new ones of seed {fresh.seed}"
    elif dataset is not None:
        source += f", for today's simulator does not give the bytes of {dataset.folder.name}"
    for mode in (own, "deconfounded"):
        if mode not in {of[0].mode for of in sets}:
            sets.append(list(drawn(fresh, card.classes, mode, per_class)))
            settings_of_sets.append(fresh)
    return sets, settings_of_sets, source


def main(argv: Sequence[str] | None = None) -> int:
    parser = parser_of(__doc__)
    parser.add_argument("--weights", help="shipped or own weights (default: those of the data set's survey, or sdss)")
    parser.add_argument("--data", type=Path, help="a data set of ictc-simulate")
    parser.add_argument("--per-class", type=int, default=50, help="objects of each class and label mode")
    parser.add_argument("--out", type=Path, help="folder for SURVEY.json and SURVEY.md")
    options = parser.parse_args(argv)
    torch.set_num_threads(1)
    started, described = time.process_time(), setting.describe("torch", "numpy")
    try:
        dataset = None if options.data is None else Dataset.open(options.data)
        network, card = weights.load(options.weights or ("sdss" if dataset is None else dataset.survey))
        if dataset is not None:
            check_fit(card, dataset)
    except (DatasetError, WeightsError) as error:
        print(f"benchmarks.controls: {error}", file=sys.stderr)
        return 2
    network.prepare_for_inference()
    sets, settings_of_sets, source = cases_of(card, dataset, options.per_class)
    answers = [one for pair in zip(sets, settings_of_sets, strict=True) for one in ask(network, card, *pair)]
    if dataset is not None:
        answers += learners.answers(dataset, [case for cases in sets for case in cases])
        answers.append(learners.permuted_labels(dataset))
    rows = results(answers, card.classes)
    table = {
        "weights": {"name": card.name, "version": card.version, "survey": card.survey},
        "objects": source,
        "per_class": options.per_class,
        "setting": described,
        "processor_seconds": round(time.process_time() - started),
        "controls": rows,
    }
    text = (
        f"{card.name} {card.version}: {source}; {options.per_class} of each class and label mode.\n\n{markdown(rows)}"
    )
    print(f"{described}\n{text}{table['processor_seconds']} s of one core")
    if options.out is not None:
        options.out.mkdir(parents=True, exist_ok=True)
        (options.out / f"{card.survey}.json").write_text(json.dumps(table, indent=1) + "\n", "utf-8")
        (options.out / f"{card.survey}.md").write_text(text, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())

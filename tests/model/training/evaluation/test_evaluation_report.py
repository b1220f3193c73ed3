"""The pictures of a report show what they say: ticks where numbers are, epochs without stamp, limits at their size."""

import numpy as np
from matplotlib.figure import Figure
from toy_sky import toy_series

from model.past_photometry import NO_HISTORY, History
from model.training.evaluation.evaluation_report import draw_early, draw_light_curve, draw_unknown

ENTRY = {"macro_f1": 0.7, "balanced_accuracy": 0.7, "auc": 0.9, "log_loss": 0.6, "ece": 0.05}


def test_early_curves_have_a_tick_at_every_measured_night():
    """Share right on the left, honesty on the right."""
    figure = Figure()
    draw_early(figure, dict.fromkeys([1, 2, 3, 5, 8], ENTRY), "nights")
    left, right = figure.axes
    for axes in (left, right):
        assert [label.get_text() for label in axes.get_xticklabels()] == ["1", "2", "3", "5", "8"]
    assert [text.get_text() for text in right.get_legend().get_texts()] == ["log loss", "calibration error (ECE)"]


def test_the_unknown_score_is_drawn_by_nights():
    """One curve, and the line of chance."""
    axes = Figure().subplots()
    draw_unknown(axes, {1: 0.6, 20: 0.9})
    assert axes.lines[0].get_ydata().tolist() == [0.6, 0.9]
    assert set(axes.lines[1].get_ydata()) == {0.5}


def test_what_packets_tell_stands_beside_the_frames():
    """A detection without stamp is an open circle before the first frame, a limit a triangle at five errors."""
    series = toy_series(1, np.random.default_rng(0))
    start = series.time_T[0]
    past = History(
        np.array([start - 5.0, start - 2.0]),
        np.array([1, 2], np.int8),
        np.array([0.0, 3000.0], np.float32),
        np.array([200.0, 300.0], np.float32),
    )
    axes = Figure().subplots()
    draw_light_curve(axes, series, past)
    (triangle,) = (line for line in axes.lines if line.get_marker() == "v")
    assert (triangle.get_xdata().tolist(), triangle.get_ydata().tolist()) == ([-5.0], [1.0])
    open_circles = [line for line in axes.lines if line.get_marker() == "o" and line.get_markerfacecolor() == "none"]
    assert [line.get_ydata().tolist() for line in open_circles if len(line.get_xdata())] == [[3.0]]
    alone = Figure().subplots()
    draw_light_curve(alone, series, NO_HISTORY)
    assert all(line.get_marker() != "v" for line in alone.lines)

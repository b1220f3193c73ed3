"""Tests of what packets tell of the past: which epochs count, which are told twice."""

import numpy as np
import torch

from model.networks.contract import collate, collate_curve
from model.past_photometry import HISTORY_LIMIT, History, lacking
from model.series import Series

G, R = 1, 2


def series_of(*epochs: tuple[float, int]) -> Series:
    time_T = np.array([time for time, _ in epochs])
    count = len(epochs)
    return Series(
        pixels_TCHW=np.zeros((count, 1, 3, 3), np.float16),
        scale_TC=np.ones((count, 1), np.float32),
        band_T=np.array([band for _, band in epochs], np.int8),
        time_T=time_T,
        flux_T=np.full(count, 100.0, np.float32),
        flux_error_T=np.ones(count, np.float32),
    )


def history_of(*epochs: tuple[float, int], flux: float = 0.0) -> History:
    count = len(epochs)
    return History(
        np.array([time for time, _ in epochs]),
        np.array([band for _, band in epochs], np.int8),
        np.full(count, flux, np.float32),
        np.full(count, 20.0, np.float32),
    )


def test_an_exposure_that_a_frame_shows_is_no_history() -> None:
    """Epochs within seconds of a frame in its band are left out, those in another band at that time stay."""
    past = lacking([history_of((9.0, G), (10.00001, G), (10.00001, R))], series_of((10.0, G), (20.0, G)))
    assert past.time_P.tolist() == [9.0, 10.00001]
    assert past.band_P.tolist() == [G, R]


def test_the_first_packet_that_tells_of_a_visit_is_believed() -> None:
    """A visit that several packets tell of comes once, with the flux of the first packet."""
    first, second = history_of((5.0, G), flux=1.0), history_of((5.0, G), (6.0, G), flux=2.0)
    past = lacking([first, second], series_of((10.0, R)))
    assert past.time_P.tolist() == [5.0, 6.0]
    assert past.flux_P.tolist() == [1.0, 2.0]


def test_the_future_is_left_out_and_the_oldest_go_first() -> None:
    """Nothing later than the last frame is read, and of more epochs than the limit the newest stay."""
    of_packets = history_of(*((float(day), G) for day in range(40)))
    past = lacking([of_packets], series_of((3.5, R), (20.5, R)), limit=8)
    assert past.time_P.tolist() == [float(day) for day in range(13, 21)]


def test_the_order_in_which_epochs_are_told_changes_nothing() -> None:
    """Packets whose epochs are shuffled give the same history."""
    rng = np.random.default_rng(1)
    of_packets = history_of(*((float(day) / 3, int(day % 2) + 1) for day in range(50)))
    frames = series_of((4.0, G), (12.0, R))
    in_order, shuffled = lacking([of_packets], frames), lacking([of_packets[rng.permutation(50)]], frames)
    for name in History.__slots__:
        assert (getattr(in_order, name) == getattr(shuffled, name)).all()


def test_no_packet_told_anything() -> None:
    """Without histories nothing is lacking, in the types of a history."""
    past = lacking([], series_of((1.0, G)))
    assert len(past) == 0
    assert [getattr(past, name).dtype for name in History.__slots__] == [np.float64, np.int8, np.float32, np.float32]
    assert HISTORY_LIMIT > 0


def test_histories_are_padded_beside_their_series() -> None:
    """Times of a history count from the first frame of its own series, and padding is masked."""
    series = [series_of((10.0, G), (12.0, R)), series_of((50.0, R))]
    frames = collate(series, histories=[history_of((7.0, R)), history_of((40.0, G), (45.0, R))])
    history = frames.curve.history
    assert history is not None
    assert history.time_BT.tolist() == [[-3.0, 0.0], [-10.0, -5.0]]
    assert history.mask_BT.tolist() == [[True, False], [True, True]]
    assert torch.equal(frames.curve.select(torch.tensor([1])).history.band_BT, torch.tensor([[G, R]]))  # type: ignore[union-attr]
    assert collate_curve(series).history is None

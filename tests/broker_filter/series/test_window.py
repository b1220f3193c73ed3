"""Which observations a classification reads, and which alerts get one."""

import itertools

import fake_stream as fake
from hypothesis import given
from hypothesis import strategies as st

from broker_filter.series.rows import decode_fronts, encode_front
from broker_filter.series.store import HeldSeries, surplus
from broker_filter.series.window import WindowRule, targets_of, window_of

ranks = st.integers(0, 400)
rules = st.builds(WindowRule.of, st.integers(3, 120), st.integers(1, 3))


def series(ids: list[int], settled: set[int], dropped: int = 0) -> HeldSeries:
    """Observations a day apart, in the order of their ids."""
    fronts = [encode_front(fake.observation(i, 60_000.0 + i), i in settled, "ztf/a", b"") for i in ids]
    return HeldSeries("ztf/a", dropped, None, *decode_fronts(fronts, "ztf/a"))


@given(ranks, rules)
def test_window_ends_with_its_alert_and_fits_the_network(rank: int, rule: WindowRule) -> None:
    """A window ends with its own observation, holds at most what the network reads, and begins at a group."""
    window = window_of(rank, 0, rule)
    assert window.stop == rank + 1
    assert rule.frame_limit - rule.group_size < window.size <= rule.frame_limit or window.start == 0
    assert window.start % rule.group_size == 0
    assert window.whole


@given(st.integers(1, 400), rules)
def test_newest_windows_stay_whole_while_a_series_loses_its_oldest(held: int, rule: WindowRule) -> None:
    """However long a series grows, its newest observation, and those that the spare is for, keep whole windows."""
    dropped = surplus(held, rule.hold_limit, rule.group_size)
    spare = rule.hold_limit - rule.frame_limit - rule.group_size
    for back in range(max(min(spare, held - 1) + 1, 1)):
        assert window_of(held - 1 - back, dropped, rule).whole
        assert window_of(held - 1 - back, dropped, rule) == window_of(held - 1 - back, 0, rule)


@given(ranks, rules)
def test_groups_cover_the_window_without_overlap(rank: int, rule: WindowRule) -> None:
    """Groups follow each other, all full but the last."""
    window = window_of(rank, 0, rule)
    groups = window.groups(rule.group_size)
    assert groups[0][0] == window.start
    assert groups[-1][1] == window.stop
    assert all(stop - start == rule.group_size for start, stop in groups[:-1])
    assert all(one[1] == other[0] for one, other in itertools.pairwise(groups))


def test_arrivals_in_order_cause_no_revisions() -> None:
    """What arrives after all that is held is all that is classified."""
    targets = targets_of(series([1, 2, 3, 4], {1, 2}), {3, 4}, WindowRule.of(99, 3))
    assert [(t.index, t.revision) for t in targets] == [(2, False), (3, False)]


def test_a_late_arrival_revises_what_lies_after_it() -> None:
    """Observations after a new one are classified again, those of other batches in flight too."""
    targets = targets_of(series([1, 2, 3, 4], {1, 4}), {2}, WindowRule.of(99, 3))
    assert [(t.index, t.revision) for t in targets] == [(1, False), (2, True), (3, True)]


def test_a_settled_duplicate_revises_nothing() -> None:
    """A delivered alert that comes again is classified again, alone."""
    targets = targets_of(series([1, 2, 3], {1, 2, 3}), {2}, WindowRule.of(99, 3))
    assert [(t.index, t.revision) for t in targets] == [(1, False)]


def test_revisions_need_their_whole_window() -> None:
    """A later observation whose window has partly left the store keeps the word that it has."""
    rule = WindowRule(frame_limit=3, group_size=1, hold_limit=4)
    targets = targets_of(series([11, 12, 13, 14], {12, 13, 14}, dropped=10), {11}, rule)
    assert [(t.index, t.window.size, t.revision) for t in targets] == [(0, 1, False), (2, 3, True), (3, 3, True)]

"""The geometry of charts: the bars of a period, how they are stacked, and the marks of the axis."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.console.charts import HEIGHT, MAX_BARS, WIDTH, bars, grouped, nice_top, rebinned, timespan

HOUR, DAY = 3_600, 86_400
NAMES = ("good", "bad")


@given(st.integers(0, 4_000_000_000), st.integers(0, 20 * 365 * DAY))
def test_a_period_has_few_bars_that_cover_it(begin: int, seconds: int) -> None:
    span = timespan(begin, begin + seconds)
    assert span.begin <= begin
    assert span.end >= begin + seconds
    assert 1 <= len(span.starts) <= MAX_BARS + 2
    assert span.begin % span.step == 0


def test_seven_days_have_bars_of_three_hours() -> None:
    assert timespan(0, 7 * DAY).step == 3 * HOUR


@given(st.integers(0, 10**12))
def test_the_top_is_round_and_not_far_above(most: int) -> None:
    top = nice_top(most)
    assert max(1, most) <= top <= max(1, 2 * most)
    assert len(str(top).rstrip("0")) <= 2


@given(st.lists(st.tuples(st.integers(0, 8), st.integers(0, 10_000), st.integers(0, 10_000)), max_size=20))
def test_parts_are_stacked_within_the_chart(rows: list[tuple[int, int, int]]) -> None:
    counts = {n * 3 * HOUR: {"good": good, "bad": bad} for n, good, bad in rows}
    chart = bars(timespan(0, 7 * DAY), counts, NAMES)
    assert sum(bar.total for bar in chart.bars) == sum(sum(by_name.values()) for by_name in counts.values())
    for bar in chart.bars:
        assert 0 <= bar.x <= bar.x + bar.width <= WIDTH
        assert [part.name for part in bar.parts] == [name for name in NAMES if bar.counts[name]]
        below = HEIGHT
        for part in bar.parts:
            assert part.height > 0
            # A part of minimum height may reach the top of the chart and overlap the part below.
            assert part.y + part.height == pytest.approx(below, abs=0.02) or part.y == 0
            assert 0 <= part.y <= HEIGHT
            below = part.y


def test_a_small_count_has_a_visible_part() -> None:
    chart = bars(timespan(0, 7 * DAY), {0: {"good": 1_000_000, "bad": 1}}, NAMES)
    assert all(part.height >= 0.8 for part in chart.bars[0].parts)


def test_a_chart_without_counts_has_marks() -> None:
    chart = bars(timespan(0, 7 * DAY), {}, NAMES)
    assert chart.top == 1
    assert [tick.text for tick in chart.ticks] == ["Thu 01", "Fri 02", "Sat 03", "Sun 04", "Mon 05", "Tue 06", "Wed 07"]


@given(
    st.dictionaries(st.integers(0, 1000).map(lambda n: n * HOUR), st.fixed_dictionaries({"good": st.integers(0, 9)}))
)
def test_larger_bars_have_the_same_sum(counts: dict[int, dict[str, int]]) -> None:
    wide = rebinned(counts, DAY)
    assert all(at % DAY == 0 for at in wide)
    assert sum(by["good"] for by in wide.values()) == sum(by["good"] for by in counts.values())


def test_counts_are_grouped() -> None:
    rows = [(0, "Delivered", 2), (0, "Opened", 3), (HOUR, "Bounced", 1)]
    group_of = {"Delivered": "good", "Opened": "good", "Bounced": "bad"}
    assert grouped(rows, group_of) == {0: {"good": 5}, HOUR: {"bad": 1}}

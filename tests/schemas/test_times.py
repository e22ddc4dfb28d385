"""Times: all supported formats give whole microseconds, and no time is made up for invalid ones."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.decoding.times import DAY_US, YEAR_2009_US, epoch_us, occurred_us, rfc3339, rfc3339_us

NOV_24_US = 1_795_512_600_000_000  # 2026-11-24T09:30:00Z


@pytest.mark.parametrize(
    "value",
    [
        1795512600,
        1795512600000,
        1795512600000000,
        "1795512600",
        " 1795512600 ",
        "1795512600000",
        1795512600.0,
        "1795512600.0",
    ],
)
def test_seconds_milliseconds_and_texts_of_them_give_the_same_time(value: object) -> None:
    assert epoch_us(value) == NOV_24_US


def test_a_fraction_of_a_second_is_kept() -> None:
    assert epoch_us(1795512600.25) == NOV_24_US + 250_000


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        False,
        "",
        "soon",
        "2026-11-24",
        0,
        "0",
        -1,
        float("nan"),
        float("inf"),
        "nan",
        "inf",
        10**17,
        "9" * 5000,
    ]
    + [[1795512600], {"seconds": 1795512600}],
    ids=repr,
)
def test_a_value_that_is_not_a_time_is_none(value: object) -> None:
    assert epoch_us(value) is None


@given(st.integers(1, 10**11 - 1))
def test_seconds_and_milliseconds_agree_where_they_are_unambiguous(seconds: int) -> None:
    assert epoch_us(seconds) == epoch_us(str(seconds)) == seconds * 1_000_000
    if seconds >= 10**8:
        assert epoch_us(seconds * 1000) == epoch_us(seconds)


@given(st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.integers()))
def test_epoch_us_takes_anything(value: object) -> None:
    us = epoch_us(value)
    assert us is None or us >= 0


@pytest.mark.parametrize(
    ("text", "us"),
    [
        pytest.param("2026-11-24T09:30:00Z", NOV_24_US, id="seconds"),
        pytest.param("2026-11-24t09:30:00z", NOV_24_US, id="lower case"),
        pytest.param("2026-11-24 09:30:00Z", NOV_24_US, id="a space for the T"),
        pytest.param("2026-11-24T09:30:00.123456Z", NOV_24_US + 123_456, id="microseconds"),
        pytest.param("2026-11-24T09:30:00.1234569Z", NOV_24_US + 123_456, id="Postmark's seven digits are cut"),
        pytest.param("2026-11-24T05:30:00.5000000-04:00", NOV_24_US + 500_000, id="an offset to the west"),
        pytest.param("2026-11-24T15:00:00+05:30", NOV_24_US, id="an offset to the east"),
        pytest.param("2026-11-25T09:29:00+23:59", NOV_24_US, id="the largest offset"),
        pytest.param("2016-12-31T23:59:60Z", 1_483_228_800_000_000, id="a leap second is the next second"),
        pytest.param("1970-01-01T00:00:00Z", 0, id="1970"),
    ],
)
def test_rfc3339_us(text: str, us: int) -> None:
    assert rfc3339_us(text) == us


@pytest.mark.parametrize(
    "text",
    ["", "now", "2026-11-24", "2026-11-24T09:30:00", "2026-02-30T00:00:00Z", "2026-11-24T25:00:00Z"]
    + [
        "2026-11-24T09:30:00+24:00",
        "2026-11-24T09:30:00-23:60",
        "2026-11-24T09:30:00+99:99",
        "2026-11-24T09:30:00+5:30",
    ]
    + ["2026-11-24T09:30:61Z", "0000-01-01T00:00:00Z", "1969-12-31T23:59:59Z", "٢٠٢٦-11-24T09:30:00Z"],
)
def test_a_text_that_is_not_an_rfc3339_time_is_none(text: str) -> None:
    assert rfc3339_us(text) is None


@given(st.integers(0, 253_402_300_799_999_999))
def test_encoding_and_decoding_a_time_is_the_identity(us: int) -> None:
    assert rfc3339_us(rfc3339(us)) == us


@given(st.datetimes(min_value=datetime(1970, 1, 2), timezones=st.just(UTC)))  # noqa: DTZ001 - Hypothesis adds the zone
def test_rfc3339_us_agrees_with_datetime(at: datetime) -> None:
    assert rfc3339_us(at.isoformat()) == (at - datetime(1970, 1, 1, tzinfo=UTC)) // (at.resolution)


@given(st.from_regex(r"[0-9]{4}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-6][0-9]:[0-6][0-9]\.[0-9]{6}Z", fullmatch=True))
def test_the_fast_path_for_our_own_format_agrees_with_the_regular_expression(text: str) -> None:
    assert rfc3339_us(text) == rfc3339_us(text.replace("Z", "+00:00"))


@given(st.lists(st.tuples(st.integers(0, 25), st.sampled_from("0123456789-:.TtWw+ ,/\u0663")), max_size=3))
def test_changed_times_of_our_own_format_are_read_as_any_other(changes: list[tuple[int, str]]) -> None:
    text = list("2026-11-29T10:20:30.123456")
    for at, character in changes:
        text[at] = character
    assert rfc3339_us("".join(text) + "Z") == rfc3339_us("".join(text) + "+00:00")


@given(st.text(max_size=40))
def test_rfc3339_us_takes_any_text(text: str) -> None:
    us = rfc3339_us(text)
    assert us is None or us >= 0


@pytest.mark.parametrize(
    ("said", "taken"),
    [
        pytest.param(NOV_24_US - DAY_US, True, id="yesterday"),
        pytest.param(NOV_24_US + DAY_US, True, id="a day ahead: a clock may be wrong"),
        pytest.param(NOV_24_US + DAY_US + 1, False, id="more than a day ahead"),
        pytest.param(YEAR_2009_US, True, id="2009"),
        pytest.param(YEAR_2009_US - 1, False, id="before 2009"),
        pytest.param(None, False, id="none"),
    ],
)
def test_an_implausible_time_is_not_used(said: int | None, taken: bool) -> None:
    assert occurred_us(said, received_us=NOV_24_US) == (said if taken else None)

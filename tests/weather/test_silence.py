"""Who is silent, and on whose side: cases as they occur, and properties of any input."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from projections.weather.silence import (
    ANY_TYPE,
    MIN_EXPECTED,
    MIN_SECONDS,
    MINUTE_US,
    NEXT_STEPS,
    Cause,
    Evidence,
    Heard,
    Likely,
    Silence,
    judge,
)
from schemas.decoding.times import SECOND_US

NOW: Final = 29_666_666
"""The minute of the judgement."""
NOW_US: Final = NOW * MINUTE_US + 30 * SECOND_US
NOTHING_WRONG: Final = Evidence(unread=0, letters=0, refused=0)


def flow(provider: str, kind: str, *, usual: int = 1_000, each_minute: int = 10, until: int = 0) -> Heard:
    """Events of every minute of the last hour, up to `until` minutes ago."""
    minutes = {NOW - ago: each_minute for ago in range(until, 60)}
    return Heard(provider, kind, (NOW - until) * MINUTE_US + SECOND_US, usual, minutes)


def provider(name: str, **until: int) -> list[Heard]:
    """A provider with the usual types, each heard up to so many minutes ago; `all` is for those not named."""
    kinds = ("dispatched", "processed", "delivered", "opened")
    return [
        flow(name, kind, until=until.get(kind, 0 if kind == "dispatched" else until.get("all", 0))) for kind in kinds
    ]


def judged(*heard: list[Heard], **evidence: Evidence) -> list[Silence]:
    flat = [one for some in heard for one in some]
    known = {one.provider: NOTHING_WRONG for one in flat} | evidence
    return judge(flat, NOW_US, known)


def test_delivered_that_stops_while_processed_goes_on_is_their_outage() -> None:
    [found] = judged(provider("sendgrid", delivered=9), provider("twilio"))
    assert (found.provider, found.type, found.goes_on) == ("sendgrid", "delivered", "processed")
    assert (found.likely, found.cause) == (Likely.PROVIDER, Cause.PROVIDER)
    assert found.seconds == 9 * 60 + 29
    assert found.expected == found.went_on == 30  # without the last five minutes, and those that are not whole
    assert "other events of sendgrid arrive" in found.because


@dataclass(frozen=True)
class Case:
    heard: list[Heard]
    evidence: Mapping[str, Evidence]
    cause: Cause
    kind: str = ANY_TYPE


SILENT: Final = [*provider("sendgrid", all=10), *provider("twilio")]
STOPPED: Final = [*provider("sendgrid", delivered=10), *provider("twilio")]


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(Case(SILENT, {}, Cause.PROVIDER), id="others are heard, and nothing is wrong here"),
        pytest.param(Case(SILENT, {"sendgrid": Evidence(1, 0, 0)}, Cause.UNREAD), id="the ledger has not read them"),
        pytest.param(Case(SILENT, {"sendgrid": Evidence(0, 3, 0)}, Cause.LETTERS), id="they became dead letters"),
        pytest.param(Case(SILENT, {"sendgrid": Evidence(0, 0, 3)}, Cause.REFUSED), id="the gateway refuses them"),
        pytest.param(Case(SILENT, {"sendgrid": Evidence(0, 2, 2)}, Cause.PROVIDER), id="a few happen by themselves"),
        pytest.param(Case(SILENT, {"twilio": Evidence(9, 9, 9)}, Cause.PROVIDER), id="evidence about another provider"),
        pytest.param(Case(SILENT, {"sendgrid": Evidence(0, None, 0)}, Cause.NOT_KNOWN), id="Kafka does not answer"),
        pytest.param(Case(SILENT, {"sendgrid": Evidence(None, None, 5)}, Cause.REFUSED), id="one proof is enough"),
        pytest.param(
            Case([*provider("sendgrid", all=10), *provider("twilio", all=9)], {}, Cause.ALL_SILENT),
            id="nobody is heard",
        ),
        pytest.param(Case(provider("sendgrid", all=10), {}, Cause.NOT_COMPARABLE), id="there is no other provider"),
        pytest.param(
            Case(
                [*provider("sendgrid", all=10), *(one._replace(usual=3) for one in provider("twilio"))],
                {},
                Cause.NOT_COMPARABLE,
            ),
            id="the other provider is hardly used",
        ),
        pytest.param(
            Case(STOPPED, {"sendgrid": Evidence(50, 0, 0)}, Cause.PROVIDER, "delivered"), id="lag is of all types"
        ),
        pytest.param(
            Case(STOPPED, {"sendgrid": Evidence(0, 7, 0)}, Cause.LETTERS, "delivered"), id="one type is parked"
        ),
        pytest.param(
            Case([*STOPPED, flow("sendgrid", "unknown", usual=5)], {}, Cause.UNKNOWN_TYPES, "delivered"),
            id="the type was renamed",
        ),
        pytest.param(
            Case([*STOPPED, flow("sendgrid", "unknown")], {}, Cause.PROVIDER, "delivered"), id="unknown types are usual"
        ),
    ],
)
def test_on_whose_side_it_is(case: Case) -> None:
    known = dict.fromkeys(("sendgrid", "twilio"), NOTHING_WRONG) | dict(case.evidence)
    found = [one for one in judge(case.heard, NOW_US, known) if one.provider == "sendgrid"]
    assert [(one.type, one.cause) for one in found] == [(case.kind, case.cause)]
    sides = {Cause.PROVIDER: Likely.PROVIDER, Cause.NOT_KNOWN: Likely.UNCLEAR, Cause.NOT_COMPARABLE: Likely.UNCLEAR}
    assert found[0].likely == sides.get(case.cause, Likely.SENDLEDGER)
    assert found[0].because


BURST: Final = [Heard("sendgrid", "dispatched", NOW_US, 1_000, {NOW - ago: 500 for ago in range(5)})]


@pytest.mark.parametrize(
    "heard",
    [
        pytest.param(provider("sendgrid"), id="all goes on"),
        pytest.param(provider("sendgrid", delivered=6), id="for hardly more than five minutes"),
        pytest.param([*BURST, *provider("sendgrid", all=59)[1:]], id="a burst that began just now"),
        pytest.param(provider("sendgrid", dispatched=10, all=10), id="nothing was handed over either"),
        pytest.param(provider("sendgrid", opened=50), id="nobody opens at night"),
        pytest.param([flow("sendgrid", "dispatched", each_minute=1), *provider("sendgrid", all=9)[1:]], id="too few"),
        pytest.param(
            [flow("twilio", "dispatched", usual=50, each_minute=1), flow("twilio", "delivered", until=9)],
            id="many of them, of few that go before",
        ),
        pytest.param([flow("sendgrid", "delivered", until=10)], id="nothing is known about what goes before"),
        pytest.param([flow("sendgrid", "dispatched")], id="it never posted anything"),
        pytest.param([], id="nothing at all"),
    ],
)
def test_what_is_no_silence(heard: list[Heard]) -> None:
    assert judged(heard) == []


POSTMARK: Final = ("dispatched", "delivered", "opened")


def test_postmark_has_no_processed_so_what_was_handed_over_counts() -> None:
    [found] = judged(
        [flow("postmark", "dispatched"), flow("postmark", "delivered", until=9), flow("postmark", "opened")]
    )
    assert (found.type, found.goes_on) == ("delivered", "dispatched")


def test_of_two_types_that_stop_both_are_named() -> None:
    found = judged(provider("sendgrid", processed=10, delivered=10), provider("twilio"))
    assert [one.type for one in found] == ["processed"]  # delivered has nothing that goes on before it
    found = judged(provider("twilio", processed=10), provider("sendgrid", delivered=10))
    assert [(one.provider, one.type) for one in found] == [("sendgrid", "delivered"), ("twilio", "processed")]


def test_every_cause_has_a_next_step() -> None:
    assert set(NEXT_STEPS) == set(Cause)


_types = st.sampled_from(["dispatched", "processed", "sent", "delivered", "opened", "bounced", "unknown"])
_names = st.sampled_from(["sendgrid", "twilio", "postmark", "<script>"])


@st.composite
def heards(draw: st.DrawFn) -> list[Heard]:
    """What may be heard: of each provider and type once."""
    keys = draw(st.lists(st.tuples(_names, _types), unique=True, max_size=12))
    found = []
    for name, kind in keys:
        minutes = draw(st.dictionaries(st.integers(NOW - 60, NOW), st.integers(1, 50), max_size=60))
        last = max(minutes, default=NOW - draw(st.integers(61, 1400)))
        found.append(Heard(name, kind, last * MINUTE_US, draw(st.sampled_from([0, 5, 20, 500, 5_000])), minutes))
    return found


_counts = st.one_of(st.none(), st.integers(0, 9))
_evidence = st.dictionaries(_names, st.builds(Evidence, _counts, _counts, _counts))


@given(heards(), _evidence, st.randoms(use_true_random=False))
def test_the_order_does_not_matter(heard: list[Heard], evidence: dict[str, Evidence], chance: Any) -> None:
    shuffled = [*heard]
    chance.shuffle(shuffled)
    assert judge(shuffled, NOW_US, evidence) == judge(heard, NOW_US, evidence)


@given(heards(), _evidence)
def test_a_silence_is_long_and_something_goes_on_without_it(heard: list[Heard], evidence: dict[str, Evidence]) -> None:
    for found in judge(heard, NOW_US, evidence):
        assert found.seconds >= MIN_SECONDS
        assert found.expected >= MIN_EXPECTED
        assert found.went_on >= MIN_EXPECTED
        of_type = [o for o in heard if o.provider == found.provider and found.type in (ANY_TYPE, o.type)]
        assert max(o.last_us for o in of_type if o.type != "dispatched") == found.since_us
        [cause] = [o for o in heard if (o.provider, o.type) == (found.provider, found.goes_on)]
        assert cause.last_us > found.since_us


@given(heards(), _evidence)
def test_no_provider_is_blamed_against_evidence_or_without_it(
    heard: list[Heard], evidence: dict[str, Evidence]
) -> None:
    for found in judge(heard, NOW_US, evidence):
        known = evidence.get(found.provider, Evidence())
        if found.likely is Likely.PROVIDER:
            assert None not in known
            assert (known.letters or 0) < 3
            assert (known.refused or 0) < 3
            assert found.type != ANY_TYPE or not known.unread


@given(heards(), _evidence)
def test_what_was_just_heard_of_is_not_silent(heard: list[Heard], evidence: dict[str, Evidence]) -> None:
    now = [one._replace(last_us=NOW_US) for one in heard]
    assert judge(now, NOW_US, evidence) == []


@given(heards(), _evidence, st.integers(2, 9))
def test_a_provider_does_not_depend_on_the_volume_of_others(
    heard: list[Heard], evidence: dict[str, Evidence], times: int
) -> None:
    """More events of another provider change no expectation; whether it is heard of does not change."""
    louder = [
        one if one.provider == "sendgrid" else one._replace(minutes={m: n * times for m, n in one.minutes.items()})
        for one in heard
    ]
    of_sendgrid = [one for one in judge(heard, NOW_US, evidence) if one.provider == "sendgrid"]
    assert [one for one in judge(louder, NOW_US, evidence) if one.provider == "sendgrid"] == of_sendgrid


@given(heards(), _evidence, st.integers(2, 9))
def test_more_that_goes_on_never_ends_a_silence(heard: list[Heard], evidence: dict[str, Evidence], times: int) -> None:
    more = [
        one._replace(minutes={m: n * times for m, n in one.minutes.items()}) if one.type == "dispatched" else one
        for one in heard
    ]
    before = {(one.provider, one.type) for one in judge(heard, NOW_US, evidence)}
    after = {(one.provider, one.type) for one in judge(more, NOW_US, evidence)}
    whole = {name for name, kind in after if kind == ANY_TYPE}
    assert {(name, kind) for name, kind in before if name not in whole} <= after
    assert {name for name, kind in before if kind == ANY_TYPE} <= whole

"""What the recipient does not want: whose mail or texts, and what lifts which wish."""

import pytest

from projections.gate.evidence import Evidence, Kind
from tests.projections.gate.building import a_release, day, seen, seen_as

ACCOUNT = seen(Kind.UNSUBSCRIBED, 1, scope="acme")
GROUP = seen(Kind.UNSUBSCRIBED, 1, scope="acme", group="12", id="g")
STREAM = seen(Kind.UNSUBSCRIBED, 1, scope="acme", group="broadcast", list="1/broadcast", id="s")
STOP = seen(Kind.OPTED_OUT, 1, senders=("+1555", "MG1"))
NUMBER, SERVICE = ("*", "", "+1555"), ("*", "", "MG1")


def wishes(*evidence: Evidence) -> list[tuple[str, str, str]]:
    """Scope, group and sender of each opt-out in force."""
    return [out[:3] for out in seen_as(*evidence).opt_outs]


@pytest.mark.parametrize(
    ("out", "reason", "left"),
    [
        pytest.param(ACCOUNT, "unsubscribed", ("acme", "", ""), id="of an account"),
        pytest.param(GROUP, "group_unsubscribed", ("acme", "12", ""), id="of a group"),
        pytest.param(STREAM, "group_unsubscribed", ("acme", "broadcast", ""), id="of a stream"),
        pytest.param(STOP._replace(senders=()), "sms_opt_out", ("*", "", ""), id="of whatever sent it"),
    ],
)
def test_an_opt_out_says_of_what_it_is(out: Evidence, reason: str, left: tuple[str, str, str]) -> None:
    (found,) = seen_as(out).opt_outs
    assert found == (*left, reason, day(1), out.id)


def test_a_stop_is_for_the_number_and_for_the_service() -> None:
    assert wishes(STOP) == [NUMBER, SERVICE]


@pytest.mark.parametrize(
    ("lift", "of", "left"),
    [
        pytest.param(seen(Kind.RESUBSCRIBED, 2, scope="acme", group="12"), GROUP, [], id="its own group"),
        pytest.param(seen(Kind.RESUBSCRIBED, 2, scope="acme", group="13"), GROUP, ["acme"], id="another group"),
        pytest.param(seen(Kind.RESUBSCRIBED, 2, scope="bold", group="12"), GROUP, ["acme"], id="another account's"),
        pytest.param(seen(Kind.RESUBSCRIBED, 1, scope="acme", group="12"), GROUP, ["acme"], id="of the same moment"),
        pytest.param(seen(Kind.RESUBSCRIBED, 2, scope="acme", group="12"), ACCOUNT, ["acme"], id="never the account's"),
        pytest.param(
            seen(Kind.RESUBSCRIBED, 2, scope="acme", group="broadcast"), STREAM, [], id="the stream as a group"
        ),
        pytest.param(seen(Kind.UNLISTED, 2, list="1/broadcast"), STREAM, [], id="its stream, whoever's it is"),
        pytest.param(seen(Kind.UNLISTED, 2, list="2/broadcast"), STREAM, ["acme"], id="the same stream elsewhere"),
        pytest.param(seen(Kind.UNLISTED, 1, list="1/broadcast"), STREAM, ["acme"], id="a list at the same moment"),
        pytest.param(seen(Kind.UNLISTED, 2, list="1/12"), GROUP, ["acme"], id="a list is no group"),
        pytest.param(seen(Kind.OPT_IN, 2, scope="acme"), GROUP, [], id="a command for all of the scope"),
        pytest.param(seen(Kind.OPT_IN, 1, scope="acme"), GROUP, [], id="a command up to its own time"),
        pytest.param(seen(Kind.OPT_IN, 0, scope="acme"), GROUP, ["acme"], id="a command of before"),
        pytest.param(seen(Kind.OPT_IN, 2, scope="*"), GROUP, ["acme"], id="exactly its scope"),
        pytest.param(seen(Kind.OPT_IN, 2, scope="acme", group="12"), GROUP, [], id="the group that it names"),
        pytest.param(seen(Kind.OPT_IN, 2, scope="acme", group="13"), GROUP, ["acme"], id="another that it names"),
        pytest.param(seen(Kind.OPT_IN, 2, scope="acme", group="12"), ACCOUNT, ["acme"], id="not the account's wish"),
        pytest.param(a_release(2), GROUP, ["acme"], id="a release lifts no wish"),
        pytest.param(a_release(2, "acme"), ACCOUNT, ["acme"], id="not even its own account's"),
        pytest.param(seen(Kind.OPTED_IN, 2), ACCOUNT, ["acme"], id="a START is no mail's"),
    ],
)
def test_what_lifts_an_opt_out(lift: Evidence, of: Evidence, left: list[str]) -> None:
    assert [scope for scope, _, _ in wishes(of, lift)] == left
    assert [scope for scope, _, _ in wishes(lift, of)] == left


@pytest.mark.parametrize(
    ("lift", "left"),
    [
        pytest.param(seen(Kind.OPTED_IN, 2, senders=("+1555", "MG1")), [], id="START to both"),
        pytest.param(seen(Kind.OPTED_IN, 2, senders=("+1555",)), [SERVICE], id="START to the number alone"),
        pytest.param(seen(Kind.OPTED_IN, 2, senders=("+1666",)), [NUMBER, SERVICE], id="START to another"),
        pytest.param(seen(Kind.OPTED_IN, 1, senders=("+1555", "MG1")), [NUMBER, SERVICE], id="at the same moment"),
        pytest.param(seen(Kind.OPTED_IN, 2), [NUMBER, SERVICE], id="START to nobody"),
        pytest.param(seen(Kind.OPTED_IN, 2, senders=("+1 555", "mg1")), [], id="START to both, written otherwise"),
        pytest.param(seen(Kind.OPT_IN, 2, scope="*", senders=("mg1",)), [NUMBER], id="a command in another case"),
        pytest.param(
            seen(Kind.OPT_IN, 2, scope="*", senders=("MG1",)), [NUMBER], id="a command that names the service"
        ),
        pytest.param(
            seen(Kind.OPT_IN, 2, scope="acme", senders=("MG1",)), [NUMBER, SERVICE], id="for one account alone"
        ),
        pytest.param(seen(Kind.OPT_IN, 2, scope="*"), [], id="a command for all"),
    ],
)
def test_what_lifts_a_stop(lift: Evidence, left: list[tuple[str, str, str]]) -> None:
    assert wishes(STOP, lift) == left


NAMELESS = seen(Kind.OPTED_OUT, 1)


@pytest.mark.parametrize(
    ("lift", "left"),
    [
        pytest.param(seen(Kind.OPTED_IN, 2, senders=("+1555",)), [], id="any START"),
        pytest.param(seen(Kind.OPTED_IN, 2), [], id="one that names no sender either"),
        pytest.param(seen(Kind.OPTED_IN, 1, senders=("+1555",)), [("*", "", "")], id="not of the same moment"),
        pytest.param(seen(Kind.OPT_IN, 2, scope="*"), [], id="a command for all"),
        pytest.param(seen(Kind.OPT_IN, 2, scope="*", senders=("+1555",)), [("*", "", "")], id="it names another"),
    ],
)
def test_what_lifts_an_opt_out_that_names_no_sender(lift: Evidence, left: list[tuple[str, str, str]]) -> None:
    assert wishes(NAMELESS, lift) == left


def test_a_sender_is_told_as_it_was_written_first() -> None:
    first = seen(Kind.OPTED_OUT, 1, senders=("+1 555", "MG7F"))
    later = seen(Kind.OPTED_OUT, 2, senders=("+1555", "mg7f"))
    assert wishes(first, later) == wishes(later, first) == [("*", "", "+1 555"), ("*", "", "MG7F")]


def test_since_is_when_the_wish_began_after_it_was_last_lifted() -> None:
    again = (seen(Kind.OPTED_OUT, at, senders=("+1555",)) for at in (4, 5))
    (out,) = seen_as(*again, STOP, seen(Kind.OPTED_IN, 3, senders=("+1555", "MG1"))).opt_outs
    assert (out.sender, out.since_us, out.evidence) == ("+1555", day(4), "opted_out@4/")


def test_a_start_lifts_no_suppression() -> None:
    bounces = [seen(Kind.BOUNCE, at, message=f"m{at}") for at in (1, 2, 3)]
    assert seen_as(*bounces, seen(Kind.OPTED_IN, 9, senders=("+1555",))).scopes[0].suppressed

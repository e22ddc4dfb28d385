"""Opt-outs: what they apply to, and what lifts them."""

import pytest

from projections.suppressions.evidence import Evidence, Kind
from tests.projections.suppressions.building import a_release, an_item, day, snapshot_after

ACCOUNT = an_item(Kind.UNSUBSCRIBED, 1, scope="acme")
GROUP = an_item(Kind.UNSUBSCRIBED, 1, scope="acme", group="12", id="g")
STREAM = an_item(Kind.UNSUBSCRIBED, 1, scope="acme", group="broadcast", list="1/broadcast", id="s")
STOP = an_item(Kind.OPTED_OUT, 1, senders=("+1555", "MG1"))
NUMBER, SERVICE = ("*", "", "+1555"), ("*", "", "MG1")


def opt_outs_after(*evidence: Evidence) -> list[tuple[str, str, str]]:
    """Scope, group and sender of each opt-out in force."""
    return [out[:3] for out in snapshot_after(*evidence).opt_outs]


@pytest.mark.parametrize(
    ("out", "reason", "left"),
    [
        pytest.param(ACCOUNT, "unsubscribed", ("acme", "", ""), id="of an account"),
        pytest.param(GROUP, "group_unsubscribed", ("acme", "12", ""), id="of a group"),
        pytest.param(STREAM, "group_unsubscribed", ("acme", "broadcast", ""), id="of a stream"),
        pytest.param(STOP._replace(senders=()), "sms_opt_out", ("*", "", ""), id="of an unknown sender"),
    ],
)
def test_what_an_opt_out_applies_to(out: Evidence, reason: str, left: tuple[str, str, str]) -> None:
    (found,) = snapshot_after(out).opt_outs
    assert found == (*left, reason, day(1), out.id)


def test_a_stop_opts_out_of_the_number_and_of_the_service() -> None:
    assert opt_outs_after(STOP) == [NUMBER, SERVICE]


@pytest.mark.parametrize(
    ("lift", "of", "left"),
    [
        pytest.param(an_item(Kind.RESUBSCRIBED, 2, scope="acme", group="12"), GROUP, [], id="its own group"),
        pytest.param(an_item(Kind.RESUBSCRIBED, 2, scope="acme", group="13"), GROUP, ["acme"], id="another group"),
        pytest.param(an_item(Kind.RESUBSCRIBED, 2, scope="bold", group="12"), GROUP, ["acme"], id="another account's"),
        pytest.param(an_item(Kind.RESUBSCRIBED, 1, scope="acme", group="12"), GROUP, ["acme"], id="at the same time"),
        pytest.param(
            an_item(Kind.RESUBSCRIBED, 2, scope="acme", group="12"), ACCOUNT, ["acme"], id="never the account's"
        ),
        pytest.param(
            an_item(Kind.RESUBSCRIBED, 2, scope="acme", group="broadcast"), STREAM, [], id="the stream as a group"
        ),
        pytest.param(an_item(Kind.UNLISTED, 2, list="1/broadcast"), STREAM, [], id="its stream, whatever the account"),
        pytest.param(an_item(Kind.UNLISTED, 2, list="2/broadcast"), STREAM, ["acme"], id="the same stream elsewhere"),
        pytest.param(an_item(Kind.UNLISTED, 1, list="1/broadcast"), STREAM, ["acme"], id="a list at the same time"),
        pytest.param(an_item(Kind.UNLISTED, 2, list="1/12"), GROUP, ["acme"], id="a list is no group"),
        pytest.param(an_item(Kind.OPT_IN, 2, scope="acme"), GROUP, [], id="a command for all of the scope"),
        pytest.param(an_item(Kind.OPT_IN, 1, scope="acme"), GROUP, [], id="a command up to its own time"),
        pytest.param(an_item(Kind.OPT_IN, 0, scope="acme"), GROUP, ["acme"], id="a command of before"),
        pytest.param(an_item(Kind.OPT_IN, 2, scope="*"), GROUP, ["acme"], id="exactly its scope"),
        pytest.param(an_item(Kind.OPT_IN, 2, scope="acme", group="12"), GROUP, [], id="the group that it names"),
        pytest.param(an_item(Kind.OPT_IN, 2, scope="acme", group="13"), GROUP, ["acme"], id="another that it names"),
        pytest.param(
            an_item(Kind.OPT_IN, 2, scope="acme", group="12"), ACCOUNT, ["acme"], id="not the account's opt-out"
        ),
        pytest.param(a_release(2), GROUP, ["acme"], id="a release lifts no opt-out"),
        pytest.param(a_release(2, "acme"), ACCOUNT, ["acme"], id="not even its own account's"),
        pytest.param(an_item(Kind.OPTED_IN, 2), ACCOUNT, ["acme"], id="a START lifts no opt-out of email"),
    ],
)
def test_what_lifts_an_opt_out(lift: Evidence, of: Evidence, left: list[str]) -> None:
    assert [scope for scope, _, _ in opt_outs_after(of, lift)] == left
    assert [scope for scope, _, _ in opt_outs_after(lift, of)] == left


@pytest.mark.parametrize(
    ("lift", "left"),
    [
        pytest.param(an_item(Kind.OPTED_IN, 2, senders=("+1555", "MG1")), [], id="START to both"),
        pytest.param(an_item(Kind.OPTED_IN, 2, senders=("+1555",)), [SERVICE], id="START to the number alone"),
        pytest.param(an_item(Kind.OPTED_IN, 2, senders=("+1666",)), [NUMBER, SERVICE], id="START to another"),
        pytest.param(an_item(Kind.OPTED_IN, 1, senders=("+1555", "MG1")), [NUMBER, SERVICE], id="at the same time"),
        pytest.param(an_item(Kind.OPTED_IN, 2), [NUMBER, SERVICE], id="START without a sender"),
        pytest.param(an_item(Kind.OPTED_IN, 2, senders=("+1 555", "mg1")), [], id="START to both, in another spelling"),
        pytest.param(an_item(Kind.OPT_IN, 2, scope="*", senders=("mg1",)), [NUMBER], id="a command in another case"),
        pytest.param(
            an_item(Kind.OPT_IN, 2, scope="*", senders=("MG1",)), [NUMBER], id="a command that names the service"
        ),
        pytest.param(
            an_item(Kind.OPT_IN, 2, scope="acme", senders=("MG1",)), [NUMBER, SERVICE], id="for one account alone"
        ),
        pytest.param(an_item(Kind.OPT_IN, 2, scope="*"), [], id="a command for all"),
    ],
)
def test_what_lifts_a_stop(lift: Evidence, left: list[tuple[str, str, str]]) -> None:
    assert opt_outs_after(STOP, lift) == left


NAMELESS = an_item(Kind.OPTED_OUT, 1)


@pytest.mark.parametrize(
    ("lift", "left"),
    [
        pytest.param(an_item(Kind.OPTED_IN, 2, senders=("+1555",)), [], id="any START"),
        pytest.param(an_item(Kind.OPTED_IN, 2), [], id="one that names no sender either"),
        pytest.param(an_item(Kind.OPTED_IN, 1, senders=("+1555",)), [("*", "", "")], id="not at the same time"),
        pytest.param(an_item(Kind.OPT_IN, 2, scope="*"), [], id="a command for all"),
        pytest.param(an_item(Kind.OPT_IN, 2, scope="*", senders=("+1555",)), [("*", "", "")], id="it names another"),
    ],
)
def test_what_lifts_an_opt_out_that_names_no_sender(lift: Evidence, left: list[tuple[str, str, str]]) -> None:
    assert opt_outs_after(NAMELESS, lift) == left


def test_a_sender_is_published_as_the_first_event_wrote_it() -> None:
    first = an_item(Kind.OPTED_OUT, 1, senders=("+1 555", "MG7F"))
    later = an_item(Kind.OPTED_OUT, 2, senders=("+1555", "mg7f"))
    assert opt_outs_after(first, later) == opt_outs_after(later, first) == [("*", "", "+1 555"), ("*", "", "MG7F")]


def test_since_is_when_the_opt_out_began_after_it_was_last_lifted() -> None:
    again = (an_item(Kind.OPTED_OUT, at, senders=("+1555",)) for at in (4, 5))
    (out,) = snapshot_after(*again, STOP, an_item(Kind.OPTED_IN, 3, senders=("+1555", "MG1"))).opt_outs
    assert (out.sender, out.since_us, out.evidence) == ("+1555", day(4), "opted_out@4/")


def test_a_start_lifts_no_suppression() -> None:
    bounces = [an_item(Kind.BOUNCE, at, message=f"m{at}") for at in (1, 2, 3)]
    assert snapshot_after(*bounces, an_item(Kind.OPTED_IN, 9, senders=("+1555",))).scopes[0].suppressed

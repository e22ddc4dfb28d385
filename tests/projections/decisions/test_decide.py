"""May it be sent? Every outcome and reason, the precedence of any two, and the exact limits."""

from dataclasses import dataclass, field
from itertools import combinations
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from projections.decisions.decide import RULES, Verdict, decide
from projections.decisions.trial import UNUSED, Usage
from projections.suppressions.opt_outs import ActiveOptOut
from projections.suppressions.rules import DEFAULT_RULES, GateRules
from projections.suppressions.state import EMPTY_SNAPSHOT, AddressSnapshot, ScopeSnapshot
from schemas.decoding.addresses import address_key
from schemas.decoding.gate_inputs import Policy, Preference
from schemas.decoding.times import DAY_US
from tests.building import ACCOUNT, NOW_US, a_request
from tests.projections.suppressions.building import a_policy, a_preference, opted_out, suppressed

POLICY_ID: Final = (f"policy:{ACCOUNT}@2026-05-28T20:26:40Z",)
PREFERENCE_ID: Final = (f"preference:{ACCOUNT}/client/c1@2026-05-28T20:26:40Z",)
TRIAL: Final = {"trial_started_us": NOW_US - DAY_US}
SMS: Final = {"channel": "sms", "to": "+1 (415) 555-0123"}


@dataclass(frozen=True)
class Given:
    """What differs from an approved email."""

    request: dict[str, Any] = field(default_factory=dict)
    policy: dict[str, Any] | None = field(default_factory=dict)
    preference: dict[str, Any] | None = None
    address: AddressSnapshot = EMPTY_SNAPSHOT
    usage: Usage = UNUSED
    rules: GateRules = DEFAULT_RULES

    def verdict(self) -> Verdict:
        fields = {"channel": "email", "to": "Ann@Example.com"} | self.request
        request = a_request(**fields, to_key=address_key(fields["to"], fields["channel"]))
        policy = None if self.policy is None else a_policy(**self.policy)
        preference = None if self.preference is None else a_preference(**self.preference)
        return decide(request, policy, preference, self.address, self.usage, rules=self.rules)


CAUSES: Final[dict[str, Given]] = {
    "account_blocked": Given(policy={"blocked_since_us": NOW_US, "blocked_reason": "fraud"}),
    "address_invalid": Given({"to": "nobody"}),
    "template_disabled": Given(policy={"disabled_templates": ("t0", "t1")}),
    "template_declined": Given(preference={"declined_templates": ("t1",)}),
    "unsubscribed": Given({"template_kind": "invitation"}, address=opted_out("unsubscribed")),
    "group_unsubscribed": Given({"unsubscribe_group": "12"}, address=opted_out("group_unsubscribed", group="12")),
    "sms_opt_out": Given(SMS | {"sender": "+1555"}, address=opted_out("sms_opt_out", scope="*", sender="+1555")),
    "invitation_not_opted_in": Given({"template_kind": "invitation"}, {"invitation_opt_in_enabled": True}),
    "complaint": Given(address=suppressed("complaint")),
    "manual": Given(address=suppressed("manual", ACCOUNT)),
    "provider": Given(address=suppressed("provider")),
    "bounces": Given(address=suppressed("bounces")),
    "trial_email_limit": Given(policy=TRIAL | {"trial_email_limit": 5}, usage=Usage(((NOW_US - DAY_US, 5),))),
    "sms_requires_billing": Given(SMS, TRIAL | {"sms_enabled": True}),
    "sms_not_enabled": Given(SMS, TRIAL | {"billing_entered_us": NOW_US}),
    "trial_ended": Given(policy={"trial_started_us": NOW_US - 14 * DAY_US}),
    "no_policy": Given(policy=None, rules=GateRules(refuse_unknown=True)),
}
"""Each refusal with the minimal input that causes it, in order of precedence."""

EVIDENCE: Final[dict[str, tuple[str, ...]]] = {
    "address_invalid": (),
    "template_declined": PREFERENCE_ID,
    **{reason: (f"{reason}-event",) for reason in ("unsubscribed", "group_unsubscribed", "sms_opt_out")},
    **{reason: (f"{reason}-event",) for reason in ("complaint", "manual", "provider", "bounces")},
    "no_policy": (),
}
OUTCOMES: Final = {reason: outcome for outcome, reason, _ in RULES}


def both(one: Given, other: Given) -> Given | None:
    """Both causes at once; None where they exclude each other."""
    policies = [policy for policy in (one.policy, other.policy) if policy]
    if policies and None in (one.policy, other.policy):
        return None  # an unknown account has set nothing
    if all("trial_started_us" in policy for policy in policies) and len(policies) == 2:
        return None  # a trial is in one state
    request = other.request | one.request
    if "sms" in request.values() and any("trial_email_limit" in policy for policy in policies):
        return None  # an SMS is no email
    return Given(
        request,
        None if None in (one.policy, other.policy) else {name: policy[name] for policy in policies for name in policy},
        one.preference or other.preference,
        AddressSnapshot(one.address.scopes + other.address.scopes, one.address.opt_outs + other.address.opt_outs),
        one.usage if one.usage.counts else other.usage,
        GateRules(refuse_unknown=one.rules.refuse_unknown or other.rules.refuse_unknown),
    )


PAIRS: Final = {(a, b): both(CAUSES[a], CAUSES[b]) for a, b in combinations(CAUSES, 2)}
TOGETHER: Final = {pair: given_ for pair, given_ in PAIRS.items() if given_ is not None}
OF_TRIALS: Final = list(CAUSES)[-5:-1]


def test_there_is_a_cause_for_every_rule_in_the_order_of_the_table() -> None:
    assert list(CAUSES) == [reason for _, reason, _ in RULES]


@pytest.mark.parametrize("reason", list(CAUSES))
def test_each_cause_alone_gives_its_reason(reason: str) -> None:
    verdict = CAUSES[reason].verdict()
    assert verdict[:2] == (OUTCOMES[reason], reason)
    assert verdict.evidence == EVIDENCE.get(reason, POLICY_ID)
    assert len(verdict.detail) > 15
    assert verdict.trial_us is None


@pytest.mark.parametrize(("first", "second"), list(TOGETHER), ids=lambda reason: reason)
def test_of_two_causes_the_first_in_the_table_decides(first: str, second: str) -> None:
    assert TOGETHER[first, second].verdict().reason == first


def test_only_causes_that_exclude_each_other_are_not_compared() -> None:
    assert PAIRS.keys() - TOGETHER.keys() == {
        ("sms_opt_out", "trial_email_limit"),
        *combinations(OF_TRIALS, 2),
        *((reason, "no_policy") for reason, given_ in CAUSES.items() if given_.policy),
    }


def test_a_request_that_no_rule_refuses_is_approved() -> None:
    assert Given().verdict()[:2] == ("approved", "ok")
    assert Given(SMS).verdict()[:2] == ("approved", "ok")
    assert Given(policy=None).verdict()[:2] == ("approved", "no_policy")


@pytest.mark.parametrize(
    ("given_", "reason"),
    [
        pytest.param(Given(policy={"blocked_since_us": NOW_US + 1}), "ok", id="blocked from after the request on"),
        pytest.param(Given({"to": "a@b"}), "address_invalid", id="a domain without a dot"),
        pytest.param(Given(SMS | {"to": "0171 555"}), "address_invalid", id="a number without its country"),
        pytest.param(Given(SMS | {"to": "ann@example.com"}), "address_invalid", id="an email to a phone"),
        pytest.param(Given({"to": "+14155550123"}), "address_invalid", id="a phone to an email"),
        pytest.param(Given(SMS | {"to": "WhatsApp:+1 415 555 0123"}), "ok", id="WhatsApp"),
        pytest.param(Given({"to": "jösé@bücher.example"}), "ok", id="an international address"),
        pytest.param(Given(policy={"disabled_templates": ("Reminder",)}), "ok", id="templates by id, not by name"),
        pytest.param(Given(preference={"declined_templates": ("t2",)}), "ok", id="another template declined"),
        pytest.param(Given(address=opted_out("unsubscribed")), "ok", id="unsubscribed, but transactional"),
        pytest.param(
            Given({"template_kind": "marketing"}, address=opted_out("unsubscribed")), "unsubscribed", id="marketing"
        ),
        pytest.param(
            Given({"template_kind": "marketing"}, address=opted_out("unsubscribed", scope="*")),
            "unsubscribed",
            id="unsubscribed from an unknown account",
        ),
        pytest.param(
            Given({"template_kind": "marketing"}, address=opted_out("unsubscribed", scope="bold")),
            "ok",
            id="unsubscribed from another account",
        ),
        pytest.param(
            Given({"unsubscribe_group": "012"}, address=opted_out("group_unsubscribed", group="12")),
            "ok",
            id="groups are compared as text",
        ),
        pytest.param(
            Given({"template_kind": "marketing"}, address=opted_out("group_unsubscribed", group="12")),
            "ok",
            id="a template of no group",
        ),
        pytest.param(
            Given(SMS, address=opted_out("sms_opt_out", scope="*", sender="+1555")), "sms_opt_out", id="from any sender"
        ),
        pytest.param(
            Given(SMS | {"sender": "+1 (666)"}, address=opted_out("sms_opt_out", scope="*", sender="+1555")),
            "ok",
            id="from another sender",
        ),
        pytest.param(
            Given(SMS | {"sender": "+1-555"}, address=opted_out("sms_opt_out", scope="*", sender="+1555")),
            "sms_opt_out",
            id="from the same, spelled otherwise",
        ),
        pytest.param(
            Given(
                SMS | {"sender": "mg" + "0" * 32}, address=opted_out("sms_opt_out", scope="*", sender="MG" + "0" * 32)
            ),
            "sms_opt_out",
            id="through the same service",
        ),
        pytest.param(
            Given(SMS | {"sender": "+1555"}, address=opted_out("sms_opt_out", scope="*")),
            "sms_opt_out",
            id="opted out of an unknown sender",
        ),
        pytest.param(
            Given({"template_kind": "invitation", "recipient_kind": "staff"}, {"invitation_opt_in_enabled": True}),
            "ok",
            id="staff are invited without an opt-in",
        ),
        pytest.param(
            Given({"template_kind": "invitation"}, {"invitation_opt_in_enabled": True}, {"invitation_opted_in": True}),
            "ok",
            id="a client who opted in",
        ),
        pytest.param(
            Given({"template_kind": "invitation"}, {"invitation_opt_in_enabled": True}, {}),
            "invitation_not_opted_in",
            id="a client who did not",
        ),
        pytest.param(Given({"template_kind": "invitation"}), "ok", id="an account that requires no opt-in"),
        pytest.param(Given(address=suppressed("manual", "bold")), "ok", id="suppressed by another account"),
        pytest.param(
            Given(policy=None, address=suppressed("complaint")), "complaint", id="suppressed, account unknown"
        ),
        pytest.param(
            Given(policy=TRIAL | {"trial_email_limit": 5}, usage=Usage(((NOW_US - DAY_US, 4),))),
            "ok",
            id="the last one",
        ),
        pytest.param(
            Given(policy=TRIAL | {"trial_email_limit": 5}, usage=Usage(((NOW_US - 2 * DAY_US, 5),))),
            "ok",
            id="another trial has another count",
        ),
        pytest.param(Given(policy=TRIAL | {"trial_email_limit": 0}), "trial_email_limit", id="a trial of nothing"),
        pytest.param(
            Given(policy=TRIAL | {"trial_email_limit": 0, "billing_entered_us": NOW_US + DAY_US}),
            "ok",
            id="billing lifts the limit, whenever it was entered",
        ),
        pytest.param(
            Given(policy={"trial_started_us": NOW_US - 14 * DAY_US + 1}), "ok", id="the last microsecond of a trial"
        ),
        pytest.param(
            Given(policy={"trial_started_us": NOW_US + DAY_US, "trial_days": 0}), "ok", id="before the trial began"
        ),
        pytest.param(
            Given(policy={"trial_started_us": NOW_US - 14 * DAY_US, "billing_entered_us": NOW_US}), "ok", id="pays now"
        ),
        pytest.param(Given(SMS, {"trial_started_us": NOW_US - 14 * DAY_US}), "trial_ended", id="SMS after the trial"),
        pytest.param(
            Given(SMS, {"trial_started_us": NOW_US - 14 * DAY_US, "billing_entered_us": NOW_US}),
            "ok",
            id="SMS of a paying account",
        ),
        pytest.param(
            Given(SMS, TRIAL | {"billing_entered_us": NOW_US, "sms_enabled": True}), "ok", id="SMS enabled in the trial"
        ),
        pytest.param(Given(SMS, {"sms_enabled": False}), "ok", id="SMS without any trial"),
        pytest.param(
            Given(policy={"trial_started_us": NOW_US, "trial_days": 2**31}), "ok", id="a trial that never ends"
        ),
    ],
)
def test_the_limits_of_each_rule(given_: Given, reason: str) -> None:
    assert given_.verdict().reason == reason


@pytest.mark.parametrize(
    ("given_", "trial_us"),
    [
        pytest.param(Given(policy=TRIAL), NOW_US - DAY_US, id="an email of a trial"),
        pytest.param(Given(policy=TRIAL | {"billing_entered_us": NOW_US}), None, id="with billing"),
        pytest.param(Given(), None, id="of a paying account"),
        pytest.param(Given(policy=None), None, id="of an unknown account"),
        pytest.param(Given(SMS, TRIAL | {"billing_entered_us": 1, "sms_enabled": True}), None, id="an SMS"),
        pytest.param(Given(policy=TRIAL, address=suppressed("manual")), None, id="refused"),
    ],
)
def test_what_uses_the_quota(given_: Given, trial_us: int | None) -> None:
    verdict = given_.verdict()
    assert verdict.trial_us == trial_us
    assert verdict.usage_after(UNUSED) == (Usage() if trial_us is None else Usage(((trial_us, 1),)))


def test_the_detail_is_a_sentence() -> None:
    assert CAUSES["account_blocked"].verdict().detail == "The account is blocked since 2026-05-28: fraud"
    three = AddressSnapshot((ScopeSnapshot("*", True, "bounces", NOW_US, ("a", "b", "c")),), ())
    sentence = "3 messages to this address bounced within 30 days; the last of them on 2026-05-28"
    assert Given(address=three).verdict().detail == sentence


_times = st.one_of(st.none(), st.sampled_from([0, NOW_US - 14 * DAY_US, NOW_US, NOW_US + DAY_US]))
_policies = st.builds(
    a_policy,
    trial_started_us=_times,
    billing_entered_us=_times,
    trial_days=st.sampled_from([0, 14, 2**31]),
    trial_email_limit=st.sampled_from([0, 1, 2**31]),
    sms_enabled=st.booleans(),
    disabled_templates=st.sampled_from([(), ("t1",)]),
    invitation_opt_in_enabled=st.booleans(),
    blocked_since_us=_times,
)
_preferences = st.builds(
    a_preference, declined_templates=st.sampled_from([(), ("t1",)]), invitation_opted_in=st.booleans()
)
_requests = st.builds(
    a_request,
    channel=st.sampled_from(["email", "sms"]),
    to=st.sampled_from(["Ann@Example.com", "+14155550123", "", "\x00", "{day}"]),
    template_kind=st.sampled_from(["transactional", "marketing", "invitation"]),
    template_id=st.sampled_from(["t1", "{x}"]),
    unsubscribe_group=st.sampled_from(["", "12"]),
    sender=st.sampled_from(["", "+1555"]),
    recipient_kind=st.sampled_from(["client", "staff"]),
)
_scopes = st.sampled_from(["*", ACCOUNT, "bold"])
_snapshots = st.builds(
    AddressSnapshot,
    st.lists(
        st.builds(
            ScopeSnapshot,
            _scopes,
            st.booleans(),
            st.sampled_from(["complaint", "manual", "provider", "bounces"]),
            st.just(NOW_US),
            st.just(("e1",)),
        ),
        max_size=3,
    ).map(tuple),
    st.lists(
        st.builds(
            ActiveOptOut,
            _scopes,
            st.sampled_from(["", "12"]),
            st.sampled_from(["", "+1555"]),
            st.sampled_from(["unsubscribed", "group_unsubscribed", "sms_opt_out"]),
            st.just(NOW_US),
            st.just("e1"),
        ),
        max_size=3,
    ).map(tuple),
)


@given(_requests, st.one_of(st.none(), _policies), st.one_of(st.none(), _preferences), _snapshots, st.booleans())
def test_every_request_gets_a_documented_reason(
    request: Any, policy: Policy | None, preference: Preference | None, address: AddressSnapshot, refuse: bool
) -> None:
    verdict = decide(request, policy, preference, address, UNUSED, rules=GateRules(refuse_unknown=refuse))
    refusals = {(outcome, reason) for outcome, reason, _ in RULES}
    assert verdict[:2] in refusals | {("approved", "ok"), ("approved", "no_policy")}
    assert verdict == decide(request, policy, preference, address, UNUSED, rules=GateRules(refuse_unknown=refuse))
    assert verdict.outcome == "approved" or verdict.trial_us is None

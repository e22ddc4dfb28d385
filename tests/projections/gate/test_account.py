"""A message is decided once, the quota is exact, and the latest policy and preference count."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from projections.gate.account import REMEMBERED_BYTES, AccountState, Answer, later
from projections.gate.rows import USAGE
from projections.gate.rules import FORGET_AFTER_DAYS, Rules
from projections.gate.suppression import NOTHING, SuppressionView
from projections.gate.trial import UNUSED
from schemas.facts import Request
from schemas.gate_facts import Policy
from schemas.identity import sent_at_us, uuid7
from schemas.times import DAY_US
from tests.building import MESSAGE, NOW_US, a_request
from tests.projections.gate.building import a_policy, a_preference, closed

RULES = Rules()


def message(number: int, at_us: int = NOW_US) -> str:
    return uuid7(at_us, number.to_bytes(10, "big"))


def decide(state: AccountState, request: Request, address: SuppressionView = NOTHING, at: int = 0) -> Answer:
    return state.decide(request, address, decided_us=NOW_US + at, rules=RULES)


def reason(answer: Answer) -> str:
    return answer.remembered.verdict.reason


def test_a_repeated_request_gets_its_first_decision_word_for_word() -> None:
    state = AccountState()
    first = decide(state, a_request())
    again = decide(state, a_request(), closed("complaint"), at=5)
    assert not first.repeated
    assert again.repeated
    assert again.value == first.value is not None
    assert state.changes.keys() == {f"decision/{MESSAGE}"}


def test_a_repeated_request_with_another_content_is_told_what_was_decided_first() -> None:
    state = AccountState()
    first = decide(state, a_request())
    again = decide(state, a_request(subject="Another", requested_us=NOW_US + 1))
    assert again.value == first.value is not None


def test_of_a_request_too_large_to_be_remembered_only_the_same_one_is_answered_again() -> None:
    state = AccountState()
    large = a_request(subject="x" * REMEMBERED_BYTES)
    first = decide(state, large)
    assert first.value is not None
    assert decide(state, large).value == first.value
    other = decide(state, large._replace(content_hash="another"))
    assert (other.repeated, other.value) == (True, None)
    assert other.remembered.verdict == first.remembered.verdict


def test_the_policy_and_the_preference_of_the_latest_update_count() -> None:
    state = AccountState()
    state.take_policy(a_policy(updated_us=NOW_US + 1, disabled_templates=("t1",)))
    state.take_policy(a_policy(updated_us=NOW_US))
    state.take_preference(a_preference(updated_us=NOW_US + 1, declined_templates=("t2",)))
    state.take_preference(a_preference(updated_us=NOW_US))
    assert reason(decide(state, a_request())) == "template_disabled"
    assert reason(decide(state, a_request(message_id=message(1), template_id="t2"))) == "template_declined"


def test_a_preference_is_its_recipients_alone() -> None:
    state = AccountState()
    state.take_preference(a_preference(declined_templates=("t1",)))
    for number, said in enumerate(({"recipient_id": "c2"}, {"recipient_kind": "staff"})):
        assert reason(decide(state, a_request(message_id=message(number), **said))) == "no_policy"


@given(
    st.lists(
        st.builds(
            a_policy,
            updated_us=st.sampled_from([NOW_US, NOW_US + 1]),
            trial_days=st.integers(0, 2),
            blocked_since_us=st.sampled_from([None, 5]),
        ),
        min_size=1,
    ),
    st.data(),
)
def test_which_policy_counts_does_not_follow_from_the_order(policies: list[Policy], data: st.DataObject) -> None:
    in_force = []
    for order in (policies, data.draw(st.permutations(policies))):
        found = None
        for policy in order:
            found = later(found, policy)
        in_force.append(found)
    assert in_force[0] == in_force[1]


_LIMIT = 4
_TRIALS = [NOW_US - DAY_US, NOW_US - 2 * DAY_US]
_ask = st.tuples(st.just("ask"), st.integers(0, 9))
_steps = st.one_of(
    *(_ask, _ask, _ask),
    st.tuples(st.just("trial"), st.integers(0, 1)),
    st.tuples(st.just("pay"), st.integers(0, 1)),
    st.tuples(st.just("written"), st.just(0)),
    st.tuples(st.just("crash"), st.just(0)),
)


class Worker:
    """Reads the steps of one account. What was not written when it crashes is lost, and read again."""

    def __init__(self) -> None:
        self.state = AccountState()
        self.updates = 0
        self.unwritten: list[tuple[str, int]] = []
        self.batch: list[tuple[int, Answer]] = []
        self.told: list[tuple[int, Answer]] = []

    def step(self, what: str, number: int) -> None:
        if what == "written":
            self.state.settle()
            self.told += self.batch
            self.batch, self.unwritten = [], []
        elif what == "crash":
            again, self.unwritten = self.unwritten, []
            self.state, self.batch = AccountState(self.state.rows), []
            for step in again:
                self.step(*step)
        else:
            self.unwritten.append((what, number))
            self.take(what, number)

    def take(self, what: str, number: int) -> None:
        self.updates += 1
        if what == "ask":
            asked = a_request(message_id=message(number))
            self.batch.append((number, decide(self.state, asked, at=self.updates)))
        else:
            paid = {"billing_entered_us": NOW_US} if what == "pay" else {}
            trial = {"trial_started_us": _TRIALS[number], "trial_email_limit": _LIMIT}
            self.state.take_policy(a_policy(updated_us=NOW_US + self.updates, **trial, **paid))


@given(st.lists(_steps, max_size=60))
def test_the_quota_is_exact_and_a_message_is_decided_once_whatever_crashes(steps: list[tuple[str, int]]) -> None:
    worker = Worker()
    for what, number in [("trial", 0), *steps, ("written", 0)]:
        worker.step(what, number)
    first = dict(reversed(worker.told))
    assert all(answer.value == first[number].value for number, answer in worker.told)
    assert [number for number, answer in worker.told if not answer.repeated] == list(
        dict.fromkeys(number for number, _ in worker.told)
    )
    row = worker.state.rows.get("usage")
    usage = USAGE.decode(row) if row else UNUSED
    for trial_us in _TRIALS:
        used = [n for n, answer in first.items() if answer.remembered.verdict.trial_us == trial_us]
        assert usage.of(trial_us) == len(used) <= _LIMIT


@given(st.lists(st.integers(0, 30), max_size=60), st.integers(0, 10))
def test_of_a_trial_the_first_messages_are_sent_and_the_rest_not(numbers: list[int], limit: int) -> None:
    state = AccountState()
    state.take_policy(a_policy(trial_started_us=NOW_US, trial_email_limit=limit))
    reasons = [reason(decide(state, a_request(message_id=message(n)))) for n in numbers]
    first_seen = list(dict.fromkeys(numbers))
    expected = {n: "ok" if place < limit else "trial_email_limit" for place, n in enumerate(first_seen)}
    assert reasons == [expected[n] for n in numbers]


def test_entering_billing_lifts_the_quota_for_what_is_read_after_it() -> None:
    state = AccountState()
    trial = {"trial_started_us": NOW_US, "trial_email_limit": 1}
    state.take_policy(a_policy(**trial))
    before = [reason(decide(state, a_request(message_id=message(n)))) for n in range(2)]
    state.take_policy(a_policy(**trial, billing_entered_us=NOW_US, updated_us=NOW_US + 1))
    after = [reason(decide(state, a_request(message_id=message(n)))) for n in range(1, 3)]
    assert (before, after) == (["ok", "trial_email_limit"], ["trial_email_limit", "ok"])


def test_what_is_discarded_never_happened() -> None:
    state = AccountState()
    state.take_policy(a_policy(trial_started_us=NOW_US, trial_email_limit=1))
    state.settle()
    assert reason(decide(state, a_request(message_id=message(1)))) == "ok"
    state.discard()
    assert state.changes == {}
    assert reason(decide(state, a_request(message_id=message(2)))) == "ok"


def test_the_rows_are_the_memory() -> None:
    state = AccountState()
    state.take_policy(a_policy(trial_started_us=NOW_US, trial_email_limit=1))
    state.take_preference(a_preference(declined_templates=("t2",)))
    first = decide(state, a_request())
    names = {"policy", "usage", "preference/client/c1", f"decision/{MESSAGE}"}
    assert state.changes.keys() == names
    other = AccountState({name: row for name, row in state.changes.items() if row is not None})
    assert decide(other, a_request()).value == first.value
    assert reason(decide(other, a_request(message_id=message(1)))) == "trial_email_limit"
    assert reason(decide(other, a_request(message_id=message(2), template_id="t2"))) == "template_declined"


def test_what_says_nothing_new_writes_nothing() -> None:
    state = AccountState()
    state.take_policy(a_policy())
    state.settle()
    state.take_policy(a_policy())
    state.take_policy(a_policy(updated_us=NOW_US - 1, trial_days=3))
    assert state.changes == {}


@pytest.mark.parametrize("fresh", [True, False], ids=["as it ran", "restored"])
def test_a_decision_is_remembered_as_long_as_a_request_for_it_is_valid(*, fresh: bool) -> None:
    state = AccountState()
    decide(state, a_request())
    state.settle()
    state = state if fresh else AccountState(state.rows)
    last_valid_us = sent_at_us(MESSAGE) + (RULES.decision_days + FORGET_AFTER_DAYS) * DAY_US
    state.forget(last_valid_us, RULES)
    assert decide(state, a_request()).repeated
    assert state.changes == {}


@pytest.mark.parametrize("fresh", [True, False], ids=["as it ran", "restored"])
def test_older_decisions_are_forgotten_and_younger_ones_are_not(*, fresh: bool) -> None:
    state = AccountState()
    old, young = a_request(), a_request(message_id=message(1, NOW_US + 3 * DAY_US))
    for request in (old, young):
        decide(state, request)
    state.settle()
    state = state if fresh else AccountState(state.rows)
    state.forget(NOW_US + (RULES.decision_days + FORGET_AFTER_DAYS + 1) * DAY_US, RULES)
    assert dict(state.changes) == {f"decision/{MESSAGE}": None}
    state.settle()
    assert state.rows.keys() == {f"decision/{message(1, NOW_US + 3 * DAY_US)}"}
    assert decide(state, young).repeated
    assert not decide(state, old).repeated


def test_what_was_to_be_forgotten_is_so_after_a_discard_too() -> None:
    state = AccountState()
    decide(state, a_request())
    state.settle()
    for _ in range(2):
        state.forget(NOW_US + 40 * DAY_US, RULES)
        assert dict(state.changes) == {f"decision/{MESSAGE}": None}
        state.discard()

"""A message is decided once, the quota is exact, and the latest policy and preference count."""

from collections.abc import Mapping

from hypothesis import given
from hypothesis import strategies as st

from projections.decisions.account import (
    MAX_FORGOTTEN_PER_RUN,
    MAX_REMEMBERED_BYTES,
    Accounts,
    DecisionResult,
    decision_key,
    in_force,
)
from projections.decisions.rows import RUNS, USAGE, Runs
from projections.decisions.trial import UNUSED
from projections.suppressions.rules import FORGET_AFTER_DAYS, GateRules
from projections.suppressions.state import EMPTY_SNAPSHOT, AddressSnapshot
from schemas.decoding.gate_inputs import Policy
from schemas.decoding.ids import sent_at_us, uuid7
from schemas.decoding.sends import Request
from schemas.decoding.times import DAY_US
from tests.building import ACCOUNT, MESSAGE, NOW_US, a_request
from tests.projections.suppressions.building import a_policy, a_preference, suppressed

RULES = GateRules()
FORGOTTEN_US = NOW_US + (RULES.decision_days + FORGET_AFTER_DAYS) * DAY_US
"""The last time of a record at which a decision about a message of NOW_US is remembered."""


def message(number: int, at_us: int = NOW_US) -> str:
    return uuid7(at_us, number.to_bytes(10, "big"))


def decide(
    accounts: Accounts, request: Request, address: AddressSnapshot = EMPTY_SNAPSHOT, at: int = 0
) -> DecisionResult:
    return accounts.decide(request, address, decided_us=NOW_US + at, rules=RULES)


def written(rows: Mapping[bytes, bytes], accounts: Accounts) -> dict[bytes, bytes]:
    """The rows once the changes of a run are written."""
    after = {**rows, **accounts.changes}
    return {key: row for key, row in after.items() if row is not None}


def decisions(rows: Mapping[bytes, bytes]) -> list[bytes]:
    return [key for key in rows if b"#" in key]


def reason(result: DecisionResult) -> str:
    return result.remembered.verdict.reason


def test_a_repeated_request_gets_the_identical_first_decision() -> None:
    accounts = Accounts({})
    first = decide(accounts, a_request())
    again = decide(accounts, a_request(), suppressed("complaint"), at=5)
    assert not first.repeated
    assert again.repeated
    assert again.value == first.value is not None
    assert accounts.changes.keys() == {decision_key(ACCOUNT, MESSAGE)}


def test_a_repeated_request_with_other_content_gets_the_first_decision() -> None:
    accounts = Accounts({})
    first = decide(accounts, a_request())
    again = decide(accounts, a_request(subject="Another", requested_us=NOW_US + 1))
    assert again.value == first.value is not None


def test_a_request_too_large_to_be_remembered_is_decided_again_only_with_the_same_content() -> None:
    accounts = Accounts({})
    large = a_request(subject="x" * MAX_REMEMBERED_BYTES)
    first = decide(accounts, large)
    assert first.value is not None
    assert decide(accounts, large).value == first.value
    other = decide(accounts, large._replace(content_hash="another"))
    assert (other.repeated, other.value) == (True, None)
    assert other.remembered.verdict == first.remembered.verdict


def test_the_policy_and_the_preference_with_the_latest_update_apply() -> None:
    accounts = Accounts({})
    accounts.take_policy(a_policy(updated_us=NOW_US + 1, disabled_templates=("t1",)))
    accounts.take_policy(a_policy(updated_us=NOW_US))
    accounts.take_preference(a_preference(updated_us=NOW_US + 1, declined_templates=("t2",)))
    accounts.take_preference(a_preference(updated_us=NOW_US))
    assert reason(decide(accounts, a_request())) == "template_disabled"
    assert reason(decide(accounts, a_request(message_id=message(1), template_id="t2"))) == "template_declined"


def test_a_preference_applies_to_its_recipient_only() -> None:
    accounts = Accounts({})
    accounts.take_preference(a_preference(declined_templates=("t1",)))
    for number, fields in enumerate(({"recipient_id": "c2"}, {"recipient_kind": "staff"})):
        assert reason(decide(accounts, a_request(message_id=message(number), **fields))) == "no_policy"


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
def test_which_policy_is_in_force_does_not_depend_on_the_order(policies: list[Policy], data: st.DataObject) -> None:
    results = []
    for order in (policies, data.draw(st.permutations(policies))):
        found = None
        for policy in order:
            found = in_force(found, policy)
        results.append(found)
    assert results[0] == results[1]


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
    """Takes the steps of one account, in runs. After a crash what was not written is lost, and read again."""

    def __init__(self) -> None:
        self.rows: dict[bytes, bytes] = {}
        self.accounts = Accounts(self.rows)
        self.updates = 0
        self.unwritten: list[tuple[str, int]] = []
        self.run: list[tuple[int, DecisionResult]] = []
        self.results: list[tuple[int, DecisionResult]] = []

    def step(self, what: str, number: int) -> None:
        if what == "written":
            self.accounts.end_run(NOW_US, RULES)
            self.rows = written(self.rows, self.accounts)
            self.results += self.run
            self._begin()
            self.unwritten = []
        elif what == "crash":
            again, self.unwritten = self.unwritten, []
            self._begin()
            for step in again:
                self.step(*step)
        else:
            self.unwritten.append((what, number))
            self.take(what, number)

    def _begin(self) -> None:
        self.accounts, self.run = Accounts(self.rows), []

    def take(self, what: str, number: int) -> None:
        self.updates += 1
        if what == "ask":
            request = a_request(message_id=message(number))
            self.run.append((number, decide(self.accounts, request, at=self.updates)))
        else:
            paid = {"billing_entered_us": NOW_US} if what == "pay" else {}
            trial = {"trial_started_us": _TRIALS[number], "trial_email_limit": _LIMIT}
            self.accounts.take_policy(a_policy(updated_us=NOW_US + self.updates, **trial, **paid))


@given(st.lists(_steps, max_size=60))
def test_the_quota_is_exact_and_a_message_is_decided_once_across_crashes(steps: list[tuple[str, int]]) -> None:
    worker = Worker()
    for what, number in [("trial", 0), *steps, ("written", 0)]:
        worker.step(what, number)
    first = dict(reversed(worker.results))
    assert all(result.value == first[number].value for number, result in worker.results)
    assert [number for number, result in worker.results if not result.repeated] == list(
        dict.fromkeys(number for number, _ in worker.results)
    )
    row = worker.rows.get(b"acme\x00usage")
    usage = USAGE.decode(row) if row else UNUSED
    for trial_us in _TRIALS:
        used = [n for n, result in first.items() if result.remembered.verdict.trial_us == trial_us]
        assert usage.of(trial_us) == len(used) <= _LIMIT


@given(st.lists(st.integers(0, 30), max_size=60), st.integers(0, 10))
def test_a_trial_approves_the_first_messages_and_refuses_the_rest(numbers: list[int], limit: int) -> None:
    accounts = Accounts({})
    accounts.take_policy(a_policy(trial_started_us=NOW_US, trial_email_limit=limit))
    reasons = [reason(decide(accounts, a_request(message_id=message(n)))) for n in numbers]
    first_seen = list(dict.fromkeys(numbers))
    expected = {n: "ok" if place < limit else "trial_email_limit" for place, n in enumerate(first_seen)}
    assert reasons == [expected[n] for n in numbers]


def test_billing_lifts_the_quota_for_requests_that_are_read_after_it() -> None:
    accounts = Accounts({})
    trial = {"trial_started_us": NOW_US, "trial_email_limit": 1}
    accounts.take_policy(a_policy(**trial))
    before = [reason(decide(accounts, a_request(message_id=message(n)))) for n in range(2)]
    accounts.take_policy(a_policy(**trial, billing_entered_us=NOW_US, updated_us=NOW_US + 1))
    after = [reason(decide(accounts, a_request(message_id=message(n)))) for n in range(1, 3)]
    assert (before, after) == (["ok", "trial_email_limit"], ["trial_email_limit", "ok"])


def test_the_rows_hold_the_whole_state() -> None:
    accounts = Accounts({})
    accounts.take_policy(a_policy(trial_started_us=NOW_US, trial_email_limit=1))
    accounts.take_preference(a_preference(declined_templates=("t2",)))
    first = decide(accounts, a_request())
    names = {b"acme\x00policy", b"acme\x00usage", b"acme\x00preference/client/c1", decision_key(ACCOUNT, MESSAGE)}
    assert accounts.changes.keys() == names
    other = Accounts(written({}, accounts))
    assert decide(other, a_request()).value == first.value
    assert reason(decide(other, a_request(message_id=message(1)))) == "trial_email_limit"
    assert reason(decide(other, a_request(message_id=message(2), template_id="t2"))) == "template_declined"


def test_accounts_of_one_partition_are_independent() -> None:
    accounts = Accounts({})
    accounts.take_policy(a_policy(trial_started_us=NOW_US, trial_email_limit=1))
    accounts.take_policy(a_policy(account_id="bold", trial_started_us=NOW_US, trial_email_limit=1))
    assert reason(decide(accounts, a_request())) == "ok"
    assert [reason(decide(accounts, a_request(account_id="bold"))) for _ in range(2)] == ["ok", "ok"]
    assert reason(decide(accounts, a_request(message_id=message(1)))) == "trial_email_limit"


def test_input_without_news_writes_nothing() -> None:
    first = Accounts({})
    first.take_policy(a_policy())
    accounts = Accounts(written({}, first))
    accounts.take_policy(a_policy())
    accounts.take_policy(a_policy(updated_us=NOW_US - 1, trial_days=3))
    accounts.end_run(NOW_US, RULES)
    assert accounts.changes == {}


def one_run(rows: Mapping[bytes, bytes], *requests: Request, record_us: int = NOW_US) -> dict[bytes, bytes]:
    """The rows after a run that decides these requests and forgets expired decisions."""
    accounts = Accounts(rows)
    for request in requests:
        decide(accounts, request)
    accounts.end_run(record_us, RULES)
    return written(rows, accounts)


def test_a_decision_is_remembered_as_long_as_a_request_for_it_is_valid() -> None:
    rows = one_run({}, a_request())
    assert sent_at_us(MESSAGE) == NOW_US
    rows = one_run(rows, record_us=FORGOTTEN_US)
    assert decide(Accounts(rows), a_request()).repeated


def test_older_decisions_are_forgotten_and_younger_ones_are_not() -> None:
    old, young = a_request(), a_request(message_id=message(1, NOW_US + 3 * DAY_US))
    rows = one_run(one_run(one_run({}, old), young), record_us=FORGOTTEN_US + 1)
    assert decisions(rows) == [decision_key(ACCOUNT, young.message_id)]
    assert decide(Accounts(rows), young).repeated
    assert not decide(Accounts(rows), old).repeated


def test_a_forgotten_decision_leaves_no_row() -> None:
    rows: dict[bytes, bytes] = {}
    for number in range(5):
        rows = one_run(rows, a_request(message_id=message(number)), a_request(message_id=message(number + 100)))
    rows = one_run(rows, record_us=FORGOTTEN_US + 1)
    assert [(key, RUNS.decode(row)) for key, row in rows.items()] == [(b"\x00runs", Runs(5, 5))]


def test_a_run_forgets_a_bounded_number_and_later_runs_forget_the_rest() -> None:
    rows: dict[bytes, bytes] = {}
    for start in range(0, 3 * MAX_FORGOTTEN_PER_RUN, 300):
        rows = one_run(rows, *(a_request(message_id=message(start + n)) for n in range(300)))
    known = [len(decisions(rows))]
    while known[-1]:
        rows = one_run(rows, record_us=FORGOTTEN_US + 1)
        known.append(len(decisions(rows)))
    assert known == [3_000, 1_800, 600, 0]


@given(st.lists(st.tuples(st.integers(0, 40), st.lists(st.integers(0, 9), max_size=4)), max_size=25))
def test_runs_remember_exactly_the_decisions_whose_requests_are_still_valid(
    runs: list[tuple[int, list[int]]],
) -> None:
    rows, day, decided = dict[bytes, bytes](), 0, dict[str, int]()
    for days, numbers in runs:
        day += days
        record_us = NOW_US + day * DAY_US
        requests = [a_request(message_id=message(number, record_us)) for number in numbers]
        rows = one_run(dict(sorted(rows.items(), reverse=True)), *requests, record_us=record_us)
        decided |= {request.message_id: record_us for request in requests}
    may_come_again = NOW_US + day * DAY_US - (RULES.decision_days + FORGET_AFTER_DAYS) * DAY_US
    expected = {decision_key(ACCOUNT, i) for i, sent_us in decided.items() if sent_us >= may_come_again}
    assert set(decisions(rows)) == expected

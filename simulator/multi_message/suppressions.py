"""What suppresses an address, and what releases it."""

from functools import partial
from typing import Final

from simulator.durations import DAY, HOUR, MINUTE
from simulator.multi_message.timeline import MultiMessageScenario, MultiMessageTimeline
from simulator.timeline import Timeline

__all__ = ["SCENARIOS"]


def _bounces(t: Timeline, variant: str = "hard", times: int = 1) -> None:
    t.processed()
    for _ in range(times):
        t.bounced(variant)


def _complains(t: Timeline, after_us: int = HOUR, variant: str = "") -> None:
    t.delivered_normally()
    t.wait(after_us, 2 * after_us)
    t.add("complained", variant)


def _listed(t: Timeline, variant: str) -> None:
    t.delivered_normally()
    t.wait(MINUTE, HOUR)
    t.add("listed", variant)


def _three_bounces(m: MultiMessageTimeline, provider: str, variant: str) -> None:
    to = m.new_person("sms" if provider == "twilio" else "email")
    for account in (m.account, m.other, m.account):
        m.request(provider, to, account=account, build=partial(_bounces, variant=variant))
    m.barrier()
    m.request(provider, to, "suppressed", "bounces", evidence=3)
    m.request(provider, to, "suppressed", "bounces", account=m.other, evidence=3)


def _three_bounces_released(m: MultiMessageTimeline) -> None:
    to = m.new_person()
    for _ in range(3):
        m.request("sendgrid", to, build=_bounces)
    m.barrier()
    m.request("sendgrid", to, "suppressed", "bounces", evidence=3)
    m.barrier()
    m.command("release", to)
    m.barrier()
    m.request("postmark", to)
    for _ in range(2):
        m.request("sendgrid", to, build=_bounces)
    m.barrier()
    m.request("postmark", to)  # the release cancels earlier bounces; two are not enough


def _released_with_earlier_time(m: MultiMessageTimeline) -> None:
    # The release has a time before the last bounce, so only one of the three still counts.
    to = m.new_person()
    for _ in range(2):
        m.request("sendgrid", to, build=_bounces)
    m.barrier()
    last = m.request("sendgrid", to, build=_bounces)
    m.barrier()
    m.request("sendgrid", to, "suppressed", "bounces", evidence=3)
    m.barrier()
    m.command("release", to, dated_us=last.at_us)
    m.barrier()
    m.request("postmark", to)


def _suppressed_and_released_at_same_time(m: MultiMessageTimeline) -> None:
    # Of a suppression and a release with the same time the suppression wins, in any order.
    to = m.new_person()
    command = m.command("suppress", to)
    m.barrier()
    m.command("release", to, dated_us=command.at_us)
    m.barrier()
    m.request("sendgrid", to, "suppressed", "manual", evidence=(command,))


def _two_messages_bounce_twice(m: MultiMessageTimeline) -> None:
    # Four bounces, but of two messages.
    to = m.new_person()
    for _ in range(2):
        m.request("sendgrid", to, build=partial(_bounces, times=2))
    m.barrier()
    m.request("sendgrid", to)


def _bounces_that_do_not_count(m: MultiMessageTimeline) -> None:
    to = m.new_person()
    for variant in ("mailbox", "technical", "content", "only a version number"):
        m.request("sendgrid", to, build=partial(_bounces, variant=variant))
    m.barrier()
    m.request("sendgrid", to)


def _complaint(m: MultiMessageTimeline, provider: str, after_us: int, variant: str = "") -> None:
    to = m.new_person()
    first = m.request(provider, to, build=partial(_complains, after_us=after_us, variant=variant))
    m.barrier()
    m.request(provider, to, "suppressed", "complaint", evidence=1)
    m.request(provider, to, "suppressed", "complaint", account=m.other, evidence=1)
    m.request_again(first)  # already decided


def _complaint_released(m: MultiMessageTimeline) -> None:
    to = m.new_person()
    m.request("sendgrid", to, build=_complains)
    m.barrier()
    m.command("release", to)
    m.barrier()
    m.request("sendgrid", to)


def _suppressed_by_hand(m: MultiMessageTimeline) -> None:
    to = m.new_person()
    command = m.command("suppress", to)
    m.barrier()
    m.command("suppress", to)  # repeated: no change
    m.request("sendgrid", to, "suppressed", "manual", evidence=(command,))
    m.request("postmark", to, "suppressed", "manual", account=m.other, evidence=(command,))
    m.barrier()
    m.command("release", to)
    m.barrier()
    m.request("sendgrid", to)


def _suppressed_by_hand_for_one_account(m: MultiMessageTimeline) -> None:
    to = m.new_person("sms")
    command = m.command("suppress", to, scope=m.account)
    m.barrier()
    m.request("twilio", to, "suppressed", "manual", evidence=(command,))
    m.request("twilio", to, account=m.other)
    m.barrier()
    m.command("release", to, scope=m.account)
    m.barrier()
    m.request("twilio", to)


def _sent_although_suppressed(m: MultiMessageTimeline) -> None:
    to = m.new_person()
    m.command("suppress", to)
    m.barrier()
    m.request("sendgrid", to, "suppressed", "manual", build=lambda t: t.delivered_normally())


def _on_provider_list(m: MultiMessageTimeline, variant: str) -> None:
    to = m.new_person()
    m.request("postmark", to, build=partial(_listed, variant=variant))
    m.barrier()
    m.request("postmark", to, "suppressed", "provider", evidence=1)


def _hard_bounce_at_postmark(m: MultiMessageTimeline) -> None:
    # One is enough: Postmark itself no longer sends to the address.
    to = m.new_person()
    m.request("postmark", to, build=_bounces)
    m.barrier()
    m.request("sendgrid", to, "suppressed", "provider", evidence=1)


def _on_provider_list_then_removed(m: MultiMessageTimeline) -> None:
    def listed_then_unlisted(t: Timeline) -> None:
        _listed(t, "by hand")
        t.wait(HOUR, 5 * HOUR)
        t.add("unlisted")

    to = m.new_person()
    m.request("postmark", to, build=listed_then_unlisted)
    m.barrier()
    m.request("postmark", to)


def _not_an_address(m: MultiMessageTimeline) -> None:
    for provider, text in (("sendgrid", "ann at example.com"), ("postmark", "none"), ("twilio", "0660 123")):
        invalid = m.new_person()._replace(address=text, key=text)
        m.request(provider, invalid, "blocked", "address_invalid", evidence=())


SCENARIOS: Final = (
    MultiMessageScenario("three bounces", partial(_three_bounces, provider="sendgrid", variant="hard")),
    MultiMessageScenario("three bounces of a number", partial(_three_bounces, provider="twilio", variant="30005")),
    MultiMessageScenario(
        "three bounces, replies with a version number",
        partial(_three_bounces, provider="sendgrid", variant="after a version number"),
    ),
    MultiMessageScenario("three bounces, released", _three_bounces_released),
    MultiMessageScenario("three bounces, released with an earlier time", _released_with_earlier_time),
    MultiMessageScenario("two messages bounce twice each", _two_messages_bounce_twice),
    MultiMessageScenario("bounces that do not count", _bounces_that_do_not_count),
    MultiMessageScenario("a complaint", partial(_complaint, provider="sendgrid", after_us=HOUR)),
    MultiMessageScenario(
        "a complaint, reported as a bounce", partial(_complaint, provider="postmark", after_us=HOUR, variant="bounce")
    ),
    MultiMessageScenario("a complaint weeks later", partial(_complaint, provider="sendgrid", after_us=10 * DAY)),
    MultiMessageScenario("a complaint, released", _complaint_released),
    MultiMessageScenario("suppressed by hand and released", _suppressed_by_hand),
    MultiMessageScenario("suppressed and released at the same time", _suppressed_and_released_at_same_time),
    MultiMessageScenario("suppressed by hand for one account", _suppressed_by_hand_for_one_account),
    MultiMessageScenario("sent although suppressed", _sent_although_suppressed),
    MultiMessageScenario("on the provider's list: by hand", partial(_on_provider_list, variant="by hand")),
    MultiMessageScenario("on the provider's list: by Postmark", partial(_on_provider_list, variant="by Postmark")),
    MultiMessageScenario("a hard bounce at Postmark", _hard_bounce_at_postmark),
    MultiMessageScenario("on the provider's list, then removed", _on_provider_list_then_removed),
    MultiMessageScenario("not an address", _not_an_address),
)

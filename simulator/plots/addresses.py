"""What closes an address, and what opens it again."""

from collections.abc import Callable
from functools import partial
from typing import Final

from simulator.durations import DAY, HOUR, MINUTE
from simulator.plot import Plot
from simulator.script import Script

__all__ = ["PLOTS"]


def _bounces(s: Script, how: str = "hard", times: int = 1) -> None:
    s.processed()
    for _ in range(times):
        s.fails(how)


def _complains(s: Script, after_us: int = HOUR, how: str = "") -> None:
    s.arrives()
    s.wait(after_us, 2 * after_us)
    s.tell("complained", how)


def _listed(s: Script, how: str) -> None:
    s.arrives()
    s.wait(MINUTE, HOUR)
    s.tell("listed", how)


def _bounces_thrice(p: Plot, provider: str, how: str) -> None:
    to = p.person("sms" if provider == "twilio" else "email")
    for account in (p.account, p.other, p.account):
        p.ask(provider, to, account=account, play=partial(_bounces, how=how))
    p.heard()
    p.ask(provider, to, "suppressed", "bounces", because=3)
    p.ask(provider, to, "suppressed", "bounces", account=p.other, because=3)


def _bounces_and_is_released(p: Plot) -> None:
    to = p.person()
    for _ in range(3):
        p.ask("sendgrid", to, play=_bounces)
    p.heard()
    p.ask("sendgrid", to, "suppressed", "bounces", because=3)
    p.heard()
    p.command("release", to)
    p.heard()
    p.ask("postmark", to)
    for _ in range(2):
        p.ask("sendgrid", to, play=_bounces)
    p.heard()
    p.ask("postmark", to)  # what was before the release is void: two are not enough


def _released_as_of_earlier(p: Plot) -> None:
    # The release is dated before the bounce that was one too many: of three only that one is left.
    to = p.person()
    for _ in range(2):
        p.ask("sendgrid", to, play=_bounces)
    p.heard()
    last = p.ask("sendgrid", to, play=_bounces)
    p.heard()
    p.ask("sendgrid", to, "suppressed", "bounces", because=3)
    p.heard()
    p.command("release", to, dated_us=last.at_us)
    p.heard()
    p.ask("postmark", to)


def _suppressed_and_released_at_once(p: Plot) -> None:
    # Of one moment the suppression holds, whichever is read first.
    to = p.person()
    command = p.command("suppress", to)
    p.heard()
    p.command("release", to, dated_us=command.at_us)
    p.heard()
    p.ask("sendgrid", to, "suppressed", "manual", because=(command,))


def _bounces_twice_and_again(p: Plot) -> None:
    # Four bounces, but of two messages.
    to = p.person()
    for _ in range(2):
        p.ask("sendgrid", to, play=partial(_bounces, times=2))
    p.heard()
    p.ask("sendgrid", to)


def _full_thrice(p: Plot) -> None:
    to = p.person()
    for how in ("mailbox", "technical", "content", "a version"):
        p.ask("sendgrid", to, play=partial(_bounces, how=how))
    p.heard()
    p.ask("sendgrid", to)


def _complaint(p: Plot, provider: str, after_us: int, how: str = "") -> None:
    to = p.person()
    first = p.ask(provider, to, play=partial(_complains, after_us=after_us, how=how))
    p.heard()
    p.ask(provider, to, "suppressed", "complaint", because=1)
    p.ask(provider, to, "suppressed", "complaint", account=p.other, because=1)
    p.ask_again(first)  # it was decided before


def _complaint_released(p: Plot) -> None:
    to = p.person()
    p.ask("sendgrid", to, play=_complains)
    p.heard()
    p.command("release", to)
    p.heard()
    p.ask("sendgrid", to)


def _by_hand(p: Plot) -> None:
    to = p.person()
    command = p.command("suppress", to)
    p.heard()
    p.command("suppress", to)  # again: nothing changes
    p.ask("sendgrid", to, "suppressed", "manual", because=(command,))
    p.ask("postmark", to, "suppressed", "manual", account=p.other, because=(command,))
    p.heard()
    p.command("release", to)
    p.heard()
    p.ask("sendgrid", to)


def _by_hand_for_one_account(p: Plot) -> None:
    to = p.person("sms")
    command = p.command("suppress", to, scope=p.account)
    p.heard()
    p.ask("twilio", to, "suppressed", "manual", because=(command,))
    p.ask("twilio", to, account=p.other)
    p.heard()
    p.command("release", to, scope=p.account)
    p.heard()
    p.ask("twilio", to)


def _sent_though_suppressed(p: Plot) -> None:
    to = p.person()
    p.command("suppress", to)
    p.heard()
    p.ask("sendgrid", to, "suppressed", "manual", play=lambda s: s.arrives())


def _provider_refuses(p: Plot, how: str) -> None:
    to = p.person()
    p.ask("postmark", to, play=partial(_listed, how=how))
    p.heard()
    p.ask("postmark", to, "suppressed", "provider", because=1)


def _hard_bounce_at_postmark(p: Plot) -> None:
    # One is enough: Postmark itself sends no more there.
    to = p.person()
    p.ask("postmark", to, play=_bounces)
    p.heard()
    p.ask("sendgrid", to, "suppressed", "provider", because=1)


def _provider_takes_it_back(p: Plot) -> None:
    def comes_back(s: Script) -> None:
        _listed(s, "by hand")
        s.wait(HOUR, 5 * HOUR)
        s.tell("unlisted")

    to = p.person()
    p.ask("postmark", to, play=comes_back)
    p.heard()
    p.ask("postmark", to)


def _no_address(p: Plot) -> None:
    for provider, text in (("sendgrid", "ann at example.com"), ("postmark", "none"), ("twilio", "0660 123")):
        nobody = p.person()._replace(address=text, key=text)
        p.ask(provider, nobody, "blocked", "address_invalid", because=())


PLOTS: Final[tuple[tuple[str, Callable[[Plot], None]], ...]] = (
    ("bounces thrice", partial(_bounces_thrice, provider="sendgrid", how="hard")),
    ("a number bounces thrice", partial(_bounces_thrice, provider="twilio", how="30005")),
    (
        "bounces thrice, the server tells its version",
        partial(_bounces_thrice, provider="sendgrid", how="behind a version"),
    ),
    ("bounces thrice, is released", _bounces_and_is_released),
    ("bounces thrice, is released as of earlier", _released_as_of_earlier),
    ("two messages bounce twice", _bounces_twice_and_again),
    ("bounces thrice for other reasons", _full_thrice),
    ("a complaint", partial(_complaint, provider="sendgrid", after_us=HOUR)),
    ("a complaint, told as a bounce", partial(_complaint, provider="postmark", after_us=HOUR, how="bounce")),
    ("a complaint weeks later", partial(_complaint, provider="sendgrid", after_us=10 * DAY)),
    ("a complaint, released", _complaint_released),
    ("suppressed by hand and released", _by_hand),
    ("suppressed and released at one moment", _suppressed_and_released_at_once),
    ("suppressed by hand for one account", _by_hand_for_one_account),
    ("sent though suppressed", _sent_though_suppressed),
    ("the provider refuses: by hand", partial(_provider_refuses, how="by hand")),
    ("the provider refuses: by Postmark", partial(_provider_refuses, how="by Postmark")),
    ("a hard bounce at Postmark", _hard_bounce_at_postmark),
    ("the provider takes it back", _provider_takes_it_back),
    ("no address", _no_address),
)

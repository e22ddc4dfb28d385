"""What several exercises do: look at a runbook's commands, follow them, post deliveries."""

from tests.stack.firing.exercise import Act
from tests.stack.firing.stand import Stand
from tests.stack.firing.traffic import delivered

__all__ = ["deliveries", "follows", "looks"]


def looks(runbook: str, *numbers: int) -> Act:
    """Run these blocks of commands of a page; they may find something wrong, and end with another code than 0."""

    async def look(stand: Stand) -> None:
        await stand.shell.follow(runbook, *numbers, strict=False)

    return look


def follows(runbook: str, *numbers: int) -> Act:
    """Run these blocks once everything is read; each command has to end with 0."""

    async def follow(stand: Stand) -> None:
        await stand.caught_up()
        await stand.shell.follow(runbook, *numbers)

    return follow


def deliveries(count: int) -> Act:
    """Post so many deliveries as one webhook, which has to be accepted."""

    async def post(stand: Stand) -> None:
        assert await stand.webhook(delivered(count)) == 204

    return post

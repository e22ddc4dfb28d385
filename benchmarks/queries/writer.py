"""A ledger's writing beside the readers: a program that inserts a group each half second until it is ended.

In:  the URL of ClickHouse, as its argument.
Out: groups of 500 new messages, with some 2,000 events: the requests, decisions, dispatches and first events of the
     new ones, and the opens and clicks of those of the group before. A line for each group, with the seconds it took.
"""

import os
import sys
import time
from random import Random
from typing import Any, Final

from benchmarks.queries.multiply import account_number
from benchmarks.queries.template import SENT_MS, Template, templates
from projections.messages.columns import dispatches_table, events_table, state_table
from projections.store import Store, generations
from schemas.decoding.ids import uuid7
from schemas.decoding.sends import event_of
from schemas.events import ENGAGEMENT_TYPES, Event

__all__ = ["EVERY_SECONDS", "MESSAGES", "main", "write"]

EVERY_SECONDS: Final = 0.5
MESSAGES: Final = 500


def write(store: Store, new: list[Template], told_later: list[Event]) -> None:
    """Insert one group, as the ledger does."""
    told = [event for template in new for event in template.events if event.type not in ENGAGEMENT_TYPES] + told_later
    requests, decisions = [t.request for t in new], [t.decision for t in new]
    dispatches = [t.dispatch for t in new if t.dispatch]
    facts = [*map(event_of, requests), *map(event_of, decisions), *map(event_of, dispatches)]
    store.insert("message_state", state_table(events_table(told), requests, decisions, dispatches))
    store.insert("events", events_table([*facts, *told]))
    store.insert("dispatches", dispatches_table(dispatches))


def sent_now(template: Template, now_us: int, chance: Random) -> Template:
    """Return a template as a message of this moment."""
    later = now_us - SENT_MS * 1000
    own: dict[str, Any] = {
        "account_id": f"acct-{account_number(chance.random()):03}",
        "message_id": uuid7(now_us, os.urandom(10)),
    }
    provider_id = f"{chance.getrandbits(48):012x}"

    def of_now(event: Event) -> Event:
        return event._replace(
            **own,
            event_id=os.urandom(16).hex(),
            provider_message_id=event.provider_message_id[:-12] + provider_id,
            occurred_us=event.occurred_us + later,
            received_us=event.received_us + later,
        )

    request = template.request._replace(
        **own, content_hash=os.urandom(16).hex(), requested_us=template.request.requested_us + later
    )
    decision = template.decision._replace(
        **own, decision_hash=os.urandom(16).hex(), decided_us=template.decision.decided_us + later, request=request
    )
    dispatch = template.dispatch and template.dispatch._replace(
        **own,
        dispatch_hash=os.urandom(16).hex(),
        dispatched_us=template.dispatch.dispatched_us + later,
        provider_message_id=template.dispatch.provider_message_id[:-12] + provider_id,
    )
    return Template(template.number, request, decision, dispatch, list(map(of_now, template.events)), template.status)


def main(url: str) -> None:
    """Write until somebody ends the process."""
    store = Store(url, generation=generations.FIRST)
    chance = Random()
    made = templates(10 * MESSAGES, seed=2)
    earlier: list[Template] = []
    due = time.monotonic()
    while True:
        began = time.monotonic()
        now_us = time.time_ns() // 1000
        new = [sent_now(template, now_us, chance) for template in chance.sample(made, MESSAGES)]
        told_later = [event for t in earlier for event in t.events if event.type in ENGAGEMENT_TYPES]
        write(store, new, told_later)
        earlier = new
        print(f"{time.monotonic() - began:.3f}", flush=True)
        due = max(due + EVERY_SECONDS, time.monotonic())
        time.sleep(max(0.0, due - time.monotonic()))


if __name__ == "__main__":
    main(sys.argv[1])

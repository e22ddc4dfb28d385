"""What `rebuild` does: it runs a worker in this process, and compares and switches once that has caught up."""

import asyncio
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from functools import partial
from time import monotonic
from typing import Any, Final

from cli.output import show
from processors.ledger.rebuild import Rebuild, RebuildInterrupted
from projections.store import Store, generations
from projections.store.generations import Generation, Pointer
from projections.suppressions.rules import GateRules
from schemas.settings import GateRulesSettings, RebuildSettings, StoreSettings
from verification.from_log import compare_with_shown
from verification.generations import Comparison
from verification.suppressions import SuppressionComparison, compare_suppressions

__all__ = [
    "compare_with_gate",
    "drop_generation",
    "list_generations",
    "progress",
    "run_rebuild",
    "say",
    "show_comparisons",
]

_PROGRESS_SECONDS: Final = 2.0
MAX_ADDRESSES: Final = 1_000
"""Addresses that are listed; all are counted."""


async def run_rebuild(
    settings: RebuildSettings, rules: GateRulesSettings, *, diff: bool, swap: bool, back: bool, as_json: bool
) -> int:
    """Fold the log, then compare and switch as asked; return the exit code: 1 if the comparison found anything.

    Raises ConfigError, RequestError, BrokerError and StoreError.
    """
    rebuild = await asyncio.to_thread(Rebuild.unfinished, settings)
    if rebuild is not None:
        act = partial(_finish, rebuild)
    else:
        rebuild = await asyncio.to_thread(partial(Rebuild.back if back else Rebuild.begin, settings))
        act = partial(_act, rebuild, rules if diff else None, swap or back, as_json)
    with closing(rebuild):
        try:
            return await rebuild.run(act)
        except RebuildInterrupted as interrupted:
            say("interrupted: the same command goes on where this one stopped")
            return interrupted.code or 1


def list_generations(settings: StoreSettings) -> list[dict[str, Any]]:
    """Return a row for each generation. Raises StoreError."""
    with closing(Store.of(settings)) as views:
        pointer = generations.pointer(views)
        return [
            {
                "generation": one.number,
                "is": _kind(one, pointer),
                "rows": one.rows,
                "bytes": one.bytes,
                "rules": one.build.rules if one.build else "",
            }
            for one in generations.generations(views)
        ]


def drop_generation(settings: StoreSettings, number: int) -> None:
    """Delete a generation that is not shown. Raises RequestError and StoreError."""
    with closing(Store.of(settings)) as views:
        generations.drop(views, number)


async def _finish(rebuild: Rebuild) -> int:
    say(f"an interrupted switch to generation {rebuild.generation.number} is finished first")
    await rebuild.finish()
    say(f"generation {rebuild.generation.number} is shown and complete; repeat the command for anything else")
    return 0


async def _act(rebuild: Rebuild, diff_by: GateRulesSettings | None, switch: bool, as_json: bool) -> int:
    say(f"generation {rebuild.generation.number}, beside {rebuild.live}, which is shown")
    await rebuild.caught_up(progress())
    for reason, number in sorted(rebuild.rejected.items()):
        say(f"{number:,} records or elements have no row: {reason}")
    differences = 0
    if diff_by is not None:
        found = await compare_with_shown(rebuild)
        show_comparisons(found, as_json=as_json)
        differences = sum(one.total for one in found) + await compare_with_gate(diff_by, as_json=as_json)
    if switch:
        await rebuild.switch()
        say(f"generation {rebuild.generation.number} is shown; `sendledger rebuild --back` shows {rebuild.live} again")
    return 1 if differences else 0


async def compare_with_gate(settings: GateRulesSettings, *, as_json: bool) -> int:
    """Show which addresses these rules would suppress or free, other than the gate has; return 1 if any, else 0.

    Raises BrokerError.
    """
    rules = GateRules(settings.suppress_bounces, settings.suppress_window_days, settings.decision_days)
    found = await compare_suppressions(settings.kafka, settings.gate_group, rules, say)
    if found is None:
        say("The gate has read nothing yet: suppressions are not compared.")
        return 0
    limit = f"{rules.suppress_bounces} bounces within {rules.suppress_window_days} days"
    for reason, number in sorted(found.skipped.items()):
        say(f"{number:,} records or elements give no evidence: {reason}")
    rows = [*_address_counts(found), *_address_samples(found)]
    none = f"0 differences: {found.addresses:,} addresses with evidence are as the gate published them, by {limit}."
    show(rows, as_json=as_json, none=none)
    return 1 if rows else 0


def _address_counts(found: SuppressionComparison) -> Iterator[dict[str, Any]]:
    for (before, after), number in sorted(found.transitions.items()):
        yield {"what": "addresses", "of": "", "id": "", "from": before, "to": after, "number": number}


def _address_samples(found: SuppressionComparison) -> Iterator[dict[str, Any]]:
    for change in found.changes[:MAX_ADDRESSES]:
        before, after = change.before, change.after
        yield {"what": "address", "of": change.of, "id": change.address, "from": before, "to": after, "number": 1}


def show_comparisons(found: Sequence[Comparison], *, as_json: bool) -> None:
    """Print how many rows differ, by their values before and after, and samples."""
    rows = [*_counts(found), *_samples(found)]
    compared = f"{sum(one.rows[0] for one in found):,} rows of {len(found)} tables and views"
    show(rows, as_json=as_json, none=f"0 differences: {compared} are the same in both generations.")


def _counts(found: Sequence[Comparison]) -> Iterator[dict[str, Any]]:
    for one in found:
        for (before, after), number in sorted(one.transitions.items()):
            yield {"what": "rows", "of": one.subject.name, "id": "", "from": before, "to": after, "number": number}


def _samples(found: Sequence[Comparison]) -> Iterator[dict[str, Any]]:
    for one in found:
        for sample in one.samples:
            key = "/".join(sample.key)
            for column, (before, after) in sample.columns.items() or [(sample.kind, ("", ""))]:
                yield {"what": column, "of": one.subject.name, "id": key, "from": before, "to": after, "number": 1}


def progress() -> Callable[[int], None]:
    """Return a function that prints at most every two seconds what is left, the rate, and the time it may take."""
    started, first, last = monotonic(), 0, 0.0

    def show_progress(behind: int) -> None:
        nonlocal first, last
        now = monotonic()
        first = first or behind
        if now - last < _PROGRESS_SECONDS:
            return
        last = now
        rate = (first - behind) / (now - started) if now > started else 0
        left = f", {behind / rate:,.0f} s left" if rate > 0 else ""
        say(f"{behind:,} records to read, {rate:,.0f} records/s{left}")

    return show_progress


def _kind(one: Generation, pointer: Pointer | None) -> str:
    if pointer is not None and one.number == pointer.generation:
        return "shown" if pointer.complete else "shown, not complete yet"
    if pointer is not None and one.number == pointer.previous:
        return "shown before"
    if one.build is None:
        return "kept"
    return "trial" if one.build.trial else "rebuilt"


def say(text: str) -> None:
    """Print a line about the work on stderr."""
    print(text, file=sys.stderr, flush=True)

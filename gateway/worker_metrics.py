"""Reads the metrics of programs over HTTP, and adds up those of workers: what only they know, since the start of each.

In:  URLs, as in `SENDLEDGER_WORKER_METRICS`. Out: a `WorkerMetrics` for each that answers, and the number that do not.
"""

import asyncio
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final, TypeVar

import httpx
from prometheus_client.parser import text_string_to_metric_families

from schemas.telemetry import (
    DELAY_SECONDS,
    DUPLICATES_TOTAL,
    OUT_OF_ORDER_TOTAL,
    PREFIX,
    RETRIES_TOTAL,
    UNKNOWN_TOTAL,
)

__all__ = ["WorkerMetrics", "fetch_metrics", "parse_metrics", "quantile", "read_worker_metrics"]

K = TypeVar("K", str, float)

_TIMEOUT_SECONDS: Final = 2.0
_MAX_BYTES: Final = 4 * 1024 * 1024
_OF_PROVIDERS: Final = tuple(metric.name for metric in (DUPLICATES_TOTAL, OUT_OF_ORDER_TOTAL, UNKNOWN_TOTAL))
_DELAY: Final = f"{PREFIX}{DELAY_SECONDS.name}_bucket"
_RETRIES: Final = f"{PREFIX}{RETRIES_TOTAL.name}"


@dataclass(frozen=True, slots=True)
class WorkerMetrics:
    """The metrics of one or several workers, added up."""

    counts: Mapping[str, Counter[str]] = field(default_factory=dict)
    """Counters by name (those of _OF_PROVIDERS), then by provider."""
    delay: Counter[float] = field(default_factory=Counter)
    """How many writes made their oldest webhook queryable within so many seconds of its arrival.

    One observation for each write and topic, not for each webhook; cumulative, as Prometheus has it.
    """
    retries: Counter[str] = field(default_factory=Counter)
    answering: int = 0
    silent: int = 0


async def read_worker_metrics(urls: Sequence[str]) -> WorkerMetrics:
    """Return the sum of the metrics of all workers that answer in time."""
    texts = await fetch_metrics(urls)
    return await asyncio.to_thread(parse_metrics, texts)  # a large text takes long enough to delay other requests


async def fetch_metrics(urls: Sequence[str]) -> Sequence[str | None]:
    """Return the metrics of each program; None for one that does not answer in time."""
    if not urls:
        return []
    async with httpx.AsyncClient(timeout=_TIMEOUT_SECONDS, trust_env=False) as client:
        return await asyncio.gather(*(_text(client, url) for url in urls))


async def _text(client: httpx.AsyncClient, url: str) -> str | None:
    try:
        async with asyncio.timeout(_TIMEOUT_SECONDS), client.stream("GET", url) as answer:
            body = bytearray()
            async for chunk in answer.aiter_bytes():
                body += chunk
                if len(body) > _MAX_BYTES:
                    return None
    except (httpx.HTTPError, httpx.InvalidURL, TimeoutError):
        return None
    return body.decode("utf-8", "replace") if answer.status_code == httpx.codes.OK else None


def parse_metrics(texts: Iterable[str | None]) -> WorkerMetrics:
    """Return the sum of metrics in Prometheus's text format. None, or a text in another format: a silent worker."""
    found = [_parse(text) for text in texts]
    workers = [one for one in found if one is not None]
    return WorkerMetrics(
        {name: _sum(one.counts[name] for one in workers) for name in _OF_PROVIDERS},
        _sum(one.delay for one in workers),
        _sum(one.retries for one in workers),
        answering=len(workers),
        silent=len(found) - len(workers),
    )


def _parse(text: str | None) -> WorkerMetrics | None:
    """The metrics of one worker; None unless the whole text is as a worker writes it."""
    found = WorkerMetrics({name: Counter() for name in _OF_PROVIDERS})
    try:
        families = list(text_string_to_metric_families(text or ""))
        for sample in (sample for family in families for sample in family.samples):
            name = sample.name.removeprefix(PREFIX)
            if name in found.counts:
                found.counts[name][sample.labels["provider"]] += int(sample.value)
            elif sample.name == _RETRIES:
                found.retries[sample.labels["of"]] += int(sample.value)
            elif sample.name == _DELAY and sample.labels["topic"].startswith("webhooks."):
                found.delay[float(sample.labels["le"])] += int(sample.value)
    except (ValueError, KeyError, IndexError, OverflowError):  # OverflowError: a count of +Inf
        return None
    return found if families else None


def _sum(counters: Iterable[Counter[K]]) -> Counter[K]:
    """The sum. It keeps zeros, which `+` of counters does not: they are the lower bounds of a quantile's bucket."""
    total: Counter[K] = Counter()
    for counter in counters:
        total.update(counter)
    return total


def quantile(cumulative: Mapping[float, int], q: float) -> float | None:
    """Return the value below which `q` of the observations are, interpolated within its bucket; None without any.

    An observation above the last bound counts as that bound.
    """
    bounds = sorted(cumulative)
    total = max(cumulative.values(), default=0)
    if not total:
        return None
    for low, high in pairwise([0.0, *bounds]):
        below, upto = cumulative.get(low, 0), cumulative[high]
        if upto >= q * total:
            return low if high == float("inf") else low + (high - low) * (q * total - below) / max(1, upto - below)
    return bounds[-1]

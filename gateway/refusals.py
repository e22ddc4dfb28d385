"""Reads from the gateways' metrics how many webhooks they refused because of their signature.

In:  the URLs of `SENDLEDGER_GATEWAY_METRICS`, or the metrics of this process. Out: `Refusals` by provider.
"""

from collections.abc import Iterable, Mapping, Sequence

from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from application.weather import Refusals
from gateway.worker_metrics import fetch_metrics
from schemas.decoding.times import SECOND_US
from schemas.telemetry import PREFIX, SIGNATURE_FAILURE_TIMESTAMP_SECONDS, SIGNATURE_FAILURES_TOTAL, UP

__all__ = ["parse_refusals", "read_refusals", "refusals_in"]

_NUMBER, _LAST, _UP = (
    PREFIX + metric.name for metric in (SIGNATURE_FAILURES_TOTAL, SIGNATURE_FAILURE_TIMESTAMP_SECONDS, UP)
)


async def read_refusals(urls: Sequence[str]) -> Mapping[str, Refusals] | None:
    """Return what all gateways refused. None if one does not answer, or there is no URL."""
    return parse_refusals(await fetch_metrics(urls)) if urls else None


def parse_refusals(texts: Iterable[str | None]) -> Mapping[str, Refusals] | None:
    """Return the sum over the texts of several gateways. None unless each is one of a gateway."""
    every: list[Metric] = []
    try:
        for text in texts:
            families = list(text_string_to_metric_families(text or ""))
            samples = (sample for family in families for sample in family.samples)
            if not any(sample.name == _UP and sample.labels["program"] == "gateway" for sample in samples):
                return None
            every += families
        return refusals_in(every)
    except (ValueError, KeyError, IndexError, OverflowError):  # not as a gateway writes it
        return None


def refusals_in(families: Iterable[Metric]) -> Mapping[str, Refusals]:
    """Return the refusals that metrics count."""
    found: dict[str, Refusals] = {}
    for sample in (sample for family in families for sample in family.samples):
        if sample.name in (_NUMBER, _LAST):
            number, last_us = found.get(sample.labels["provider"], Refusals(0, 0))
            if sample.name == _NUMBER:
                number += int(sample.value)
            else:
                last_us = max(last_us, int(sample.value * SECOND_US))
            found[sample.labels["provider"]] = Refusals(number, last_us)
    return found

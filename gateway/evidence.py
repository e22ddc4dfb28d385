"""The name of `application.evidence` that the page of one message reads with: kept until it is imported from there."""

from application.evidence import own_evidence

__all__ = ["own_evidence"]

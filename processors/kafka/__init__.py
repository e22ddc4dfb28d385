"""Kafka clients and admin functions that all our programs use."""

from processors.kafka.producer import Producer, size_of

__all__ = ["Producer", "size_of"]

"""What every program of ours uses to reach Kafka."""

from processors.kafka.producer import Producer, size_of

__all__ = ["Producer", "size_of"]

"""Micro-batches for Faust: at-least-once, one write per group of batches. README.md is the manual.

In:  records of Kafka topics, as runs of one partition (`RecordBatch`).
Out: whatever an agent or a `write(group)` does with them. Only offsets of acknowledged batches are committed.
A `KeyedAgent` owns a state per key and is exactly-once: outputs, state and offset are one transaction.

Here is what an app with ordinary agents needs. The rest (errors to catch, a consumer or a producer of one's own,
retrying, bisecting) is imported from its module; README.md lists the modules.
"""

from processors.engine.app import MicroBatchApp
from processors.engine.batch import TP, Record, RecordBatch
from processors.engine.changelog import StateCodec, keyed_topics
from processors.engine.clock import Clock
from processors.engine.errors import EngineError, SetupError, TransientDependencyError
from processors.engine.failures import FailedItem, FailureLimit, PoisonRecordDetector, Retry, RetryBackoff
from processors.engine.groups import BatchGroup, GroupWriter, grouped
from processors.engine.keyed import KeyedAgent
from processors.engine.partition_processor import Phase, PhaseEvent, StepFunction, StepResult, TransactionLimits
from processors.engine.run import run_app
from processors.engine.transactions import Output

__all__ = [
    "TP",
    "BatchGroup",
    "Clock",
    "EngineError",
    "FailedItem",
    "FailureLimit",
    "GroupWriter",
    "KeyedAgent",
    "MicroBatchApp",
    "Output",
    "Phase",
    "PhaseEvent",
    "PoisonRecordDetector",
    "Record",
    "RecordBatch",
    "Retry",
    "RetryBackoff",
    "SetupError",
    "StateCodec",
    "StepFunction",
    "StepResult",
    "TransactionLimits",
    "TransientDependencyError",
    "grouped",
    "keyed_topics",
    "run_app",
]

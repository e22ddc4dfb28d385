"""Micro-batches for Faust: at-least-once, one write for a group of batches. README.md is the manual.

In:  records of Kafka topics, as runs of one partition (`RecordBatch`).
Out: whatever an agent or a `write(group)` does with them; offsets are committed only behind acknowledged batches.
"""

from processors.engine.app import EngineSettings, MicroBatchApp
from processors.engine.batch import TP, Record, RecordBatch
from processors.engine.errors import (
    BatchLost,
    BatchStalled,
    BrokerAway,
    EngineError,
    GroupLost,
    InstanceTaken,
    RecordFault,
    SetupError,
    TooManyFaults,
    WorldFault,
)
from processors.engine.faults import Backoff, Fault, FaultLimit, GivenUp, Retry, bisect, retrying
from processors.engine.groups import Group, GroupWriter, grouped
from processors.engine.run import Exit, run_app

__all__ = [
    "TP",
    "Backoff",
    "BatchLost",
    "BatchStalled",
    "BrokerAway",
    "EngineError",
    "EngineSettings",
    "Exit",
    "Fault",
    "FaultLimit",
    "GivenUp",
    "Group",
    "GroupLost",
    "GroupWriter",
    "InstanceTaken",
    "MicroBatchApp",
    "Record",
    "RecordBatch",
    "RecordFault",
    "Retry",
    "SetupError",
    "TooManyFaults",
    "WorldFault",
    "bisect",
    "grouped",
    "retrying",
    "run_app",
]

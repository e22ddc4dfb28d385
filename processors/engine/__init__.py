"""Micro-batches for Faust: at-least-once, one write for a group of batches. README.md is the manual.

In:  records of Kafka topics, as runs of one partition (`RecordBatch`).
Out: whatever an agent or a `write(group)` does with them; offsets are committed only behind acknowledged batches.
A `KeyedAgent` owns a state per key, and is exactly-once: one transaction of outputs, state and offset.
"""

from processors.engine.app import EngineSettings, MicroBatchApp
from processors.engine.batch import TP, Record, RecordBatch
from processors.engine.changelog import Codec, TopicNeed, changelog_config, keyed_topics
from processors.engine.errors import (
    BatchLost,
    BatchStalled,
    BrokerAway,
    EngineError,
    Fenced,
    GroupLost,
    InstanceTaken,
    RecordFault,
    RestoreStalled,
    SetupError,
    StateUnreadable,
    TooManyFaults,
    WorldFault,
)
from processors.engine.faults import Backoff, Fault, FaultLimit, GivenUp, Retry, bisect, retrying
from processors.engine.groups import Group, GroupWriter, grouped
from processors.engine.keyed import KeyedAgent
from processors.engine.lane import Bounds, Moment, Phase, Step, StepFunction
from processors.engine.run import Exit, run_app
from processors.engine.transactions import Output, partition_of, send_batches

__all__ = [
    "TP",
    "Backoff",
    "BatchLost",
    "BatchStalled",
    "Bounds",
    "BrokerAway",
    "Codec",
    "EngineError",
    "EngineSettings",
    "Exit",
    "Fault",
    "FaultLimit",
    "Fenced",
    "GivenUp",
    "Group",
    "GroupLost",
    "GroupWriter",
    "InstanceTaken",
    "KeyedAgent",
    "MicroBatchApp",
    "Moment",
    "Output",
    "Phase",
    "Record",
    "RecordBatch",
    "RecordFault",
    "RestoreStalled",
    "Retry",
    "SetupError",
    "StateUnreadable",
    "Step",
    "StepFunction",
    "TooManyFaults",
    "TopicNeed",
    "WorldFault",
    "bisect",
    "changelog_config",
    "grouped",
    "keyed_topics",
    "partition_of",
    "retrying",
    "run_app",
    "send_batches",
]

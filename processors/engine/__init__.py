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
    CommitUnknown,
    EngineError,
    EveryRecordFails,
    Fenced,
    GroupLost,
    InstanceTaken,
    KafkaRefused,
    OutputTooLarge,
    ProducerBroken,
    RecordFault,
    RecordsUnreadable,
    RestoreStalled,
    SetupError,
    StateUnreadable,
    TooManyFaults,
    WorldFault,
)
from processors.engine.families import Family, family
from processors.engine.faults import (
    Backoff,
    Blame,
    Fault,
    FaultLimit,
    GivenUp,
    Retry,
    bisect,
    described,
    retrying,
    where_is,
)
from processors.engine.groups import Group, GroupWriter, grouped
from processors.engine.keyed import KeyedAgent
from processors.engine.lane import Bounds, Moment, Phase, Step, StepFunction
from processors.engine.reading import new_consumer
from processors.engine.run import Exit, run_app
from processors.engine.transactions import Output, Undelivered, deliver, partition_of, placed, send_batches

__all__ = [
    "TP",
    "Backoff",
    "BatchLost",
    "BatchStalled",
    "Blame",
    "Bounds",
    "BrokerAway",
    "Codec",
    "CommitUnknown",
    "EngineError",
    "EngineSettings",
    "EveryRecordFails",
    "Exit",
    "Family",
    "Fault",
    "FaultLimit",
    "Fenced",
    "GivenUp",
    "Group",
    "GroupLost",
    "GroupWriter",
    "InstanceTaken",
    "KafkaRefused",
    "KeyedAgent",
    "MicroBatchApp",
    "Moment",
    "Output",
    "OutputTooLarge",
    "Phase",
    "ProducerBroken",
    "Record",
    "RecordBatch",
    "RecordFault",
    "RecordsUnreadable",
    "RestoreStalled",
    "Retry",
    "SetupError",
    "StateUnreadable",
    "Step",
    "StepFunction",
    "TooManyFaults",
    "TopicNeed",
    "Undelivered",
    "WorldFault",
    "bisect",
    "changelog_config",
    "deliver",
    "described",
    "family",
    "grouped",
    "keyed_topics",
    "new_consumer",
    "partition_of",
    "placed",
    "retrying",
    "run_app",
    "send_batches",
    "where_is",
]

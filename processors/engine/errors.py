"""What can go wrong in the engine, and whose fault it is: the family decides what happens.

    Exception
    ├── WorldFault        a dependency is away: wait in place, the records stay unacknowledged
    │   └── EveryRecordFails  nothing of a topic goes through: what takes the records is at fault, not they
    ├── RecordFault       one record is malformed: find it, dead-letter it, go on
    └── EngineError       the worker can't go on: exit, be restarted, read again
        ├── SetupError        refused to start: the operator mends it
        │   └── BrokerAway    …but only Kafka's absence is at fault: start again later
        ├── BatchStalled      nothing was acknowledged for too long
        ├── BatchLost         a batch was skipped inside the machinery
        ├── GroupLost         the consumer group refused this worker
        ├── KafkaRefused      Kafka answers with an error that no retry mends
        ├── InstanceTaken     two workers under one name
        ├── Fenced            a partition's transactions belong to another worker now
        ├── OutputTooLarge    Kafka does not take what a step wants to write
        ├── ProducerBroken    a partition's producer can go on no more: a restart begins with a new one
        ├── CommitUnknown     a transaction may be committed or not: a restart finds out
        ├── RestoreStalled    a changelog could not be read to its end
        ├── RecordsUnreadable a batch of records can't be decoded
        ├── StateUnreadable   a changelog's row is none that the codec knows
        └── TooManyFaults     our own code fails on too many records: a bad deploy

The programs that use the engine have an error tree of their own; they name its classes wherever the engine asks for
`world=`.
"""


class WorldFault(Exception):
    """The world is at fault (Kafka, a store): the same attempt may succeed later, so it is made again."""


class EveryRecordFails(WorldFault):
    """All records of a kind fail, also one that went through before: none of them is blamed, all of them wait."""

    def __init__(self, what: str, *, where: str, mend: str) -> None:
        super().__init__(f"{what} ({where}). {mend}")
        self.what, self.where, self.mend = what, where, mend


class RecordFault(Exception):
    """One record is at fault: no retry helps, and the records around it are fine."""


class EngineError(RuntimeError):
    """The worker has to end; what it did not acknowledge is read again."""

    def __init__(self, what: str, *, where: str, mend: str) -> None:
        super().__init__(f"{what} ({where}). {mend}")
        self.what, self.where, self.mend = what, where, mend


class SetupError(EngineError):
    """The worker refuses to start."""


class BrokerAway(SetupError):
    """No broker answered at the start. A worker that is restarted with back-off gets over it by itself."""


class BatchStalled(EngineError):
    """A batch was fetched and not acknowledged in time."""


class BatchLost(EngineError):
    """A batch was never begun though a later one of its partition was."""


class GroupLost(EngineError):
    """Coordination with the consumer group failed for good, and aiokafka waits for ever to be asked about it."""


class KafkaRefused(EngineError):
    """Kafka answers with an error that no retry mends: a permission is missing, or the broker is too old."""


class InstanceTaken(EngineError):
    """Two workers run under one instance name, and put each other out of the group."""


class TooManyFaults(EngineError):
    """Our own code failed on more records than a handful of odd ones explains."""


class Fenced(EngineError):
    """Another worker has begun with this partition, or a transaction took too long: nothing more may be written."""


class OutputTooLarge(EngineError):
    """Kafka does not take a record that a step wants to write. Its states and outputs must fit: that is the step's."""


class ProducerBroken(EngineError):
    """A partition's producer is broken, or Kafka forbids it to write. No waiting mends it."""


class CommitUnknown(EngineError):
    """A commit was not answered, so nobody knows here whether it has happened."""


class RestoreStalled(EngineError):
    """The changelog's end is written but can't be read: somebody's transaction is open, or the broker is away."""


class RecordsUnreadable(EngineError):
    """A batch of records can't be decoded: it is damaged, or compressed by a codec that is not installed."""


class StateUnreadable(EngineError):
    """A row of a changelog can't be decoded. Going on without it would be going on with a wrong state."""

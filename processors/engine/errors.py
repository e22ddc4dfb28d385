"""What can go wrong in the engine, and whose fault it is: the family decides what happens.

    Exception
    ├── WorldFault        a dependency is away: wait in place, the records stay unacknowledged
    ├── RecordFault       one record is malformed: find it, dead-letter it, go on
    └── EngineError       the worker can't go on: exit, be restarted, read again
        ├── SetupError        refused to start: the operator mends it
        │   └── BrokerAway    …but only Kafka's absence is at fault: start again later
        ├── BatchStalled      nothing was acknowledged for too long
        ├── BatchLost         a batch was skipped inside the machinery
        ├── GroupLost         the consumer group refused this worker
        ├── InstanceTaken     two workers under one name
        ├── Fenced            a partition's transactions belong to another worker now
        ├── RestoreStalled    a changelog could not be read to its end
        ├── StateUnreadable   a changelog's row is none that the codec knows
        └── TooManyFaults     our own code fails on too many records: a bad deploy

The programs that use the engine have an error tree of their own; they name its classes wherever the engine asks for
`world=`.
"""


class WorldFault(Exception):
    """The world is at fault (Kafka, a store): the same attempt may succeed later, so it is made again."""


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


class InstanceTaken(EngineError):
    """Two workers run under one instance name, and put each other out of the group."""


class TooManyFaults(EngineError):
    """Our own code failed on more records than a handful of odd ones explains."""


class Fenced(EngineError):
    """Another worker has begun with this partition, or a transaction took too long: nothing more may be written."""


class RestoreStalled(EngineError):
    """The changelog's end is written but can't be read: somebody's transaction is open, or the broker is away."""


class StateUnreadable(EngineError):
    """A row of a changelog can't be decoded. Going on without it would be going on with a wrong state."""

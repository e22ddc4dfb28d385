"""The errors of the engine. The class decides what happens next.

    Exception
    ├── TransientDependencyError  a dependency (Kafka, a store) is unavailable: retry in place, records stay
    │   │                         unacknowledged
    │   └── EveryRecordFails      no record of a topic can be processed: the code or the store is at fault, no record is
    ├── RecordError               one record is malformed: isolate it, dead-letter it, continue
    └── EngineError               the worker can't continue: it exits, is restarted and reads the records again
        ├── SetupError            the worker refuses to start; an operator has to act
        │   └── BrokerUnavailable …but only because no broker answers: start it again later
        ├── BatchStalled          nothing was acknowledged for too long
        ├── BatchLost             a batch was skipped between fetch and agent
        ├── GroupLost             the consumer group refused this worker
        ├── KafkaRefused          Kafka answers with an error that a retry does not fix
        ├── InstanceTaken         two workers run under one instance name
        ├── Fenced                another worker owns the transactional id of this partition now
        ├── OutputTooLarge        Kafka refuses a record that a step wants to write
        ├── ProducerBroken        the producer of a partition can't be used any more; a restart creates a new one
        ├── CommitUnknown         it is unknown whether a transaction was committed; a restart finds out
        ├── RestoreStalled        a changelog could not be read to its end
        ├── RecordsUnreadable     a batch of records can't be decoded
        ├── StateUnreadable       a row of a changelog can't be decoded by the codec
        └── TooManyFailures       our own code fails on too many records: a bad deploy

Programs that use the engine have their own error tree. They pass its classes wherever the engine takes `transient=`.
"""


class TransientDependencyError(Exception):
    """A dependency (Kafka, a store) is unavailable. The same attempt may succeed later, so it is repeated."""


class EveryRecordFails(TransientDependencyError):
    """All records of a kind fail, including one that succeeded before. No record is blamed; all of them wait."""

    def __init__(self, what: str, *, where: str, mend: str) -> None:
        super().__init__(f"{what} ({where}). {mend}")
        self.what, self.where, self.mend = what, where, mend


class RecordError(Exception):
    """One record is malformed. A retry does not help, and the records around it are fine."""


class EngineError(RuntimeError):
    """The worker has to end. What it did not acknowledge is read again."""

    def __init__(self, what: str, *, where: str, mend: str) -> None:
        super().__init__(f"{what} ({where}). {mend}")
        self.what, self.where, self.mend = what, where, mend


class SetupError(EngineError):
    """The worker refuses to start."""


class BrokerUnavailable(SetupError):
    """No broker answered at the start. Restarting the worker with back-off is enough."""


class BatchStalled(EngineError):
    """A batch was fetched and not acknowledged in time."""


class BatchLost(EngineError):
    """A batch was never begun although a later one of its partition was."""


class GroupLost(EngineError):
    """Coordination with the consumer group failed for good. aiokafka reports it only when asked."""


class KafkaRefused(EngineError):
    """Kafka answers with an error that a retry does not fix: a permission is missing, or the broker is too old."""


class InstanceTaken(EngineError):
    """Two workers run under one instance name and keep removing each other from the group."""


class TooManyFailures(EngineError):
    """Our own code failed on more records than a few unusual ones could explain."""


class Fenced(EngineError):
    """Another worker started transactions for this partition, or one took too long. Nothing more may be written."""


class OutputTooLarge(EngineError):
    """Kafka refuses a record that a step wants to write. Keeping states and outputs small enough is the step's job."""


class ProducerBroken(EngineError):
    """The producer of a partition is broken, or Kafka forbids it to write. Waiting does not help."""


class CommitUnknown(EngineError):
    """A commit was not answered, so it is unknown whether it happened."""


class RestoreStalled(EngineError):
    """The end of the changelog is written but can't be read: a transaction is open, or the broker is unavailable."""


class RecordsUnreadable(EngineError):
    """A batch of records can't be decoded: it is damaged, or compressed by a codec that is not installed."""


class StateUnreadable(EngineError):
    """A row of a changelog can't be decoded. To continue without it would mean to continue with a wrong state."""

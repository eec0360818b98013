"""Rows that can't be taken become dead letters, whole, with the reason."""

from aiokafka import AIOKafkaProducer, ConsumerRecord

from topics.dead_letter import RejectReason, dead_letter, letter_key
from tracker import clock
from tracker.dead_letters.floods import Floods
from tracker.kafka.record_batches import send_batches


class DeadLetters:
    """Sends dead letters of the sink; returns when Kafka has them, since the row's offset is committed after that."""

    def __init__(self, producer: AIOKafkaProducer, topic: str, floods: Floods) -> None:
        self._floods = floods
        self._producer = producer
        self._topic = topic

    async def send(self, record: ConsumerRecord, reason: RejectReason, detail: str) -> None:
        """Send one record to the dead letters.

        Raises:
            TooManyDeadLetters: most rows can't be taken, and the deployment wants to stop then; nothing is committed.
            KafkaError: it was not acked.
        """
        letter = dead_letter(
            record,
            stage="sink",
            topic=record.topic,
            partition=record.partition,
            reason=reason,
            detail=detail,
            failed_at_ms=clock.now_ms(),
        )
        self._floods.note(letter)
        # As a batch: a single record would be held to the client's own limit, which is smaller than a letter may be.
        await send_batches(
            self._producer, self._topic, record.partition, [(letter_key(record.key), letter.encode(), [])]
        )

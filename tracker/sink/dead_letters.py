"""Rows that can't be taken become dead letters, whole, with the reason."""

from base64 import b64encode

from aiokafka import AIOKafkaProducer, ConsumerRecord

from topics.dead_letter import DeadLetter, RejectReason


class DeadLetters:
    """Sends dead letters of the sink; returns when Kafka has them, since the row's offset is committed after that."""

    def __init__(self, producer: AIOKafkaProducer, topic: str) -> None:
        self._producer = producer
        self._topic = topic

    async def send(self, record: ConsumerRecord, reason: RejectReason, detail: str) -> None:
        """Send one record to the dead letters.

        Raises:
            KafkaError: it was not acked.
        """
        letter = DeadLetter(
            reason=reason,
            detail=detail,
            stage="sink",
            source_topic=record.topic,
            source_partition=record.partition,
            source_offset=record.offset,
            source_timestamp_ms=record.timestamp,
            key_base64=_base64(record.key),
            value_base64=_base64(record.value),
        )
        await self._producer.send_and_wait(
            self._topic, letter.model_dump_json().encode(), key=record.key, partition=record.partition
        )


def _base64(raw: bytes | None) -> str | None:
    return None if raw is None else b64encode(raw).decode()

"""Find data loss: messages that Kafka expired before they were landed.

The check runs before the query starts. Spark itself detects data loss only in the middle of a batch and
without numbers. With failOnDataLoss=false it only logs a warning.
"""

import argparse
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from include.errors import InvalidInput
from include.lake.files import append_record, read_records
from spark_jobs.streaming.arguments import add_boolean_flag
from spark_jobs.streaming.progress import Record, format_count
from spark_jobs.streaming.topics import Offsets, Topic


@dataclass(frozen=True)
class DataLoss:
    """Expired messages of one partition, from offset `first` (inclusive) to `end` (exclusive)."""

    topic: str
    partition: int
    first: int
    end: int
    messages: int

    def __str__(self) -> str:
        return (
            f"topic {self.topic}, partition {self.partition}: offsets {self.first} to "
            f"{self.end - 1}, {format_count(self.messages, 'message', 'messages')}"
        )


def find_data_loss(topic: Topic, landed_offsets: Offsets) -> list[DataLoss]:
    """List the expired messages of `topic`, one entry per partition.

    Args:
        topic: The topic as the broker describes it now.
        landed_offsets: Partition -> the offset up to which the topic is landed (exclusive).

    Returns:
        The data loss in order of partition. Empty if nothing was lost.
    """
    data_loss = []
    for partition, earliest in sorted(topic.earliest.items(), key=lambda item: int(item[0])):
        first = landed_offsets.get(partition, 0)  # a new partition is read from its beginning
        if earliest > first:
            count = earliest - first
            data_loss.append(DataLoss(topic.name, int(partition), first, earliest, count))
    return data_loss


def check_offsets(
    topic: Topic | None,
    topic_name: str,
    landed_offsets: Offsets,
    previous_topic_id: str | None,
    folder: Path,
    is_loss_accepted: bool,
) -> list[DataLoss]:
    """Compare the topic with what the landing has read, and refuse data loss that is not accepted.

    Args:
        topic: The topic as the broker describes it now. None if it does not exist.
        topic_name: The topic's name.
        landed_offsets: Partition -> the offset up to which the topic is landed (exclusive). Empty for a
            new landing, which is not checked.
        previous_topic_id: The topic's id when it was last read. None if it is not known.
        folder: The landing's folder, for error messages.
        is_loss_accepted: Whether to continue with the messages that Kafka still has.

    Returns:
        The accepted data loss. Empty if nothing was lost.

    Raises:
        InvalidInput: Messages expired and the loss is not accepted, the topic does not exist, or the
            topic was deleted and created again, so that its offsets mean other messages.
    """
    if not landed_offsets:
        return []
    if topic is None:
        raise InvalidInput(
            f"topic {topic_name} is gone (deleted), but {folder} holds messages of it. Create the topic "
            f"again, then move {folder} away: a new topic needs a new landing"
        )
    behind = [p for p, offset in landed_offsets.items() if topic.latest.get(p, -1) < offset]
    if behind or (previous_topic_id and previous_topic_id != topic.id):
        evidence = ", ".join(
            f"partition {p}: read up to offset {landed_offsets[p]}, "
            + (f"ends at {topic.latest[p]}" if p in topic.latest else "no longer exists")
            for p in sorted(behind, key=int)
        )
        raise InvalidInput(
            f"topic {topic_name} was deleted and created again since it was last read "
            f"({evidence or 'its id has changed'}). "
            f"Kafka no longer has what the checkpoint expects, and the offsets mean other messages: "
            f"move {folder} away to land the topic from its beginning"
        )
    data_loss = find_data_loss(topic, landed_offsets)
    if data_loss and not is_loss_accepted:
        count = sum(loss.messages for loss in data_loss)
        raise InvalidInput(
            f"Kafka no longer has {format_count(count, 'message', 'messages')} that were not landed: "
            f"they expired by its retention ({'; '.join(map(str, data_loss))}). "
            f"Produce them again, then run with --accept-data-loss (in Airflow: accept_data_loss) to land "
            f"the messages that are left; the reports will show the loss"
        )
    return data_loss


def record_data_loss(
    data_loss: list[DataLoss], path: Path, run: str, last_read_at: str | None
) -> None:
    """Append accepted data loss to the landing's record of it.

    Call this before the remaining messages are landed, so that a killed run loses no record.

    Args:
        data_loss: The accepted data loss.
        path: The landing's `lost.jsonl`.
        run: The run that accepted the loss.
        last_read_at: ISO time when the landing last read the topic. The lost messages arrived after it.
            None if it is not known.
    """
    now = datetime.now(UTC).isoformat(timespec="seconds")
    for loss in data_loss:
        append_record(path, {"run": run, "since": last_read_at, "at": now, **asdict(loss)})


def read_data_loss(path: Path) -> list[Record]:
    """List the data loss that a landing has accepted; a loss that a retry recorded twice is listed once."""
    records: dict[tuple[str, int, int], Record] = {}
    for record in read_records(path):
        records[(record["topic"], record["partition"], record["first"])] = record
    return list(records.values())


def add_data_loss_flag(parser: argparse.ArgumentParser) -> None:
    """Add `--accept-data-loss`."""
    add_boolean_flag(
        parser,
        "--accept-data-loss",
        "if messages expired before they were landed, land the rest and record the loss",
    )

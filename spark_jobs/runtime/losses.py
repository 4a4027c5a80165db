"""What a topic no longer has of what a landing has not read yet, found before the query starts.

Spark finds it out in the middle of a batch, without the numbers; told to go on, it only warns.
"""

import argparse
import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from py4j.protocol import Py4JJavaError
from pyspark.sql import SparkSession

from spark_jobs.runtime.progress import Record, append_line, plural
from spark_jobs.runtime.words import NotNow, Refused

# What the client's errors are called when the broker does not want it, which a retry does not mend.
NO_LOGIN = (
    "Authorization",
    "Authentication",
    "SslHandshake",
    "ConfigException",
    "Failed to create",
)
NO_RIGHT = "see whether the file of --kafka-login is the right one, and what its user may do"
Offsets = dict[str, int]  # partition -> offset, as Spark writes it


@dataclass(frozen=True)
class Topic:
    """What the broker says of a topic; `id` is another one when the topic was made anew."""

    name: str
    id: str
    earliest: Offsets
    latest: Offsets


@dataclass(frozen=True)
class Loss:
    """Messages that are gone: those from offset `first` on and before `end`."""

    topic: str
    partition: int
    first: int
    end: int
    messages: int

    def __str__(self) -> str:
        return (
            f"topic {self.topic}, partition {self.partition}: offsets {self.first} to "
            f"{self.end - 1}, {plural(self.messages, 'message', 'messages')}"
        )


def ask_broker(spark: SparkSession, told: dict[str, str], name: str) -> Topic | None:
    """What the broker says of a topic, through the connector's own client; None without such one.

    `told` are the client's properties.
    """
    jvm: Any = spark._jvm
    properties = jvm.java.util.Properties()
    for key, value in told.items():
        properties.put(key, value)
    kafka = jvm.org.apache.kafka
    admin = None
    try:
        admin = kafka.clients.admin.AdminClient.create(properties)
        names = jvm.java.util.ArrayList()
        names.add(name)
        described = admin.describeTopics(names).allTopicNames().get().get(name)
        specs = kafka.clients.admin.OffsetSpec

        def offsets(spec: Any) -> Offsets:
            asked = jvm.java.util.HashMap()
            for info in described.partitions():
                asked.put(kafka.common.TopicPartition(name, info.partition()), spec)
            found = admin.listOffsets(asked).all().get()
            return {str(part.partition()): found.get(part).offset() for part in found}

        return Topic(
            name, described.topicId().toString(), offsets(specs.earliest()), offsets(specs.latest())
        )
    except Py4JJavaError as failed:
        reason = _causes(failed)
        if "UnknownTopicOrPartition" in reason:
            return None
        said = f"the broker at {told['bootstrap.servers']} does not say what topic {name} has: {reason}"
        if any(word in reason for word in NO_LOGIN):
            raise Refused(f"{said}\n  {NO_RIGHT}") from None
        raise NotNow(said) from None
    finally:
        if admin:
            admin.close()


def _causes(failed: Py4JJavaError) -> str:
    """What Java says, the deepest reason last: the first only says what could not be made."""
    said: list[str] = []
    cause = failed.java_exception
    while cause is not None and len(said) < 10:
        said.append(str(cause))
        cause = cause.getCause()
    return "; ".join(dict.fromkeys(said))


def find_losses(topic: Topic, reached: Offsets) -> list[Loss]:
    """What is gone of `topic` for a reader who has read it up to `reached`, by partition."""
    found = []
    for partition, earliest in sorted(topic.earliest.items(), key=lambda item: int(item[0])):
        first = reached.get(partition, 0)  # a partition that was added is read from its beginning
        if earliest > first:
            found.append(Loss(topic.name, int(partition), first, earliest, earliest - first))
    return found


def check_offsets(
    topic: Topic | None, name: str, reached: Offsets, before: str | None, folder: Path,
    accepted: bool,
) -> list[Loss]:  # fmt: skip
    """The losses of a landing in `folder` that has read `reached`, if they are `accepted`.

    `before` is the topic's id when it was read last. Raises Refused with the numbers, and for a
    topic that was made anew, whose offsets mean other messages.
    """
    if not reached:
        return []
    if topic is None:
        raise Refused(
            f"topic {name} is gone, of which {folder} has landed messages; make it again for a "
            f"landing of its own: move {folder} away"
        )
    behind = [p for p, offset in reached.items() if topic.latest.get(p, -1) < offset]
    if behind or (before and before != topic.id):
        found = ", ".join(
            f"partition {p}: read up to {reached[p]}, it ends at {topic.latest.get(p, 'nothing')}"
            for p in sorted(behind, key=int)
        )
        raise Refused(
            f"topic {name} was made anew since it was read ({found or 'it has another id'}): Kafka "
            f"no longer has what the checkpoint expects, and its offsets mean other messages; "
            f"move {folder} away, and the topic is landed anew from its beginning"
        )
    losses = find_losses(topic, reached)
    if losses and not accepted:
        lost = sum(loss.messages for loss in losses)
        raise Refused(
            f"Kafka no longer has {plural(lost, 'message', 'messages')} that were not landed, its "
            f"retention has passed ({'; '.join(map(str, losses))}); produce them again, then "
            f"run with --accept-loss (in Airflow: accept_loss) to land what is left: reports "
            f"will say what was lost"
        )
    return losses


def keep_losses(losses: list[Loss], kept: Path, run: str, since: str | None) -> None:
    """Add losses to the file `kept`, before what is left is landed: a kill forgets none of them.

    `since` is when the landing last read the topic; what was lost came after it.
    """
    now = datetime.now(UTC).isoformat(timespec="seconds")
    for loss in losses:
        append_line(kept, {"run": run, "since": since, "at": now, **asdict(loss)})


def read_losses(kept: Path) -> list[Record]:
    """The losses that a landing has accepted; one that was tried twice is one."""
    found: dict[tuple[str, int, int], Record] = {}
    for line in kept.read_text().splitlines() if kept.is_file() else ():
        try:
            record = json.loads(line)
        except ValueError:
            continue  # torn by a kill; the run that came next has written it again
        found[(record["topic"], record["partition"], record["first"])] = record
    return list(found.values())


def loss_argument(parser: argparse.ArgumentParser) -> None:
    """`--accept-loss`; Airflow gives it with True or False behind."""
    parser.add_argument(
        "--accept-loss", nargs="?", const="True", default="False", choices=["True", "False"],
        help="land what Kafka still has, and record what it no longer has",
    )  # fmt: skip

"""Check the brokers and topics that a job's flags name, before its query starts."""

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Any

from py4j.java_gateway import JavaPackage
from py4j.protocol import Py4JJavaError
from pyspark.sql import SparkSession

from include.broker_probe import find_broker_failures
from include.errors import InvalidInput, RetryLater
from spark_jobs.streaming.options import read_kafka_login

MAX_LISTED_TOPICS = 20
# Parts of the client's error names that mean a wrong login or configuration. A retry does not help.
LOGIN_ERRORS = (
    "Authorization",
    "Authentication",
    "SslHandshake",
    "ConfigException",
    "Failed to create",
)
LOGIN_REMEDY = (
    "check that --kafka-login names the right file, and that its user has the permissions it needs"
)
Offsets = dict[str, int]  # partition -> offset, as Spark writes it


@dataclass(frozen=True)
class Topic:
    """A topic as the broker describes it. A topic that was deleted and created again has a new `id`."""

    name: str
    id: str
    earliest: Offsets
    latest: Offsets


def build_client_config(args: argparse.Namespace) -> dict[str, str]:
    """Return the properties of a Kafka client that reads: servers, timeouts and, if any, the login."""
    # Kafka's own timeouts are minutes. A broker that is down should be reported within seconds.
    timeouts = {"default.api.timeout.ms": "20000", "request.timeout.ms": "15000"}
    return {"bootstrap.servers": args.servers, **timeouts, **read_kafka_login(args)}


def check_servers(args: argparse.Namespace) -> None:
    """Raise RetryLater unless a Kafka broker answers at one of --servers.

    Spark itself would try for minutes.
    """
    failures = find_broker_failures(args.servers or "", has_login=bool(args.kafka_login))
    if failures:
        login_hint = (
            "" if args.kafka_login else "; a broker that requires a login needs --kafka-login"
        )
        raise RetryLater(
            f"no Kafka broker answers at {', '.join(failures)}; start it (`make up`) or correct "
            f"--servers{login_hint}"
        )


def check_connector(spark: SparkSession) -> None:
    """Raise InvalidInput unless Spark's Kafka connector is loaded."""
    jvm: Any = spark._jvm
    if isinstance(jvm.org.apache.spark.sql.kafka010.KafkaSourceProvider, JavaPackage):
        raise InvalidInput(
            "Spark's Kafka connector is missing: start the job with `./tidemark run`, or give "
            "spark-submit its --jars (`./tidemark run JOB … --print-command` prints them)"
        )


def check_topic(spark: SparkSession, args: argparse.Namespace, topic: str) -> None:
    """Raise InvalidInput, with a list of the topics that exist, unless `topic` is one of them."""
    client_config = build_client_config(args)
    if describe_topic(spark, client_config, topic) is not None:
        return
    # The most similar name first: most wrong names are typing errors.
    names = sorted(
        _list_topics(spark, client_config),
        key=lambda name: SequenceMatcher(None, topic, name).ratio(),
        reverse=True,
    )
    more = f" and {len(names) - MAX_LISTED_TOPICS:,} more" if len(names) > MAX_LISTED_TOPICS else ""
    raise InvalidInput(
        f"topic {topic!r}: the topic does not exist at {args.servers}, which has "
        f"{', '.join(names[:MAX_LISTED_TOPICS]) or 'no topics'}{more}; "
        f"create it with `./tidemark topics {topic}`"
    )


def _list_topics(spark: SparkSession, client_config: dict[str, str]) -> list[str]:
    with _open_admin_client(spark, client_config) as admin:
        return sorted(str(name) for name in admin.listTopics().names().get())


@contextmanager
def _open_admin_client(spark: SparkSession, client_config: dict[str, str]) -> Iterator[Any]:
    jvm: Any = spark._jvm
    properties = jvm.java.util.Properties()
    for key, value in client_config.items():
        properties.put(key, value)
    admin = jvm.org.apache.kafka.clients.admin.AdminClient.create(properties)
    try:
        yield admin
    finally:
        admin.close()


def describe_topic(spark: SparkSession, client_config: dict[str, str], topic: str) -> Topic | None:
    """Ask the broker for a topic's id and offsets, through the connector's own client.

    Args:
        spark: A session with the Kafka connector.
        client_config: Properties of the Kafka client, as `build_client_config` returns them.
        topic: Name of the topic.

    Returns:
        The topic; None if it does not exist.

    Raises:
        InvalidInput: The login or another client property is wrong. A retry does not help.
        RetryLater: The broker does not answer.
    """
    jvm: Any = spark._jvm
    kafka = jvm.org.apache.kafka
    try:
        with _open_admin_client(spark, client_config) as admin:
            names = jvm.java.util.ArrayList()
            names.add(topic)
            description = admin.describeTopics(names).allTopicNames().get().get(topic)
            specs = kafka.clients.admin.OffsetSpec

            def list_offsets(spec: Any) -> Offsets:
                request = jvm.java.util.HashMap()
                for info in description.partitions():
                    request.put(kafka.common.TopicPartition(topic, info.partition()), spec)
                offsets = admin.listOffsets(request).all().get()
                return {str(part.partition()): offsets.get(part).offset() for part in offsets}

            return Topic(
                topic,
                description.topicId().toString(),
                list_offsets(specs.earliest()),
                list_offsets(specs.latest()),
            )
    except Py4JJavaError as error:
        reason = join_causes(error)
        if "UnknownTopicOrPartition" in reason:
            return None
        message = (
            f"the broker at {client_config['bootstrap.servers']} did not give the offsets of topic "
            f"{topic}: {reason}"
        )
        if any(name in reason for name in LOGIN_ERRORS):
            raise InvalidInput(f"{message}\n  {LOGIN_REMEDY}") from None
        raise RetryLater(message) from None


def join_causes(error: Py4JJavaError) -> str:
    """Return the first line of a Java error and of its causes, the deepest last.

    The first message often says only which object could not be created. The deepest gives the reason.
    """
    messages: list[str] = []
    cause = error.java_exception
    while cause is not None and len(messages) < 10:
        messages.append((str(cause).splitlines() or [""])[0])  # what follows is a stack trace
        cause = cause.getCause()
    return "; ".join(dict.fromkeys(messages))

"""Whether Kafka can be read and written as a job was told, asked before its query starts."""

import argparse
import socket
import struct
from difflib import SequenceMatcher
from typing import Any

from py4j.java_gateway import JavaPackage
from pyspark.sql import SparkSession

from spark_jobs.runtime.losses import ask_broker
from spark_jobs.runtime.words import NotNow, Refused, login_of

SECONDS = 5
CORRELATION = 1
# Size, API key 18 (ApiVersions), version 0, correlation id, no client id: what every client may ask
# before it logs in (https://kafka.apache.org/protocol#The_Messages_ApiVersions).
API_VERSIONS = struct.pack(">ihhih", 10, 18, 0, CORRELATION, -1)
MOST_TOPICS = 20


def client_properties(args: argparse.Namespace) -> dict[str, str]:
    """What a Kafka client that reads is told: servers, patience and, if any, the login."""
    # Kafka's own patience is minutes; a broker that is gone should be told of in seconds.
    patience = {"default.api.timeout.ms": "20000", "request.timeout.ms": "15000"}
    return {"bootstrap.servers": args.servers, **patience, **login_of(args)}


def check_servers(args: argparse.Namespace) -> None:
    """Raise NotNow unless a Kafka broker answers at one of --servers; Spark would try for minutes."""
    failed = []
    for server in (args.servers or "").split(","):
        host, _, port = server.rpartition(":")
        try:
            with socket.create_connection((host, int(port)), timeout=SECONDS) as connection:
                # A broker that wants TLS answers nothing else.
                if args.kafka_login or _is_broker(connection):
                    return
            failed.append(f"{server} (accepts connections but is no Kafka broker)")
        except (OSError, ValueError) as error:
            failed.append(f"{server} ({error})")
    login = "" if args.kafka_login else "; a broker that asks for a login needs --kafka-login"
    raise NotNow(
        f"no Kafka broker answers at {', '.join(failed)}; start it (`make up`) or correct --servers"
        f"{login}"
    )


def _is_broker(connection: socket.socket) -> bool:
    try:
        connection.sendall(API_VERSIONS)
        answer = connection.recv(8, socket.MSG_WAITALL)
    except OSError:  # it hangs up, or says nothing
        return False
    return len(answer) == 8 and struct.unpack(">ii", answer)[1] == CORRELATION


def check_connector(spark: SparkSession) -> None:
    """Raise Refused unless the session has Spark's Kafka connector."""
    jvm: Any = spark._jvm
    if isinstance(jvm.org.apache.spark.sql.kafka010.KafkaSourceProvider, JavaPackage):
        raise Refused(
            "Spark's Kafka connector is missing: start the job with `./tidemark run`, or give "
            "spark-submit its --jars (`./tidemark run JOB … --print-command` prints them)"
        )


def check_topic(spark: SparkSession, args: argparse.Namespace, topic: str) -> None:
    """Raise Refused, with the topics that there are, unless `topic` is one of them."""
    told = client_properties(args)
    if ask_broker(spark, told, topic) is not None:
        return
    # The likeliest first: most wrong names are mistyped ones.
    names = sorted(
        _topics(spark, told),
        key=lambda name: SequenceMatcher(None, topic, name).ratio(),
        reverse=True,
    )
    more = f" and {len(names) - MOST_TOPICS:,} more" if len(names) > MOST_TOPICS else ""
    raise Refused(
        f"topic {topic!r}: the topic does not exist at {args.servers}, which has "
        f"{', '.join(names[:MOST_TOPICS]) or 'none'}{more}; `./tidemark topics {topic}` makes it"
    )


def _topics(spark: SparkSession, told: dict[str, str]) -> list[str]:
    jvm: Any = spark._jvm
    properties = jvm.java.util.Properties()
    for key, value in told.items():
        properties.put(key, value)
    admin = jvm.org.apache.kafka.clients.admin.AdminClient.create(properties)
    try:
        return sorted(str(name) for name in admin.listTopics().names().get())
    finally:
        admin.close()

"""Run one Kafka broker (KRaft, its own controller) on the loopback address, from the published jars."""

import os
import socket
import subprocess
import sys
import uuid
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from pathlib import Path

from include.errors import SetupError
from include.local_stack.processes import Service
from include.orchestration.java import find_java_home
from include.settings import PROJECT, Settings

PROPERTIES = """\
# Written by `make up`. One node that is broker and controller, for this machine only.
process.roles=broker,controller
node.id=1
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
controller.listener.names=CONTROLLER
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
controller.quorum.voters=1@127.0.0.1:{controller}
log.dirs={data}
num.partitions={partitions}
auto.create.topics.enable=false
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
group.initial.rebalance.delay.ms=0
"""


def service(settings: Settings) -> Service:
    return Service("kafka", settings.home)


def is_local(settings: Settings) -> bool:
    """Whether the settings name the local broker, and not one elsewhere."""
    return settings.kafka_servers == f"127.0.0.1:{settings.kafka_port}"


def start(settings: Settings) -> None:
    """Start the broker unless it runs, and wait until it accepts connections. Raises SetupError."""
    broker = service(settings)
    if broker.process() is None:
        data = settings.home / "kafka" / "data"
        properties = settings.home / "kafka" / "server.properties"
        properties.parent.mkdir(parents=True, exist_ok=True)
        properties.write_text(
            PROPERTIES.format(
                port=settings.kafka_port,
                controller=settings.kafka_controller_port,
                data=data,
                partitions=settings.partitions,
            )
        )
        if not (data / "meta.properties").is_file():
            format_storage(settings, properties, new_cluster_id())
        broker.start(java_command(settings, "kafka.Kafka", str(properties)), os.environ)
    broker.wait(lambda: is_reachable(settings.kafka_port), 60, "a broker that answers")


def make_topics(settings: Settings, env: Mapping[str, str] | None = None) -> None:
    """Create the project's missing topics with `producers.topics`. Raises SetupError."""
    command = [sys.executable, "-m", "producers.topics", "--servers", settings.kafka_servers]
    result = subprocess.run(
        command, cwd=PROJECT, env=env, capture_output=True, text=True, check=False
    )
    if result.returncode:
        raise SetupError(result.stderr.strip().splitlines()[-1])


def is_reachable(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def new_cluster_id() -> str:
    return urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=").replace("-", "A")


def format_storage(settings: Settings, properties: Path, cluster_id: str) -> None:
    """Create a node's data folder. All nodes of a cluster have the same id. Raises SetupError."""
    command = java_command(
        settings, "kafka.tools.StorageTool", "format", "-t", cluster_id, "-c", str(properties)
    )
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        raise SetupError(
            f"Kafka's storage could not be formatted by {properties}:\n{result.stdout}{result.stderr}"
        )


def java_command(settings: Settings, main_class: str, *arguments: str) -> list[str]:
    """Return the command that runs a class of the broker's jars."""
    return [
        str(find_java_home() / "bin" / "java"),
        "-Xmx512m",
        "-XX:+UseSerialGC",
        "-XX:TieredStopAtLevel=1",
        "-cp",
        f"{settings.jars}/broker/*",
        main_class,
        *arguments,
    ]

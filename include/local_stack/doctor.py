"""Check this machine for what the stack needs, with a remedy for each problem."""

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import psutil

from include.errors import SetupError
from include.kafka_login import read_login
from include.local_stack import airflow, broker
from include.local_stack.processes import find_listener, list_listening_sockets
from include.orchestration.jars import (
    S3_JARS,
    find_version_mismatches,
    find_wrong_jars,
    has_s3_landing,
)
from include.orchestration.java import find_java_home, read_java_version
from include.settings import Settings

GIB = 1024**3
MEMORY_NEEDED, DISK_NEEDED = 4 * GIB, 5 * GIB


class Finding(NamedTuple):
    """The result of one check.

    Attributes:
        name: What was checked.
        state: What was found.
        remedy: What to do; empty if nothing is wrong.
    """

    name: str
    state: str
    remedy: str = ""


def check_machine(settings: Settings) -> Iterator[Finding]:
    """Check everything that the stack needs: programs, jars, ports, logins, memory, folder, disk."""
    version = ".".join(map(str, sys.version_info[:3]))
    is_supported = (3, 11) <= sys.version_info < (3, 14)
    yield Finding("Python", version, "" if is_supported else "install Python 3.11, 3.12 or 3.13")
    try:
        home = find_java_home()
        yield Finding("Java", f"{read_java_version(home)} in {home}")
    except SetupError as error:
        yield Finding("Java", "no supported version found", str(error))
    mismatches = find_version_mismatches()
    yield Finding(
        "Packages",
        "versions match" if not mismatches else "versions do not match",
        "; ".join(mismatches),
    )
    wrong = find_wrong_jars(settings.jars)
    yield Finding(
        "Jars",
        "checksums match" if not wrong else f"{len(wrong)} missing or changed",
        "download them with `make setup`" if wrong else "",
    )
    if has_s3_landing(settings):
        wrong = find_wrong_jars(settings.s3_jars, S3_JARS)
        yield Finding(
            "Jars for S3",
            "checksums match" if not wrong else f"{len(wrong)} missing or changed",
            "download them with `make setup`" if wrong else "",
        )
    yield from _check_ports(settings)
    yield from _check_logins(settings)
    memory = psutil.virtual_memory().available
    yield Finding(
        "Memory",
        f"{memory / GIB:.1f} GiB available",
        "4 GiB are needed; close other programs" if memory < MEMORY_NEEDED else "",
    )
    settings.home.mkdir(mode=0o700, parents=True, exist_ok=True)
    is_open = settings.home.stat().st_mode & 0o077
    yield Finding(
        "Folder",
        f"{settings.home}, "
        + ("open to other users" if is_open else "accessible to its owner only"),
        f"run `make up`, or: chmod 700 {settings.home}" if is_open else "",
    )
    disk = shutil.disk_usage(settings.home).free
    yield Finding(
        "Disk",
        f"{disk / GIB:.1f} GiB free under {settings.home}",
        "5 GiB are needed; free some space, or set TIDEMARK_HOME to a folder on another disk"
        if disk < DISK_NEEDED
        else "",
    )


def _check_ports(settings: Settings) -> Iterator[Finding]:
    own_pids = set()
    for service in (broker.service(settings), airflow.service(settings)):
        own_pids |= {process.pid for process in service.process_tree()}
    own_ports = {port for _, port, pid in list_listening_sockets() if pid in own_pids}
    for name, port in settings.ports.items():
        check = f"Port {port}"
        if port in own_ports:
            yield Finding(check, f"in use by this project ({name})")
        elif (listener := find_listener(port)) is None:
            yield Finding(check, f"free, for {name}")
        else:
            free_port = find_free_port(port + 10_000)
            yield Finding(
                check,
                f"taken by {listener}",
                f"stop that process, or choose another port: "
                f"echo TIDEMARK_{name.upper()}={free_port} >> .env",
            )


def _check_logins(settings: Settings) -> Iterator[Finding]:
    producers, jobs = settings.kafka_producer_login, settings.kafka_spark_login
    for path in filter(None, (producers, jobs)):
        try:
            login = read_login(Path(path), is_for_python=path == producers)
            yield Finding("Kafka login", f"{path}: {login['security.protocol']}")
        except ValueError as error:
            yield Finding("Kafka login", "cannot be used", str(error))


def find_free_port(port: int) -> int:
    """Return the first port, from `port` upwards, on which no process listens."""
    while find_listener(port):
        port += 1
    return port

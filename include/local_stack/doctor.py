"""What is missing or in the way on this machine, each with its remedy."""

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import psutil

from include.kafka_login import read_login
from include.local_stack import airflow, broker
from include.local_stack.jars import FOR_S3, needs_s3, version_mismatches, wrong_jars
from include.local_stack.java import java_home, java_version
from include.local_stack.processes import StackError, listener, listening
from include.settings import Settings

GIB = 1024**3
MEMORY_NEEDED, DISK_NEEDED = 4 * GIB, 5 * GIB


class Finding(NamedTuple):
    """One thing that was looked at; `remedy` is empty when it is as it should be."""

    what: str
    found: str
    remedy: str = ""


def examine(settings: Settings) -> Iterator[Finding]:
    """Look at everything that the stack needs."""
    version = ".".join(map(str, sys.version_info[:3]))
    too_old = sys.version_info < (3, 11)
    yield Finding("Python", version, "Python 3.11 or later is needed" if too_old else "")
    try:
        home = java_home()
        yield Finding("Java", f"{java_version(home)} in {home}")
    except StackError as error:
        yield Finding("Java", "none that fits", str(error))
    yield Finding("Packages", "fit together" if not version_mismatches() else "do not fit",
                  "; ".join(version_mismatches()))  # fmt: skip
    wrong = wrong_jars(settings.jars)
    yield Finding("Jars", "as recorded" if not wrong else f"{len(wrong)} missing or changed",
                  "`make setup` brings them" if wrong else "")  # fmt: skip
    if needs_s3(settings):
        wrong = wrong_jars(settings.s3_jars, FOR_S3)
        yield Finding("Jars for S3", "as recorded" if not wrong else f"{len(wrong)} missing or changed",
                      "`make setup` brings them" if wrong else "")  # fmt: skip
    yield from _ports(settings)
    yield from _logins(settings)
    memory = psutil.virtual_memory().available
    yield Finding("Memory", f"{memory / GIB:.1f} GiB available",
                  "4 GiB are needed; end other programs" if memory < MEMORY_NEEDED else "")  # fmt: skip
    settings.home.mkdir(mode=0o700, parents=True, exist_ok=True)
    is_open = settings.home.stat().st_mode & 0o077
    yield Finding(
        "Folder", f"{settings.home}, " + ("open to other users" if is_open else "its owner's only"),
        f"`make up` closes it, or: chmod 700 {settings.home}" if is_open else "",
    )  # fmt: skip
    disk = shutil.disk_usage(settings.home).free
    yield Finding(
        "Disk", f"{disk / GIB:.1f} GiB free under {settings.home}",
        "5 GiB are needed; free some, or set TIDEMARK_HOME" if disk < DISK_NEEDED else "",
    )  # fmt: skip


def _ports(settings: Settings) -> Iterator[Finding]:
    ours = set()
    for service in (broker.service(settings), airflow.service(settings)):
        ours |= {process.pid for process in service.family()}
    taken_by_us = {port for _, port, pid in listening() if pid in ours}
    for name, port in settings.ports.items():
        what = f"Port {port}"
        if port in taken_by_us:
            yield Finding(what, f"in use by this project ({name})")
        elif (holder := listener(port)) is None:
            yield Finding(what, f"free, for {name}")
        else:
            free = free_port(port + 10_000)
            yield Finding(
                what, f"taken by {holder}",
                f"end that process, or choose another port: "
                f"echo TIDEMARK_{name.upper()}={free} >> .env",
            )  # fmt: skip


def _logins(settings: Settings) -> Iterator[Finding]:
    producers, jobs = settings.kafka_producer_login, settings.kafka_spark_login
    for login in filter(None, (producers, jobs)):
        try:
            found = read_login(Path(login), by_python=login == producers)
            yield Finding("Kafka login", f"{login}: {found['security.protocol']}")
        except ValueError as why:
            yield Finding("Kafka login", "cannot be used", str(why))


def free_port(port: int) -> int:
    """The first port from `port` on that nobody listens on."""
    while listener(port):
        port += 1
    return port

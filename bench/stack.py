"""What a benchmark runs on: a broker and jobs of its own, on free ports, in a folder that goes."""

import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from include.local_stack import broker as local_broker
from include.local_stack.airflow import environment
from include.local_stack.doctor import free_port
from include.local_stack.jars import connector_jars, ensure_jars
from include.package import package_jobs
from include.settings import Settings, load_settings
from include.spark_conf import spark_conf


@dataclass(frozen=True)
class Cost:
    """What a whole process took: seconds, and the peak memory of it and its children in MiB."""

    seconds: float
    mib: float
    printed: str = ""


@contextmanager
def fresh_lake() -> Iterator[Settings]:
    """Settings of a lake with nothing in it, on free ports; its folder goes afterwards."""
    here = load_settings()
    jars = here.jars
    ensure_jars(jars)
    with tempfile.TemporaryDirectory(prefix="tidemark-bench-") as folder:
        (Path(folder) / "jars").symlink_to(jars)
        told, port = {"TIDEMARK_HOME": folder}, 31092
        for name in here.ports:
            port = free_port(port + 1)
            told[f"TIDEMARK_{name.upper()}"] = str(port)
        yield load_settings(told)


@contextmanager
def fresh_broker() -> Iterator[Settings]:
    """A Kafka broker with nothing in it; settings that name it. It and its folder go afterwards."""
    with fresh_lake() as settings:
        local_broker.start(settings)
        try:
            yield settings
        finally:
            local_broker.service(settings).stop()


def start_job(
    settings: Settings, job: str, *flags: object, output: Path, lines: int = 0
) -> subprocess.Popen[bytes]:
    """Submit a job as Airflow does; what it prints goes to `output`."""
    return start(settings, submit(settings, f"spark_jobs/{job}.py", *flags, lines=lines), output)


def submit(settings: Settings, application: str, *flags: object, lines: int = 0) -> list[str]:
    """The command by which Airflow submits an application that will read so many lines.

    Kafka's jars are with it, unless its flags say that it reads something else.
    """
    conf = [f"--conf={name}={value}" for name, value in spark_conf(settings, str(lines)).items()]
    source = next((str(flag) for flag in flags if ":" in str(flag)), "kafka:")
    jars = ",".join(map(str, connector_jars(settings.jars)))
    of_kafka = [f"--jars={jars}"] if source.startswith("kafka:") else []
    return [
        spark_submit(), "--master=local[*]", *conf, f"--driver-memory={settings.driver_memory}",
        *of_kafka, f"--py-files={package_jobs(settings.job_zip)}", application, *map(str, flags),
    ]  # fmt: skip


def spark_submit() -> str:
    return str(Path(sys.executable).with_name("spark-submit"))


def start(settings: Settings, command: list[str], output: Path) -> subprocess.Popen[bytes]:
    """Start a process in Airflow's environment; what it prints goes to `output`."""
    env = os.environ | environment(settings)
    with output.open("wb") as out:
        return subprocess.Popen(command, env=env, stdout=out, stderr=subprocess.STDOUT)


def cost_of(started: subprocess.Popen[bytes], output: Path) -> Cost:
    """Wait for a process that was just started. Raises SystemExit with its last words if it fails."""
    begun, peak, over = time.monotonic(), 0, threading.Event()

    def watch() -> None:
        nonlocal peak
        while not over.wait(0.2):
            try:
                process = psutil.Process(started.pid)
                family = [process, *process.children(recursive=True)]
                peak = max(peak, sum(member.memory_info().rss for member in family))
            except psutil.NoSuchProcess:
                continue

    watching = threading.Thread(target=watch)
    watching.start()
    code = started.wait()
    seconds = time.monotonic() - begun
    over.set()
    watching.join()
    printed = output.read_text(errors="replace")
    if code:
        raise SystemExit(f"{started.args} ended with {code}:\n{printed[-2000:]}")
    return Cost(round(seconds, 2), round(peak / 2**20), printed)


def job_cost(settings: Settings, job: str, *flags: object, lines: int) -> Cost:
    """What a whole `spark-submit` of the job takes, on so many lines."""
    output = settings.home / f"{job}.out"
    return cost_of(start_job(settings, job, *flags, output=output, lines=lines), output)


def command_cost(settings: Settings, command: list[str]) -> Cost:
    """What a whole process takes."""
    output = settings.home / "command.out"
    return cost_of(start(settings, command, output), output)


def timed(step: Callable[[], Any]) -> tuple[float, Any]:
    begun = time.monotonic()
    found = step()
    return round(time.monotonic() - begun, 2), found

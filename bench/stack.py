"""Set up what a benchmark runs on: an empty lake, a broker and jobs, in a temporary folder."""

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
from include.local_stack.doctor import find_free_port
from include.orchestration.jars import ensure_jars, list_connector_jars
from include.orchestration.package import package_jobs
from include.orchestration.spark_conf import build_spark_conf
from include.settings import Settings, load_settings


@dataclass(frozen=True)
class Cost:
    """What a whole process used.

    Attributes:
        seconds: Duration.
        peak_mib: Peak memory of the process and its children, in MiB.
        output: What the process printed.
    """

    seconds: float
    peak_mib: float
    output: str = ""


@contextmanager
def fresh_lake() -> Iterator[Settings]:
    """Yield the settings of an empty lake on free ports, and delete its folder afterwards."""
    own_settings = load_settings()
    jars = own_settings.jars
    ensure_jars(jars)
    with tempfile.TemporaryDirectory(prefix="tidemark-bench-") as folder:
        (Path(folder) / "jars").symlink_to(jars)
        env, port = {"TIDEMARK_HOME": folder}, 31092
        for name in own_settings.ports:
            port = find_free_port(port + 1)
            env[f"TIDEMARK_{name.upper()}"] = str(port)
        yield load_settings(env)


@contextmanager
def fresh_broker() -> Iterator[Settings]:
    """Start an empty Kafka broker and yield its settings; stop it and delete its folder afterwards."""
    with fresh_lake() as settings:
        local_broker.start(settings)
        try:
            yield settings
        finally:
            local_broker.service(settings).stop()


def start_job(
    settings: Settings, job: str, *flags: object, output: Path, lines: int = 0
) -> subprocess.Popen[bytes]:
    """Submit a job like Airflow does. Its output goes to the file `output`."""
    return start_process(
        settings,
        build_submit_command(settings, f"spark_jobs/{job}.py", *flags, lines=lines),
        output,
    )


def build_submit_command(
    settings: Settings, application: str, *flags: object, lines: int = 0, source: str = ""
) -> list[str]:
    """Return the command with which Airflow submits an application.

    It includes Kafka's jars unless the flags name another source.

    Args:
        settings: The lake's settings.
        application: Path of the application.
        flags: Flags of the application.
        lines: Number of lines that it will read, which decides the Spark configuration.
        source: Its source, if no flag names it.
    """
    conf = [
        f"--conf={name}={value}" for name, value in build_spark_conf(settings, str(lines)).items()
    ]
    source = source or next((str(flag) for flag in flags if ":" in str(flag)), "kafka:")
    jars = ",".join(map(str, list_connector_jars(settings.jars)))
    jar_flags = [f"--jars={jars}"] if source.startswith("kafka:") else []
    return [
        spark_submit_path(),
        "--master=local[*]",
        *conf,
        f"--driver-memory={settings.driver_memory}",
        *jar_flags,
        f"--py-files={package_jobs(settings.job_zip)}",
        application,
        *map(str, flags),
    ]


def spark_submit_path() -> str:
    return str(Path(sys.executable).with_name("spark-submit"))


def start_process(settings: Settings, command: list[str], output: Path) -> subprocess.Popen[bytes]:
    """Start a process in Airflow's environment. Its output goes to the file `output`."""
    env = os.environ | environment(settings)
    with output.open("wb") as out:
        return subprocess.Popen(command, env=env, stdout=out, stderr=subprocess.STDOUT)


def measure_process(process: subprocess.Popen[bytes], output: Path) -> Cost:
    """Wait for a process that was just started, and measure it.

    Raises:
        SystemExit: The process failed; with the end of its output.
    """
    started, peak_bytes, ended = time.monotonic(), 0, threading.Event()

    def watch_memory() -> None:
        nonlocal peak_bytes
        while not ended.wait(0.2):
            try:
                root = psutil.Process(process.pid)
                tree = [root, *root.children(recursive=True)]
                peak_bytes = max(peak_bytes, sum(map(_read_pss, tree)))
            except psutil.NoSuchProcess:
                continue

    watcher = threading.Thread(target=watch_memory)
    watcher.start()
    code = process.wait()
    seconds = time.monotonic() - started
    ended.set()
    watcher.join()
    text = output.read_text(errors="replace")
    if code:
        raise SystemExit(f"{process.args} failed with exit code {code}:\n{text[-2000:]}")
    return Cost(round(seconds, 2), round(peak_bytes / 2**20), text)


def _read_pss(process: psutil.Process) -> int:
    """Bytes of memory, of what is shared with other processes its share; what they share counts once."""
    try:
        memory = process.memory_full_info()
    except psutil.NoSuchProcess:
        return 0
    return int(getattr(memory, "pss", memory.rss))  # only Linux knows the share


def measure_job(settings: Settings, job: str, *flags: object, lines: int) -> Cost:
    """Measure a whole `spark-submit` of a job that reads `lines` lines."""
    output = settings.home / f"{job}.out"
    return measure_process(start_job(settings, job, *flags, output=output, lines=lines), output)


def measure_command(settings: Settings, command: list[str]) -> Cost:
    """Measure a whole process."""
    output = settings.home / "command.out"
    return measure_process(start_process(settings, command, output), output)


def measure_seconds(step: Callable[[], Any]) -> tuple[float, Any]:
    """Run a function and return its seconds and its result."""
    started = time.monotonic()
    result = step()
    return round(time.monotonic() - started, 2), result

"""What a benchmark runs on: a broker and jobs of its own, on free ports, in a folder that goes."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from include.local_stack import broker as local_broker
from include.local_stack.airflow import environment
from include.local_stack.doctor import free_port
from include.local_stack.jars import connector_jars, ensure_jars
from include.package import package_jobs
from include.settings import Settings, load_settings
from include.spark_submit import spark_conf


@contextmanager
def fresh_broker() -> Iterator[Settings]:
    """A Kafka broker with nothing in it; settings that name it. It and its folder go afterwards."""
    jars = load_settings().jars
    ensure_jars(jars)
    with tempfile.TemporaryDirectory(prefix="tidemark-bench-") as folder:
        (Path(folder) / "jars").symlink_to(jars)
        port = free_port(31092)
        settings = load_settings({
            "TIDEMARK_HOME": folder, "TIDEMARK_KAFKA_PORT": str(port),
            "TIDEMARK_KAFKA_CONTROLLER_PORT": str(free_port(port + 1)),
        })  # fmt: skip
        local_broker.start(settings)
        try:
            yield settings
        finally:
            local_broker.service(settings).stop()


def start_job(
    settings: Settings, job: str, *flags: object, output: Path
) -> subprocess.Popen[bytes]:
    """Submit a job as Airflow does; what it prints goes to `output`."""
    archive = package_jobs(settings.job_zip)
    conf = [f"--conf={name}={value}" for name, value in spark_conf(settings).items()]
    jars = ",".join(map(str, connector_jars(settings.jars)))
    command = [
        str(Path(sys.executable).with_name("spark-submit")), "--master=local[*]", *conf,
        f"--driver-memory={settings.driver_memory}", f"--jars={jars}", f"--py-files={archive}",
        f"spark_jobs/{job}.py", *map(str, flags),
    ]  # fmt: skip
    env = os.environ | environment(settings)
    with output.open("wb") as out:
        return subprocess.Popen(command, env=env, stdout=out, stderr=subprocess.STDOUT)

"""What must be there before a Spark job is submitted, each with the remedy if it is not."""

import shutil
import socket
from importlib.util import find_spec
from pathlib import Path

from airflow.sdk import BaseHook
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowNotFoundException

from include.kafka_login import read_login
from include.local_stack.jars import FOR_S3, needs_s3, version_mismatches, wrong_jars
from include.log_formats import compile_log_format
from include.package import package_jobs
from include.settings import Settings
from include.spark_submit import CONNECTION


def check(settings: Settings, source: str) -> str:
    """Raise AirflowFailException for what a retry cannot mend, AirflowException for what it can.

    Makes the folders that a job expects and packs the jobs' zip. Gives the Spark master.
    """
    master = _spark_master()
    if shutil.which("java") is None:
        raise AirflowFailException("there is no `java` here; install Java 17 or 21 (`make doctor`)")
    try:
        if settings.log_format:
            compile_log_format(settings.log_format)
    except ValueError as why:
        raise AirflowFailException(f"TIDEMARK_LOG_FORMAT={settings.log_format!r}: {why}") from None
    problems = version_mismatches()
    if master.startswith("k8s://") and find_spec("airflow.providers.cncf") is None:
        problems.append(
            "the driver's pod is watched by a provider that is not installed: "
            "`pip install apache-airflow-providers-cncf-kubernetes`"
        )
    if source == "kafka" and (wrong := wrong_jars(settings.jars)):
        problems.append(f"jars that are not as recorded: {', '.join(wrong)}; run `make setup`")
    if needs_s3(settings) and (wrong := wrong_jars(settings.s3_jars, FOR_S3)):
        problems.append(
            f"jars for S3 that are not as recorded: {', '.join(wrong)}; run `make setup`"
        )
    if problems:
        raise AirflowFailException("; ".join(problems))
    if source == "kafka":
        _check_broker(settings.kafka_servers)
        _check_logins(settings)
    for folder in (settings.lake / "inbox" / "access_log", settings.home / "spark"):
        folder.mkdir(parents=True, exist_ok=True)
    package_jobs(settings.job_zip)
    return master


def _spark_master() -> str:
    """Without the connection the provider would fall back to YARN, and not say so."""
    try:
        host = BaseHook.get_connection(CONNECTION).host
    except AirflowNotFoundException:
        host = None
    if not host:
        raise AirflowFailException(
            f"the Airflow connection {CONNECTION!r} is missing or has no host; add it under "
            f"Admin, Connections: type Spark, host local[*] or spark://HOST:PORT (`make up` does it)"
        )
    return host


def _check_logins(settings: Settings) -> None:
    """Of the producers as well: with theirs it is asked whether there is anything new."""
    for name in ("kafka_producer_login", "kafka_spark_login"):
        if path := getattr(settings, name):
            try:
                read_login(Path(path), by_python=name == "kafka_producer_login")
            except ValueError as why:
                raise AirflowFailException(f"TIDEMARK_{name.upper()}: {why}") from None


def _check_broker(servers: str) -> None:
    failed = []
    for server in servers.split(","):
        host, _, port = server.rpartition(":")
        try:
            socket.create_connection((host, int(port)), timeout=5).close()
            return
        except (OSError, ValueError) as error:
            failed.append(f"{server}: {error}")
    raise AirflowException(
        f"no Kafka broker answers ({'; '.join(failed)}); start it with `make up`, "
        f"or correct TIDEMARK_KAFKA_SERVERS"
    )

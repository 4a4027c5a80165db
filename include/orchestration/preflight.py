"""Check the prerequisites of a Spark job before it is submitted. Each error says what to do."""

import shutil
from importlib.util import find_spec
from pathlib import Path

from airflow.sdk import BaseHook
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowNotFoundException

from include.broker_probe import find_broker_failures
from include.datasets import DATASETS
from include.kafka_login import read_login
from include.lake.paths import inbox_path
from include.log_formats.log_format import compile_log_format
from include.orchestration.jars import (
    S3_JARS,
    find_version_mismatches,
    find_wrong_jars,
    has_s3_landing,
)
from include.orchestration.package import package_jobs
from include.orchestration.spark_submit import CONNECTION_ID
from include.settings import Settings


def check_prerequisites(settings: Settings, source_kind: str) -> str:
    """Check the prerequisites, create the folders that a job expects, and write the jobs' zip.

    Args:
        source_kind: `kafka` also checks the connector jars, the broker and the logins; or `files`.

    Returns:
        The Spark master of the connection `spark_default`.

    Raises:
        AirflowFailException: Something is missing or wrong that a retry cannot fix.
        AirflowException: No broker answers; a retry may help.
    """
    master = _get_spark_master()
    if shutil.which("java") is None:
        raise AirflowFailException(
            "`java` is not in PATH; install Java 17 or 21, then check it with `make doctor`"
        )
    try:
        if settings.log_format:
            compile_log_format(settings.log_format)
    except ValueError as error:
        raise AirflowFailException(
            f"TIDEMARK_LOG_FORMAT={settings.log_format!r}: {error}"
        ) from None
    problems = find_version_mismatches()
    if master.startswith("k8s://") and find_spec("airflow.providers.cncf") is None:
        problems.append(
            "the Airflow provider that watches the driver's pod is not installed; run "
            "`pip install apache-airflow-providers-cncf-kubernetes`"
        )
    if source_kind == "kafka" and (wrong := find_wrong_jars(settings.jars)):
        problems.append(f"missing or changed jars: {', '.join(wrong)}; run `make setup`")
    if has_s3_landing(settings) and (wrong := find_wrong_jars(settings.s3_jars, S3_JARS)):
        problems.append(f"missing or changed jars for S3: {', '.join(wrong)}; run `make setup`")
    if problems:
        raise AirflowFailException("; ".join(problems))
    if source_kind == "kafka":
        _check_broker(settings)
        _check_logins(settings)
    inboxes = [inbox_path(settings, d.name) for d in DATASETS if "files" in d.source_kinds]
    for folder in (*inboxes, settings.home / "spark"):
        folder.mkdir(parents=True, exist_ok=True)
    package_jobs(settings.job_zip)
    return master


def _get_spark_master() -> str:
    """Return the host of the Spark connection. Without one the provider would silently use YARN."""
    try:
        host = BaseHook.get_connection(CONNECTION_ID).host
    except AirflowNotFoundException:
        host = None
    if not host:
        raise AirflowFailException(
            f"the Airflow connection {CONNECTION_ID!r} is missing or has no host; run `make up`, or add it "
            f"under Admin, Connections: type Spark, host local[*] or spark://HOST:PORT"
        )
    return host


def _check_logins(settings: Settings) -> None:
    """Check the logins of Spark and of the producers; the DAGs read offsets with the producers' login."""
    for name in ("kafka_producer_login", "kafka_spark_login"):
        if path := getattr(settings, name):
            try:
                read_login(Path(path), is_for_python=name == "kafka_producer_login")
            except ValueError as error:
                raise AirflowFailException(f"TIDEMARK_{name.upper()}: {error}") from None


def _check_broker(settings: Settings) -> None:
    failures = find_broker_failures(
        settings.kafka_servers, has_login=bool(settings.kafka_spark_login)
    )
    if failures:
        raise AirflowException(
            f"no Kafka broker answers at {', '.join(failures)}; start it (`make up`) or correct "
            f"TIDEMARK_KAFKA_SERVERS"
        )

"""Operators that submit a Spark job; every DAG uses them. Importing this does not import pyspark."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from airflow.providers.apache.spark.operators.spark_submit import SparkSubmitOperator
from airflow.sdk import RetryDecision, RetryPolicy

from include.orchestration.spark_conf import (
    CONNECTOR_JARS,
    build_kafka_flags,
    build_line_flags,
    build_spark_conf,
    build_summary_flags,
    format_flags,
)
from include.settings import PROJECT, Settings, load_settings

CONNECTION_ID = "spark_default"


class FailOnInvalidInput(RetryPolicy):
    """Do not retry a job that refused its input (exit code 2); retry after every other failure."""

    def evaluate(
        self, exception: BaseException, try_number: int, max_tries: int, context: Any = None
    ) -> RetryDecision:
        if "Error code is: 2." in str(exception):
            return RetryDecision.fail("the job refused its input; the end of its log says why")
        return RetryDecision.default()


def spark_job(
    job: str,
    *,
    flags: Mapping[str, Any] | None = None,
    application_args: Any = None,
    has_kafka: bool = False,
    line_count: str = "0",
    task_id: str | None = None,
    **operator_args: Any,
) -> SparkSubmitOperator:
    """Submit spark_jobs/<job>.py.

    Args:
        job: Name of the job; may be a template.
        flags: Flags of the job: {"run_seconds": 60} is `--run-seconds=60`. Values may be templates.
        application_args: Flags as a list, instead of `flags`, such as the result of another task.
        has_kafka: Add the Kafka connector jars, and the flags for servers and login.
        line_count: As in `build_spark_conf`.
        task_id: Default: the job's name.
        operator_args: Arguments of SparkSubmitOperator, such as `pool`, `outlets`, `execution_timeout`.
    """
    settings = load_settings()
    flags = {**(flags or {}), **(build_kafka_flags(settings) if has_kafka else {})}
    return SparkSubmitOperator(
        task_id=task_id or job,
        name=job,
        conn_id=CONNECTION_ID,
        application=str(PROJECT / "spark_jobs" / f"{job}.py"),
        py_files=str(settings.job_zip),
        jars=",".join(str(settings.jars / jar) for jar in CONNECTOR_JARS) if has_kafka else None,
        conf=build_spark_conf(settings, line_count),
        # Not as SPARK_CONF_DIR: that folder would join the class path, and Java would not use the class
        # archive.
        properties_file=str(Path(settings.spark_conf_dir) / "spark-defaults.conf")
        if settings.spark_conf_dir
        else None,
        driver_memory=settings.driver_memory,
        retry_policy=FailOnInvalidInput(),
        spark_binary=str(Path(sys.executable).with_name("spark-submit")),
        application_args=application_args or format_flags(flags),
        **operator_args,
    )


def build_parsing_flags(settings: Settings) -> dict[str, str]:
    """Return the parsing flags for landing access-log lines and re-parsing bad ones, safe as templates."""
    values = build_line_flags(settings, "land_access_log")
    # As a Jinja string literal: `{%` in `%{%d/%b/%Y}t` would begin a Jinja statement.
    return values | {"log_format": "{{ " + repr(settings.log_format) + " }}"}


def summarise_days(
    settings: Settings,
    source_kind: str,
    days: str,
    *,
    sink: str,
    flags: Mapping[str, Any] | None = None,
    line_count: str = "0",
    **operator_args: Any,
) -> SparkSubmitOperator:
    """Submit summarise_access_log.

    Args:
        source_kind: `kafka` or `files`; may be a template.
        days: ISO dates separated by commas; may be a template.
        sink: Folder of the summaries; each day gets a folder in it. May be a template.
        flags: Further flags of the job.
        line_count, operator_args: As in `spark_job`.
    """
    source_flags = build_summary_flags(settings, source_kind)
    return spark_job(
        "summarise_access_log",
        flags={
            **source_flags,
            "days": days,
            "sink": f"summary:{sink}",
            "run_id": "{{ run_id }}",
            **(flags or {}),
        },
        line_count=line_count,
        **operator_args,
    )

"""The one way a DAG runs a Spark job. Importing this does not import pyspark."""

import sys
from pathlib import Path
from typing import Any

from airflow.providers.apache.spark.operators.spark_submit import SparkSubmitOperator
from airflow.sdk import RetryDecision, RetryPolicy

from include.lake import landing
from include.settings import PROJECT, Settings, load_settings
from include.spark_conf import CONNECTOR_JARS, flags, kafka_flags, line_flags, spark_conf

CONNECTION = "spark_default"


class RefusedIsFinal(RetryPolicy):
    """A job that refuses its input would refuse it again; all else may be tried again."""

    def evaluate(
        self, exception: BaseException, try_number: int, max_tries: int, context: Any = None
    ) -> RetryDecision:
        if "Error code is: 2." in str(exception):
            return RetryDecision.fail("the job refuses what it was told; see the end of its log")
        return RetryDecision.default()


def spark_job(
    job: str, *, kafka: bool = False, task_id: str | None = None, lines: str = "0", **arguments: Any
) -> SparkSubmitOperator:
    """Submit spark_jobs/<job>.py; `kafka` gives it the connector, and says where and as whom.

    `job` may be a template.

    `lines` as in `spark_conf`.

    What SparkSubmitOperator and BaseOperator know by name (`pool`, `retries`, `outlets`, …) goes
    under `operator`; the rest are the job's flags: run_seconds=60 is `--run-seconds=60`.
    """
    settings = load_settings()
    operator = arguments.pop("operator", {})
    if kafka:
        arguments |= kafka_flags(settings)
    return SparkSubmitOperator(
        task_id=task_id or job,
        name=job,
        conn_id=CONNECTION,
        application=str(PROJECT / "spark_jobs" / f"{job}.py"),
        py_files=str(settings.job_zip),
        jars=",".join(str(settings.jars / jar) for jar in CONNECTOR_JARS) if kafka else None,
        conf=spark_conf(settings, lines),
        # Not as SPARK_CONF_DIR: that would be on the class path, and the archive of classes not used.
        properties_file=str(Path(settings.spark_conf_dir) / "spark-defaults.conf")
        if settings.spark_conf_dir
        else None,
        driver_memory=settings.driver_memory,
        retry_policy=RefusedIsFinal(),
        spark_binary=str(Path(sys.executable).with_name("spark-submit")),
        application_args=arguments.pop("application_args", None) or flags(arguments),
        **operator,
    )


def parsing(settings: Settings) -> dict[str, str]:
    """The flags by which access-log lines are read, as a template: for landing, and replaying bad ones."""
    values = line_flags(settings, "land_access_log")
    # As a literal of Jinja's: `%{%d/%b/%Y}t` would begin one of its statements.
    return values | {"log_format": "{{ " + repr(settings.log_format) + " }}"}


def summarise_days(
    settings: Settings, kind: str, days: str, *, sink: str, **arguments: Any
) -> SparkSubmitOperator:
    """Submit summarise_access_log for `days` of a source kind; both may be templates."""
    found, of_other = (
        "parquet:" + str(landing(settings, "access_log", name) / "data")
        for name in (kind, other_kind(kind))
    )
    return spark_job(
        "summarise_access_log", source=found, source_kind=kind, other=of_other, days=days,
        sink=f"summary:{sink}", time_zone=settings.time_zone, run_id="{{ run_id }}",
        site_name=settings.site_name, maxmind=settings.maxmind_files, **arguments,
    )  # fmt: skip


def other_kind(kind: str) -> str:
    """The source kind that a report only counts, also of a template such as `{{ params.source }}`."""
    if not kind.startswith("{{"):
        return "kafka" if kind == "files" else "files"
    name = kind.strip("{} ")
    return "{{ 'files' if " + name + " == 'kafka' else 'kafka' }}"

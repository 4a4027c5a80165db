"""Build the Spark configuration and flags of a job. Imports neither Airflow nor pyspark."""

from typing import Any

from include.lake.paths import landing_endpoint, ready_path, w3c_fields_path
from include.orchestration.class_archive import build_java_options
from include.settings import PROJECT, Settings

CHECKSUMS = (PROJECT / "include" / "orchestration" / "jars.sha256").read_text().split()
CONNECTOR_JARS = [name for name in CHECKSUMS if name.startswith("connector/")]
# Flags from the settings that control how a job parses and anonymises lines.
READER_FLAGS = ("log_format", "w3c_fields", "anonymise", "drop_query_names")
LINE_FLAGS = {
    "land_access_log": (*READER_FLAGS, "time_zone", "future_hours"),
    "replay_bad_lines": (*READER_FLAGS, "time_zone", "future_hours"),
    "watch_access_log": (*READER_FLAGS, "time_zone"),
    "route_errors": ("log_format",),
    "land_clickstream": ("time_zone",),
    "summarise_access_log": ("time_zone",),
    "summarise_clickstream": ("time_zone",),
}
MANY_LINES = 1_000_000
LOG4J_FILE = PROJECT / "include" / "log4j2.properties"


def build_spark_conf(
    settings: Settings, line_count: str = "0", log_level: str = "warn"
) -> dict[str, str]:
    """Return the Spark configuration that every job is submitted with.

    It contains no secrets, because the command is logged.

    Args:
        line_count: About how many lines the job will read: a number, or a Jinja expression. For many lines
            the JVM gets the better compiler, which needs a few seconds to pay off.
        log_level: Level of Spark's own log, such as `warn` or `off`.
    """
    log = f"-Dlog4j2.configurationFile={LOG4J_FILE.as_uri()} -Dtidemark.log={log_level}"
    short, long = (
        f"{build_java_options(settings, is_long_job=is_long)} {log}" for is_long in (False, True)
    )
    if line_count.isdigit():
        java = long if int(line_count) > MANY_LINES else short
    else:
        java = f"{{{{ {long!r} if ({line_count} or 0) > {MANY_LINES} else {short!r} }}}}"
    return {
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.driver.extraJavaOptions": java,
        "spark.local.dir": str(settings.home / "spark"),
        # Hadoop sets file modes by this value and ignores the process umask. It is set here and not in the
        # job, because the file system object that opens the jobs' zip is reused for later writes.
        "spark.hadoop.fs.permissions.umask-mode": "077",
    }


def build_kafka_flags(settings: Settings) -> dict[str, str]:
    """Return the flags for Kafka: servers, and the path of the login file.

    The login itself is not a flag, because the command is logged.
    """
    login = {"kafka_login": settings.kafka_spark_login} if settings.kafka_spark_login else {}
    return {"servers": settings.kafka_servers, **login}


def build_line_flags(settings: Settings, job: str) -> dict[str, str]:
    """Return the flags from the settings by which a job parses and anonymises lines; {} if it has none."""
    values = {
        "time_zone": settings.time_zone,
        "log_format": settings.log_format,
        "anonymise": str(settings.anonymise_addresses),
        "drop_query_names": settings.drop_query_names,
        "future_hours": str(settings.future_hours),
        "w3c_fields": str(w3c_fields_path(ready_path(settings, "access_log"))),
    }
    return {name: values[name] for name in LINE_FLAGS.get(job, ())}


def build_summary_flags(settings: Settings, source_kind: str) -> dict[str, str]:
    """Return the flags of summarise_access_log that follow from the settings and the source kind.

    Args:
        source_kind: `kafka` or `files`; may be a template.
    """
    source, other_source = (
        landing_endpoint(settings, "access_log", kind)
        for kind in (source_kind, get_other_source_kind(source_kind))
    )
    return {
        "source": source,
        "source_kind": source_kind,
        "other_source": other_source,
        "time_zone": settings.time_zone,
        "site_name": settings.site_name,
        "maxmind": settings.maxmind_files,
    }


def get_other_source_kind(source_kind: str) -> str:
    """Return the source kind that a report does not read, only counts.

    Args:
        source_kind: `kafka`, `files`, or a template such as `{{ params.source }}`.
    """
    if not source_kind.startswith("{{"):
        return "kafka" if source_kind == "files" else "files"
    name = source_kind.strip("{} ")
    return "{{ 'files' if " + name + " == 'kafka' else 'kafka' }}"


def format_flags(arguments: dict[str, Any]) -> list[str]:
    """Format flags for a command: {"run_seconds": 60, "dry_run": None} -> ["--run-seconds=60", "--dry-run"].

    Flag and value are one word, so a value that begins with `-` is never read as a flag.
    """
    return [
        f"--{name.replace('_', '-')}" + ("" if value is None else f"={value}")
        for name, value in arguments.items()
    ]

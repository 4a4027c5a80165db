"""What Spark jobs are submitted with: configuration and flags. Imports neither Airflow nor pyspark."""

from typing import Any

from include.lake import formats_of, ready
from include.local_stack.class_archive import java_options
from include.settings import PROJECT, Settings

SUMS = (PROJECT / "include" / "local_stack" / "jars.sha256").read_text().split()
CONNECTOR_JARS = [name for name in SUMS if name.startswith("connector/")]
# The settings by which a job reads and hides lines.
READING = ("log_format", "w3c_fields", "anonymise", "drop_query_names")
OF_LINES = {
    "land_access_log": (*READING, "time_zone", "future_hours"),
    "replay_bad_lines": (*READING, "time_zone", "future_hours"),
    "watch_access_log": (*READING, "time_zone"),
    "route_errors": ("log_format",),
    "land_clickstream": ("time_zone",),
    "summarise_access_log": ("time_zone",),
    "summarise_clickstream": ("time_zone",),
}
MANY_LINES = 1_000_000
LOGGING = PROJECT / "include" / "log4j2.properties"


def spark_conf(settings: Settings, lines: str = "0", log_level: str = "warn") -> dict[str, str]:
    """What every job is submitted with, whatever it does. No secrets: the command is logged.

    `lines`, a number or an expression of Jinja's, is about how many lines it will read: of many the
    JVM compiles better, which takes a few seconds. `log_level` is what Spark itself logs.
    """
    log = f"-Dlog4j2.configurationFile={LOGGING.as_uri()} -Dtidemark.log={log_level}"
    short, long = (f"{java_options(settings, long=is_long)} {log}" for is_long in (False, True))
    if lines.isdigit():
        java = long if int(lines) > MANY_LINES else short
    else:
        java = f"{{{{ {long!r} if ({lines} or 0) > {MANY_LINES} else {short!r} }}}}"
    return {
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.driver.extraJavaOptions": java,
        "spark.local.dir": str(settings.home / "spark"),
        # Hadoop sets modes itself, by this and not by the umask. Here and not in the job: the file
        # system that opens the jobs' zip is the one that later writes.
        "spark.hadoop.fs.permissions.umask-mode": "077",
    }


def kafka_flags(settings: Settings) -> dict[str, str]:
    """The flags by which a job reaches Kafka. The login is named, not told: the command is logged."""
    login = {"kafka_login": settings.kafka_spark_login} if settings.kafka_spark_login else {}
    return {"servers": settings.kafka_servers, **login}


def line_flags(settings: Settings, job: str) -> dict[str, str]:
    """The flags by which a job reads lines and hides what the site does not keep; {} if it reads none."""
    known = {
        "time_zone": settings.time_zone,
        "log_format": settings.log_format,
        "anonymise": str(settings.anonymise_addresses),
        "drop_query_names": settings.drop_query_names,
        "future_hours": str(settings.future_hours),
        "w3c_fields": str(formats_of(ready(settings, "access_log"))),
    }
    return {name: known[name] for name in OF_LINES.get(job, ())}


def flags(arguments: dict[str, Any]) -> list[str]:
    """{"run_seconds": 60, "look": None} -> ["--run-seconds=60", "--look"]

    Flag and value are one word, so that a value that begins with `-` is never taken for a flag.
    """
    return [
        f"--{name.replace('_', '-')}" + ("" if value is None else f"={value}")
        for name, value in arguments.items()
    ]

"""What every Spark job is submitted with. Importing this imports neither Airflow nor pyspark."""

from include.local_stack.class_archive import java_options
from include.settings import PROJECT, Settings

SUMS = (PROJECT / "include" / "local_stack" / "jars.sha256").read_text().split()
CONNECTOR_JARS = [name for name in SUMS if name.startswith("connector/")]
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

"""Every setting of the project.

This module imports light modules only: DAG files, producers and tests import it, and Airflow
parses DAG files often. Spark jobs do not import it; they take everything as command-line flags.
"""

import ipaddress
import math
import os
import re
from collections.abc import Mapping
from dataclasses import Field, dataclass, field, fields
from datetime import date
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from include.contracts import FUTURE_HOURS

# No access keys in the address, because commands would show them, and no `..`.
STORAGE_LOCATION = r"(s3a|hdfs)://[\w.-]+(:\d+)?(/(?!\.+(/|$))[\w.=-]+)*/?"
HOST_NAME = r"([A-Za-z0-9_-]{1,63}\.)*(?=[^.]*[A-Za-z])[A-Za-z0-9_-]{1,63}"
QUERY_NAMES = r"[^\s,=&;?#]+(,[^\s,=&;?#]+)*"
PROJECT = Path(__file__).resolve().parent.parent


def _setting(default: Any, description: str, low: int = 1, high: int = 65535) -> Any:
    """Return a dataclass field with its description and, for an int, its lowest and highest value."""
    return field(default=default, metadata={"description": description, "low": low, "high": high})


@dataclass(frozen=True)
class Threshold:
    """The values from which a check warns, quarantines a day, or fails its run; 0: never."""

    warn: float
    quarantine: float = 0
    fail: float = 0

    def find_level(self, value: float) -> str:
        """Return the highest level that `value` reaches: `fail`, `quarantine`, `warn` or `ok`."""
        levels = {"fail": self.fail, "quarantine": self.quarantine, "warn": self.warn}
        return next((name for name, limit in levels.items() if limit and value >= limit), "ok")


RENAMED = {  # old name -> new name
    "TIDEMARK_FIRST_NIGHT": "TIDEMARK_FIRST_SCHEDULED_DAY",
    "TIDEMARK_LANDING_DATA": "TIDEMARK_DATA_LOCATION",
    **{
        f"TIDEMARK_REPEAT_SHARE_{level}": f"TIDEMARK_DUPLICATE_SHARE_{level}"
        for level in ("WARN", "QUARANTINE", "FAIL")
    },
}


@dataclass(frozen=True)
class Settings:
    """All settings, each read from `TIDEMARK_<NAME>` in the environment or in `.env`.

    `.env` lies beside the Makefile.
    """

    home: Path = _setting(PROJECT / "var", "folder for everything that the project writes")
    time_zone: str = _setting(
        "UTC", "time zone of the site; a report's day begins at midnight in it"
    )
    first_scheduled_day: date = _setting(
        date(2020, 1, 1),
        "first day that the schedule reports; `make up` sets it to the day of the first start",
    )
    kafka_servers: str = _setting(
        "", "Kafka bootstrap servers; empty: the local broker on `kafka_port`"
    )
    kafka_producer_login: str = _setting(
        "",
        "file of Kafka client properties (mode 0600) that producers log in with; empty: no login",
    )
    kafka_spark_login: str = _setting(
        "",
        "file of Kafka client properties (mode 0600) that Spark jobs log in with; empty: no login",
    )
    access_log_topic: str = _setting("access-log", "topic of the raw access-log lines")
    clickstream_topic: str = _setting("clickstream", "topic of click events, one event per message")
    clickstream_batches_topic: str = _setting(
        "clickstream-batches", "topic of click events, an array of events per message"
    )
    access_log_errors_topic: str = _setting("access-log-errors", "topic of lines with status 5xx")
    partitions: int = _setting(2, "number of partitions of each topic that the project creates")
    replication: int = _setting(1, "number of replicas of each topic that the project creates")
    spark_master: str = _setting(
        "local[*]", "Spark master that `make up` sets as the host of the connection `spark_default`"
    )
    spark_conf_dir: str = _setting(
        "",
        "folder with a `spark-defaults.conf` for all jobs, for example with a cluster's secret; empty: none",
    )
    data_location: str = _setting(
        "",
        "storage location of landed data, such as s3a://bucket/tidemark or "
        "hdfs://namenode:8020/tidemark; empty: the lake",
    )
    driver_memory: str = _setting("1g", "heap size of a Spark driver")
    log_format: str = _setting(
        "", "Apache LogFormat string of the log, if its format is not one that is detected"
    )
    bad_share_warn: float = _setting(
        0.01, "share of bad lines, from 0 to 1, at which a report warns; 0: never"
    )
    bad_share_quarantine: float = _setting(
        0.25, "share of bad lines at which a day is not published and the run succeeds; 0: never"
    )
    bad_share_fail: float = _setting(
        0.5, "share of bad lines at which a day is not published and the run fails; 0: never"
    )
    duplicate_share_warn: float = _setting(
        0.5, "share of duplicate lines, from 0 to 1, at which a report warns; 0: never"
    )
    duplicate_share_quarantine: float = _setting(
        0.0,
        "share of duplicate lines at which a day is not published and the run succeeds; 0: never",
    )
    duplicate_share_fail: float = _setting(
        0.0, "share of duplicate lines at which a day is not published and the run fails; 0: never"
    )
    volume_change_warn: float = _setting(
        0.5,
        "change of a day's requests from the median of the same weekday in the last four weeks, as a "
        "share of it, at which a report warns; 0: never",
    )
    volume_change_quarantine: float = _setting(
        0.0,
        "change, as for `TIDEMARK_VOLUME_CHANGE_WARN`, at which a day is not published and the run succeeds; "
        "0: never",
    )
    volume_change_fail: float = _setting(
        0.0,
        "change, as for `TIDEMARK_VOLUME_CHANGE_WARN`, at which a day is not published and the run fails; "
        "0: never",
    )
    silent_hours_warn: float = _setting(
        2.0, "hours in a row without a request at which a report warns; 0: never"
    )
    silent_hours_quarantine: float = _setting(
        0.0,
        "hours in a row without a request at which a day is not published and the run succeeds; "
        "0: never",
    )
    silent_hours_fail: float = _setting(
        0.0,
        "hours in a row without a request at which a day is not published and the run fails; 0: never",
    )
    future_hours: int = _setting(
        FUTURE_HOURS,
        "hours that a line's time may lie ahead of its arrival; a line with a later time is bad and "
        "belongs to no day",
    )
    ancient_days_warn: float = _setting(
        30.0,
        "age of a day, in days, at which a scheduled run that changes it warns; backfills do not warn; "
        "0: never",
    )
    report_deadline_minutes: int = _setting(
        120, "minutes after the start of a scheduled run at which a missing report is late"
    )
    anonymise_addresses: int = _setting(
        0,
        "hide the last bits of addresses that are landed or watched: 0: none, 1 to 3: GoAccess's levels",
        0,
        3,
    )
    drop_query_names: str = _setting(
        "", "query parameters that are not landed, such as `token,email`; `*`: all"
    )
    site_name: str = _setting(
        "", "name of the site, such as www.example.org, used where the log names no virtual host"
    )
    maxmind_files: str = _setting(
        "",
        "MaxMind databases (.mmdb), separated by commas, for the countries, cities and networks of "
        "addresses; empty: none",
    )
    report_copy: str = _setting(
        "",
        "address that `copy_reports` copies published reports to, such as file:///srv/www/reports or "
        "s3://CONNECTION@bucket/reports; empty: nowhere",
    )
    stream_hosts: str = _setting(
        "localhost,127.0.0.0/8,::1",
        "hosts that `run_stream` may read lines from (`socket:`) and post rows to (`foreach:http:`): "
        "host names as you type them in the form, addresses and networks, separated by commas",
    )
    keep_landing_days: int = _setting(
        0, "days that `maintain_lake` keeps landed lines and events; 0: forever", 0, 36500
    )
    keep_summary_days: int = _setting(
        0,
        "days that summaries are kept; 0: forever. Otherwise TIDEMARK_KEEP_LANDING_DAYS must be from 1 to "
        "as many days",
        0,
        36500,
    )
    keep_report_days: int = _setting(0, "days that reports are kept; 0: forever", 0, 36500)
    airflow_database: str = _setting(
        "", "file with the SQLAlchemy URL of Airflow's database; empty: SQLite in `home`"
    )
    metrics_endpoint: str = _setting(
        "",
        "URL that Airflow sends its metrics to by OTLP, such as Prometheus' "
        "http://127.0.0.1:9090/api/v1/otlp/v1/metrics; empty: nowhere",
    )
    cluster_ports: int = _setting(
        17000,
        "base number of the ports of `make cluster-up`: each port is this number plus an offset",
        1024,
        65000,
    )
    cluster_secured: int = _setting(
        0,
        "1: Kafka of `make cluster-up` requires TLS and a login, and enforces ACLs; 0: it does not",
        0,
        1,
    )
    kafka_port: int = _setting(9092, "port of the local broker")
    kafka_controller_port: int = _setting(9093, "port of the local broker's controller")
    airflow_port: int = _setting(8080, "port of Airflow's web page and API")
    airflow_host: str = _setting(
        "127.0.0.1", "address that Airflow's web page and its log servers listen on; 0.0.0.0: all"
    )
    airflow_worker_log_port: int = _setting(
        8793, "port of Airflow's server for logs of running tasks"
    )
    airflow_triggerer_log_port: int = _setting(
        8794, "port of Airflow's server for logs of the triggerer"
    )

    @property
    def lake(self) -> Path:
        return self.home / "lake"

    @property
    def logs(self) -> Path:
        return self.home / "log"

    @property
    def jars(self) -> Path:
        return self.home / "jars"

    @property
    def s3_jars(self) -> Path:
        return self.home / "jars-s3"

    @property
    def job_zip(self) -> Path:
        return self.home / "spark_jobs.zip"

    @property
    def bad_share(self) -> Threshold:
        return Threshold(self.bad_share_warn, self.bad_share_quarantine, self.bad_share_fail)

    @property
    def duplicate_share(self) -> Threshold:
        return Threshold(
            self.duplicate_share_warn, self.duplicate_share_quarantine, self.duplicate_share_fail
        )

    @property
    def volume_change(self) -> Threshold:
        return Threshold(
            self.volume_change_warn, self.volume_change_quarantine, self.volume_change_fail
        )

    @property
    def silent_hours(self) -> Threshold:
        return Threshold(
            self.silent_hours_warn, self.silent_hours_quarantine, self.silent_hours_fail
        )

    @property
    def ancient_days(self) -> Threshold:
        return Threshold(self.ancient_days_warn)

    @property
    def zone(self) -> ZoneInfo:
        return ZoneInfo(self.time_zone)

    @property
    def ports(self) -> dict[str, int]:
        """Name of the setting -> port, for all ports that the local stack listens on."""
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name.endswith("_port")}


def load_settings(env: Mapping[str, str] | None = None) -> Settings:
    """Read and check the settings.

    Args:
        env: The variables to read. None reads `.env` and the environment; the environment wins.

    Raises:
        ValueError: A value is not accepted; the message names the variable, its value and what is
            expected. Also for the old name of a renamed setting: ignored in silence, it would leave
            the setting at its default.
    """
    if env is None:
        env = _read_env_file(PROJECT / ".env") | dict(os.environ)
    for old, new in RENAMED.items():
        if env.get(old):
            raise ValueError(f"{old} is now called {new}: rename it in .env or in the environment")
    known = {f"TIDEMARK_{f.name.upper()}": f for f in fields(Settings)}
    values: dict[str, Any] = {}
    for name, f in known.items():
        if text := env.get(name, ""):
            values[f.name] = _parse_value(name, f, text)
    settings = Settings(**values)
    if not settings.kafka_servers:
        local_broker = f"127.0.0.1:{settings.kafka_port}"
        settings = Settings(**(values | {"kafka_servers": local_broker}))
    return settings


def restrict_new_files() -> None:
    """Let only the owner read files and folders that this process and its children create.

    Every command that writes below `home` calls this first: logs, checkpoints and landed lines hold
    addresses and passwords.
    """
    os.umask(0o077)


def export_overrides(settings: Settings) -> dict[str, str]:
    """Return the environment variables that make a child process use `settings`.

    Returns:
        Variable -> value, for each setting that differs from what `load_settings()` reads here.
    """
    defaults = load_settings()
    return {
        f"TIDEMARK_{f.name.upper()}": str(getattr(settings, f.name))
        for f in fields(Settings)
        if getattr(settings, f.name) != getattr(defaults, f.name)
    }


def render_settings_table() -> str:
    """Return the table of all settings as Markdown, for docs/settings.md."""
    lines = ["| Variable | Default | Meaning |", "|---|---|---|"]
    for f in fields(Settings):
        default = "`var`" if f.name == "home" else f"`{f.default}`" if f.default != "" else ""
        lines.append(f"| `TIDEMARK_{f.name.upper()}` | {default} | {f.metadata['description']} |")
    return "\n".join(lines) + "\n"


def _parse_value(name: str, setting: "Field[Any]", text: str) -> Any:
    default: Any = setting.default
    low, high = setting.metadata["low"], setting.metadata["high"]
    try:
        if name == "TIDEMARK_TIME_ZONE":
            ZoneInfo(text)
            return text
        if name == "TIDEMARK_DROP_QUERY_NAMES" and not re.fullmatch(QUERY_NAMES, text):
            raise ValueError
        if name == "TIDEMARK_STREAM_HOSTS" and not all(map(_is_host, text.split(","))):
            raise ValueError
        if name == "TIDEMARK_DATA_LOCATION" and not re.fullmatch(STORAGE_LOCATION, text):
            raise ValueError
        if isinstance(default, Path):
            return (PROJECT / text).resolve()
        if isinstance(default, date):
            return date.fromisoformat(text)
        number = type(default)(text)
        if isinstance(default, float) and not 0 <= number < math.inf:
            raise ValueError
        if isinstance(default, int) and not low <= number <= high:
            raise ValueError
        return number
    except (ValueError, OSError, KeyError):
        expected = {
            "TIDEMARK_TIME_ZONE": "the name of a time zone, such as Europe/Paris",
            "TIDEMARK_FIRST_SCHEDULED_DAY": "a date, such as 2026-01-31",
            "TIDEMARK_DATA_LOCATION": "an address such as s3a://bucket/tidemark or hdfs://namenode:8020/tidemark",
            "TIDEMARK_STREAM_HOSTS": "host names, addresses or networks without spaces, such as "
            "localhost,127.0.0.0/8,::1",
            "TIDEMARK_DROP_QUERY_NAMES": "names without spaces, such as token,email, or *",
        }.get(
            name,
            "a number not below 0, such as 0.5"
            if isinstance(default, float)
            else f"a number from {low} to {high}",
        )
        raise ValueError(f"{name}={text!r}: expected {expected}") from None


def _is_host(text: str) -> bool:
    """Whether the text is a host name, an address, or a network without host bits."""
    try:
        ipaddress.ip_network(text)
    except ValueError:
        return re.fullmatch(HOST_NAME, text) is not None
    return True


def _read_env_file(path: Path) -> dict[str, str]:
    """Read `NAME=value` lines; a line that begins with `#` is a comment."""
    if not path.is_file():
        return {}
    pairs = {}
    for number, line in enumerate(path.read_text().splitlines(), 1):
        name, equals, value = line.strip().partition("=")
        if not name or name.startswith("#"):
            continue
        if not equals:
            raise ValueError(f"{path}, line {number}: expected NAME=value, found {line!r}")
        value = value.strip()
        # Remove only a pair of quotes around the value: a LogFormat may end with its own quote.
        if len(value) > 1 and value[0] == value[-1] and value[0] in "'\"":
            value = value[1:-1]
        pairs[name.strip()] = value
    return pairs

"""Every knob of the project, in one place.

Standard library only: DAG files, producers and tests import it, and DAG files are parsed often.
Spark jobs do not import it; they are told everything on their command line.
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

# Without keys, which commands would show, and without `..`.
STORE = r"(s3a|hdfs)://[\w.-]+(:\d+)?(/(?!\.+(/|$))[\w.=-]+)*/?"
HOST_NAME = r"([A-Za-z0-9_-]{1,63}\.)*(?=[^.]*[A-Za-z])[A-Za-z0-9_-]{1,63}"
QUERY_NAMES = r"[^\s,=&;?#]+(,[^\s,=&;?#]+)*"
PROJECT = Path(__file__).resolve().parent.parent


def _setting(default: Any, says: str, low: int = 1, high: int = 65535) -> Any:
    """A field() with its line of the documentation and, for an int, its bounds."""
    return field(default=default, metadata={"says": says, "low": low, "high": high})


@dataclass(frozen=True)
class Settings:
    """Read from environment variables `TIDEMARK_<NAME>`, or from `.env` beside the Makefile."""

    home: Path = _setting(PROJECT / "var", "folder of everything that the project writes")
    time_zone: str = _setting("UTC", "the site's time zone: a report's day begins at its midnight")
    first_night: date = _setting(
        date(2020, 1, 1), "first day that the schedule reports; `make up` sets it to its own day"
    )
    kafka_servers: str = _setting("", "bootstrap servers; empty: the local broker on `kafka_port`")
    kafka_producer_login: str = _setting(
        "", "file of Kafka client properties (mode 0600) by which producers log in; empty: no login"
    )
    kafka_spark_login: str = _setting("", "the same for Spark jobs")
    access_log_topic: str = _setting("access-log", "topic of the raw access-log lines")
    clickstream_topic: str = _setting("clickstream", "topic of click events, one a message")
    clickstream_batches_topic: str = _setting(
        "clickstream-batches", "topic of click events, arrays of them in a message"
    )
    access_log_errors_topic: str = _setting("access-log-errors", "topic of lines with status 5xx")
    partitions: int = _setting(2, "partitions of a topic that the project makes")
    replication: int = _setting(1, "replicas of a topic that the project makes")
    spark_master: str = _setting(
        "local[*]", "host that `make up` gives the connection spark_default"
    )
    spark_conf_dir: str = _setting(
        "",
        "folder with a spark-defaults.conf for all jobs, such as a cluster's secret; empty: none",
    )
    landing_data: str = _setting(
        "", "address below which landed data lie: s3a://bucket/tidemark, hdfs://namenode:8020/tidemark; "
        "empty: in the lake",
    )  # fmt: skip
    driver_memory: str = _setting("1g", "heap of a Spark driver")
    log_format: str = _setting(
        "", "Apache LogFormat string of the log, if it is none of those that are recognised"
    )
    bad_share_warn: float = _setting(0.01, "share of bad lines from which a report warns")
    bad_share_quarantine: float = _setting(
        0.25, "share of bad lines from which a day is not published, and the run stays green"
    )
    bad_share_fail: float = _setting(
        0.5, "share of bad lines from which a day is not published, and the run is red"
    )
    repeat_share_warn: float = _setting(0.5, "share of lines that came again, to warn; 0: never")
    repeat_share_quarantine: float = _setting(0.0, "the same, to quarantine; 0: never")
    repeat_share_fail: float = _setting(0.0, "the same, to fail; 0: never")
    volume_change_warn: float = _setting(
        0.5, "change of a day's requests against the same weekday of the last four weeks, to warn"
    )
    volume_change_quarantine: float = _setting(0.0, "the same, to quarantine; 0: never")
    volume_change_fail: float = _setting(0.0, "the same, to fail; 0: never")
    silent_hours_warn: float = _setting(2.0, "hours in a row without a request, to warn; 0: never")
    silent_hours_quarantine: float = _setting(0.0, "the same, to quarantine; 0: never")
    silent_hours_fail: float = _setting(0.0, "the same, to fail; 0: never")
    future_hours: int = _setting(
        24, "a line whose time is further ahead of its arrival is bad, and of no day"
    )
    ancient_days_warn: float = _setting(
        30.0, "age of a day, from which a night that changes it warns; backfills do not; 0: never"
    )
    report_deadline_minutes: int = _setting(
        120, "minutes from the start of a night, after which its missing report is late"
    )
    anonymise_addresses: int = _setting(
        0,
        "hide the last bits of addresses that are landed or watched: 0 nothing, 1 to 3 as GoAccess's levels",
        0,
        3,
    )
    drop_query_names: str = _setting(
        "", "parameters of queries that are not landed, such as `token,email`; `*`: all"
    )
    site_name: str = _setting(
        "", "the site's own name, such as www.example.org, where the log names no virtual host"
    )
    maxmind_files: str = _setting(
        "", "MaxMind databases (.mmdb), commas between: countries, cities and networks of addresses"
    )
    report_copy: str = _setting(
        "", "address that published reports are copied to, by `copy_reports`: file:///srv/www/reports, "
        "s3://CONNECTION@bucket/reports; empty: nowhere",
    )  # fmt: skip
    stream_hosts: str = _setting(
        "localhost,127.0.0.0/8,::1",
        "hosts that `run_stream` may read lines from (`socket:`) and post rows to (`foreach:http:`): "
        "names as they are typed, addresses and networks, commas between",
    )
    keep_landing_days: int = _setting(
        0, "days that landed lines and events are kept, by `maintain_lake`; 0: for ever", 0, 36500
    )
    keep_summary_days: int = _setting(
        0, "days that summaries are kept, not fewer than landed lines; 0: for ever", 0, 36500
    )
    keep_report_days: int = _setting(0, "days that reports are kept; 0: for ever", 0, 36500)
    airflow_database: str = _setting(
        "", "file with the SQLAlchemy URL of Airflow's database; empty: SQLite in `home`"
    )
    metrics_endpoint: str = _setting(
        "", "URL that Airflow's metrics are sent to by OTLP, such as Prometheus' "
        "http://127.0.0.1:9090/api/v1/otlp/v1/metrics; empty: nowhere",
    )  # fmt: skip
    cluster_ports: int = _setting(
        17000, "the number from which on the ports of `make cluster-up` lie", 1024, 65000
    )
    cluster_secured: int = _setting(
        0, "1: `make cluster-up` has Kafka ask for a login, by TLS, and keep rights (ACLs)", 0, 1
    )
    kafka_port: int = _setting(9092, "local broker")
    kafka_controller_port: int = _setting(9093, "local broker's controller")
    airflow_port: int = _setting(8080, "Airflow's web page and API")
    airflow_host: str = _setting(
        "127.0.0.1", "address that Airflow's web page and its log servers listen on; 0.0.0.0: all"
    )
    airflow_worker_log_port: int = _setting(8793, "Airflow: logs of running tasks")
    airflow_triggerer_log_port: int = _setting(8794, "Airflow: logs of the triggerer")

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
    def topics(self) -> list[str]:
        """The project's topics; `make up` makes them."""
        return [
            self.access_log_topic, self.access_log_errors_topic, self.clickstream_topic,
            self.clickstream_batches_topic,
        ]  # fmt: skip

    @property
    def zone(self) -> ZoneInfo:
        return ZoneInfo(self.time_zone)

    @property
    def ports(self) -> dict[str, int]:
        """Setting -> port, for all ports that the local stack listens on."""
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name.endswith("_port")}


def load_settings(env: Mapping[str, str] | None = None) -> Settings:
    """Settings from `env`; without it from `.env` and, winning over it, the environment.

    Raises ValueError that names the variable, what was found and what was expected.
    """
    if env is None:
        env = _read_env_file(PROJECT / ".env") | dict(os.environ)
    known = {f"TIDEMARK_{f.name.upper()}": f for f in fields(Settings)}
    values: dict[str, Any] = {}
    for name, f in known.items():
        if text := env.get(name, ""):
            values[f.name] = _read(name, f, text)
    settings = Settings(**values)
    if not settings.kafka_servers:
        local = f"127.0.0.1:{settings.kafka_port}"
        settings = Settings(**(values | {"kafka_servers": local}))
    return settings


def restrict_new_files() -> None:
    """Make all files and folders that this process and its children create their owner's only.

    Every command that writes below `home` calls it first: logs, checkpoints and landed lines hold
    addresses and passwords.
    """
    os.umask(0o077)


def changed(settings: Settings) -> dict[str, str]:
    """What of the settings a process must be told in its environment: all that it would not read."""
    here = load_settings()
    return {
        f"TIDEMARK_{f.name.upper()}": str(getattr(settings, f.name))
        for f in fields(Settings)
        if getattr(settings, f.name) != getattr(here, f.name)
    }


def settings_table() -> str:
    """The table of all settings as Markdown, for the documentation."""
    lines = ["| Variable | Default | Meaning |", "|---|---|---|"]
    for f in fields(Settings):
        default = "`var`" if f.name == "home" else f"`{f.default}`" if f.default != "" else ""
        lines.append(f"| `TIDEMARK_{f.name.upper()}` | {default} | {f.metadata['says']} |")
    return "\n".join(lines) + "\n"


def _read(name: str, known: "Field[Any]", text: str) -> Any:
    default: Any = known.default
    low, high = known.metadata["low"], known.metadata["high"]
    try:
        if name == "TIDEMARK_TIME_ZONE":
            ZoneInfo(text)
            return text
        if name == "TIDEMARK_DROP_QUERY_NAMES" and not re.fullmatch(QUERY_NAMES, text):
            raise ValueError
        if name == "TIDEMARK_STREAM_HOSTS" and not all(map(_is_host, text.split(","))):
            raise ValueError
        if name == "TIDEMARK_LANDING_DATA" and not re.fullmatch(STORE, text):
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
            "TIDEMARK_FIRST_NIGHT": "a date, such as 2026-01-31",
            "TIDEMARK_LANDING_DATA": "an address such as s3a://bucket/tidemark or hdfs://namenode:8020/tidemark",
            "TIDEMARK_STREAM_HOSTS": "host names, addresses or networks without spaces, such as "
            "localhost,127.0.0.0/8,::1",
            "TIDEMARK_DROP_QUERY_NAMES": "names without spaces, such as token,email, or *",
        }.get(
            name,
            "a number from 0 on, such as 0.5"
            if isinstance(default, float)
            else f"a number from {low} to {high}",
        )
        raise ValueError(f"{name}={text!r}: expected {expected}") from None


def _is_host(text: str) -> bool:
    """Whether it is a host's name, an address, or a network without bits of a host."""
    try:
        ipaddress.ip_network(text)
    except ValueError:
        return re.fullmatch(HOST_NAME, text) is not None
    return True


def _read_env_file(path: Path) -> dict[str, str]:
    """`NAME=value` lines; `#` begins a comment line."""
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
        # A pair around it, and no other: a LogFormat may well end with a quote of its own.
        if len(value) > 1 and value[0] == value[-1] and value[0] in "'\"":
            value = value[1:-1]
        pairs[name.strip()] = value
    return pairs

"""The Trigger form of `run_stream`: its Params, and the job flags that follow from them.

The job itself checks the flags.
"""

import hashlib
import ipaddress
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

from airflow.sdk import Param

from include.flag_values import parse_address, parse_endpoint
from include.lake.paths import resolve_inside, run_manifest_path, streams_path
from include.orchestration.spark_conf import build_kafka_flags, build_line_flags, format_flags
from include.settings import PROJECT, Settings

DAG_ID = "run_stream"
JOBS = [
    "word_count",
    "clickstream_totals",
    "watch_access_log",
    "route_errors",
    "land_access_log",
    "land_clickstream",
]
# (?!\n): Python's `$` also matches before a final newline, and browsers do not know `\Z`.
ENDPOINT_PATTERN = r"^[a-z]+(:[A-Za-z0-9_][A-Za-z0-9_./:-]*)?$(?!\n)"
WATERMARK_PATTERN = r"^[1-9][0-9]{0,4} (second|minute|hour|day)s?$(?!\n)"
TRIGGER_PATTERN = (
    r"^(available-now|once|(every|continuous|real-time) [1-9][0-9]{0,4} "
    r"(millisecond|second|minute|hour|day)s?)$(?!\n)"
)
PARAMS = {
    "job": Param("clickstream_totals", enum=JOBS, title="Job"),
    "source": Param(
        "kafka:clickstream",
        type="string",
        pattern=ENDPOINT_PATTERN,
        title="Source",
        description="kafka:TOPIC, socket:HOST:PORT, rate:N; text:, csv:, json:, orc: or "
        "parquet:FOLDER-OF-THE-LAKE",
    ),
    "sink": Param(
        "console",
        type="string",
        pattern=ENDPOINT_PATTERN,
        title="Sink",
        description="console, memory:NAME, kafka:TOPIC, foreach:sqlite:NAME; parquet:, "
        "orc:, json: or csv:NAME",
    ),
    "output_mode": Param("complete", enum=["append", "complete", "update"], title="Output mode"),
    "trigger": Param(
        "available-now",
        type="string",
        title="Trigger",
        pattern=TRIGGER_PATTERN,
        description="available-now, once, every 5 seconds, continuous 1 second, "
        "real-time 5 seconds",
    ),
    "run_seconds": Param(
        60, type="integer", minimum=1, maximum=1500, title="Maximum run time in seconds"
    ),
    "starting_offsets": Param(
        "earliest",
        type="string",
        pattern=r"^[A-Za-z0-9][A-Za-z0-9:,.+-]{0,63}$(?!\n)",
        description="Start in a topic: earliest, latest, 2026-01-15T00:00:00Z, or 0:100,1:250",
    ),
    "shape": Param("rows", enum=["rows", "batches"], section="clickstream"),
    "by": Param("minute", enum=["minute", "window"], section="clickstream"),
    "watermark": Param(
        "10 minutes",
        type="string",
        pattern=WATERMARK_PATTERN,
        section="clickstream",
        description="How late an event may arrive, if by is window",
    ),
    "show": Param(
        "parsed", enum=["parsed", "unsuccessful", "by-status", "visits"], section="watch_access_log"
    ),
}
FILE_KINDS = ("text", "csv", "json", "orc", "parquet")
JOB_FLAGS = {
    "clickstream_totals": ("shape", "by", "watermark"),
    "land_clickstream": ("shape",),
    "watch_access_log": ("show",),
}


class InvalidForm(ValueError):
    """The values of the form cannot run. The message is the job's own."""


def build_flags(settings: Settings, params: dict[str, Any], run_id: str) -> list[str]:
    """Build the flags of a job from the form, and let the job check them.

    A folder in `source` is a name in the lake; a file sink writes to the lake's `streams/`. The checkpoint of
    a persistent sink is named by a hash of the form's values, so a run with the same values continues where
    the last one stopped.

    Args:
        params: The Params of `run_stream`.

    Raises:
        InvalidForm: The values cannot run. The message is the job's own.
    """
    job = params["job"]
    source, sink = (
        _resolve_source(settings, params["source"]),
        _resolve_sink(settings, params["sink"]),
    )
    manifest = run_manifest_path(settings, DAG_ID, run_id)
    flags = {
        "source": source,
        "sink": sink,
        "output_mode": params["output_mode"],
        "trigger": params["trigger"],
        "run_seconds": params["run_seconds"],
        **build_kafka_flags(settings),
        "starting_offsets": params["starting_offsets"],
        "run_id": run_id,
        "manifest": manifest,
        "stop_file": manifest.with_suffix(".stop"),
    }
    flags |= {name: params[name] for name in JOB_FLAGS.get(job, ())}
    flags |= build_line_flags(settings, job)
    if not job.startswith("land_") and parse_endpoint(sink).kind not in ("console", "memory"):
        engine = params["trigger"].partition(" ")[0]
        engine = engine if engine in ("continuous", "real-time") else "micro-batch"
        values = [job, source, sink, params["output_mode"], engine]
        values += [str(params[name]) for name in JOB_FLAGS.get(job, ())]
        digest = hashlib.sha256(repr(values).encode()).hexdigest()[:12]
        flags["checkpoint"] = streams_path(settings) / "checkpoints" / f"{job}-{digest}"
    application_args = format_flags(flags)
    _check_flags(job, application_args)
    return application_args


def _resolve_source(settings: Settings, source: str) -> str:
    endpoint = parse_endpoint(source)
    if endpoint.kind == "socket":
        try:
            host, _ = parse_address(endpoint.name)
        except ValueError:
            return source  # the job's own check says what is expected
        _check_host(settings, f"source {source!r}", host)
    if endpoint.kind not in FILE_KINDS:
        return source
    try:
        return f"{endpoint.kind}:{resolve_inside(settings.lake, endpoint.name)}"
    except ValueError as error:
        raise InvalidForm(f"source {source!r}: {error}") from None


def _resolve_sink(settings: Settings, sink: str) -> str:
    endpoint = parse_endpoint(sink)
    kind, name = endpoint.kind, endpoint.name
    if kind == "foreach" and name.startswith("http"):
        _check_host(settings, f"sink {sink!r}", urlsplit(name).hostname or "")
        return sink
    if kind not in FILE_KINDS and not sink.startswith("foreach:sqlite:"):
        return sink
    file = name.removeprefix("sqlite:") if kind == "foreach" else f"{name}/data"
    try:
        path = resolve_inside(streams_path(settings), file)
        resolve_inside(streams_path(settings), name)
    except ValueError as error:
        raise InvalidForm(f"sink {sink!r}: {error}") from None
    return f"foreach:sqlite:{path}" if kind == "foreach" else f"{kind}:{path}"


def _check_host(settings: Settings, endpoint: str, host: str) -> None:
    """Raise InvalidForm unless TIDEMARK_STREAM_HOSTS contains the host. Names are not resolved."""
    allowed = settings.stream_hosts.split(",")
    if host.lower() in (name.lower() for name in allowed):
        return
    with suppress(ValueError):
        address = ipaddress.ip_address(host)
        if any(address in network for network in _parse_networks(allowed)):
            return
    raise InvalidForm(
        f"{endpoint}: the host {host!r} is not allowed; use a host in "
        f"TIDEMARK_STREAM_HOSTS={settings.stream_hosts}, or add it to that setting"
    )


def _parse_networks(hosts: list[str]) -> Iterator[ipaddress.IPv4Network | ipaddress.IPv6Network]:
    for host in hosts:
        with suppress(ValueError):  # a host name
            yield ipaddress.ip_network(host)


def _check_flags(job: str, flags: list[str]) -> None:
    """Let the job check its flags in a process without a JVM. Raises InvalidForm."""
    command = [sys.executable, str(PROJECT / "spark_jobs" / f"{job}.py"), *flags, "--check"]
    env = os.environ | {"PYTHONPATH": str(PROJECT)}
    process = subprocess.run(
        command, capture_output=True, text=True, check=False, env=env, cwd=PROJECT, timeout=120
    )
    if process.returncode:
        message = f"{job} failed its check with exit code {process.returncode}"
        raise InvalidForm((process.stderr.strip().splitlines() or [message])[-1])

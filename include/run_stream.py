"""From the form of `run_stream` to the flags of a job, checked by the job itself."""

import hashlib
import ipaddress
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

from include.lake import inside, run_manifest, streams
from include.settings import PROJECT, Settings
from include.spark_conf import flags, kafka_flags, line_flags

DAG = "run_stream"
JOBS = ["word_count", "clickstream_totals", "watch_access_log", "route_errors", "land_access_log",
        "land_clickstream"]  # fmt: skip
FILES = ("text", "csv", "json", "orc", "parquet")
OWN_FLAGS = {
    "clickstream_totals": ("shape", "by", "watermark"), "land_clickstream": ("shape",),
    "watch_access_log": ("show",),
}  # fmt: skip


class FormRefused(ValueError):
    """What was filled in cannot run; the message is the job's own sentence."""


def flags_of(settings: Settings, params: dict[str, Any], run_id: str) -> list[str]:
    """The job's flags for what was filled in. Raises FormRefused with the job's own sentence.

    Folders are names in the lake, and what is written lies in its `streams/`. The checkpoint of a
    sink that keeps what it gets is known by the words, so the same words go on where they stopped.
    """
    job = params["job"]
    source, sink = _source(settings, params["source"]), _sink(settings, params["sink"])
    manifest = run_manifest(settings, DAG, run_id)
    found = {
        "source": source, "sink": sink, "output_mode": params["output_mode"],
        "trigger": params["trigger"], "run_seconds": params["run_seconds"], **kafka_flags(settings),
        "starting": params["starting"], "run_id": run_id, "manifest": manifest,
        "stop_file": manifest.with_suffix(".stop"),
    }  # fmt: skip
    found |= {name: params[name] for name in OWN_FLAGS.get(job, ())}
    found |= line_flags(settings, job)
    if not job.startswith("land_") and sink.partition(":")[0] not in ("console", "memory"):
        engine = params["trigger"].partition(" ")[0]
        engine = engine if engine in ("continuous", "real-time") else "micro-batch"
        words = [job, source, sink, params["output_mode"], engine]
        words += [str(params[name]) for name in OWN_FLAGS.get(job, ())]
        name = hashlib.sha256(repr(words).encode()).hexdigest()[:12]
        found["checkpoint"] = streams(settings) / "checkpoints" / f"{job}-{name}"
    given = flags(found)
    _check(job, given)
    return given


def _source(settings: Settings, source: str) -> str:
    kind, _, name = source.partition(":")
    if kind == "socket" and (host := name.rpartition(":")[0]):
        _check_host(settings, f"source {source!r}", host)
    if kind not in FILES:
        return source
    try:
        return f"{kind}:{inside(settings.lake, name)}"
    except ValueError as refused:
        raise FormRefused(f"source {source!r}: {refused}") from None


def _sink(settings: Settings, sink: str) -> str:
    kind, _, name = sink.partition(":")
    if kind == "foreach" and name.startswith("http"):
        _check_host(settings, f"sink {sink!r}", urlsplit(name).hostname or "")
        return sink
    if kind not in FILES and not sink.startswith("foreach:sqlite:"):
        return sink
    file = name.removeprefix("sqlite:") if kind == "foreach" else f"{name}/data"
    try:
        path = inside(streams(settings), file)
        inside(streams(settings), name)
    except ValueError as refused:
        raise FormRefused(f"sink {sink!r}: {refused}") from None
    return f"foreach:sqlite:{path}" if kind == "foreach" else f"{kind}:{path}"


def _check_host(settings: Settings, what: str, host: str) -> None:
    """Raise FormRefused unless the host is one of TIDEMARK_STREAM_HOSTS. No name is looked up."""
    allowed = settings.stream_hosts.split(",")
    if host.lower() in (name.lower() for name in allowed):
        return
    with suppress(ValueError):
        address = ipaddress.ip_address(host)
        if any(address in network for network in _networks(allowed)):
            return
    raise FormRefused(
        f"{what}: the host {host!r} is not allowed; use one of "
        f"TIDEMARK_STREAM_HOSTS={settings.stream_hosts}, or add it there"
    )


def _networks(hosts: list[str]) -> Iterator[ipaddress.IPv4Network | ipaddress.IPv6Network]:
    for host in hosts:
        with suppress(ValueError):  # a name
            yield ipaddress.ip_network(host)


def _check(job: str, given: list[str]) -> None:
    """Let the job look at its flags, in a process without a JVM."""
    command = [sys.executable, str(PROJECT / "spark_jobs" / f"{job}.py"), *given, "--check"]
    env = os.environ | {"PYTHONPATH": str(PROJECT)}
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env=env, cwd=PROJECT, timeout=120
    )
    if done.returncode:
        raise FormRefused((done.stderr.strip().splitlines() or ["it cannot run"])[-1])

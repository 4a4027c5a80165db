"""From the form of `run_stream` to the flags of a job, checked by the job itself."""

import os
import subprocess
import sys
from typing import Any

from include.lake import inside
from include.settings import PROJECT, Settings

JOBS = ["word_count", "clickstream_totals", "watch_access_log", "route_errors"]


class FormRefused(ValueError):
    """What was filled in cannot run; the message is the job's own sentence."""


def flags_of(settings: Settings, params: dict[str, Any]) -> list[str]:
    """The job's flags for what was filled in. Raises FormRefused with the job's own sentence."""
    job, source = params["job"], params["source"]
    kind, _, name = source.partition(":")
    if kind == "text":
        try:
            source = f"text:{inside(settings.lake, name)}"
        except ValueError as refused:
            raise FormRefused(f"source {source!r}: {refused}") from None
    found = ["--source", source, "--sink", params["sink"], "--output-mode", params["output_mode"],
             "--trigger", params["trigger"], "--run-seconds", str(params["run_seconds"]),
             "--servers", settings.kafka_servers]  # fmt: skip
    if job == "clickstream_totals":
        found += ["--shape", params["shape"]]
    if job == "watch_access_log":
        found += ["--show", params["show"]]
    if job == "route_errors":
        trigger = params["trigger"].partition(" ")[0]
        kept = trigger if trigger in ("continuous", "real-time") else "batches"
        found += ["--checkpoint", str(settings.lake / "streams" / job / kept)]
    elif params["select"]:
        found += ["--select", params["select"]]
    _check(job, found)
    return found


def _check(job: str, flags: list[str]) -> None:
    """Let the job look at its flags, in a process without a JVM."""
    command = [sys.executable, str(PROJECT / "spark_jobs" / f"{job}.py"), *flags, "--check"]
    env = os.environ | {"PYTHONPATH": str(PROJECT)}
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env=env, cwd=PROJECT, timeout=120
    )
    if done.returncode:
        raise FormRefused((done.stderr.strip().splitlines() or ["it cannot run"])[-1])

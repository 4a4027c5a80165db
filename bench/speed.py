"""How fast all of it is, beside others on the same file in the same run.

    python -m bench.speed                 (part of make bench)
    python -m bench.speed 100000 1000000  (logs of these sizes only)
    python -m bench.speed producers night (these parts only; the others stay as they were measured)
    python -m bench.speed --quick         (make bench-quick: small, to see that it works)

Each log is one generated day. What is told as fixed seconds and seconds a million lines is fitted
over the sizes (least squares), so the second is what a warm JVM takes.
"""

import gzip
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import date, datetime
from pathlib import Path
from typing import Any

import psutil
from rich.console import Console

from bench.pages import speed_section, write_page
from bench.stack import (
    Cost,
    command_cost,
    fresh_broker,
    fresh_lake,
    job_cost,
    spark_submit,
    submit,
    timed,
)
from include.lake import inbox, landing, ready, summaries
from include.local_stack.demo import follow
from include.local_stack.processes import Service
from include.local_stack.up import bring_up
from include.nights import take_files
from include.package import package_jobs
from include.publishing import publish_days
from include.settings import PROJECT, Settings
from producers.access_log.generator import generate
from producers.kafka_client import ensure_topics

SIZES = [100_000, 1_000_000, 5_000_000, 10_000_000]
QUICK = [2_000]
PARTS = ["start", "parse", "rows", "producers", "night", "dags"]
DAY = date(2026, 1, 15)
LOGS = Path("var/bench")
MOST_PRODUCED = 1_000_000  # lines that producers send, one process after the other
SLOW = 100_000  # lines that AWStats gets: it takes minutes for a million
says = Console(stderr=True, highlight=False)


def measure(sizes: list[int], parts: list[str], kept: Path, *, quick: bool) -> dict[str, Any]:
    """The figures of `parts`, and in the file `kept` those of the others: as `speed_section` takes them."""
    found: dict[str, Any] = {"quick": quick, "sizes": sizes}
    if kept.is_file() and set(parts) != set(PARTS):
        found = json.loads(kept.read_text())
        sizes = found["sizes"]
    logs = {lines: made_log(lines) for lines in sizes}
    ways: dict[str, Callable[[], Any]] = {
        "start": lambda: starts(1 if quick else 5),
        "parse": lambda: parses(logs),
        "rows": lambda: nights(logs) + from_kafka(logs) + peers(logs),
        "producers": lambda: producers(logs[max(n for n in sizes if n <= MOST_PRODUCED)]),
        "night": lambda: airflow_night(logs[sizes[0]], 2 if quick else 60),
        "dags": dag_files,
    }
    for name in parts:
        says.print(f"[bold]{name}[/]")
        seconds, found[name] = timed(ways[name])
        says.print(f"{name}: {seconds:.0f} s; {found[name]}")
        kept.write_text(json.dumps(found, indent=1))
    return found


def made_log(lines: int) -> Path:
    """One generated day of so many lines, kept for the next run."""
    path = LOGS / f"access-{lines}.log"
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part")
        with part.open("wb") as out:
            out.writelines(line.text + b"\n" for line in generate(lines, 1, DAY))
        part.replace(path)
    return path.absolute()


def starts(times: int) -> dict[str, float]:
    """Median seconds of a `spark-submit` that counts one row: stock, and as every job is submitted."""
    with fresh_lake() as settings:
        job = settings.home / "one.py"
        job.write_text(
            "from pyspark.sql import SparkSession\n"
            "spark = SparkSession.builder.appName('one').getOrCreate()\n"
            "assert spark.range(1).count() == 1\nspark.stop()\n"
        )
        package_jobs(settings.job_zip)
        ways = {
            "stock": [spark_submit(), "--master=local[*]", str(job)],
            "ours": submit(settings, str(job)),
        }
        found: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(times):
            for name, command in ways.items():
                found[name].append(command_cost(settings, command).seconds)
    return {name: statistics.median(seconds) for name, seconds in found.items()}


def parses(logs: dict[int, Path]) -> list[dict[str, Any]]:
    """`what`, `lines` and warm `seconds` of bench/parse.py."""
    with fresh_lake() as settings:
        command = submit(settings, "bench/parse.py", settings.home, *logs.values(), lines=max(logs))
        cost = command_cost(settings, command)
        found: list[dict[str, Any]] = json.loads((settings.home / "parse.json").read_text())
    return [row | {"mib": cost.mib} for row in found]


def row(what: str, lines: int, cost: Cost) -> dict[str, Any]:
    says.print(f"  {what}, {lines:,} lines: {cost.seconds:.1f} s, {cost.mib:,.0f} MiB")
    return {"what": what, "lines": lines, "seconds": cost.seconds, "mib": cost.mib}


def nights(logs: dict[int, Path]) -> list[dict[str, Any]]:
    """The night's steps from a text file, whole processes, and landing the same from gz."""
    rows = []
    for lines, log in logs.items():
        with fresh_lake() as settings:
            packed = settings.home / "packed"
            packed.mkdir()
            with log.open("rb") as text, gzip.open(packed / "access.gz", "wb", 1) as out:
                shutil.copyfileobj(text, out, 1 << 20)
            data = settings.home / "gz" / "data"
            cost = job_cost(
                settings, "land_access_log", *_landing(f"text:{packed}", data), lines=lines
            )
            rows.append(row("land gz", lines, cost))
            shutil.rmtree(packed)
        with fresh_lake() as settings:
            folder = inbox(settings, "access_log")
            folder.mkdir(parents=True)
            shutil.copyfile(log, folder / "access.log")
            time.sleep(2)  # a file that was just written is not taken yet
            taken, _ = timed(lambda s=settings: take_files(s))
            data = landing(settings, "access_log", "files") / "data"
            source = f"text:{ready(settings, 'access_log')}"
            land = job_cost(settings, "land_access_log", *_landing(source, data), lines=lines)
            made = job_cost(
                settings, "summarise_access_log", "--source", f"parquet:{data}", "--source-kind", "files",
                "--sink", f"summary:{summaries(settings, 'access_log')}", "--days", DAY.isoformat(),
                lines=lines,
            )  # fmt: skip
            shown, told = timed(
                lambda s=settings: publish_days(s, [DAY.isoformat()], "bench", anyway=True)
            )
            assert told[DAY.isoformat()]["requests"] > 0.99 * lines
            whole = taken + land.seconds + made.seconds + shown
            rows += [
                row("look at the file", lines, Cost(taken, 0)), row("land text", lines, land),
                row("summarise", lines, made), row("report", lines, Cost(shown, 0)),
                row("night from text", lines, Cost(whole, max(land.mib, made.mib))),
            ]  # fmt: skip
    return rows


def _landing(source: str, data: Path) -> list[str]:
    return ["--source", source, "--sink", f"parquet:{data}"]


def from_kafka(logs: dict[int, Path]) -> list[dict[str, Any]]:
    """Landing from a topic, 500 lines a message."""
    rows = []
    with fresh_broker() as settings:
        for lines, log in logs.items():
            topic = f"access-log-{lines}"
            ensure_topics(settings.kafka_servers, [topic], partitions=2, replication=1)
            sent(settings, log, topic, 500)
            data = settings.home / f"kafka-{lines}" / "data"
            cost = job_cost(
                settings, "land_access_log", *_landing(f"kafka:{topic}", data),
                "--servers", settings.kafka_servers, lines=lines,
            )  # fmt: skip
            assert f"read {lines:,} lines" in cost.printed, cost.printed[-500:]
            rows.append(row("land Kafka", lines, cost))
    return rows


def peers(logs: dict[int, Path]) -> list[dict[str, Any]]:
    """Others on the same files, as far as they are installed."""
    rows = []
    with fresh_lake() as settings:
        for lines, log in logs.items():
            commands = {
                name: [sys.executable, "-m", "bench.peers", name.lower(), str(log)]
                for name in ("DuckDB", "Polars")
            }
            if shutil.which("goaccess"):
                commands["GoAccess"] = [
                    "goaccess", str(log), "--log-format=COMBINED", "--no-global-config",
                    "-o", str(settings.home / "goaccess.html"),
                ]  # fmt: skip
            if AWSTATS.is_file() and lines <= SLOW:
                commands["AWStats"] = awstats(settings, log)
            rows += [row(n, lines, command_cost(settings, c)) for n, c in commands.items()]
    return rows


AWSTATS = Path("/usr/lib/cgi-bin/awstats.pl")


def awstats(settings: Settings, log: Path) -> list[str]:
    (settings.home / "awstats.bench.conf").write_text(
        f'LogFile="{log}"\nLogType=W\nLogFormat=1\nSiteDomain="bench"\nDNSLookup=0\n'
        f'DirData="{settings.home}"\nHostAliases="localhost"\nAllowFullYearView=3\n'
    )
    return ["perl", str(AWSTATS), "-config=bench", f"-configdir={settings.home}", "-update"]


def producers(log: Path) -> dict[str, dict[str, float]]:
    """Lines a second that are acknowledged, and the peak memory of a process, by way of sending."""
    found: dict[str, dict[str, float]] = {}
    with fresh_broker() as settings:
        topics = ("bare", "rdkafka", "rows", "batches", "two-a", "two-b")
        ensure_topics(settings.kafka_servers, topics, partitions=2, replication=1)
        for name, topic in (("kafka-python", "bare"), ("librdkafka", "rdkafka")):
            command = [
                sys.executable,
                "-m",
                "bench.bare",
                name,
                settings.kafka_servers,
                topic,
                str(log),
            ]
            found[f"bare {name}"] = _rate(command_cost(settings, command))
        found["row by row"] = _rate(sent(settings, log, "rows", 1))
        found["500 lines a message"] = _rate(sent(settings, log, "batches", 500))
        both = [
            subprocess.Popen(_produce(settings, log, topic, 500), stderr=subprocess.PIPE, text=True,
                             env=_produce_env(settings))
            for topic in ("two-a", "two-b")
        ]  # fmt: skip
        rates = [_rate(Cost(0, 0, process.communicate()[1]))["lines"] for process in both]
        found["two processes, 500 lines a message"] = {"lines": sum(rates), "mib": 0}
    return found


def sent(settings: Settings, log: Path, topic: str, per_message: int) -> Cost:
    command = ["env", *[f"{k}={v}" for k, v in _told(settings).items()]]
    return command_cost(settings, command + _produce(settings, log, topic, per_message))


def _produce(settings: Settings, log: Path, topic: str, per_message: int) -> list[str]:
    return [
        sys.executable, "-m", "producers.access_log", "replay", str(log), "--to", f"kafka:{topic}",
        "--servers", settings.kafka_servers, "--lines-per-message", str(per_message),
    ]  # fmt: skip


def _told(settings: Settings) -> dict[str, str]:
    return {"TIDEMARK_HOME": str(settings.home), "PYTHONPATH": str(PROJECT)}


def _produce_env(settings: Settings) -> dict[str, str]:
    return dict(os.environ) | _told(settings)


def _rate(cost: Cost) -> dict[str, float]:
    printed = re.search(r"([\d,]+)\s+lines/s", cost.printed)
    assert printed, cost.printed
    return {"lines": float(printed[1].replace(",", "")), "mib": cost.mib}


def airflow_night(log: Path, idle: int) -> dict[str, Any]:
    """A night through Airflow, from its trigger to the report's file; and what it takes when idle.

    Seconds of each task, and of what lies between them; CPU seconds a second over `idle` seconds.
    """
    with fresh_lake() as settings:
        ports = {f"TIDEMARK_{name.upper()}": str(port) for name, port in settings.ports.items()}
        os.environ |= ports
        try:
            api = bring_up(settings, says)
            folder = inbox(settings, "access_log")
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(log, folder / "access.log")
            time.sleep(2)
            begun = time.time()
            run = api.trigger("analyse_access_log", {"source": "files", "day": DAY.isoformat()})
            follow(api, "analyse_access_log", run, says)
            page = settings.lake / "reports" / "access_log" / DAY.isoformat() / "index.html"
            whole = page.stat().st_mtime - begun
            path = f"/dags/analyse_access_log/dagRuns/{run}/taskInstances"
            tasks = sorted(
                api.call("GET", path)["task_instances"], key=lambda task: str(task["start_date"])
            )
            seconds = {task["task_id"]: round(_seconds(task), 1) for task in tasks}
            summary = summaries(settings, "access_log") / DAY.isoformat() / "summary.json"
            steps = json.loads(summary.read_text())["provenance"]["steps"]
            used = _idle_cpu(settings, idle)
        finally:
            for name in ("airflow", "kafka"):
                Service(name, settings.home).stop()
            for name in ports:
                os.environ.pop(name, None)
    return {
        "lines": sum(1 for _ in log.open("rb")), "seconds": round(whole, 1), "tasks": seconds,
        "steps": steps, "idle_cpu": used,
    }  # fmt: skip


def _seconds(task: dict[str, Any]) -> float:
    if not task["start_date"] or not task["end_date"]:
        return 0.0
    begin, end = (datetime.fromisoformat(task[f"{at}_date"]) for at in ("start", "end"))
    return (end - begin).total_seconds()


def _idle_cpu(settings: Settings, seconds: int) -> dict[str, float]:
    """CPU seconds a second of Airflow and of Kafka, with nothing to do."""

    def used(name: str) -> float:
        process = Service(name, settings.home).process()
        assert process is not None, f"{name} does not run"
        total = 0.0
        for member in [process, *process.children(recursive=True)]:
            try:
                times = member.cpu_times()
                total += times.user + times.system + times.children_user + times.children_system
            except psutil.NoSuchProcess:
                continue
        return total

    before, begun = {name: used(name) for name in ("airflow", "kafka")}, time.monotonic()
    time.sleep(seconds)
    over = time.monotonic() - begun
    return {name: round((used(name) - was) / over, 2) for name, was in before.items()}


def dag_files() -> dict[str, float]:
    """Seconds that all DAG files take beyond what they need of Airflow, and that alone."""
    text = (
        "import time; begun = time.monotonic()\n"
        "import airflow.sdk, airflow.providers.apache.spark.operators.spark_submit\n"
        "import airflow.providers.standard.operators.hitl\n"
        "needed = time.monotonic()\n"
        "import importlib, pathlib\n"
        "for path in sorted(pathlib.Path('dags').glob('[a-z]*.py')):\n"
        "    importlib.import_module(f'dags.{path.stem}')\n"
        "print(needed - begun, time.monotonic() - needed)\n"
    )
    with fresh_lake() as settings:
        printed = command_cost(settings, [sys.executable, "-c", text]).printed
    airflow, ours = map(float, printed.split()[-2:])
    return {"airflow": round(airflow, 2), "ours": round(ours, 2)}


def main() -> None:
    given, quick = [text for text in sys.argv[1:] if text != "--quick"], "--quick" in sys.argv
    sizes = [int(text) for text in given if text.isdigit()]
    parts = [text for text in given if not text.isdigit()]
    if unknown := set(parts) - set(PARTS):
        raise SystemExit(f"bench.speed: {', '.join(unknown)}? The parts are {', '.join(PARTS)}")
    LOGS.mkdir(parents=True, exist_ok=True)
    kept = LOGS / ("quick.json" if quick else "speed.json")
    found = measure(sizes or (QUICK if quick else SIZES), parts or PARTS, kept, quick=quick)
    if quick:
        says.print(speed_section(found), markup=False)
    else:
        write_page("speed", found)


if __name__ == "__main__":
    main()

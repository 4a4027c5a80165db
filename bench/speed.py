"""Measure the speed of every part, and of other tools on the same file in the same run.

    python -m bench.speed                 (part of make bench)
    python -m bench.speed 100000 1000000  (logs of these sizes only)
    python -m bench.speed producers night (these parts only; the results of the others are kept)
    python -m bench.speed --quick         (make bench-quick: small, to check that it works)

Each log is one generated day. Fixed seconds and seconds per million lines are fitted over the sizes
(least squares), so the latter is the time of a warm JVM.
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
    build_submit_command,
    fresh_broker,
    fresh_lake,
    measure_command,
    measure_job,
    measure_seconds,
    spark_submit_path,
)
from include.lake.paths import inbox_path, landing_path, ready_path, summaries_path
from include.local_stack.demo import follow_run
from include.local_stack.processes import Service
from include.local_stack.up import bring_up
from include.orchestration.package import package_jobs
from include.orchestration.run_scope import take_inbox_files
from include.reporting.publishing import publish_days
from include.settings import PROJECT, Settings
from producers.access_log.generator import generate_lines
from producers.kafka_client import ensure_topics

SIZES = [100_000, 1_000_000, 5_000_000, 10_000_000]
QUICK_SIZES = [2_000]
PARTS = ["start", "landing", "rows", "producers", "night", "dags"]
DAY = date(2026, 1, 15)
LOGS = Path("var/bench")
MAX_PRODUCER_LINES = 1_000_000  # producers run one after the other, on the largest log up to this
MAX_AWSTATS_LINES = 100_000  # AWStats takes minutes for a million lines
console = Console(stderr=True, highlight=False)


def measure(
    sizes: list[int], parts: list[str], results_file: Path, *, quick: bool
) -> dict[str, Any]:
    """Measure parts of the benchmark and write all results to a file.

    Args:
        sizes: Lines of each log. If only some parts are measured, the file's sizes are used instead.
        parts: The parts to measure, from PARTS.
        results_file: A JSON file. Its results of the other parts are kept.
        quick: Measure fewer times and for a shorter time.

    Returns:
        The results of all parts, as `speed_section` needs them.
    """
    results: dict[str, Any] = {"quick": quick, "sizes": sizes}
    if results_file.is_file() and set(parts) != set(PARTS):
        results = json.loads(results_file.read_text())
        sizes = results["sizes"]
    logs = {lines: make_log(lines) for lines in sizes}
    functions: dict[str, Callable[[], Any]] = {
        "start": lambda: measure_start(1 if quick else 5),
        "landing": lambda: measure_landing(logs, 1 if quick else 3),
        "rows": lambda: measure_daily_runs(logs) + measure_peers(logs),
        "producers": lambda: measure_producers(
            logs[max(n for n in sizes if n <= MAX_PRODUCER_LINES)]
        ),
        "night": lambda: measure_airflow_run(logs[sizes[0]], 2 if quick else 60),
        "dags": measure_dag_files,
    }
    for name in parts:
        console.print(f"[bold]{name}[/]")
        seconds, results[name] = measure_seconds(functions[name])
        console.print(f"{name}: {seconds:.0f} s; {results[name]}")
        results_file.write_text(json.dumps(results, indent=1))
    return results


def make_log(lines: int) -> Path:
    """Generate a log of one day unless it exists from an earlier run, and return its path."""
    path = LOGS / f"access-{lines}.log"
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part")
        with part.open("wb") as out:
            out.writelines(line.text + b"\n" for line in generate_lines(lines, 1, DAY))
        part.replace(path)
    return path.absolute()


def measure_start(times: int) -> dict[str, float]:
    """Measure a `spark-submit` that counts one row.

    Returns:
        Median seconds: `stock` for a plain submit, `ours` for one like that of every job.
    """
    with fresh_lake() as settings:
        job = settings.home / "one.py"
        job.write_text(
            "from pyspark.sql import SparkSession\n"
            "spark = SparkSession.builder.appName('one').getOrCreate()\n"
            "assert spark.range(1).count() == 1\nspark.stop()\n"
        )
        package_jobs(settings.job_zip)
        commands = {
            "stock": [spark_submit_path(), "--master=local[*]", str(job)],
            "ours": build_submit_command(settings, str(job)),
        }
        results: dict[str, list[float]] = {name: [] for name in commands}
        for _ in range(times):
            for name, command in commands.items():
                results[name].append(measure_command(settings, command).seconds)
    return {name: statistics.median(seconds) for name, seconds in results.items()}


def measure_landing(logs: dict[int, Path], times: int) -> list[dict[str, Any]]:
    """Measure landing from text and from a topic with 500 lines per message, and a raw copy of the text.

    Returns:
        A row for each way and log: `what`, `lines`, the median `seconds` of whole processes, and the largest
        `mib` of driver and workers together.
    """
    costs: dict[tuple[str, int], list[Cost]] = {}
    with fresh_broker() as settings:
        for lines, log in logs.items():
            texts, topic = settings.home / f"text-{lines}", f"access-log-{lines}"
            texts.mkdir()
            (texts / "access.log").hardlink_to(log)
            ensure_topics(settings.kafka_servers, [topic], partitions=2, replication=1)
            send_log(settings, log, topic, 500)
            for _ in range(times):
                for what in ("raw copy", "land text", "land Kafka"):
                    sink = settings.home / "sink"
                    cost = _measure_copy(settings, what, f"text:{texts}", topic, sink, lines)
                    costs.setdefault((what, lines), []).append(cost)
                    shutil.rmtree(sink)
    return [
        build_row(
            what, lines,
            Cost(statistics.median(c.seconds for c in of_one), max(c.peak_mib for c in of_one)),
        )
        for (what, lines), of_one in costs.items()
    ]  # fmt: skip


def _measure_copy(
    settings: Settings, what: str, texts: str, topic: str, sink: Path, lines: int
) -> Cost:
    if what == "raw copy":
        folder = texts.removeprefix("text:")
        command = build_submit_command(
            settings, "bench/raw_copy.py", folder, sink, lines=lines, source=texts
        )
        return measure_command(settings, command)
    source = texts if what == "land text" else f"kafka:{topic}"
    flags = [*_landing_flags(source, sink / "data"), "--servers", settings.kafka_servers]
    cost = measure_job(settings, "land_access_log", *flags, lines=lines)
    assert f"read {lines:,} lines" in cost.output, cost.output[-500:]
    return cost


def build_row(name: str, lines: int, cost: Cost) -> dict[str, Any]:
    """Print a result and return it as a row: `what`, `lines`, `seconds`, peak memory in `mib`."""
    console.print(f"  {name}, {lines:,} lines: {cost.seconds:.1f} s, {cost.peak_mib:,.0f} MiB")
    return {"what": name, "lines": lines, "seconds": cost.seconds, "mib": cost.peak_mib}


def measure_daily_runs(logs: dict[int, Path]) -> list[dict[str, Any]]:
    """Measure the steps of a daily run from a text file, and landing the same log from gzip."""
    rows = []
    for lines, log in logs.items():
        with fresh_lake() as settings:
            archives = settings.home / "packed"
            archives.mkdir()
            with log.open("rb") as text, gzip.open(archives / "access.gz", "wb", 1) as out:
                shutil.copyfileobj(text, out, 1 << 20)
            data = settings.home / "gz" / "data"
            cost = measure_job(
                settings, "land_access_log", *_landing_flags(f"text:{archives}", data), lines=lines
            )
            rows.append(build_row("land gz", lines, cost))
            shutil.rmtree(archives)
        with fresh_lake() as settings:
            folder = inbox_path(settings, "access_log")
            folder.mkdir(parents=True)
            shutil.copyfile(log, folder / "access.log")
            time.sleep(2)  # the inbox does not take a file that was just written
            inbox_seconds, _ = measure_seconds(lambda s=settings: take_inbox_files(s))
            data = landing_path(settings, "access_log", "files") / "data"
            source = f"text:{ready_path(settings, 'access_log')}"
            land = measure_job(
                settings, "land_access_log", *_landing_flags(source, data), lines=lines
            )
            summary = measure_job(
                settings,
                "summarise_access_log",
                "--source",
                f"parquet:{data}",
                "--source-kind",
                "files",
                "--sink",
                f"summary:{summaries_path(settings, 'access_log')}",
                "--days",
                DAY.isoformat(),
                lines=lines,
            )
            report_seconds, reports = measure_seconds(
                lambda s=settings: publish_days(s, [DAY.isoformat()], "bench", publish_anyway=True)
            )
            assert reports[DAY.isoformat()]["requests"] > 0.99 * lines
            total = inbox_seconds + land.seconds + summary.seconds + report_seconds
            peak = max(land.peak_mib, summary.peak_mib)
            rows += [
                build_row("look at the file", lines, Cost(inbox_seconds, 0)),
                build_row("land text", lines, land),
                build_row("summarise", lines, summary),
                build_row("report", lines, Cost(report_seconds, 0)),
                build_row("night from text", lines, Cost(total, peak)),
            ]
    return rows


def _landing_flags(source: str, data: Path) -> list[str]:
    return ["--source", source, "--sink", f"parquet:{data}"]


def measure_peers(logs: dict[int, Path]) -> list[dict[str, Any]]:
    """Measure other tools on the same files: DuckDB, Polars, and GoAccess and AWStats if installed."""
    rows = []
    with fresh_lake() as settings:
        for lines, log in logs.items():
            commands = {
                name: [sys.executable, "-m", "bench.peers", name.lower(), str(log)]
                for name in ("DuckDB", "Polars")
            }
            if shutil.which("goaccess"):
                commands["GoAccess"] = [
                    "goaccess",
                    str(log),
                    "--log-format=COMBINED",
                    "--no-global-config",
                    "-o",
                    str(settings.home / "goaccess.html"),
                ]
            if AWSTATS.is_file() and lines <= MAX_AWSTATS_LINES:
                commands["AWStats"] = awstats_command(settings, log)
            rows += [build_row(n, lines, measure_command(settings, c)) for n, c in commands.items()]
    return rows


AWSTATS = Path("/usr/lib/cgi-bin/awstats.pl")


def awstats_command(settings: Settings, log: Path) -> list[str]:
    """Write a configuration of AWStats and return the command that reads the log with it."""
    (settings.home / "awstats.bench.conf").write_text(
        f'LogFile="{log}"\nLogType=W\nLogFormat=1\nSiteDomain="bench"\nDNSLookup=0\n'
        f'DirData="{settings.home}"\nHostAliases="localhost"\nAllowFullYearView=3\n'
    )
    return ["perl", str(AWSTATS), "-config=bench", f"-configdir={settings.home}", "-update"]


def measure_producers(log: Path) -> dict[str, dict[str, float]]:
    """Measure ways of sending a log.

    Returns:
        For each way, the acknowledged `lines` per second and the peak memory in `mib`.
    """
    results: dict[str, dict[str, float]] = {}
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
            results[f"bare {name}"] = _parse_rate(measure_command(settings, command))
        results["row by row"] = _parse_rate(send_log(settings, log, "rows", 1))
        results["500 lines a message"] = _parse_rate(send_log(settings, log, "batches", 500))
        processes = [
            subprocess.Popen(
                _produce_command(settings, log, topic, 500),
                stderr=subprocess.PIPE,
                text=True,
                env=_produce_environment(settings),
            )
            for topic in ("two-a", "two-b")
        ]
        rates = [
            _parse_rate(Cost(0, 0, process.communicate()[1]))["lines"] for process in processes
        ]
        results["two processes, 500 lines a message"] = {"lines": sum(rates), "mib": 0}
    return results


def send_log(settings: Settings, log: Path, topic: str, lines_per_message: int) -> Cost:
    """Measure the producer when it sends a log to a topic."""
    prefix = ["env", *[f"{k}={v}" for k, v in _environment_changes(settings).items()]]
    return measure_command(
        settings, prefix + _produce_command(settings, log, topic, lines_per_message)
    )


def _produce_command(
    settings: Settings, log: Path, topic: str, lines_per_message: int
) -> list[str]:
    return [
        sys.executable,
        "-m",
        "producers.access_log",
        "send",
        str(log),
        "--to",
        f"kafka:{topic}",
        "--servers",
        settings.kafka_servers,
        "--lines-per-message",
        str(lines_per_message),
    ]


def _environment_changes(settings: Settings) -> dict[str, str]:
    return {"TIDEMARK_HOME": str(settings.home), "PYTHONPATH": str(PROJECT)}


def _produce_environment(settings: Settings) -> dict[str, str]:
    return dict(os.environ) | _environment_changes(settings)


def _parse_rate(cost: Cost) -> dict[str, float]:
    rate = re.search(r"([\d,]+)\s+lines/s", cost.output)
    assert rate, cost.output
    return {"lines": float(rate[1].replace(",", "")), "mib": cost.peak_mib}


def measure_airflow_run(log: Path, idle_seconds: int) -> dict[str, Any]:
    """Measure a daily run through Airflow and what the stack uses when it is idle.

    Args:
        log: The day's log.
        idle_seconds: For how long the idle stack is measured.

    Returns:
        Lines, seconds from the trigger to the report's file, seconds of each task and of each step
        of the summary, and CPU seconds per second of the idle stack.
    """
    with fresh_lake() as settings:
        ports = {f"TIDEMARK_{name.upper()}": str(port) for name, port in settings.ports.items()}
        os.environ |= ports
        try:
            api = bring_up(settings, console)
            folder = inbox_path(settings, "access_log")
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(log, folder / "access.log")
            time.sleep(2)
            started = time.time()
            run_id = api.trigger("analyse_access_log", {"source": "files", "day": DAY.isoformat()})
            follow_run(api, "analyse_access_log", run_id, console)
            page = settings.lake / "reports" / "access_log" / DAY.isoformat() / "index.html"
            total_seconds = page.stat().st_mtime - started
            path = f"/dags/analyse_access_log/dagRuns/{run_id}/taskInstances"
            tasks = sorted(
                api.call("GET", path)["task_instances"], key=lambda task: str(task["start_date"])
            )
            task_seconds = {task["task_id"]: round(_task_seconds(task), 1) for task in tasks}
            summary = summaries_path(settings, "access_log") / DAY.isoformat() / "summary.json"
            steps = json.loads(summary.read_text())["provenance"]["steps"]
            idle_cpu = _measure_idle_cpu(settings, idle_seconds)
        finally:
            for name in ("airflow", "kafka"):
                Service(name, settings.home).stop()
            for name in ports:
                os.environ.pop(name, None)
    return {
        "lines": sum(1 for _ in log.open("rb")),
        "seconds": round(total_seconds, 1),
        "tasks": task_seconds,
        "steps": steps,
        "idle_cpu": idle_cpu,
    }


def _task_seconds(task: dict[str, Any]) -> float:
    if not task["start_date"] or not task["end_date"]:
        return 0.0
    start, end = (datetime.fromisoformat(task[f"{name}_date"]) for name in ("start", "end"))
    return (end - start).total_seconds()


def _measure_idle_cpu(settings: Settings, seconds: int) -> dict[str, float]:
    """Return the CPU seconds per second of the idle `airflow` and `kafka`."""

    def cpu_seconds(name: str) -> float:
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

    before, started = {name: cpu_seconds(name) for name in ("airflow", "kafka")}, time.monotonic()
    time.sleep(seconds)
    elapsed = time.monotonic() - started
    return {name: round((cpu_seconds(name) - was) / elapsed, 2) for name, was in before.items()}


def measure_dag_files() -> dict[str, float]:
    """Measure the import of all DAG files.

    Returns:
        Seconds of the imports from Airflow (`airflow`), and of the DAG files after them (`ours`).
    """
    script = (
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
        output = measure_command(settings, [sys.executable, "-c", script]).output
    airflow, ours = map(float, output.split()[-2:])
    return {"airflow": round(airflow, 2), "ours": round(ours, 2)}


def main() -> None:
    arguments = [text for text in sys.argv[1:] if text != "--quick"]
    quick = "--quick" in sys.argv
    sizes = [int(text) for text in arguments if text.isdigit()]
    parts = [text for text in arguments if not text.isdigit()]
    if unknown := set(parts) - set(PARTS):
        raise SystemExit(
            f"bench.speed: unknown part {', '.join(sorted(unknown))}; use {', '.join(PARTS)}"
        )
    LOGS.mkdir(parents=True, exist_ok=True)
    results_file = LOGS / ("quick.json" if quick else "speed.json")
    results = measure(
        sizes or (QUICK_SIZES if quick else SIZES), parts or PARTS, results_file, quick=quick
    )
    missing = [part for part in PARTS if part not in results]
    if missing:
        console.print(f"docs/benchmarks.md stays as it is: it needs {', '.join(missing)}, too")
    elif quick:
        console.print(speed_section(results), markup=False)
    else:
        write_page("speed", results)


if __name__ == "__main__":
    main()

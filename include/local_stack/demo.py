"""Run the main job once, like a user of the web page: produce a log, analyse it, print the totals."""

import json
import re
import shutil
import time
from datetime import datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from include.errors import SetupError, UnreadableFile
from include.inbox.inspect import inspect_file
from include.lake.files import open_replacement
from include.lake.paths import inbox_path, reports_path, run_manifest_path
from include.local_stack.airflow import Api
from include.settings import Settings

GENERATED_DAY = "2026-01-15"
RUN_TIMEOUT_SECONDS = 1800
MARKS = {
    "success": "[green]✓",
    "failed": "[red]✗",
    "upstream_failed": "[red]✗",
    "skipped": "[dim]-",
}


def run_demo(settings: Settings, api: Api, log: Path | None, console: Console) -> None:
    """Trigger the DAGs for a log, wait for them, and print the totals.

    Args:
        settings: The stack's settings.
        api: Airflow's API.
        log: A log file; None for generated traffic.
        console: Where the output goes.

    Raises:
        SetupError: The log cannot be read, or a run failed.
    """
    console.print()
    conf: dict[str, Any] = {"source": "generator", "day": GENERATED_DAY}
    days = (GENERATED_DAY, GENERATED_DAY)
    if log is not None:
        conf = {"source": "file", "file": put_into_inbox(settings, log)}
        days = read_log_days(inbox_path(settings, "access_log") / conf["file"], settings)
    try:
        follow_run(api, "produce_access_log", api.trigger("produce_access_log", conf), console)
    except SetupError:
        if log is not None:  # a refused file must not block other files in the inbox
            (inbox_path(settings, "access_log") / conf["file"]).unlink(missing_ok=True)
        raise
    analyse_conf = {"source": "kafka"} | ({"day": days[1]} if days[1] else {})
    run_id = api.trigger("analyse_access_log", analyse_conf)
    follow_run(api, "analyse_access_log", run_id, console)
    # Without new lines there is no manifest.
    manifest_file = run_manifest_path(settings, "analyse_access_log", run_id)
    manifest = json.loads(manifest_file.read_text()) if manifest_file.is_file() else {}
    read, good, bad = (manifest.get(name, 0) for name in ("read", "good", "bad"))
    console.print()
    console.print(build_totals_table(reports_path(settings, "access_log"), *days))
    console.print(f"This run landed {read:,} new lines: {good:,} good, {bad:,} bad")
    if manifest.get("undated"):
        console.print(
            f"{manifest['undated']:,} bad lines have no readable time and belong to no day"
        )
    if bad and not days[1]:
        console.print("Is this an access log? docs/formats.md lists the supported formats")
    elif days[1]:
        console.print(f"Report    {reports_path(settings, 'access_log') / days[1] / 'index.html'}")


def put_into_inbox(settings: Settings, log: Path) -> str:
    """Copy a log into the inbox, completely or not at all, and return its name there.

    Raises:
        SetupError: The log cannot be read.
    """
    name = re.sub(r"[^A-Za-z0-9._-]", "_", log.name).lstrip(".-") or "log"
    folder = inbox_path(settings, "access_log")
    try:
        with log.open("rb") as source, open_replacement(folder / name) as target:
            shutil.copyfileobj(source, target, 1024 * 1024)
    except OSError as error:
        raise SetupError(f"{log} cannot be copied to {folder}: {error.strerror}") from None
    return name


def read_log_days(log: Path, settings: Settings) -> tuple[str, str]:
    """Return the days of a log's first and last line.

    Returns:
        Two days as `YYYY-MM-DD` in the site's time zone; empty strings if no day is found.
    """
    try:
        inspection = inspect_file(log, settings.log_format)
    except (UnreadableFile, OSError, ValueError):
        return "", ""  # the producer and the DAG will report it
    days = [
        datetime.fromisoformat(moment).astimezone(settings.zone).date().isoformat()
        for moment in (inspection["first"], inspection["last"])
        if moment
    ]
    return (min(days), max(days)) if days else ("", "")


def follow_run(api: Api, dag_id: str, run_id: str, console: Console) -> None:
    """Print each task of a run when it ends, until the run ends.

    Raises:
        SetupError: The run failed, with the last lines of the failed task's log; or it still runs
            after RUN_TIMEOUT_SECONDS without having waited for the user.
    """
    console.print(f"[bold]{dag_id}[/] [dim]{run_id}[/]")
    started, shown, waiting = time.monotonic(), set(), set()
    path = f"/dags/{dag_id}/dagRuns/{run_id}"
    with console.status("") as status:
        while True:
            tasks = api.call("GET", f"{path}/taskInstances?limit=1000")["task_instances"]
            for task in sorted(tasks, key=lambda task: task["end_date"] or ""):
                name = " ".join(filter(None, [task["task_id"], task.get("rendered_map_index")]))
                if task["state"] in MARKS and name not in shown:
                    shown.add(name)
                    seconds = f"{task['duration'] or 0:.0f} s"
                    console.print(f"  {MARKS[task['state']]}[/] {name} [dim]{seconds}[/]")
                elif task["state"] == "awaiting_input" and name not in waiting:
                    waiting.add(name)
                    url = f"{api.url}/dags/{dag_id}/runs/{run_id}/tasks/{task['task_id']}"
                    console.print(f"  [yellow]?[/] {name} waits for you: {url}/required_actions")
            state = api.call("GET", path)["state"]
            if state not in ("queued", "running"):
                break
            if not waiting and time.monotonic() - started > RUN_TIMEOUT_SECONDS:
                raise SetupError(
                    f"{dag_id} still runs after {RUN_TIMEOUT_SECONDS // 60} min; see {api.url}"
                )
            active = [t for t in tasks if t["state"] in ("running", "up_for_retry", "queued")]
            message = ", ".join(f"{t['task_id']} ({t['state']})" for t in active) or "waiting"
            status.update(f"{message}, {time.monotonic() - started:.0f} s")
            time.sleep(1)
    if state != "success":
        failed = next((t for t in tasks if t["state"] == "failed"), None)
        raise SetupError(f"{dag_id} failed{_describe_failure(api, path, failed)}")


def build_totals_table(folder: Path, first: str, last: str) -> Table:
    """Build a table of the reported days from `first` to `last` (`YYYY-MM-DD`) and their sum."""
    table = Table(box=None, header_style="dim")
    columns = [
        "day",
        "read",
        "good",
        "bad",
        "duplicates",
        "requests",
        "unsuccessful",
        "visitors",
        "bytes",
    ]
    for name in columns:
        table.add_column(name, justify="left" if name == "day" else "right")
    sums = dict.fromkeys(columns[1:], 0)
    by_status: dict[str, int] = {}
    for path in sorted(folder.glob("????-??-??/report.json")):
        if not first <= path.parent.name <= last:
            continue
        report = json.loads(path.read_text())
        numbers = {name: report["lines"].get(name, report.get(name)) for name in columns[1:]}
        for name, number in numbers.items():
            sums[name] += number
        for code, hits in report["by_status"].items():
            by_status[code] = by_status.get(code, 0) + hits
        table.add_row(report["day"], *[f"{number:,}" for number in numbers.values()])
    table.add_section()
    table.add_row("[bold]all", *[f"[bold]{number:,}" for number in sums.values()])
    statuses = "  ".join(f"{code}: {hits:,}" for code, hits in sorted(by_status.items()))
    table.caption, table.caption_justify = f"by status  {statuses}", "left"
    return table


def _describe_failure(api: Api, path: str, task: dict[str, Any] | None) -> str:
    """Return the failed task and the last errors of its log."""
    if task is None:
        return f"; see {api.url}"
    log_path = f"{path}/taskInstances/{task['task_id']}/logs/{task['try_number']}"
    entries = api.call("GET", log_path, headers={"Accept": "application/json"})["content"]
    messages = []
    for entry in entries:
        for error in entry.get("error_detail") or []:
            messages.append(f"{error.get('exc_type')}: {error.get('exc_value')}")
        if entry.get("level") in ("error", "critical") or "land_access_log:" in str(entry["event"]):
            messages.append(str(entry["event"]))
    last = [message for message in messages if "Task failed with exception" not in message][-3:]
    return f" in its task {task['task_id']}:\n  " + "\n  ".join(last or ["see its log"])

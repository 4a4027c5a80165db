"""The main job once, as a person would run it from the web page: produce, analyse, look."""

import json
import re
import shutil
import time
from datetime import datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from include.inbox import Damaged, look_at
from include.lake import inbox, reports, run_manifest
from include.local_stack.airflow import Api
from include.local_stack.processes import StackError
from include.settings import Settings

GENERATED_DAY = "2026-01-15"
RUN_SECONDS = 1800
MARKS = {
    "success": "[green]✓",
    "failed": "[red]✗",
    "upstream_failed": "[red]✗",
    "skipped": "[dim]-",
}


def run_demo(settings: Settings, api: Api, log: Path | None, says: Console) -> None:
    """Trigger the DAGs for `log` (or for generated traffic), wait, and print the totals."""
    says.print()
    conf: dict[str, Any] = {"source": "generator", "day": GENERATED_DAY}
    days = (GENERATED_DAY, GENERATED_DAY)
    if log is not None:
        conf = {"source": "file", "file": put_into_inbox(settings, log)}
        days = days_of(inbox(settings, "access_log") / conf["file"], settings)
    try:
        follow(api, "produce_access_log", api.trigger("produce_access_log", conf), says)
    except StackError:
        if log is not None:  # a refused file must not lie in the way of the inbox's other files
            (inbox(settings, "access_log") / conf["file"]).unlink(missing_ok=True)
        raise
    wanted = {"source": "kafka"} | ({"day": days[1]} if days[1] else {})
    run = api.trigger("analyse_access_log", wanted)
    follow(api, "analyse_access_log", run, says)
    manifest = run_manifest(settings, "analyse_access_log", run)  # none if nothing was new
    landed = json.loads(manifest.read_text()) if manifest.is_file() else {}
    read, good, bad = (landed.get(name, 0) for name in ("read", "good", "bad"))
    says.print()
    says.print(totals(reports(settings, "access_log"), *days))
    says.print(f"This run landed {read:,} new lines: {good:,} good, {bad:,} bad")
    if landed.get("undated"):
        says.print(f"{landed['undated']:,} of the bad ones show no time: they belong to no day")
    if bad and not days[1]:
        says.print("Is this an access log? docs/formats.md shows the formats that are read")
    elif days[1]:
        says.print(f"Report    {reports(settings, 'access_log') / days[1] / 'index.html'}")


def put_into_inbox(settings: Settings, log: Path) -> str:
    """Copy the log to where the DAG may read, whole or not at all; give its name there."""
    name = re.sub(r"[^A-Za-z0-9._-]", "_", log.name).lstrip(".-") or "log"
    folder = inbox(settings, "access_log")
    folder.mkdir(parents=True, exist_ok=True)
    part = folder / f".{name}.part"
    part.unlink(missing_ok=True)
    try:
        with log.open("rb") as source, part.open("xb") as target:
            shutil.copyfileobj(source, target, 1024 * 1024)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise StackError(f"{log} cannot be read: {error.strerror}") from None
    part.replace(folder / name)
    return name


def days_of(log: Path, settings: Settings) -> tuple[str, str]:
    """The days of the first and the last line of the log, in the site's zone; "" if it shows none."""
    try:
        about = look_at(log, settings.log_format)
    except (Damaged, OSError, ValueError):
        return "", ""  # the producer and the DAG will say so
    days = [
        datetime.fromisoformat(moment).astimezone(settings.zone).date().isoformat()
        for moment in (about["first"], about["last"]) if moment
    ]  # fmt: skip
    return (min(days), max(days)) if days else ("", "")


def follow(api: Api, dag_id: str, run: str, says: Console) -> None:
    """Show each task of the run as it goes; StackError with the log's end if one fails."""
    says.print(f"[bold]{dag_id}[/] [dim]{run}[/]")
    begun, shown, asked = time.monotonic(), set(), set()
    path = f"/dags/{dag_id}/dagRuns/{run}"
    with says.status("") as status:
        while True:
            tasks = api.call("GET", f"{path}/taskInstances?limit=1000")["task_instances"]
            for task in sorted(tasks, key=lambda task: task["end_date"] or ""):
                name = " ".join(filter(None, [task["task_id"], task.get("rendered_map_index")]))
                if task["state"] in MARKS and name not in shown:
                    shown.add(name)
                    seconds = f"{task['duration'] or 0:.0f} s"
                    says.print(f"  {MARKS[task['state']]}[/] {name} [dim]{seconds}[/]")
                elif task["state"] == "awaiting_input" and name not in asked:
                    asked.add(name)
                    where = f"{api.url}/dags/{dag_id}/runs/{run}/tasks/{task['task_id']}"
                    says.print(f"  [yellow]?[/] {name} waits for you: {where}/required_actions")
            state = api.call("GET", path)["state"]
            if state not in ("queued", "running"):
                break
            if not asked and time.monotonic() - begun > RUN_SECONDS:
                raise StackError(
                    f"{dag_id} still runs after {RUN_SECONDS // 60} min; see {api.url}"
                )
            going = [t for t in tasks if t["state"] in ("running", "up_for_retry", "queued")]
            what = ", ".join(f"{t['task_id']} ({t['state']})" for t in going) or "waiting"
            status.update(f"{what}, {time.monotonic() - begun:.0f} s")
            time.sleep(1)
    if state != "success":
        failed = next((t for t in tasks if t["state"] == "failed"), None)
        raise StackError(f"{dag_id} failed{_why(api, path, failed)}")


def totals(folder: Path, first: str, last: str) -> Table:
    """The reported days from `first` to `last` with their sum, as a table."""
    table = Table(box=None, header_style="dim")
    columns = ["day", "read", "good", "bad", "repeated", "requests", "unsuccessful", "visitors",
               "bytes"]  # fmt: skip
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


def _why(api: Api, path: str, task: dict[str, Any] | None) -> str:
    """The failed task, and the last words of its log."""
    if task is None:
        return f"; see {api.url}"
    where = f"{path}/taskInstances/{task['task_id']}/logs/{task['try_number']}"
    entries = api.call("GET", where, headers={"Accept": "application/json"})["content"]
    words = []
    for entry in entries:
        for error in entry.get("error_detail") or []:
            words.append(f"{error.get('exc_type')}: {error.get('exc_value')}")
        if entry.get("level") in ("error", "critical") or "land_access_log:" in str(entry["event"]):
            words.append(str(entry["event"]))
    told = [word for word in words if "Task failed with exception" not in word][-3:]
    return f" in its task {task['task_id']}:\n  " + "\n  ".join(told or ["see its log"])

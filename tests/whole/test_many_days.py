"""Several days of logs: the Backfill dialog, a bulk backfill and daily runs give the same reports."""

import gzip
import json
import shutil
from contextlib import contextmanager
from functools import partial
from itertools import count

import psutil
import pytest

from include.errors import SetupError
from include.local_stack.airflow import Api
from include.local_stack.demo import follow_run
from include.orchestration.backfill_plan import run_folder
from tests.conftest import eventually, kill_process_tree
from tests.whole.conftest import QUIET, answer_question, read_question, read_report

pytestmark = pytest.mark.fault
DAYS = ["2015-05-17", "2015-05-18", "2015-05-19", "2015-05-20"]
DAG = "backfill_access_logs"
LAKES = count(1)


@contextmanager
def fresh_lake(settings):
    """Replace the lake by a new one for a while; the producers' ledger stays in use."""
    original = settings.home / f"lake-{next(LAKES)}"
    settings.lake.rename(original)
    settings.lake.mkdir()
    if (original / "ledger").is_dir():
        (original / "ledger").rename(settings.lake / "ledger")
    try:
        yield settings.lake
    finally:
        shutil.rmtree(original / "ledger", ignore_errors=True)
        if (settings.lake / "ledger").is_dir():
            (settings.lake / "ledger").rename(original / "ledger")
        settings.lake.rename(settings.home / f"{original.name}-of-the-test")
        original.rename(settings.lake)


def write_archives(lake, shared, days=DAYS):
    """Write the reference log to the inbox as hourly archives; their names do not show the date."""
    inbox, by_hour = lake / "inbox" / "access_log", {}
    inbox.mkdir(parents=True, exist_ok=True)
    for line in (shared / "data" / "apache_combined.log").read_bytes().splitlines(keepends=True):
        by_hour.setdefault(line.split(b"[")[1][:14], []).append(line)
    months = {"May": "05"}
    for number, (hour, lines) in enumerate(by_hour.items()):
        day, month, year = hour.decode()[:11].split("/")
        if f"{year}-{months[month]}-{day}" in days:
            (inbox / f"access.log.{number}.gz").write_bytes(gzip.compress(b"".join(lines)))


def run_backfill(settings, conf, max_active_runs, first=DAYS[0], last=DAYS[-1], seconds=420):
    """Send the request of the Backfill dialog, wait for all its runs, and return their states by day."""
    api, runs = Api(settings), "/dags/analyse_access_log/dagRuns"
    body = {"dag_id": "analyse_access_log", "from_date": f"{first}T00:00:00Z",
            "to_date": f"{last}T00:00:00Z", "dag_run_conf": conf,
            "max_active_runs": max_active_runs}  # fmt: skip

    backfill_id = api.call("POST", "/backfills", json=body)["id"]
    with pytest.raises(SetupError, match="already a running backfill"):
        api.call("POST", "/backfills", json=body)
    eventually(
        lambda: api.call("GET", f"/backfills/{backfill_id}")["completed_at"],
        seconds,
        "the backfill's end",
    )
    backfill_runs = api.call("GET", f"{runs}?run_type=backfill")["dag_runs"]
    backfill_runs = [run for run in backfill_runs if first <= run["logical_date"][:10] <= last]
    for run in backfill_runs:  # otherwise the next backfill would skip these days
        api.call("DELETE", f"{runs}/{run['dag_run_id']}")
    return {run["logical_date"][:10]: run["state"] for run in backfill_runs}


def run_bulk_backfill(settings, **conf):
    api = Api(settings)
    run_id = api.trigger(DAG, {"dry_run": False} | conf)
    follow_run(api, DAG, run_id, QUIET)
    return run_id


def read_task_states(settings, run_id):
    tasks = Api(settings).call("GET", f"/dags/{DAG}/dagRuns/{run_id}/taskInstances")
    return {(t["task_id"], t["map_index"]): t["state"] for t in tasks["task_instances"]}


def read_reports(settings):
    """Read the report of each day, without the name of its source."""
    reports = {day: read_report(settings, day) for day in DAYS}
    return {
        day: {k: v for k, v in report.items() if k != "source"} for day, report in reports.items()
    }


def are_same(one, other):
    """Compare the reports of all days; print the fields that differ."""
    differences = [
        (day, name) for day in DAYS for name in one[day] if one[day][name] != other[day][name]
    ]
    print("different:", differences)
    return not differences


@pytest.fixture(scope="module")
def killed_bulk_backfill(demo_output, settings, shared, stack):
    """The lake and reports of a bulk backfill whose scheduler and driver were killed during landing."""
    with fresh_lake(settings) as lake:
        write_archives(lake, shared)
        inbox = lake / "inbox" / "access_log"
        (inbox / "copy.log.gz").write_bytes((inbox / "access.log.3.gz").read_bytes())
        run_id = Api(settings).trigger(DAG, {"dry_run": False})
        offsets = "landing/access_log/files/checkpoint/offsets/0"
        eventually((lake / offsets).exists, 180, "the landing to begin")
        record = json.loads((settings.home / "run" / "airflow.json").read_text())
        schedulers = [
            process for process in psutil.Process(record["pid"]).children()
            if "scheduler" in " ".join(process.cmdline())
        ]  # fmt: skip
        assert schedulers
        for process in schedulers:  # including their workers and Spark drivers
            kill_process_tree(process.pid)
        status = stack("status")
        assert status.returncode == 1
        assert "a child process has ended" in status.stdout
        assert stack("up").returncode == 0
        follow_run(Api(settings), DAG, run_id, QUIET)
        assert [read_task_states(settings, run_id)["publish", n] for n in range(4)] == [
            "success"
        ] * 4
        yield lake, read_reports(settings)


def test_a_bulk_backfill_resumes_after_scheduler_and_driver_are_killed(
    killed_bulk_backfill, settings, shared
):
    lake, reports = killed_bulk_backfill
    month = json.loads((lake / "reports" / "access_log" / "2015-05" / "report.json").read_text())
    assert (month["requests"], month["visitors"], month["days"]) == (10_000, 2095, 4)
    assert [reports[day]["visitors"] for day in DAYS] == [359, 643, 570, 523]
    for day in DAYS:
        oracle = json.loads((shared / "oracle" / f"goaccess_apache_{day}.json").read_text())[
            "general"
        ]
        assert reports[day]["requests"] == oracle["total_requests"]
        assert reports[day]["bytes"] == oracle["bandwidth"]
    second_run_id = run_bulk_backfill(settings)
    assert read_task_states(settings, second_run_id)["summarise_access_log", -1] == "skipped", (
        "nothing is new"
    )
    assert are_same(read_reports(settings), reports)


def test_replacing_a_report_with_fewer_lines_requires_approval(
    killed_bulk_backfill, settings, shared
):
    lake, before = killed_bulk_backfill
    # The landing of files is lost, and the inbox has fewer lines than were published.
    shutil.rmtree(lake / "landing" / "access_log" / "files")
    shutil.rmtree(lake / "ready")
    shutil.rmtree(lake / "inbox" / "access_log")
    write_archives(lake, shared, days=DAYS[:1])
    archives = sorted((lake / "inbox" / "access_log").iterdir())
    archives[0].unlink()
    dry_run_id = run_bulk_backfill(settings, dry_run=True)
    assert read_task_states(settings, dry_run_id)["land_access_log", -1] == "skipped"
    assert sorted((lake / "inbox" / "access_log").iterdir()) == archives[1:]
    assert not (lake / "landing" / "access_log" / "files").exists()
    inventory = json.loads((run_folder(settings, dry_run_id) / "inventory.json").read_text())
    assert (inventory["lines"], inventory["first"][:10], inventory["last"][:10]) == (
        1558,
        DAYS[0],
        DAYS[0],
    )
    assert inventory["seconds"] > 0
    api = Api(settings)
    for answer, is_replaced in (("Reject", False), ("Approve", True)):
        run_id = api.trigger(DAG, {"dry_run": False, "first_day": DAYS[0], "last_day": DAYS[0]})
        question_task = (DAG, run_id, "approve_fewer_lines")
        question = eventually(partial(read_question, api, *question_task), 240, "the question")
        assert f"| {DAYS[0]} | files | 1,632 | 1,558 |" in question["body"]
        assert are_same(read_reports(settings), before)
        answer_question(api, *question_task, answer)
        follow_run(api, DAG, run_id, QUIET)
        assert are_same(read_reports(settings), before) is not is_replaced
    replaced_report = lake / "replaced" / "access_log" / run_id / DAYS[0] / "report" / "report.json"
    assert json.loads(replaced_report.read_text())["requests"] == 1632


def test_concurrent_and_cleared_runs_of_a_day_give_the_same_report(killed_bulk_backfill, settings):
    """The second run waits for the first (max_active_runs); a cleared run repeats its tasks."""
    before, api, dag = read_reports(settings), Api(settings), "analyse_access_log"
    conf = {"source": "files", "day": DAYS[0]}
    runs = [api.trigger(dag, conf) for _ in range(2)]
    for run_id in runs:
        follow_run(api, dag, run_id, QUIET)
    first, second = [api.call("GET", f"/dags/{dag}/dagRuns/{run_id}") for run_id in runs]
    assert first["end_date"] <= second["start_date"]
    assert are_same(read_reports(settings), before)
    cleared = {
        "dry_run": False,
        "dag_run_id": runs[0],
        "only_failed": False,
        "reset_dag_runs": True,
    }
    tasks = api.call("POST", f"/dags/{dag}/clearTaskInstances", json=cleared)["task_instances"]
    assert "report" in [task["task_id"] for task in tasks]
    follow_run(api, dag, runs[0], QUIET)
    assert api.call("GET", f"/dags/{dag}/dagRuns/{runs[0]}")["start_date"] > second["end_date"]
    assert are_same(read_reports(settings), before)


def test_backfill_dialog_bulk_backfill_and_daily_runs_give_the_same_reports(
    killed_bulk_backfill, settings, shared
):
    _, bulk_reports = killed_bulk_backfill
    with fresh_lake(settings) as lake:
        write_archives(lake, shared)
        assert run_backfill(settings, {"source": "files"}, max_active_runs=2) == dict.fromkeys(
            DAYS, "success"
        )
        assert {read_report(settings, day)["source"] for day in DAYS} == {"files"}
        file_reports = read_reports(settings)
        # The same log through Kafka, one run for each day. These reports replace the ones from files.
        shutil.copy(shared / "data" / "apache_combined.log", lake / "inbox" / "access_log")
        api = Api(settings)
        conf = {"source": "file", "file": "apache_combined.log"}
        follow_run(api, "produce_access_log", api.trigger("produce_access_log", conf), QUIET)
        assert run_backfill(settings, {}, max_active_runs=1) == dict.fromkeys(DAYS, "success")
        assert {read_report(settings, day)["source"] for day in DAYS} == {"kafka"}
        assert are_same(read_reports(settings), file_reports)
        assert are_same(file_reports, bulk_reports)
        page = (lake / "reports" / "access_log" / DAYS[0] / "index.html").read_text()
        assert "The other source (files) has 1,632 lines" in " ".join(page.split())

"""Months of logs from the web page: by the Backfill dialog, in bulk, and as the nights make them."""

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
    """A lake of its own; what producers have sent stays known."""
    kept = settings.home / f"lake-{next(LAKES)}"
    settings.lake.rename(kept)
    settings.lake.mkdir()
    if (kept / "ledger").is_dir():
        (kept / "ledger").rename(settings.lake / "ledger")
    try:
        yield settings.lake
    finally:
        shutil.rmtree(kept / "ledger", ignore_errors=True)
        if (settings.lake / "ledger").is_dir():
            (settings.lake / "ledger").rename(kept / "ledger")
        settings.lake.rename(settings.home / f"{kept.name}-of-the-test")
        kept.rename(settings.lake)


def drop(lake, shared, days=DAYS):
    """The reference log as a server rotates it: an archive an hour, under names that say nothing."""
    inbox, by_hour = lake / "inbox" / "access_log", {}
    inbox.mkdir(parents=True, exist_ok=True)
    for line in (shared / "data" / "apache_combined.log").read_bytes().splitlines(keepends=True):
        by_hour.setdefault(line.split(b"[")[1][:14], []).append(line)
    months = {"May": "05"}
    for number, (hour, lines) in enumerate(by_hour.items()):
        day, month, year = hour.decode()[:11].split("/")
        if f"{year}-{months[month]}-{day}" in days:
            (inbox / f"access.log.{number}.gz").write_bytes(gzip.compress(b"".join(lines)))


def backfill(settings, conf, at_once, first=DAYS[0], last=DAYS[-1], seconds=420):
    """What the dialog sends; waits until all runs have ended, and gives their states by day."""
    api, runs = Api(settings), "/dags/analyse_access_log/dagRuns"
    body = {"dag_id": "analyse_access_log", "from_date": f"{first}T00:00:00Z",
            "to_date": f"{last}T00:00:00Z", "dag_run_conf": conf,
            "max_active_runs": at_once}  # fmt: skip

    made = api.call("POST", "/backfills", json=body)["id"]
    with pytest.raises(SetupError, match="already a running backfill"):
        api.call("POST", "/backfills", json=body)
    eventually(
        lambda: api.call("GET", f"/backfills/{made}")["completed_at"], seconds, "the backfill's end"
    )
    found = api.call("GET", f"{runs}?run_type=backfill")["dag_runs"]
    found = [run for run in found if first <= run["logical_date"][:10] <= last]
    for run in found:  # or the next backfill would find them made
        api.call("DELETE", f"{runs}/{run['dag_run_id']}")
    return {run["logical_date"][:10]: run["state"] for run in found}


def bulk(settings, **conf):
    api = Api(settings)
    run_id = api.trigger(DAG, {"dry_run": False} | conf)
    follow_run(api, DAG, run_id, QUIET)
    return run_id


def states(settings, run_id):
    tasks = Api(settings).call("GET", f"/dags/{DAG}/dagRuns/{run_id}/taskInstances")
    return {(t["task_id"], t["map_index"]): t["state"] for t in tasks["task_instances"]}


def days(settings):
    """Each day's report, apart from where it comes from."""
    found = {day: read_report(settings, day) for day in DAYS}
    return {day: {k: v for k, v in told.items() if k != "source"} for day, told in found.items()}


def is_same(one, other):
    """Whether the days are the same; says in which names they differ."""
    differ = [
        (day, name) for day in DAYS for name in one[day] if one[day][name] != other[day][name]
    ]
    print("different:", differ)
    return not differ


@pytest.fixture(scope="module")
def killed_bulk(demo_output, settings, shared, stack):
    """The reports of a bulk run whose scheduler and driver were killed while it landed."""
    with fresh_lake(settings) as lake:
        drop(lake, shared)
        inbox = lake / "inbox" / "access_log"
        (inbox / "copy.log.gz").write_bytes((inbox / "access.log.3.gz").read_bytes())
        run_id = Api(settings).trigger(DAG, {"dry_run": False})
        offsets = "landing/access_log/files/checkpoint/offsets/0"
        eventually((lake / offsets).exists, 180, "the landing to begin")
        kept = json.loads((settings.home / "run" / "airflow.json").read_text())
        schedulers = [
            process for process in psutil.Process(kept["pid"]).children()
            if "scheduler" in " ".join(process.cmdline())
        ]  # fmt: skip
        assert schedulers
        for process in schedulers:  # and with each its workers, and their Spark
            kill_process_tree(process.pid)
        told = stack("status")
        assert told.returncode == 1
        assert "a child process has ended" in told.stdout
        assert stack("up").returncode == 0
        follow_run(Api(settings), DAG, run_id, QUIET)
        assert [states(settings, run_id)["publish", n] for n in range(4)] == ["success"] * 4
        yield lake, days(settings)


def test_bulk_makes_all_days_though_scheduler_and_driver_were_killed(killed_bulk, settings, shared):
    lake, found = killed_bulk
    month = json.loads((lake / "reports" / "access_log" / "2015-05" / "report.json").read_text())
    assert (month["requests"], month["visitors"], month["days"]) == (10_000, 2095, 4)
    assert [found[day]["visitors"] for day in DAYS] == [359, 643, 570, 523]
    for day in DAYS:
        oracle = json.loads((shared / "oracle" / f"goaccess_apache_{day}.json").read_text())[
            "general"
        ]
        assert found[day]["requests"] == oracle["total_requests"]
        assert found[day]["bytes"] == oracle["bandwidth"]
    again = bulk(settings)
    assert states(settings, again)["summarise_access_log", -1] == "skipped", "nothing is new"
    assert is_same(days(settings), found)


def test_a_published_day_is_replaced_with_fewer_lines_only_when_a_person_approves(
    killed_bulk, settings, shared
):
    lake, before = killed_bulk
    # The landing of files is lost, and somebody backfills half of what there was.
    shutil.rmtree(lake / "landing" / "access_log" / "files")
    shutil.rmtree(lake / "ready")
    shutil.rmtree(lake / "inbox" / "access_log")
    drop(lake, shared, days=DAYS[:1])
    archives = sorted((lake / "inbox" / "access_log").iterdir())
    archives[0].unlink()
    looked = bulk(settings, dry_run=True)
    assert states(settings, looked)["land_access_log", -1] == "skipped"
    assert sorted((lake / "inbox" / "access_log").iterdir()) == archives[1:]
    assert not (lake / "landing" / "access_log" / "files").exists()
    told = json.loads((run_folder(settings, looked) / "inventory.json").read_text())
    assert (told["lines"], told["first"][:10], told["last"][:10]) == (1558, DAYS[0], DAYS[0])
    assert told["seconds"] > 0
    api = Api(settings)
    for chosen, changed in (("Reject", False), ("Approve", True)):
        run_id = api.trigger(DAG, {"dry_run": False, "first_day": DAYS[0], "last_day": DAYS[0]})
        asking = (DAG, run_id, "approve_fewer_lines")
        asked = eventually(partial(read_question, api, *asking), 240, "the question")
        assert f"| {DAYS[0]} | files | 1,632 | 1,558 |" in asked["body"]
        assert is_same(days(settings), before)
        answer_question(api, *asking, chosen)
        follow_run(api, DAG, run_id, QUIET)
        assert is_same(days(settings), before) is not changed
    kept = lake / "replaced" / "access_log" / run_id / DAYS[0] / "report" / "report.json"
    assert json.loads(kept.read_text())["requests"] == 1632


def test_a_day_twice_at_once_and_cleared_stays_as_it_is(killed_bulk, settings):
    """The second run waits for the first (max_active_runs); a cleared one does its tasks again."""
    before, api, dag = days(settings), Api(settings), "analyse_access_log"
    conf = {"source": "files", "day": DAYS[0]}
    runs = [api.trigger(dag, conf) for _ in range(2)]
    for run_id in runs:
        follow_run(api, dag, run_id, QUIET)
    first, second = [api.call("GET", f"/dags/{dag}/dagRuns/{run_id}") for run_id in runs]
    assert first["end_date"] <= second["start_date"]
    assert is_same(days(settings), before)
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
    assert is_same(days(settings), before)


def test_the_backfill_dialog_makes_what_bulk_and_the_nights_make(killed_bulk, settings, shared):
    _, by_bulk = killed_bulk
    with fresh_lake(settings) as lake:
        drop(lake, shared)
        assert backfill(settings, {"source": "files"}, at_once=2) == dict.fromkeys(DAYS, "success")
        assert {read_report(settings, day)["source"] for day in DAYS} == {"files"}
        by_files = days(settings)
        # The same log through Kafka, as four nights. The days are now the topic's.
        shutil.copy(shared / "data" / "apache_combined.log", lake / "inbox" / "access_log")
        api = Api(settings)
        conf = {"source": "file", "file": "apache_combined.log"}
        follow_run(api, "produce_access_log", api.trigger("produce_access_log", conf), QUIET)
        assert backfill(settings, {}, at_once=1) == dict.fromkeys(DAYS, "success")
        assert {read_report(settings, day)["source"] for day in DAYS} == {"kafka"}
        assert is_same(days(settings), by_files)
        assert is_same(by_files, by_bulk)
        page = (lake / "reports" / "access_log" / DAYS[0] / "index.html").read_text()
        assert "The other source (files) has 1,632 lines" in " ".join(page.split())

"""What the demo does and prints, against a server that answers as Airflow's API."""

import json
from io import StringIO

import pytest
from rich.console import Console

from include.errors import SetupError
from include.lake.paths import inbox_path, reports_path, run_manifest_path
from include.local_stack.demo import build_totals_table, put_into_inbox, read_log_days, run_demo
from include.settings import load_settings
from tests.builders import build_line
from tests.unit.test_local_airflow import TOKEN, answering, log_in

PRODUCE, ANALYSE = "produce_access_log", "analyse_access_log"


def a_task(task_id, state="success", **changed):
    return {
        "task_id": task_id,
        "state": state,
        "duration": 2.0,
        "end_date": "2026",
        "try_number": 1,
    } | changed


def answers(produced="success", tasks=()):
    replies = dict(TOKEN)
    for dag, state in ((PRODUCE, produced), (ANALYSE, "success")):
        path = f"/api/v2/dags/{dag}/dagRuns"
        replies |= {
            f"POST {path}": {"dag_run_id": "r"},
            f"GET {path}/r": {"state": state},
            f"GET {path}/r/taskInstances?limit=1000": {"task_instances": list(tasks)},
        }
    return replies


@pytest.fixture
def settings(tmp_path):
    log_in(tmp_path)
    return load_settings({"TIDEMARK_HOME": str(tmp_path)})


def demo(settings, log, of):
    """What it printed, and what it triggered."""
    said = Console(file=StringIO(), width=400)
    with answering(of, settings.home) as (api, asked):
        try:
            run_demo(settings, api, log, said)
        finally:
            told = said.file.getvalue()
    triggered = [body["conf"] for what, body, _ in asked if what.endswith("/dagRuns")]
    return told, triggered


def land(settings, **numbers):
    manifest = run_manifest_path(settings, ANALYSE, "r")
    manifest.parent.mkdir(parents=True, exist_ok=True)
    manifest.write_text(json.dumps(numbers))


def report(settings, day, requests, **by_status):
    place = reports_path(settings, "access_log") / day
    place.mkdir(parents=True)
    (place / "report.json").write_text(
        json.dumps(
            {
                "day": day,
                "lines": {"read": requests + 2, "good": requests, "bad": 2, "duplicates": 0},
                "requests": requests,
                "unsuccessful": 1,
                "visitors": 3,
                "bytes": 500,
                "by_status": by_status,
            }
        )
    )


def test_generated_traffic_is_produced_analysed_and_told(settings):
    land(settings, read=1200, good=1190, bad=10, undated=4)
    report(settings, "2026-01-15", 1190, **{"200": 1189, "404": 1})
    told, triggered = demo(
        settings, None, answers(tasks=[a_task("land"), a_task("look", "skipped")])
    )
    assert triggered == [
        {"source": "generator", "day": "2026-01-15"},
        {"source": "kafka", "day": "2026-01-15"},
    ]
    assert "This run landed 1,200 new lines: 1,190 good, 10 bad" in told
    assert "4 bad lines have no readable time" in told
    assert f"{reports_path(settings, 'access_log')}/2026-01-15/index.html" in told
    assert "✓ land 2 s" in told
    assert "- look 2 s" in told


def test_a_log_of_ones_own_goes_through_the_inbox_and_its_last_day_is_analysed(settings, tmp_path):
    log = tmp_path / "my log"
    log.write_text(
        build_line(time="17/May/2015:10:05:03 +0000")
        + "\n"
        + build_line(time="19/May/2015:10:05:03 +0000")
        + "\n"
    )
    told, triggered = demo(settings, log, answers())
    assert triggered == [
        {"source": "file", "file": "my_log"},
        {"source": "kafka", "day": "2015-05-19"},
    ]
    assert (inbox_path(settings, "access_log") / "my_log").read_bytes() == log.read_bytes()
    assert "This run landed 0 new lines: 0 good, 0 bad" in told


def test_what_is_no_log_is_told_as_such(settings, tmp_path):
    (tmp_path / "a.txt").write_text("no log\n")
    land(settings, read=1, good=0, bad=1)
    told, triggered = demo(settings, tmp_path / "a.txt", answers())
    assert triggered[1] == {"source": "kafka"}
    assert "Is this an access log?" in told
    assert "Report  " not in told


def test_a_log_that_the_producer_refuses_does_not_stay_in_the_inbox(settings, tmp_path):
    (tmp_path / "a.log").write_text(build_line() + "\n")
    of = answers("failed", [a_task("produce", "failed")]) | {
        f"GET /api/v2/dags/{PRODUCE}/dagRuns/r/taskInstances/produce/logs/1": {
            "content": [
                {
                    "event": "Task failed with exception",
                    "level": "error",
                    "error_detail": [{"exc_type": "UnreadableLogFile", "exc_value": "cut off"}],
                },
                {"event": "all well", "level": "info"},
            ]
        },
    }
    with pytest.raises(SetupError, match="in its task produce:\n  UnreadableLogFile: cut off$"):
        demo(settings, tmp_path / "a.log", of)
    assert list(inbox_path(settings, "access_log").iterdir()) == []


@pytest.mark.parametrize(
    ("name", "there"), [("a b;c.log", "a_b_c.log"), (".-hidden", "hidden"), ("...", "log")]
)
def test_a_log_gets_a_name_that_the_inbox_takes(settings, tmp_path, name, there):
    (tmp_path / name).write_text("x")
    assert put_into_inbox(settings, tmp_path / name) == there
    assert [path.name for path in inbox_path(settings, "access_log").iterdir()] == [there]


def test_the_days_of_a_log_are_those_of_the_sites_zone(tmp_path):
    (tmp_path / "a.log").write_text(build_line(time="17/May/2015:23:30:00 +0000") + "\n")
    found = {
        zone: read_log_days(tmp_path / "a.log", load_settings({"TIDEMARK_TIME_ZONE": zone}))
        for zone in ("UTC", "Europe/Berlin")
    }
    assert found == {"UTC": ("2015-05-17",) * 2, "Europe/Berlin": ("2015-05-18",) * 2}
    assert read_log_days(tmp_path / "none.log", load_settings({})) == ("", "")


def test_the_totals_are_those_of_the_days_asked_for(settings):
    for day, requests in (
        ("2026-01-13", 1000),
        ("2026-01-14", 20),
        ("2026-01-15", 3),
        ("2026-01-16", 5000),
    ):
        report(settings, day, requests, **{"200": requests - 1, "404": 1})
    table = build_totals_table(reports_path(settings, "access_log"), "2026-01-14", "2026-01-15")
    columns = {str(column.header): [str(cell) for cell in column.cells] for column in table.columns}
    assert columns["day"] == ["2026-01-14", "2026-01-15", "[bold]all"]
    assert columns["requests"] == ["20", "3", "[bold]23"]
    assert columns["bad"] == ["2", "2", "[bold]4"]
    assert columns["bytes"] == ["500", "500", "[bold]1,000"]
    assert table.caption == "by status  200: 21  404: 2"

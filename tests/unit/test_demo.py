"""The demo: what it triggers and prints, against a fake Airflow API."""

import json
from io import StringIO

import pytest
from rich.console import Console

from include.errors import SetupError
from include.lake.paths import inbox_path, reports_path, run_manifest_path
from include.local_stack.demo import build_totals_table, put_into_inbox, read_log_days, run_demo
from include.settings import load_settings
from tests.builders import build_line
from tests.unit.test_local_airflow import TOKEN_REPLY, fake_airflow, write_password

PRODUCE, ANALYSE = "produce_access_log", "analyse_access_log"


def build_task(task_id, state="success", **changed):
    return {
        "task_id": task_id,
        "state": state,
        "duration": 2.0,
        "end_date": "2026",
        "try_number": 1,
    } | changed


def build_replies(produce_state="success", tasks=()):
    replies = dict(TOKEN_REPLY)
    for dag, state in ((PRODUCE, produce_state), (ANALYSE, "success")):
        path = f"/api/v2/dags/{dag}/dagRuns"
        replies |= {
            f"POST {path}": {"dag_run_id": "r"},
            f"GET {path}/r": {"state": state},
            f"GET {path}/r/taskInstances?limit=1000": {"task_instances": list(tasks)},
        }
    return replies


@pytest.fixture
def settings(tmp_path):
    write_password(tmp_path)
    return load_settings({"TIDEMARK_HOME": str(tmp_path)})


def capture_demo(settings, log, replies):
    """Run the demo; return its output and the conf of each triggered run."""
    console = Console(file=StringIO(), width=400)
    with fake_airflow(replies, settings.home) as (api, requests):
        try:
            run_demo(settings, api, log, console)
        finally:
            output = console.file.getvalue()
    triggered = [body["conf"] for request, body, _ in requests if request.endswith("/dagRuns")]
    return output, triggered


def write_manifest(settings, **numbers):
    manifest = run_manifest_path(settings, ANALYSE, "r")
    manifest.parent.mkdir(parents=True, exist_ok=True)
    manifest.write_text(json.dumps(numbers))


def write_report(settings, day, requests, **by_status):
    folder = reports_path(settings, "access_log") / day
    folder.mkdir(parents=True)
    (folder / "report.json").write_text(
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


def test_generated_traffic_is_produced_analysed_and_printed(settings):
    write_manifest(settings, read=1200, good=1190, bad=10, undated=4)
    write_report(settings, "2026-01-15", 1190, **{"200": 1189, "404": 1})
    output, triggered = capture_demo(
        settings, None, build_replies(tasks=[build_task("land"), build_task("look", "skipped")])
    )
    assert triggered == [
        {"source": "generator", "day": "2026-01-15"},
        {"source": "kafka", "day": "2026-01-15"},
    ]
    assert "This run landed 1,200 new lines: 1,190 good, 10 bad" in output
    assert "4 bad lines have no readable time" in output
    assert f"{reports_path(settings, 'access_log')}/2026-01-15/index.html" in output
    assert "✓ land 2 s" in output
    assert "- look 2 s" in output


def test_a_given_log_goes_through_the_inbox_and_its_last_day_is_analysed(settings, tmp_path):
    log = tmp_path / "my log"
    log.write_text(
        build_line(time="17/May/2015:10:05:03 +0000")
        + "\n"
        + build_line(time="19/May/2015:10:05:03 +0000")
        + "\n"
    )
    output, triggered = capture_demo(settings, log, build_replies())
    assert triggered == [
        {"source": "file", "file": "my_log"},
        {"source": "kafka", "day": "2015-05-19"},
    ]
    assert (inbox_path(settings, "access_log") / "my_log").read_bytes() == log.read_bytes()
    assert "This run landed 0 new lines: 0 good, 0 bad" in output


def test_the_output_says_when_a_file_is_not_an_access_log(settings, tmp_path):
    (tmp_path / "a.txt").write_text("no log\n")
    write_manifest(settings, read=1, good=0, bad=1)
    output, triggered = capture_demo(settings, tmp_path / "a.txt", build_replies())
    assert triggered[1] == {"source": "kafka"}
    assert "Is this an access log?" in output
    assert "Report  " not in output


def test_a_log_refused_by_the_producer_is_removed_from_the_inbox(settings, tmp_path):
    (tmp_path / "a.log").write_text(build_line() + "\n")
    replies = build_replies("failed", [build_task("produce", "failed")]) | {
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
        capture_demo(settings, tmp_path / "a.log", replies)
    assert list(inbox_path(settings, "access_log").iterdir()) == []


@pytest.mark.parametrize(
    ("name", "inbox_name"), [("a b;c.log", "a_b_c.log"), (".-hidden", "hidden"), ("...", "log")]
)
def test_a_log_gets_a_name_that_the_inbox_accepts(settings, tmp_path, name, inbox_name):
    (tmp_path / name).write_text("x")
    assert put_into_inbox(settings, tmp_path / name) == inbox_name
    assert [path.name for path in inbox_path(settings, "access_log").iterdir()] == [inbox_name]


def test_the_days_of_a_log_follow_the_time_zone_setting(tmp_path):
    (tmp_path / "a.log").write_text(build_line(time="17/May/2015:23:30:00 +0000") + "\n")
    days = {
        zone: read_log_days(tmp_path / "a.log", load_settings({"TIDEMARK_TIME_ZONE": zone}))
        for zone in ("UTC", "Europe/Berlin")
    }
    assert days == {"UTC": ("2015-05-17",) * 2, "Europe/Berlin": ("2015-05-18",) * 2}
    assert read_log_days(tmp_path / "none.log", load_settings({})) == ("", "")


def test_the_totals_cover_only_the_requested_days(settings):
    for day, requests in (
        ("2026-01-13", 1000),
        ("2026-01-14", 20),
        ("2026-01-15", 3),
        ("2026-01-16", 5000),
    ):
        write_report(settings, day, requests, **{"200": requests - 1, "404": 1})
    table = build_totals_table(reports_path(settings, "access_log"), "2026-01-14", "2026-01-15")
    columns = {str(column.header): [str(cell) for cell in column.cells] for column in table.columns}
    assert columns["day"] == ["2026-01-14", "2026-01-15", "[bold]all"]
    assert columns["requests"] == ["20", "3", "[bold]23"]
    assert columns["bad"] == ["2", "2", "[bold]4"]
    assert columns["bytes"] == ["500", "500", "[bold]1,000"]
    assert table.caption == "by status  200: 21  404: 2"

"""The main job as a user runs it: `make demo`, a real broker, a real Airflow, a real browser."""

import gzip
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from include.errors import SetupError
from include.local_stack.airflow import Api
from include.local_stack.demo import follow_run
from producers.clickstream.events import generate_events
from tests.conftest import eventually, list_files_open_to_others, run_command
from tests.whole.conftest import QUIET, read_report, run_dags

# What the generator writes with its default seed; the same on every bot and every day.
GENERATED = {
    "lines": {"read": 19995, "good": 19991, "bad": 4, "duplicates": 0},
    "requests": 19991,
}


def test_the_demo_ends_with_totals_report_address_and_login(demo_output, settings):
    day = read_report(settings, "2026-01-15")
    assert day["lines"] == GENERATED["lines"]
    assert day["requests"] == GENERATED["requests"]
    assert day["source"] == "kafka"
    for word in (
        "landed 20,000 new lines: 19,991 good, 9 bad",
        "5 bad lines have no readable time",
        "2026-01-15/index.html",
        "user admin",
        "make down",
        "by status",
    ):
        assert word in demo_output
    assert f"http://127.0.0.1:{settings.airflow_port}" in demo_output
    assert "Traceback" not in demo_output


def test_nothing_of_the_stack_is_open_to_other_users_and_no_log_has_the_password(
    demo_output, settings
):
    assert list_files_open_to_others(settings.home) == []
    _, password = Api(settings).login()
    found = subprocess.run(
        ["grep", "-rlFa", "--exclude-dir=jars", password, settings.home],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert [Path(file).name for file in found.stdout.splitlines()] == [
        "simple_auth_manager_passwords.json.generated"
    ]


def test_what_airflow_measures_is_sent_where_the_settings_say(demo_output, metrics_receiver):
    wanted = {"airflow.ti.finish", "airflow.task.duration", "airflow.dagrun.duration.success",
              "airflow.pool.running_slots", "airflow.scheduler_heartbeat"}  # fmt: skip
    names, _ = metrics_receiver
    eventually(lambda: wanted <= names, 60, f"{wanted} by OTLP")
    assert not {name for name in names if "analyse_access_log" in name}, "a name for each DAG"


@pytest.mark.fault
def test_a_second_demo_changes_no_number(demo_output, stack, settings):
    before = read_report(settings, "2026-01-15")
    done = stack("demo")
    assert done.returncode == 0, done.stdout + done.stderr
    assert read_report(settings, "2026-01-15") == before
    assert "landed 0 new lines" in done.stdout


def test_a_run_says_in_its_note_what_it_reported(demo_output, settings):
    api = Api(settings)
    notes = eventually(lambda: [r["note"] for r in runs(api) if r["note"]], 30, "the note")
    assert "Tidemark: reported 2026-01-15: 19,991 requests; 5 bad lines belong to no day" in notes


@pytest.mark.fault
def test_a_log_sent_again_counts_once_and_the_report_says_how_many_lines_came_again(
    demo_output, settings
):
    before = read_report(settings, "2026-01-15")
    run_dags(settings, {"resend": True, "lines_per_message": 7}, day="2026-01-15")
    after = read_report(settings, "2026-01-15")
    assert after.pop("lines") == {"read": 39990, "good": 39982, "bad": 8, "duplicates": 19991}
    before.pop("lines")
    levels = {check["name"]: check["level"] for check in after.pop("checks")}
    assert levels["duplicates"] == "warn"
    before.pop("checks")
    bad_before, bad_after = before.pop("bad_lines"), after.pop("bad_lines")
    assert [2 * reason["lines"] for reason in bad_before] == [
        reason["lines"] for reason in bad_after
    ]
    assert after == before
    page = settings.lake / "reports" / "access_log" / "2026-01-15" / "index.html"
    assert "19,991 of the good came again" in " ".join(page.read_text().split())


@pytest.mark.fault
def test_a_log_of_ones_own_is_reported_by_its_days(demo_output, stack, settings, shared):
    done = stack("demo", "--log", shared / "data" / "apache_combined.log")
    assert done.returncode == 0, done.stdout + done.stderr
    days = [read_report(settings, f"2015-05-{day}") for day in (17, 18, 19, 20)]
    assert [day["visitors"] for day in days] == [359, 643, 570, 523]
    assert [day["requests"] for day in days] == [1632, 2893, 2896, 2579]
    assert sum(day["bytes"] for day in days) == 2_747_282_740
    for number in ("10,000", "2,747,282,740", "200: 9,126", "404: 213", "2,095"):
        assert number in done.stdout


@pytest.mark.fault
def test_rotated_logs_in_the_inbox_give_the_report_that_the_topic_gave(
    demo_output, settings, shared
):
    """Hourly archives, one of them damaged and one a copy, read as files."""
    api = Api(settings)
    folder, by_hour = settings.lake / "inbox" / "access_log", {}
    for line in (shared / "data" / "apache_combined.log").read_bytes().splitlines(keepends=True):
        by_hour.setdefault(line.split(b"[")[1][:14], []).append(line)
    (folder / "apache_combined.log").unlink()  # the demo's
    for number, lines in enumerate(by_hour.values()):
        (folder / f"access.log.{number}.gz").write_bytes(gzip.compress(b"".join(lines)))
    (folder / "copy").write_bytes((folder / "access.log.3.gz").read_bytes())
    (folder / "cut.gz").write_bytes((folder / "access.log.3.gz").read_bytes()[:-9])
    before = read_report(settings, "2015-05-17")
    run_id = api.trigger("analyse_access_log", {"source": "files", "day": "2015-05-17"})
    follow_run(api, "analyse_access_log", run_id, QUIET)
    after = read_report(settings, "2015-05-17")
    assert (before.pop("source"), after.pop("source")) == ("kafka", "files")
    assert after == before
    assert "damaged" in (folder / "_set_aside" / "cut.gz.why").read_text()
    landed = json.loads(
        (settings.lake / "runs" / "analyse_access_log" / f"{run_id}.json").read_text()
    )
    assert (landed["read"], landed["good"]) == (10_000, 10_000)


@pytest.mark.parametrize("name", ["folder", "missing", "empty", "cut.gz"])
def test_what_is_no_log_ends_in_one_sentence(demo_output, stack, settings, tmp_path, name):
    path = tmp_path / name
    expected = {"folder": "is a folder", "missing": "there is no file", "empty": "is empty",
                "cut.gz": "is damaged"}[name]  # fmt: skip
    if name == "folder":
        path.mkdir()
    elif name == "empty":
        path.touch()
    elif name == "cut.gz":
        path.write_bytes(gzip.compress(os.urandom(5000))[:-100])
    done = stack("demo", "--log", path)
    assert done.returncode == 1
    assert expected in done.stdout
    assert "Traceback" not in done.stdout + done.stderr
    assert not list((settings.lake / "inbox" / "access_log").glob("*cut.gz*"))


@pytest.mark.parametrize(
    ("dag_id", "conf"),
    [
        ("produce_access_log", {"source": "file", "file": "../../../etc/passwd"}),
        ("produce_access_log", {"count": -5}),
        ("analyse_access_log", {"source": "both"}),
        ("analyse_access_log", {"day": "2026-13-45"}),
        ("analyse_access_log", {"day": "$(reboot)"}),
    ],
)
def test_a_wrong_parameter_is_refused_by_the_api_and_no_run_is_made(
    demo_output, settings, dag_id, conf
):
    api = Api(settings)
    before = api.call("GET", f"/dags/{dag_id}/dagRuns")["total_entries"]
    with pytest.raises(SetupError, match="400|422"):
        api.trigger(dag_id, conf)
    assert api.call("GET", f"/dags/{dag_id}/dagRuns")["total_entries"] == before


def test_a_backfill_of_a_range_would_make_those_days(demo_output, settings):
    body = {"dag_id": "analyse_access_log", "from_date": "2015-05-17T00:00:00Z",
            "to_date": "2015-05-20T00:00:00Z", "dag_run_conf": {"source": "files"}}  # fmt: skip
    planned = Api(settings).call("POST", "/backfills/dry_run", json=body)["backfills"]
    assert [run["logical_date"][:10] for run in planned] == [
        f"2015-05-{d}" for d in (17, 18, 19, 20)
    ]


def test_status_and_doctor_say_what_runs(demo_output, stack):
    status, doctor = stack("status"), stack("doctor")
    assert (status.returncode, doctor.returncode) == (0, 0), status.stdout + doctor.stdout
    assert status.stdout.count("ready") == 2
    assert re.search(r"reports: \d+ days, the last \d{4}-\d\d-\d\d$", status.stdout, re.MULTILINE)
    assert "in use by this project" in doctor.stdout


def test_a_second_checkout_is_told_which_ports_are_taken_and_what_to_do(
    demo_output, env, settings, tmp_path
):
    other = env | {"TIDEMARK_HOME": str(tmp_path)}
    done = run_command([sys.executable, "-m", "include.local_stack", "up"], env_changes=other)
    assert done.returncode == 1
    assert f"Port {settings.kafka_port}: taken by process" in done.stdout
    assert "echo TIDEMARK_KAFKA_PORT=" in done.stdout
    assert not (tmp_path / "run" / "kafka.json").exists()


def fits(page):
    """On a desk and on a phone, nothing is wider than the window."""
    for width in (1280, 390):
        page.set_viewport_size({"width": width, "height": 900})
        assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_the_report_opens_in_a_browser_and_asks_for_nothing(
    demo_output, settings, browser, tmp_path
):
    page, told, asked = browser.new_page(), [], []
    page.on("dialog", lambda dialog: (told.append(dialog.message), dialog.dismiss()))
    page.on("console", lambda message: told.append(message.text))
    page.on("request", lambda request: asked.append(request.url))
    index = settings.lake / "reports" / "access_log" / "index.html"
    page.goto(index.as_uri())
    page.click("text=2026-01-15")
    assert page.title() == "Access log, 2026-01-15"
    assert page.inner_text("h1") == "Thursday, 15 January 2026"
    assert page.locator("svg.bars rect.bar").count() == 24
    fits(page)
    page.screenshot(path=str(tmp_path / "report.png"), full_page=True)
    assert (tmp_path / "report.png").stat().st_size > 50_000
    assert told == []
    assert all(url.startswith("file://") for url in asked)


@pytest.fixture
def form(demo_output, settings, browser):
    """The dialog behind *Trigger* on the DAG's page, and its page."""
    api = Api(settings)
    user, password = api.login()
    page = browser.new_page()
    page.set_default_timeout(60_000)
    page.goto(f"{api.url}/dags/analyse_access_log")
    page.fill("input[name=username]", user)
    page.fill("input[name=password]", password)
    page.press("input[name=password]", "Enter")
    page.get_by_test_id("trigger-dag-button").click()
    yield page, page.get_by_role("dialog").first
    page.close()


@pytest.mark.browser
def test_a_run_starts_from_the_web_pages_form_with_its_defaults(form, settings):
    _, dialog = form
    api = Api(settings)
    before = {r["dag_run_id"] for r in runs(api)}
    dialog.get_by_role("button", name="Trigger").click()
    (made,) = eventually(
        lambda: {r["dag_run_id"] for r in runs(api)} - before, 30, "the run that the form starts"
    )
    follow_run(api, "analyse_access_log", made, QUIET)


def test_a_backfill_starts_from_the_web_pages_dialog(form, settings, tmp_path):
    page, dialog = form
    api = Api(settings)
    before = read_report(settings, "2026-01-15")
    dialog.get_by_text("Backfill", exact=True).first.click()
    for day in ("2026/01/15", "2026/01/15"):
        dialog.get_by_text("Select date and time").first.click()
        for placeholder, text in {"YYYY/MM/DD": day, "HH:mm": "00:00"}.items():
            page.get_by_placeholder(placeholder).last.fill(text)
            page.get_by_placeholder(placeholder).last.press("Enter")
        page.keyboard.press("Escape")
    dialog.get_by_text("1 run will be triggered").wait_for()
    page.screenshot(path=str(tmp_path / "backfill.png"))
    dialog.get_by_role("button", name="Run Backfill").click()
    asked = "/backfills?dag_id=analyse_access_log&limit=1000"
    (made,) = eventually(
        lambda: [b for b in api.call("GET", asked)["backfills"]
                 if b["from_date"].startswith("2026-01-15")], 60, "the backfill that the dialog starts",
    )  # fmt: skip
    eventually(lambda: api.call("GET", f"/backfills/{made['id']}")["completed_at"], 300, "its end")
    (state,) = [r["state"] for r in runs(api) if r["run_type"] == "backfill"
                and (r["logical_date"] or "").startswith("2026-01-15")]  # fmt: skip
    assert state == "success"
    assert read_report(settings, "2026-01-15") == before


def runs(api):
    return api.call("GET", "/dags/analyse_access_log/dagRuns?limit=1000")["dag_runs"]


@pytest.fixture(scope="module")
def clickstream(demo_output, settings):
    """The topic has 600 events, and some that are none."""
    api = Api(settings)
    follow_run(
        api, "produce_clickstream", api.trigger("produce_clickstream", {"bad_share": 0.1}), QUIET
    )


def test_a_stream_runs_from_its_form_and_tells_its_totals(clickstream, settings):
    """With the form's defaults; the other examples are in tests/kafka/test_run_stream_form.py."""
    told = {"good": 600, "bad": 57, "future": 15}
    api = Api(settings)
    run_id = api.trigger("run_stream", {})
    follow_run(api, "run_stream", run_id, QUIET)
    run = f"/dags/run_stream/dagRuns/{run_id}"
    where = f"{run}/taskInstances/stream/logs/1"
    log = api.call("GET", where, headers={"Accept": "application/json"})["content"]
    text = "\n".join(str(entry["event"]) for entry in log)
    assert "|minute_bin|Total Impressions|" in text
    assert "batch 0: 672 messages" in text, "progress"
    totals = api.call("GET", f"{run}/taskInstances/totals/xcomEntries/return_value")["value"]
    totals = json.loads(totals) if isinstance(totals, str) else totals
    assert totals.items() >= told.items(), totals
    events = api.call("GET", "/assets/events?source_dag_id=run_stream&limit=100")["asset_events"]
    (event,) = [event for event in events if event["source_run_id"] == run_id]
    assert event["extra"].items() >= told.items()


def test_the_clickstream_is_landed_and_reported_and_a_run_with_nothing_new_ends_at_once(
    clickstream, settings, browser, tmp_path
):
    api = Api(settings)
    follow_run(api, "analyse_clickstream", api.trigger("analyse_clickstream", {}), QUIET)
    page = settings.lake / "reports" / "clickstream" / "index.html"
    found = json.loads((page.parent / "report.json").read_text())
    expected = list(generate_events(600, 1, campaigns=3))
    assert found["lines"] == {"read": 672, "good": 600, "bad": 72, "duplicates": 0}
    assert found["impressions"] == sum(event["Impressions"] for event in expected)
    assert found["clicks"] == sum(event["Clicks"] for event in expected)
    assert {row["campaign"] for row in found["by_campaign"]} == {f"campaign-{n}" for n in (1, 2, 3)}
    again = api.trigger("analyse_clickstream", {})
    follow_run(api, "analyse_clickstream", again, QUIET)
    tasks = api.call("GET", f"/dags/analyse_clickstream/dagRuns/{again}/taskInstances")
    states = {task["task_id"]: task["state"] for task in tasks["task_instances"]}
    assert states["look"] == "success"
    assert states["land_clickstream"] == states["report"] == "skipped"
    view = browser.new_page()
    view.goto(page.as_uri())
    assert view.inner_text("h1") == "Clickstream"
    assert view.locator("#minutes svg rect.bar").count() == 60
    fits(view)
    view.screenshot(path=str(tmp_path / "clickstream.png"), full_page=True)


def test_a_form_that_cannot_run_is_refused_by_its_first_task(demo_output, settings):
    api = Api(settings)
    run_id = api.trigger("run_stream", {"output_mode": "append"})
    with pytest.raises(SetupError, match="in its task plan:(.|\n)*use complete or update"):
        follow_run(api, "run_stream", run_id, QUIET)

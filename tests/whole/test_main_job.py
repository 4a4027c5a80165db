"""The whole stack as a user runs it: `make demo` with a real broker, Airflow and browser."""

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

# Output of the generator with its default seed; the same on every machine and for every day.
GENERATED = {
    "lines": {"read": 19995, "good": 19991, "bad": 4, "duplicates": 0},
    "requests": 19991,
}


def test_the_demo_prints_totals_report_address_and_login(demo_output, settings):
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


def test_no_file_is_open_to_other_users_and_no_log_has_the_password(demo_output, settings):
    assert list_files_open_to_others(settings.home) == []
    _, password = Api(settings).login()
    matches = subprocess.run(
        ["grep", "-rlFa", "--exclude-dir=jars", password, settings.home],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert [Path(file).name for file in matches.stdout.splitlines()] == [
        "simple_auth_manager_passwords.json.generated"
    ]


def test_airflow_sends_its_metrics_to_the_configured_endpoint(demo_output, metrics_receiver):
    expected = {"airflow.ti.finish", "airflow.task.duration", "airflow.dagrun.duration.success",
                "airflow.pool.running_slots", "airflow.scheduler_heartbeat"}  # fmt: skip
    names, _ = metrics_receiver
    eventually(lambda: expected <= names, 60, f"{expected} by OTLP")
    assert not {name for name in names if "analyse_access_log" in name}, "a name for each DAG"


@pytest.mark.fault
def test_a_second_demo_does_not_change_the_report(demo_output, stack, settings):
    before = read_report(settings, "2026-01-15")
    done = stack("demo")
    assert done.returncode == 0, done.stdout + done.stderr
    assert read_report(settings, "2026-01-15") == before
    assert "landed 0 new lines" in done.stdout


def test_the_note_of_a_run_lists_what_it_reported(demo_output, settings):
    api = Api(settings)
    notes = eventually(lambda: [r["note"] for r in list_runs(api) if r["note"]], 30, "the note")
    assert "Tidemark: reported 2026-01-15: 19,991 requests; 5 bad lines belong to no day" in notes


@pytest.mark.fault
def test_a_resent_log_counts_once_and_the_report_shows_the_duplicates(demo_output, settings):
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
    assert "19,991 of the good lines are duplicates" in " ".join(page.read_text().split())


@pytest.mark.fault
def test_a_users_own_log_gets_a_report_for_each_day(demo_output, stack, settings, shared):
    done = stack("demo", "--log", shared / "data" / "apache_combined.log")
    assert done.returncode == 0, done.stdout + done.stderr
    days = [read_report(settings, f"2015-05-{day}") for day in (17, 18, 19, 20)]
    assert [day["visitors"] for day in days] == [359, 643, 570, 523]
    assert [day["requests"] for day in days] == [1632, 2893, 2896, 2579]
    assert sum(day["bytes"] for day in days) == 2_747_282_740
    for number in ("10,000", "2,747,282,740", "200: 9,126", "404: 213", "2,095"):
        assert number in done.stdout


@pytest.mark.fault
def test_rotated_logs_in_the_inbox_give_the_same_report_as_kafka(demo_output, settings, shared):
    """Reads hourly archives as files; one of them is damaged and one is a copy."""
    api = Api(settings)
    folder, by_hour = settings.lake / "inbox" / "access_log", {}
    for line in (shared / "data" / "apache_combined.log").read_bytes().splitlines(keepends=True):
        by_hour.setdefault(line.split(b"[")[1][:14], []).append(line)
    (folder / "apache_combined.log").unlink()  # put there by the demo
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
    record = json.loads(
        (settings.lake / "runs" / "analyse_access_log" / f"{run_id}.json").read_text()
    )
    assert (record["read"], record["good"]) == (10_000, 10_000)


@pytest.mark.parametrize("name", ["folder", "missing", "empty", "cut.gz"])
def test_an_unusable_log_file_ends_with_a_short_error(demo_output, stack, settings, tmp_path, name):
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
def test_the_api_refuses_an_invalid_parameter_and_creates_no_run(
    demo_output, settings, dag_id, conf
):
    api = Api(settings)
    before = api.call("GET", f"/dags/{dag_id}/dagRuns")["total_entries"]
    with pytest.raises(SetupError, match="400|422"):
        api.trigger(dag_id, conf)
    assert api.call("GET", f"/dags/{dag_id}/dagRuns")["total_entries"] == before


def test_a_dry_run_backfill_plans_every_day_of_the_range(demo_output, settings):
    body = {"dag_id": "analyse_access_log", "from_date": "2015-05-17T00:00:00Z",
            "to_date": "2015-05-20T00:00:00Z", "dag_run_conf": {"source": "files"}}  # fmt: skip
    planned = Api(settings).call("POST", "/backfills/dry_run", json=body)["backfills"]
    assert [run["logical_date"][:10] for run in planned] == [
        f"2015-05-{d}" for d in (17, 18, 19, 20)
    ]


def test_status_and_doctor_show_the_running_services(demo_output, stack):
    status, doctor = stack("status"), stack("doctor")
    assert (status.returncode, doctor.returncode) == (0, 0), status.stdout + doctor.stdout
    assert status.stdout.count("ready") == 2
    assert re.search(r"reports: \d+ days, the last \d{4}-\d\d-\d\d$", status.stdout, re.MULTILINE)
    assert "in use by this project" in doctor.stdout


def test_a_second_checkout_gets_an_error_with_the_taken_port_and_the_remedy(
    demo_output, env, settings, tmp_path
):
    other = env | {"TIDEMARK_HOME": str(tmp_path)}
    done = run_command([sys.executable, "-m", "include.local_stack", "up"], env_changes=other)
    assert done.returncode == 1
    assert f"Port {settings.kafka_port}: taken by process" in done.stdout
    assert "echo TIDEMARK_KAFKA_PORT=" in done.stdout
    assert not (tmp_path / "run" / "kafka.json").exists()


def assert_fits_window(page):
    """Check that nothing is wider than the window, on a desktop and on a phone."""
    for width in (1280, 390):
        page.set_viewport_size({"width": width, "height": 900})
        assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_the_report_opens_in_a_browser_without_network_requests(
    demo_output, settings, browser, tmp_path
):
    page, messages, requested_urls = browser.new_page(), [], []
    page.on("dialog", lambda dialog: (messages.append(dialog.message), dialog.dismiss()))
    page.on("console", lambda message: messages.append(message.text))
    page.on("request", lambda request: requested_urls.append(request.url))
    index = settings.lake / "reports" / "access_log" / "index.html"
    page.goto(index.as_uri())
    page.click("text=2026-01-15")
    assert page.title() == "Access log, 2026-01-15"
    assert page.inner_text("h1") == "Thursday, 15 January 2026"
    assert page.locator("svg.bars rect.bar").count() == 24
    assert_fits_window(page)
    page.screenshot(path=str(tmp_path / "report.png"), full_page=True)
    assert (tmp_path / "report.png").stat().st_size > 50_000
    assert messages == []
    assert all(url.startswith("file://") for url in requested_urls)


@pytest.fixture
def form(demo_output, settings, browser):
    """The page of the DAG, and the dialog that its *Trigger* button opens."""
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
def test_the_trigger_form_starts_a_run_with_its_defaults(form, settings):
    _, dialog = form
    api = Api(settings)
    before = {r["dag_run_id"] for r in list_runs(api)}
    dialog.get_by_role("button", name="Trigger").click()
    (new_run_id,) = eventually(
        lambda: {r["dag_run_id"] for r in list_runs(api)} - before,
        30,
        "the run that the form starts",
    )
    follow_run(api, "analyse_access_log", new_run_id, QUIET)


def test_the_backfill_dialog_starts_a_backfill(form, settings, tmp_path):
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
    path = "/backfills?dag_id=analyse_access_log&limit=1000"
    (backfill,) = eventually(
        lambda: [item for item in api.call("GET", path)["backfills"]
                 if item["from_date"].startswith("2026-01-15")], 60, "the backfill that the dialog starts",
    )  # fmt: skip
    eventually(
        lambda: api.call("GET", f"/backfills/{backfill['id']}")["completed_at"], 300, "its end"
    )
    (state,) = [r["state"] for r in list_runs(api) if r["run_type"] == "backfill"
                and (r["logical_date"] or "").startswith("2026-01-15")]  # fmt: skip
    assert state == "success"
    assert read_report(settings, "2026-01-15") == before


def list_runs(api):
    return api.call("GET", "/dags/analyse_access_log/dagRuns?limit=1000")["dag_runs"]


@pytest.fixture(scope="module")
def clickstream(demo_output, settings):
    """Send 600 clickstream events and some bad messages to the topic."""
    api = Api(settings)
    follow_run(
        api, "produce_clickstream", api.trigger("produce_clickstream", {"bad_share": 0.1}), QUIET
    )


def test_a_stream_started_from_its_form_returns_its_totals(clickstream, settings):
    """With the default form; tests/kafka/test_run_stream_form.py has the other examples."""
    expected = {"good": 600, "bad": 57, "future": 15}
    api = Api(settings)
    run_id = api.trigger("run_stream", {})
    follow_run(api, "run_stream", run_id, QUIET)
    run = f"/dags/run_stream/dagRuns/{run_id}"
    log_path = f"{run}/taskInstances/stream/logs/1"
    log = api.call("GET", log_path, headers={"Accept": "application/json"})["content"]
    text = "\n".join(str(entry["event"]) for entry in log)
    assert "|minute_bin|Total Impressions|" in text
    assert "batch 0: 672 messages" in text, "progress"
    totals = api.call("GET", f"{run}/taskInstances/totals/xcomEntries/return_value")["value"]
    totals = json.loads(totals) if isinstance(totals, str) else totals
    assert totals.items() >= expected.items(), totals
    events = api.call("GET", "/assets/events?source_dag_id=run_stream&limit=100")["asset_events"]
    (event,) = [event for event in events if event["source_run_id"] == run_id]
    assert event["extra"].items() >= expected.items()


def test_the_clickstream_is_reported_and_a_run_without_new_data_is_skipped(
    clickstream, settings, browser, tmp_path
):
    api = Api(settings)
    follow_run(api, "analyse_clickstream", api.trigger("analyse_clickstream", {}), QUIET)
    page = settings.lake / "reports" / "clickstream" / "index.html"
    report = json.loads((page.parent / "report.json").read_text())
    expected = list(generate_events(600, 1, campaigns=3))
    assert report["lines"] == {"read": 672, "good": 600, "bad": 72, "duplicates": 0}
    assert report["impressions"] == sum(event["Impressions"] for event in expected)
    assert report["clicks"] == sum(event["Clicks"] for event in expected)
    assert {row["campaign"] for row in report["by_campaign"]} == {
        f"campaign-{n}" for n in (1, 2, 3)
    }
    second_run_id = api.trigger("analyse_clickstream", {})
    follow_run(api, "analyse_clickstream", second_run_id, QUIET)
    tasks = api.call("GET", f"/dags/analyse_clickstream/dagRuns/{second_run_id}/taskInstances")
    states = {task["task_id"]: task["state"] for task in tasks["task_instances"]}
    assert states["preflight"] == "success"
    assert states["land_clickstream"] == states["report"] == "skipped"
    browser_page = browser.new_page()
    browser_page.goto(page.as_uri())
    assert browser_page.inner_text("h1") == "Clickstream"
    assert browser_page.locator("#minutes svg rect.bar").count() == 60
    assert_fits_window(browser_page)
    browser_page.screenshot(path=str(tmp_path / "clickstream.png"), full_page=True)


def test_an_invalid_stream_form_fails_in_its_first_task(demo_output, settings):
    api = Api(settings)
    run_id = api.trigger("run_stream", {"output_mode": "append"})
    with pytest.raises(SetupError, match="in its task plan:(.|\n)*use complete or update"):
        follow_run(api, "run_stream", run_id, QUIET)

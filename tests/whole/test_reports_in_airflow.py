"""The reports inside Airflow's web page, in a browser."""

import json
from urllib.parse import quote

import pytest

from include.local_stack.airflow import Api
from include.reporting.run_pages import build_page_url

DAY = "2026-01-15"
DAY_URL = build_page_url(f"access_log/{DAY}")
EVENTS = "/assets/events?source_dag_id=analyse_access_log&source_task_id=report&limit=100"


@pytest.fixture(scope="module")
def reporting_run(demo_output, settings):
    """The id of the last run that published the demo's day."""
    events = Api(settings).call("GET", EVENTS)["asset_events"]
    day_events = [event for event in events if event["extra"].get("page") == DAY_URL]
    return max(day_events, key=lambda event: event["timestamp"])["source_run_id"]


@pytest.fixture
def page(demo_output, settings, browser):
    """A browser page that is logged in to Airflow."""
    api, context = Api(settings), browser.new_context(accept_downloads=True)
    user, password = api.login()
    page = context.new_page()
    page.set_default_timeout(60_000)
    page.goto(api.url)
    page.fill("input[name=username]", user)
    page.fill("input[name=password]", password)
    page.press("input[name=password]", "Enter")
    page.get_by_role("link", name="Reports", exact=True).wait_for()
    yield page
    context.close()


@pytest.mark.browser
def test_a_daily_report_opens_from_the_list_and_its_csv_can_be_downloaded(page, tmp_path):
    page.get_by_role("link", name="Reports", exact=True).click()
    frame = page.frame_locator("iframe[title=Reports]")
    frame.get_by_role("link", name=DAY, exact=True).click()
    frame.get_by_role("heading", name="Thursday, 15 January 2026").wait_for()
    page.wait_for_url(f"**{DAY_URL}")
    page.screenshot(path=str(tmp_path / "day.png"))
    with page.expect_download() as started:
        frame.locator('a[href="hosts.csv"]').first.click()
    assert started.value.suggested_filename == f"{DAY}-hosts.csv"
    page.reload()
    frame.get_by_role("heading", name="Thursday, 15 January 2026").wait_for()


@pytest.mark.browser
def test_the_range_form_shows_a_report_for_any_range(page, tmp_path):
    page.get_by_role("link", name="Reports", exact=True).click()
    frame = page.frame_locator("iframe[title=Reports]")
    frame.locator("input[name=from]").fill("2026-01-16")
    frame.locator("input[name=to]").fill(DAY)
    frame.get_by_role("button", name="Show these days").click()
    frame.get_by_text("2026-01-16 is after 2026-01-15").wait_for()
    frame.get_by_role("link", name="All reports").click()
    frame.locator("input[name=from]").fill("2026-01-14")
    frame.locator("input[name=to]").fill(DAY)
    frame.get_by_role("button", name="Show these days").click()
    page.wait_for_url("**/access_log/2026-01-14_2026-01-15/index.html")
    frame.get_by_role("heading", level=1).wait_for()
    page.screenshot(path=str(tmp_path / "range.png"))


def test_the_run_its_task_and_its_asset_event_lead_to_the_report(
    reporting_run, page, settings, tmp_path
):
    api = Api(settings)
    run = f"/dags/analyse_access_log/dagRuns/{reporting_run}"
    links = api.call("GET", f"{run}/taskInstances/report/links")["extra_links"]
    assert links == {"Open report": DAY_URL}
    events = api.call("GET", EVENTS)["asset_events"]
    (event,) = [event for event in events if event["source_run_id"] == reporting_run]
    report = json.loads((settings.lake / f"reports/access_log/{DAY}/report.json").read_text())
    numbers = {name: report[name] for name in ("requests", "visitors", "unsuccessful", "bytes")}
    assert event["extra"] == {"days": [DAY], **numbers, "page": DAY_URL}
    page.goto(
        f"{api.url}/dags/analyse_access_log/runs/{quote(reporting_run, safe='')}/tasks/report/details"
    )
    page.get_by_role("link", name="Open report").click()
    frame = page.frame_locator("iframe[title=Reports]")
    frame.get_by_role("heading", name="Thursday, 15 January 2026").wait_for()
    page.goto(f"{api.url}/dags/analyse_access_log/runs/{quote(reporting_run, safe='')}")
    page.get_by_role("link", name="Report", exact=True).click()
    frame = page.frame_locator("iframe[title=Report]")
    frame.get_by_role("heading", name="Thursday, 15 January 2026").wait_for()
    page.screenshot(path=str(tmp_path / "run.png"))

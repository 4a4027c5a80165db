"""Days that are fit to be published, days that warn, and days that are held back."""

import json

import pytest

from include.lake import reports, summaries
from include.publishing import publish_days
from include.quality import NotFit, check_day
from include.settings import load_settings
from tests.unit.test_report import a_summary


@pytest.fixture
def settings(tmp_path):
    return load_settings({"TIDEMARK_HOME": str(tmp_path)})


def lines(read=100, bad=0, repeated=0):
    return {"read": read, "good": read - bad, "bad": bad, "repeated": repeated}


def levels(summary, settings):
    return {c.name: c.level for c in check_day(summary, reports(settings, "access_log"), settings)}


@pytest.mark.parametrize(
    ("bad", "level"), [(0, "ok"), (9, "ok"), (10, "warn"), (499, "warn"), (500, "fail"), (1000, "fail")]
)  # fmt: skip
def test_the_share_of_bad_lines_is_judged_by_the_settings(settings, bad, level):
    summary = a_summary(lines=lines(read=1000, bad=bad))
    assert levels(summary, settings)["bad lines"] == level


def test_a_day_without_a_line_is_no_failure(settings):
    nothing = a_summary(lines=lines(read=0), requests=0, by_hour={f"{h:02}": 0 for h in range(24)})
    assert set(levels(nothing, settings).values()) == {"ok"}


@pytest.mark.parametrize(("empty", "level"), [(0, "ok"), (1, "ok"), (2, "warn"), (5, "warn")])
def test_hours_without_a_request_are_odd_on_a_busy_day(settings, empty, level):
    hours = {f"{h:02}": 0 if 3 <= h < 3 + empty else 50 for h in range(24)}
    assert levels(a_summary(by_hour=hours), settings)["silence"] == level
    quiet = {hour: min(n, 1) for hour, n in hours.items()}
    assert levels(a_summary(by_hour=quiet), settings)["silence"] == "ok"


@pytest.mark.parametrize(
    ("before", "requests", "level"),
    [([], 3, None), ([100], 3, None), ([100, 110, 90, 100], 100, "ok"), ([100, 100], 151, "warn"),
     ([100, 100, 100], 49, "warn"), ([0, 0], 0, "ok")],
)  # fmt: skip
def test_the_volume_is_held_against_the_same_weekday(settings, before, requests, level):
    days = ["2026-01-08", "2026-01-01", "2025-12-25", "2025-12-18"]
    for day, number in zip(days, before, strict=False):
        folder = reports(settings, "access_log") / day
        folder.mkdir(parents=True)
        (folder / "report.json").write_text(json.dumps({"requests": number}))
    assert levels(a_summary(requests=requests), settings).get("volume") == level


def publish(settings, *days, **changed):
    for day in days:
        folder = summaries(settings, "access_log") / day
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "summary.json").write_text(json.dumps(a_summary(day=day, **changed)))
    return days


def test_a_day_that_fails_keeps_its_old_report_and_the_others_are_published(settings):
    publish(settings, "2026-01-14", "2026-01-15")
    publish_days(settings, ["2026-01-14", "2026-01-15"], "first")
    page = reports(settings, "access_log") / "2026-01-15" / "report.json"
    before = page.read_text()
    publish(settings, "2026-01-15", lines=lines(bad=80))
    publish(settings, "2026-01-16")
    with pytest.raises(NotFit, match="2026-01-15: 80 of 100 lines cannot be read.*publish_anyway"):
        publish_days(settings, ["2026-01-15", "2026-01-16"], "second")
    assert page.read_text() == before
    assert (page.parent.parent / "2026-01-16" / "index.html").is_file()
    publish_days(settings, ["2026-01-15"], "third", anyway=True)
    assert json.loads(page.read_text())["checks"][0]["level"] == "fail"
    assert "Published although it failed" in (page.parent / "index.html").read_text()
    history = (summaries(settings, "access_log") / "checks.jsonl").read_text().splitlines()
    assert [json.loads(line)["run"] for line in history] == ["first"] * 2 + ["second"] * 2 + [
        "third"
    ]


def test_a_day_that_warns_says_so_on_its_page(settings):
    publish(settings, "2026-01-15", lines=lines(bad=5))
    publish_days(settings, ["2026-01-15"], "run")
    page = (reports(settings, "access_log") / "2026-01-15" / "index.html").read_text()
    assert "Look twice at this day" in page
    assert "Bad lines: 5 of 100 lines cannot be read." in page

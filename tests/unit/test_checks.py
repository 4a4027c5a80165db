"""Days that are fit to be published, days that warn, and days that are held back."""

import json

import pytest

from include.lake.paths import reports_path, summaries_path
from include.reporting.checks import CheckFailed, check_day, check_run
from include.reporting.publishing import publish_days
from include.settings import load_settings
from tests.unit.test_report import a_summary


@pytest.fixture
def settings(tmp_path):
    return load_settings({"TIDEMARK_HOME": str(tmp_path)})


def lines(read=100, bad=0, repeated=0):
    return {"read": read, "good": read - bad, "bad": bad, "duplicates": repeated}


def levels(summary, settings):
    return {
        c.name: c.level for c in check_day(summary, reports_path(settings, "access_log"), settings)
    }


@pytest.mark.parametrize(
    ("bad", "level"),
    [(0, "ok"), (9, "ok"), (10, "warn"), (249, "warn"), (250, "quarantine"), (499, "quarantine"),
     (500, "fail"), (1000, "fail")],
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
        folder = reports_path(settings, "access_log") / day
        folder.mkdir(parents=True)
        (folder / "report.json").write_text(json.dumps({"requests": number}))
    assert levels(a_summary(requests=requests), settings).get("volume") == level


def publish(settings, *days, **changed):
    for day in days:
        folder = summaries_path(settings, "access_log") / day
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "summary.json").write_text(json.dumps(a_summary(day=day, **changed)))
    return days


def test_a_day_that_fails_keeps_its_old_report_and_the_others_are_published(settings):
    publish(settings, "2026-01-14", "2026-01-15")
    publish_days(settings, ["2026-01-14", "2026-01-15"], "first")
    page = reports_path(settings, "access_log") / "2026-01-15" / "report.json"
    before = page.read_text()
    publish(settings, "2026-01-15", lines=lines(bad=80))
    publish(settings, "2026-01-16")
    with pytest.raises(
        CheckFailed, match="2026-01-15: 80 of 100 lines cannot be read.*publish_anyway"
    ):
        publish_days(settings, ["2026-01-15", "2026-01-16"], "second")
    assert page.read_text() == before
    assert (page.parent.parent / "2026-01-16" / "index.html").is_file()
    publish_days(settings, ["2026-01-15"], "third", publish_anyway=True)
    assert json.loads(page.read_text())["checks"][0]["level"] == "fail"
    assert "Published although it failed" in (page.parent / "index.html").read_text()
    history = (summaries_path(settings, "access_log") / "checks.jsonl").read_text().splitlines()
    kept = [json.loads(line) for line in history]
    assert [(record["run"], record["day"]) for record in kept] == [
        ("first", None), ("first", "2026-01-14"), ("first", "2026-01-15"),
        ("second", None), ("second", "2026-01-15"), ("second", "2026-01-16"),
        ("third", None), ("third", "2026-01-15"),
    ]  # fmt: skip
    assert all(record["checks"] for record in kept)


def test_a_day_that_warns_says_so_on_its_page(settings):
    publish(settings, "2026-01-15", lines=lines(bad=5))
    publish_days(settings, ["2026-01-15"], "run")
    page = (reports_path(settings, "access_log") / "2026-01-15" / "index.html").read_text()
    assert "Look twice at this day" in page
    assert "Bad lines: 5 of 100 lines cannot be read." in page


def note(settings, run):
    return (settings.lake / "runs" / "analyse_access_log" / f"{run}.note").read_text()


def test_a_quarantined_day_keeps_its_old_report_the_run_is_green_and_its_note_says_so(settings):
    publish(settings, "2026-01-15")
    publish_days(settings, ["2026-01-15"], "first")
    page = reports_path(settings, "access_log") / "2026-01-15" / "report.json"
    before = page.read_text()
    publish(settings, "2026-01-15", lines=lines(bad=30))
    assert publish_days(settings, ["2026-01-15"], "second") == {}
    assert page.read_text() == before
    assert note(settings, "second") == (
        "Tidemark: not published: 2026-01-15: 30 of 100 lines cannot be read"
    )
    publish_days(settings, ["2026-01-15"], "third", publish_anyway=True)
    assert "Published although it failed" in page.with_name("index.html").read_text()


def test_every_check_has_its_three_thresholds_and_zero_is_never(tmp_path):
    hours = {f"{h:02}": 0 if h < 6 else 50 for h in range(24)}
    summary = a_summary(lines=lines(read=10, repeated=5), requests=100, by_hour=hours)
    for check, name, value in [
        ("duplicate_share", "duplicates", 0.5),
        ("silent_hours", "silence", 6),
    ]:
        for level in ("warn", "quarantine", "fail"):
            others = dict.fromkeys(("warn", "quarantine", "fail"), 0) | {level: value}
            env = {f"TIDEMARK_{check.upper()}_{which.upper()}": str(n)
                   for which, n in others.items()}  # fmt: skip
            told = load_settings(env | {"TIDEMARK_HOME": str(tmp_path)})
            assert levels(summary, told)[name] == level
            assert check_day(summary, tmp_path, load_settings({}))[1].level == "warn"


def test_late_lines_change_the_report_of_their_day_and_the_note_says_which(settings):
    publish(settings, "2026-01-13")
    publish_days(settings, ["2026-01-13"], "first")
    publish(settings, "2026-01-13", lines=lines(read=17))
    publish(settings, "2026-01-15")
    publish(settings, "2026-01-14")
    publish_days(settings, ["2026-01-15", "2026-01-13", "2026-01-14"], "second")
    assert note(settings, "second") == (
        "Tidemark: reported 2026-01-15: 3 requests; changed: 2026-01-13 (12 late lines), "
        "2026-01-14 (new, 5 lines)"
    )


def test_the_note_says_what_the_run_landed_of_no_day_and_what_was_lost(settings):
    manifest = settings.lake / "runs" / "analyse_access_log" / "run.json"
    manifest.parent.mkdir(parents=True)
    told = {"undated": 5, "future": 3, "lost": [{"messages": 7}, {"messages": 1000}]}
    manifest.write_text(json.dumps(told))
    publish(settings, "2026-01-15")
    publish_days(settings, ["2026-01-15"], "run")
    assert note(settings, "run").split("; ")[1:] == [
        "3 lines of this run show a time more than 24 hours ahead", "5 bad lines belong to no day",
        "1,007 messages were lost before they were landed",
    ]  # fmt: skip
    report = (reports_path(settings, "access_log") / "2026-01-15" / "report.json").read_text()
    assert {c["name"]: c["level"] for c in json.loads(report)["checks"]}["future"] == "warn"


@pytest.mark.parametrize(
    ("night", "level"), [("2026-01-15", None), ("2026-02-13", "ok"), ("2026-02-14", "warn")]
)
def test_a_night_that_changes_an_ancient_day_warns_and_a_backfill_does_not(settings, night, level):
    summary = a_summary(day="2026-01-15")
    found = check_day(summary, reports_path(settings, "access_log"), settings, night)
    assert {check.name: check.level for check in found}.get("age") == level
    assert "age" not in levels(summary, settings)


def test_lost_messages_warn_on_the_days_that_may_lack_them(settings):
    loss = {"topic": "<b>", "partition": 1, "first": 3, "end": 1010, "messages": 1007,
            "since": "2026-01-14T00:00:09Z", "at": "2026-01-16T00:00:09+00:00"}  # fmt: skip
    summary = a_summary()
    summary["provenance"]["data_loss"] = [loss]
    publish(settings, "2026-01-15", provenance=summary["provenance"])
    publish_days(settings, ["2026-01-15"], "run")
    page = (reports_path(settings, "access_log") / "2026-01-15" / "index.html").read_text()
    assert "Data loss: 1,007 messages that Kafka no longer had were not landed" in page
    assert "1,007 messages of topic &lt;b&gt;, partition 1, offsets 3 to 1009, sent after" in page


@pytest.mark.parametrize(
    ("day", "missing", "gap"),
    [("2026-03-29", (), 0), ("2026-03-29", ("01",), 1), ("2026-03-29", ("01", "03"), 2),
     ("2026-03-30", ("01", "03"), 1), ("2026-10-25", ("02",), 2), ("2026-10-26", ("02",), 1)],
)  # fmt: skip
def test_an_hour_that_the_clock_leaves_out_is_no_silence_and_a_double_one_counts_twice(
    settings, day, missing, gap
):
    hours = {f"{h:02}": 0 if f"{h:02}" in missing else 50 for h in range(24)}
    if day == "2026-03-29":
        hours["02"] = 0
    summary = a_summary(day=day, time_zone="Europe/Paris", by_hour=hours)
    (silence,) = [c for c in check_day(summary, settings.lake, settings) if c.name == "silence"]
    assert (silence.value, silence.level) == (gap, "warn" if gap >= 2 else "ok")


@pytest.mark.parametrize(
    ("landed", "level", "value"),
    [({}, "ok", 0), ({"future": 0}, "ok", 0), ({"future": 3}, "warn", 3)],
)
def test_lines_from_the_future_are_said_of_the_run_that_landed_them(settings, landed, level, value):
    (check,) = check_run(landed, settings)
    assert (check.name, check.level, check.value) == ("future", level, value)

"""Checks of a summarised day: published, published with a warning, quarantined or failed."""

import json

import pytest

from include.lake.paths import reports_path, summaries_path
from include.reporting.checks import CheckFailed, check_day, check_run
from include.reporting.publishing import publish_days
from include.settings import load_settings
from tests.unit.test_report import build_summary


@pytest.fixture
def settings(tmp_path):
    return load_settings({"TIDEMARK_HOME": str(tmp_path)})


def line_counts(read=100, bad=0, duplicates=0):
    return {"read": read, "good": read - bad, "bad": bad, "duplicates": duplicates}


def check_levels(summary, settings):
    return {
        check.name: check.level
        for check in check_day(summary, reports_path(settings, "access_log"), settings)
    }


@pytest.mark.parametrize(
    ("bad", "level"),
    [(0, "ok"), (9, "ok"), (10, "warn"), (249, "warn"), (250, "quarantine"), (499, "quarantine"),
     (500, "fail"), (1000, "fail")],
)  # fmt: skip
def test_the_share_of_bad_lines_sets_the_level(settings, bad, level):
    summary = build_summary(lines=line_counts(read=1000, bad=bad))
    assert check_levels(summary, settings)["bad lines"] == level


def test_a_day_without_lines_passes_every_check(settings):
    empty_day = build_summary(
        lines=line_counts(read=0), requests=0, by_hour={f"{h:02}": 0 for h in range(24)}
    )
    assert set(check_levels(empty_day, settings).values()) == {"ok"}


@pytest.mark.parametrize(
    ("silent_hours", "level"), [(0, "ok"), (1, "ok"), (2, "warn"), (5, "warn")]
)
def test_silent_hours_warn_only_on_a_busy_day(settings, silent_hours, level):
    hours = {f"{h:02}": 0 if 3 <= h < 3 + silent_hours else 50 for h in range(24)}
    assert check_levels(build_summary(by_hour=hours), settings)["silence"] == level
    quiet = {hour: min(n, 1) for hour, n in hours.items()}
    assert check_levels(build_summary(by_hour=quiet), settings)["silence"] == "ok"


@pytest.mark.parametrize(
    ("earlier_requests", "requests", "level"),
    [([], 3, None), ([100], 3, None), ([100, 110, 90, 100], 100, "ok"), ([100, 100], 151, "warn"),
     ([100, 100, 100], 49, "warn"), ([0, 0], 0, "ok")],
)  # fmt: skip
def test_the_volume_is_compared_with_the_same_weekday_of_earlier_weeks(
    settings, earlier_requests, requests, level
):
    days = ["2026-01-08", "2026-01-01", "2025-12-25", "2025-12-18"]
    for day, earlier in zip(days, earlier_requests, strict=False):
        folder = reports_path(settings, "access_log") / day
        folder.mkdir(parents=True)
        (folder / "report.json").write_text(json.dumps({"requests": earlier}))
    assert check_levels(build_summary(requests=requests), settings).get("volume") == level


def write_summaries(settings, *days, **changed):
    for day in days:
        folder = summaries_path(settings, "access_log") / day
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "summary.json").write_text(json.dumps(build_summary(day=day, **changed)))
    return days


def test_a_day_that_fails_keeps_its_old_report_and_the_others_are_published(settings):
    write_summaries(settings, "2026-01-14", "2026-01-15")
    publish_days(settings, ["2026-01-14", "2026-01-15"], "first")
    report = reports_path(settings, "access_log") / "2026-01-15" / "report.json"
    before = report.read_text()
    write_summaries(settings, "2026-01-15", lines=line_counts(bad=80))
    write_summaries(settings, "2026-01-16")
    with pytest.raises(
        CheckFailed, match="2026-01-15: 80 of 100 lines cannot be read.*publish_anyway"
    ):
        publish_days(settings, ["2026-01-15", "2026-01-16"], "second")
    assert report.read_text() == before
    assert (report.parent.parent / "2026-01-16" / "index.html").is_file()
    publish_days(settings, ["2026-01-15"], "third", publish_anyway=True)
    assert json.loads(report.read_text())["checks"][0]["level"] == "fail"
    assert "Published although it failed" in (report.parent / "index.html").read_text()
    history = (summaries_path(settings, "access_log") / "checks.jsonl").read_text().splitlines()
    records = [json.loads(line) for line in history]
    assert [(record["run"], record["day"]) for record in records] == [
        ("first", None), ("first", "2026-01-14"), ("first", "2026-01-15"),
        ("second", None), ("second", "2026-01-15"), ("second", "2026-01-16"),
        ("third", None), ("third", "2026-01-15"),
    ]  # fmt: skip
    assert all(record["checks"] for record in records)


def test_a_warning_is_shown_on_the_page_of_its_day(settings):
    write_summaries(settings, "2026-01-15", lines=line_counts(bad=5))
    publish_days(settings, ["2026-01-15"], "run")
    page = (reports_path(settings, "access_log") / "2026-01-15" / "index.html").read_text()
    assert "Look twice at this day" in page
    assert "Bad lines: 5 of 100 lines cannot be read." in page


@pytest.mark.parametrize(("future", "is_shown"), [(0, False), (3, True)])
def test_a_warning_about_the_run_is_shown_on_its_first_day_only(settings, future, is_shown):
    days = write_summaries(settings, "2026-01-15", "2026-01-16")
    manifest = settings.lake / "runs" / "analyse_access_log" / "run.json"
    manifest.parent.mkdir(parents=True)
    manifest.write_text(json.dumps({"future": future}))
    publish_days(settings, list(days), "run")
    names = []
    for day in days:
        report = reports_path(settings, "access_log") / day / "report.json"
        names.append({check["name"] for check in json.loads(report.read_text())["checks"]})
    assert names[0] - names[1] == ({"future"} if is_shown else set())


def read_note(settings, run):
    return (settings.lake / "runs" / "analyse_access_log" / f"{run}.note").read_text()


def test_a_quarantined_day_keeps_its_old_report_and_is_named_in_the_note(settings):
    write_summaries(settings, "2026-01-15")
    publish_days(settings, ["2026-01-15"], "first")
    report = reports_path(settings, "access_log") / "2026-01-15" / "report.json"
    before = report.read_text()
    write_summaries(settings, "2026-01-15", lines=line_counts(bad=30))
    assert publish_days(settings, ["2026-01-15"], "second") == {}
    assert report.read_text() == before
    assert read_note(settings, "second") == (
        "Tidemark: not published: 2026-01-15: 30 of 100 lines cannot be read"
    )
    publish_days(settings, ["2026-01-15"], "third", publish_anyway=True)
    assert "Published although it failed" in report.with_name("index.html").read_text()


def test_each_check_has_three_thresholds_and_zero_turns_one_off(tmp_path):
    hours = {f"{h:02}": 0 if h < 6 else 50 for h in range(24)}
    summary = build_summary(lines=line_counts(read=10, duplicates=5), requests=100, by_hour=hours)
    for check, name, value in [
        ("duplicate_share", "duplicates", 0.5),
        ("silent_hours", "silence", 6),
    ]:
        for level in ("warn", "quarantine", "fail"):
            thresholds = dict.fromkeys(("warn", "quarantine", "fail"), 0) | {level: value}
            env = {f"TIDEMARK_{check.upper()}_{name_of_level.upper()}": str(n)
                   for name_of_level, n in thresholds.items()}  # fmt: skip
            settings = load_settings(env | {"TIDEMARK_HOME": str(tmp_path)})
            assert check_levels(summary, settings)[name] == level
            assert check_day(summary, tmp_path, load_settings({}))[1].level == "warn"


def test_the_note_lists_the_days_that_late_lines_changed(settings):
    write_summaries(settings, "2026-01-13")
    publish_days(settings, ["2026-01-13"], "first")
    write_summaries(settings, "2026-01-13", lines=line_counts(read=17))
    write_summaries(settings, "2026-01-15")
    write_summaries(settings, "2026-01-14")
    publish_days(settings, ["2026-01-15", "2026-01-13", "2026-01-14"], "second")
    assert read_note(settings, "second") == (
        "Tidemark: reported 2026-01-15: 3 requests; changed: 2026-01-13 (12 late lines), "
        "2026-01-14 (new, 5 lines)"
    )


def test_the_note_counts_future_and_undated_lines_and_lost_messages(settings):
    manifest = settings.lake / "runs" / "analyse_access_log" / "run.json"
    manifest.parent.mkdir(parents=True)
    counts = {"undated": 5, "future": 3, "lost": [{"messages": 7}, {"messages": 1000}]}
    manifest.write_text(json.dumps(counts))
    write_summaries(settings, "2026-01-15")
    publish_days(settings, ["2026-01-15"], "run")
    assert read_note(settings, "run").split("; ")[1:] == [
        "3 lines of this run show a time more than 24 hours ahead", "5 bad lines belong to no day",
        "1,007 messages were lost before they were landed",
    ]  # fmt: skip
    report = (reports_path(settings, "access_log") / "2026-01-15" / "report.json").read_text()
    assert {c["name"]: c["level"] for c in json.loads(report)["checks"]}["future"] == "warn"


@pytest.mark.parametrize(
    ("scheduled_day", "level"), [("2026-01-15", None), ("2026-02-13", "ok"), ("2026-02-14", "warn")]
)
def test_a_scheduled_run_warns_about_an_old_day_and_a_backfill_does_not(
    settings, scheduled_day, level
):
    summary = build_summary(day="2026-01-15")
    checks = check_day(summary, reports_path(settings, "access_log"), settings, scheduled_day)
    assert {check.name: check.level for check in checks}.get("age") == level
    assert "age" not in check_levels(summary, settings)


def test_data_loss_is_shown_on_the_days_that_may_lack_the_lines(settings):
    loss = {"topic": "<b>", "partition": 1, "first": 3, "end": 1010, "messages": 1007,
            "since": "2026-01-14T00:00:09Z", "at": "2026-01-16T00:00:09+00:00"}  # fmt: skip
    summary = build_summary()
    summary["provenance"]["data_loss"] = [loss]
    write_summaries(settings, "2026-01-15", provenance=summary["provenance"])
    publish_days(settings, ["2026-01-15"], "run")
    page = (reports_path(settings, "access_log") / "2026-01-15" / "index.html").read_text()
    assert "Data loss: 1,007 messages that Kafka no longer had were not landed" in page
    assert "1,007 messages of topic &lt;b&gt;, partition 1, offsets 3 to 1009, sent after" in page


@pytest.mark.parametrize(
    ("day", "missing", "silent_hours"),
    [("2026-03-29", (), 0), ("2026-03-29", ("01",), 1), ("2026-03-29", ("01", "03"), 2),
     ("2026-03-30", ("01", "03"), 1), ("2026-10-25", ("02",), 2), ("2026-10-26", ("02",), 1)],
)  # fmt: skip
def test_silent_hours_are_counted_correctly_when_the_clock_changes(
    settings, day, missing, silent_hours
):
    hours = {f"{h:02}": 0 if f"{h:02}" in missing else 50 for h in range(24)}
    if day == "2026-03-29":
        hours["02"] = 0
    summary = build_summary(day=day, time_zone="Europe/Paris", by_hour=hours)
    (silence,) = [c for c in check_day(summary, settings.lake, settings) if c.name == "silence"]
    assert (silence.value, silence.level) == (silent_hours, "warn" if silent_hours >= 2 else "ok")


@pytest.mark.parametrize(
    ("manifest", "level", "value"),
    [({}, "ok", 0), ({"future": 0}, "ok", 0), ({"future": 3}, "warn", 3)],
)
def test_lines_from_the_future_warn_about_the_run_that_landed_them(
    settings, manifest, level, value
):
    (check,) = check_run(manifest, settings)
    assert (check.name, check.level, check.value) == ("future", level, value)

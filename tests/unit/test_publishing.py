"""Staged summaries are published as a whole, and what they replace can be restored."""

import json

import pytest

from include.lake.paths import reports_path, summaries_path
from include.reporting.checks import CheckFailed, check_day
from include.reporting.publishing import get_replaced_folder, publish_days, write_periods
from include.reporting.restore import main, restore_days
from include.settings import load_settings
from tests.unit.synthetic_summaries import write_day
from tests.unit.test_report import build_summary

DAYS = ["2026-01-14", "2026-01-15"]


@pytest.fixture
def settings(tmp_path):
    return load_settings({"TIDEMARK_HOME": str(tmp_path)})


def write_summaries(folder, *days, **changed):
    for day in days:
        (folder / day).mkdir(parents=True, exist_ok=True)
        (folder / day / "summary.json").write_text(json.dumps(build_summary(day=day, **changed)))
        (folder / day / "panels.parquet").write_text(str(changed))
    return folder


def read_published(settings):
    """Return the text of every published file by its path in the lake."""
    texts = {}
    for root in (summaries_path(settings, "access_log"), reports_path(settings, "access_log")):
        for path in root.rglob("*"):
            if path.is_file() and path.name not in ("checks.jsonl", ".lock"):
                texts[str(path.relative_to(settings.lake))] = path.read_text()
    return texts


def test_replaced_days_can_be_restored_byte_by_byte(settings, tmp_path, capsys, monkeypatch):
    write_summaries(summaries_path(settings, "access_log"), *DAYS, requests=3)
    publish_days(settings, DAYS, "night")
    before = read_published(settings)
    staged = write_summaries(tmp_path / "staged", *DAYS, "2026-01-16", requests=4)
    publish_days(settings, [*DAYS, "2026-01-16"], "bulk", staged_folder=staged)
    # A retry keeps the backup of the first attempt.
    publish_days(settings, DAYS, "bulk", staged_folder=staged)
    after = read_published(settings)
    assert json.loads(after["reports/access_log/2026-01-15/report.json"])["requests"] == 4
    monkeypatch.setenv("TIDEMARK_HOME", str(tmp_path))
    main(["bulk"])
    assert "restored: 2026-01-14, 2026-01-15" in capsys.readouterr().out
    restored = read_published(settings)
    assert {name: restored[name] for name in before if "reports/access_log/index" not in name} == {
        name: text for name, text in before.items() if "reports/access_log/index" not in name
    }
    assert "2026-01-16/summary.json" in " ".join(restored), "a day that replaced nothing stays"
    restore_days(settings, "bulk", ["2026-01-14"])


def test_lines_summarised_after_the_first_report_of_a_day_are_late(settings):
    day, summaries = "2026-01-15", summaries_path(settings, "access_log")

    def publish(read, summarised_at, **changed):
        provenance = build_summary()["provenance"] | {"summarised_at": summarised_at}
        lines = {"read": read, "good": read, "bad": 0, "duplicates": 0}
        write_summaries(summaries, day, lines=lines, provenance=provenance, **changed)
        publish_days(settings, [day], "run", publish_anyway=True)
        folder = reports_path(settings, "access_log") / day
        late_lines = json.loads((folder / "report.json").read_text())["provenance"]["late"]
        return late_lines, "came late" in (folder / "index.html").read_text()

    assert publish(40, "2026-01-15T12:00:00Z") == (0, False)
    assert publish(100, "2026-01-16T00:01:00Z") == (0, False)  # the day was not over
    assert publish(103, "2026-01-17T00:01:00Z") == (3, True)
    assert publish(103, "2026-01-17T00:02:00Z") == (3, True)  # summarised again
    assert publish(110, "2026-01-18T00:01:00Z") == (10, True)
    assert publish(120, "2026-01-19T00:01:00Z", source="files") == (0, False)


def test_restoring_an_unknown_run_or_day_names_the_available_ones(settings, tmp_path):
    write_summaries(summaries_path(settings, "access_log"), *DAYS)
    publish_days(settings, DAYS, "bulk", staged_folder=write_summaries(tmp_path / "staged", *DAYS))
    with pytest.raises(ValueError, match="no backup of run 'other'; runs with a backup: bulk"):
        restore_days(settings, "other")
    with pytest.raises(ValueError, match="no run given; runs with a backup: bulk"):
        restore_days(settings, "")
    with pytest.raises(ValueError, match="no backup of 2026-02-01; it has 2026-01-14, 2026-01-15"):
        restore_days(settings, "bulk", ["2026-02-01"])


def test_a_staged_day_that_fails_a_check_replaces_nothing(settings, tmp_path):
    write_summaries(summaries_path(settings, "access_log"), *DAYS)
    publish_days(settings, DAYS, "night")
    before = read_published(settings)
    lines = {"read": 10, "good": 1, "bad": 9, "duplicates": 0}
    staged = write_summaries(tmp_path / "staged", "2026-01-15", lines=lines)
    with pytest.raises(CheckFailed, match="2026-01-15: 9 of 10"):
        publish_days(settings, ["2026-01-15"], "bulk", staged_folder=staged)
    assert read_published(settings) == before
    assert not get_replaced_folder(settings).exists()


def test_the_baseline_of_a_staged_day_prefers_staged_days(settings, tmp_path):
    write_summaries(
        summaries_path(settings, "access_log"), "2026-01-01", "2026-01-08", requests=100
    )
    publish_days(settings, ["2026-01-01", "2026-01-08"], "night")
    staged = write_summaries(tmp_path / "staged", "2026-01-08", requests=300)
    folder = reports_path(settings, "access_log")
    (check,) = [
        c
        for c in check_day(build_summary(requests=200), folder, settings, staged_folder=staged)
        if c.name == "volume"
    ]
    assert "200 are usual" in check.message


def test_the_report_of_a_day_is_written_before_its_summary(settings, tmp_path):
    summaries = write_summaries(summaries_path(settings, "access_log"), "2026-01-15", requests=3)
    staged = write_summaries(tmp_path / "staged", "2026-01-15", requests=4)
    (summaries / "2026-01-15" / "summary.json").unlink()
    (summaries / "2026-01-15" / "summary.json").mkdir()  # makes the write of the summary fail
    with pytest.raises(OSError, match="summary.json"):
        publish_days(settings, ["2026-01-15"], "bulk", staged_folder=staged)
    report = reports_path(settings, "access_log") / "2026-01-15" / "report.json"
    assert json.loads(report.read_text())["requests"] == 4
    assert (summaries / "2026-01-15" / "summary.json").is_dir()


def test_week_month_and_year_follow_published_and_restored_days(settings, tmp_path):
    for day in DAYS:
        write_day(summaries_path(settings, "access_log"), day, requests=3)
        write_day(tmp_path / "staged", day, requests=40)
    publish_days(settings, DAYS, "night")

    def read_requests(period):
        report = reports_path(settings, "access_log") / period / "report.json"
        return json.loads(report.read_text())["requests"]

    periods = ["2026-W03", "2026-01", "2026"]
    assert [read_requests(period) for period in periods] == [6, 6, 6]
    publish_days(settings, DAYS, "bulk", staged_folder=tmp_path / "staged")
    write_periods(settings, DAYS)  # the last task of a backfill
    assert [read_requests(period) for period in periods] == [80, 80, 80]
    restore_days(settings, "bulk", DAYS[:1])
    assert [read_requests(period) for period in periods] == [43, 43, 43]


EARLIER = {  # day -> its requests; no two sets of these days have the same sum or median
    "2026-01-14": 3, "2026-01-08": 10, "2026-01-01": 40, "2025-12-25": 700, "2025-12-18": 5000,
}  # fmt: skip


def publish_and_read_report(settings, day, **arguments):
    publish_days(settings, [day], "run", publish_anyway=True, **arguments)
    return json.loads((reports_path(settings, "access_log") / day / "report.json").read_text())


def test_a_day_is_compared_with_the_previous_day_and_four_same_weekdays(settings):
    summaries = summaries_path(settings, "access_log")
    for day, requests in EARLIER.items():
        write_summaries(summaries, day, requests=requests)
    write_summaries(
        summaries, "2026-01-13", "2026-01-16", "2026-01-22", "2025-12-11", requests=100_000
    )
    write_summaries(summaries, "2026-01-15")
    report = publish_and_read_report(settings, "2026-01-15")
    assert (report["before"]["day"], report["before"]["requests"]) == ("2026-01-14", 3)
    assert (report["usual"]["days"], report["usual"]["requests"]) == (4, 370)


def test_a_backfilled_day_is_compared_with_staged_days_before_published_ones(settings, tmp_path):
    summaries, staged = summaries_path(settings, "access_log"), tmp_path / "staged"
    for day, requests in EARLIER.items():
        write_summaries(summaries, day, requests=requests)
    write_summaries(staged, "2026-01-14", requests=4)
    write_summaries(staged, "2025-12-25", requests=60)
    write_summaries(staged, "2026-01-15")
    report = publish_and_read_report(settings, "2026-01-15", staged_folder=staged)
    assert report["before"]["requests"] == 4
    assert (report["usual"]["days"], report["usual"]["requests"]) == (4, 50)


def test_a_day_without_earlier_days_is_published_without_comparison(settings):
    write_summaries(summaries_path(settings, "access_log"), "2026-01-15")
    report = publish_and_read_report(settings, "2026-01-15")
    assert (report["before"], report["usual"]) == (None, None)

"""Summaries that wait are put in place whole, and what they replace can be put back."""

import json

import pytest

from include.lake.paths import reports_path, summaries_path
from include.reporting.checks import CheckFailed, check_day
from include.reporting.publishing import get_replaced_folder, publish_days, write_periods
from include.reporting.restore import main, restore_days
from include.settings import load_settings
from tests.unit.made_summaries import write_day
from tests.unit.test_report import a_summary

DAYS = ["2026-01-14", "2026-01-15"]


@pytest.fixture
def settings(tmp_path):
    return load_settings({"TIDEMARK_HOME": str(tmp_path)})


def write(folder, *days, **changed):
    for day in days:
        (folder / day).mkdir(parents=True, exist_ok=True)
        (folder / day / "summary.json").write_text(json.dumps(a_summary(day=day, **changed)))
        (folder / day / "panels.parquet").write_text(str(changed))
    return folder


def published(settings):
    """File -> text of all that readers see."""
    found = {}
    for root in (summaries_path(settings, "access_log"), reports_path(settings, "access_log")):
        for path in root.rglob("*"):
            if path.is_file() and path.name not in ("checks.jsonl", ".lock"):
                found[str(path.relative_to(settings.lake))] = path.read_text()
    return found


def test_what_a_run_replaces_can_be_put_back_byte_by_byte(settings, tmp_path, capsys, monkeypatch):
    write(summaries_path(settings, "access_log"), *DAYS, requests=3)
    publish_days(settings, DAYS, "night")
    before = published(settings)
    staged = write(tmp_path / "staged", *DAYS, "2026-01-16", requests=4)
    publish_days(settings, [*DAYS, "2026-01-16"], "bulk", staged_folder=staged)
    publish_days(
        settings, DAYS, "bulk", staged_folder=staged
    )  # a retry keeps what the first has kept
    after = published(settings)
    assert json.loads(after["reports/access_log/2026-01-15/report.json"])["requests"] == 4
    monkeypatch.setenv("TIDEMARK_HOME", str(tmp_path))
    main(["bulk"])
    assert "restored: 2026-01-14, 2026-01-15" in capsys.readouterr().out
    now = published(settings)
    assert {name: now[name] for name in before if "reports/access_log/index" not in name} == {
        name: text for name, text in before.items() if "reports/access_log/index" not in name
    }
    assert "2026-01-16/summary.json" in " ".join(now), "a day that replaced nothing stays"
    restore_days(settings, "bulk", ["2026-01-14"])


def test_lines_that_come_after_the_days_report_are_told_as_late(settings):
    day, source = "2026-01-15", summaries_path(settings, "access_log")

    def report(read, made, **changed):
        provenance = a_summary()["provenance"] | {"summarised_at": made}
        lines = {"read": read, "good": read, "bad": 0, "duplicates": 0}
        write(source, day, lines=lines, provenance=provenance, **changed)
        publish_days(settings, [day], "run", publish_anyway=True)
        folder = reports_path(settings, "access_log") / day
        told = json.loads((folder / "report.json").read_text())["provenance"]["late"]
        return told, "came late" in (folder / "index.html").read_text()

    assert report(40, "2026-01-15T12:00:00Z") == (0, False)
    assert report(100, "2026-01-16T00:01:00Z") == (0, False)  # the day went on
    assert report(103, "2026-01-17T00:01:00Z") == (3, True)
    assert report(103, "2026-01-17T00:02:00Z") == (3, True)  # made again
    assert report(110, "2026-01-18T00:01:00Z") == (10, True)
    assert report(120, "2026-01-19T00:01:00Z", source="files") == (0, False)


def test_to_restore_what_is_not_kept_names_what_is(settings, tmp_path):
    write(summaries_path(settings, "access_log"), *DAYS)
    publish_days(settings, DAYS, "bulk", staged_folder=write(tmp_path / "staged", *DAYS))
    with pytest.raises(ValueError, match="no backup of run 'other'; runs with a backup: bulk"):
        restore_days(settings, "other")
    with pytest.raises(ValueError, match="no run given; runs with a backup: bulk"):
        restore_days(settings, "")
    with pytest.raises(ValueError, match="no backup of 2026-02-01; it has 2026-01-14, 2026-01-15"):
        restore_days(settings, "bulk", ["2026-02-01"])


def test_a_staged_day_that_fails_a_check_replaces_nothing(settings, tmp_path):
    write(summaries_path(settings, "access_log"), *DAYS)
    publish_days(settings, DAYS, "night")
    before = published(settings)
    lines = {"read": 10, "good": 1, "bad": 9, "duplicates": 0}
    staged = write(tmp_path / "staged", "2026-01-15", lines=lines)
    with pytest.raises(CheckFailed, match="2026-01-15: 9 of 10"):
        publish_days(settings, ["2026-01-15"], "bulk", staged_folder=staged)
    assert published(settings) == before
    assert not get_replaced_folder(settings).exists()


def test_the_usual_of_a_staged_day_is_what_is_staged_with_it(settings, tmp_path):
    write(summaries_path(settings, "access_log"), "2026-01-01", "2026-01-08", requests=100)
    publish_days(settings, ["2026-01-01", "2026-01-08"], "night")
    staged = write(tmp_path / "staged", "2026-01-08", requests=300)
    folder = reports_path(settings, "access_log")
    (check,) = [
        c
        for c in check_day(a_summary(requests=200), folder, settings, staged_folder=staged)
        if c.name == "volume"
    ]
    assert "200 are usual" in check.message


def test_who_is_ended_between_report_and_summary_leaves_the_day_to_do(settings, tmp_path):
    kept = write(summaries_path(settings, "access_log"), "2026-01-15", requests=3)
    staged = write(tmp_path / "staged", "2026-01-15", requests=4)
    (kept / "2026-01-15" / "summary.json").unlink()
    (kept / "2026-01-15" / "summary.json").mkdir()  # what is in the way ends it there
    with pytest.raises(OSError, match="summary.json"):
        publish_days(settings, ["2026-01-15"], "bulk", staged_folder=staged)
    page = reports_path(settings, "access_log") / "2026-01-15" / "report.json"
    assert json.loads(page.read_text())["requests"] == 4
    assert (kept / "2026-01-15" / "summary.json").is_dir()


def test_weeks_and_months_follow_what_is_published_and_what_is_put_back(settings, tmp_path):
    for day in DAYS:
        write_day(summaries_path(settings, "access_log"), day, requests=3)
        write_day(tmp_path / "staged", day, requests=40)
    publish_days(settings, DAYS, "night")

    def requests_of(period):
        page = reports_path(settings, "access_log") / period / "report.json"
        return json.loads(page.read_text())["requests"]

    periods = ["2026-W03", "2026-01", "2026"]
    assert [requests_of(period) for period in periods] == [6, 6, 6]
    publish_days(settings, DAYS, "bulk", staged_folder=tmp_path / "staged")
    write_periods(settings, DAYS)  # the last task of a backfill
    assert [requests_of(period) for period in periods] == [80, 80, 80]
    restore_days(settings, "bulk", DAYS[:1])
    assert [requests_of(period) for period in periods] == [43, 43, 43]


EARLIER = {  # day -> its requests; no two sets of these days have the same sum or median
    "2026-01-14": 3, "2026-01-08": 10, "2026-01-01": 40, "2025-12-25": 700, "2025-12-18": 5000,
}  # fmt: skip


def report_beside(settings, day, **arguments):
    publish_days(settings, [day], "run", publish_anyway=True, **arguments)
    return json.loads((reports_path(settings, "access_log") / day / "report.json").read_text())


def test_a_day_is_compared_with_the_day_before_and_its_weekday_of_four_weeks(settings):
    kept = summaries_path(settings, "access_log")
    for day, requests in EARLIER.items():
        write(kept, day, requests=requests)
    write(kept, "2026-01-13", "2026-01-16", "2026-01-22", "2025-12-11", requests=100_000)
    write(kept, "2026-01-15")
    report = report_beside(settings, "2026-01-15")
    assert (report["before"]["day"], report["before"]["requests"]) == ("2026-01-14", 3)
    assert (report["usual"]["days"], report["usual"]["requests"]) == (4, 370)


def test_a_backfilled_day_is_compared_with_days_of_the_backfill_before_published_ones(
    settings, tmp_path
):
    kept, staged = summaries_path(settings, "access_log"), tmp_path / "staged"
    for day, requests in EARLIER.items():
        write(kept, day, requests=requests)
    write(staged, "2026-01-14", requests=4)
    write(staged, "2025-12-25", requests=60)
    write(staged, "2026-01-15")
    report = report_beside(settings, "2026-01-15", staged_folder=staged)
    assert report["before"]["requests"] == 4
    assert (report["usual"]["days"], report["usual"]["requests"]) == (4, 50)


def test_a_day_that_no_earlier_day_is_known_of_is_published_without_comparison(settings):
    write(summaries_path(settings, "access_log"), "2026-01-15")
    report = report_beside(settings, "2026-01-15")
    assert (report["before"], report["usual"]) == (None, None)

"""What may go, and what must stay; summaries and reports go whole, with a record."""

import json
import shutil
from datetime import date

import pytest

from include.lake.paths import (
    landing_path,
    list_outdated_days,
    reports_path,
    run_manifest_path,
    summaries_path,
)
from include.lake.retention import (
    apply_removal_plan,
    has_dry_run,
    landing_manifest_path,
    plan_removal,
)
from include.reporting.report import write_index
from include.settings import load_settings

TODAY = date(2026, 3, 31)
DAYS = ["2026-01-01", "2026-01-02", "2026-03-30"]


@pytest.fixture
def settings(tmp_path):
    def made(landing_days=30, summary_days=0, report_days=0):
        return load_settings({
            "TIDEMARK_HOME": str(tmp_path), "TIDEMARK_KEEP_LANDING_DAYS": str(landing_days),
            "TIDEMARK_KEEP_SUMMARY_DAYS": str(summary_days),
            "TIDEMARK_KEEP_REPORT_DAYS": str(report_days),
        })  # fmt: skip

    return made


@pytest.fixture
def lake(settings):
    """Three landed days; the first and the last are summarised and reported."""
    found = settings()
    folder = landing_path(found, "access_log", "kafka")
    for day in DAYS:
        (folder / "data" / f"event_date={day}").mkdir(parents=True)
    (folder / "progress.jsonl").write_text(json.dumps({"batch": 4, "days": [*DAYS, "None"]}) + "\n")
    for day in (DAYS[0], DAYS[2]):
        provenance = {"landing": str(folder / "data"), "through_batch": 4}
        summary = summaries_path(found, "access_log") / day
        summary.mkdir(parents=True)
        (summary / "summary.json").write_text(json.dumps({"provenance": provenance}))
        report = reports_path(found, "access_log") / day
        report.mkdir(parents=True)
        (report / "index.html").write_text("page")
    return folder


def test_for_ever_is_the_default(settings, lake):
    found = plan_removal(settings(0), TODAY)
    assert found["landings"]["access_log_kafka"] == {
        "remove_days": [], "undated_before": "", "through_batch": 4, "stay": {},
    }  # fmt: skip
    assert (found["summaries"], found["reports"]) == ([], [])


def test_a_landed_day_that_no_summary_has_seen_stays_and_is_named(settings, lake):
    found = plan_removal(settings(30), TODAY)["landings"]["access_log_kafka"]
    assert found["remove_days"] == [DAYS[0]]
    assert found["stay"] == {DAYS[1]: "has lines that no summary has counted"}
    assert found["undated_before"] == "2026-03-01"


def test_a_day_is_kept_as_many_days_as_the_setting_says(settings, lake):
    assert (
        plan_removal(settings(88), date(2026, 3, 30))["landings"]["access_log_kafka"]["remove_days"]
        == []
    )
    assert plan_removal(settings(87), date(2026, 3, 30))["landings"]["access_log_kafka"][
        "remove_days"
    ] == [DAYS[0]]


def test_days_that_were_read_later_are_found_too(settings, lake):
    (lake / "replayed" / "run" / "event_date=2025-12-24").mkdir(parents=True)
    assert (
        "2025-12-24"
        in plan_removal(settings(30), TODAY)["landings"]["access_log_kafka"]["remove_days"]
    )


def test_days_whose_data_lie_in_a_store_are_known_by_the_record_of_what_landed(settings, lake):
    shutil.rmtree(lake / "data")
    (lake / "data_at").write_text("s3a://lake/access_log/kafka/data\n")
    found = plan_removal(settings(30, 30), TODAY)["landings"]["access_log_kafka"]
    assert (found["remove_days"], list(found["stay"])) == ([DAYS[0]], [DAYS[1]])
    (lake / "removed.jsonl").write_text(json.dumps({"day": DAYS[0]}) + "\n")
    found = plan_removal(settings(30, 30), TODAY)
    assert found["landings"]["access_log_kafka"]["remove_days"] == [DAYS[0]], (
        "it may have files yet"
    )
    assert found["summaries"] == [f"access_log/{DAYS[0]}"]


def test_events_that_no_report_has_seen_stay(settings):
    folder = landing_path(settings(), "clickstream", "kafka")
    (folder / "data" / f"event_date={DAYS[0]}").mkdir(parents=True)
    (folder / "progress.jsonl").touch()
    assert plan_removal(settings(), TODAY)["landings"]["clickstream_kafka"]["remove_days"] == []
    reports_path(settings(), "clickstream").mkdir(parents=True)
    (reports_path(settings(), "clickstream") / "index.html").touch()
    assert plan_removal(settings(), TODAY)["landings"]["clickstream_kafka"]["remove_days"] == [
        DAYS[0]
    ]


@pytest.mark.parametrize("landing_days", [0, 31])
def test_a_summary_is_not_removed_before_its_lines(settings, landing_days):
    with pytest.raises(ValueError, match="keep landed lines from 1 to 30 days"):
        plan_removal(settings(landing_days, 30), TODAY)


def test_a_summary_stays_as_long_as_lines_of_its_day_do(settings, lake):
    assert plan_removal(settings(30, 30), TODAY)["summaries"] == [f"access_log/{DAYS[0]}"]
    (landing_path(settings(), "access_log", "files") / "data" / f"event_date={DAYS[0]}").mkdir(
        parents=True
    )
    with (lake / "progress.jsonl").open("a") as file:
        file.write(json.dumps({"batch": 5, "days": [DAYS[0]]}))
    assert plan_removal(settings(30, 30), TODAY)["summaries"] == []


def test_a_removed_day_is_not_summarised_again(settings, lake):
    (lake / "removed.jsonl").write_text(json.dumps({"day": DAYS[1]}) + "\n")
    assert list_outdated_days(lake, summaries_path(settings(), "access_log")) == []


def told(settings, run, found):
    for name in found["landings"]:
        manifest = landing_manifest_path(settings, run, name)
        manifest.parent.mkdir(parents=True, exist_ok=True)
        manifest.write_text(json.dumps({"removed": {}, "stay": {}}))


def test_summaries_and_reports_go_with_a_record_and_only_when_it_is_meant(settings, lake, tmp_path):
    wanted = settings(30, 30, 10)
    found = plan_removal(wanted, TODAY)
    told(wanted, "dry", found)
    before = sorted(tmp_path.rglob("*"))
    assert not has_dry_run(wanted, found["keep"], "real")
    dry = apply_removal_plan(wanted, "dry", found | {"dry_run": True}, write_index)
    assert set(tmp_path.rglob("*")) - set(before) == {
        run_manifest_path(wanted, "maintain_lake", "dry")
    }
    assert has_dry_run(wanted, found["keep"], "real")
    assert not has_dry_run(wanted, found["keep"] | {"report": 1}, "real")
    assert not has_dry_run(wanted, found["keep"], "dry")
    told(wanted, "real", found)
    # As a run that was killed after its first rename leaves it.
    (summaries_path(wanted, "access_log") / ".removed-2025-01-01").mkdir()
    record = apply_removal_plan(wanted, "real", found | {"dry_run": False}, write_index)
    assert record["summaries"] == dry["summaries"]
    assert record["reports"] == {f"access_log/{DAYS[0]}": {"files": 1, "bytes": 4}}
    assert record["landings"]["access_log_kafka"]["stay"] == {
        DAYS[1]: "has lines that no summary has counted"
    }
    assert [path.name for path in summaries_path(wanted, "access_log").iterdir()] == [DAYS[2]]
    left = {path.name for path in reports_path(wanted, "access_log").iterdir()}
    assert left == {DAYS[2], "index.html"}
    again = apply_removal_plan(wanted, "real", found | {"dry_run": False}, write_index)
    assert again["reports"] == record["reports"], "cleared and run again, the proof stays"

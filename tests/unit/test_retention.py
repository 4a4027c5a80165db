"""Retention: what may be removed, what must stay, and the record of removals."""

import json
import shutil
from datetime import date

import pytest

from include.datasets import Dataset
from include.lake import retention
from include.lake.paths import (
    landing_path,
    list_outdated_days,
    reports_path,
    run_manifest_path,
    summaries_path,
)
from include.lake.retention import (
    apply_removal_plan,
    format_record,
    has_dry_run,
    landing_manifest_path,
    plan_removal,
)
from include.reporting.report import write_index
from include.settings import load_settings

TODAY = date(2026, 3, 31)
DAYS = ["2026-01-01", "2026-01-02", "2026-03-30"]


@pytest.fixture
def build_settings(tmp_path):
    def build(landing_days=30, summary_days=0, report_days=0):
        return load_settings({
            "TIDEMARK_HOME": str(tmp_path), "TIDEMARK_KEEP_LANDING_DAYS": str(landing_days),
            "TIDEMARK_KEEP_SUMMARY_DAYS": str(summary_days),
            "TIDEMARK_KEEP_REPORT_DAYS": str(report_days),
        })  # fmt: skip

    return build


@pytest.fixture
def lake(build_settings):
    """Three landed days; the first and the last are summarised and reported."""
    settings = build_settings()
    folder = landing_path(settings, "access_log", "kafka")
    for day in DAYS:
        (folder / "data" / f"event_date={day}").mkdir(parents=True)
    (folder / "progress.jsonl").write_text(json.dumps({"batch": 4, "days": [*DAYS, "None"]}) + "\n")
    for day in (DAYS[0], DAYS[2]):
        provenance = {"landing": str(folder / "data"), "through_batch": 4}
        summary = summaries_path(settings, "access_log") / day
        summary.mkdir(parents=True)
        (summary / "summary.json").write_text(json.dumps({"provenance": provenance}))
        report = reports_path(settings, "access_log") / day
        report.mkdir(parents=True)
        (report / "index.html").write_text("page")
    return folder


def test_zero_days_remove_nothing(build_settings, lake):
    plan = plan_removal(build_settings(0), TODAY)
    assert plan["landings"]["access_log_kafka"] == {
        "remove_days": [], "undated_before": "", "through_batch": 4, "stay": {},
    }  # fmt: skip
    assert (plan["summaries"], plan["reports"]) == ([], [])


def test_a_landed_day_without_a_summary_stays_and_is_named(build_settings, lake):
    plan = plan_removal(build_settings(30), TODAY)["landings"]["access_log_kafka"]
    assert plan["remove_days"] == [DAYS[0]]
    assert plan["stay"] == {DAYS[1]: "has lines that no summary has counted"}
    assert plan["undated_before"] == "2026-03-01"


def test_a_day_is_kept_for_the_number_of_days_in_the_setting(build_settings, lake):
    assert (
        plan_removal(build_settings(88), date(2026, 3, 30))["landings"]["access_log_kafka"][
            "remove_days"
        ]
        == []
    )
    assert plan_removal(build_settings(87), date(2026, 3, 30))["landings"]["access_log_kafka"][
        "remove_days"
    ] == [DAYS[0]]


def test_days_of_reparsed_lines_are_removed_too(build_settings, lake):
    (lake / "replayed" / "run" / "event_date=2025-12-24").mkdir(parents=True)
    assert (
        "2025-12-24"
        in plan_removal(build_settings(30), TODAY)["landings"]["access_log_kafka"]["remove_days"]
    )


def test_days_in_an_object_store_are_known_by_the_progress_records(build_settings, lake):
    shutil.rmtree(lake / "data")
    (lake / "data_at").write_text("s3a://lake/access_log/kafka/data\n")
    plan = plan_removal(build_settings(30, 30), TODAY)["landings"]["access_log_kafka"]
    assert (plan["remove_days"], list(plan["stay"])) == ([DAYS[0]], [DAYS[1]])
    (lake / "removed.jsonl").write_text(json.dumps({"day": DAYS[0]}) + "\n")
    plan = plan_removal(build_settings(30, 30), TODAY)
    assert plan["landings"]["access_log_kafka"]["remove_days"] == [DAYS[0]], "it may have files yet"
    assert plan["summaries"] == [f"access_log/{DAYS[0]}"]


def test_clickstream_days_without_a_report_stay(build_settings):
    folder = landing_path(build_settings(), "clickstream", "kafka")
    (folder / "data" / f"event_date={DAYS[0]}").mkdir(parents=True)
    (folder / "progress.jsonl").touch()
    assert (
        plan_removal(build_settings(), TODAY)["landings"]["clickstream_kafka"]["remove_days"] == []
    )
    reports_path(build_settings(), "clickstream").mkdir(parents=True)
    (reports_path(build_settings(), "clickstream") / "index.html").touch()
    assert plan_removal(build_settings(), TODAY)["landings"]["clickstream_kafka"][
        "remove_days"
    ] == [DAYS[0]]


def test_a_dataset_without_a_report_does_not_wait_for_one(build_settings, monkeypatch):
    weather = Dataset("weather", "Weather", (), ("kafka",), reporting_dags=(), headline=())
    monkeypatch.setattr(retention, "DATASETS", (weather,))
    folder = landing_path(build_settings(), "weather", "kafka")
    (folder / "data" / f"event_date={DAYS[0]}").mkdir(parents=True)
    (folder / "progress.jsonl").touch()
    assert plan_removal(build_settings(), TODAY)["landings"]["weather_kafka"]["remove_days"] == [
        DAYS[0]
    ]


@pytest.mark.parametrize("landing_days", [0, 31])
def test_summaries_must_be_kept_at_least_as_long_as_landed_lines(build_settings, landing_days):
    with pytest.raises(ValueError, match="keep landed lines from 1 to 30 days"):
        plan_removal(build_settings(landing_days, 30), TODAY)


def test_a_summary_stays_while_lines_of_its_day_stay(build_settings, lake):
    assert plan_removal(build_settings(30, 30), TODAY)["summaries"] == [f"access_log/{DAYS[0]}"]
    (
        landing_path(build_settings(), "access_log", "files") / "data" / f"event_date={DAYS[0]}"
    ).mkdir(parents=True)
    with (lake / "progress.jsonl").open("a") as file:
        file.write(json.dumps({"batch": 5, "days": [DAYS[0]]}))
    assert plan_removal(build_settings(30, 30), TODAY)["summaries"] == []


def test_a_removed_day_is_not_summarised_again(build_settings, lake):
    (lake / "removed.jsonl").write_text(json.dumps({"day": DAYS[1]}) + "\n")
    assert list_outdated_days(lake, summaries_path(build_settings(), "access_log")) == []


def write_landing_manifests(settings, run, plan):
    for name in plan["landings"]:
        manifest = landing_manifest_path(settings, run, name)
        manifest.parent.mkdir(parents=True, exist_ok=True)
        manifest.write_text(json.dumps({"removed": {}, "stay": {}}))


def test_summaries_and_reports_are_removed_with_a_record_not_by_a_dry_run(
    build_settings, lake, tmp_path
):
    settings = build_settings(30, 30, 10)
    plan = plan_removal(settings, TODAY)
    write_landing_manifests(settings, "dry", plan)
    before = sorted(tmp_path.rglob("*"))
    assert not has_dry_run(settings, plan["keep"], "real")
    dry_record = apply_removal_plan(settings, "dry", plan | {"dry_run": True}, write_index)
    assert set(tmp_path.rglob("*")) - set(before) == {
        run_manifest_path(settings, "maintain_lake", "dry")
    }
    assert has_dry_run(settings, plan["keep"], "real")
    assert not has_dry_run(settings, plan["keep"] | {"report": 1}, "real")
    assert not has_dry_run(settings, plan["keep"], "dry")
    write_landing_manifests(settings, "real", plan)
    # Left behind by a run that was killed after its first rename.
    (summaries_path(settings, "access_log") / ".removed-2025-01-01").mkdir()
    record = apply_removal_plan(settings, "real", plan | {"dry_run": False}, write_index)
    assert record["summaries"] == dry_record["summaries"]
    assert record["reports"] == {f"access_log/{DAYS[0]}": {"files": 1, "bytes": 4}}
    assert record["landings"]["access_log_kafka"]["stay"] == {
        DAYS[1]: "has lines that no summary has counted"
    }
    assert [path.name for path in summaries_path(settings, "access_log").iterdir()] == [DAYS[2]]
    remaining = {path.name for path in reports_path(settings, "access_log").iterdir()}
    assert remaining == {DAYS[2], "index.html"}
    second_record = apply_removal_plan(settings, "real", plan | {"dry_run": False}, write_index)
    assert second_record["reports"] == record["reports"], "cleared and run again, the proof stays"


@pytest.mark.parametrize(("dry_run", "outcome"), [(True, "would be removed"), (False, "removed")])
def test_the_record_is_printed_as_one_line_for_each_day(dry_run, outcome):
    record = {
        "dry_run": dry_run,
        "landings": {
            "access_log_kafka": {"stay": {DAYS[1]: "has lines that no summary has counted"}}
        },
        "summaries": {f"access_log/{DAYS[0]}": {"files": 2, "bytes": 12345}},
        "reports": {},
    }
    assert format_record(record) == [
        f"access_log_kafka {DAYS[1]}: stays, has lines that no summary has counted",
        f"summaries access_log/{DAYS[0]}: {outcome}, 2 files, 12,345 bytes",
    ]

"""Re-parsed bad lines count once, on their own days, however often they are re-parsed."""

import csv
import json

import pytest

from include.contracts import ACCESS_LOG_DDL
from include.lake.landing_files import LandingFiles
from include.lake.paths import list_outdated_days
from spark_jobs.landing.folder import read_landing
from tests.builders import build_line

LOG_FORMAT = r"%h|%{sec}t|%r|%>s|%b"
GOOD_LINES = [build_line(), build_line(time="18/May/2015:10:00:00 +0000")]
# In a custom format that the first run does not know. The last line is the only one of its day.
CUSTOM_LINES = [
    "192.0.2.8|1431857103|GET /odd HTTP/1.1|200|7",
    "192.0.2.8|1431857103|GET /odd HTTP/1.1|200|7",
    "192.0.2.9|1432000000|GET /=cmd HTTP/1.1|404|7",
]
JUNK_LINES = ["=junk", "x" * 300]


@pytest.fixture
def lake(tmp_path, job):
    """A landing of good, custom and junk lines, and the jobs that run on it."""

    class Lake:
        landing, summary = tmp_path / "landing", tmp_path / "summary"
        data = f"parquet:{tmp_path / 'landing' / 'data'}"

        def land(self, name, lines):
            (tmp_path / "inbox").mkdir(exist_ok=True)
            (tmp_path / "inbox" / name).write_text("\n".join(lines) + "\n")
            check(
                job(
                    "land_access_log", "--source", f"text:{tmp_path / 'inbox'}", "--sink", self.data
                )
            )

        def reparse(self, *flags):
            report = tmp_path / "bad"
            check(job("replay_bad_lines", "--source", self.data, "--report", report, *flags))
            return json.loads((tmp_path / "bad.json").read_text())

        def summarise(self):
            check(job("summarise_access_log", "--source", self.data, "--source-kind", "files",
                      "--sink", f"summary:{self.summary}", "--days", "2015-05-17,2015-05-18,2015-05-19",
                      "--by-file", tmp_path / "by_file.json"))  # fmt: skip
            summaries = {}
            for folder in sorted(self.summary.glob("2015*")):
                summary = json.loads((folder / "summary.json").read_text())
                summaries[folder.name] = {k: v for k, v in summary.items() if k != "provenance"}
            return summaries

    def check(result):
        code, output = result
        assert code == 0, output

    new_lake = Lake()
    new_lake.land("a.log", GOOD_LINES + CUSTOM_LINES + JUNK_LINES)
    return new_lake


def get_line_counts(summaries):
    return {day: summary["lines"] for day, summary in summaries.items()}


def build_line_counts(read, good, bad):
    return {"read": read, "good": good, "bad": bad, "duplicates": 0}


@pytest.mark.matrix
def test_a_dry_run_lists_the_lines_that_can_be_read_now_and_changes_nothing(lake, tmp_path):
    before = lake.summarise()
    report = lake.reparse("--dry-run", "--log-format", LOG_FORMAT)
    assert (report["bad"], report["readable"], report["lines_before"]) == (5, 3, 0)
    assert report["days"] == ["2015-05-17", "2015-05-19"]
    (reason,) = report["reasons"]
    assert (reason["bad_reason"], reason["bad"], reason["readable"]) == ("no_match", 5, 3)
    assert set(reason["now"]) == set(CUSTOM_LINES)
    assert set(reason["still"]) == {line[:200] for line in JUNK_LINES}
    assert not (lake.landing / "replayed").exists()
    assert lake.summarise() == before
    with (tmp_path / "bad.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 5
    assert "'=junk" in {row["raw"] for row in rows}, "no formula for a spreadsheet"


def test_reparsed_lines_count_once_on_their_own_days(lake, spark):
    before = lake.summarise()
    assert get_line_counts(before)["2015-05-17"] == build_line_counts(1, 1, 0)
    lake.reparse("--log-format", LOG_FORMAT)
    assert list_outdated_days(lake.landing, lake.summary) == ["2015-05-17", "2015-05-19"]
    after = lake.summarise()
    assert get_line_counts(after) == {
        "2015-05-17": build_line_counts(3, 3, 0), "2015-05-18": build_line_counts(1, 1, 0),
        "2015-05-19": build_line_counts(1, 1, 0),
    }  # fmt: skip
    assert after["2015-05-17"]["requests"] == 3
    assert after["2015-05-18"] == before["2015-05-18"]
    assert list_outdated_days(lake.landing, lake.summary) == []
    current_reparse = LandingFiles(lake.landing).read_current_reparse()
    report = lake.reparse("--log-format", LOG_FORMAT)
    assert (report["days"], report["lines_before"]) == ([], 3)
    assert LandingFiles(lake.landing).read_current_reparse() == current_reparse
    assert lake.summarise() == after
    assert read_landing(spark, lake.landing / "data", ACCESS_LOG_DDL).count() == 7, (
        "data/ is as it was"
    )


@pytest.mark.matrix
def test_a_second_reparse_includes_lines_that_landed_since_the_first(lake):
    lake.reparse("--log-format", LOG_FORMAT)
    lake.land("b.log", [CUSTOM_LINES[0], build_line()])
    lake.reparse("--log-format", LOG_FORMAT)
    assert get_line_counts(lake.summarise())["2015-05-17"] == build_line_counts(5, 5, 0)
    assert len(list((lake.landing / "replayed").glob("replay-*"))) == 1


@pytest.mark.matrix
def test_a_reparse_without_the_log_format_removes_the_lines_it_had_added(lake):
    before = lake.summarise()
    lake.reparse("--log-format", LOG_FORMAT)
    report = lake.reparse()
    assert report["days"] == ["2015-05-17", "2015-05-19"]
    assert lake.summarise() == before


def test_the_rows_of_each_file_are_counted_by_day(lake, tmp_path):
    lake.summarise()
    assert json.loads((tmp_path / "by_file.json").read_text()) == {
        "a.log": {"2015-05-17": 1, "2015-05-18": 1, "None": 5}
    }


def test_lines_of_the_other_source_are_reported_but_not_added(lake, job, tmp_path):
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "x.log").write_text("\n".join([build_line(), build_line(), "?"]) + "\n")
    other = f"parquet:{tmp_path / 'elsewhere' / 'data'}"
    assert job("land_access_log", "--source", f"text:{tmp_path / 'other'}", "--sink", other)[0] == 0
    before = lake.summarise()
    code, output = job("summarise_access_log", "--source", lake.data, "--source-kind", "files",
                       "--sink", f"summary:{lake.summary}", "--days", "2015-05-17,2015-05-18",
                       "--other-source", other)  # fmt: skip
    assert code == 0, output
    summary = json.loads((lake.summary / "2015-05-17" / "summary.json").read_text())
    assert summary.pop("provenance")["other_source"] == {
        "landing": str(tmp_path / "elsewhere" / "data"), "good": 2, "bad": 0,
    }  # fmt: skip
    assert summary == before["2015-05-17"]
    empty = json.loads((lake.summary / "2015-05-18" / "summary.json").read_text())
    assert empty["provenance"]["other_source"] is None

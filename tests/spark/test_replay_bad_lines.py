"""Bad lines that a newer parser reads: counted once, where they belong, however often replayed."""

import csv
import json

import pytest

from include.contracts import ACCESS_LOG_DDL
from include.lake.landing_files import LandingFiles
from include.lake.paths import list_outdated_days
from spark_jobs.landing.folder import read_landing
from tests.builders import build_line

FORMAT = r"%h|%{sec}t|%r|%>s|%b"
GOOD = [build_line(), build_line(time="18/May/2015:10:00:00 +0000")]
# In a format that nobody told the first run of; the second has no day for it.
ODD = [
    "192.0.2.8|1431857103|GET /odd HTTP/1.1|200|7",
    "192.0.2.8|1431857103|GET /odd HTTP/1.1|200|7",
    "192.0.2.9|1432000000|GET /=cmd HTTP/1.1|404|7",
]
JUNK = ["=junk", "x" * 300]


@pytest.fixture
def lake(tmp_path, job):
    """A landing of good, odd and junk lines, and what runs on it."""

    class Lake:
        landing, summary = tmp_path / "landing", tmp_path / "summary"
        data = f"parquet:{tmp_path / 'landing' / 'data'}"

        def land(self, name, lines):
            (tmp_path / "inbox").mkdir(exist_ok=True)
            (tmp_path / "inbox" / name).write_text("\n".join(lines) + "\n")
            ran(
                job(
                    "land_access_log", "--source", f"text:{tmp_path / 'inbox'}", "--sink", self.data
                )
            )

        def replay(self, *flags):
            report = tmp_path / "bad"
            ran(job("replay_bad_lines", "--source", self.data, "--report", report, *flags))
            return json.loads((tmp_path / "bad.json").read_text())

        def days(self):
            ran(job("summarise_access_log", "--source", self.data, "--source-kind", "files",
                    "--sink", f"summary:{self.summary}", "--days", "2015-05-17,2015-05-18,2015-05-19",
                    "--by-file", tmp_path / "by_file.json"))  # fmt: skip
            found = {}
            for folder in sorted(self.summary.glob("2015*")):
                told = json.loads((folder / "summary.json").read_text())
                found[folder.name] = {k: v for k, v in told.items() if k != "provenance"}
            return found

    def ran(result):
        code, said = result
        assert code == 0, said

    made = Lake()
    made.land("a.log", GOOD + ODD + JUNK)
    return made


def lines(days):
    return {day: told["lines"] for day, told in days.items()}


def counted(read, good, bad):
    return {"read": read, "good": good, "bad": bad, "duplicates": 0}


@pytest.mark.matrix
def test_a_look_says_what_could_be_read_now_and_changes_nothing(lake, tmp_path):
    before = lake.days()
    told = lake.replay("--dry-run", "--log-format", FORMAT)
    assert (told["bad"], told["readable"], told["lines_before"]) == (5, 3, 0)
    assert told["days"] == ["2015-05-17", "2015-05-19"]
    (reason,) = told["reasons"]
    assert (reason["bad_reason"], reason["bad"], reason["readable"]) == ("no_match", 5, 3)
    assert set(reason["now"]) == set(ODD)
    assert set(reason["still"]) == {line[:200] for line in JUNK}
    assert not (lake.landing / "replayed").exists()
    assert lake.days() == before
    with (tmp_path / "bad.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 5
    assert "'=junk" in {row["raw"] for row in rows}, "no formula for a spreadsheet"


def test_replayed_lines_count_on_their_days_and_twice_is_as_once(lake, spark):
    before = lake.days()
    assert lines(before)["2015-05-17"] == counted(1, 1, 0)
    lake.replay("--log-format", FORMAT)
    assert list_outdated_days(lake.landing, lake.summary) == ["2015-05-17", "2015-05-19"]
    after = lake.days()
    assert lines(after) == {
        "2015-05-17": counted(3, 3, 0), "2015-05-18": counted(1, 1, 0),
        "2015-05-19": counted(1, 1, 0),
    }  # fmt: skip
    assert after["2015-05-17"]["requests"] == 3
    assert after["2015-05-18"] == before["2015-05-18"]
    assert list_outdated_days(lake.landing, lake.summary) == []
    kept = LandingFiles(lake.landing).read_current_reparse()
    told = lake.replay("--log-format", FORMAT)
    assert (told["days"], told["lines_before"]) == ([], 3)
    assert LandingFiles(lake.landing).read_current_reparse() == kept
    assert lake.days() == after
    assert read_landing(spark, lake.landing / "data", ACCESS_LOG_DDL).count() == 7, (
        "data/ is as it was"
    )


@pytest.mark.matrix
def test_a_replay_after_more_has_landed_brings_the_new_ones_too(lake):
    lake.replay("--log-format", FORMAT)
    lake.land("b.log", [ODD[0], build_line()])
    lake.replay("--log-format", FORMAT)
    assert lines(lake.days())["2015-05-17"] == counted(5, 5, 0)
    assert len(list((lake.landing / "replayed").glob("replay-*"))) == 1


@pytest.mark.matrix
def test_without_the_format_a_replay_takes_its_lines_back(lake):
    before = lake.days()
    lake.replay("--log-format", FORMAT)
    told = lake.replay()
    assert told["days"] == ["2015-05-17", "2015-05-19"]
    assert lake.days() == before


def test_each_files_rows_are_told_by_day(lake, tmp_path):
    lake.days()
    assert json.loads((tmp_path / "by_file.json").read_text()) == {
        "a.log": {"2015-05-17": 1, "2015-05-18": 1, "None": 5}
    }


def test_what_the_other_source_has_of_a_day_is_told_and_not_added(lake, job, tmp_path):
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "x.log").write_text("\n".join([build_line(), build_line(), "?"]) + "\n")
    other = f"parquet:{tmp_path / 'elsewhere' / 'data'}"
    assert job("land_access_log", "--source", f"text:{tmp_path / 'other'}", "--sink", other)[0] == 0
    before = lake.days()
    code, said = job("summarise_access_log", "--source", lake.data, "--source-kind", "files",
                     "--sink", f"summary:{lake.summary}", "--days", "2015-05-17,2015-05-18",
                     "--other-source", other)  # fmt: skip
    assert code == 0, said
    told = json.loads((lake.summary / "2015-05-17" / "summary.json").read_text())
    assert told.pop("provenance")["other_source"] == {
        "landing": str(tmp_path / "elsewhere" / "data"), "good": 2, "bad": 0,
    }  # fmt: skip
    assert told == before["2015-05-17"]
    empty = json.loads((lake.summary / "2015-05-18" / "summary.json").read_text())
    assert empty["provenance"]["other_source"] is None

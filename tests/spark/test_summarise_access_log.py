"""The numbers of a day, against what another program counts in the same log."""

import json
from collections import Counter
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from pyarrow import parquet

from include.errors import InvalidInput, RetryLater
from include.reporting.panel_sums import read_panels
from include.reporting.report import UnusableSummary
from include.summary.counts import Counts
from spark_jobs import land_access_log
from spark_jobs import summarise_access_log as job
from spark_jobs.transforms.access_log import explode_lines, lines_with_arrival, select_landed_lines
from tests.builders import build_line
from tests.conftest import matrix_cases
from tests.spark.counted_days import counted, summaries_of

DAYS = ["2015-05-17", "2015-05-18", "2015-05-19", "2015-05-20"]


def numbers(landed, days, zone="UTC", **only):
    """Day -> its summary, as the job makes it, without the files."""
    with counted(landed, days, zone, **only) as counts:
        return summaries_of(counts, days)


def landed(spark, path, zone="UTC"):
    lines = explode_lines(spark.read.option("lineSep", "\n").text(str(path)), "text")
    return select_landed_lines(lines, zone).localCheckpoint()


@pytest.fixture(scope="module")
def four_days(spark, shared):
    return numbers(landed(spark, shared / "data" / "apache_combined.log"), DAYS)


def oracle(shared, name):
    return json.loads((shared / "oracle" / f"goaccess_{name}.json").read_text())


def rows_of(panel):
    """value -> (hits, visitors, bytes) of a GoAccess panel."""
    found = {}
    for row in panel["data"]:
        for item in row.get("items", [row]):
            found[item["data"]] = (
                item["hits"]["count"], item["visitors"]["count"], item["bytes"]["count"],
            )  # fmt: skip
    return found


@pytest.mark.parametrize("day", DAYS)
def test_a_day_has_the_numbers_that_goaccess_counts(shared, four_days, day):
    theirs, ours = oracle(shared, f"apache_{day}"), four_days[day]
    general = theirs["general"]
    assert ours["requests"] == general["total_requests"] == ours["lines"]["good"]
    assert ours["visitors"] == general["unique_visitors"]
    assert ours["bytes"] == general["bandwidth"]
    assert (ours["lines"]["bad"], ours["lines"]["duplicates"]) == (0, 0)


def ours_of(panel):
    return {row["value"]: (row["hits"], row["visitors"], row["bytes"]) for row in panel["rows"]}


@pytest.mark.parametrize("day", DAYS)
def test_status_hours_and_hosts_agree_row_by_row(shared, four_days, day):
    theirs, ours = oracle(shared, f"apache_{day}"), four_days[day]["panels"]
    for name, panel in [("hosts", "hosts"), ("visit_time", "hours")]:
        assert rows_of(theirs[name]) == ours_of(ours[panel]), name
    statuses = {text[:3]: row for text, row in rows_of(theirs["status_codes"]).items()}
    assert statuses == ours_of(ours["status"])


def test_the_four_days_are_what_the_issue_says(four_days):
    statuses = Counter()
    for day in four_days.values():
        statuses.update(day["by_status"])
    assert dict(statuses) == {"200": 9126, "206": 45, "301": 164, "304": 445, "403": 2, "404": 213,
                              "416": 2, "500": 3}  # fmt: skip
    assert sum(day["bytes"] for day in four_days.values()) == 2_747_282_740
    assert [day["visitors"] for day in four_days.values()] == [359, 643, 570, 523]


def test_every_number_of_a_panel_adds_up_to_the_days(four_days):
    for day in four_days.values():
        for name in ("status", "hours", "methods", "endpoints", "hosts", "user_agents"):
            rows = day["panels"][name]["rows"]
            assert sum(row["hits"] for row in rows) == day["requests"], name
            assert sum(row["bytes"] for row in rows) == day["bytes"], name
        assert sum(day["by_hour"].values()) == day["requests"]


def test_common_format_with_six_zone_offsets(spark, shared):
    rows = landed(spark, shared / "data" / "nasa_common.log")
    day = numbers(rows, ["1995-08-01"])["1995-08-01"]
    assert (day["lines"]["good"], day["lines"]["bad"]) == (5000, 0)
    assert (day["first_request"], day["last_request"]) == (
        "1995-08-01T04:00:01Z",
        "1995-08-01T15:43:56Z",
    )
    assert [day["by_hour"][f"{hour:02}"] for hour in range(4, 16)] == [
        648, 648, 641, 996, 753, 555, 394, 147, 72, 60, 43, 43,
    ]  # fmt: skip
    general = oracle(shared, "nasa_common")["general"]
    assert day["bytes"] == general["bandwidth"]


def test_a_line_that_came_again_counts_once_and_is_told_of(spark, tmp_path):
    from pyspark.sql import functions as F

    (tmp_path / "a.log").write_text("\n".join(build_line(host=f"192.0.2.{n}") for n in range(5)))
    lines = landed(spark, tmp_path)
    identified = lines.withColumn("line_id", F.concat(F.lit("log:"), "host"))
    twice = identified.unionByName(identified)
    day = numbers(twice, ["2015-05-17"])["2015-05-17"]
    assert day["lines"] == {"read": 10, "good": 10, "bad": 0, "duplicates": 5}
    assert (day["requests"], day["visitors"], day["bytes"]) == (5, 5, 5 * 512)


def test_two_logs_that_share_an_id_lose_no_line(spark, tmp_path):
    from pyspark.sql import functions as F

    (tmp_path / "a.log").write_text("\n".join(build_line(host=f"192.0.2.{n}") for n in range(5)))
    same_id = landed(spark, tmp_path).withColumn("line_id", F.lit("log:0"))
    assert numbers(same_id, ["2015-05-17"])["2015-05-17"]["requests"] == 5


def test_lines_from_files_have_no_id_and_are_never_repeats(spark, tmp_path):
    (tmp_path / "a.log").write_text("\n".join([build_line()] * 4))
    day = numbers(landed(spark, tmp_path), ["2015-05-17"])["2015-05-17"]
    assert (day["requests"], day["lines"]["duplicates"], day["visitors"]) == (4, 0, 1)


def test_hours_and_days_are_the_sites_also_when_the_clock_is_set_back(spark, tmp_path):
    # 26 October 2025 has 25 hours in Paris: 00:30Z and 01:30Z are both half past two there.
    times = [f"{day}/Oct/2025:{time} +0000" for day, time in
             [("25", "21:59:59"), ("25", "22:00:00"), ("26", "00:30:00"), ("26", "01:30:00"),
              ("26", "22:59:59"), ("26", "23:00:00")]]  # fmt: skip
    (tmp_path / "a.log").write_text("\n".join(build_line(time=time) for time in times))
    day = numbers(landed(spark, tmp_path, "Europe/Paris"), ["2025-10-26"], "Europe/Paris")[
        "2025-10-26"
    ]
    assert day["requests"] == 4
    assert {hour: hits for hour, hits in day["by_hour"].items() if hits} == {
        "00": 1,
        "02": 2,
        "23": 1,
    }


def test_hours_and_days_are_the_sites_also_when_the_clock_is_set_forward(spark, tmp_path):
    # 29 March 2026 has 23 hours in Paris: behind 00:59:59Z, two o'clock, comes three o'clock.
    times = [f"{day}/Mar/2026:{time} +0000" for day, time in
             [("28", "22:59:59"), ("28", "23:00:00"), ("29", "00:59:59"), ("29", "01:00:00"),
              ("29", "21:59:59"), ("29", "22:00:00")]]  # fmt: skip
    (tmp_path / "a.log").write_text("\n".join(build_line(time=time) for time in times))
    days = numbers(landed(spark, tmp_path, "Europe/Paris"), ["2026-03-28", "2026-03-29",
                                                             "2026-03-30"], "Europe/Paris")  # fmt: skip
    assert [day["requests"] for day in days.values()] == [1, 4, 1]
    by_hour = {hour: hits for hour, hits in days["2026-03-29"]["by_hour"].items() if hits}
    assert by_hour == {"00": 1, "01": 1, "03": 1, "23": 1}


def alive(spark, day, zone, silent=(), now=2_000_000_000):
    """`provenance.heartbeat` of a day with a heartbeat a minute, but for the minutes `silent`."""
    begin, end = job._get_day_bounds(day, ZoneInfo(zone))
    beats = [datetime.fromtimestamp(begin + 60 * n + 5, UTC)
             for n in range((end - begin) // 60) if n not in silent]  # fmt: skip
    rows = [(b"log:heartbeat", None, "t", 0, n, beat) for n, beat in enumerate(beats)]
    messages = spark.createDataFrame(rows, "key BINARY, value BINARY, topic STRING, partition INT, "
                                           "offset BIGINT, timestamp TIMESTAMP")  # fmt: skip
    found = select_landed_lines(lines_with_arrival(messages, "kafka"), zone)
    with counted(found, [day], zone) as counts:
        return job.summarise_heartbeats(
            counts.collect_heartbeats().get(day, []), day, ZoneInfo(zone), now
        )


@pytest.mark.parametrize(
    ("day", "minutes"),
    [("2026-03-29", 1380), *matrix_cases(("2026-03-30", 1440), ("2026-10-25", 1500))],
)
def test_a_producer_that_was_alive_was_so_in_every_minute_of_the_day(spark, day, minutes):
    assert alive(spark, day, "Europe/Paris") == {"minutes": minutes, "of": minutes, "gaps": []}


@pytest.mark.matrix
def test_where_no_heartbeat_came_for_more_than_three_minutes_the_producer_was_silent(spark):
    silent = {*range(10), 100, 101, *range(200, 260), *range(1435, 1440)}
    told = alive(spark, "2026-01-15", "UTC", silent)
    assert told == {"minutes": 1440 - len(silent), "of": 1440, "gaps": [
        {"from": "2026-01-15T00:00:00Z", "to": "2026-01-15T00:10:05Z"},
        {"from": "2026-01-15T03:19:05Z", "to": "2026-01-15T04:20:05Z"},
        {"from": "2026-01-15T23:54:05Z", "to": "2026-01-16T00:00:00Z"},
    ]}  # fmt: skip
    noon = datetime(2026, 1, 15, 12, tzinfo=UTC)
    running = alive(spark, "2026-01-15", "UTC", set(range(720, 1440)), noon.timestamp())
    assert running == {"minutes": 720, "of": 1440, "gaps": []}, "the rest of the day is to come"
    (one,) = alive(spark, "2026-01-15", "UTC", set(range(1, 1440)))["gaps"]
    assert one["from"] == "2026-01-15T00:00:05Z"
    assert alive(spark, "2026-01-15", "UTC", set(range(1440))) is None


def test_heartbeats_are_in_no_number_of_a_day(spark, tmp_path):
    lines = [build_line(host=f"192.0.2.{n}") for n in range(5)] + [
        "junk [17/May/2015:10:00:00 +0000]"
    ]
    sent = datetime(2015, 5, 17, 12, tzinfo=UTC)
    rows = [(f"log:{n}".encode(), line.encode(), "t", 0, n, sent) for n, line in enumerate(lines)]
    beats = [(b"log:heartbeat", None, "t", 0, 10 + n, sent + timedelta(minutes=n))
             for n in range(9)]  # fmt: skip
    ddl = (
        "key BINARY, value BINARY, topic STRING, partition INT, offset BIGINT, timestamp TIMESTAMP"
    )

    def told(messages):
        found = select_landed_lines(
            lines_with_arrival(spark.createDataFrame(messages, ddl), "kafka"), "UTC"
        )
        return numbers(found, ["2015-05-17"])

    assert told(rows + beats) == told(rows)
    assert told(rows)["2015-05-17"]["lines"] == {"read": 6, "good": 5, "bad": 1, "duplicates": 0}


@pytest.mark.parametrize(
    ("since", "at", "days"),
    [("2026-01-15T00:01:00Z", "2026-01-16T00:01:00+00:00", ["2026-01-15", "2026-01-16"]),
     (None, "2026-01-14T10:00:00+00:00", ["2026-01-14"]),
     ("2026-01-14T22:30:00Z", "2026-01-14T22:59:00+00:00", ["2026-01-14"]),
     ("2026-01-14T22:30:00Z", "2026-01-14T23:30:00+00:00", ["2026-01-14", "2026-01-15"])],
)  # fmt: skip
def test_what_was_lost_is_told_on_the_days_that_may_lack_it(since, at, days):
    told = ["2026-01-14", "2026-01-15", "2026-01-16"]
    zone = ZoneInfo("Europe/Paris")
    assert [d for d in told if job.is_day_affected(d, {"since": since, "at": at}, zone)] == days


def test_unsuccessful_requests_are_listed_newest_first_and_capped(spark, tmp_path):
    lines = [build_line(status="404", time=f"17/May/2015:10:{n:02}:00 +0000") for n in range(30)]
    (tmp_path / "a.log").write_text("\n".join([*lines, build_line()]))
    with counted(landed(spark, tmp_path / "a.log"), ["2015-05-17"]) as counts:
        newest = counts.collect_tables(newest=10, samples=1, bots=1)["unsuccessful"]["2015-05-17"]
    assert [row.micros // 60_000_000 % 60 for row in newest] == list(range(29, 19, -1))


def test_bad_lines_of_a_day_have_reasons_and_samples(spark, tmp_path):
    junk = [f"junk {n} [17/May/2015:10:00:00 +0000]" for n in range(9)]
    (tmp_path / "a.log").write_text("\n".join([build_line(), *junk]))
    day = numbers(landed(spark, tmp_path), ["2015-05-17"])["2015-05-17"]
    assert day["lines"] == {"read": 10, "good": 1, "bad": 9, "duplicates": 0}
    (bad,) = day["bad_lines"]
    assert (bad["bad_reason"], bad["lines"], bad["samples"]) == ("no_match", 9, junk)


def test_lines_that_cannot_be_counted_end_the_job_with_a_sentence(tmp_path):
    (tmp_path / "part-0.parquet").write_text("no Parquet")
    with (
        pytest.raises(OSError, match="could not be counted: .*run it again"),
        job.translate_duckdb_errors(),
    ):
        Counts(tmp_path, tmp_path)


def summarised(folder, sink, *flags):
    """Two lines landed in the folder, and their day summarised into the sink, by the jobs themselves."""
    (folder / "ready").mkdir(exist_ok=True)
    (folder / "ready" / "a.log").write_text(f"{build_line()}\n{build_line(host='192.0.2.8')}\n")
    data = f"parquet:{folder}/landing/data"
    land_access_log.main(["--source", f"text:{folder}/ready", "--sink", data])
    job.main(["--source", data, "--source-kind", "files", "--sink", f"summary:{sink}",
              "--days", "2015-05-17", *flags])  # fmt: skip
    return sink / "2015-05-17" / "panels.parquet"


def test_a_sink_may_have_any_name_and_keeps_the_summary_alone(spark, tmp_path):
    """What a run that was killed left there goes, and is not counted."""
    sink = tmp_path / "it's panel=[a] *sink*"
    left = sink / ".summarise_access_log" / "now" / "lines" / "part-0.parquet"
    left.parent.mkdir(parents=True)
    left.write_text("cut off")
    panels = parquet.read_table(summarised(tmp_path, sink)).to_pylist()
    assert [row["visitors"] for row in panels if row["panel"] == "day"] == [2]
    assert [path.name for path in (sink / ".summarise_access_log").iterdir()] == ["lock"]


def test_a_run_that_fails_leaves_no_line_behind(spark, tmp_path):
    broken = tmp_path / "broken.mmdb"
    with pytest.raises(InvalidInput, match="broken.mmdb"):
        summarised(tmp_path, tmp_path / "sink", "--maxmind", str(broken))
    assert not (tmp_path / "sink").exists(), "refused before anything was done"
    with suppress(OSError), job.scratch_folder(tmp_path / "sink", "a") as folder:
        (folder / "lines").mkdir()
        raise OSError("no place")
    kept = (tmp_path / "sink" / ".summarise_access_log").iterdir()
    assert [path.name for path in kept] == ["lock"]


def test_two_runs_do_not_share_a_sink(tmp_path, monkeypatch):
    monkeypatch.setattr("spark_jobs.streaming.locks.WAIT_FOR_LOCK_SECONDS", 0)
    second = job.scratch_folder(tmp_path, "by-hand")
    with (
        job.scratch_folder(tmp_path, "tonight"),
        pytest.raises(RetryLater, match="summarise_access_log, run tonight"),
    ):
        second.__enter__()


def test_damage_to_the_panels_is_found_by_who_reads_them(spark, tmp_path):
    """A page's sum stands in the file: a bit that turned is no other number."""
    panels = summarised(tmp_path, tmp_path / "sink")
    assert len(read_panels(panels)) > 10
    whole = panels.read_bytes()
    with parquet.ParquetFile(panels) as file:
        column = file.metadata.row_group(0).column(0)
    for at in range(40):
        place = column.data_page_offset + column.total_compressed_size - 1 - at % 8
        panels.write_bytes(
            whole[:place] + bytes([whole[place] ^ (1 << at // 8)]) + whole[place + 1 :]
        )
        with pytest.raises(UnusableSummary, match="is damaged"):
            read_panels(panels)


def test_a_day_without_a_line_has_a_summary_of_zeros(spark, tmp_path):
    (tmp_path / "a.log").write_text(build_line())
    day = numbers(landed(spark, tmp_path), ["2015-05-18"])["2015-05-18"]
    assert (day["requests"], day["visitors"], day["lines"]["read"], day["first_request"]) == (
        0,
        0,
        0,
        None,
    )
    assert day["panels"]["hosts"] == {"total": 0, "rows": []}

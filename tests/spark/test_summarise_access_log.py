"""Compares the numbers of a day with what GoAccess counts in the same log."""

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
from spark_jobs.transforms.access_log import select_landed_lines, select_lines
from tests.builders import build_line
from tests.conftest import matrix_cases
from tests.spark.day_summaries import build_summaries, count_days

DAYS = ["2015-05-17", "2015-05-18", "2015-05-19", "2015-05-20"]


def summarise_days(landed_rows, days, zone="UTC", **filter_fields):
    """Return the summary of each day, by day, as the job builds it."""
    with count_days(landed_rows, days, zone, **filter_fields) as counts:
        return build_summaries(counts, days)


def land_log(spark, path, zone="UTC"):
    lines = select_lines(spark.read.option("lineSep", "\n").text(str(path)), "text")
    return select_landed_lines(lines, zone).localCheckpoint()


@pytest.fixture(scope="module")
def four_days(spark, shared):
    return summarise_days(land_log(spark, shared / "data" / "apache_combined.log"), DAYS)


def read_goaccess_report(shared, name):
    return json.loads((shared / "oracle" / f"goaccess_{name}.json").read_text())


def get_goaccess_rows(panel):
    """Return (hits, visitors, bytes) of each value of a GoAccess panel."""
    rows = {}
    for row in panel["data"]:
        for item in row.get("items", [row]):
            rows[item["data"]] = (
                item["hits"]["count"], item["visitors"]["count"], item["bytes"]["count"],
            )  # fmt: skip
    return rows


@pytest.mark.parametrize("day", DAYS)
def test_daily_totals_equal_those_of_goaccess(shared, four_days, day):
    goaccess, tidemark = read_goaccess_report(shared, f"apache_{day}"), four_days[day]
    general = goaccess["general"]
    assert tidemark["requests"] == general["total_requests"] == tidemark["lines"]["good"]
    assert tidemark["visitors"] == general["unique_visitors"]
    assert tidemark["bytes"] == general["bandwidth"]
    assert (tidemark["lines"]["bad"], tidemark["lines"]["duplicates"]) == (0, 0)


def get_tidemark_rows(panel):
    return {row["value"]: (row["hits"], row["visitors"], row["bytes"]) for row in panel["rows"]}


@pytest.mark.parametrize("day", DAYS)
def test_rows_of_statuses_hours_and_hosts_equal_those_of_goaccess(shared, four_days, day):
    goaccess, tidemark = read_goaccess_report(shared, f"apache_{day}"), four_days[day]["panels"]
    for name, panel in [("hosts", "hosts"), ("visit_time", "hours")]:
        assert get_goaccess_rows(goaccess[name]) == get_tidemark_rows(tidemark[panel]), name
    statuses = {text[:3]: row for text, row in get_goaccess_rows(goaccess["status_codes"]).items()}
    assert statuses == get_tidemark_rows(tidemark["status"])


def test_the_four_days_have_the_known_totals(four_days):
    statuses = Counter()
    for day in four_days.values():
        statuses.update(day["by_status"])
    assert dict(statuses) == {"200": 9126, "206": 45, "301": 164, "304": 445, "403": 2, "404": 213,
                              "416": 2, "500": 3}  # fmt: skip
    assert sum(day["bytes"] for day in four_days.values()) == 2_747_282_740
    assert [day["visitors"] for day in four_days.values()] == [359, 643, 570, 523]


def test_panel_rows_add_up_to_the_totals_of_the_day(four_days):
    for day in four_days.values():
        for name in ("status", "hours", "methods", "endpoints", "hosts", "user_agents"):
            rows = day["panels"][name]["rows"]
            assert sum(row["hits"] for row in rows) == day["requests"], name
            assert sum(row["bytes"] for row in rows) == day["bytes"], name
        assert sum(day["by_hour"].values()) == day["requests"]


def test_a_common_log_with_six_zone_offsets_is_counted_in_utc(spark, shared):
    rows = land_log(spark, shared / "data" / "nasa_common.log")
    day = summarise_days(rows, ["1995-08-01"])["1995-08-01"]
    assert (day["lines"]["good"], day["lines"]["bad"]) == (5000, 0)
    assert (day["first_request"], day["last_request"]) == (
        "1995-08-01T04:00:01Z",
        "1995-08-01T15:43:56Z",
    )
    assert [day["by_hour"][f"{hour:02}"] for hour in range(4, 16)] == [
        648, 648, 641, 996, 753, 555, 394, 147, 72, 60, 43, 43,
    ]  # fmt: skip
    general = read_goaccess_report(shared, "nasa_common")["general"]
    assert day["bytes"] == general["bandwidth"]


def test_a_duplicate_line_counts_once_and_is_reported(spark, tmp_path):
    from pyspark.sql import functions as F

    (tmp_path / "a.log").write_text("\n".join(build_line(host=f"192.0.2.{n}") for n in range(5)))
    lines = land_log(spark, tmp_path)
    identified = lines.withColumn("line_id", F.concat(F.lit("log:"), "host"))
    twice = identified.unionByName(identified)
    day = summarise_days(twice, ["2015-05-17"])["2015-05-17"]
    assert day["lines"] == {"read": 10, "good": 10, "bad": 0, "duplicates": 5}
    assert (day["requests"], day["visitors"], day["bytes"]) == (5, 5, 5 * 512)


def test_different_lines_with_the_same_id_are_all_counted(spark, tmp_path):
    from pyspark.sql import functions as F

    (tmp_path / "a.log").write_text("\n".join(build_line(host=f"192.0.2.{n}") for n in range(5)))
    same_id = land_log(spark, tmp_path).withColumn("line_id", F.lit("log:0"))
    assert summarise_days(same_id, ["2015-05-17"])["2015-05-17"]["requests"] == 5


def test_lines_from_files_have_no_id_and_are_never_duplicates(spark, tmp_path):
    (tmp_path / "a.log").write_text("\n".join([build_line()] * 4))
    day = summarise_days(land_log(spark, tmp_path), ["2015-05-17"])["2015-05-17"]
    assert (day["requests"], day["lines"]["duplicates"], day["visitors"]) == (4, 0, 1)


def test_hours_and_days_are_local_when_the_clock_is_set_back(spark, tmp_path):
    # 26 October 2025 has 25 hours in Paris: 00:30Z and 01:30Z are both 02:30 there.
    times = [f"{day}/Oct/2025:{time} +0000" for day, time in
             [("25", "21:59:59"), ("25", "22:00:00"), ("26", "00:30:00"), ("26", "01:30:00"),
              ("26", "22:59:59"), ("26", "23:00:00")]]  # fmt: skip
    (tmp_path / "a.log").write_text("\n".join(build_line(time=time) for time in times))
    day = summarise_days(land_log(spark, tmp_path, "Europe/Paris"), ["2025-10-26"], "Europe/Paris")[
        "2025-10-26"
    ]
    assert day["requests"] == 4
    assert {hour: hits for hour, hits in day["by_hour"].items() if hits} == {
        "00": 1,
        "02": 2,
        "23": 1,
    }


def test_hours_and_days_are_local_when_the_clock_is_set_forward(spark, tmp_path):
    # 29 March 2026 has 23 hours in Paris: 00:59:59Z is 01:59:59 there, and 01:00:00Z is 03:00:00.
    times = [f"{day}/Mar/2026:{time} +0000" for day, time in
             [("28", "22:59:59"), ("28", "23:00:00"), ("29", "00:59:59"), ("29", "01:00:00"),
              ("29", "21:59:59"), ("29", "22:00:00")]]  # fmt: skip
    (tmp_path / "a.log").write_text("\n".join(build_line(time=time) for time in times))
    days = summarise_days(
        land_log(spark, tmp_path, "Europe/Paris"),
        ["2026-03-28", "2026-03-29", "2026-03-30"],
        "Europe/Paris",
    )
    assert [day["requests"] for day in days.values()] == [1, 4, 1]
    by_hour = {hour: hits for hour, hits in days["2026-03-29"]["by_hour"].items() if hits}
    assert by_hour == {"00": 1, "01": 1, "03": 1, "23": 1}


def build_heartbeat_summary(spark, day, zone, silent_minutes=(), now=2_000_000_000):
    """`provenance.heartbeat` of a day with one heartbeat per minute, except in `silent_minutes`."""
    begin, end = job._get_day_bounds(day, ZoneInfo(zone))
    beats = [datetime.fromtimestamp(begin + 60 * n + 5, UTC)
             for n in range((end - begin) // 60) if n not in silent_minutes]  # fmt: skip
    rows = [(b"log:heartbeat", None, "t", 0, n, beat) for n, beat in enumerate(beats)]
    messages = spark.createDataFrame(rows, "key BINARY, value BINARY, topic STRING, partition INT, "
                                           "offset BIGINT, timestamp TIMESTAMP")  # fmt: skip
    landed_rows = select_landed_lines(select_lines(messages, "kafka"), zone)
    with count_days(landed_rows, [day], zone) as counts:
        return job.summarise_heartbeats(
            counts.collect_heartbeats().get(day, []), day, ZoneInfo(zone), now
        )


@pytest.mark.parametrize(
    ("day", "minutes"),
    [("2026-03-29", 1380), *matrix_cases(("2026-03-30", 1440), ("2026-10-25", 1500))],
)
def test_a_running_producer_has_a_heartbeat_in_every_minute_of_the_day(spark, day, minutes):
    assert build_heartbeat_summary(spark, day, "Europe/Paris") == {
        "minutes": minutes,
        "of": minutes,
        "gaps": [],
    }


@pytest.mark.matrix
def test_more_than_three_minutes_without_a_heartbeat_are_a_gap(spark):
    silent_minutes = {*range(10), 100, 101, *range(200, 260), *range(1435, 1440)}
    heartbeat = build_heartbeat_summary(spark, "2026-01-15", "UTC", silent_minutes)
    assert heartbeat == {"minutes": 1440 - len(silent_minutes), "of": 1440, "gaps": [
        {"from": "2026-01-15T00:00:00Z", "to": "2026-01-15T00:10:05Z"},
        {"from": "2026-01-15T03:19:05Z", "to": "2026-01-15T04:20:05Z"},
        {"from": "2026-01-15T23:54:05Z", "to": "2026-01-16T00:00:00Z"},
    ]}  # fmt: skip
    noon = datetime(2026, 1, 15, 12, tzinfo=UTC)
    running = build_heartbeat_summary(
        spark, "2026-01-15", "UTC", set(range(720, 1440)), noon.timestamp()
    )
    assert running == {"minutes": 720, "of": 1440, "gaps": []}, "the rest of the day is to come"
    (gap,) = build_heartbeat_summary(spark, "2026-01-15", "UTC", set(range(1, 1440)))["gaps"]
    assert gap["from"] == "2026-01-15T00:00:05Z"
    assert build_heartbeat_summary(spark, "2026-01-15", "UTC", set(range(1440))) is None


def test_heartbeats_do_not_change_the_numbers_of_a_day(spark, tmp_path):
    lines = [build_line(host=f"192.0.2.{n}") for n in range(5)] + [
        "junk [17/May/2015:10:00:00 +0000]"
    ]
    sent_at = datetime(2015, 5, 17, 12, tzinfo=UTC)
    rows = [
        (f"log:{n}".encode(), line.encode(), "t", 0, n, sent_at) for n, line in enumerate(lines)
    ]
    beats = [(b"log:heartbeat", None, "t", 0, 10 + n, sent_at + timedelta(minutes=n))
             for n in range(9)]  # fmt: skip
    ddl = (
        "key BINARY, value BINARY, topic STRING, partition INT, offset BIGINT, timestamp TIMESTAMP"
    )

    def summarise(messages):
        landed_rows = select_landed_lines(
            select_lines(spark.createDataFrame(messages, ddl), "kafka"), "UTC"
        )
        return summarise_days(landed_rows, ["2015-05-17"])

    assert summarise(rows + beats) == summarise(rows)
    assert summarise(rows)["2015-05-17"]["lines"] == {
        "read": 6,
        "good": 5,
        "bad": 1,
        "duplicates": 0,
    }


@pytest.mark.parametrize(
    ("since", "at", "days"),
    [("2026-01-15T00:01:00Z", "2026-01-16T00:01:00+00:00", ["2026-01-15", "2026-01-16"]),
     (None, "2026-01-14T10:00:00+00:00", ["2026-01-14"]),
     ("2026-01-14T22:30:00Z", "2026-01-14T22:59:00+00:00", ["2026-01-14"]),
     ("2026-01-14T22:30:00Z", "2026-01-14T23:30:00+00:00", ["2026-01-14", "2026-01-15"])],
)  # fmt: skip
def test_data_loss_is_reported_on_the_days_it_may_affect(since, at, days):
    all_days = ["2026-01-14", "2026-01-15", "2026-01-16"]
    zone = ZoneInfo("Europe/Paris")
    assert [d for d in all_days if job.is_day_affected(d, {"since": since, "at": at}, zone)] == days


def test_unsuccessful_requests_are_listed_newest_first_and_capped(spark, tmp_path):
    lines = [build_line(status="404", time=f"17/May/2015:10:{n:02}:00 +0000") for n in range(30)]
    (tmp_path / "a.log").write_text("\n".join([*lines, build_line()]))
    with count_days(land_log(spark, tmp_path / "a.log"), ["2015-05-17"]) as counts:
        newest = counts.collect_tables(newest=10, samples=1, bots=1)["unsuccessful"]["2015-05-17"]
    assert [row.micros // 60_000_000 % 60 for row in newest] == list(range(29, 19, -1))


def test_bad_lines_of_a_day_have_reasons_and_samples(spark, tmp_path):
    junk = [f"junk {n} [17/May/2015:10:00:00 +0000]" for n in range(9)]
    (tmp_path / "a.log").write_text("\n".join([build_line(), *junk]))
    day = summarise_days(land_log(spark, tmp_path), ["2015-05-17"])["2015-05-17"]
    assert day["lines"] == {"read": 10, "good": 1, "bad": 9, "duplicates": 0}
    (bad,) = day["bad_lines"]
    assert (bad["bad_reason"], bad["lines"], bad["samples"]) == ("no_match", 9, junk)


def test_lines_that_cannot_be_counted_give_a_clear_error(tmp_path):
    (tmp_path / "part-0.parquet").write_text("no Parquet")
    with (
        pytest.raises(OSError, match="could not be counted: .*run it again"),
        job.translate_duckdb_errors(),
    ):
        Counts(tmp_path, tmp_path)


def land_and_summarise(folder, sink, *flags):
    """Land two lines and summarise their day with the jobs; return the path of the panels."""
    (folder / "ready").mkdir(exist_ok=True)
    (folder / "ready" / "a.log").write_text(f"{build_line()}\n{build_line(host='192.0.2.8')}\n")
    data = f"parquet:{folder}/landing/data"
    land_access_log.main(["--source", f"text:{folder}/ready", "--sink", data])
    job.main(["--source", data, "--source-kind", "files", "--sink", f"summary:{sink}",
              "--days", "2015-05-17", *flags])  # fmt: skip
    return sink / "2015-05-17" / "panels.parquet"


def test_a_sink_with_an_odd_name_holds_only_the_summary(spark, tmp_path):
    """Files that a killed run left in the sink are removed and not counted."""
    sink = tmp_path / "it's panel=[a] *sink*"
    leftover = sink / ".summarise_access_log" / "now" / "lines" / "part-0.parquet"
    leftover.parent.mkdir(parents=True)
    leftover.write_text("cut off")
    panels = parquet.read_table(land_and_summarise(tmp_path, sink)).to_pylist()
    assert [row["visitors"] for row in panels if row["panel"] == "day"] == [2]
    assert [path.name for path in (sink / ".summarise_access_log").iterdir()] == ["lock"]


def test_a_failed_run_leaves_no_lines_behind(spark, tmp_path):
    broken = tmp_path / "broken.mmdb"
    with pytest.raises(InvalidInput, match="broken.mmdb"):
        land_and_summarise(tmp_path, tmp_path / "sink", "--maxmind", str(broken))
    assert not (tmp_path / "sink").exists(), "refused before anything was done"
    with suppress(OSError), job.scratch_folder(tmp_path / "sink", "a") as folder:
        (folder / "lines").mkdir()
        raise OSError("no place")
    remaining = (tmp_path / "sink" / ".summarise_access_log").iterdir()
    assert [path.name for path in remaining] == ["lock"]


def test_two_runs_cannot_use_the_same_sink(tmp_path, monkeypatch):
    monkeypatch.setattr("spark_jobs.streaming.locks.WAIT_FOR_LOCK_SECONDS", 0)
    second = job.scratch_folder(tmp_path, "by-hand")
    with (
        job.scratch_folder(tmp_path, "tonight"),
        pytest.raises(RetryLater, match="summarise_access_log, run tonight"),
    ):
        second.__enter__()


def test_damaged_panels_are_refused_when_they_are_read(spark, tmp_path):
    """The file has a checksum per page, so a flipped bit is detected."""
    panels = land_and_summarise(tmp_path, tmp_path / "sink")
    assert len(read_panels(panels)) > 10
    content = panels.read_bytes()
    with parquet.ParquetFile(panels) as file:
        column = file.metadata.row_group(0).column(0)
    for n in range(40):
        position = column.data_page_offset + column.total_compressed_size - 1 - n % 8
        panels.write_bytes(
            content[:position]
            + bytes([content[position] ^ (1 << n // 8)])
            + content[position + 1 :]
        )
        with pytest.raises(UnusableSummary, match="is damaged"):
            read_panels(panels)


def test_a_day_without_lines_has_a_summary_of_zeros(spark, tmp_path):
    (tmp_path / "a.log").write_text(build_line())
    day = summarise_days(land_log(spark, tmp_path), ["2015-05-18"])["2015-05-18"]
    assert (day["requests"], day["visitors"], day["lines"]["read"], day["first_request"]) == (
        0,
        0,
        0,
        None,
    )
    assert day["panels"]["hosts"] == {"total": 0, "rows": []}

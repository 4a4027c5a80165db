"""Range reports from the summaries of their days: exact sums, estimated distinct visitors."""

import csv
import json
import random
import tempfile
from collections import Counter
from datetime import date, timedelta
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from include.contracts import MAX_RANGE_DAYS
from include.reporting import panel_sums
from include.reporting.ranges import build_range_report, list_periods
from include.reporting.report import UnusableSummary, write_range
from tests.unit.synthetic_summaries import (
    build_attack,
    build_bot,
    build_panel_row,
    build_sketch,
    write_day,
)

FIRST = date(2015, 5, 17)
DAYS = [(FIRST + timedelta(days=n)).isoformat() for n in range(4)]
LAST = date.fromisoformat(DAYS[-1])

keys = st.tuples(
    st.sampled_from(["requests", "hosts"]), st.sampled_from([None, "p"]),
    st.sampled_from(["/a", "/b", "é", ""]), st.sampled_from([None, "GET"]),
    st.sampled_from([None, "HTTP/1.1"]),
)  # fmt: skip
hits_of_days = st.lists(st.dictionaries(keys, st.integers(1, 10**9)), min_size=4, max_size=4)


def build_rows(day):
    names = ("parent", "method", "protocol")
    return [
        build_panel_row(
            panel, value, hits, **dict(zip(names, (parent, method, protocol), strict=True))
        )
        for (panel, parent, value, method, protocol), hits in day.items()
    ]


@settings(max_examples=40, deadline=None)
@given(hits_of_days)
def test_a_row_is_the_sum_of_its_days_also_with_null_in_its_key(days):
    with tempfile.TemporaryDirectory() as folder:
        for day, hits in zip(DAYS, days, strict=True):
            write_day(Path(folder), day, build_rows(hits))
        report = build_range_report(Path(folder), FIRST, LAST)
    expected = sum((Counter(day) for day in days), Counter())
    rows_by_key = {
        (panel, row.get("parent"), row["value"], row.get("method"), row.get("protocol")): row
        for panel, rows in report["panels"].items()
        for row in rows
    }
    assert {key: row["hits"] for key, row in rows_by_key.items()} == expected
    assert all(row["visitors"] == row["hits"] for row in rows_by_key.values())
    assert all(row["bytes"] == 100 * row["hits"] for row in rows_by_key.values())
    for panel, rows in report["panels"].items():
        assert report["panel_rows"][panel] == len(rows)
        assert rows == sorted(rows, key=lambda row: (-row["hits"], row["value"].encode()))
        assert len({tuple(row) for row in rows}) <= 1, "all rows of a CSV have its columns"


def test_the_order_of_the_days_does_not_matter(monkeypatch):
    monkeypatch.setattr(panel_sums, "MAX_UNSUMMED_ROWS", 5)  # forces many intermediate sums
    rng = random.Random(7)
    tables = []
    for _ in range(12):
        values = rng.sample(range(20), 8)
        rows = [
            build_panel_row("not_found", f"/{n}", rng.randint(1, 3), referrer=rng.choice("ab") )
            | {"timed": n % 2, "seconds_sum": 0.25 if n % 2 else None}
            for n in values
        ]  # fmt: skip
        tables.append(pa.Table.from_pylist(rows, panel_sums._SCHEMA))
    first = panel_sums.sum_panels(tables)
    for _ in range(5):
        rng.shuffle(tables)
        assert panel_sums.sum_panels(tables) == first
    assert first["not_found"][1] == 20


def test_totals_and_visitors_are_summed(tmp_path):
    for number, day in enumerate(DAYS):
        write_day(tmp_path, day, requests=number, by_status={"200": number, "-": 1},
                  humans={"requests": 1, "visitors": 1, "bytes": number})  # fmt: skip
    report = build_range_report(tmp_path, FIRST, LAST)
    assert (report["from"], report["to"], report["days"]) == ("2015-05-17", "2015-05-20", 4)
    assert (report["requests"], report["visitors"], report["bytes"]) == (6, 8, 4000)
    assert report["lines"] == {"read": 48, "good": 44, "bad": 4, "duplicates": 4}
    assert report["humans"] == {"requests": 4, "visitors": 4, "bytes": 6}
    assert report["by_status"] == {"-": 4, "200": 6}
    assert report["by_hour"]["12"] == 40
    assert list(report["by_hour"]) == [f"{hour:02}" for hour in range(24)]
    assert report["visits"]["all"] == {"visits": 8, "pages": 16, "bounced": 4, "seconds": 240}
    assert [day["requests"] for day in report["by_day"]] == [0, 1, 2, 3]
    assert report["provenance"]["days"][0] == {
        "day": "2015-05-17", "run": "run of 2015-05-17", "source": "kafka",
        "summarised_at": "2026-01-01T00:00:00+00:00",
    }  # fmt: skip


def test_times_are_averaged_over_all_hits_and_maxima_over_the_days(tmp_path):
    slow = {"timed": 1, "seconds_sum": 8.0, "seconds_p95": 8.0, "seconds_max": 8.0}
    fast = {"timed": 3, "seconds_sum": 4.0, "seconds_p95": 1.5, "seconds_max": 2.0}
    write_day(tmp_path, DAYS[0], [build_panel_row(**slow), build_panel_row(value="/untimed")])
    write_day(tmp_path, DAYS[1], [build_panel_row(**fast)])
    timed, untimed = build_range_report(tmp_path, FIRST, LAST)["panels"]["endpoints"]
    names = ("seconds_average", "seconds_p95", "seconds_max")
    assert [timed[name] for name in names] == [3.0, 8.0, 8.0]
    assert [untimed[name] for name in names] == [None, None, None]


def test_the_referrer_comes_from_the_day_with_most_hits_that_has_one(tmp_path):
    for day, hits, referrer in zip(DAYS, (9, 10, 11, 2), ("z", "most", None, "y"), strict=True):
        write_day(tmp_path, day, [build_panel_row("not_found", hits=hits, referrer=referrer)])
    (row,) = build_range_report(tmp_path, FIRST, LAST)["panels"]["not_found"]
    assert (row["hits"], row["referrer"]) == (32, "most")


def test_a_panel_keeps_its_top_1000_rows_and_counts_all(tmp_path):
    for day in DAYS[:2]:
        write_day(
            tmp_path, day, [build_panel_row("hosts", f"{day}-{n}", 1 + n % 7) for n in range(800)]
        )
    report = build_range_report(tmp_path, FIRST, LAST)
    hits = [row["hits"] for row in report["panels"]["hosts"]]
    assert (len(hits), report["panel_rows"]["hosts"]) == (1000, 1600)
    assert hits == sorted(hits, reverse=True)
    assert report["panels"]["cities"] == []
    assert report["panel_rows"]["cities"] == 0


def test_a_visitor_who_returns_every_day_is_one_distinct_visitor(tmp_path):
    returning = [f"faithful {n}" for n in range(5000)]
    for day in DAYS:
        new = [f"{day} {n}" for n in range(3000)]
        write_day(tmp_path, day, visitor_names=[*returning, *new], humans_names=returning)
    distinct = build_range_report(tmp_path, FIRST, LAST)["distinct"]
    assert distinct["error"] == 0.033
    assert distinct["visitors"] == pytest.approx(17_000, rel=distinct["error"])
    assert distinct["humans"] == pytest.approx(5000, rel=distinct["error"])


def test_a_day_without_visitors_has_zero_distinct_visitors(tmp_path):
    write_day(tmp_path, DAYS[0], visitor_names=(), humans_names=())
    assert build_range_report(tmp_path, FIRST, FIRST)["distinct"]["visitors"] == 0


def test_days_without_a_summary_are_missing_and_empty_days_are_not(tmp_path):
    write_day(tmp_path, DAYS[1], requests=0)
    write_day(tmp_path, DAYS[3], source="files", time_zone="Europe/Paris")
    report = build_range_report(tmp_path, FIRST, LAST)
    assert report["missing"] == [DAYS[0], DAYS[2]]
    assert (report["days"], report["source"]) == (2, "both")
    assert report["time_zone"] == "Europe/Paris"


def test_a_year_is_added_up(tmp_path):
    first = date(2015, 1, 1)
    for n in range(365):
        day = (first + timedelta(days=n)).isoformat()
        write_day(
            tmp_path, day, [build_panel_row("hours", "12", 10), build_panel_row("hosts", day, 10)]
        )
    report = build_range_report(tmp_path, first, date(2015, 12, 31))
    assert (report["days"], report["requests"], report["missing"]) == (365, 3650, [])
    assert report["panels"]["hours"][0]["hits"] == 3650
    assert report["panel_rows"]["hosts"] == 365


def test_the_previous_range_counts_only_days_that_can_be_added_up(tmp_path):
    for day in (*DAYS, "2015-05-13", "2015-05-15"):
        write_day(tmp_path, day)
    write_day(tmp_path, "2015-05-14", schema_version=1)
    write_day(tmp_path, "2015-05-16", filter={"path": "/a"})
    write_day(tmp_path, "2015-05-12")
    assert build_range_report(tmp_path, FIRST, LAST)["before"] == {
        "from": "2015-05-13", "to": "2015-05-16", "days": 2, "requests": 20, "visitors": 4,
        "unsuccessful": 4, "bytes": 2000,
    }  # fmt: skip
    alone = date.fromisoformat("2015-05-12")
    assert build_range_report(tmp_path, alone, alone)["before"] is None


def test_bots_and_attacks_are_merged_and_bursts_are_listed(tmp_path):
    burst = {"from": "2015-05-18T10:00:00Z", "to": "2015-05-18T10:05:00Z", "requests": 30,
             "endpoint": "/a"}  # fmt: skip
    write_day(tmp_path, DAYS[0], bots=[build_bot(), build_bot(user_agent=None, hits=9)],
              incidents={"bursts": [], "attacks": [build_attack()]})  # fmt: skip
    write_day(tmp_path, DAYS[1], bots=[build_bot(reasons=["it says so", "it is fast"])],
              incidents={"bursts": [burst],
                         "attacks": [build_attack(), build_attack(kind="probe", hits=9)]})  # fmt: skip
    report = build_range_report(tmp_path, FIRST, LAST)
    merged, single = report["bots"]
    assert (merged["hits"], merged["bytes"]) == (10, 1000)
    assert merged["reasons"] == ["it says so", "it is fast"]
    assert (single["user_agent"], single["hits"]) == (None, 9)
    assert report["incidents"]["bursts"] == [burst]
    assert [(attack["kind"], attack["hits"], attack["answered"])
            for attack in report["incidents"]["attacks"]] == [
        ("probe", 9, 1), ("path traversal", 6, 2)
    ]  # fmt: skip


def test_a_range_without_any_summary_is_refused_with_the_remedy(tmp_path):
    with pytest.raises(
        UnusableSummary, match="no day from 2015-05-17 to 2015-05-20.*run analyse_acc"
    ):
        build_range_report(tmp_path, FIRST, LAST)


@pytest.mark.parametrize(
    "changed", [{"filter": {"path": "/a"}}, {"dataset": "clickstream"}], ids=["filter", "dataset"]
)
def test_days_with_different_filters_or_datasets_are_not_added_up(tmp_path, changed):
    write_day(tmp_path, DAYS[0], **changed)
    write_day(tmp_path, DAYS[1])
    with pytest.raises(UnusableSummary, match="2015-05-17 has .* not added up; choose days of the"):
        build_range_report(tmp_path, FIRST, LAST)


def cut(path):
    path.write_bytes(path.read_bytes()[:-20])


def flip(path):
    data = bytearray(path.read_bytes())
    position = data.index(b"a-long-value") + 5
    data[position] ^= 1
    path.write_bytes(data)


def drop_column(path):
    table = parquet.read_table(path)
    parquet.write_table(table.drop_columns("timed"), path)


@pytest.mark.parametrize("damage", [cut, flip, drop_column, Path.unlink])
def test_damaged_panels_are_named_with_the_remedy(tmp_path, damage):
    write_day(tmp_path, DAYS[0], [build_panel_row("hosts", "a-long-value-1")])
    path = tmp_path / DAYS[0] / "panels.parquet"
    damage(path)
    with pytest.raises(UnusableSummary, match="run analyse_access_log") as error:
        build_range_report(tmp_path, FIRST, FIRST)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_a_summary_of_another_version_or_run_is_refused(tmp_path):
    write_day(tmp_path, DAYS[0], schema_version=1)
    with pytest.raises(UnusableSummary, match="2015-05-17/summary.json has schema_version 1"):
        build_range_report(tmp_path, FIRST, FIRST)
    write_day(tmp_path, DAYS[0])
    old_summary = (tmp_path / DAYS[0] / "summary.json").read_text()
    write_day(tmp_path, DAYS[0], requests=11)
    (tmp_path / DAYS[0] / "summary.json").write_text(old_summary)
    with pytest.raises(UnusableSummary, match="has 11 requests, summary.json beside it 10; wait"):
        build_range_report(tmp_path, FIRST, FIRST)


@pytest.mark.parametrize("sketch", ["AAAA", "?", "", build_sketch(["x"] * 9)[:8]])
def test_a_damaged_sketch_is_named(tmp_path, sketch):
    write_day(tmp_path, DAYS[0], distinct={"visitors": sketch, "humans": None})
    with pytest.raises(UnusableSummary, match="distinct.visitors of 2015-05-17 is damaged"):
        build_range_report(tmp_path, FIRST, FIRST)


def test_more_text_than_pyarrow_can_group_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(panel_sums, "MAX_KEY_BYTES", 100)
    write_day(tmp_path, DAYS[0], [build_panel_row("hosts", "x" * 101)])
    with pytest.raises(UnusableSummary, match="'hosts' do not fit .* choose fewer days"):
        build_range_report(tmp_path, FIRST, FIRST)


def test_a_value_that_is_not_utf_8_is_still_shown():
    rows = [build_panel_row("requests", b"/caf\xe9", 1, method=b"GET")]
    table = pa.Table.from_pylist([row | {"panel": b"requests"} for row in rows], panel_sums._SCHEMA)
    ((row,), _) = panel_sums.sum_panels([table])["requests"]
    assert row["value"] == "/caf\ufffd"


@pytest.mark.parametrize(
    ("first", "last", "message"),
    [
        (LAST, FIRST, "swap"),
        (FIRST, FIRST + timedelta(days=MAX_RANGE_DAYS), "choose at most 3,660"),
    ],
)
def test_an_invalid_range_is_refused(tmp_path, first, last, message):
    with pytest.raises(ValueError, match=message):
        build_range_report(tmp_path, first, last)


def test_the_first_possible_date_has_no_previous_range(tmp_path):
    write_day(tmp_path, "0001-01-01")
    assert build_range_report(tmp_path, date.min, date.min)["before"] is None


@pytest.mark.parametrize(
    ("days", "periods"),
    [
        (["2015-05-17", "2015-05-18"], [
            ("2015-W20", "2015-05-11", "2015-05-17"), ("2015-W21", "2015-05-18", "2015-05-24"),
            ("2015-05", "2015-05-01", "2015-05-31"), ("2015", "2015-01-01", "2015-12-31")]),
        (["2026-01-04", "2025-12-29"], [
            ("2026-W01", "2025-12-29", "2026-01-04"), ("2025-12", "2025-12-01", "2025-12-31"),
            ("2026-01", "2026-01-01", "2026-01-31"), ("2025", "2025-01-01", "2025-12-31"),
            ("2026", "2026-01-01", "2026-12-31")]),
        (["2021-01-03", "2024-02-29"], [
            ("2020-W53", "2020-12-28", "2021-01-03"), ("2024-W09", "2024-02-26", "2024-03-03"),
            ("2021-01", "2021-01-01", "2021-01-31"), ("2024-02", "2024-02-01", "2024-02-29"),
            ("2021", "2021-01-01", "2021-12-31"), ("2024", "2024-01-01", "2024-12-31")]),
        ([], []),
    ],
)  # fmt: skip
def test_the_weeks_months_and_years_of_days_are_listed(days, periods):
    listed = [
        (name, first.isoformat(), last.isoformat()) for name, first, last in list_periods(days)
    ]
    assert listed == periods


@given(st.dates(date(1970, 1, 1), date(2100, 1, 1)))
def test_every_day_lies_in_its_week_month_and_year(day):
    week, month, year = list_periods([day.isoformat()])
    assert all(first <= day <= last for _, first, last in (week, month, year))
    assert (week[1].weekday(), (week[2] - week[1]).days) == (0, 6)
    assert (month[2] + timedelta(days=1)).day == 1
    assert (year[2] + timedelta(days=1)).year == day.year + 1


def test_the_files_of_a_range_contain_its_numbers(tmp_path):
    for day in DAYS:
        write_day(
            tmp_path,
            day,
            [build_panel_row("hosts", "=1+1", method="GET"), build_panel_row("hosts", "b")],
        )
    report = build_range_report(tmp_path, FIRST, LAST)
    folder = write_range(report, tmp_path / "reports" / "2015-W21").parent
    assert json.loads((folder / "report.json").read_text()) == report
    first, second = csv.DictReader((folder / "hosts.csv").open())
    assert (first["value"], first["hits"], first["method"]) == ("'=1+1", "12", "GET")
    assert (second["value"], second["method"]) == ("b", "")
    by_day = list(csv.DictReader((folder / "by_day.csv").open()))
    assert [row["day"] for row in by_day] == DAYS

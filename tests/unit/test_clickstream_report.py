"""The clickstream page: rates, the previous hour, and hostile campaign names."""

import csv
import json
import re

import pytest

from include.contracts import CLICKSTREAM_SCHEMA_VERSION
from include.reporting import formatting
from include.reporting.clickstream import write_clickstream_report
from include.reporting.report import UnusableSummary, read_summary
from tests.unit.test_report import HOSTILE, Page


def counts(impressions=0, clicks=0, events=0, **labels):
    return labels | {"impressions": impressions, "clicks": clicks, "events": events}


def build_clickstream_summary(campaign="spring", **changed):
    minutes = [counts(n, n // 5, 1, minute=f"2026-01-15T12:{n:02}:00+00:00") for n in range(60)]
    hours = [counts(100 * n, n, 10, hour=f"2026-01-15T{n:02}:00:00+00:00") for n in range(24)]
    return {
        "schema_version": 2, "dataset": "clickstream", "source": "kafka", "time_zone": "UTC",
        "hours": 24, "bad_lines": [{"bad_reason": "no_event", "lines": 2, "samples": [campaign]}],
        "from": "2026-01-14T13:00:00+00:00", "to": "2026-01-15T13:00:00+00:00",
        **counts(27600, 276, 240), "last_hour": counts(1770, 330, 60),
        "hour_before": counts(1500, 330, 60), "by_minute": minutes, "by_hour": hours,
        "by_campaign": [counts(27000, 270, 230, campaign=campaign), counts(600, 6, 10, campaign=None)],
        "campaigns": 2, "lines": {"read": 242, "good": 240, "bad": 2, "duplicates": 0},
        "provenance": {"job": "j", "run": campaign, "landing": "/l", "spark_version": "4.2.0",
                       "seconds": 1.0, "summarised_at": "2026-01-16T00:01:00Z"},
    } | changed  # fmt: skip


def test_the_page_compares_the_last_hour_with_the_previous_one(tmp_path):
    page = write_clickstream_report(build_clickstream_summary(), tmp_path / "clickstream")
    text = " ".join(" ".join(Page(page.read_text()).texts).split())
    assert "1,770 1,500 in the hour before, 18 % more" in text
    assert "330 330 in the hour before, the same" in text
    assert "19 % 22 % in the hour before" in text
    assert "no campaign" in text
    assert "242 landed since the beginning = 240 good + 2 bad" in text
    assert page.stat().st_size < 100_000


def test_every_fifth_minute_and_every_hour_is_labelled(tmp_path):
    page = write_clickstream_report(build_clickstream_summary(), tmp_path / "clickstream")
    charts = re.findall(r"<svg.*?</svg>", page.read_text(), re.S)
    labels = [
        [text for text in re.findall(r">([^<>]*)</text></g>", chart) if text] for chart in charts
    ]
    assert labels == [[f"12:{n:02}" for n in range(0, 60, 5)], [f"{n:02}" for n in range(24)]]


def test_numbers_and_rates_are_in_the_json_and_the_csv_files(tmp_path):
    page = write_clickstream_report(build_clickstream_summary(), tmp_path / "clickstream")
    report = json.loads((page.parent / "report.json").read_text())
    assert report["click_through_rate"] == 0.01
    assert report["by_hour"][0]["click_through_rate"] is None
    assert report["by_campaign"][0] == counts(
        27000, 270, 230, campaign="spring", click_through_rate=0.01
    )
    with (page.parent / "by_minute.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert sum(int(row["impressions"]) for row in rows) == 1770


@pytest.mark.parametrize("text", HOSTILE)
def test_a_hostile_campaign_name_never_becomes_markup(tmp_path, text):
    plain = write_clickstream_report(build_clickstream_summary(), tmp_path / "plain").read_text()
    page = write_clickstream_report(build_clickstream_summary(text), tmp_path / "hostile")
    assert Page(page.read_text(errors="replace")).tags == Page(plain).tags
    with (page.parent / "by_campaign.csv").open(errors="replace", newline="") as file:
        cell = list(csv.reader(file))[1][0]
    assert cell[:1] not in "=+-@"


def test_the_page_says_when_there_are_no_events(tmp_path):
    empty = build_clickstream_summary(
        **counts(), last_hour=counts(), hour_before=counts(), by_minute=[], by_hour=[],
        by_campaign=[], campaigns=0, bad_lines=[], to=None,
        lines={"read": 0, "good": 0, "bad": 0, "duplicates": 0}, **{"from": None},
    )  # fmt: skip
    page = write_clickstream_report(empty, tmp_path / "clickstream").read_text()
    assert "0 events have been landed, and none of them could be read" in page


@pytest.mark.parametrize(
    ("current", "previous", "expected"),
    [(0, 0, ""), (5, 0, ""), (5, 5, "the same"), (0, 5, "100 % less"), (15, 5, "200 % more"),
     (1001, 1000, "0.1 % more")],
)  # fmt: skip
def test_a_change_is_written_in_words(current, previous, expected):
    assert formatting.format_change(current, previous) == expected


def test_the_clickstream_summary_has_its_own_schema_version(tmp_path):
    path = tmp_path / "summary.json"
    path.write_text(
        json.dumps(build_clickstream_summary(schema_version=CLICKSTREAM_SCHEMA_VERSION))
    )
    summary = read_summary(path, "analyse_clickstream", CLICKSTREAM_SCHEMA_VERSION)
    assert summary["dataset"] == "clickstream"
    with pytest.raises(
        UnusableSummary, match="schema_version 2, expected 3; run `make resummarise`"
    ):
        read_summary(path, "analyse_clickstream", CLICKSTREAM_SCHEMA_VERSION + 1)

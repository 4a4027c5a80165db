"""The clickstream's page from its summary: rates, the hour before, and hostile campaigns."""

import csv
import json

import pytest

from include.contracts import CLICKSTREAM_SCHEMA_VERSION
from include.reporting import formatting
from include.reporting.clickstream import write_clickstream_report
from include.reporting.report import UnusableSummary, read_summary
from tests.unit.test_report import HOSTILE, Page


def counts(impressions=0, clicks=0, events=0, **about):
    return about | {"impressions": impressions, "clicks": clicks, "events": events}


def a_summary(campaign="spring", **changed):
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


def test_the_page_gives_the_last_hour_against_the_one_before(tmp_path):
    page = write_clickstream_report(a_summary(), tmp_path / "clickstream")
    text = " ".join(" ".join(Page(page.read_text()).texts).split())
    assert "1,770 1,500 in the hour before, 18 % more" in text
    assert "330 330 in the hour before, the same" in text
    assert "19 % 22 % in the hour before" in text
    assert "no campaign" in text
    assert "242 landed since the beginning = 240 good + 2 bad" in text
    assert page.stat().st_size < 100_000


def test_every_number_and_its_rate_is_in_the_json_and_the_csvs(tmp_path):
    page = write_clickstream_report(a_summary(), tmp_path / "clickstream")
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
def test_a_hostile_campaign_never_becomes_markup(tmp_path, text):
    plain = write_clickstream_report(a_summary(), tmp_path / "plain").read_text()
    page = write_clickstream_report(a_summary(text), tmp_path / "hostile")
    assert Page(page.read_text(errors="replace")).tags == Page(plain).tags
    with (page.parent / "by_campaign.csv").open(errors="replace", newline="") as file:
        cell = list(csv.reader(file))[1][0]
    assert cell[:1] not in "=+-@"


def test_a_clickstream_without_events_makes_a_page_that_says_so(tmp_path):
    nothing = a_summary(
        **counts(), last_hour=counts(), hour_before=counts(), by_minute=[], by_hour=[],
        by_campaign=[], campaigns=0, bad_lines=[], to=None,
        lines={"read": 0, "good": 0, "bad": 0, "duplicates": 0}, **{"from": None},
    )  # fmt: skip
    page = write_clickstream_report(nothing, tmp_path / "clickstream").read_text()
    assert "0 events have been landed, and none of them could be read" in page


@pytest.mark.parametrize(
    ("now", "before", "says"),
    [(0, 0, ""), (5, 0, ""), (5, 5, "the same"), (0, 5, "100 % less"), (15, 5, "200 % more"),
     (1001, 1000, "0.1 % more")],
)  # fmt: skip
def test_a_change_is_said_in_words(now, before, says):
    assert formatting.format_change(now, before) == says


def test_its_summary_has_a_version_of_its_own(tmp_path):
    path = tmp_path / "summary.json"
    path.write_text(json.dumps(a_summary(schema_version=CLICKSTREAM_SCHEMA_VERSION)))
    found = read_summary(path, "analyse_clickstream", CLICKSTREAM_SCHEMA_VERSION)
    assert found["dataset"] == "clickstream"
    with pytest.raises(
        UnusableSummary, match="schema_version 2, expected 3; run `make resummarise`"
    ):
        read_summary(path, "analyse_clickstream", CLICKSTREAM_SCHEMA_VERSION + 1)

"""Compares the clickstream's summary with the sent events, counted in plain Python."""

import json
from collections import Counter
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from producers.clickstream.events import BAD_MESSAGES, encode_rows, generate_events

SENT_EVENTS = list(generate_events(2000, 3, campaigns=4))  # about 100 minutes
END_OF_LAST_MINUTE = SENT_EVENTS[-1]["ts"] // 60 * 60 + 60


@pytest.fixture
def summarise(job, tmp_path):
    def run_jobs(*flags, files):
        (tmp_path / "in").mkdir()
        for number, messages in enumerate(files):
            (tmp_path / "in" / f"{number}.json").write_bytes(b"\n".join(messages) + b"\n")
        data = tmp_path / "landing" / "data"
        code, output = job("land_clickstream", "--source", f"text:{tmp_path / 'in'}", "--sink",
                           f"parquet:{data}")  # fmt: skip
        assert code == 0, output
        code, output = job("summarise_clickstream", "--source", f"parquet:{data}", "--sink",
                           f"summary:{tmp_path / 'out'}", *flags)  # fmt: skip
        assert code == 0, output
        return json.loads((tmp_path / "out" / "summary.json").read_text())

    return run_jobs


def sum_field(events, field):
    return sum(event[field] for event in events)


def test_the_summary_matches_the_sent_events_and_duplicates_count_once(summarise):
    summary = summarise(
        files=[encode_rows(SENT_EVENTS), encode_rows(SENT_EVENTS[:100]), BAD_MESSAGES]
    )
    assert summary["lines"] == {"read": 2104, "good": 2100, "bad": 4, "duplicates": 100}
    assert (summary["impressions"], summary["clicks"], summary["events"]) == (
        sum_field(SENT_EVENTS, "Impressions"), sum_field(SENT_EVENTS, "Clicks"), 2000,
    )  # fmt: skip
    last = [event for event in SENT_EVENTS if event["ts"] >= END_OF_LAST_MINUTE - 3600]
    before = [
        event
        for event in SENT_EVENTS
        if END_OF_LAST_MINUTE - 7200 <= event["ts"] < END_OF_LAST_MINUTE - 3600
    ]
    for name, part in (("last_hour", last), ("hour_before", before)):
        assert summary[name] == {"impressions": sum_field(part, "Impressions"),
                                 "clicks": sum_field(part, "Clicks"), "events": len(part)}  # fmt: skip
    minutes = Counter()
    for event in last:
        minute = datetime.fromtimestamp(event["ts"] // 60 * 60, UTC).isoformat()
        minutes[minute] += event["Impressions"]
    assert {row["minute"]: row["impressions"] for row in summary["by_minute"]} == dict(minutes)
    assert len(summary["by_minute"]) == 60
    campaigns = Counter()
    for event in SENT_EVENTS:
        campaigns[event["campaign"]] += event["Impressions"]
    assert {r["campaign"]: r["impressions"] for r in summary["by_campaign"]} == dict(campaigns)
    assert [r["impressions"] for r in summary["by_campaign"]] == sorted(campaigns.values())[::-1]
    assert {row["bad_reason"]: row["lines"] for row in summary["bad_lines"]} == {
        "no_event": 3, "far_future": 1,
    }  # fmt: skip
    assert sum(row["impressions"] for row in summary["by_hour"]) == summary["impressions"]


def test_hours_are_in_the_given_time_zone(summarise):
    summary = summarise(
        "--time-zone", "Asia/Kolkata", "--hours", 3, files=[encode_rows(SENT_EVENTS)]
    )
    hours = Counter()
    for event in SENT_EVENTS:
        moment = datetime.fromtimestamp(event["ts"], ZoneInfo("Asia/Kolkata"))
        hours[moment.strftime("%Y-%m-%dT%H:00:00+05:30")] += event["Impressions"]
    shown = {row["hour"]: row["impressions"] for row in summary["by_hour"] if row["impressions"]}
    assert shown == dict(hours)
    assert summary["to"].endswith("+05:30")


def test_without_landed_data_the_summary_has_zeros(job, tmp_path):
    code, output = job("summarise_clickstream", "--source", f"parquet:{tmp_path / 'l' / 'data'}",
                       "--sink", f"summary:{tmp_path / 'out'}")  # fmt: skip
    assert code == 0, output
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert (summary["events"], summary["to"], summary["by_minute"]) == (0, None, [])
    assert summary["lines"] == {"read": 0, "good": 0, "bad": 0, "duplicates": 0}


def test_events_without_an_id_are_never_duplicates(summarise):
    plain = list(generate_events(50, 1))
    summary = summarise(files=[encode_rows(plain), encode_rows(plain)])
    assert summary["events"] == 100
    assert summary["lines"]["duplicates"] == 0
    assert [row["campaign"] for row in summary["by_campaign"]] == [None]

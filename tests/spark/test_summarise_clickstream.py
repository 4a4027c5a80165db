"""The clickstream's summary against the events that were sent, counted in plain Python."""

import json
from collections import Counter
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from producers.clickstream.events import BAD_MESSAGES, encode_rows, generate_events

SENT = list(generate_events(2000, 3, campaigns=4))  # about 100 minutes
NEWEST = SENT[-1]["ts"] // 60 * 60 + 60


@pytest.fixture
def summarised(job, tmp_path):
    def run(*flags, files):
        (tmp_path / "in").mkdir()
        for number, messages in enumerate(files):
            (tmp_path / "in" / f"{number}.json").write_bytes(b"\n".join(messages) + b"\n")
        data = tmp_path / "landing" / "data"
        code, said = job("land_clickstream", "--source", f"text:{tmp_path / 'in'}", "--sink",
                         f"parquet:{data}")  # fmt: skip
        assert code == 0, said
        code, said = job("summarise_clickstream", "--source", f"parquet:{data}", "--sink",
                         f"summary:{tmp_path / 'out'}", *flags)  # fmt: skip
        assert code == 0, said
        return json.loads((tmp_path / "out" / "summary.json").read_text())

    return run


def total(found, name):
    return sum(event[name] for event in found)


def test_every_number_is_that_of_the_events_sent_and_repeats_count_once(summarised):
    found = summarised(files=[encode_rows(SENT), encode_rows(SENT[:100]), BAD_MESSAGES])
    assert found["lines"] == {"read": 2104, "good": 2100, "bad": 4, "duplicates": 100}
    assert (found["impressions"], found["clicks"], found["events"]) == (
        total(SENT, "Impressions"), total(SENT, "Clicks"), 2000,
    )  # fmt: skip
    last = [event for event in SENT if event["ts"] >= NEWEST - 3600]
    before = [event for event in SENT if NEWEST - 7200 <= event["ts"] < NEWEST - 3600]
    for name, part in (("last_hour", last), ("hour_before", before)):
        assert found[name] == {"impressions": total(part, "Impressions"),
                               "clicks": total(part, "Clicks"), "events": len(part)}  # fmt: skip
    minutes = Counter()
    for event in last:
        minute = datetime.fromtimestamp(event["ts"] // 60 * 60, UTC).isoformat()
        minutes[minute] += event["Impressions"]
    assert {row["minute"]: row["impressions"] for row in found["by_minute"]} == dict(minutes)
    assert len(found["by_minute"]) == 60
    campaigns = Counter()
    for event in SENT:
        campaigns[event["campaign"]] += event["Impressions"]
    assert {r["campaign"]: r["impressions"] for r in found["by_campaign"]} == dict(campaigns)
    assert [r["impressions"] for r in found["by_campaign"]] == sorted(campaigns.values())[::-1]
    assert {row["bad_reason"]: row["lines"] for row in found["bad_lines"]} == {
        "no_event": 3, "far_future": 1,
    }  # fmt: skip
    assert sum(row["impressions"] for row in found["by_hour"]) == found["impressions"]


def test_hours_are_those_of_the_zone(summarised):
    found = summarised("--time-zone", "Asia/Kolkata", "--hours", 3, files=[encode_rows(SENT)])
    hours = Counter()
    for event in SENT:
        moment = datetime.fromtimestamp(event["ts"], ZoneInfo("Asia/Kolkata"))
        hours[moment.strftime("%Y-%m-%dT%H:00:00+05:30")] += event["Impressions"]
    shown = {row["hour"]: row["impressions"] for row in found["by_hour"] if row["impressions"]}
    assert shown == dict(hours)
    assert found["to"].endswith("+05:30")


def test_nothing_landed_makes_a_summary_that_says_so(job, tmp_path):
    code, said = job("summarise_clickstream", "--source", f"parquet:{tmp_path / 'l' / 'data'}",
                     "--sink", f"summary:{tmp_path / 'out'}")  # fmt: skip
    assert code == 0, said
    found = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert (found["events"], found["to"], found["by_minute"]) == (0, None, [])
    assert found["lines"] == {"read": 0, "good": 0, "bad": 0, "duplicates": 0}


def test_events_without_an_id_are_counted_as_sent(summarised):
    plain = list(generate_events(50, 1))
    found = summarised(files=[encode_rows(plain), encode_rows(plain)])
    assert found["events"] == 100
    assert found["lines"]["duplicates"] == 0
    assert [row["campaign"] for row in found["by_campaign"]] == [None]

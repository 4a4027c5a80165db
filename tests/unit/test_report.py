"""The page, its JSON and its CSVs, from a summary alone; log lines are hostile input."""

import csv
import json
from html.parser import HTMLParser

import pytest

from include.reporting import charts, figures
from include.reporting.alive import heartbeat_says, hours_of, silence_says
from include.reporting.report import (
    SummaryError,
    read_summary,
    report_of,
    write_index,
    write_report,
)

HOSTILE = [
    "<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "javascript:alert(1)",
    "=cmd|' /C calc'!A0", "+1", "-1+1", "@SUM(A1)", "\x1b[2J", "\u202egpj.exe", "{{ 7*7 }}",
    "\0", "'; DROP TABLE", "</style><script>", "x" * 100_000, "&lt;b&gt;", "\ud800",
]  # fmt: skip


def a_summary(value="/a", **changed):
    row = {"value": value, "hits": 3, "visitors": 2, "bytes": 1536}
    names = ("status", "hours", "methods", "endpoints", "hosts", "referrers", "user_agents")
    panels = {name: {"total": 1, "rows": [dict(row)]} for name in names}
    return {
        "schema_version": 2, "dataset": "access_log", "day": "2026-01-15", "time_zone": "UTC",
        "source": "kafka", "lines": {"read": 5, "good": 4, "bad": 1, "repeated": 1},
        "requests": 3, "unsuccessful": 1, "visitors": 2, "bytes": 1536,
        "first_request": "2026-01-15T00:00:01Z", "last_request": "2026-01-15T23:59:59Z",
        "by_status": {"200": 2, "404": 1}, "by_hour": {f"{h:02}": h for h in range(24)},
        "panels": panels,
        "unsuccessful_requests": [{
            "event_date": "2026-01-15", "timestamp": "2026-01-15T10:00:00Z", "query": value,
            "status": 404, "method": value, "endpoint": value, "host": value, "referrer": value,
            "user_agent": value, "bytes": 1,
        }],
        "bad_lines": [{"bad_reason": "no_match", "lines": 1, "samples": [value]}],
        "provenance": {"job": "j", "run": value, "landing": "/l", "through_batch": 1,
                       "spark_version": "4.2.0", "seconds": 1.0, "summarised_at": "now"},
    } | changed  # fmt: skip


class Page(HTMLParser):
    """Collects the tags, attributes and text of a page."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.attributes, self.texts = [], [], []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data):
        self.texts.append(data)


def test_a_report_is_a_page_its_numbers_and_a_csv_for_each_panel(tmp_path):
    page = write_report(a_summary(), tmp_path)
    assert page == tmp_path / "2026-01-15" / "index.html"
    names = {file.name for file in page.parent.iterdir()}
    assert {"index.html", "report.json", "endpoints.csv", "unsuccessful_requests.csv"} <= names
    report = json.loads((page.parent / "report.json").read_text())
    for name in ("schema_version", "day", "source", "lines", "requests", "unsuccessful", "visitors",
                 "bytes", "by_status", "by_hour", "panels", "provenance"):  # fmt: skip
        assert name in report
    assert report["panels"]["hosts"] == [{"value": "/a", "hits": 3, "visitors": 2, "bytes": 1536}]
    assert list(tmp_path.glob(".*")) == []


@pytest.mark.parametrize("value", HOSTILE, ids=lambda text: repr(text[:20]))
def test_nothing_from_a_log_becomes_markup(tmp_path, value):
    page = write_report(a_summary(value), tmp_path)
    clean = Page(write_report(a_summary("plain"), tmp_path / "clean").read_text())
    html = page.read_text(encoding="utf-8")
    found = Page(html)
    assert found.tags == clean.tags
    assert {name for name, _ in found.attributes} == {name for name, _ in clean.attributes}
    assert "script" not in found.tags
    assert not [name for name, _ in found.attributes if name.startswith("on")]
    assert not any(value and "javascript:" in value for _, value in found.attributes)
    assert not set(html) & {"\0", "\x1b", "\u202e"}
    assert len(html) < 300_000


@pytest.mark.parametrize("value", [text for text in HOSTILE if text[0] in "=+-@"])
def test_no_cell_of_a_csv_is_a_formula(tmp_path, value):
    page = write_report(a_summary(value), tmp_path)
    for file in page.parent.glob("*.csv"):
        for row in csv.reader(file.open()):
            assert not [cell for cell in row if cell[:1] in ("=", "+", "-", "@", "\t", "\r")]


def test_the_page_asks_for_nothing_and_runs_nothing(tmp_path):
    html = write_report(a_summary(), tmp_path).read_text()
    page = Page(html)
    assert not {"script", "link", "iframe", "object", "img"} & set(page.tags)
    links = [value for name, value in page.attributes if name in ("href", "src")]
    assert links
    assert all(not link.startswith(("http", "//")) for link in links)
    assert "default-src 'none'" in html


def test_every_number_of_the_head_is_on_the_page(tmp_path):
    summary = a_summary(requests=1234567, visitors=89012, bytes=2_747_282_740, unsuccessful=4321)
    text = " ".join(Page(write_report(summary, tmp_path).read_text()).texts)
    for number in ("1,234,567", "89,012", "2.75 GB", "2,747,282,740", "4,321"):
        assert number in text


def an_empty_day(heartbeat, **changed):
    panels = {name: {"total": 0, "rows": []} for name in a_summary()["panels"]}
    return a_summary(
        requests=0, visitors=0, unsuccessful=0, bytes=0, panels=panels, by_status={},
        by_hour={f"{h:02}": 0 for h in range(24)}, first_request=None, last_request=None,
        lines={"read": 0, "good": 0, "bad": 0, "repeated": 0}, unsuccessful_requests=[], bad_lines=[],
        provenance=a_summary()["provenance"] | {"heartbeat": heartbeat, "lost": []}, **changed,
    )  # fmt: skip


def gap(begin, end):
    return {"from": f"2026-01-{begin}Z", "to": f"2026-01-{end}Z"}


ALIVE = {"minutes": 1440, "of": 1440, "gaps": []}
SILENT = {"minutes": 1000, "of": 1440, "gaps": [gap("15T03:10:00", "15T05:00:00"),
                                                gap("15T22:00:00", "16T00:00:00")]}  # fmt: skip


@pytest.mark.parametrize(
    ("heartbeat", "says"),
    [(ALIVE, "The producer was alive: a heartbeat in 1,440 of 1,440 minutes."),
     (SILENT, "The producer was silent from 03:10 to 05:00 and from 22:00 to 24:00: a heartbeat in "
              "1,000 of 1,440 minutes."),
     (None, "No heartbeat came on this day: nothing is known about it.")],
)  # fmt: skip
def test_an_empty_day_says_so_and_whether_the_producer_was_alive(tmp_path, heartbeat, says):
    page = write_report(an_empty_day(heartbeat), tmp_path).read_text()
    assert "No requests on this day." in page
    assert says in page


def test_a_report_does_not_depend_on_heartbeats_but_for_its_provenance(tmp_path):
    def told(name, heartbeat):
        page = write_report(an_empty_day(heartbeat), tmp_path / name)
        report = json.loads((page.parent / "report.json").read_text())
        return {key: value for key, value in report.items() if key != "provenance"}

    assert told("alive", ALIVE) == told("unknown", None)


@pytest.mark.parametrize(
    ("heartbeat", "says"),
    [(ALIVE, "from 03:00 to 06:00: no request came, and the producer was alive"),
     (SILENT, "from 03:00 to 06:00: no request came, and the producer was silent from 03:10 to 05:00"),
     (None, "")],
)  # fmt: skip
def test_hours_without_a_request_are_explained_by_the_heartbeats(heartbeat, says):
    hours = {f"{h:02}": 0 if 3 <= h < 6 else 5 for h in range(24)}
    provenance = a_summary()["provenance"] | {"heartbeat": heartbeat}
    assert silence_says(a_summary(by_hour=hours, provenance=provenance)) == says


def test_the_times_of_a_silence_are_the_sites_and_a_double_hour_is_told_apart():
    beats = {"minutes": 1400, "of": 1500, "gaps": [
        {"from": "2026-10-25T00:30:00Z", "to": "2026-10-25T01:30:00Z"}]}  # fmt: skip
    day = an_empty_day(beats, day="2026-10-25", time_zone="Europe/Paris")
    assert "silent from 02:30+0200 to 02:30+0100: a heartbeat in 1,400 of" in heartbeat_says(day)
    assert [len(hours_of(day, "Europe/Paris")) for day in
            ("2026-03-29", "2026-03-30", "2026-10-25")] == [23, 24, 25]  # fmt: skip


def test_every_check_is_on_the_page(tmp_path):
    checks = [{"name": "volume", "level": "ok", "value": 0, "says": "3 requests & more"}]
    page = write_report(a_summary(), tmp_path, checks).read_text()
    assert "volume, ok: 3 requests &amp; more" in page


def test_a_report_is_replaced_whole_and_the_same_summary_gives_the_same_bytes(tmp_path):
    first = {f.name: f.read_bytes() for f in write_report(a_summary(), tmp_path).parent.iterdir()}
    second = {f.name: f.read_bytes() for f in write_report(a_summary(), tmp_path).parent.iterdir()}
    assert first == second
    changed = write_report(a_summary(requests=4), tmp_path)
    assert json.loads((changed.parent / "report.json").read_text())["requests"] == 4


def test_the_index_lists_the_days_newest_first(tmp_path):
    for day in ("2026-01-14", "2026-01-15"):
        write_report(a_summary(day=day), tmp_path)
    page = Page(write_index(tmp_path).read_text())
    links = [value for name, value in page.attributes if name == "href"]
    assert links == ["2026-01-15/index.html", "2026-01-14/index.html"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (None, "there is no summary"),
        ("{", "is damaged"),
        ('{"schema_version": 99}', "schema_version"),
    ],
)
def test_a_summary_that_cannot_be_reported_is_named_with_the_remedy(tmp_path, text, says):
    path = tmp_path / "summary.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(SummaryError, match=says) as refused:
        read_summary(path)
    assert str(path) in str(refused.value)
    assert "analyse_access_log" in str(refused.value)


def test_every_number_of_the_summary_is_in_the_report():
    summary = a_summary()
    report = report_of(summary)
    assert report["panel_rows"]["hosts"] == 1
    assert all(report[name] == summary[name] for name in summary if name not in ("panels",))


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.00 kB"), (2_747_282_740, "2.75 GB"), (999_499, "999 kB"),
     (999_999, "1.00 MB"), (12_345, "12.3 kB"), (10**18, "1000 PB")],
)  # fmt: skip
def test_sizes_are_in_decimal_units_of_three_digits(number, text):
    assert figures.size(number) == text


@pytest.mark.parametrize(
    ("part", "whole", "text"),
    [(0, 0, "0 %"), (0, 5, "0 %"), (1, 10_000, "<0.1 %"), (1, 200, "0.5 %"), (1, 8, "12 %"),
     (5, 5, "100 %"), (9999, 10_000, ">99 %")],
)  # fmt: skip
def test_shares_are_honest_at_both_ends(part, whole, text):
    assert figures.share(part, whole) == text


def test_the_chart_marks_the_busiest_hour():
    svg = str(
        charts.bars(
            {"00": 1, "01": 5, "02": 0}, "Requests", lambda hour, hits: f"{hour}: {hits} hits"
        )
    )
    assert svg.count('class="top"') == 1
    assert "01: 5 hits" in svg
    assert 'aria-label="Requests"' in svg

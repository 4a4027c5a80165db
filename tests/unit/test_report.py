"""Report pages, JSON and CSV files from a summary; text from log lines is hostile input."""

import csv
import json
import re
from datetime import date
from html.parser import HTMLParser
from itertools import pairwise

import pytest

from include.panels import list_panel_keys, list_sections
from include.reporting import charts, formatting
from include.reporting.heartbeats import describe_heartbeat, describe_silence, list_hours
from include.reporting.page import (
    describe_range_folder,
    format_local_time,
    format_period,
    get_environment,
)
from include.reporting.report import (
    UnusableSummary,
    build_report,
    read_summary,
    render_day,
    render_range,
    write_index,
    write_range,
    write_report,
)
from tests.conftest import matrix_cases

HOSTILE = [
    "<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "javascript:alert(1)",
    "=cmd|' /C calc'!A0", "+1", "-1+1", "@SUM(A1)", "\x1b[2J", "\u202egpj.exe", "{{ 7*7 }}",
    "\0", "'; DROP TABLE", "</style><script>", "x" * 100_000, "&lt;b&gt;", "\ud800",
]  # fmt: skip


PANELS_WITH_PARENT = ("status", "browsers", "operating_systems", "bots")
PANELS_WITH_METHOD = ("requests", "static_requests", "not_found")
PANELS = ("day", *list_panel_keys())


def build_panel_row(panel, value="/a", hits=3, **changed):
    row = {"value": value, "hits": hits, "visitors": 2, "bytes": 1536, "humans_hits": hits // 2,
           "humans_visitors": 1, "humans_bytes": 512}  # fmt: skip
    if panel in PANELS_WITH_PARENT:
        row["parent"] = value
    if panel in PANELS_WITH_METHOD:
        row |= {"method": value, "protocol": value}
    if panel == "not_found":
        row["referrer"] = value
    return row | changed


def build_panel(rows):
    return {"total": len(rows), "rows": rows}


def build_summary(value="/a", **changed):
    visits = {"visits": 2, "pages": 3, "bounced": 1, "seconds": 90.0, "seconds_median": 45.0}
    return {
        "schema_version": 3, "dataset": "access_log", "day": "2026-01-15", "time_zone": "UTC",
        "source": "kafka", "filter": None,
        "lines": {"read": 5, "good": 4, "bad": 1, "duplicates": 1},
        "requests": 3, "unsuccessful": 1, "visitors": 2, "bytes": 1536,
        "first_request": "2026-01-15T00:00:01Z", "last_request": "2026-01-15T23:59:59Z",
        "humans": {"requests": 1, "visitors": 1, "bytes": 512},
        "by_status": {"200": 2, "404": 1}, "by_hour": {f"{h:02}": h for h in range(24)},
        "distinct": {"visitors": "AA==", "humans": None},
        "visits": {"all": dict(visits), "humans": dict(visits)},
        "panels": {name: build_panel([build_panel_row(name, value)]) for name in PANELS},
        "bots": [{"host": value, "user_agent": value, "class": value, "name": value, "hits": 2,
                      "bytes": 7, "reasons": [value, "asked for /robots.txt"]}],
        "incidents": {
            "bursts": [{"from": "2026-01-15T10:00:00Z", "to": "2026-01-15T10:05:00Z", "requests": 7,
                        "endpoint": value}],
            "attacks": [{"host": value, "kind": value, "hits": 9, "answered": 1, "sample": value}],
        },
        "unsuccessful_requests": [{
            "event_date": "2026-01-15", "timestamp": "2026-01-15T10:00:00Z", "query": value,
            "status": 404, "method": value, "endpoint": value, "host": value, "referrer": value,
            "user_agent": value, "bytes": 1,
        }],
        "bad_lines": [{"bad_reason": "no_match", "lines": 1, "samples": [value]}],
        "provenance": {"job": "j", "run": value, "landing": "/l", "through_batch": 1,
                       "spark_version": "4.2.0", "seconds": 1.0, "summarised_at": "2026-01-16T00:01:00Z",
                       "steps": {"read": 0.4}, "files": [{"name": value, "sha256": "ab" * 32}],
                       "kafka": {"topic": "access-log", "partitions": {"0": [5, 9]}}},
    } | changed  # fmt: skip


def build_range(value="/a", **changed):
    """The report of a range of three days, one of which is missing."""
    summary = build_summary(value)
    copied = ("lines", "requests", "unsuccessful", "visitors", "humans", "bytes", "by_status", "by_hour",
              "bots", "incidents", "filter", "source", "time_zone")  # fmt: skip
    visits = {name: {key: numbers[key] for key in numbers if key != "seconds_median"}
              for name, numbers in summary["visits"].items()}  # fmt: skip
    totals = {"requests": 2, "visitors": 1, "unsuccessful": 1, "bytes": 700}
    return {name: summary[name] for name in copied} | {
        "schema_version": 3, "dataset": "access_log", "from": "2026-01-14", "to": "2026-01-16",
        "days": 2, "missing": ["2026-01-16"],
        "distinct": {"visitors": 2, "humans": 1, "error": 0.026},
        "by_day": [totals | {"day": day, "humans_visitors": 1} for day in ("2026-01-14", "2026-01-15")],
        "panels": {name: panel["rows"] for name, panel in summary["panels"].items()},
        "panel_rows": {name: panel["total"] for name, panel in summary["panels"].items()},
        "visits": visits,
        "before": {"from": "2026-01-11", "to": "2026-01-13", "days": 3} | totals,
        "provenance": {"days": [{"day": "2026-01-14", "run": value, "summarised_at": "2026-01-16T00:01:00Z",
                                 "source": "kafka"}]},
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


def test_a_report_has_a_page_a_json_file_and_a_csv_for_each_panel(tmp_path):
    page = write_report(build_summary(), tmp_path)
    assert page == tmp_path / "2026-01-15" / "index.html"
    names = {file.name for file in page.parent.iterdir()}
    assert {"index.html", "report.json", "endpoints.csv", "unsuccessful_requests.csv"} <= names
    report = json.loads((page.parent / "report.json").read_text())
    for name in ("schema_version", "day", "source", "lines", "requests", "unsuccessful", "visitors",
                 "bytes", "by_status", "by_hour", "panels", "provenance"):  # fmt: skip
        assert name in report
    assert report["panels"]["hosts"] == [build_panel_row("hosts")]
    assert "distinct" not in report
    assert {f"{panel}.csv" for panel in PANELS} | {"bots.csv", "attacks.csv"} <= names
    assert list(tmp_path.glob(".*")) == []


def write_pages(value, tmp_path):
    """Write both kinds of pages that show text from a log: a day with a previous day, and a range."""
    before = build_summary("/before", day="2026-01-14")
    earlier = {"2026-01-14": before}
    day = write_report(build_summary(value), tmp_path / "days", earlier_summaries=earlier)
    return [day, write_range(build_range(value), tmp_path / "ranges" / "2026-W03")]


@pytest.mark.parametrize("value", HOSTILE, ids=lambda text: repr(text[:20]))
def test_text_from_a_log_never_becomes_markup(tmp_path, value):
    for page, harmless_file in zip(
        write_pages(value, tmp_path), write_pages("plain", tmp_path / "clean"), strict=True
    ):
        html = page.read_text(encoding="utf-8")
        hostile, harmless = Page(html), Page(harmless_file.read_text())
        assert hostile.tags == harmless.tags
        assert {name for name, _ in hostile.attributes} == {name for name, _ in harmless.attributes}
        assert [target for name, target in hostile.attributes if name == "href"] == [
            target for name, target in harmless.attributes if name == "href"
        ]
        assert "script" not in hostile.tags
        assert not [name for name, _ in hostile.attributes if name.startswith("on")]
        assert not any(value and "javascript:" in value for _, value in hostile.attributes)
        assert not set(html) & {"\0", "\x1b", "\u202e"}


@pytest.mark.parametrize(
    "character", ["x", "\u202e", *matrix_cases('"', "\x1b", "\U0001f30a", "<")], ids=repr
)
def test_a_page_full_of_the_longest_rows_stays_small(tmp_path, character):
    long_values = [f"{number}{character * 500}" for number in range(30)]
    timed = {"seconds_average": 1.234, "seconds_p95": 12.34, "seconds_max": 59.9}
    long_panels = {
        name: build_panel(
            [build_panel_row(name, value, 987_654_321_000, **timed) for value in long_values]
        )
        for name in PANELS
    }
    short_panels = {
        name: build_panel([build_panel_row(name, str(n), 10**9, **timed) for n in range(30)])
        for name in PANELS
    }
    for page in write_pages(long_values[0], tmp_path):
        assert page.stat().st_size < 300_000
    page = write_report(build_summary(long_values[0], panels=long_panels), tmp_path)
    assert page.stat().st_size < 300_000
    page = write_report(build_summary(panels=short_panels), tmp_path)
    assert page.read_text().count("<tr><td") > 25 * 20


@pytest.mark.parametrize("value", [text for text in HOSTILE if text[0] in "=+-@"])
def test_no_csv_cell_is_a_formula(tmp_path, value):
    for file in [
        file for page in write_pages(value, tmp_path) for file in page.parent.glob("*.csv")
    ]:
        for row in csv.reader(file.open()):
            assert not [cell for cell in row if cell[:1] in ("=", "+", "-", "@", "\t", "\r")]


def test_a_page_loads_nothing_and_runs_no_script(tmp_path):
    for file in write_pages("/a", tmp_path):
        html = file.read_text()
        page = Page(html)
        assert not {"script", "link", "iframe", "object", "img", "form"} & set(page.tags)
        links = [value for name, value in page.attributes if name in ("href", "src")]
        assert links
        assert all(not link.startswith(("http", "//")) for link in links)
        assert "default-src 'none'" in html
        ids = [value for name, value in page.attributes if name == "id"]
        assert len(ids) == len(set(ids))
        anchors = {link[1:] for link in links if link.startswith("#")}
        assert len(anchors) >= 7
        assert anchors <= set(ids)
        for link in links:
            if link.endswith((".csv", ".json")):
                assert (file.parent / link).is_file()


def test_every_headline_number_is_on_the_page(tmp_path):
    summary = build_summary(
        requests=1234567, visitors=89012, bytes=2_747_282_740, unsuccessful=4321
    )
    page = Page(write_report(summary, tmp_path).read_text())
    text = " ".join(
        [*page.texts, *(value or "" for name, value in page.attributes if name == "title")]
    )
    for number in ("1,234,567", "89,012", "2.75 GB", "2,747,282,740", "4,321"):
        assert number in text


def build_empty_day(heartbeat, **changed):
    panels = {name: {"total": 0, "rows": []} for name in build_summary()["panels"]}
    return build_summary(
        requests=0, visitors=0, unsuccessful=0, bytes=0, panels=panels, by_status={},
        by_hour={f"{h:02}": 0 for h in range(24)}, first_request=None, last_request=None,
        lines={"read": 0, "good": 0, "bad": 0, "duplicates": 0}, unsuccessful_requests=[], bad_lines=[],
        humans={"requests": 0, "visitors": 0, "bytes": 0}, bots=[],
        incidents={"bursts": [], "attacks": []}, visits={
            name: {"visits": 0, "pages": 0, "bounced": 0, "seconds": 0, "seconds_median": None}
            for name in ("all", "humans")
        },
        provenance=build_summary()["provenance"] | {"heartbeat": heartbeat, "lost": []}, **changed,
    )  # fmt: skip


def build_gap(begin, end):
    return {"from": f"2026-01-{begin}Z", "to": f"2026-01-{end}Z"}


ALIVE = {"minutes": 1440, "of": 1440, "gaps": []}
SILENT = {"minutes": 1000, "of": 1440, "gaps": [build_gap("15T03:10:00", "15T05:00:00"),
                                                build_gap("15T22:00:00", "16T00:00:00")]}  # fmt: skip


@pytest.mark.parametrize(
    ("heartbeat", "expected"),
    [(ALIVE, "The producer was alive: a heartbeat in 1,440 of 1,440 minutes."),
     (SILENT, "The producer was silent from 03:10 to 05:00 and from 22:00 to 24:00: a heartbeat in "
              "1,000 of 1,440 minutes."),
     (None, "No heartbeat came on this day: nothing is known about it.")],
)  # fmt: skip
def test_an_empty_day_says_whether_the_producer_was_alive(tmp_path, heartbeat, expected):
    page = write_report(build_empty_day(heartbeat), tmp_path).read_text()
    assert "No requests on this day." in page
    assert "Nothing for" not in page
    assert [
        link for link in re.findall('href="(#.+?)"', page) if f'id="{link[1:]}"' not in page
    ] == []
    assert expected in page


def test_heartbeats_change_only_the_provenance_of_a_report(tmp_path):
    def report_without_provenance(name, heartbeat):
        page = write_report(build_empty_day(heartbeat), tmp_path / name)
        report = json.loads((page.parent / "report.json").read_text())
        return {key: value for key, value in report.items() if key != "provenance"}

    assert report_without_provenance("alive", ALIVE) == report_without_provenance("unknown", None)


@pytest.mark.parametrize(
    ("heartbeat", "expected"),
    [(ALIVE, "from 03:00 to 06:00: no request came, and the producer was alive"),
     (SILENT, "from 03:00 to 06:00: no request came, and the producer was silent from 03:10 to 05:00"),
     (None, "")],
)  # fmt: skip
def test_silent_hours_are_explained_by_the_heartbeats(heartbeat, expected):
    hours = {f"{h:02}": 0 if 3 <= h < 6 else 5 for h in range(24)}
    provenance = build_summary()["provenance"] | {"heartbeat": heartbeat}
    assert describe_silence(build_summary(by_hour=hours, provenance=provenance)) == expected


def test_silence_has_site_times_with_offsets_in_a_repeated_hour():
    heartbeat = {"minutes": 1400, "of": 1500, "gaps": [
        {"from": "2026-10-25T00:30:00Z", "to": "2026-10-25T01:30:00Z"}]}  # fmt: skip
    day = build_empty_day(heartbeat, day="2026-10-25", time_zone="Europe/Paris")
    assert "silent from 02:30+0200 to 02:30+0100: a heartbeat in 1,400 of" in describe_heartbeat(
        day
    )
    assert [len(list_hours(day, "Europe/Paris")) for day in
            ("2026-03-29", "2026-03-30", "2026-10-25")] == [23, 24, 25]  # fmt: skip


def test_every_check_is_on_the_page(tmp_path):
    checks = [{"name": "volume", "level": "ok", "value": 0, "message": "3 requests & more"}]
    page = write_report(build_summary(), tmp_path, checks).read_text()
    assert "volume, ok: 3 requests &amp; more" in page


def test_the_same_summary_gives_the_same_bytes_and_a_new_one_replaces_them(tmp_path):
    first = {
        file.name: file.read_bytes()
        for file in write_report(build_summary(), tmp_path).parent.iterdir()
    }
    second = {
        file.name: file.read_bytes()
        for file in write_report(build_summary(), tmp_path).parent.iterdir()
    }
    assert first == second
    changed = write_report(build_summary(requests=4), tmp_path)
    assert json.loads((changed.parent / "report.json").read_text())["requests"] == 4


def test_the_index_lists_the_days_newest_first(tmp_path):
    for day in ("2026-01-14", "2026-01-15"):
        write_report(build_summary(day=day), tmp_path)
    page = Page(write_index(tmp_path).read_text())
    links = [value for name, value in page.attributes if name == "href"]
    assert links == ["2026-01-15/index.html", "2026-01-14/index.html"]


def test_the_index_links_ranges_and_reports_of_an_older_version(tmp_path):
    write_report(build_summary(), tmp_path)
    for folder in ("2026-W03", "2026-01", "2026", "2026-01-14_2026-01-16"):
        write_range(build_range(), tmp_path / folder)
    old = {name: value for name, value in build_summary(day="2026-01-13").items()
           if name in ("day", "visitors", "requests", "bytes", "lines", "by_hour", "by_status")}  # fmt: skip
    (tmp_path / "2026-01-13").mkdir()
    (tmp_path / "2026-01-13" / "report.json").write_text(json.dumps(old))
    html = write_index(tmp_path).read_text()
    links = [value for name, value in Page(html).attributes if name == "href"]
    assert links == [f"{name}/index.html" for name in (
        "2026", "2026-01", "2026-W03", "2026-01-14_2026-01-16", "2026-01-15", "2026-01-13")]  # fmt: skip
    assert "2 days, newest first" in html


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "there is no summary .*; run analyse_access_log"),
        ("{", "is damaged .*; run analyse_access_log"),
        ('{"schema_version": 99}', "schema_version 99, expected .*; run `make resummarise`"),
    ],
)
def test_an_unusable_summary_is_named_with_the_remedy(tmp_path, text, message):
    path = tmp_path / "summary.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(UnusableSummary, match=message) as error:
        read_summary(path)
    assert str(path) in str(error.value)


def test_every_number_of_the_summary_is_in_the_report():
    summary = build_summary()
    report = build_report(summary)
    assert report["panel_rows"]["hosts"] == 1
    changed = ("panels", "distinct", "incidents")
    assert all(report[name] == summary[name] for name in summary if name not in changed)
    assert report["incidents"].items() >= summary["incidents"].items()
    assert report["before"] is report["usual"] is report["incidents"]["new_not_found"] is None


def build_day(day, requests=3, **changed):
    """A summary with this number of requests, all of them successful."""
    return build_summary(day=day, requests=requests, by_status={"200": requests}, **changed)


def test_a_day_is_compared_with_the_previous_day_and_its_weekday(tmp_path):
    earlier = {day: build_day(day, requests) for day, requests in {
        "2026-01-14": 2, "2026-01-08": 10, "2026-01-01": 20, "2025-12-18": 60, "2025-12-11": 999,
    }.items()}  # fmt: skip
    page = write_report(build_summary(), tmp_path, earlier_summaries=earlier)
    report = json.loads((page.parent / "report.json").read_text())
    assert report["before"].items() >= {"day": "2026-01-14", "requests": 2, "visitors": 2}.items()
    assert report["usual"].items() >= {"days": 3, "requests": 20}.items()
    text = " ".join(" ".join(Page(page.read_text()).texts).split())
    assert "50 % more requests" in text
    assert "median of 3 Thursdays" in text
    one_weekday = {"2026-01-08": earlier["2026-01-08"]}
    page = write_report(build_summary(), tmp_path, earlier_summaries=one_weekday)
    assert json.loads((page.parent / "report.json").read_text())["usual"] is None


def test_a_broken_link_is_new_if_the_previous_day_does_not_list_it():
    old, new = (
        build_panel_row("not_found", "/old"),
        build_panel_row("not_found", "/new", method="GET", referrer="/from"),
    )
    new_by_head = new | {"method": "HEAD", "hits": 1, "referrer": None}
    day = build_summary(
        panels=build_summary()["panels"] | {"not_found": build_panel([old, new, new_by_head])}
    )
    before = build_summary(panels=build_summary()["panels"] | {"not_found": build_panel([old])})
    report = build_report(day, before)
    assert report["incidents"]["new_not_found"] == [
        {"value": "/new", "hits": 4, "referrer": "/from"}
    ]
    page = render_day(report | {"checks": []})
    assert page.index('id="new_not_found"') < page.index("linked from <bdi>/from")


def test_the_slowest_endpoints_need_a_minimum_of_hits():
    rows = [build_panel_row("endpoints", name, hits, seconds_average=1, seconds_p95=p95, seconds_max=9)
            for name, hits, p95 in (("/slow", 10, 3.21), ("/few", 9, 8), ("/fast", 99, 0.012))]  # fmt: skip
    untimed = build_panel_row("endpoints", "/untimed", 50, seconds_p95=None)
    day = build_summary(
        panels=build_summary()["panels"] | {"endpoints": build_panel([*rows, untimed])}
    )
    report = build_report(day)
    assert [row["value"] for row in report["incidents"]["slowest"]] == ["/slow", "/fast"]
    page = render_day(report | {"checks": []})
    assert "3.21 s" in page
    assert "12 ms" in page


def build_requests_panel(**hits):
    return build_panel([build_panel_row("requests", name, count) for name, count in hits.items()])


def test_the_largest_changes_are_listed_by_their_difference():
    day, before = (
        build_summary(panels=build_summary()["panels"] | {"requests": panel})
        for panel in (
            build_requests_panel(up=90, same=500, new=7),
            build_requests_panel(up=30, same=500, gone=20),
        )
    )
    moved = build_report(day, before)["moved"]["requests"]
    assert [(row["value"], row["hits"], row["before"]) for row in moved] == [
        ("up", 90, 30), ("gone", 0, 20), ("new", 7, 0)]  # fmt: skip


def test_empty_panels_empty_columns_and_common_values_are_left_out():
    rows = [build_panel_row("requests", "/a", 9, method="GET", protocol="HTTP/1.1"),
            build_panel_row("requests", "/b", 1, method="POST", protocol="HTTP/2")]  # fmt: skip
    panels = build_summary()["panels"] | {"requests": build_panel(rows), "cities": build_panel([])}
    page = render_day(build_report(build_summary(panels=panels)) | {"checks": []})
    section = page[page.index('id="requests"') : page.index('id="endpoints"')]
    words = " ".join(Page(section).texts).split()
    assert "POST" in words
    assert "HTTP/2" in words
    assert not {"GET", "HTTP/1.1", "Average"} & set(words)
    assert "Nothing for: cities." in page
    assert 'id="cities"' not in page


def test_parent_rows_have_the_sum_of_their_children():
    rows = [build_panel_row("status", code, hits, parent=f"{code[0]}xx")
            for code, hits in (("200", 5), ("404", 4), ("403", 3))]  # fmt: skip
    panels = build_summary()["panels"] | {"status": build_panel(rows)}
    page = render_day(build_report(build_summary(panels=panels)) | {"checks": []})
    section = page[page.index('id="status"') : page.index('id="methods"')]
    words = " ".join(Page(section).texts).split()
    assert words[words.index("4xx") :][:4] == ["4xx", "client", "error", "7"]
    assert words.index("4xx") < words.index("2xx") < words.index("200")


def test_every_panel_is_on_the_page_with_all_hits_and_those_of_humans(tmp_path):
    page = write_report(build_summary(), tmp_path).read_text()
    shown = [panel.key for _, panels in list_sections().values() for panel in panels]
    assert sorted([*shown, "day", "hours"]) == sorted(PANELS)
    for name in shown:
        section = page[page.index('<section class="card', page.index(f'id="{name}"') - 60) :]
        section = section[: section.index("</section>")]
        assert '<td class="a">3</td><td class="p">1</td>' in section, name
        assert f'href="{name}.csv"' in section


def test_a_range_page_shows_its_title_missing_days_and_error(tmp_path):
    page = write_range(build_range(), tmp_path / "2026-01-14_2026-01-16")
    text = " ".join(" ".join(Page(page.read_text()).texts).split())
    assert "14 to 16 January 2026" in text
    assert "1 of 3 days have no report" in text
    assert "Nothing here counts them: 2026-01-16." in text
    assert "± 2.6 %" in text
    assert "Compared with 2026-01-11 to 2026-01-13: 3 of those days have a report, here 2." in text
    assert "50 % more requests" in text
    assert json.loads((page.parent / "report.json").read_text()) == build_range()
    assert (page.parent / "by_day.csv").read_text().startswith("requests,visitors")
    links = [value for name, value in Page(page.read_text()).attributes if name == "href"]
    assert "../2026-01-15/index.html" in links
    assert "../2026-01-16/index.html" not in links


def test_a_day_without_a_report_has_an_empty_bar_in_the_chart_of_its_range(tmp_path):
    page = write_range(build_range(), tmp_path / "2026-01-14_2026-01-16").read_text()
    chart = re.search(r'aria-label="Visitors by day.*?</svg>', page, re.S)[0]
    heights = re.findall(r'<rect class="(?:bar|part)"[^>]* height="([\d.]+)"', chart)
    assert [float(height) > 0 for height in heights] == [True] * 4 + [False] * 2
    assert "2026-01-16: no report" in chart


def test_an_empty_range_without_a_previous_range_has_a_page():
    empty = build_empty_day(None)
    totals = {name: empty[name] for name in ("requests", "visitors", "bytes", "unsuccessful", "humans",
                                             "by_status", "by_hour", "incidents", "lines")}  # fmt: skip
    page = render_range(build_range(**totals, by_day=[], before=None, panels={}, panel_rows={}, bots=[],
                                    days=0, missing=["2026-01-14"]))  # fmt: skip
    assert "No requests in these days." in page
    assert "nothing to compare with" in page


def test_a_filter_is_described_and_a_humans_only_page_has_no_switch():
    request_filter = {"path": "/<b>", "host": None, "status": None, "humans_only": True}
    page = render_day(build_report(build_summary(filter=request_filter)) | {"checks": []})
    assert "Only requests by humans, with path <bdi>/&lt;b&gt;</bdi>." in page
    assert 'id="humans"' not in page
    assert 'id="humans"' in render_day(build_report(build_summary()) | {"checks": []})


@pytest.mark.parametrize(
    ("first", "last", "title"),
    [("2026-01-12", "2026-01-18", "Week 3 of 2026"), ("2024-02-01", "2024-02-29", "February 2024"),
     ("2025-01-01", "2025-12-31", "2025"), ("2026-01-14", "2026-01-16", "14 to 16 January 2026"),
     ("2026-01-30", "2026-02-02", "30 January to 2 February 2026"),
     ("2025-12-30", "2026-01-02", "30 December 2025 to 2 January 2026")],
)  # fmt: skip
def test_a_range_has_a_readable_title(first, last, title):
    assert format_period(date.fromisoformat(first), date.fromisoformat(last)) == title


@pytest.mark.parametrize(
    ("folder", "kind", "title"),
    [("2015-W21", "Weeks", "Week 21 of 2015"), ("2015-05", "Months", "May 2015"),
     ("2015", "Years", "2015"),
     ("2015-05-17_2015-05-20", "Other ranges", "17 to 20 May 2015"),
     ("2015-13", "Other ranges", "2015-13"), ("2015-05-99_x", "Other ranges", "2015-05-99_x")],
)  # fmt: skip
def test_the_title_of_a_range_follows_from_its_folder(folder, kind, title):
    assert describe_range_folder(folder) == (kind, title)


def test_times_are_shown_in_the_site_time_zone():
    assert format_local_time("2026-07-01T22:30:00Z", "Europe/Paris") == "00:30"
    assert format_local_time("2026-07-01T22:30:00Z", "UTC", "%-d %b %H:%M") == "1 Jul 22:30"


def list_heading_levels(html):
    return [int(tag[1]) for tag in Page(html).tags if re.fullmatch("h[1-6]", tag)]


def test_a_screen_reader_can_navigate_the_pages(tmp_path):
    for file in write_pages("/a", tmp_path):
        html = file.read_text()
        page = Page(html)
        levels = list_heading_levels(html)
        assert levels[0] == 1
        assert levels.count(1) == 1
        assert all(after <= before + 1 for before, after in pairwise(levels))
        assert {"main", "nav", "header", "footer", "fieldset", "legend"} <= set(page.tags)
        assert ("lang", "en") in page.attributes
        chart_tags = re.findall(r"<svg [^>]*>", html)
        assert chart_tags
        assert all('role="img" aria-label="' in tag for tag in chart_tags)
        inputs = re.findall(r'<input [^>]*id="(\w+)"', html)
        assert inputs == ["everyone", "humans"]
        assert all(f'<label for="{name}">' in html for name in inputs)
        assert html.count("<table") == html.count("<thead")


def read_colours(css, scheme):
    """The CSS variables of a colour scheme; dark overrides some of light."""
    light, dark = re.findall(r":root \{ (?:color-scheme: light dark; )?(--paper[^}]*)\}", css)[:2]
    variables = dict(re.findall(r"--([\w-]+): (#[0-9a-f]+)", light))
    return variables | (
        dict(re.findall(r"--([\w-]+): (#[0-9a-f]+)", dark)) if scheme == "dark" else {}
    )


def luminance(colour):
    digits = colour[1:] if len(colour) == 7 else "".join(2 * digit for digit in colour[1:])
    parts = [int(digits[n : n + 2], 16) / 255 for n in (0, 2, 4)]
    linear = [
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    ]
    return sum(share * part for share, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_texts_and_charts_have_the_contrast_that_wcag_requires(scheme):
    """4.5 for text, 3 for the graphics of a chart (WCAG 2.2, 1.4.3 and 1.4.11)."""
    palette = read_colours(get_environment().globals["style"], scheme)
    texts = [
        (text, background)
        for text in ("ink", "soft", "tide", "bad", "warn")
        for background in ("paper", "card")
    ]
    texts += [
        ("ink", "wash"),
        ("ink", "mist"),
        ("soft", "wash"),
        ("soft", "mist"),
        ("card", "tide"),
    ]
    graphics = [("tide", "card"), ("pale", "card"), ("warn", "card")]
    assert (
        palette["paper"]
        != read_colours(get_environment().globals["style"], "dark" if scheme == "light" else "")[
            "paper"
        ]
    )
    for pairs, minimum in ((texts, 4.5), (graphics, 3)):
        for colour, background in pairs:
            low, high = sorted((luminance(palette[colour]), luminance(palette[background])))
            ratio = (high + 0.05) / (low + 0.05)
            assert ratio >= minimum, f"{colour} on {background} in {scheme}: {ratio:.2f}"


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.00 kB"), (2_747_282_740, "2.75 GB"), (999_499, "999 kB"),
     (999_999, "1.00 MB"), (12_345, "12.3 kB"), (10**18, "1000 PB")],
)  # fmt: skip
def test_sizes_have_decimal_units_and_three_digits(number, text):
    assert formatting.format_bytes(number) == text


@pytest.mark.parametrize(
    ("part", "whole", "text"),
    [(0, 0, "0 %"), (0, 5, "0 %"), (1, 10_000, "<0.1 %"), (1, 200, "0.5 %"), (1, 8, "12 %"),
     (5, 5, "100 %"), (9999, 10_000, ">99 %")],
)  # fmt: skip
def test_shares_are_not_rounded_to_nothing_or_to_everything(part, whole, text):
    assert formatting.format_share(part, whole) == text


def test_the_chart_marks_the_busiest_hour():
    svg = str(
        charts.draw_bars(
            {"00": 1, "01": 5, "02": 0}, "Requests", lambda hour, hits: f"{hour}: {hits} hits"
        )
    )
    assert svg.count('class="top"') == 1
    assert "peak of-top-part" not in svg
    assert "01: 5 hits" in svg
    assert 'aria-label="Requests"' in svg
    bar_tops = [float(y) for y in re.findall(r'<rect class="bar"[^>]* y="([\d.]+)"', svg)]
    ((number_at, number),) = re.findall(r'<text class="peak of-top"[^>]* y="([\d.]+)">(\d+)<', svg)
    assert number == "5"
    assert float(number_at) < min(bar_tops) == bar_tops[1], (
        "the number stands above the highest bar"
    )


def test_the_chart_shows_the_part_of_humans_and_their_busiest_hour():
    svg = str(charts.draw_bars({"00": 4, "01": 5}, "R", "{}: {}".format, part={"00": 3, "01": 1}))
    assert svg.count('class="part"') == svg.count('class="bar"') == 2
    assert re.search('class="peak of-top"[^>]*>5<', svg)
    assert re.search('class="peak of-top-part"[^>]*>3<', svg)


@pytest.mark.parametrize(
    ("now", "before", "text"),
    [(3, 0, ""), (3, 3, "±0 %"), (150, 100, "+50 %"), (97, 100, "\u22123.0 %"), (199.5, 100, "+100 %"),
     (0, 7, "\u2212100 %"), (100_001, 100_000, "+<0.1 %"), (5100, 100, "+5,000 %")],
)  # fmt: skip
def test_changes_have_a_sign(now, before, text):
    assert formatting.format_signed_change(now, before) == text


@pytest.mark.parametrize(
    ("number", "text"),
    [(None, ""), (0, "0 ms"), (0.0001, "<1 ms"), (0.0123, "12 ms"), (0.9999, "1.00 s"), (12.34, "12.3 s"),
     (599.6, "600 s"), (4500, "75 min")],
)  # fmt: skip
def test_response_times_are_printed_in_short_form(number, text):
    assert formatting.format_seconds(number) == text


@pytest.mark.parametrize(
    ("number", "text"), [(44.6, "45 s"), (62, "1 min 2 s"), (3780, "1 h 3 min")]
)
def test_durations_of_visits_are_written_with_units(number, text):
    assert formatting.format_duration(number) == text


def test_equal_changes_are_listed_by_name():
    day, before = (
        build_summary(panels=build_summary()["panels"] | {"requests": panel})
        for panel in (build_requests_panel(c=9, a=9, d=2), build_requests_panel(b=9, d=11))
    )
    moved = build_report(day, before)["moved"]["requests"]
    assert [row["value"] for row in moved] == ["a", "b", "c", "d"]

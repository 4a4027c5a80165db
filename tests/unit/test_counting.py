"""What is counted of a day's lines: visitors, visits, bots, panels and incidents. Without Spark."""

import base64

import pytest
from datasketches import hll_sketch
from pyarrow import parquet

from include.panels import list_panel_keys
from include.summary.counts import SILENCE_SECONDS
from tests.unit.made_lines import DAY, FIREFOX, a_bad_line, a_line, count_lines, summarise

GPTBOT = "Mozilla/5.0 AppleWebKit/537.36 (compatible; GPTBot/1.1; +https://openai.com/gptbot)"
NEXT_DAY = 86_400  # seconds


def a_reader(host="198.51.100.9"):
    """Somebody who reads three pages with what belongs to them: the site has files."""
    return [
        a_line(60 * n, path, host=host)
        for n in range(3)
        for path in (f"/{n}", "/a.css", "/b.js", "/c.png")
    ]


def rows_of(summary, panel, *names):
    return [tuple(row.get(name) for name in names) for row in summary["panels"][panel]["rows"]]


def distinct(sketch):
    return round(hll_sketch.deserialize(base64.b64decode(sketch)).get_estimate())


def test_lines_are_counted_by_day_good_and_bad_and_each_repeat_once(tmp_path):
    duplicate = {"dedup_hash": 7, "dedup_hash_2": 8}
    lines = [
        a_line(0, **duplicate), a_line(0, **duplicate), a_line(0, **duplicate),
        a_line(1, dedup_hash=7, dedup_hash_2=9),
        a_line(2), a_line(2), a_bad_line(), a_bad_line("bad_time", sample="!"),
        a_bad_line(sample="!"), a_line(NEXT_DAY, **duplicate),
    ]  # fmt: skip
    summary = summarise(tmp_path, lines)
    assert summary["lines"] == {"read": 9, "good": 6, "bad": 3, "duplicates": 2}
    assert (summary["requests"], summary["bytes"]) == (4, 400)
    assert [(bad["bad_reason"], bad["lines"], bad["samples"]) for bad in summary["bad_lines"]] == [
        ("no_match", 2, ["!", "?"]), ("bad_time", 1, ["!"]),
    ]  # fmt: skip


def test_where_a_days_lines_came_from_is_kept_by_partition_and_by_file(tmp_path):
    kafka = {"topic": "t", "file": None}
    lines = [
        a_line(1, kafka_partition=0, kafka_offset=5, **kafka),
        a_line(2, kafka_partition=0, kafka_offset=9, **kafka),
        a_bad_line(kafka_partition=1, kafka_offset=2, **kafka), a_line(3, file="a.log"),
    ]  # fmt: skip
    found = count_lines(tmp_path, lines).lines[DAY]
    assert sorted(
        (row.topic or "", row.partition, row.file, row.good, row.bad, row.first, row.last)
        for row in found
    ) == [
        ("", None, "a.log", 1, 0, None, None),
        ("t", 0, None, 2, 0, 5, 9),
        ("t", 1, None, 0, 1, 2, 2),
    ]


def test_who_met_only_client_errors_is_no_visitor(tmp_path):
    statuses = {"399": 1, "400": 0, "499": 0, "500": 1, "none": 1}
    lines = [
        a_line(n, f"/{host}", host=host, status=status)
        for host in statuses for n, status in enumerate((404, int(host) if host != "none" else None))
    ]  # fmt: skip
    summary = summarise(tmp_path, lines)
    assert summary["visitors"] == summary["humans"]["visitors"] == 3
    for panel, value in (("hosts", "{}"), ("endpoints", "/{}")):
        assert dict(rows_of(summary, panel, "value", "visitors")) == {
            value.format(host): visitors for host, visitors in statuses.items()
        }


def test_a_days_visitors_and_times_are_its_own(tmp_path):
    lines = [
        a_line(9), a_line(5), a_line(7, host="192.0.2.2"), a_line(8, host="192.0.2.3", user_agent=GPTBOT),
        a_line(3, host="192.0.2.4", status=404), a_line(NEXT_DAY + 1, host="192.0.2.5"),
    ]  # fmt: skip
    of_days = count_lines(tmp_path, lines).collect_tables(newest=1, samples=1, bots=1)["visitors"]
    assert sorted(of_days) == [DAY, "2015-05-18"]
    (day,) = of_days[DAY]
    start = a_line(0)["micros"]
    assert (day.first - start, day.last - start) == (3_000_000, 9_000_000)
    assert (distinct(day.visitors), distinct(day.humans)) == (3, 2)
    assert distinct(of_days["2015-05-18"][0].visitors) == 1


# Reason -> from how many of what it does somebody is a bot, and the lines of doing it `n` times.
MACHINES = {
    "declares itself": (1, lambda n: [{"user_agent": GPTBOT if n else FIREFOX}]),
    "asked for robots.txt first": (
        1, lambda n: [{"seconds": 8, "path": "/robots.txt"}, {"seconds": 9 if n else 7, "path": "/a.css"}],
    ),
    "names no user agent": (1, lambda n: [{"user_agent": "-" if n else "--"}]),
    "only HEAD": (5, lambda n: [{"seconds": k, "method": "HEAD"} for k in range(n)]),
    "asks for what does not exist": (
        10, lambda n: [{"seconds": 9 * k, "status": (404, 410)[k % 2]} for k in range(n)],
    ),
    "pages, never their files": (10, lambda n: [{"seconds": 99 * k} for k in range(n)]),
    "faster than humans": (  # more pages than seconds, of which the first of a visit does not count
        62, lambda n: [{"path": "/a.css"}, *[{"seconds": 60 * (k > 9)} for k in range(n)]],
    ),
    "comes at fixed times": (
        5, lambda n: [{"seconds": 3600 * k, "path": path} for k in range(n) for path in ("/", "/a.css")],
    ),
}  # fmt: skip


def test_a_machine_is_known_from_a_number_that_no_person_reaches(tmp_path):
    for name, less in (("bots", 0), ("humans", 1)):
        lines = {reason: lines_of(fewest - less) for reason, (fewest, lines_of) in MACHINES.items()}
        (tmp_path / name).mkdir()
        summary = summarise(tmp_path / name, [
            *[a_line(**one, host=reason) for reason, ones in lines.items() for one in ones],
            *[line for n in range(9) for line in a_reader(f"192.0.2.{n}")],
        ])  # fmt: skip
        if name == "humans":
            assert summary["bots"] == []
            assert summary["humans"]["requests"] == summary["requests"]
            continue
        assert {one["host"]: one["reasons"] for one in summary["bots"]} == {
            reason: [reason] for reason in MACHINES
        }
        kinds = {reason: ("by behaviour", reason) for reason in MACHINES}
        kinds["declares itself"] = ("AI crawler", "GPTBot")
        assert {one["host"]: (one["class"], one["name"]) for one in summary["bots"]} == kinds
        told = rows_of(summary, "bots", "parent", "value", "hits", "humans_hits")
        assert sorted(told) == sorted((*kinds[reason], len(lines[reason]), 0) for reason in kinds)
        assert summary["humans"] == {"requests": 9 * 12, "visitors": 9, "bytes": 9 * 1200}


@pytest.mark.parametrize(("misses", "hits", "is_bot"), [(18, 20, True), (17, 20, False)])
def test_who_misses_nine_times_in_ten_is_a_machine(tmp_path, misses, hits, is_bot):
    lines = [a_line(9 * n, f"/{n}.css", status=404 if n < misses else 200) for n in range(hits)]
    assert bool(summarise(tmp_path, lines)["bots"]) is is_bot


def test_visits_at_uneven_times_or_of_more_than_a_page_are_a_persons(tmp_path):
    uneven = [a_line(3600 * n + 900 * (n % 2), path) for n in range(6) for path in ("/", "/a.css")]
    longer = [
        a_line(3600 * n + k, path, host="192.0.2.2")
        for n in range(6) for k, path in ((0, "/"), (9, "/next"), (9, "/a.css"))
    ]  # fmt: skip
    assert summarise(tmp_path, [*uneven, *longer, *a_reader()])["bots"] == []


def test_a_visit_ends_after_half_an_hour_without_a_page(tmp_path):
    lines = [a_line(0, "/in"), a_line(1800, "/middle"), a_line(1801, "/a.css"), a_line(3600, "/out"),
             a_line(5401, "/again"), a_line(5402, "/gone", status=404),
             a_line(5403, user_agent=GPTBOT), a_line(5413, user_agent=GPTBOT),
             a_line(9999, user_agent=GPTBOT)]  # fmt: skip
    summary = summarise(tmp_path, lines)
    assert summary["visits"] == {
        "all": {"visits": 4, "pages": 7, "bounced": 2, "seconds": 3610, "seconds_median": 0},
        "humans": {"visits": 2, "pages": 4, "bounced": 1, "seconds": 3600, "seconds_median": 0},
    }
    rows = ("value", "hits", "humans_hits")
    assert rows_of(summary, "entry_pages", *rows) == [("/", 2, 0), ("/again", 1, 1), ("/in", 1, 1)]
    assert rows_of(summary, "exit_pages", *rows) == [("/", 2, 0), ("/again", 1, 1), ("/out", 1, 1)]


def test_a_page_is_what_was_answered_and_is_no_file(tmp_path):
    pages = [
        {"path": "/200"}, {"path": "/299", "status": 299}, {"path": "/304", "status": 304},
        {"path": "/post", "method": "POST"}, {"path": "/a.html"}, {"path": "/png"},
    ]  # fmt: skip
    others = [
        *[{"path": f"/{status}", "status": status} for status in (199, 300, 303, 305, 404)],
        {"path": "/none", "status": None}, {"path": "/head", "method": "HEAD"},
        {"path": "/no-method", "method": None}, {"path": "/a.PNG"}, {"endpoint": None},
    ]  # fmt: skip
    lines = [a_line(0, host=f"192.0.2.{n}", **one) for n, one in enumerate([*pages, *others])]
    summary = summarise(tmp_path, lines)
    assert summary["visits"]["all"]["pages"] == len(pages)
    found = sorted(page for (page,) in rows_of(summary, "entry_pages", "value"))
    assert found == sorted(page["path"] for page in pages)


def test_every_panel_counts_its_own_field(tmp_path):
    line = a_line(
        0, "/a", target="/a?q=1", method="POST", status=201, protocol="HTTP/2.0", vhost="v.example:443",
        remote_user="ann", cache_status="HIT", mime_type="text/html", tls_version="TLSv1.3",
        referrer="https://www.google.com/search?q=some+words&hl=en",
    )  # fmt: skip
    summary = summarise(tmp_path, [line])
    assert {
        name: rows_of(summary, name, "parent", "value", "method", "protocol")
        for name, panel in summary["panels"].items() if panel["rows"]
    } == {
        "requests": [(None, "/a?q=1", "POST", "HTTP/2.0")],
        "endpoints": [(None, "/a", None, None)],
        "status": [("2xx", "201", None, None)],
        "methods": [(None, "POST", None, None)],
        "referrers": [(None, "https://www.google.com/search?q=some+words", None, None)],
        "referring_sites": [(None, "www.google.com", None, None)],
        "referral_kinds": [(None, "search engine", None, None)],
        "search_phrases": [(None, "some words", None, None)],
        "hours": [(None, "01", None, None)],
        "virtual_hosts": [(None, "v.example:443", None, None)],
        "remote_users": [(None, "ann", None, None)],
        "cache_status": [(None, "HIT", None, None)],
        "mime_types": [(None, "text/html", None, None)],
        "tls_versions": [(None, "TLSv1.3", None, None)],
        "hosts": [(None, "192.0.2.1", None, None)],
        "user_agents": [(None, FIREFOX, None, None)],
        "browsers": [("Firefox", "Firefox 128", None, None)],
        "operating_systems": [("Linux", "Linux", None, None)],
        "entry_pages": [(None, "/a", None, None)],
        "exit_pages": [(None, "/a", None, None)],
    }  # fmt: skip
    assert (summary["by_status"], summary["by_hour"]["01"]) == ({"201": 1}, 1)
    assert set(summary["panels"]) == set(list_panel_keys())


def test_a_log_without_a_field_has_no_row_and_a_line_without_it_has_one(tmp_path):
    nothing = {"user_agent": None, "log_format": "common", "endpoint": None, "target": None,
               "method": None}  # fmt: skip
    summary = summarise(tmp_path, [a_line(**nothing)])
    for name in ("requests", "endpoints", "methods"):
        assert rows_of(summary, name, "value") == [("-",)], name
    for name in ("referrers", "referral_kinds", "user_agents", "browsers", "operating_systems"):
        assert rows_of(summary, name, "value") == [], name
    (tmp_path / "with").mkdir()
    summary = summarise(tmp_path / "with", [a_line(), a_line(host="192.0.2.2", user_agent=None)])
    assert dict(rows_of(summary, "user_agents", "value", "hits"))["-"] == 1
    assert ("Unknown", "Unknown") in rows_of(summary, "browsers", "parent", "value")
    assert rows_of(summary, "referrers", "value", "hits") == [("-", 2)]


def test_how_long_requests_took_is_counted_where_the_log_says_it(tmp_path):
    lines = [a_line(n, seconds_taken=n / 10) for n in range(1, 101)] + [a_line(0), a_line(0, "/b")]
    summary = summarise(tmp_path, lines)
    times = ("seconds_average", "seconds_p95", "seconds_max")
    for panel in ("requests", "endpoints", "status", "methods", "hours"):
        row = summary["panels"][panel]["rows"][0]
        assert [row.get(name) for name in times] == [pytest.approx(5.05), 9.5, 10.0], panel
    (host,) = summary["panels"]["hosts"]["rows"]
    assert [host.get(name) for name in times] == [pytest.approx(5.05), None, 10.0]
    assert summary["panels"]["endpoints"]["rows"][1].get("seconds_p95") is None


def test_what_was_not_found_tells_where_most_of_it_came_from(tmp_path):
    def gone(seconds, referrer):
        return a_line(seconds, "/gone", status=404, referrer=referrer)

    far, near = "http://z.example/x", "http://b.example/y"
    lines = [gone(1, near), gone(2, near), gone(3, far), *[gone(n, None) for n in range(4, 9)]]
    summary = summarise(tmp_path, [*lines, a_line(9, "/a.css"), a_line(9, referrer=far)])
    assert rows_of(summary, "not_found", "value", "hits", "referrer") == [("/gone", 8, near)]
    assert rows_of(summary, "static_requests", "value", "referrer") == [("/a.css", None)]
    assert rows_of(summary, "requests", "value", "referrer") == [("/", None)]


def test_a_filter_counts_what_it_lets_through_of_visitors_known_by_all_they_did(tmp_path):
    head = [a_line(n, f"/{n}", method="HEAD", wanted=n == 0) for n in range(5)]
    other = [a_line(9, host="192.0.2.2", wanted=False), a_line(10, host="192.0.2.3", bytes=7)]
    for humans_only, requests in ((False, 2), (True, 1)):
        folder = tmp_path / str(humans_only)
        folder.mkdir()
        summary = summarise(folder, [*head, *other], is_filtered=True, humans_only=humans_only)
        assert (summary["requests"], summary["visitors"]) == (requests, requests)
        assert summary["humans"] == {"requests": 1, "visitors": 1, "bytes": 7}
        assert summary["visits"]["all"]["pages"] == 1
        assert [bot["hits"] for bot in summary["bots"]] == [1] * (requests - 1)
        assert summary["lines"]["read"] == 7


def test_the_first_rows_of_each_panel_are_given_and_all_are_written(tmp_path):
    lines = [a_line(n, f"/{n:02}", host=f"192.0.2.{n % 7}") for n in range(30)]
    counts = count_lines(tmp_path, lines)
    file = tmp_path / "panels.parquet"
    top = counts.write_panels(DAY, file, 3)
    endpoints = [(row["value"], row["rows"]) for row in top if row["panel"] == "endpoints"]
    assert endpoints == [("/00", 30), ("/01", 30), ("/02", 30)]
    hosts = [(row["value"], row["hits"], row["rows"]) for row in top if row["panel"] == "hosts"]
    assert hosts == [("192.0.2.0", 5, 7), ("192.0.2.1", 5, 7), ("192.0.2.2", 4, 7)]
    assert parquet.read_table(file)["panel"].to_pylist().count("endpoints") == 30
    assert counts.write_panels("2015-05-18", file, 3) == []


def test_the_newest_requests_without_success_are_listed_newest_first(tmp_path):
    lines = [a_line(n, f"/{n}", status=404 if n % 2 else None) for n in range(9)]
    counts = count_lines(tmp_path, [*lines, a_line(99), a_line(8, "/8a", status=500)])
    newest = counts.collect_tables(newest=3, samples=1, bots=1)["unsuccessful"][DAY]
    assert [(row.endpoint, row.status) for row in newest] == [
        ("/8", None),
        ("/8a", 500),
        ("/7", 404),
    ]


def test_machines_are_listed_from_the_busiest_on(tmp_path):
    lines = [
        a_line(k, user_agent=GPTBOT, host=f"192.0.2.{n}") for n in range(4) for k in range(n + 1)
    ]
    counts = count_lines(tmp_path, lines)
    found = counts.collect_tables(newest=1, samples=1, bots=2)["bots"][DAY]
    assert [(row.host, row.hits, row.bytes) for row in found] == [
        ("192.0.2.3", 4, 400), ("192.0.2.2", 3, 300),
    ]  # fmt: skip


def test_an_attack_is_told_with_its_answers_and_the_beginning_of_a_sample(tmp_path):
    target = "/a?f=../../etc/passwd" + "x" * 400
    lines = [
        a_line(n, "/a", target=target, status=status)
        for n, status in enumerate((199, 200, 299, 300, 404))
    ]
    assert summarise(tmp_path, lines)["incidents"]["attacks"] == [
        {"host": "192.0.2.1", "kind": "path traversal", "hits": 5, "answered": 2, "sample": target[:300]}
    ]  # fmt: skip


def test_minutes_of_many_server_errors_in_a_row_are_a_burst(tmp_path):
    def errors(minute, number, path="/api", status=502):
        return [a_line(60 * minute + n, path, status=status) for n in range(number)]

    lines = [
        *errors(10, 5), *errors(11, 5, "/worse", 500), *errors(11, 1, "/worse", 599),  # 6 in a minute
        *errors(13, 5), *errors(16, 4), *errors(20, 7, None), *errors(20, 9, "/missing", 499),
        *errors(30, 9, "/odd", 600),
    ]  # fmt: skip
    assert summarise(tmp_path, lines)["incidents"]["bursts"] == [
        {"from": "2015-05-17T01:10:00Z", "to": "2015-05-17T01:14:00Z", "requests": 16, "endpoint": "/worse"},
        {"from": "2015-05-17T01:20:00Z", "to": "2015-05-17T01:21:00Z", "requests": 7, "endpoint": "-"},
    ]  # fmt: skip


def test_a_producer_was_silent_where_heartbeats_are_more_than_three_minutes_apart(tmp_path):
    seconds = [0, 30, 60, 60 + SILENCE_SECONDS, 61 + 2 * SILENCE_SECONDS]
    lines = [a_line(n, is_heartbeat=True) for n in seconds] + [a_line(100)]
    counts = count_lines(tmp_path, lines)
    start = a_line(0)["micros"] // 1_000_000
    (day,) = counts.collect_heartbeats()[DAY]
    assert (day.minutes, day.first - start, day.last - start) == (4, 0, 421)
    assert [(gap["from"] - start, gap["to"] - start) for gap in day.gaps] == [(240, 421)]
    assert [row.good for row in counts.lines[DAY]] == [1]


def test_a_day_without_a_good_line_has_numbers_that_are_nothing(tmp_path):
    summary = summarise(tmp_path, [a_bad_line()])
    assert summary["lines"] == {"read": 1, "good": 0, "bad": 1, "duplicates": 0}
    totals = ("requests", "unsuccessful", "visitors", "bytes")
    assert [summary[name] for name in totals] == [0, 0, 0, 0]
    assert summary["humans"] == {"requests": 0, "visitors": 0, "bytes": 0}
    assert (summary["first_request"], summary["last_request"]) == (None, None)
    assert summary["distinct"] == {"visitors": None, "humans": None}
    assert summary["visits"]["all"]["visits"] == 0

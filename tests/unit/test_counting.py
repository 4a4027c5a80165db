"""Counting the lines of a day without Spark: visitors, visits, bots, panels and incidents."""

import base64
from zoneinfo import ZoneInfo

import pytest
from datasketches import hll_sketch
from pyarrow import parquet

from include.panels import list_panel_keys
from include.summary.counts import SILENCE_SECONDS
from spark_jobs.summarise_access_log import summarise_heartbeats
from tests.unit.synthetic_lines import DAY, FIREFOX, bad_line_row, count_lines, line_row, summarise

GPTBOT = "Mozilla/5.0 AppleWebKit/537.36 (compatible; GPTBot/1.1; +https://openai.com/gptbot)"
NEXT_DAY = 86_400  # seconds


def build_human_visit(host="198.51.100.9"):
    """Three pages, each with its static files; without such a visit no site is known to have files."""
    return [
        line_row(60 * n, path, host=host)
        for n in range(3)
        for path in (f"/{n}", "/a.css", "/b.js", "/c.png")
    ]


def panel_rows(summary, panel, *names):
    return [tuple(row.get(name) for name in names) for row in summary["panels"][panel]["rows"]]


def estimate_distinct(sketch):
    return round(hll_sketch.deserialize(base64.b64decode(sketch)).get_estimate())


def test_good_bad_and_duplicate_lines_are_counted_by_day(tmp_path):
    duplicate = {"dedup_hash": 7, "dedup_hash_2": 8}
    lines = [
        line_row(0, **duplicate), line_row(0, **duplicate), line_row(0, **duplicate),
        line_row(1, dedup_hash=7, dedup_hash_2=9),
        line_row(2), line_row(2), bad_line_row(), bad_line_row("bad_time", sample="!"),
        bad_line_row(sample="!"), line_row(NEXT_DAY, **duplicate),
    ]  # fmt: skip
    summary = summarise(tmp_path, lines)
    assert summary["lines"] == {"read": 9, "good": 6, "bad": 3, "duplicates": 2}
    assert (summary["requests"], summary["bytes"]) == (4, 400)
    assert [(bad["bad_reason"], bad["lines"], bad["samples"]) for bad in summary["bad_lines"]] == [
        ("no_match", 2, ["!", "?"]), ("bad_time", 1, ["!"]),
    ]  # fmt: skip


def test_lines_are_counted_by_kafka_partition_and_by_file(tmp_path):
    kafka = {"topic": "t", "file": None}
    lines = [
        line_row(1, kafka_partition=0, kafka_offset=5, **kafka),
        line_row(2, kafka_partition=0, kafka_offset=9, **kafka),
        bad_line_row(kafka_partition=1, kafka_offset=2, **kafka), line_row(3, file="a.log"),
    ]  # fmt: skip
    rows = count_lines(tmp_path, lines).lines[DAY]
    assert sorted(
        (row.topic or "", row.partition, row.file, row.good, row.bad, row.first, row.last)
        for row in rows
    ) == [
        ("", None, "a.log", 1, 0, None, None),
        ("t", 0, None, 2, 0, 5, 9),
        ("t", 1, None, 0, 1, 2, 2),
    ]


def test_a_client_with_only_client_errors_is_no_visitor(tmp_path):
    statuses = {"399": 1, "400": 0, "499": 0, "500": 1, "none": 1}
    lines = [
        line_row(n, f"/{host}", host=host, status=status)
        for host in statuses for n, status in enumerate((404, int(host) if host != "none" else None))
    ]  # fmt: skip
    summary = summarise(tmp_path, lines)
    assert summary["visitors"] == summary["humans"]["visitors"] == 3
    for panel, value in (("hosts", "{}"), ("endpoints", "/{}")):
        assert dict(panel_rows(summary, panel, "value", "visitors")) == {
            value.format(host): visitors for host, visitors in statuses.items()
        }


def test_visitors_and_first_and_last_times_are_counted_by_day(tmp_path):
    lines = [
        line_row(9), line_row(5), line_row(7, host="192.0.2.2"),
        line_row(8, host="192.0.2.3", user_agent=GPTBOT), line_row(3, host="192.0.2.4", status=404),
        line_row(NEXT_DAY + 1, host="192.0.2.5"),
    ]  # fmt: skip
    visitors_by_day = count_lines(tmp_path, lines).collect_tables(newest=1, samples=1, bots=1)[
        "visitors"
    ]
    assert sorted(visitors_by_day) == [DAY, "2015-05-18"]
    (day,) = visitors_by_day[DAY]
    start = line_row(0)["micros"]
    assert (day.first - start, day.last - start) == (3_000_000, 9_000_000)
    assert (estimate_distinct(day.visitors), estimate_distinct(day.humans)) == (3, 2)
    assert estimate_distinct(visitors_by_day["2015-05-18"][0].visitors) == 1


# Reason -> the number of such requests that makes a visitor a bot, and the columns of `n` of them.
BOT_REASONS = {
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
    "faster than humans": (  # more pages than seconds; the first page of a visit does not count
        62, lambda n: [{"path": "/a.css"}, *[{"seconds": 60 * (k > 9)} for k in range(n)]],
    ),
    "comes at fixed times": (
        5, lambda n: [{"seconds": 3600 * k, "path": path} for k in range(n) for path in ("/", "/a.css")],
    ),
}  # fmt: skip


def test_each_bot_reason_applies_exactly_from_its_threshold(tmp_path):
    for name, below in (("bots", 0), ("humans", 1)):
        lines = {
            reason: build_requests(threshold - below)
            for reason, (threshold, build_requests) in BOT_REASONS.items()
        }
        (tmp_path / name).mkdir()
        summary = summarise(tmp_path / name, [
            *[line_row(**columns, host=reason) for reason, requests in lines.items() for columns in requests],
            *[line for n in range(9) for line in build_human_visit(f"192.0.2.{n}")],
        ])  # fmt: skip
        if name == "humans":
            assert summary["bots"] == []
            assert summary["humans"]["requests"] == summary["requests"]
            continue
        assert {bot["host"]: bot["reasons"] for bot in summary["bots"]} == {
            reason: [reason] for reason in BOT_REASONS
        }
        kinds = {reason: ("by behaviour", reason) for reason in BOT_REASONS}
        kinds["declares itself"] = ("AI crawler", "GPTBot")
        assert {bot["host"]: (bot["class"], bot["name"]) for bot in summary["bots"]} == kinds
        bot_rows = panel_rows(summary, "bots", "parent", "value", "hits", "humans_hits")
        assert sorted(bot_rows) == sorted(
            (*kinds[reason], len(lines[reason]), 0) for reason in kinds
        )
        assert summary["humans"] == {"requests": 9 * 12, "visitors": 9, "bytes": 9 * 1200}


@pytest.mark.parametrize(("misses", "hits", "is_bot"), [(18, 20, True), (17, 20, False)])
def test_a_visitor_with_nine_of_ten_requests_not_found_is_a_bot(tmp_path, misses, hits, is_bot):
    lines = [line_row(9 * n, f"/{n}.css", status=404 if n < misses else 200) for n in range(hits)]
    assert bool(summarise(tmp_path, lines)["bots"]) is is_bot


def test_visits_at_uneven_times_or_of_several_pages_are_human(tmp_path):
    uneven = [
        line_row(3600 * n + 900 * (n % 2), path) for n in range(6) for path in ("/", "/a.css")
    ]
    longer = [
        line_row(3600 * n + k, path, host="192.0.2.2")
        for n in range(6) for k, path in ((0, "/"), (9, "/next"), (9, "/a.css"))
    ]  # fmt: skip
    assert summarise(tmp_path, [*uneven, *longer, *build_human_visit()])["bots"] == []


def test_a_visit_ends_after_half_an_hour_without_a_page(tmp_path):
    lines = [line_row(0, "/in"), line_row(1800, "/middle"), line_row(1801, "/a.css"), line_row(3600, "/out"),
             line_row(5401, "/again"), line_row(5402, "/gone", status=404),
             line_row(5403, user_agent=GPTBOT), line_row(5413, user_agent=GPTBOT),
             line_row(9999, user_agent=GPTBOT)]  # fmt: skip
    summary = summarise(tmp_path, lines)
    assert summary["visits"] == {
        "all": {"visits": 4, "pages": 7, "bounced": 2, "seconds": 3610, "seconds_median": 0},
        "humans": {"visits": 2, "pages": 4, "bounced": 1, "seconds": 3600, "seconds_median": 0},
    }
    rows = ("value", "hits", "humans_hits")
    assert panel_rows(summary, "entry_pages", *rows) == [
        ("/", 2, 0),
        ("/again", 1, 1),
        ("/in", 1, 1),
    ]
    assert panel_rows(summary, "exit_pages", *rows) == [
        ("/", 2, 0),
        ("/again", 1, 1),
        ("/out", 1, 1),
    ]


def test_a_page_is_an_answered_request_that_is_not_for_a_static_file(tmp_path):
    pages = [
        {"path": "/200"}, {"path": "/299", "status": 299}, {"path": "/304", "status": 304},
        {"path": "/post", "method": "POST"}, {"path": "/a.html"}, {"path": "/png"},
    ]  # fmt: skip
    others = [
        *[{"path": f"/{status}", "status": status} for status in (199, 300, 303, 305, 404)],
        {"path": "/none", "status": None}, {"path": "/head", "method": "HEAD"},
        {"path": "/no-method", "method": None}, {"path": "/a.PNG"}, {"endpoint": None},
    ]  # fmt: skip
    lines = [
        line_row(0, host=f"192.0.2.{n}", **request) for n, request in enumerate([*pages, *others])
    ]
    summary = summarise(tmp_path, lines)
    assert summary["visits"]["all"]["pages"] == len(pages)
    entry_pages = sorted(page for (page,) in panel_rows(summary, "entry_pages", "value"))
    assert entry_pages == sorted(page["path"] for page in pages)


def test_every_panel_counts_its_own_field(tmp_path):
    line = line_row(
        0, "/a", target="/a?q=1", method="POST", status=201, protocol="HTTP/2.0", vhost="v.example:443",
        remote_user="ann", cache_status="HIT", mime_type="text/html", tls_version="TLSv1.3",
        referrer="https://www.google.com/search?q=some+words&hl=en",
    )  # fmt: skip
    summary = summarise(tmp_path, [line])
    assert {
        name: panel_rows(summary, name, "parent", "value", "method", "protocol")
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


DECLARED_BOTS = {
    GPTBOT: ("AI crawler", "GPTBot"),
    "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)":
        ("search engine", "Googlebot"),
    "Mozilla/5.0 (compatible; AhrefsBot/7.0; +http://ahrefs.com/robot/)": ("search marketing", "AhrefsBot"),
    "facebookexternalhit/1.1 (+http://www.facebook.com/externalhit_uatext.php)":
        ("link preview", "facebookexternalhit"),
    "Feedly/1.0 (+http://www.feedly.com/fetcher.html; 16 subscribers)": ("feed reader", "Feedly"),
    "Mozilla/5.0+(compatible; UptimeRobot/2.0; http://www.uptimerobot.com/)": ("monitoring", "UptimeRobot"),
    "Mozilla/5.0 (compatible; archive.org_bot +http://www.archive.org/details/archive.org_bot)":
        ("archive", "archive.org_bot"),
    "Mozilla/5.0 (compatible; SemanticScholarBot; +https://www.semanticscholar.org/crawler)":
        ("research", "SemanticScholarBot"),
    "AdsBot-Google (+http://www.google.com/adsbot.html)": ("advertising", "AdsBot-Google"),
    "Mozilla/5.0 zgrab/0.x": ("scanner", "zgrab"),
    "Mozilla/5.0 (X11; Linux x86_64) HeadlessChrome/120.0.0.0 Safari/537.36":
        ("automated browser", "HeadlessChrome"),
    "python-requests/2.31.0": ("program", "python-requests"),
    "Mozilla/5.0 (compatible; Ezooms/1.0; help@moz.com)": ("other crawler", "Ezooms"),
}  # fmt: skip


def test_a_declared_bot_is_listed_with_its_kind(tmp_path):
    summary = summarise(
        tmp_path, [line_row(n, user_agent=text) for n, text in enumerate(DECLARED_BOTS)]
    )
    kinds = {bot["user_agent"]: (bot["class"], bot["name"]) for bot in summary["bots"]}
    assert kinds == DECLARED_BOTS
    assert set(panel_rows(summary, "bots", "parent", "value")) == set(DECLARED_BOTS.values())


def test_crawlers_and_programs_are_listed_apart_from_browsers_and_systems(tmp_path):
    agents = (FIREFOX, GPTBOT, "curl/8.5.0")
    summary = summarise(tmp_path, [line_row(n, user_agent=text) for n, text in enumerate(agents)])
    for panel, known in (
        ("browsers", ("Firefox", "Firefox 128")),
        ("operating_systems", ("Linux", "Linux")),
    ):
        assert set(panel_rows(summary, panel, "parent", "value")) == {
            known, ("Crawlers and programs", "GPTBot"), ("Crawlers and programs", "curl"),
        }, panel  # fmt: skip


# The suffixes of `static-file` in GoAccess's configuration file, goaccess.conf.
GOACCESS_STATIC_FILES = """
    .css .js .jpg .png .gif .ico .jpeg .pdf .csv .mpeg .mpg .swf .woff .woff2 .xls .xlsx .doc .docx .ppt
    .pptx .txt .zip .ogg .mp3 .mp4 .exe .iso .gz .rar .svg .bmp .tar .tgz .tiff .tif .ttf .flv .dmg .xz .zst
"""


def test_files_that_goaccess_takes_for_static_are_static(tmp_path):
    paths = {f"/file{suffix}" for suffix in GOACCESS_STATIC_FILES.split()}
    pages = {"/", "/file", "/file.html", "/file.php", "/css", "/a.css/b"}
    lines = [line_row(n, path) for n, path in enumerate([*paths, *pages])]
    summary = summarise(tmp_path, lines)
    assert {path for (path,) in panel_rows(summary, "static_requests", "value")} == paths
    assert {path for (path,) in panel_rows(summary, "requests", "value")} == pages


REFERRERS = {
    "AI assistant": ["https://chatgpt.com/", "https://www.perplexity.ai/search", "https://claude.ai/chat/1",
                     "https://gemini.google.com/app", "https://copilot.microsoft.com/", "https://grok.com",
                     "https://chat.mistral.ai/chat", "https://chat.deepseek.com/", "https://duck.ai/"],
    "search engine": ["https://www.google.co.uk/", "https://duckduckgo.com/?q=tide", "https://yandex.ru/",
                      "https://www.bing.com/search", "https://search.brave.com/", "http://www.baidu.com/x",
                      "https://de.search.yahoo.com/", "https://www.ecosia.org/"],
    "social network": ["https://t.co/abc", "https://old.reddit.com/r/x", "https://news.ycombinator.com/",
                       "https://lm.facebook.com/", "https://bsky.app/", "https://www.linkedin.com/feed"],
    "another site": ["https://notgoogle.example/", "https://microsoft.com/", "https://chatgpt.com.example/",
                     "https://mychatgpt.com/", "https://at.co/", "https://chatgptxcom.example/"],
    "this site": ["https://www.example.org/a", "http://example.org:8080/"],
}  # fmt: skip


def test_a_referrer_is_classified_by_its_site(tmp_path):
    lines = [line_row(referrer=text) for referrers in REFERRERS.values() for text in referrers]
    summary = summarise(tmp_path, lines, site_name="www.example.org")
    assert dict(panel_rows(summary, "referral_kinds", "value", "hits")) == {
        kind: len(referrers) for kind, referrers in REFERRERS.items()
    }


def test_a_missing_value_is_a_row_only_if_the_log_format_has_the_field(tmp_path):
    missing = {"user_agent": None, "log_format": "common", "endpoint": None, "target": None,
               "method": None}  # fmt: skip
    summary = summarise(tmp_path, [line_row(**missing)])
    for name in ("requests", "endpoints", "methods"):
        assert panel_rows(summary, name, "value") == [("-",)], name
    for name in ("referrers", "referral_kinds", "user_agents", "browsers", "operating_systems"):
        assert panel_rows(summary, name, "value") == [], name
    (tmp_path / "with").mkdir()
    summary = summarise(
        tmp_path / "with", [line_row(), line_row(host="192.0.2.2", user_agent=None)]
    )
    assert dict(panel_rows(summary, "user_agents", "value", "hits"))["-"] == 1
    assert ("Unknown", "Unknown") in panel_rows(summary, "browsers", "parent", "value")
    assert panel_rows(summary, "referrers", "value", "hits") == [("-", 2)]


def test_response_times_are_counted_if_the_log_has_them(tmp_path):
    lines = [line_row(n, seconds_taken=n / 10) for n in range(1, 101)] + [
        line_row(0),
        line_row(0, "/b"),
    ]
    summary = summarise(tmp_path, lines)
    times = ("seconds_average", "seconds_p95", "seconds_max")
    for panel in ("requests", "endpoints", "status", "methods", "hours"):
        row = summary["panels"][panel]["rows"][0]
        assert [row.get(name) for name in times] == [pytest.approx(5.05), 9.5, 10.0], panel
    (host,) = summary["panels"]["hosts"]["rows"]
    assert [host.get(name) for name in times] == [pytest.approx(5.05), None, 10.0]
    assert summary["panels"]["endpoints"]["rows"][1].get("seconds_p95") is None


def test_the_longest_response_of_a_row_is_the_longest_of_all_its_requests(tmp_path):
    lines = [
        line_row(1, "/a", seconds_taken=1.0), line_row(2, "/b", seconds_taken=3.0, status=404),
        line_row(3, "/a", seconds_taken=2.0, host="192.0.2.2"),
    ]  # fmt: skip
    summary = summarise(tmp_path, lines)
    for panel in ("methods", "hours"):
        (row,) = summary["panels"][panel]["rows"]
        assert (row["hits"], row["seconds_average"], row["seconds_max"]) == (3, 2.0, 3.0), panel


def test_a_path_that_was_not_found_shows_its_most_frequent_referrer(tmp_path):
    def not_found(seconds, referrer):
        return line_row(seconds, "/gone", status=404, referrer=referrer)

    rare, frequent = "http://z.example/x", "http://b.example/y"
    lines = [
        not_found(1, frequent),
        not_found(2, frequent),
        not_found(3, rare),
        *[not_found(n, None) for n in range(4, 9)],
    ]
    summary = summarise(tmp_path, [*lines, line_row(9, "/a.css"), line_row(9, referrer=rare)])
    assert panel_rows(summary, "not_found", "value", "hits", "referrer") == [("/gone", 8, frequent)]
    assert panel_rows(summary, "static_requests", "value", "referrer") == [("/a.css", None)]
    assert panel_rows(summary, "requests", "value", "referrer") == [("/", None)]


def test_a_filter_limits_the_counts_but_bots_are_known_by_all_their_lines(tmp_path):
    head = [line_row(n, f"/{n}", method="HEAD", wanted=n == 0) for n in range(5)]
    other = [line_row(9, host="192.0.2.2", wanted=False), line_row(10, host="192.0.2.3", bytes=7)]
    for humans_only, requests in ((False, 2), (True, 1)):
        folder = tmp_path / str(humans_only)
        folder.mkdir()
        summary = summarise(folder, [*head, *other], is_filtered=True, humans_only=humans_only)
        assert (summary["requests"], summary["visitors"]) == (requests, requests)
        assert summary["humans"] == {"requests": 1, "visitors": 1, "bytes": 7}
        assert summary["visits"]["all"]["pages"] == 1
        assert [bot["hits"] for bot in summary["bots"]] == [1] * (requests - 1)
        assert summary["lines"]["read"] == 7


def test_the_top_rows_of_each_panel_are_returned_and_all_are_written(tmp_path):
    lines = [line_row(n, f"/{n:02}", host=f"192.0.2.{n % 7}") for n in range(30)]
    counts = count_lines(tmp_path, lines)
    file = tmp_path / "panels.parquet"
    top = counts.write_panels(DAY, file, 3)
    endpoints = [(row["value"], row["rows"]) for row in top if row["panel"] == "endpoints"]
    assert endpoints == [("/00", 30), ("/01", 30), ("/02", 30)]
    hosts = [(row["value"], row["hits"], row["rows"]) for row in top if row["panel"] == "hosts"]
    assert hosts == [("192.0.2.0", 5, 7), ("192.0.2.1", 5, 7), ("192.0.2.2", 4, 7)]
    assert parquet.read_table(file)["panel"].to_pylist().count("endpoints") == 30
    assert counts.write_panels("2015-05-18", file, 3) == []


def test_the_newest_unsuccessful_requests_are_listed_newest_first(tmp_path):
    lines = [line_row(n, f"/{n}", status=404 if n % 2 else None) for n in range(9)]
    counts = count_lines(tmp_path, [*lines, line_row(99), line_row(8, "/8a", status=500)])
    newest = counts.collect_tables(newest=3, samples=1, bots=1)["unsuccessful"][DAY]
    assert [(row.endpoint, row.status) for row in newest] == [
        ("/8", None),
        ("/8a", 500),
        ("/7", 404),
    ]


def test_bots_are_listed_by_hits(tmp_path):
    lines = [
        line_row(k, user_agent=GPTBOT, host=f"192.0.2.{n}") for n in range(4) for k in range(n + 1)
    ]
    counts = count_lines(tmp_path, lines)
    bots = counts.collect_tables(newest=1, samples=1, bots=2)["bots"][DAY]
    assert [(row.host, row.hits, row.bytes) for row in bots] == [
        ("192.0.2.3", 4, 400), ("192.0.2.2", 3, 300),
    ]  # fmt: skip


def test_an_attack_shows_its_answered_hits_and_a_shortened_sample(tmp_path):
    target = "/a?f=../../etc/passwd" + "x" * 400
    lines = [
        line_row(n, "/a", target=target, status=status)
        for n, status in enumerate((199, 200, 299, 300, 404))
    ]
    assert summarise(tmp_path, lines)["incidents"]["attacks"] == [
        {"host": "192.0.2.1", "kind": "path traversal", "hits": 5, "answered": 2, "sample": target[:300]}
    ]  # fmt: skip


def test_consecutive_minutes_with_many_server_errors_are_one_burst(tmp_path):
    def errors(minute, number, path="/api", status=502):
        return [line_row(60 * minute + n, path, status=status) for n in range(number)]

    lines = [
        *errors(10, 5), *errors(11, 5, "/worse", 500), *errors(11, 1, "/worse", 599),  # 6 in a minute
        *errors(13, 5), *errors(16, 4), *errors(20, 7, None), *errors(20, 9, "/missing", 499),
        *errors(30, 9, "/odd", 600),
    ]  # fmt: skip
    assert summarise(tmp_path, lines)["incidents"]["bursts"] == [
        {"from": "2015-05-17T01:10:00Z", "to": "2015-05-17T01:14:00Z", "requests": 16, "endpoint": "/worse"},
        {"from": "2015-05-17T01:20:00Z", "to": "2015-05-17T01:21:00Z", "requests": 7, "endpoint": "-"},
    ]  # fmt: skip


def test_a_heartbeat_gap_of_more_than_three_minutes_is_silence(tmp_path):
    seconds = [0, 30, 60, 60 + SILENCE_SECONDS, 61 + 2 * SILENCE_SECONDS]
    lines = [line_row(n, is_heartbeat=True) for n in seconds] + [line_row(100)]
    counts = count_lines(tmp_path, lines)
    start = line_row(0)["micros"] // 1_000_000
    (day,) = counts.collect_heartbeats()[DAY]
    assert (day.minutes, day.first - start, day.last - start) == (4, 0, 421)
    assert [(gap["from"] - start, gap["to"] - start) for gap in day.gaps] == [(240, 421)]
    assert [row.good for row in counts.lines[DAY]] == [1]


def test_silence_is_listed_from_the_first_to_the_last_minute_of_the_day(tmp_path):
    seconds = [0, 60, 60 + SILENCE_SECONDS, 61 + 2 * SILENCE_SECONDS]
    counts = count_lines(tmp_path, [line_row(n, is_heartbeat=True) for n in seconds])
    rows = counts.collect_heartbeats()[DAY]
    next_year = line_row(366 * NEXT_DAY)["micros"] / 1_000_000
    assert summarise_heartbeats(rows, DAY, ZoneInfo("UTC"), next_year) == {
        "minutes": 4,
        "of": 1440,
        "gaps": [
            {"from": "2015-05-17T00:00:00Z", "to": "2015-05-17T01:00:00Z"},
            {"from": "2015-05-17T01:04:00Z", "to": "2015-05-17T01:07:01Z"},
            {"from": "2015-05-17T01:07:01Z", "to": "2015-05-18T00:00:00Z"},
        ],
    }


def test_a_day_without_good_lines_has_zero_totals(tmp_path):
    summary = summarise(tmp_path, [bad_line_row()])
    assert summary["lines"] == {"read": 1, "good": 0, "bad": 1, "duplicates": 0}
    totals = ("requests", "unsuccessful", "visitors", "bytes")
    assert [summary[name] for name in totals] == [0, 0, 0, 0]
    assert summary["humans"] == {"requests": 0, "visitors": 0, "bytes": 0}
    assert (summary["first_request"], summary["last_request"]) == (None, None)
    assert summary["distinct"] == {"visitors": None, "humans": None}
    assert summary["visits"]["all"]["visits"] == 0

"""Humans and bots, visits and incidents, tested on days built line by line."""

import json
import os
import time
from datetime import UTC, datetime, timedelta
from itertools import product

import duckdb
import pytest
from pyspark.sql import functions as F

from include.log_formats.line_batches import ReadBatches
from include.summary.geoip import locate_hosts
from include.summary.incidents import classify_attack
from include.summary.referrers import add_sources, extract_search_phrase
from include.summary.user_agents import describe
from include.summary.visitors import IS_PAGE
from spark_jobs.transforms.access_log import select_landed_lines, select_lines, select_requests
from spark_jobs.transforms.visitors import is_page
from spark_jobs.watch_access_log import select_visits
from tests.conftest import matrix_cases
from tests.spark.day_summaries import build_summaries, count_days

DAY = "2015-05-17"
FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"
GPTBOT = "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; GPTBot/1.1; +https://openai.com/gptbot)"


def build_time(seconds):
    return datetime(2015, 5, 17, 1, tzinfo=UTC) + timedelta(seconds=seconds)


def log_line(
    seconds, path="/", host="192.0.2.1", agent=FIREFOX, status=200, method="GET", referrer="-"
):
    time = build_time(seconds).strftime("%d/%b/%Y:%H:%M:%S +0000")
    return f'{host} - - [{time}] "{method} {path} HTTP/1.1" {status} 100 "{referrer}" "{agent}"'


def human_lines(host="198.51.100.9"):
    """The lines of a human who loads three pages with their files."""
    return [
        log_line(60 * n, path, host)
        for n in range(3)
        for path in (f"/{n}", "/a.css", "/b.js", "/c.png")
    ]


def land_lines(spark, lines):
    rows = spark.createDataFrame([(text,) for text in lines], "value STRING")
    rows_with_file = rows.withColumn("_metadata", F.struct(F.lit("made.log").alias("file_path")))
    return select_landed_lines(select_lines(rows_with_file, "text"), "UTC").localCheckpoint()


def summarise_day(spark, lines, **filter_fields):
    with count_days(land_lines(spark, lines), [DAY], **filter_fields) as counts:
        return build_summaries(counts, [DAY])[DAY]


def find_visits(spark, lines, columns):
    with count_days(land_lines(spark, lines), [DAY]) as counts:
        return counts.db.execute(f"SELECT {columns} FROM visits ORDER BY begin_at").fetchall()


BOT_LINES = {
    "declares itself": [log_line(0, agent=GPTBOT)],
    "asked for robots.txt first": [log_line(0, "/robots.txt"), log_line(9, "/a.css")],
    "names no user agent": [log_line(0, agent="-")],
    "only HEAD": [log_line(n, f"/{n}", method="HEAD") for n in range(5)],
    "asks for what does not exist": [log_line(9 * n, f"/old/{n}", status=404) for n in range(12)],
    "pages, never their files": [log_line(99 * n, f"/page/{n}") for n in range(12)],
    "faster than humans": [
        row for n in range(70) for row in (log_line(n // 4, f"/page/{n}"), log_line(n // 4, "/a.css"))
    ],
    "comes at fixed times": [
        row for n in range(6) for row in (log_line(3600 * n, "/status"), log_line(3600 * n, "/a.css"))
    ],
}  # fmt: skip


def test_bots_are_recognised_by_their_behaviour(spark):
    hosts = {f"192.0.2.{n}": reason for n, reason in enumerate(BOT_LINES, 1)}
    lines = [
        text.replace("192.0.2.1 ", f"{host} ") for host, reason in hosts.items()
        for text in BOT_LINES[reason]
    ]  # fmt: skip
    human = [log_line(40 * n, f"/p/{n}", "203.0.113.5") for n in range(9)]
    day = summarise_day(spark, [*lines, *human_lines(), *human])
    assert {bot["host"]: bot["reasons"] for bot in day["bots"]} == {
        host: [reason] for host, reason in hosts.items()
    }
    assert day["humans"]["visitors"] == 2
    assert day["humans"]["requests"] == day["requests"] - len(lines) == 21
    rows = {(row["parent"], row["value"]): row for row in day["panels"]["bots"]["rows"]}
    for host, reason in hosts.items():
        kind = ("AI crawler", "GPTBot") if reason == "declares itself" else ("by behaviour", reason)
        (bot,) = [bot for bot in day["bots"] if bot["host"] == host]
        assert (bot["class"], bot["name"]) == kind
        assert (rows[kind]["hits"], rows[kind]["humans_hits"]) == (len(BOT_LINES[reason]), 0)


def test_visits_end_after_half_an_hour_without_a_page(spark):
    pages = [log_line(0, "/in"), log_line(1799, "/middle"), log_line(1800, "/a.css"), log_line(3598, "/out"),
             log_line(5399, "/again"), log_line(5400, "/gone", status=404)]  # fmt: skip
    visits = find_visits(spark, pages, "pages, entry, exit, (end_at - begin_at) // 1000000")
    assert visits == [(3, "/in", "/out", 3598), (1, "/again", "/again", 0)]
    day = summarise_day(spark, pages)
    assert day["visits"]["all"] == {
        "visits": 2, "pages": 4, "bounced": 1, "seconds": 3598, "seconds_median": 0,
    }  # fmt: skip
    assert [row["value"] for row in day["panels"]["exit_pages"]["rows"]] == ["/again", "/out"]


ATTACK_KINDS = {
    "/../../etc/passwd": "path traversal",
    "/a?file=....//....//etc/passwd": "path traversal",
    "/a?id=1 UNION ALL SELECT null": "SQL injection",
    "/a?id=1' or 'a'='a": "SQL injection",
    "/a?id=1\vunion\vselect\v1": "SQL injection",
    "/a?q=<script>alert(1)</script>": "script injection",
    "/a?next=javascript:alert(1)": "script injection",
    "/?x=${jndi:ldap://a}": "command injection",
    "/.env": "search for secrets",
    "/.git/config": "search for secrets",
    "/blog/union-select-committee": None,
    "/a?q=rock'n'roll": None,
    "/path/to/page.html": None,
    "/download/script.js?v=1.2": None,
    "/wiki/Foo_(bar)": None,
    "/?q=fish+and+chips": None,
}


def test_attacks_are_classified_by_the_requested_target():
    kind = f"SELECT {classify_attack('$target')}"
    kinds = {target: duckdb.execute(kind, {"target": target}).fetchall() for target in ATTACK_KINDS}
    assert kinds == {target: [(kind,)] for target, kind in ATTACK_KINDS.items()}


def test_incidents_list_attacks_error_bursts_and_the_page_with_a_broken_link(spark):
    lines = [
        *[log_line(n, "/a?f=../../etc/passwd", "203.0.113.7", status=404) for n in range(3)],
        log_line(4, "/%2e%2e/%2e%2e/etc/passwd", "203.0.113.7"),
        *[log_line(600 + n, "/api", status=502) for n in range(7)],
        *[log_line(660 + n, "/api", status=502) for n in range(6)],
        *[log_line(900, "/once", status=500)],
        *[log_line(n, "/gone", status=404, referrer="http://a.example/x") for n in range(3)],
        log_line(5, "/gone", status=404, referrer="http://b.example/y"),
    ]  # fmt: skip
    day = summarise_day(spark, lines)
    (attack,) = day["incidents"]["attacks"]
    assert (attack["host"], attack["kind"], attack["hits"], attack["answered"]) == (
        "203.0.113.7", "path traversal", 4, 1,
    )  # fmt: skip
    (burst,) = day["incidents"]["bursts"]
    assert burst == {"from": "2015-05-17T01:10:00Z", "to": "2015-05-17T01:12:00Z", "requests": 13,
                     "endpoint": "/api"}  # fmt: skip
    gone = next(row for row in day["panels"]["not_found"]["rows"] if row["value"] == "/gone")
    assert (gone["hits"], gone["referrer"]) == (4, "http://a.example/x")


def test_a_filter_counts_only_the_requests_that_match(spark):
    lines = [*human_lines(), *[log_line(n, "/blog/x", agent=GPTBOT) for n in range(5)],
             log_line(7, "/blog/y", "203.0.113.5", status=404)]  # fmt: skip
    whole = summarise_day(spark, lines)
    assert whole["requests"] == 18
    for filter_fields, requests in [
        ({"path": "/blog/*", "humans_only": True}, 1), ({"host": "203.0.113.*", "status": "4xx"}, 1),
        ({"status": "200"}, 17),
    ]:  # fmt: skip
        day = summarise_day(spark, lines, **filter_fields)
        assert day["requests"] == requests, filter_fields
        assert sum(row["hits"] for row in day["panels"]["requests"]["rows"]
                   + day["panels"]["static_requests"]["rows"]
                   + day["panels"]["not_found"]["rows"]) == requests  # fmt: skip
        assert day["lines"] == whole["lines"]


def test_referrers_are_classified_by_kind_of_source(spark):
    sites = {
        "https://chatgpt.com/": "AI assistant", "https://www.perplexity.ai/search": "AI assistant",
        "https://www.google.co.uk/url?q=x": "search engine", "https://duckduckgo.com/": "search engine",
        "https://t.co/abc": "social network", "https://old.reddit.com/r/x": "social network",
        "https://www.example.org/a": "this site", "http://example.org:8080/": "this site",
        "https://notgoogle.example/": "another site", "android-app://com.slack/": "another site",
        None: "none",
    }  # fmt: skip
    db = duckdb.connect()
    db.execute("CREATE TABLE seen (referrer VARCHAR, vhost VARCHAR, log_format VARCHAR)")
    for referrer in sites:
        db.execute("INSERT INTO seen VALUES (?, NULL, 'combined')", [referrer])
    query = "SELECT referrer, source_kind FROM "
    assert dict(db.execute(query + add_sources(db, "seen", "www.example.org")).fetchall()) == sites
    db.execute("UPDATE seen SET vhost = 'T.CO:443'")
    kinds = dict(db.execute(query + add_sources(db, "seen", "www.example.org")).fetchall())
    assert [kinds["https://t.co/abc"], kinds["http://example.org:8080/"]] == [
        "this site",
        "another site",
    ]
    db.execute("DELETE FROM seen WHERE referrer IS NOT NULL; UPDATE seen SET log_format = 'common'")
    query = "SELECT source, source_kind FROM " + add_sources(db, "seen", "")
    assert db.execute(query).fetchall() == [(None, None)]


GOOGLE_CACHE = "http://webcache.googleusercontent.com/search?q=cache:a:example.org/"


@pytest.mark.parametrize(("referrer", "shown", "phrase"), [
    ("https://www.google.com/search?q=some+words&hl=en", "https://www.google.com/search?q=some+words",
     "some words"),
    ("https://www.google.de/url?sa=t&q=%C3%A4pfel+%2B&x", "https://www.google.de/url?sa=t&q=%C3%A4pfel+%2B",
     "äpfel"),
    ("https://www.google.com/?q=%zz%FF", "https://www.google.com/?q=%zz%FF", "%zz\ufffd"),
    (f"{GOOGLE_CACHE}+foo+bar&hl=en", f"{GOOGLE_CACHE}+foo+bar", "foo bar"),
    (f"{GOOGLE_CACHE}&hl=a+b&x=1", GOOGLE_CACHE, "b"),
    ("http://www.google.com/+plus&x", "http://www.google.com/+plus", "plus"),
    ("http://www.google.com/+&q=a", "http://www.google.com/+&q=a", None),
    ("http://www.google.com/?q=&x", "http://www.google.com/?q=", None),
    ("http://www.google.com/x%3Fq%3Dhello%2520w%26y", "http://www.google.com/x%3Fq%3Dhello%2520w",
     "hello%20w"),
    ("http://www.google.com/", "http://www.google.com/", None),
])  # fmt: skip
def test_search_phrases_are_extracted_as_goaccess_does(referrer, shown, phrase):
    assert extract_search_phrase(referrer) == (shown, phrase)


@pytest.mark.parametrize(("text", "browser", "system", "bot"), [
    (FIREFOX, ("Firefox", "Firefox 128"), ("Linux", "Linux"), None),
    (GPTBOT, ("bots", "GPTBot"), ("bots", "GPTBot"), ("AI crawler", "GPTBot")),
    ("curl/8.5.0", ("bots", "curl"), ("bots", "curl"), ("program", "curl")),
    ("Mozilla/5.0 (compatible; Ezooms/1.0; help@moz.com)", ("bots", "Ezooms"), ("bots", "Ezooms"),
     ("other crawler", "Ezooms")),
    ("Mozilla/4.0 (compatible; MSIE 7.0; Windows NT 6.0)", ("IE", "IE 7"),
     ("Windows", "Windows Vista"), None),
    ("<script>", ("Unknown", "Unknown"), ("Unknown", "Unknown"), None),
    ("", ("Unknown", "Unknown"), ("Unknown", "Unknown"), None),
])  # fmt: skip
def test_a_user_agent_gives_browser_system_and_bot(text, browser, system, bot):
    (row,) = describe([text])
    assert row[:5] == (text, *browser, *system)
    assert (row[5:] if bot else None) == bot or (row[5:] == (None, None) and bot is None)


def test_a_damaged_or_missing_maxmind_file_is_refused_by_name(tmp_path):
    broken = tmp_path / "broken.mmdb"
    broken.write_text(json.dumps({"no": "database"}))
    for file in (broken, tmp_path / "missing.mmdb"):
        with pytest.raises(Exception, match=f"--maxmind.*{file.name}.*expected a database"):
            list(locate_hosts(str(file), ["192.0.2.1"]))


@pytest.mark.matrix
def test_the_stream_gives_the_same_visits_as_the_batch(spark, tmp_path):
    """The stream reads several batches with late lines. The last line only advances the watermark."""
    times = sorted(n * 37 % 9000 for n in range(300))
    lines = [log_line(time, f"/{n % 7}", f"192.0.2.{n % 5}") for n, time in enumerate(times)]
    batches = [lines[:100] + lines[103:106], lines[100:103] + lines[106:200], lines[200:]]
    for number, batch_lines in enumerate(batches):
        (tmp_path / f"{number}.log").write_text("\n".join(batch_lines) + "\n")
        os.utime(tmp_path / f"{number}.log", (number, number))
    (tmp_path / "9.log").write_text(log_line(80_000, "/end", "203.0.113.1") + "\n")
    columns = "event_date, make_timestamp(begin_at), make_timestamp(end_at), pages, entry, exit"
    batch = find_visits(spark, lines, columns)
    stream = spark.readStream.option("maxFilesPerTrigger", 1).text(str(tmp_path))
    query = (
        select_visits(select_requests(stream, "text", ReadBatches()))
        .writeStream.format("memory").queryName("seen_visits").outputMode("append")
        .option("checkpointLocation", str(tmp_path / "checkpoint")).trigger(availableNow=True).start()
    )  # fmt: skip
    assert query.awaitTermination(120)
    query.stop()
    rows = spark.table("seen_visits").where("entry != '/end'").collect()
    # collect() gives naive times in this machine's zone; DuckDB gives them in UTC.
    visits = sorted(
        (row.event_date, row.begin.astimezone(UTC).replace(tzinfo=None),
         row.end.astimezone(UTC).replace(tzinfo=None), row.pages, row.entry, row.exit)
        for row in rows
    )  # fmt: skip
    assert visits == sorted(batch)
    assert len(visits) >= 5


def test_the_stream_counts_the_same_requests_as_pages_as_the_batch(spark):
    statuses = (None, 199, 200, 299, 300, 303, 304, 305, 404)
    paths = (None, "/a", "/a.PNG", "/a.html", "/png", "/a.css/b")
    rows = list(product(statuses, (None, "GET", "POST", "HEAD"), paths))
    pages = {
        row
        for row in rows
        if row[0] in (200, 299, 304)
        and row[1] in ("GET", "POST")
        and row[2] not in (None, "/a.PNG")
    }
    requests = spark.createDataFrame(rows, "status INT, method STRING, endpoint STRING")
    assert {tuple(row) for row in requests.where(is_page()).collect()} == pages
    db = duckdb.connect()
    db.execute("CREATE TABLE requests (status INTEGER, method VARCHAR, endpoint VARCHAR)")
    db.executemany("INSERT INTO requests VALUES (?, ?, ?)", rows)
    assert set(db.execute(f"SELECT * FROM requests WHERE {IS_PAGE}").fetchall()) == pages


@pytest.mark.parametrize(
    ("flags", "day"),
    [*matrix_cases(([], "2015-05-17")), (["--time-zone", "Asia/Tokyo"], "2015-05-18")],
)
def test_watched_visits_belong_to_the_day_in_the_given_time_zone(spark, job, tmp_path, flags, day):
    for number, seconds in enumerate((79_200, 200_000, 400_000)):  # 23:00, and days later
        (tmp_path / f"{number}.log").write_text(log_line(seconds, f"/{number}") + "\n")
        os.utime(tmp_path / f"{number}.log", (number, number))
    table, manifest, started = f"watched_{len(flags)}", tmp_path / "manifest.json", time.monotonic()
    code, output = job(
        "watch_access_log",
        "--source",
        f"text:{tmp_path}",
        "--sink",
        f"memory:{table}",
        "--show",
        "visits",
        "--trigger",
        "available-now",
        "--max-files-per-trigger",
        1,
        "--manifest",
        manifest,
        *flags,
    )
    assert code == 0, output
    assert 0 < json.loads(manifest.read_text())["seconds"] < time.monotonic() - started
    first = spark.table(table).where("entry = '/0'").collect()
    assert [(str(row.event_date), row.pages) for row in first] == [(day, 1)]

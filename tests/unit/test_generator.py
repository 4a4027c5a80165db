"""The generator of access logs."""

import re
from collections import Counter
from datetime import date
from statistics import median

from apachelogs import COMBINED, LogParser

from producers.access_log.generator import build_generated_log_id, generate_lines

DAY = date(2026, 1, 15)


def test_equal_seeds_give_equal_bytes_and_other_seeds_do_not():
    first = [line.text for line in generate_lines(500, 1, DAY)]
    assert first == [line.text for line in generate_lines(500, 1, DAY)]
    assert first != [line.text for line in generate_lines(500, 2, DAY)]
    assert build_generated_log_id(500, 1, DAY) != build_generated_log_id(500, 2, DAY)


def test_line_offsets_follow_from_the_line_sizes():
    offset = 0
    for line in generate_lines(300, 1, DAY):
        assert line.start == offset
        assert line.size == len(line.text) + 1
        offset += line.size


def test_the_requested_number_of_lines_of_one_day_comes_in_time_order():
    parser, last = LogParser(COMBINED), None
    lines = list(generate_lines(3000, 7, DAY, bad_share=0))
    assert len(lines) == 3000
    for line in lines:
        entry = parser.parse(line.text.decode())
        assert entry.request_time.date() == DAY
        assert last is None or entry.request_time >= last
        last = entry.request_time


def test_generated_traffic_resembles_a_real_site():
    text = b"\n".join(line.text for line in generate_lines(20_000, 1, DAY)).decode()
    statuses = Counter(re.findall(r'" (\d{3}) ', text))
    assert {"200", "206", "301", "304", "403", "404", "500"} <= set(statuses)
    assert statuses["200"] > 0.5 * 20_000
    hours = Counter(re.findall(r"2026:(\d\d):", text))
    assert hours["14"] > 4 * hours["03"] > 0
    pages = Counter(re.findall(r'"GET (/[^ ?]*)', text)).most_common()
    assert pages[0][1] > 20 * pages[-1][1]
    assert "Googlebot" in text
    assert "198.18." in text
    assert "2001:db8:" in text


def test_the_share_of_bad_lines_is_as_requested():
    parser, bad = LogParser(COMBINED), 0
    for line in generate_lines(2000, 3, DAY, bad_share=0.1):
        try:
            parser.parse(line.text.decode())
        except ValueError:
            bad += 1
    assert 100 < bad < 300


def test_generated_statuses_are_a_fixed_set():
    statuses = Counter(
        re.findall(rb'" (\d{3}) ', b"\n".join(line.text for line in generate_lines(20_000, 1, DAY)))
    )
    assert set(statuses) == {b"200", b"206", b"301", b"304", b"400", b"403", b"404", b"500"}


def test_requests_for_static_files_have_a_page_as_their_referrer():
    lines = [line.text.decode() for line in generate_lines(5000, 1, DAY)]
    referrers = {line.split('"')[3] for line in lines if "GET /static/" in line}
    assert referrers
    assert all(referrer.startswith("https://") for referrer in referrers)


def test_only_the_editor_sees_the_admin_page():
    text = b"\n".join(line.text for line in generate_lines(20_000, 1, DAY, bad_share=0)).decode()
    answers = set(re.findall(r'- (\S+) \[.*"GET (\S+) .*?" (\d+) ', text))
    admitted = {user for user, path, status in answers if (path, status) == ("/admin/", "200")}
    assert admitted == {"editor"}
    refused = {path for _, path, status in answers if status == "403"}
    assert refused == {"/admin/", "/.env", "/.git/config"}


def test_scanners_use_an_older_version_of_http_than_browsers_and_crawlers():
    versions = {"scanner": set(), "other": set()}
    for line in generate_lines(5000, 1, DAY, bad_share=0):
        _, request, _, _, _, agent, _ = line.text.decode().split('"')
        if request.startswith("GET "):
            is_scanner = "zgrab" in agent or "curl" in agent or agent == "-"
            versions["scanner" if is_scanner else "other"].add(request.rpartition(" ")[2])
    assert versions == {"scanner": {"HTTP/1.1"}, "other": {"HTTP/2.0"}}


def test_humans_take_time_to_read_a_page():
    parser, last_pages, seconds = LogParser(COMBINED), {}, []
    for line in generate_lines(3000, 1, DAY, bad_share=0):
        entry = parser.parse(line.text.decode())
        agent = entry.headers_in["User-Agent"] or ""
        if "Firefox/" not in agent or "." in entry.request_line.split(" ")[1]:
            continue  # no human's browser, or a file of a page
        visitor = (entry.remote_host, agent)
        if visitor in last_pages:
            seconds.append((entry.request_time - last_pages[visitor]).total_seconds())
        last_pages[visitor] = entry.request_time
    within_visits = [pause for pause in seconds if pause < 1800]
    assert len(within_visits) > 30
    assert 15 < median(within_visits) < 60

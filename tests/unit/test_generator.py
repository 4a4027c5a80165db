import re
from collections import Counter
from datetime import date

from apachelogs import COMBINED, LogParser

from producers.access_log.generator import generate_lines, generated_log_id

DAY = date(2026, 1, 15)


def test_the_same_seed_writes_the_same_bytes_and_another_seed_others():
    first = [line.text for line in generate_lines(500, 1, DAY)]
    assert first == [line.text for line in generate_lines(500, 1, DAY)]
    assert first != [line.text for line in generate_lines(500, 2, DAY)]
    assert generated_log_id(500, 1, DAY) != generated_log_id(500, 2, DAY)


def test_lines_lie_behind_one_another_by_their_bytes():
    reached = 0
    for line in generate_lines(300, 1, DAY):
        assert line.start == reached
        assert line.size == len(line.text) + 1
        reached += line.size


def test_it_is_exactly_as_many_lines_as_asked_for_of_one_day_in_order():
    parser, last = LogParser(COMBINED), None
    lines = list(generate_lines(3000, 7, DAY, bad_share=0))
    assert len(lines) == 3000
    for line in lines:
        entry = parser.parse(line.text.decode())
        assert entry.request_time.date() == DAY
        assert last is None or entry.request_time >= last
        last = entry.request_time


def test_it_looks_like_the_traffic_of_a_site():
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


def test_the_share_of_damaged_lines_is_as_asked_for():
    parser, bad = LogParser(COMBINED), 0
    for line in generate_lines(2000, 3, DAY, bad_share=0.1):
        try:
            parser.parse(line.text.decode())
        except ValueError:
            bad += 1
    assert 100 < bad < 300


def test_its_statuses_are_those_that_a_report_is_shown_with():
    statuses = Counter(
        re.findall(rb'" (\d{3}) ', b"\n".join(_.text for _ in generate_lines(20_000, 1, DAY)))
    )
    assert set(statuses) == {b"200", b"206", b"301", b"304", b"400", b"403", b"404", b"500"}


def test_who_fetches_what_belongs_to_a_page_comes_from_that_page():
    lines = [line.text.decode() for line in generate_lines(5000, 1, DAY)]
    referrers = {line.split('"')[3] for line in lines if "GET /static/" in line}
    assert referrers
    assert all(referrer.startswith("https://") for referrer in referrers)

r"""No line is expensive: the time to read one grows with its length, whatever an attacker repeats in it."""

import itertools
import random
import time
from datetime import UTC, datetime

import polars as pl
import pytest

from include.contracts import MAX_LINE_BYTES
from include.log_formats.reader import LineReader
from include.log_formats.w3c import build_w3c_id, normalise_w3c_fields
from tests.unit.log_writers import DRAFT_FIELDS, IIS_FIELDS, LOG_FORMATS, Request, fill_log_format

# What patterns look for: beginnings and ends of fields, and what may be repeated within them.
PIECES = [
    '"', "\\", '\\"', " ", "[", '] "', "1", "-", "\t", '" 200 5', '" "', '[17/May/2015:10:05:03 +0000] "',
    ":80 ", "a.", "::", "%", "|", '{"a":', "\\x", '""', "+",
]  # fmt: skip
PAIRS = list(itertools.combinations_with_replacement(PIECES, 2))
# A line of SMALL bytes, doubled three times or four times. Twice the length may take 2.3 times as long: for
# four times, 28 are allowed, 16 are linear and 256 are square.
SMALL, MAX_RATIO = 60_000, 2.3

CLF = '192.0.2.7 - - [17/May/2015:10:05:03 +0000] "GET /'
DETECTED = [
    "", "192.0.2.7 - ", CLF, f'{CLF} HTTP/1.1" 200 5 "', f'{CLF} HTTP/1.1" 200 5 "-" "',
    f"www.example.org:80 {CLF}",
    "https 2018-07-02T22:23:00.186641Z a 192.0.2.7:5 - 0 0 0 200 200 34 366 \"", "{", '{"ts":1,"x":"',
    '{"ts":1646861401.5,"remote_ip":"192.0.2.7","status":200,"uri":"/',
]  # fmt: skip
UNQUOTED = {
    "text without quotes": "%v:%p %h %u %t %r %>s %b %f %{Referer}i|%{X}i %D",
    "an unquoted user agent first": "%{User-Agent}i %h %t %>s",
}
FORMATS = LOG_FORMATS | UNQUOTED
REQUEST = Request(
    host="192.0.2.7", port="51234", user="frank", time=datetime(2015, 5, 17, 10, 5, 3, tzinfo=UTC),
    method="GET", path="/a", query=None, protocol="HTTP/1.1", status=200, size=512, referrer="http://a/",
    user_agent="Mozilla/5.0", vhost="www.example.org", millis=1234,
)  # fmt: skip


class Case:
    """A reader, and beginnings of the lines that it reads."""

    def __init__(self, name: str) -> None:
        self.file: str | None = None
        if name == "detected":
            self.reader, self.beginnings = LineReader(), DETECTED
        elif name in FORMATS:
            self.reader = LineReader(FORMATS[name])
            if name in UNQUOTED:
                self.beginnings = ["", "a:80 192.0.2.7 frank [17/May/2015:10:05:03 +0000] "]
            else:
                line = fill_log_format(FORMATS[name], REQUEST).text
                self.beginnings = [line[: len(line) // 2], line[:-4]]
        else:
            fields = normalise_w3c_fields({"IIS": IIS_FIELDS, "draft": DRAFT_FIELDS}[name], "")
            self.file = f"a.{build_w3c_id(fields)}.log"
            self.reader = LineReader(w3c_fields={build_w3c_id(fields): fields})
            self.beginnings = [
                "",
                "2015-05-17 10:05:03 10.0.0.1 GET /",
                '2015-05-17\t10:05:03\t192.0.2.7\t"',
            ]

    def measure(self, line: str, runs: int) -> float:
        lines, files = pl.Series([line.encode()]), pl.Series([self.file], dtype=pl.String)
        seconds = []
        for _ in range(runs):
            started = time.perf_counter()
            self.reader.read(lines, files=files)
            seconds.append(time.perf_counter() - started)
        return min(seconds)

    def is_linear(self, beginning: str, pair: tuple[str, str], doublings: int) -> bool:
        repeated = "".join(pair)
        small, large = (
            beginning + repeated * (size // len(repeated)) + " x"
            for size in (SMALL, SMALL * 2**doublings)
        )
        assert len(large) < MAX_LINE_BYTES
        for runs in (1, 3, 10):  # again, and better, if something else took the processor
            seconds = self.measure(large, runs)
            if seconds < 0.02 or seconds < MAX_RATIO**doublings * self.measure(small, runs):
                return True
        return False


def list_expensive_lines(
    case: Case, pairs: list[tuple[str, str]], doublings: int
) -> list[tuple[str, tuple[str, str]]]:
    return [
        (beginning, pair) for beginning in case.beginnings for pair in pairs
        if not case.is_linear(beginning, pair, doublings)
    ]  # fmt: skip


CASES = ["detected", "IIS", "draft", *FORMATS]


@pytest.mark.parametrize("name", CASES)
def test_the_time_to_read_a_line_of_a_sample_of_pieces_is_linear_in_its_length(name):
    assert list_expensive_lines(Case(name), random.Random(name).sample(PAIRS, 2), doublings=4) == []


@pytest.mark.matrix
@pytest.mark.parametrize("name", CASES)
def test_the_time_to_read_a_line_of_any_two_pieces_is_linear_in_its_length(name):
    # All pairs for the formats that are detected; LogFormats are alike, a third of the pairs for each.
    is_log_format = name in LOG_FORMATS
    pairs = random.Random(f"many {name}").sample(PAIRS, 77) if is_log_format else PAIRS
    assert list_expensive_lines(Case(name), pairs, doublings=3) == []


def test_a_square_pattern_would_be_noticed():
    class Square:
        def read(self, lines, files):
            time.sleep(len(lines[0]) ** 2 * 1e-13)

    case = Case("detected")
    case.reader = Square()
    assert not case.is_linear("", ("a", "b"), doublings=4)

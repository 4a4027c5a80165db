"""Generate one day of realistic traffic of a small web site, in combined format.

The same seed gives the same bytes. Humans visit more by day than by night, read a few pages (page
popularity follows a Zipf distribution), load assets once and revalidate them later, and follow
links. Crawlers walk through pages steadily. Scanners request paths that do not exist. Addresses
are from ranges reserved for tests and documentation (RFC 2544, RFC 3849): they belong to nobody.
"""

import heapq
from bisect import bisect
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime
from itertools import accumulate, count
from random import Random

from producers.access_log.log_file import Line

# Relative number of visits that start in each hour, from midnight.
VISITS_BY_HOUR = [2, 1, 1, 1, 1, 2, 3, 5, 8, 10, 11, 11, 10, 10, 11, 11, 10, 9, 9, 10, 11, 10, 7, 4]
SUBJECTS = [
    "streams",
    "tides",
    "ports",
    "maps",
    "boats",
    "storms",
    "light",
    "charts",
    "harbours",
    "crews",
    "knots",
    "routes",
]
KINDS = ["guide", "review", "story", "notes", "gallery", "interview"]
PAGES = ["/", "/about/", "/archive/", "/contact/", "/search"] + [
    f"/{topic}/{kind}-{number}/" for number in range(1, 6) for topic in SUBJECTS for kind in KINDS
]
ASSETS = [("/static/site.css", 18211), ("/static/site.js", 64120), ("/static/logo.svg", 2210),
          ("/favicon.ico", 1150), ("/static/fonts/text.woff2", 31004)]  # fmt: skip
MISSING_PATHS = ["/wp-login.php", "/.env", "/xmlrpc.php", "/admin/", "/.git/config", "/phpmyadmin/",
           "/old/boats.html", "/robots.txt.bak"]  # fmt: skip
CHROME = "AppleWebKit/537.36 (KHTML, like Gecko) Chrome/143.0.0.0"
BROWSERS = [
    (34, f"Mozilla/5.0 (Windows NT 10.0; Win64; x64) {CHROME} Safari/537.36"),
    (22, f"Mozilla/5.0 (Linux; Android 10; K) {CHROME} Mobile Safari/537.36"),
    (18, "Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15 "
         "(KHTML, like Gecko) Version/18.6 Mobile/15E148 Safari/604.1"),
    (9, f"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) {CHROME} Safari/537.36"),
    (7, "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0"),
    (6, "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:145.0) Gecko/20100101 Firefox/145.0"),
    (4, f"Mozilla/5.0 (Windows NT 10.0; Win64; x64) {CHROME} Safari/537.36 Edg/143.0.0.0"),
]  # fmt: skip
CRAWLERS = [
    (40, "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"),
    (25, "Mozilla/5.0 (compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm)"),
    (20, "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; GPTBot/1.2; "
         "+https://openai.com/gptbot)"),
    (15, "Mozilla/5.0 (compatible; AhrefsBot/7.0; +http://ahrefs.com/robot/)"),
]  # fmt: skip
SCANNERS = [(1, "Mozilla/5.0 zgrab/0.x"), (1, "curl/8.14.1"), (1, "-")]
REFERRERS = [
    (50, "-"), (30, "https://www.google.com/"), (6, "https://www.bing.com/"),
    (6, "https://duckduckgo.com/"), (4, "https://news.ycombinator.com/"), (4, "https://chatgpt.com/"),
]  # fmt: skip
SITE = "https://tidemark.example"
LINES_PER_VISIT = (
    11.6  # 11.75 measured over 30,000 visits; the last ones are not complete at midnight
)


def generate_lines(lines: int, seed: int, day: date, bad_share: float = 0.0005) -> Iterator[Line]:
    """Generate log lines of one day, ordered by time.

    Args:
        lines: Number of lines.
        seed: The same seed, day and number of lines give the same log.
        day: The day of the lines, in UTC.
        bad_share: Share of lines (0 to 1) that are cut off in the middle, as after a crash.
    """
    start = 0
    for text in _generate_texts(lines, Random(f"{seed} {day} {lines}"), day, bad_share):
        yield Line(start, text, len(text) + 1)
        start += len(text) + 1


def build_generated_log_id(line_count: int, seed: int, day: date) -> str:
    return f"generated-{day:%Y%m%d}-{seed}-{line_count}"


def _generate_texts(lines: int, random: Random, day: date, bad_share: float) -> Iterator[bytes]:
    midnight = int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp())
    prefix = f"[{day:%d}/{'JanFebMarAprMayJunJulAugSepOctNovDec'[day.month * 3 - 3 :][:3]}/{day:%Y}"
    # A heap of the visits in progress: second of the next line, visit number, line, later lines.
    visits: list[tuple[float, int, str, Iterator[tuple[float, str]]]] = []
    arrivals = _visit_starts(max(1, round(lines / LINES_PER_VISIT)))
    arrival, written = next(arrivals), 0
    for number in count():
        # Write all lines before the start of the next visit.
        while visits and visits[0][0] <= arrival:
            second, order, text, visit = visits[0]
            clock = min(86399, int(second))
            stamp = f"{prefix}:{clock // 3600:02}:{clock // 60 % 60:02}:{clock % 60:02} +0000]"
            line = text.replace("[]", stamp, 1)
            if random.random() < bad_share:
                line = line[: random.randrange(10, len(line) // 2)]
            yield line.encode()
            written += 1
            if written == lines:
                return
            next_line = next(visit, None)
            if next_line is None:
                heapq.heappop(visits)
            else:
                heapq.heapreplace(visits, (next_line[0], order, next_line[1], visit))
        visit = _visit(random, arrival, midnight)
        second, text = next(visit)
        heapq.heappush(visits, (second, number, text, visit))
        arrival = next(arrivals)


def _visit_starts(visits: int) -> Iterator[float]:
    """Yield the second of the day at which each visit starts, then the last second forever."""
    edges = list(accumulate(VISITS_BY_HOUR, initial=0))
    for number in range(visits):
        share = (number + 0.5) / visits * edges[-1]
        hour = bisect(edges, share) - 1
        yield 3600 * (hour + (share - edges[hour]) / VISITS_BY_HOUR[hour])
    while True:
        yield 86399.5


class _WeightedChoice:
    """Draws values by weight. The cumulative weights are computed once."""

    def __init__(self, pairs: Sequence[tuple[float, str]]) -> None:
        self._sums = list(accumulate(weight for weight, _ in pairs))
        self._values = [value for _, value in pairs]

    def draw(self, random: Random) -> str:
        return self._values[bisect(self._sums, random.random() * self._sums[-1])]


_pages = _WeightedChoice([(1 / rank, page) for rank, page in enumerate(PAGES, 1)])
_browsers, _crawlers, _scanners = (
    _WeightedChoice(BROWSERS),
    _WeightedChoice(CRAWLERS),
    _WeightedChoice(SCANNERS),
)
_referrers = _WeightedChoice(REFERRERS)


def _visit(random: Random, second: float, midnight: int) -> Iterator[tuple[float, str]]:
    kind = random.random()
    if kind < 0.90:
        return _human(random, second)
    if kind < 0.98:
        return _crawler(random, second)
    return _scanner(random, second)


def _human(random: Random, second: float) -> Iterator[tuple[float, str]]:
    host, agent = _address(random), _browsers.draw(random)
    user = "editor" if random.random() < 0.01 else "-"
    referrer, seen = _referrers.draw(random), random.random() < 0.35
    while True:
        page = _pages.draw(random)
        status, size, target = 200, 6000 + stable_hash(page) % 40000, page
        odd = random.random()
        if page == "/search":
            target = f"/search?q={random.choice(SUBJECTS)}+{random.choice(KINDS)}"
        elif odd < 0.02:
            status, size, target = 404, 1720, page.rstrip("/") + "/draft"
        elif odd < 0.035:
            status, size, target = 301, 178, page.rstrip("/") or "/home"
        elif odd < 0.037:
            status, size = 500, 1290
        elif user != "-" or odd < 0.040:
            status, size, target = (200, 9120, "/admin/") if user != "-" else (403, 153, "/admin/")
        yield second, _line(host, user, target, status, size, referrer, agent)
        if status == 200:
            for path, length in ASSETS[: random.randrange(6) if seen else 5]:
                second += random.random() * 0.4
                known = seen and random.random() < 0.5
                yield second, _line(
                    host, user, path, 304 if known else 200, 0 if known else length,
                    SITE + target, agent,
                )  # fmt: skip
            if random.random() < 0.03:
                second += 1
                yield second, _line(
                    host, user, "/media/tide.mp4", 206, random.randrange(65536, 4194304),
                    SITE + target, agent,
                )  # fmt: skip
        if random.random() < 0.35:
            return
        seen, referrer = True, SITE + target
        second += random.expovariate(1 / 45)


def _crawler(random: Random, second: float) -> Iterator[tuple[float, str]]:
    host, agent = _address(random), _crawlers.draw(random)
    yield second, _line(host, "-", "/robots.txt", 200, 68, "-", agent)
    for _ in range(random.randrange(3, 30)):
        second += random.expovariate(1 / 20)
        page = random.choice(PAGES)
        fresh = random.random() < 0.7
        size = 6000 + stable_hash(page) % 40000 if fresh else 0
        yield second, _line(host, "-", page, 200 if fresh else 304, size, "-", agent)


def _scanner(random: Random, second: float) -> Iterator[tuple[float, str]]:
    host, agent = _address(random), _scanners.draw(random)
    if random.random() < 0.3:  # a TLS handshake sent to the plain port, as Apache writes it
        yield second, f'{host} - - [] "\\x16\\x03\\x01" 400 226 "-" "-"'
    for path in random.sample(MISSING_PATHS, random.randrange(2, len(MISSING_PATHS))):
        second += random.random() * 2
        forbidden = path in ("/.env", "/.git/config")
        yield second, _line(host, "-", path, 403 if forbidden else 404, 153, "-", agent, "HTTP/1.1")


def _line(
    host: str, user: str, target: str, status: int, size: int, referrer: str, agent: str,
    protocol: str = "HTTP/2.0",
) -> str:  # fmt: skip
    sent = str(size) if size else "-"
    return f'{host} - {user} [] "GET {target} {protocol}" {status} {sent} "{referrer}" "{agent}"'


def _address(random: Random) -> str:
    # A Pareto distribution: some addresses return, most do not.
    number = int(random.paretovariate(0.3)) * 2654435761 % 2**32
    if number % 5 == 0:
        return f"2001:db8:{number >> 16:x}::{number & 0xFFFF:x}"
    return f"198.{18 + (number >> 8) % 2}.{(number >> 12) % 256}.{(number >> 20) % 256}"


def stable_hash(text: str) -> int:
    """Hash a text to the same number in every process, unlike `hash()`."""
    return sum(text.encode()) * 2654435761 % 2**32

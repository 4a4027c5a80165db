"""What a user agent says it is: a browser on a system, or a bot that declares itself.

Runs in the driver, once for each different text. Browsers and systems: ua-parser's rules. Declared
bots: the list crawler-user-agents, then ua-parser's own (its device "Spider"), then programs that
no rule knows and that give an address where their owner can be asked.
"""

import re
from collections.abc import Iterable, Iterator
from functools import cache

NOTHING = "-"
BOTS = "bots"  # instead of a browser and a system: a crawler is neither
# The list's tags, the most telling first, as the report calls them.
BOT_CLASSES = {
    "ai-crawler": "AI crawler",
    "search-engine": "search engine",
    "seo": "search marketing",
    "social-preview": "link preview",
    "feed-reader": "feed reader",
    "monitoring": "monitoring",
    "archiver": "archive",
    "academic": "research",
    "advertising": "advertising",
    "scanner": "scanner",
    "browser-automation": "automated browser",
    "http-library": "program",
}
OTHER_BOT_CLASS = "other crawler"
ROW_DDL = """user_agent STRING, browser STRING, browser_version STRING, system STRING,
    system_version STRING, bot_class STRING, bot_name STRING"""
_ADDRESS = re.compile(r"https?://|www\.|\w@\w")


def describe(user_agents: Iterable[str]) -> Iterator[tuple[str | None, ...]]:
    """Rows of ROW_DDL, one for each text. `bot_class` is null for what does not declare itself.

    `browser` "Chrome" has the `browser_version` "Chrome 32"; what is not known is "Unknown".
    """
    from ua_parser import parse

    for text in user_agents:
        told = parse(text).with_defaults()
        is_spider = told.device.family == "Spider"
        found = find_declared_bot(text)
        unknown = told.user_agent.family == "Other"
        if found is None and (is_spider or (unknown and _ADDRESS.search(text))):
            found = OTHER_BOT_CLASS, _own_name(text)
        if found:
            yield text, BOTS, found[1], BOTS, found[1], *found
            continue
        browser = "Unknown" if unknown else told.user_agent.family
        system = "Unknown" if told.os.family == "Other" else told.os.family
        yield (
            text, browser, _versioned(browser, told.user_agent.major),
            system, _versioned(system, told.os.major, told.os.minor), None, None,
        )  # fmt: skip


def find_declared_bot(text: str) -> tuple[str, str] | None:
    """Class and name of a crawler on the kept list; None if it is not on it."""
    matches = [(tags, text[at:end]) for tags, at, end in _found(text)]
    if not matches:
        return None
    tags = {tag for own, _ in matches for tag in own}
    name = max((name for _, name in matches), key=len)
    return (
        next((told for tag, told in BOT_CLASSES.items() if tag in tags), OTHER_BOT_CLASS),
        name.strip(" /;()")[:60] or NOTHING,
    )


def _found(text: str) -> Iterator[tuple[list[str], int, int]]:
    literals, patterns = _crawlers()
    for literal, tags in literals:
        if literal in text:
            at = text.index(literal)
            yield tags, at, at + len(literal)
    for pattern, tags in patterns:
        if match := pattern.search(text):
            yield tags, *match.span()


@cache
def _crawlers() -> tuple[list[tuple[str, list[str]]], list[tuple[re.Pattern[str], list[str]]]]:
    """The list's patterns. Nearly all are plain text, and found as such: 100 times as fast."""
    from crawleruseragents import CRAWLER_USER_AGENTS_DATA

    literals, patterns = [], []
    for entry in CRAWLER_USER_AGENTS_DATA:
        pattern, tags = entry["pattern"], entry.get("tags", [])
        if re.fullmatch(r"(?:[^\\.^$*+?{}\[\]|()]|\\[^a-zA-Z0-9])*", pattern):
            literals.append((re.sub(r"\\(.)", r"\1", pattern), tags))
        else:
            patterns.append((re.compile(pattern), tags))
    return literals, patterns


def _own_name(text: str) -> str:
    """What it calls itself: behind `compatible;`, or its first word."""
    match = re.search(r"compatible;\s*([^;/)\s]+)", text) or re.match(r"\W*([^/\s;(]+)", text)
    return match[1][:60] if match else NOTHING


def _versioned(name: str, *version: str | None) -> str:
    return " ".join([name, ".".join(part for part in version if part)]).strip()

"""Where visitors came from: what a referrer says. In DuckDB's SQL, and Google's addresses in Python."""

import re
from urllib.parse import unquote

import pyarrow as pa
from duckdb import DuckDBPyConnection

# Formats without a referrer: there `-` would say nothing.
WITHOUT_REFERRER = ("common", "vhost_common", "alb")
# Who sends humans here, by the end of the referrer's server name.
AI_ASSISTANTS = (
    "chatgpt.com", "chat.openai.com", "perplexity.ai", "gemini.google.com", "bard.google.com",
    "copilot.microsoft.com", "claude.ai", "chat.deepseek.com", "chat.mistral.ai", "grok.com",
    "meta.ai", "poe.com", "you.com", "phind.com", "duck.ai", "kimi.com", "chat.qwen.ai",
)  # fmt: skip
SEARCH_ENGINES = (
    "bing.com", "duckduckgo.com", "ecosia.org", "startpage.com", "qwant.com", "search.brave.com",
    "kagi.com", "mojeek.com", "search.naver.com", "sogou.com", "so.com", "ask.com", "aol.com",
    "search.marginalia.nu",
)  # fmt: skip
# Engines with a domain in every country, as a part of the name.
SEARCH_NAMES = r"(?:^|\.)(?:google|yahoo|yandex|baidu|seznam)\.[a-z.]{2,7}$"
SOCIAL_NETWORKS = (
    "facebook.com", "t.co", "twitter.com", "x.com", "linkedin.com", "lnkd.in", "reddit.com",
    "news.ycombinator.com", "instagram.com", "pinterest.com", "youtube.com", "tiktok.com",
    "bsky.app", "threads.net", "mastodon.social", "lobste.rs", "vk.com", "weibo.com",
    "stumbleupon.com", "t.me", "discord.com", "quora.com", "tumblr.com",
)  # fmt: skip
# Google's pages in whose address a phrase may stand, and the ways in which it does: GoAccess 1.11,
# src/parser.c, extract_keyphrase, in its order.
GOOGLE = re.compile(
    r"https?://(?:www\.google\.|webcache\.googleusercontent\.com/|translate\.googleusercontent\.com/)"
)
ENCODED = re.compile(r"(?:%26|%3F)q%3D(.*?)(?:%26|$)")
PHRASES = (
    ("/+&", None),
    ("/+", re.compile(r"/\+([^&]*)")),
    ("q=cache:", re.compile(r"q=cache:[^+]*\+?([^&]*)")),
    ("&q=", re.compile(r"&q=([^&]*)")),
    ("?q=", re.compile(r"\?q=([^&]*)")),
    ("", ENCODED),
)
SITE = r"^[a-zA-Z][a-zA-Z0-9+.-]*://([^/?#]+)"
BATCH_ROWS = 50_000  # addresses of Google's that Python holds
BARE = r"^(?:[^@]*@)?(?:www\.)?([^:]*).*$"  # a server's name without a user, `www.` and a port


def add_sources(db: DuckDBPyConnection, grouped: str, site_name: str) -> str:
    """A relation: the table `grouped` with what its `referrer` says, and its `vhost` and `log_format`.

    Added are `source`, and `source_` `site`, `kind` and `phrase`. `source` is "-" where the log has
    referrers and the line none; all are null where it has none. The site's own name is `vhost`, or
    `site_name` where the log has no such field.
    """
    db.execute(f"CREATE OR REPLACE TABLE referrers AS "
               f"SELECT DISTINCT referrer FROM {grouped} WHERE referrer IS NOT NULL")  # fmt: skip
    db.execute(
        "CREATE OR REPLACE TABLE of_google (referrer VARCHAR, shown VARCHAR, phrase VARCHAR)"
    )
    (count,) = db.execute("SELECT count(*) FROM referrers").fetchone() or (0,)
    for begin in range(0, count, BATCH_ROWS):
        asked = db.execute(
            "SELECT referrer FROM referrers WHERE contains(referrer, 'google') AND rowid BETWEEN $1 AND $2",
            [begin, begin + BATCH_ROWS - 1],
        ).fetchall()
        told = [(text, *extract_search_phrase(text)) for (text,) in asked if GOOGLE.search(text)]
        if told:
            columns = (pa.array(column, pa.string()) for column in zip(*told, strict=True))
            db.register(
                "searched",
                pa.table(dict(zip(("referrer", "shown", "phrase"), columns, strict=True))),
            )
            db.execute("INSERT INTO of_google SELECT * FROM searched")
            db.unregister("searched")
    db.execute(
        """
        CREATE OR REPLACE TABLE told_by_referrers AS SELECT *, CASE
            WHEN name IS NULL THEN 'none'
            WHEN regexp_matches(name, $assistants) THEN 'AI assistant'
            WHEN regexp_matches(name, $engines) THEN 'search engine'
            WHEN regexp_matches(name, $networks) THEN 'social network'
            ELSE 'another site' END AS kind
        FROM (
            SELECT referrer, coalesce(shown, referrer) AS shown, phrase, site,
                regexp_replace(lower(site), $bare, '\\1') AS name
            FROM (SELECT referrer, nullif(regexp_extract(referrer, $site, 1), '') AS site FROM referrers)
            LEFT JOIN of_google USING (referrer)
        )
        """,
        {
            "site": SITE, "bare": BARE, "assistants": _ends(AI_ASSISTANTS),
            "engines": f"{SEARCH_NAMES}|{_ends(SEARCH_ENGINES)}", "networks": _ends(SOCIAL_NETWORKS),
        },
    )  # fmt: skip
    db.execute(
        f"""
        CREATE OR REPLACE TABLE own_names AS SELECT vhost,
            regexp_replace(lower(coalesce(vhost, nullif($site_name, ''))), $bare, '\\1') AS own
        FROM (SELECT DISTINCT vhost FROM {grouped})
        """,
        {"site_name": site_name, "bare": BARE},
    )
    without = ", ".join(f"'{name}'" for name in WITHOUT_REFERRER)
    return f"""(
        SELECT grouped.*, site AS source_site, phrase AS source_phrase,
            CASE WHEN log_format NOT IN ({without}) THEN
                CASE WHEN name = own THEN 'this site' ELSE coalesce(kind, 'none') END END AS source_kind,
            coalesce(shown, CASE WHEN log_format NOT IN ({without}) THEN '-' END) AS source
        FROM {grouped} AS grouped
        LEFT JOIN told_by_referrers USING (referrer)
        LEFT JOIN own_names ON own_names.vhost IS NOT DISTINCT FROM grouped.vhost
    )"""


def extract_search_phrase(referrer: str) -> tuple[str, str | None]:
    """An address of Google's to the end of the phrase, for what follows differs from click to click;
    and what was searched for, where the address still says it, as GoAccess counts it."""
    pattern = next(pattern for sign, pattern in PHRASES if sign in referrer)
    found = pattern.search(referrer) if pattern else None
    if not found:
        return referrer, None
    end = found.end(1) if pattern is ENCODED else referrer.find("&", found.start() + 1)
    phrase = unquote(found[1], errors="replace").replace("+", " ").strip(" ")
    return referrer[:end] if end > 0 else referrer, phrase if found[1] else None


def _ends(names: tuple[str, ...]) -> str:
    return "(?:^|\\.)(?:" + "|".join(name.replace(".", "\\.") for name in names) + ")$"

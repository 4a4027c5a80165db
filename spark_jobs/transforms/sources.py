"""Where visitors came from: what a referrer says, as Spark expressions."""

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

# Formats without a referrer: there `-` would say nothing.
WITHOUT_REFERRER = ("common", "vhost_common", "alb")
# Who sends people here, by the end of the referrer's server name.
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


def referrer_site(referrer: Column) -> Column:
    """The server that a referrer names, with its port; null where it names none."""
    return _found(referrer, r"^[a-zA-Z][a-zA-Z0-9+.-]*://([^/?#]+)")


def with_source(rows: DataFrame, site_name: str = "") -> DataFrame:
    """Add what `referrer` says: `source`, and `source_` `site`, `kind` and `phrase`.

    `source` is "-" where the log has referrers and the line none; all are null where it has none.
    The site's own name is `vhost`, or `site_name` where the log has no such field.
    """
    has_referrers = ~F.col("log_format").isin(*WITHOUT_REFERRER)
    referrer, name = F.col("referrer"), F.col("source_name")
    bare = r"^(?:[^@]*@)?(?:www\.)?([^:]*).*$"
    own = F.regexp_replace(F.lower(F.coalesce("vhost", F.lit(site_name or None))), bare, "$1")
    kind = (
        F.when(name.isNull(), "none")
        .when(name == F.col("source_own"), "this site")
        .when(name.rlike(_ends(AI_ASSISTANTS)), "AI assistant")
        .when(name.rlike(f"{SEARCH_NAMES}|{_ends(SEARCH_ENGINES)}"), "search engine")
        .when(name.rlike(_ends(SOCIAL_NETWORKS)), "social network")
        .otherwise("another site")
    )
    return (
        rows.withColumn("source_site", referrer_site(referrer))
        .withColumn("source_name", F.regexp_replace(F.lower("source_site"), bare, "$1"))
        .withColumn("source_own", own)
        .withColumn("source_kind", F.when(has_referrers, kind))
        .withColumn("source_phrase", search_phrase(referrer))
        .withColumn("source", F.coalesce(without_tracking(referrer), F.when(has_referrers, "-")))
        .drop("source_name", "source_own")
    )


# Google's pages in whose address a phrase may stand, and the ways in which it does: GoAccess 1.11,
# src/parser.c, extract_keyphrase, in its order.
GOOGLE = r"https?://(?:www\.google\.|webcache\.googleusercontent\.com/|translate\.googleusercontent\.com/)"


def search_phrase(referrer: Column) -> Column:
    """What was searched for, where Google's address still says it; as GoAccess counts it."""
    encoded = _found(referrer, r"(?:%26|%3F)q%3D(.*?)(?:%26|$)")
    cached = F.regexp_extract(referrer, r"q=cache:[^+]*\+?([^&]*)", 1)
    found = (
        F.when(F.contains(referrer, F.lit("/+&")), None)
        .when(F.contains(referrer, F.lit("/+")), F.regexp_extract(referrer, r"/\+([^&]*)", 1))
        .when(F.contains(referrer, F.lit("q=cache:")), cached)
        .when(F.contains(referrer, F.lit("&q=")), F.regexp_extract(referrer, r"&q=([^&]*)", 1))
        .when(F.contains(referrer, F.lit("?q=")), F.regexp_extract(referrer, r"\?q=([^&]*)", 1))
        .otherwise(encoded)
    )
    phrase = F.trim(F.replace(decoded(found), F.lit("+"), F.lit(" ")))
    return F.when(F.rlike(referrer, F.lit(GOOGLE)) & (found != ""), phrase)


def without_tracking(referrer: Column) -> Column:
    """A referrer, Google's only to the end of the phrase: what follows differs from click to click."""
    cut = F.regexp_extract(
        referrer,
        r"^((?!.*/\+&)(?:(?=.*/\+).*?/\+[^&]*|(?!.*/\+)(?:(?=.*q=cache:).*?q=cache:[^&]*"
        r"|(?!.*q=cache:)(?:(?=.*&q=).*?&q=[^&]*|(?!.*&q=)(?:(?=.*\?q=).*?\?q=[^&]*"
        r"|(?!.*\?q=).*?(?:%26|%3F)q%3D.*?(?=%26|$))))))",
        1,
    )
    is_google = F.contains(referrer, F.lit("google")) & F.rlike(referrer, F.lit(GOOGLE))
    return F.when(is_google & (cut != ""), cut).otherwise(referrer)


def decoded(text: Column) -> Column:
    """`%41` as "A", once; what is no such code stays, and so does a plus."""
    escaped = F.regexp_replace(
        F.replace(text, F.lit("+"), F.lit("%2B")), "%(?![0-9A-Fa-f]{2})", "%25"
    )
    return F.when(F.contains(text, F.lit("%")), F.try_url_decode(escaped)).otherwise(text)


def _found(text: Column, pattern: str) -> Column:
    value = F.regexp_extract(text, pattern, 1)
    return F.when(value != "", value)


def _ends(names: tuple[str, ...]) -> str:
    return "(?:^|\\.)(?:" + "|".join(name.replace(".", "\\.") for name in names) + ")$"

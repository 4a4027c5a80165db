"""Who came: humans and bots apart with the reasons, and their visits. In DuckDB's SQL.

A visitor is an address, a user agent and a day (`visitor_id` is a hash of the first two).
"""

VISIT_MINUTES = 30  # without a page, after which a visitor's next page begins another visit
# What is fetched for a page rather than read as one: the suffixes of GoAccess's configuration file
# (goaccess.conf, static-file), as far as they are no pages.
STATIC_SUFFIXES = (
    "css", "js", "map", "jpg", "jpeg", "png", "gif", "ico", "svg", "webp", "avif", "bmp", "tif",
    "tiff", "woff", "woff2", "ttf", "otf", "eot", "pdf", "csv", "txt", "doc", "docx", "xls", "xlsx",
    "ppt", "pptx", "zip", "gz", "tgz", "tar", "rar", "xz", "bz2", "zst", "iso", "exe", "dmg", "mp3",
    "mp4", "mpg", "mpeg", "avi", "flv", "swf", "webm", "ogg",
)  # fmt: skip

# From when on a behaviour is a bot's. Each must hold by itself, so each is far from what humans do.
MANY_PAGES = 10  # of which none fetched anything that a browser would
MANY_FAST = 60  # pages, more than FAST a second while it was there
FAST = 1.0
MANY_MISSES = 10  # requests for what does not exist, nearly all of its requests
MANY_HEADS = 5
MANY_VISITS = 5  # of one page each, always the same time apart (within 5 %)


def is_static(path: str) -> str:
    """SQL: whether a path, with its query if it has one, is of a static file, by its suffix."""
    suffixes = ", ".join(f"'{suffix}'" for suffix in STATIC_SUFFIXES)
    return f"(contains({path}, '.') AND lower(split_part({path}, '.', -1)) IN ({suffixes}))"


# Whether a request showed somebody a page: it succeeded, and is no file. As transforms/visitors.py says.
IS_PAGE = f"""(coalesce(status BETWEEN 200 AND 299 OR status = 304, false)
    AND coalesce(method IN ('GET', 'POST'), false)
    AND endpoint IS NOT NULL AND NOT {is_static("endpoint")})"""


def select_visits(requests: str) -> str:
    """The visits in a relation of requests: `event_date`, `visitor_id`, `pages`, `entry`, `exit`, and
    `begin_at`    and `end_at` in microseconds since 1970.

    A visit are a visitor's pages with at most VISIT_MINUTES between them; it ends with its last
    page. What transforms/visitors.py says of a stream; a test holds the two together.
    """
    visitor = "PARTITION BY event_date, visitor_id ORDER BY micros"
    # RANGE, for pages of one instant to be of one visit, whichever of them stands first.
    return f"""
        SELECT event_date, visitor_id, count(*) AS pages, min(micros) AS begin_at, max(micros) AS end_at,
            min({{'at': micros, 'page': endpoint}}).page AS entry,
            max({{'at': micros, 'page': endpoint}}).page AS exit
        FROM (
            SELECT *, count_if(begins) OVER ({visitor} RANGE UNBOUNDED PRECEDING) AS number
            FROM (
                SELECT event_date, visitor_id, micros, endpoint, coalesce(
                    micros - lag(micros) OVER ({visitor}) > {VISIT_MINUTES * 60_000_000}, true) AS begins
                FROM {requests} WHERE {IS_PAGE} AND host IS NOT NULL
            )
        )
        GROUP BY event_date, visitor_id, number
    """


# A whole number: sums of broken ones depend on their order, and a day summarised again is the same.
MICROS = "sum(round(seconds_taken * 1000000)::HUGEINT)"


# Whether a request makes its visitor count.
COUNTS = "host IS NOT NULL AND coalesce(status, 0) NOT BETWEEN 400 AND 499"


def select_visitors(requests: str) -> str:
    """One row a visitor, with what it did: `hits`, `bytes`, times, and what tells a bot.

    `counts`: it met something else than client errors (4xx), as GoAccess asks for. Requests without a host
    came through a socket: nobody knows whose they are, so they count as no visitor.
    """
    return f"""
        SELECT event_date, visitor_id, min(host) AS host, min(user_agent) AS user_agent, count(*) AS hits,
            sum(bytes)::BIGINT AS bytes, count(seconds_taken) AS timed,
            {MICROS} AS micros_taken, max(seconds_taken) AS seconds_max,
            bool_or({COUNTS}) AS counts,
            count_if({IS_PAGE}) AS pages, count_if({is_static("endpoint")}) AS files,
            count_if(method = 'HEAD') AS heads, count_if(status IN (404, 410)) AS misses,
            min(micros) AS first_seen, max(micros) AS last_seen,
            coalesce(min(micros) FILTER (endpoint = '/robots.txt') = min(micros), false) AS robots_first
        FROM {requests} GROUP BY event_date, visitor_id
    """


# By visitor: `visits`, their `read` pages and `active` seconds; the mean `apart` and the
# `spread` of the seconds from one visit to the next.
VISIT_INTERVALS = """
    SELECT event_date, visitor_id, count(*) AS visits, sum(pages) AS read, sum(left_at - came_at) AS active,
        avg(apart) AS apart, stddev_pop(apart) AS spread
    FROM (
        SELECT *, came_at - lag(came_at) OVER (PARTITION BY event_date, visitor_id ORDER BY came_at) AS apart
        FROM (SELECT *, floor(begin_at / 1000000)::BIGINT AS came_at,
            floor(end_at / 1000000)::BIGINT AS left_at FROM visits)
    ) GROUP BY event_date, visitor_id
"""

DECLARED = "declares itself"
# Why a visitor is taken for a bot.
BOT_REASONS = {
    DECLARED: "bot_class IS NOT NULL",
    "asked for robots.txt first": "robots_first",
    "names no user agent": "has_agents AND coalesce(length(trim(user_agent)) < 2, true)",
    "only HEAD": f"heads = hits AND hits >= {MANY_HEADS}",
    "asks for what does not exist": f"misses >= {MANY_MISSES} AND misses * 10 >= hits * 9",
    # Where no browser fetched a file either (they come from elsewhere), that says nothing.
    "pages, never their files": "site_files * 10 >= site_hits AND files = 0"
    f" AND visitors.pages >= {MANY_PAGES}",
    "faster than humans": f"read >= {MANY_FAST} AND read - visits > {FAST} * greatest(active, 1)",
    "comes at fixed times": f"visits >= {MANY_VISITS} AND read = visits AND spread <= apart * 0.05",
}


def select_labelled_visitors() -> str:
    """The table `visitors` with what `visits` and `agents` say of them: `reasons`, and `is_bot`.

    `bot_class` and `bot_name` are null for humans. Who does not declare itself is a bot
    `by behaviour`, and the first of its reasons is its name. `has_agents`: its log has user agents.
    """
    # Without a host, all who name the same user agent are one row: only what it declares can be said of it.
    reasons = ", ".join(
        f"CASE WHEN {is_so}{'' if why == DECLARED else ' AND host IS NOT NULL'} THEN '{why}' END"
        for why, is_so in BOT_REASONS.items()
    )
    return f"""
        SELECT * REPLACE (
            CASE WHEN is_bot AND bot_class IS NULL THEN reasons[1] ELSE bot_name END
                AS bot_name,
            CASE WHEN is_bot AND bot_class IS NULL THEN 'by behaviour' ELSE bot_class END
                AS bot_class
        ) FROM (
            SELECT *, len(reasons) > 0 AS is_bot FROM (
                SELECT visitors.*, has_agents, agents.* EXCLUDE user_agent,
                    list_filter([{reasons}], lambda reason: reason IS NOT NULL) AS reasons
                FROM visitors
                JOIN (
                    SELECT event_date, sum(hits) AS site_hits, sum(files) AS site_files,
                        bool_or(user_agent IS NOT NULL) AS has_agents
                    FROM visitors GROUP BY event_date
                ) USING (event_date)
                LEFT JOIN agents USING (user_agent)
                LEFT JOIN ({VISIT_INTERVALS}) USING (event_date, visitor_id)
            )
        )
    """


VISIT_NUMBERS = ("visits", "pages", "bounced", "seconds", "seconds_median")


def select_visit_counts() -> str:
    """By day VISIT_NUMBERS of all visits (`all_…`), and of humans's (`humans_…`)."""
    columns = []
    for who, counts in (("all", "true"), ("humans", "NOT is_bot")):
        columns += [
            f"count_if({counts}) AS {who}_visits",
            f"sum(pages) FILTER ({counts}) AS {who}_pages",
            f"count_if(pages = 1 AND {counts}) AS {who}_bounced",
            f"sum(length) FILTER ({counts}) AS {who}_seconds",
            f"quantile_disc(length, 0.5) FILTER ({counts}) AS {who}_seconds_median",
        ]
    length = "(floor(end_at / 1000000) - floor(begin_at / 1000000))::BIGINT AS length"
    visits = f"(SELECT *, {length} FROM visits)"
    return f"SELECT event_date, {', '.join(columns)} FROM {visits} GROUP BY event_date"


# The bots of each day, those of most hits first, and why each is taken for one.
BOTS = """
    SELECT event_date, coalesce(host, '-') AS host, coalesce(user_agent, '-') AS user_agent,
        bot_class AS class, bot_name AS name, hits, bytes, reasons
    FROM visitors WHERE is_bot
    QUALIFY row_number() OVER (
        PARTITION BY event_date ORDER BY hits DESC, visitors.host, visitors.user_agent NULLS FIRST) <= $count
    ORDER BY event_date, hits DESC, host, visitors.user_agent NULLS FIRST
"""

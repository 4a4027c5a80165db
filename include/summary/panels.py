"""Every row of every panel: hits, visitors, bytes and times, for all and for humans. In DuckDB's SQL."""

from duckdb import DuckDBPyConnection

from include.summary.incidents import BROKEN_LINKS
from include.summary.referrers import add_sources
from include.summary.user_agents import BOTS
from include.summary.visitors import MICROS, is_static

# A row of a panel, beside its numbers. Of a key no part is in two panels.
KEY = ("panel", "parent", "value", "method", "protocol")
NUMBERS = (
    "hits", "visitors", "bytes", "humans_hits", "humans_visitors", "humans_bytes", "timed",
    "seconds_sum", "seconds_max",
)  # fmt: skip
NONE = "NULL::VARCHAR"
STATUS = "coalesce(status::VARCHAR, '-')"
CLASS = f"left({STATUS}, 1) || 'xx'"
# What a request is in, as SQL: panel -> value, and what else its row is told apart by.
KIND = f"""CASE WHEN status = 404 THEN 'not_found' WHEN {is_static("target")} THEN 'static_requests'
    ELSE 'requests' END"""
REQUESTS = {"kind": {"value": "coalesce(target, '-')", "method": "method", "protocol": "protocol"}}
ENDPOINTS = {"'endpoints'": {"value": "coalesce(endpoint, '-')"}}
ANSWERS = {
    "'status'": {"value": STATUS, "parent": CLASS},
    "'methods'": {"value": "coalesce(method, '-')"},
}
REFERRERS = {
    "'referrers'": {"value": "source"}, "'referring_sites'": {"value": "source_site"},
    "'referral_kinds'": {"value": "source_kind"}, "'search_phrases'": {"value": "source_phrase"},
}  # fmt: skip
OTHERS = {
    "'hours'": {"value": "hour"}, "'virtual_hosts'": {"value": "vhost"},
    "'remote_users'": {"value": "remote_user"}, "'cache_status'": {"value": "cache_status"},
    "'mime_types'": {"value": "mime_type"}, "'tls_versions'": {"value": "tls_version"},
}  # fmt: skip
PAGES = {"'entry_pages'": {"value": "entry"}, "'exit_pages'": {"value": "exit"}}
# Of these, where the log says how long requests took, 95 in 100 took no longer than `seconds_p95`.
TIMED = REQUESTS | ENDPOINTS | ANSWERS | {
    name: OTHERS[name] for name in ("'hours'", "'virtual_hosts'")
}  # fmt: skip
# Who has no user agent in a log that has them is a row as well.
UNKNOWN = "CASE WHEN has_agents THEN 'Unknown' END"
VISITORS = {
    "'day'": {"value": "event_date::VARCHAR"},
    "'hosts'": {"value": "host"},
    "'user_agents'": {"value": "coalesce(user_agent, CASE WHEN has_agents THEN '-' END)"},
    "'bots'": {"value": "bot_name", "parent": "bot_class"},
} | {
    f"'{panel}'": {
        "value": f"coalesce({name}_version, {UNKNOWN})",
        "parent": f"coalesce(CASE WHEN {name} = '{BOTS}' THEN 'Crawlers and programs' ELSE {name} END, "
        f"{UNKNOWN})",
    }
    for panel, name in (("browsers", "browser"), ("operating_systems", "system"))
}  # fmt: skip
GEOGRAPHY = {
    "'countries'": {"value": "country"}, "'cities'": {"value": "city", "parent": "country"},
    "'networks'": {"value": "network"},
}  # fmt: skip


def count_panels(db: DuckDBPyConnection, *, site_name: str, has_geography: bool) -> None:
    """Make the table `panels`: `event_date`, KEY, NUMBERS, `referrer` (that most of what was not found
    came from) and `seconds_p95`.

    Takes the view `requests`, and `visitors` and `visits` with `is_bot`. A visitor counts in a row
    with a request there that met something else than a client error (goaccess(1),
    --4xx-to-unique-count). What a visitor has few of is grouped before it is looked at; what depends
    on the visitor alone is counted in visitors. A panel at a time, for memory.
    """
    numbers = "hits BIGINT, visitors BIGINT, bytes BIGINT, humans_hits BIGINT, humans_visitors BIGINT, " \
        "humans_bytes BIGINT, timed BIGINT, seconds_sum DOUBLE, seconds_max DOUBLE"  # fmt: skip
    keys = ", ".join(f'"{name}" VARCHAR' for name in KEY)
    db.execute(
        f"CREATE TABLE panels (event_date DATE, {keys}, {numbers}, referrer VARCHAR, seconds_p95 DOUBLE)"
    )
    db.execute(f"CREATE VIEW told AS SELECT requests.*, {KIND} AS kind, is_bot FROM requests "
               "JOIN visitors USING (event_date, visitor_id)")  # fmt: skip
    has_times = db.execute("SELECT max(timed) > 0 FROM visitors").fetchone() == (True,)
    for columns, panels in (
        ("kind, target, method, protocol", REQUESTS),
        ("endpoint", ENDPOINTS),
        ("status, method", ANSWERS),
        ("referrer, vhost, log_format", REFERRERS),
        ("hour, vhost, remote_user, cache_status, mime_type, tls_version", OTHERS),
    ):
        db.execute(f"CREATE OR REPLACE TABLE few AS {_grouped(columns)}")
        source = add_sources(db, "few", site_name) if panels is REFERRERS else "few"
        for panel, of in panels.items():
            _insert(db, source, panel, of, has_times=has_times)
    db.execute("DROP TABLE few")
    for panel, of in (VISITORS | (GEOGRAPHY if has_geography else {})).items():
        _insert(db, "visitors", panel, of)
    of_visits = """(SELECT *, 1 AS hits, 0 AS bytes, true AS counts, 0 AS timed,
        NULL::BIGINT AS micros_taken, NULL::DOUBLE AS seconds_max FROM visits)"""
    for panel, of in PAGES.items():
        _insert(db, of_visits, panel, of)


def _insert(
    db: DuckDBPyConnection, source: str, panel: str, panel_columns: dict[str, str], *, has_times: bool = False
) -> None:  # fmt: skip
    columns, joined = ["p.*", NONE, "NULL::DOUBLE"], ""
    if panel in REQUESTS:
        columns[1] = "l.referrer"
        joined += f" LEFT JOIN ({BROKEN_LINKS}) AS l USING (event_date, panel, value)"
    if has_times and panel in TIMED:
        same = " AND ".join(
            f"p.{name} IS NOT DISTINCT FROM s.{name}" for name in ("event_date", *KEY)
        )
        columns[2] = "s.seconds_p95"
        joined += f" LEFT JOIN ({_slow(panel, **panel_columns)}) AS s ON {same}"
    db.execute(
        f"INSERT INTO panels SELECT {', '.join(columns)} "
        f"FROM ({_counted(source, panel, **panel_columns)}) AS p{joined}"
    )


def _grouped(columns: str) -> str:
    """Requests of a visitor that are alike in these columns, as one row."""
    return f"""
        SELECT event_date, visitor_id, is_bot, {columns}, count(*) AS hits, sum(bytes) AS bytes,
            bool_or(coalesce(status, 0) NOT BETWEEN 400 AND 499) AS counts,
            count(seconds_taken) AS timed, {MICROS} AS micros_taken, max(seconds_taken) AS seconds_max
        FROM told GROUP BY event_date, visitor_id, is_bot, {columns}
    """


def _counted(
    source: str, panel: str, value: str, parent: str = NONE, method: str = NONE, protocol: str = NONE
) -> str:  # fmt: skip
    """`event_date`, KEY and NUMBERS of the rows of a panel."""
    return f"""
        SELECT event_date, panel, parent, "value", method, protocol, sum(hits)::BIGINT AS hits,
            count_if(counts)::BIGINT AS visitors, sum(bytes)::BIGINT AS bytes,
            coalesce(sum(hits) FILTER (NOT is_bot), 0)::BIGINT AS humans_hits,
            count_if(counts AND NOT is_bot)::BIGINT AS humans_visitors,
            coalesce(sum(bytes) FILTER (NOT is_bot), 0)::BIGINT AS humans_bytes,
            sum(timed)::BIGINT AS timed, sum(micros_taken) / 1000000 AS seconds_sum,
            max(seconds_max) AS seconds_max
        FROM (
            SELECT event_date, visitor_id, is_bot, {panel} AS panel, {parent} AS parent, {value} AS "value",
                {method} AS method, {protocol} AS protocol, sum(hits) AS hits, sum(bytes) AS bytes,
                bool_or(counts) AS counts, sum(timed) AS timed, sum(micros_taken) AS micros_taken,
                max(seconds_max) AS seconds_max
            FROM {source} WHERE {value} IS NOT NULL GROUP BY ALL
        ) GROUP BY ALL
    """


def _slow(
    panel: str, value: str, parent: str = NONE, method: str = NONE, protocol: str = NONE
) -> str:
    return f"""
        SELECT event_date, {panel} AS panel, {parent} AS parent, {value} AS "value", {method} AS method,
            {protocol} AS protocol, quantile_disc(seconds_taken, 0.95) AS seconds_p95
        FROM told WHERE seconds_taken IS NOT NULL AND {value} IS NOT NULL GROUP BY ALL
    """


ORDER = "panel, hits DESC, value NULLS FIRST, parent NULLS FIRST, method NULLS FIRST, protocol NULLS FIRST"

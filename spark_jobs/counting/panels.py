"""Every row of every panel: hits, visitors, bytes and times, for all and for people. In DuckDB's SQL."""

from duckdb import DuckDBPyConnection

from spark_jobs.counting.sources import add_sources
from spark_jobs.counting.trouble import LINKS_TO_NOTHING
from spark_jobs.counting.user_agents import MACHINES
from spark_jobs.counting.visitors import MICROS, is_static

# A row of a panel, beside its numbers. Of a key no part is in two panels.
KEY = ("panel", "parent", "value", "method", "protocol")
NUMBERS = (
    "hits", "visitors", "bytes", "people_hits", "people_visitors", "people_bytes", "timed",
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
    "'machines'": {"value": "machine_name", "parent": "machine_class"},
} | {
    f"'{panel}'": {
        "value": f"coalesce({name}_version, {UNKNOWN})",
        "parent": f"coalesce(CASE WHEN {name} = '{MACHINES}' THEN 'Crawlers and programs' ELSE {name} END, "
        f"{UNKNOWN})",
    }
    for panel, name in (("browsers", "browser"), ("operating_systems", "system"))
}  # fmt: skip
PLACES = {
    "'countries'": {"value": "country"}, "'cities'": {"value": "city", "parent": "country"},
    "'networks'": {"value": "network"},
}  # fmt: skip


def count_panels(db: DuckDBPyConnection, *, site_name: str, with_places: bool) -> None:
    """Make the table `panels`: `event_date`, KEY, NUMBERS, `referrer` (that most of what was not found
    came from) and `seconds_p95`.

    Takes the view `requests`, and `visitors` and `visits` with `is_machine`. A visitor counts in a row
    with a request there that met something else than a client error (goaccess(1),
    --4xx-to-unique-count). What a visitor has few of is grouped before it is looked at; what depends
    on the visitor alone is counted in visitors. Days stand one behind the other: each is read alone.
    """
    db.execute(f"CREATE TEMP VIEW told AS SELECT requests.*, {KIND} AS kind, is_machine FROM requests "
               "JOIN visitors USING (event_date, pair)")  # fmt: skip
    parts = []
    for name, columns, panels in (
        ("asked", "kind, target, method, protocol", REQUESTS),
        ("paths", "endpoint", ENDPOINTS),
        ("answers", "status, method", ANSWERS),
        ("referred", "referrer, vhost, log_format", REFERRERS),
        ("others", "hour, vhost, remote_user, cache_status, mime_type, tls_version", OTHERS),
    ):
        db.execute(f"CREATE TEMP TABLE {name} AS {_grouped(columns)}")
        source = add_sources(db, name, site_name) if panels is REFERRERS else name
        parts += [_counted(source, panel, **of) for panel, of in panels.items()]
    of_visitors = VISITORS | (PLACES if with_places else {})
    parts += [_counted("visitors", panel, **of) for panel, of in of_visitors.items()]
    of_visits = """(SELECT *, 1 AS hits, 0 AS bytes, true AS counts, 0 AS timed,
        NULL::BIGINT AS micros_taken, NULL::DOUBLE AS seconds_max FROM visits)"""
    parts += [_counted(of_visits, panel, **of) for panel, of in PAGES.items()]
    slow = " UNION ALL ".join(_slow(panel, **of) for panel, of in TIMED.items())
    same = " AND ".join(f"p.{name} IS NOT DISTINCT FROM s.{name}" for name in ("event_date", *KEY))
    db.execute(f"""
        CREATE TABLE panels AS SELECT p.*, l.referrer, s.seconds_p95
        FROM ({" UNION ALL ".join(parts)}) AS p
        LEFT JOIN ({LINKS_TO_NOTHING}) AS l USING (event_date, panel, value)
        LEFT JOIN ({slow}) AS s ON {same} ORDER BY p.event_date
    """)
    for name in ("asked", "paths", "answers", "referred", "others"):
        db.execute(f"DROP TABLE {name}")


def _grouped(columns: str) -> str:
    """Requests of a visitor that are alike in these columns, as one row."""
    return f"""
        SELECT event_date, pair, is_machine, {columns}, count(*) AS hits, sum(bytes) AS bytes,
            bool_or(coalesce(status, 0) NOT BETWEEN 400 AND 499) AS counts,
            count(seconds_taken) AS timed, {MICROS} AS micros_taken, max(seconds_taken) AS seconds_max
        FROM told GROUP BY event_date, pair, is_machine, {columns}
    """


def _counted(
    source: str, panel: str, value: str, parent: str = NONE, method: str = NONE, protocol: str = NONE
) -> str:  # fmt: skip
    """`event_date`, KEY and NUMBERS of the rows of a panel."""
    return f"""
        SELECT event_date, panel, parent, "value", method, protocol, sum(hits)::BIGINT AS hits,
            count_if(counts)::BIGINT AS visitors, sum(bytes)::BIGINT AS bytes,
            coalesce(sum(hits) FILTER (NOT is_machine), 0)::BIGINT AS people_hits,
            count_if(counts AND NOT is_machine)::BIGINT AS people_visitors,
            coalesce(sum(bytes) FILTER (NOT is_machine), 0)::BIGINT AS people_bytes,
            sum(timed)::BIGINT AS timed, sum(micros_taken) / 1000000 AS seconds_sum,
            max(seconds_max) AS seconds_max
        FROM (
            SELECT event_date, pair, is_machine, {panel} AS panel, {parent} AS parent, {value} AS "value",
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


ORDER = "hits DESC, " + ", ".join(f'"{name}" NULLS FIRST' for name in ("value", *KEY))
# The first rows of each day's panels, and `rows`, how many each panel has.
TOP_ROWS = f"""
    SELECT *, count(*) OVER (PARTITION BY event_date, panel) AS rows FROM panels
    WHERE event_date = $day
    QUALIFY row_number() OVER (PARTITION BY event_date, panel ORDER BY {ORDER}) <= $top
    ORDER BY event_date, panel, {ORDER}
"""

"""Every row of every panel: hits, visitors, bytes and times, for all and for humans. In DuckDB's SQL."""

from duckdb import DuckDBPyConnection

from include.panels import DAY_TOTALS, PANELS, REQUEST_SOURCES, Panel
from include.summary.incidents import BROKEN_LINKS
from include.summary.referrers import add_sources
from include.summary.visitors import COUNTS, MICROS, is_static

# A row of a panel, beside its numbers. Of a key no part is in two panels.
KEY = ("panel", "parent", "value", "method", "protocol")
NUMBERS = (
    "hits", "visitors", "bytes", "humans_hits", "humans_visitors", "humans_bytes", "timed",
    "seconds_sum", "seconds_max",
)  # fmt: skip
# Which panel a request belongs to.
KIND = f"""CASE WHEN status = 404 THEN 'not_found' WHEN {is_static("target")} THEN 'static_requests'
    ELSE 'requests' END"""


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
    db.execute(f"CREATE VIEW labelled AS SELECT requests.*, {KIND} AS kind, is_bot FROM requests "
               "JOIN visitors USING (event_date, visitor_id)")  # fmt: skip
    has_times = db.execute("SELECT max(timed) > 0 FROM visitors").fetchone() == (True,)
    for source in REQUEST_SOURCES:
        panels = [panel for panel in PANELS if panel.source == source]
        columns = dict.fromkeys(column for panel in panels for column in panel.columns)
        db.execute(f"CREATE OR REPLACE TABLE grouped AS {_group_requests(', '.join(columns))}")
        rows = add_sources(db, "grouped", site_name) if source == "referrers" else "grouped"
        for panel in panels:
            _insert(db, rows, panel, has_times=has_times)
    db.execute("DROP TABLE grouped")
    _insert(db, "visitors", DAY_TOTALS)
    visits = """(SELECT *, 1 AS hits, 0 AS bytes, true AS counts, 0 AS timed,
        NULL::BIGINT AS micros_taken, NULL::DOUBLE AS seconds_max FROM visits)"""
    for panel in PANELS:
        if panel.source == "visitors" or (panel.source == "geography" and has_geography):
            _insert(db, "visitors", panel)
        elif panel.source == "visits":
            _insert(db, visits, panel)


def _insert(db: DuckDBPyConnection, rows: str, panel: Panel, *, has_times: bool = False) -> None:
    referrer, seconds, joined = "NULL::VARCHAR", "NULL::DOUBLE", ""
    if panel.has_referrer:
        referrer = "l.referrer"
        joined += f" LEFT JOIN ({BROKEN_LINKS}) AS l USING (event_date, panel, value)"
    if has_times and panel.has_times:
        same = " AND ".join(
            f"p.{name} IS NOT DISTINCT FROM s.{name}" for name in ("event_date", *KEY)
        )
        seconds = "s.seconds_p95"
        joined += f" LEFT JOIN ({_select_slowest(panel)}) AS s ON {same}"
    db.execute(
        f"INSERT INTO panels SELECT p.*, {referrer}, {seconds} "
        f"FROM ({_count_rows(rows, panel)}) AS p{joined}"
    )


def _select_key(panel: Panel) -> str:
    return f"""'{panel.key}' AS panel, ({panel.parent})::VARCHAR AS parent,
        ({panel.value})::VARCHAR AS "value", ({panel.method})::VARCHAR AS method,
        ({panel.protocol})::VARCHAR AS protocol"""


def _group_requests(columns: str) -> str:
    """Requests of a visitor that are alike in these columns, as one row."""
    return f"""
        SELECT event_date, visitor_id, is_bot, {columns}, count(*) AS hits, sum(bytes) AS bytes,
            bool_or({COUNTS}) AS counts,
            count(seconds_taken) AS timed, {MICROS} AS micros_taken, max(seconds_taken) AS seconds_max
        FROM labelled GROUP BY event_date, visitor_id, is_bot, {columns}
    """


def _count_rows(rows: str, panel: Panel) -> str:
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
            SELECT event_date, visitor_id, is_bot, {_select_key(panel)}, sum(hits) AS hits,
                sum(bytes) AS bytes, bool_or(counts) AS counts, sum(timed) AS timed,
                sum(micros_taken) AS micros_taken, max(seconds_max) AS seconds_max
            FROM {rows} WHERE ({panel.value}) IS NOT NULL GROUP BY ALL
        ) GROUP BY ALL
    """


def _select_slowest(panel: Panel) -> str:
    """`event_date`, KEY and `seconds_p95`: 95 in 100 requests of a row took no longer."""
    return f"""
        SELECT event_date, {_select_key(panel)}, quantile_disc(seconds_taken, 0.95) AS seconds_p95
        FROM labelled WHERE seconds_taken IS NOT NULL AND ({panel.value}) IS NOT NULL GROUP BY ALL
    """


ORDER = "panel, hits DESC, value NULLS FIRST, parent NULLS FIRST, method NULLS FIRST, protocol NULLS FIRST"

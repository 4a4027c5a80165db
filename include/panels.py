"""The registry of panels: the tables of a report, in the order of the page.

Counting, ranges, the JSON schema, the page, `make report` and docs/report.md follow from it. It holds
the SQL (DuckDB) that counts a panel, and no code.
"""

from dataclasses import dataclass

# Sections of the page: id -> heading.
SECTIONS = {
    "visitors": "Visitors and bots",
    "content": "Content",
    "sources": "Sources",
    "technology": "Technology",
    "status": "Status and incidents",
}
# What panels are counted from. Requests are grouped first by the columns that all panels of a source name,
# so a value with many different texts (targets) has a source of its own:
#   targets, endpoints   paths with and without their query
#   responses            status and method
#   referrers            what `add_sources` of include/summary/referrers.py says of a referrer
#   fields               columns with few different values, such as the virtual host
#   visitors             one row a visitor and day: address, user agent, browser, system, bot
#   geography            visitors with country, city and network; empty without databases of places
#   visits               one row a visit: its first and last page
# Columns of the requests are those of `select_counted_columns` in
# spark_jobs/transforms/access_log_summary.py; a new one is added there.
REQUEST_SOURCES = ("targets", "endpoints", "responses", "referrers", "fields")
SOURCES = (*REQUEST_SOURCES, "visitors", "geography", "visits")


@dataclass(frozen=True)
class Panel:
    """A table of a report. A row is a value of the log, with its hits, visitors, bytes and times.

    Args:
        key: Name in summary.json, report.json, panels.parquet and of the CSV file.
        title: Heading.
        description: What a row is.
        section: Section of the page, a key of SECTIONS. "": the page shows it in a way of its own.
        source: What it is counted from, one of SOURCES.
        value: SQL of a row's value. What is NULL is not counted.
        columns: Columns of the requests that the SQL uses, for one of REQUEST_SOURCES.
        parent: SQL of the group that a row belongs to.
        method: SQL of the HTTP method, if it tells rows apart.
        protocol: SQL of the HTTP protocol, if it tells rows apart.
        needs: What the log must have; "": every log has it.
        unit: What hits are: requests ("hits") or visits.
        value_label: Head of the column of values; the title if empty.
        is_wide: It takes the whole width of the page.
        has_times: Rows have a 95th percentile of the request time.
        has_referrer: Rows have the referrer that most of their hits came from.
        sums_visitors: For panels with `parent`: visitors of a group's rows may be summed. Not if a visitor
            can be in several of them.
    """

    key: str
    title: str
    description: str
    section: str
    source: str
    value: str
    columns: tuple[str, ...] = ()
    parent: str = "NULL"
    method: str = "NULL"
    protocol: str = "NULL"
    needs: str = ""
    unit: str = "hits"
    value_label: str = ""
    is_wide: bool = False
    has_times: bool = False
    has_referrer: bool = False
    sums_visitors: bool = True


TARGET_COLUMNS = ("kind", "target", "method", "protocol")
REFERRER_COLUMNS = ("referrer", "vhost", "log_format")
STATUS = "coalesce(status::VARCHAR, '-')"
# A visitor without a user agent, in a log that has user agents, is a row as well.
UNKNOWN = "CASE WHEN has_agents THEN 'Unknown' END"
# The totals of a day: counted like a panel, and no table of the report.
DAY_TOTALS = Panel("day", "", "", "", "visitors", "event_date::VARCHAR")


def _targets(kind: str) -> str:
    return f"CASE WHEN kind = '{kind}' THEN coalesce(target, '-') END"


def _family(column: str) -> str:
    # `bots` stands for a crawler or a program, which is no browser and has no system.
    return f"CASE WHEN {column} = 'bots' THEN 'Crawlers and programs' ELSE {column} END"


PANELS = (
    Panel(
        "hours", "Requests by hour", "in the site's time zone", "", "fields",
        value="hour", columns=("hour",), has_times=True,
    ),
    Panel(
        "bots", "Bots", "crawlers and programs, by kind", "visitors", "visitors",
        value="bot_name", parent="bot_class", is_wide=True,
    ),
    Panel("hosts", "Hosts", "addresses that asked", "visitors", "visitors", value="host"),
    Panel(
        "networks", "Networks", "who an address belongs to", "visitors", "geography",
        value="network", needs="TIDEMARK_MAXMIND_FILES",
    ),
    Panel(
        "countries", "Countries", "of the addresses", "visitors", "geography",
        value="country", needs="TIDEMARK_MAXMIND_FILES",
    ),
    Panel(
        "cities", "Cities", "of the addresses", "visitors", "geography",
        value="city", parent="country", needs="TIDEMARK_MAXMIND_FILES",
    ),
    Panel(
        "remote_users", "Users", "who logged in with the server", "visitors", "fields",
        value="remote_user", columns=("remote_user",), needs="users",
    ),
    Panel(
        "requests", "Requests", "pages that were asked for, with their query", "content", "targets",
        value=_targets("requests"), columns=TARGET_COLUMNS, method="method", protocol="protocol",
        is_wide=True, has_times=True,
    ),
    Panel(
        "endpoints", "Endpoints", "every path without its query", "content", "endpoints",
        value="coalesce(endpoint, '-')", columns=("endpoint",), is_wide=True, has_times=True,
    ),
    Panel(
        "static_requests", "Static files", "pictures, styles, scripts, downloads", "content", "targets",
        value=_targets("static_requests"), columns=TARGET_COLUMNS, method="method",
        protocol="protocol", is_wide=True, has_times=True,
    ),
    Panel(
        "entry_pages", "Entry pages", "where visits began", "content", "visits",
        value="entry", unit="visits", value_label="Page",
    ),
    Panel(
        "exit_pages", "Exit pages", "where visits ended", "content", "visits",
        value="exit", unit="visits", value_label="Page",
    ),
    Panel(
        "virtual_hosts", "Virtual hosts", "of the server", "content", "fields",
        value="vhost", columns=("vhost",), needs="virtual hosts", has_times=True,
    ),
    Panel(
        "mime_types", "Types", "of what was sent", "content", "fields",
        value="mime_type", columns=("mime_type",), needs="MIME types",
    ),
    Panel(
        "referral_kinds", "Kinds of sources", "where requests came from", "sources", "referrers",
        value="source_kind", columns=REFERRER_COLUMNS, needs="referrers",
    ),
    Panel(
        "referring_sites", "Referring sites", "that have links to here", "sources", "referrers",
        value="source_site", columns=REFERRER_COLUMNS, needs="referrers", value_label="Site",
    ),
    Panel(
        "search_phrases", "Search phrases", "as far as search engines tell", "sources", "referrers",
        value="source_phrase", columns=REFERRER_COLUMNS, needs="referrers",
    ),
    Panel(
        "referrers", "Referrers", "pages that have links to here", "sources", "referrers",
        value="source", columns=REFERRER_COLUMNS, needs="referrers", is_wide=True,
    ),
    Panel(
        "browsers", "Browsers", "by family and version", "technology", "visitors",
        value=f"coalesce(browser_version, {UNKNOWN})",
        parent=f"coalesce({_family('browser')}, {UNKNOWN})", needs="user agents",
    ),
    Panel(
        "operating_systems", "Operating systems", "by family and version", "technology", "visitors",
        value=f"coalesce(system_version, {UNKNOWN})",
        parent=f"coalesce({_family('system')}, {UNKNOWN})", needs="user agents",
    ),
    Panel(
        "tls_versions", "TLS", "versions and ciphers", "technology", "fields",
        value="tls_version", columns=("tls_version",), needs="TLS versions",
    ),
    Panel(
        "user_agents", "User agents", "as they call themselves", "technology", "visitors",
        value="coalesce(user_agent, CASE WHEN has_agents THEN '-' END)", needs="user agents",
        is_wide=True,
    ),
    Panel(
        "not_found", "Not found", "status 404, and the page that links there", "status", "targets",
        value=_targets("not_found"), columns=TARGET_COLUMNS, method="method", protocol="protocol",
        value_label="Missing", is_wide=True, has_times=True, has_referrer=True,
    ),
    Panel(
        "status", "Status codes", "what the server answered", "status", "responses",
        value=STATUS, columns=("status",), parent=f"left({STATUS}, 1) || 'xx'",
        value_label="Code", has_times=True, sums_visitors=False,
    ),
    Panel(
        "methods", "Methods", "of the requests", "status", "responses",
        value="coalesce(method, '-')", columns=("method",), has_times=True,
    ),
    Panel(
        "cache_status", "Cache", "what the cache said", "status", "fields",
        value="cache_status", columns=("cache_status",), needs="cache states",
    ),
)  # fmt: skip


def list_panel_keys() -> list[str]:
    """Return the keys of all panels, in their order."""
    return [panel.key for panel in PANELS]


def list_sections() -> dict[str, tuple[str, list[Panel]]]:
    """Return section -> its heading and its panels."""
    return {
        key: (heading, [panel for panel in PANELS if panel.section == key])
        for key, heading in SECTIONS.items()
    }


def get_panel(key: str) -> Panel:
    """Return the panel of this key. Raises KeyError."""
    return {panel.key: panel for panel in PANELS}[key]


def render_panel_table() -> str:
    """Return the table of all panels as Markdown, for docs/report.md."""
    rows = ["| Panel | Name in the files | Description | Needs |", "|---|---|---|---|"]
    for panel in PANELS:
        rows.append(f"| {panel.title} | `{panel.key}` | {panel.description} | {panel.needs} |")
    return "\n".join(rows) + "\n"

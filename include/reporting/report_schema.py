"""The JSON schema of an access-log report's `report.json`; `make docs` writes docs/report.schema.json."""

from typing import Any

from include.contracts import REPORT_SCHEMA_VERSION
from include.panels import DAY_TOTALS, list_panel_keys

Schema = dict[str, Any]


def build_report_schema() -> Schema:
    """Return the schema (JSON Schema 2020-12) of the reports of a day and of a range of days."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "report.schema.json",
        "title": "Tidemark: report.json of the access log",
        "description": "The numbers of a report's page, for one day or for a range of days. Texts come "
        "from a log and are hostile input: escape them wherever you show them.",
        "oneOf": [_ref("day_report"), _ref("range_report")],
        "$defs": {
            "day_report": _object(
                "The report of one day: reports/access_log/<day>/report.json.", COMMON | DAY_ONLY
            ),
            "range_report": _object(
                "The report of a range of days. It has from and to instead of day.",
                COMMON | RANGE_ONLY,
            ),
            **DEFINITIONS,
        },
    }


def _ref(name: str) -> Schema:
    return {"$ref": f"#/$defs/{name}"}


def _text(description: str = "", *, optional: bool = False) -> Schema:
    return _typed("string", description, optional)


def _count(description: str, *, optional: bool = False, minimum: int = 0) -> Schema:
    return _typed("integer", description, optional) | {"minimum": minimum}


def _number(description: str, *, optional: bool = False) -> Schema:
    return _typed("number", description, optional) | {"minimum": 0}


def _typed(kind: str, description: str, optional: bool) -> Schema:
    return _described({"type": [kind, "null"] if optional else kind}, description)


def _choice(description: str, values: list[str]) -> Schema:
    return _described({"enum": values}, description)


def _array(description: str, items: Schema, max_items: int | None = None) -> Schema:
    schema = _described({"type": "array", "items": items}, description)
    return schema if max_items is None else schema | {"maxItems": max_items}


def _object(description: str, properties: Schema, optional: tuple[str, ...] = ()) -> Schema:
    """An object with these properties and no others."""
    schema = {
        "type": "object",
        "properties": properties,
        "required": [name for name in properties if name not in optional],
        "additionalProperties": False,
    }
    return _described(schema, description)


def _open_object(description: str, properties: Schema, required: list[str]) -> Schema:
    """An object that may have other properties, too."""
    schema = {"type": "object", "properties": properties, "required": required}
    return _described(schema, description)


def _map(description: str, names: Schema, values: Schema, **rules: Any) -> Schema:
    """An object whose names follow a rule."""
    schema = {"type": "object", "propertyNames": names, "additionalProperties": values, **rules}
    return _described(schema, description)


def _or_null(description: str, schema: Schema) -> Schema:
    return {"oneOf": [schema, {"type": "null"}], "description": description}


def _described(schema: Schema, description: str) -> Schema:
    return schema | ({"description": description} if description else {})


# Numbers of a period that a report is compared with.
TOTALS: Schema = {
    "requests": _count("requests"),
    "visitors": _count("visitors"),
    "unsuccessful": _count("requests whose status is not 200"),
    "bytes": _count("bytes sent"),
}
VISIT_SUMS: Schema = {
    "visits": _count("visits; a visit is a visitor's page views without a long pause between two"),
    "pages": _count("page views in all visits"),
    "bounced": _count("visits with only one page view"),
    "seconds": _number("sum of the visits' lengths in seconds"),
}
PANEL_NAMES: Schema = {"enum": [DAY_TOTALS.key, *list_panel_keys()]}

COMMON: Schema = {
    "schema_version": {
        "const": REPORT_SCHEMA_VERSION,
        "description": "version of this schema; it increases when a name is removed or changes its meaning",
    },
    "dataset": {"const": "access_log", "description": "name of the dataset"},
    "filter": _ref("filter"),
    "lines": _ref("lines"),
    "requests": _count("good lines without duplicates"),
    "unsuccessful": _count("requests whose status is not 200"),
    "bytes": _count("bytes sent"),
    "humans": _ref("humans"),
    "by_status": _ref("by_status"),
    "by_hour": _ref("by_hour"),
    "panels": _ref("panels"),
    "panel_rows": _ref("panel_rows"),
}

DAY_ONLY: Schema = {
    "day": _ref("day"),
    "time_zone": _text("IANA name of the time zone of the days and of by_hour"),
    "source": _choice("source of the lines", ["kafka", "files"]),
    "visitors": _count("visitors; a visitor is an address, a user agent and a day"),
    "visits": _object(
        "visits of all visitors, and of humans",
        {"all": _ref("visits_of_a_day"), "humans": _ref("visits_of_a_day")},
    ),
    "bots": _array("the bots with most hits", _ref("bot"), 100),
    "first_request": _or_null("time of the first request; null: no requests", _ref("instant")),
    "last_request": _or_null("time of the last request; null: no requests", _ref("instant")),
    "incidents": _object(
        "Incidents that need attention.",
        {
            "bursts": _array("bursts of responses with status 5xx", _ref("burst")),
            "attacks": _array("requests that look like attacks", _ref("attack")),
            "new_not_found": _or_null(
                "paths that were not found on this day but not missing on the day before; null: the "
                "day before has no summary",
                _array(
                    "",
                    _object(
                        "",
                        {
                            "value": _text("the path"),
                            "hits": _count("requests"),
                            "referrer": _text(
                                "the page that most often links to it", optional=True
                            ),
                        },
                    ),
                ),
            ),
            "slowest": _array(
                "endpoints with the highest seconds_p95, of at least 10 hits", _ref("panel_row")
            ),
        },
    ),
    "unsuccessful_requests": _array(
        "the newest requests whose status is not 200; a row may have more columns of the landed line",
        _open_object(
            "",
            {
                "timestamp": _ref("instant"),
                "status": _typed("integer", "status code of the response", optional=True),
                "method": _text("HTTP method", optional=True),
                "endpoint": _text("path", optional=True),
                "query": _text("query string", optional=True),
                "host": _text("address or host name of the client"),
                "referrer": _text("the Referer header", optional=True),
                "user_agent": _text("the User-Agent header", optional=True),
                "bytes": _count("bytes sent"),
            },
            ["timestamp", "status", "host"],
        ),
    ),
    "bad_lines": _array(
        "bad lines, by reason",
        _object(
            "",
            {
                "bad_reason": _text("the reason, one of BAD_REASONS in include/contracts.py"),
                "lines": _count("number of bad lines"),
                "samples": _array("samples of the lines, shortened; hostile text", _text("")),
            },
        ),
    ),
    "checks": _array(
        "results of the checks before the report was published",
        _object(
            "",
            {
                "name": _text("name of the check"),
                "level": _choice(
                    "result: ok, published with a warning, or not published unless forced (quarantine, fail)",
                    ["ok", "warn", "quarantine", "fail"],
                ),
                "value": _typed("number", "the measured number", optional=True),
                "message": _text("the result as a sentence"),
            },
        ),
    ),
    "before": _or_null(
        "totals of the day before; null: it has no summary",
        _object(
            "",
            {
                "day": _ref("day"),
                **TOTALS,
                "client_errors": _count("requests with status 4xx"),
                "server_errors": _count("requests with status 5xx"),
            },
        ),
    ),
    "usual": _or_null(
        "baseline: medians of the same weekday in the four weeks before; null: fewer than two of "
        "them have a summary",
        _object(
            "",
            {
                "days": _count("number of these weekdays that have a summary"),
                "requests": _number("median of requests"),
                "visitors": _number("median of visitors"),
                "unsuccessful": _number("median of requests whose status is not 200"),
                "bytes": _number("median of bytes sent"),
                "client_errors": _number("median of requests with status 4xx"),
                "server_errors": _number("median of requests with status 5xx"),
            },
        ),
    ),
    "provenance": _open_object(
        "origin of the summary",
        {
            "job": _text("name of the Spark job"),
            "run": _text("id of the run"),
            "landing": _text("folder of the landed lines"),
            "through_batch": _typed(
                "integer", "number of the last landed batch that was read", optional=True
            ),
            "spark_version": _text("Spark version"),
            "seconds": _number("duration of the job in seconds"),
            "summarised_at": _text("time when the summary was made, ISO 8601, UTC"),
            "late": _count("lines that arrived after a report of the whole day"),
            "steps": {
                "type": "object",
                "description": "step -> duration in seconds",
                "additionalProperties": {"type": "number"},
            },
            "kafka": {
                "type": ["object", "null"],
                "description": "topic, and for each partition the first offset and the offset after the last",
            },
            "files": {
                "type": ["array", "null"],
                "description": "input files",
                "items": {"type": "object"},
            },
        },
        ["run", "summarised_at"],
    ),
    "moved": _or_null(
        "the biggest changes against the day before; null: it has no summary",
        _object(
            "",
            {
                "requests": _array(
                    "",
                    _object(
                        "",
                        {
                            "value": _text(""),
                            "hits": _count("requests on the day"),
                            "before": _count("requests on the day before"),
                        },
                    ),
                ),
                "referring_sites": _array(
                    "",
                    _object(
                        "",
                        {
                            "value": _text(""),
                            "hits": _count("requests on the day"),
                            "before": _count("requests on the day before"),
                        },
                    ),
                ),
            },
        ),
    ),
}

RANGE_ONLY: Schema = {
    "from": _ref("day"),
    "to": _ref("day"),
    "days": _count("number of days with a summary", minimum=1),
    "missing": _array("days without a summary", _ref("day")),
    "time_zone": _text(
        "IANA name of the time zone of the days and of by_hour; that of the newest day"
    ),
    "source": _choice(
        "source of the lines; both: some days from Kafka, some from files",
        ["kafka", "files", "both"],
    ),
    "visitors": _count(
        "visitors, the sum of the days; a visitor is an address, a user agent and a day"
    ),
    "visits": _object(
        "visits of all visitors, and of humans",
        {"all": _ref("visits_of_a_range"), "humans": _ref("visits_of_a_range")},
    ),
    "bots": _array(
        "the bots with most hits: the days' lists, merged by host and user agent", _ref("bot"), 100
    ),
    "distinct": _object(
        "estimates from the days' HyperLogLog sketches",
        {
            "visitors": _count(
                "different pairs of address and user agent in the whole range; an estimate"
            ),
            "humans": _count("those of them that are humans; an estimate"),
            "error": _number("relative error; in 95 of 100 cases the true number lies within it"),
        },
    ),
    "by_day": _array(
        "the days with a summary, oldest first",
        _object(
            "",
            {
                "day": _ref("day"),
                **TOTALS,
                "humans_visitors": _count("visitors that are humans"),
            },
        ),
    ),
    "incidents": _object(
        "Incidents that need attention.",
        {
            "bursts": _array(
                "all bursts of responses with status 5xx, oldest first", _ref("burst")
            ),
            "attacks": _array(
                "requests that look like attacks, summed by host and kind", _ref("attack")
            ),
        },
    ),
    "before": _or_null(
        "totals of the period of the same length right before; null: none of its days has a summary",
        _object(
            "",
            {
                "from": _ref("day"),
                "to": _ref("day"),
                "days": _count("number of its days with a summary", minimum=1),
                **TOTALS,
            },
        ),
    ),
    "provenance": _object(
        "",
        {
            "days": _array(
                "origin of each day",
                _object(
                    "",
                    {
                        "day": _ref("day"),
                        "run": _text("id of the run that wrote its summary"),
                        "summarised_at": _text("time when the summary was made, ISO 8601, UTC"),
                        "source": _choice("source of its lines", ["kafka", "files"]),
                    },
                ),
            )
        },
    ),
}

DEFINITIONS: Schema = {
    "day": {
        "type": "string",
        "format": "date",
        "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}$",
        "description": "a calendar day in the report's time_zone",
    },
    "instant": {
        "type": "string",
        "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z$",
        "description": "a time in UTC",
    },
    "filter": _or_null(
        "filter of the counted requests; null: all requests",
        _object(
            "",
            {
                "path": _text("prefix of the paths", optional=True),
                "host": _text("address or host name of the client", optional=True),
                "status": {
                    "type": ["string", "integer", "null"],
                    "description": "status code, or a class such as 4xx",
                },
                "humans_only": {
                    "type": ["boolean", "null"],
                    "description": "true: bots are not counted",
                },
            },
            optional=("path", "host", "status", "humans_only"),
        ),
    ),
    "lines": _object(
        "Log lines of the days.",
        {
            "read": _count("all lines: good and bad"),
            "good": _count("good lines, including duplicates"),
            "bad": _count("bad lines"),
            "duplicates": _count(
                "duplicate good lines; each line counts once, so requests = good - duplicates"
            ),
        },
    ),
    "humans": _object(
        "The numbers of humans, without bots.",
        {
            "requests": _count("requests of humans"),
            "visitors": _count("visitors that are humans"),
            "bytes": _count("bytes sent to humans"),
        },
    ),
    "by_status": _map(
        "requests by status code; -: no status", {"pattern": "^([0-9]+|-)$"}, _count("")
    ),
    "by_hour": _map(
        "requests by hour of the day in time_zone, 00 to 23",
        {"pattern": "^([01][0-9]|2[0-3])$"},
        _count(""),
        minProperties=24,
    ),
    "panel_row": _object(
        "A row of a panel. Names that do not apply to the panel are missing or null.",
        {
            "value": _text("the counted value as it is in the log; hostile text"),
            "hits": _count("requests; in entry_pages and exit_pages: visits"),
            "visitors": _count("visitors (a visitor is an address, a user agent and a day)"),
            "bytes": _count("bytes sent"),
            "humans_hits": _count("hits of humans; all other hits are of bots"),
            "humans_visitors": _count("visitors that are humans"),
            "humans_bytes": _count("bytes sent to humans"),
            "parent": _text(
                "the group of the value: Chrome for Chrome 32, 2xx for 200, a bot's class",
                optional=True,
            ),
            "method": _text("HTTP method", optional=True),
            "protocol": _text("HTTP protocol", optional=True),
            "referrer": _text(
                "only in not_found: the page that most often links to it; in a range that of the day "
                "with most hits",
                optional=True,
            ),
            "seconds_average": _number(
                "average request time in seconds, of the hits that have a time", optional=True
            ),
            "seconds_p95": _number(
                "95th percentile of the request time in seconds; in a range the largest of its days",
                optional=True,
            ),
            "seconds_max": _number(
                "longest request time in seconds; in a range that of all days", optional=True
            ),
        },
        optional=(
            "parent",
            "method",
            "protocol",
            "referrer",
            "seconds_average",
            "seconds_p95",
            "seconds_max",
        ),
    ),
    "panels": _map(
        "panel -> its first 1000 rows by hits, then value; missing or empty if the log's format does "
        "not have the data",
        PANEL_NAMES,
        _array("", _ref("panel_row"), 1000),
    ),
    "panel_rows": _map("panel -> its total number of rows", PANEL_NAMES, _count("")),
    "visits_of_a_day": _object(
        "",
        VISIT_SUMS
        | {"seconds_median": _number("median of the visits' lengths in seconds", optional=True)},
    ),
    "visits_of_a_range": _object("", VISIT_SUMS),
    "bot": _object(
        "A bot.",
        {
            "host": _text("address or host name"),
            "user_agent": _text("the User-Agent header", optional=True),
            "class": _text("class, such as search engine, AI crawler, by behaviour"),
            "name": _text("name of the bot", optional=True),
            "hits": _count("requests"),
            "bytes": _count("bytes sent"),
            "reasons": _array("why it is classified as a bot", _text("")),
        },
    ),
    "burst": _object(
        "A period with many responses with status 5xx.",
        {
            "from": _ref("instant"),
            "to": _ref("instant"),
            "requests": _count("requests with status 5xx in this period"),
            "endpoint": _text("the path with most of them", optional=True),
        },
    ),
    "attack": _object(
        "Requests that look like an attack.",
        {
            "host": _text("address or host name of the client"),
            "kind": _text("kind, such as path traversal, SQL injection, script injection"),
            "hits": _count("requests"),
            "answered": _count("those of them with status 2xx"),
            "sample": _text("one of the requests; hostile text"),
        },
    ),
}

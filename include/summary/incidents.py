"""What went wrong on a day: errors in bursts, broken links, attacks. From the view `requests`."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

BURST = 5  # requests a minute with a status 5xx
# Told apart by what stands in the request, small letters, once decoded. The first that fits counts.
# In DuckDB's regular expressions (RE2) `\s` is no vertical tab, which databases take for a blank.
SPACE = r"(?:[\s\v]|\+|/\*.*?\*/)+"
ATTACKS = {
    "command injection": r"\$\{jndi:|\$\(|`|;[\s\v]*(?:wget|curl|cat|nc|bash|sh|id|ping)\b|/bin/(?:ba)?sh"
    r"|php://|data://|base64_decode|<\?php|eval\(|allow_url_include",
    "SQL injection": rf"union{SPACE}(?:all{SPACE})?select|select{SPACE}.{{1,200}}{SPACE}from\b"
    rf"|['\"][\s\v+]*(?:or|and){SPACE}['\"(\w]+[\s\v]*=|sleep\(\d|benchmark\(|information_schema"
    rf"|xp_cmdshell|waitfor{SPACE}delay|['\"];?[\s\v]*--|;[\s\v]*drop{SPACE}table",
    "script injection": r"<[\s\v]*(?:script|iframe|svg)|javascript:|vbscript:|document\.cookie"
    r"|\bon(?:error|load|click|mouseover)[\s\v]*=",
    "path traversal": r"\.\.[/\\]|%2e%2e|%252e|/etc/(?:passwd|shadow)|/proc/self|\bboot\.ini|\bwin\.ini",
    "search for secrets": r"/\.(?:env|git/|svn/|hg/|aws/|ssh/|htpasswd|htaccess|ds_store)|/wp-config\.php"
    r"|/id_rsa|\.(?:sql|bak)(?:$|\?|\.gz)",
}
# Nearly no request has anything of this, so nearly none is looked at closely.
SUSPECT = (
    r"(?i)[<>'\"`;\\]|\$[{(]|\.\.|%2|//|\(|/\.|union|etc/|"
    r"\.(?:sql|bak|ini|php)|script:|id_rsa|on[a-z]+[\s\v]*="
)

# By day and `minute` (since 1970) with server errors: `errors`, and the worst `endpoint`.
ERROR_MINUTES = """
    SELECT event_date, minute, sum(errors)::BIGINT AS errors,
        max({'errors': errors, 'endpoint': endpoint}).endpoint AS endpoint
    FROM (
        SELECT event_date, floor(micros / 60000000)::BIGINT AS minute, coalesce(endpoint, '-') AS endpoint,
            count(*) AS errors
        FROM requests WHERE status BETWEEN 500 AND 599 GROUP BY ALL
    ) GROUP BY ALL
"""
# By day and what was not found (`value`): the `referrer` that most of it came from.
BROKEN_LINKS = """
    SELECT event_date, 'not_found' AS panel, target AS value,
        max({'hits': hits, 'referrer': referrer}).referrer AS referrer
    FROM (
        SELECT event_date, target, referrer, count(*) AS hits
        FROM requests WHERE status = 404 AND referrer IS NOT NULL GROUP BY ALL
    ) GROUP BY ALL
"""


def classify_attack(target: str) -> str:
    """SQL: which of ATTACKS a request (path and query, decoded once) is; null for none."""
    kinds = [
        f"WHEN regexp_matches(lower({target}), '{_quoted(shape)}') THEN '{kind}'"
        for kind, shape in ATTACKS.items()
    ]
    return f"CASE WHEN NOT regexp_matches({target}, '{_quoted(SUSPECT)}') THEN NULL {' '.join(kinds)} END"


def select_attacks(requests: str) -> str:
    """By day, `host` and `kind`: `hits`, how many were `answered` (2xx), and a `sample`."""
    return f"""
        SELECT event_date, coalesce(host, '-') AS host, kind, count(*) AS hits,
            count_if(status BETWEEN 200 AND 299)::BIGINT AS answered, min(left(target, 300)) AS sample
        FROM {requests} JOIN (
            SELECT target, {classify_attack("target")} AS kind FROM (SELECT DISTINCT target FROM {requests})
            WHERE kind IS NOT NULL
        ) USING (target) GROUP BY ALL
    """


def find_bursts(minutes: Iterable[Any]) -> list[dict[str, Any]]:
    """Rows of ERROR_MINUTES of a day -> `from`, `to` (datetimes), `requests`, `endpoint`.

    A burst are minutes in a row with at least BURST errors each; one minute less may lie between.
    """
    found: list[dict[str, Any]] = []
    most = 0
    for row in sorted(minutes, key=lambda row: row.minute):
        if row.errors < BURST:
            continue
        begin = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(minutes=row.minute)
        end = begin + timedelta(minutes=1)
        if found and begin - found[-1]["to"] <= timedelta(minutes=1):
            last = found[-1]
            last["to"], last["requests"] = end, last["requests"] + row.errors
            if row.errors > most:
                last["endpoint"], most = row.endpoint, row.errors
            continue
        most = row.errors
        found.append({"from": begin, "to": end, "requests": row.errors, "endpoint": row.endpoint})
    return found


def _quoted(pattern: str) -> str:
    return pattern.replace("'", "''")

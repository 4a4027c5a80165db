"""What went wrong on a day: errors in bursts, broken links, attacks. Pure DataFrame -> DataFrame."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

BURST = 5  # requests a minute with a status 5xx
# Told apart by what stands in the request, small letters, once decoded. The first that fits counts.
SPACE = r"(?:\s|\+|/\*.*?\*/)+"
ATTACKS = {
    "command injection": r"\$\{jndi:|\$\(|`|;\s*(?:wget|curl|cat|nc|bash|sh|id|ping)\b|/bin/(?:ba)?sh"
    r"|php://|data://|base64_decode|<\?php|eval\(|allow_url_include",
    "SQL injection": rf"union{SPACE}(?:all{SPACE})?select|select{SPACE}.{{1,200}}{SPACE}from\b"
    rf"|['\"]\s*(?:\+|\s)*(?:or|and){SPACE}['\"(\w]+\s*=|sleep\(\d|benchmark\(|information_schema"
    rf"|xp_cmdshell|waitfor{SPACE}delay|['\"];?\s*--|;\s*drop{SPACE}table",
    "script injection": r"<\s*script|javascript:|vbscript:|\bon(?:error|load|click|mouseover)\s*=|<\s*iframe"
    r"|<\s*svg|document\.cookie",
    "path traversal": r"\.\.[/\\]|%2e%2e|%252e|/etc/(?:passwd|shadow)|/proc/self|\bboot\.ini|\bwin\.ini",
    "search for secrets": r"/\.(?:env|git/|svn/|hg/|aws/|ssh/|htpasswd|htaccess|ds_store)|/wp-config\.php"
    r"|/id_rsa|\.(?:sql|bak)(?:$|\?|\.gz)",
}  # fmt: skip
# Nearly no request has anything of this, so nearly none is looked at closely.
SUSPECT = (
    r"(?i)[<>'\"`;\\]|\$[{(]|\.\.|%2|//|\(|/\.|union|etc/|"
    r"\.(?:sql|bak|ini|php)|script:|id_rsa|on[a-z]+\s*="
)


def attack_kind(target: Column) -> Column:
    """Which of ATTACKS a request (path and query, decoded once) is; null for none."""
    small = F.lower(target)
    kinds = [F.when(F.rlike(small, F.lit(shape)), kind) for kind, shape in ATTACKS.items()]
    return F.when(F.rlike(target, F.lit(SUSPECT)), F.coalesce(*kinds))


def attacks_of(requests: DataFrame) -> DataFrame:
    """By `event_date`, `host` and `kind`: `hits`, how many were `answered` (2xx), and a `sample`."""
    return (
        requests.withColumn("kind", attack_kind(F.col("target")))
        .where(F.col("kind").isNotNull())
        .groupBy("event_date", "host", "kind")
        .agg(
            F.count(F.lit(1)).alias("hits"),
            F.count_if(F.col("status").between(200, 299)).alias("answered"),
            F.min(F.substring("target", 1, 300)).alias("sample"),
        )
    )


def error_minutes(requests: DataFrame) -> DataFrame:
    """By `event_date` and `minute` (instant) with server errors: `errors`, and the worst `endpoint`."""
    by_endpoint = (
        requests.where(F.col("status").between(500, 599))
        .groupBy(
            "event_date",
            F.date_trunc("minute", "timestamp").alias("minute"),
            F.coalesce("endpoint", F.lit("-")).alias("endpoint"),
        )
        .count()
    )
    worst = F.max(F.struct("count", "endpoint"))["endpoint"]
    return by_endpoint.groupBy("event_date", "minute").agg(
        F.sum("count").alias("errors"), worst.alias("endpoint")
    )


def bursts(minutes: Iterable[Any]) -> list[dict[str, Any]]:
    """Rows of `error_minutes` of a day -> `from`, `to` (datetimes), `requests`, `endpoint`.

    A burst are minutes in a row with at least BURST errors each; one minute less may lie between.
    """
    found: list[dict[str, Any]] = []
    most = 0
    for row in sorted(minutes, key=lambda row: row.minute):
        if row.errors < BURST:
            continue
        end: datetime = row.minute + timedelta(minutes=1)
        if found and row.minute - found[-1]["to"] <= timedelta(minutes=1):
            last = found[-1]
            last["to"], last["requests"] = end, last["requests"] + row.errors
            if row.errors > most:
                last["endpoint"], most = row.endpoint, row.errors
            continue
        most = row.errors
        found.append(
            {"from": row.minute, "to": end, "requests": row.errors, "endpoint": row.endpoint}
        )
    return found


def links_to_nothing(requests: DataFrame) -> DataFrame:
    """By `event_date` and what was `not found` (`target`): the `referrer` most of it came from."""
    by_referrer = (
        requests.where((F.col("status") == 404) & F.col("referrer").isNotNull())
        .groupBy("event_date", "target", "referrer")
        .count()
    )
    return by_referrer.groupBy("event_date", "target").agg(
        F.max(F.struct("count", "referrer"))["referrer"].alias("referrer")
    )

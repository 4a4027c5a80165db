"""Pages and visits of those who came, as a stream sees them. Pure DataFrame -> DataFrame.

A visitor is an address, a user agent and a day (`visitor_id` is a hash of the first two). What a day's
summary counts of them is in `include/summary/visitors.py`.
"""

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from include.summary.visitors import STATIC_SUFFIXES, VISIT_MINUTES

VISITOR_KEY = ("event_date", "visitor_id")


def is_static(path: Column) -> Column:
    """Whether a path, with its query if it has one, is of a static file, by its suffix."""
    return F.lower(F.substring_index(path, ".", -1)).isin(*STATIC_SUFFIXES) & F.contains(
        path, F.lit(".")
    )


def is_page() -> Column:
    """Whether a request showed somebody a page: it succeeded, and is no file, no robots.txt."""
    answered = F.coalesce(
        F.col("status").between(200, 299) | (F.col("status") == 304), F.lit(False)
    )
    read = F.coalesce(F.col("method").isin("GET", "POST"), F.lit(False))
    return answered & read & F.col("endpoint").isNotNull() & ~is_static(F.col("endpoint"))


def select_visits(requests: DataFrame) -> DataFrame:
    """Pages -> visits: `event_date`, `visitor_id`, `begin`, `end` (instants), `pages`, `entry`, `exit`.

    A visit are a visitor's pages with at most VISIT_MINUTES between them; it ends with its last
    page, so one of a single page takes no time. A stream needs a watermark on `timestamp`;
    include/summary/visitors.py finds the same in a day. Takes event_date, visitor_id, host, timestamp,
    method, endpoint, status; a request without a host is of no visitor.
    """
    at = F.struct("timestamp", "endpoint")
    return (
        requests.where(is_page() & F.col("host").isNotNull())
        .groupBy(*VISITOR_KEY, F.session_window("timestamp", f"{VISIT_MINUTES} minutes"))
        .agg(
            F.count(F.lit(1)).alias("pages"),
            F.min(at).alias("first"),
            F.max(at).alias("last"),
        )
        .select(
            *VISITOR_KEY,
            F.col("first.timestamp").alias("begin"),
            F.col("last.timestamp").alias("end"),
            "pages",
            F.col("first.endpoint").alias("entry"),
            F.col("last.endpoint").alias("exit"),
        )
    )

"""Who came: people and machines apart with the reasons, and their visits. Pure DataFrame -> DataFrame.

A visitor is an address, a user agent and a day (`pair` is a hash of the first two).
"""

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

VISITOR = ("event_date", "pair")
VISIT_MINUTES = 30  # without a page, after which a visitor's next page begins another visit
# What is fetched for a page rather than read as one: the suffixes of GoAccess's configuration file
# (goaccess.conf, static-file), as far as they are no pages.
STATIC_SUFFIXES = (
    "css", "js", "map", "jpg", "jpeg", "png", "gif", "ico", "svg", "webp", "avif", "bmp", "tif",
    "tiff", "woff", "woff2", "ttf", "otf", "eot", "pdf", "csv", "txt", "doc", "docx", "xls", "xlsx",
    "ppt", "pptx", "zip", "gz", "tgz", "tar", "rar", "xz", "bz2", "zst", "iso", "exe", "dmg", "mp3",
    "mp4", "mpg", "mpeg", "avi", "flv", "swf", "webm", "ogg",
)  # fmt: skip
# From when on a behaviour is a machine's. Each must hold by itself, so each is far from what people do.
MANY_PAGES = 10  # of which none fetched anything that a browser would
MANY_FAST = 60  # pages, more than FAST a second while it was there
FAST = 1.0
MANY_MISSES = 10  # requests for what does not exist, nearly all of its requests
MANY_HEADS = 5
MANY_VISITS = 5  # of one page each, always the same time apart (within 5 %)


def is_static(path: Column) -> Column:
    """Whether a path, with its query if it has one, is of a static file, by its suffix."""
    return F.lower(F.substring_index(path, ".", -1)).isin(*STATIC_SUFFIXES) & F.contains(
        path, F.lit(".")
    )


def is_page(requests: DataFrame) -> Column:
    """Whether a request showed somebody a page: it succeeded, and is no file, no robots.txt."""
    answered = F.coalesce(
        F.col("status").between(200, 299) | (F.col("status") == 304), F.lit(False)
    )
    read = F.coalesce(F.col("method").isin("GET", "POST"), F.lit(False))
    return answered & read & F.col("endpoint").isNotNull() & ~is_static(F.col("endpoint"))


def visits_of(requests: DataFrame) -> DataFrame:
    """Pages -> visits: `event_date`, `pair`, `begin`, `end` (instants), `pages`, `entry`, `exit`.

    A visit are a visitor's pages with at most VISIT_MINUTES between them; it ends with its last
    page, so one of a single page takes no time. The same in batch and in streaming, which needs a
    watermark on `timestamp`. Takes event_date, pair, timestamp, method, endpoint, status.
    """
    at = F.struct("timestamp", "endpoint")
    return (
        requests.where(is_page(requests))
        .groupBy(*VISITOR, F.session_window("timestamp", f"{VISIT_MINUTES} minutes"))
        .agg(
            F.count(F.lit(1)).alias("pages"), F.min(at).alias("first"), F.max(at).alias("last"),
        )
        .select(
            *VISITOR, F.col("first.timestamp").alias("begin"), F.col("last.timestamp").alias("end"),
            "pages", F.col("first.endpoint").alias("entry"), F.col("last.endpoint").alias("exit"),
        )
    )  # fmt: skip


def visitors_of(requests: DataFrame) -> DataFrame:
    """One row a visitor, with what it did: `hits`, `bytes`, times, and what tells a machine.

    Takes what `access_log_summary.requests_of` gives. `counts`: it met something else than client
    errors (4xx), as GoAccess asks for.
    """
    status = F.coalesce("status", F.lit(0))
    robots = F.when(F.col("endpoint") == "/robots.txt", F.col("timestamp"))
    # Named as keys, which they are: Spark would sort to give the first text of a group.
    return requests.groupBy(*VISITOR, "host", "user_agent").agg(
        F.count(F.lit(1)).alias("hits"),
        F.sum("bytes").alias("bytes"),
        F.count("seconds_taken").alias("timed"),
        F.sum("seconds_taken").alias("seconds_sum"),
        F.max("seconds_taken").alias("seconds_max"),
        F.max(~status.between(400, 499)).alias("counts"),
        F.count_if(is_page(requests)).alias("pages"),
        F.count_if(is_static(F.col("endpoint"))).alias("files"),
        F.count_if(F.col("method") == "HEAD").alias("heads"),
        F.count_if(status.isin(404, 410)).alias("misses"),
        F.min("timestamp").alias("first_seen"),
        F.max("timestamp").alias("last_seen"),
        F.coalesce(F.min(robots) == F.min("timestamp"), F.lit(False)).alias("robots_first"),
    )


def rhythm_of(visits: DataFrame) -> DataFrame:
    """By visitor: `visits`, their `read` pages and `active` seconds; the `least`, the mean `apart`
    and the `spread` of the seconds from one visit to the next."""
    visitor = Window.partitionBy(*VISITOR).orderBy("begin")
    begin, end = F.unix_seconds("begin"), F.unix_seconds("end")
    apart = F.col("apart")
    return (
        visits.withColumn("apart", begin - F.lag(begin).over(visitor))
        .groupBy(*VISITOR)
        .agg(
            F.count(F.lit(1)).alias("visits"), F.sum("pages").alias("read"),
            F.sum(end - begin).alias("active"), F.min(apart).alias("least"),
            F.avg(apart).alias("apart"), F.stddev_pop(apart).alias("spread"),
        )
    )  # fmt: skip


def with_label(visitors: DataFrame, rhythm: DataFrame, user_agents: DataFrame) -> DataFrame:
    """Add what `rhythm_of` and `user_agents` (user_agents.ROW_DDL) says, `reasons`, and `is_machine`.

    `machine_class` and `machine_name` are null for people. Who does not declare itself is a machine
    `by behaviour`, and the first of its reasons is its name.
    """
    # Where no browser fetched a file either (they come from elsewhere), that says nothing.
    site_has_files = F.col("site_files") * 10 >= F.col("site_hits")
    days = visitors.groupBy("event_date").agg(
        F.sum("hits").alias("site_hits"), F.sum("files").alias("site_files"),
        F.max(F.col("user_agent").isNotNull()).alias("has_agents"),
    )  # fmt: skip
    told = {
        "declares itself": F.col("machine_class").isNotNull(),
        "asked for robots.txt first": F.col("robots_first"),
        "names no user agent": F.col("has_agents")
        & F.coalesce(F.length(F.trim("user_agent")) < 2, F.lit(True)),
        "only HEAD": (F.col("heads") == F.col("hits")) & (F.col("hits") >= MANY_HEADS),
        "asks for what does not exist": (F.col("misses") >= MANY_MISSES)
        & (F.col("misses") * 10 >= F.col("hits") * 9),
        "pages, never their files": site_has_files & (F.col("files") == 0)
        & (F.col("pages") >= MANY_PAGES),
        "faster than people": (F.col("read") >= MANY_FAST)
        & (F.col("read") - F.col("visits") > FAST * F.greatest("active", F.lit(1))),
        "comes at fixed times": (F.col("visits") >= MANY_VISITS)
        & (F.col("read") == F.col("visits")) & (F.col("spread") <= F.col("apart") * 0.05),
    }  # fmt: skip
    reasons = F.array_compact(F.array(*[F.when(is_so, why) for why, is_so in told.items()]))
    found = (
        visitors.join(F.broadcast(days), "event_date")
        .join(F.broadcast(user_agents), "user_agent", "left")
        .join(rhythm, list(VISITOR), "left")
        .withColumn("reasons", reasons)
        .withColumn("is_machine", F.size("reasons") > 0)
    )
    by_behaviour = F.col("is_machine") & F.col("machine_class").isNull()
    return found.withColumn(
        "machine_name", F.when(by_behaviour, F.col("reasons")[0]).otherwise(F.col("machine_name"))
    ).withColumn(
        "machine_class", F.when(by_behaviour, "by behaviour").otherwise(F.col("machine_class"))
    )

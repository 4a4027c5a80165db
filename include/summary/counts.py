"""Count what a summary is made of: rows of `select_counted_columns`, written as Parquet, in DuckDB.

One pass of Spark over the landing writes what is known of each line; what is counted many times over
(panels, visits, bots, incidents) is counted here, by an engine that is compiled before it starts:
docs/decisions/0019.
"""

import base64
import glob
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
from datasketches import hll_sketch
from pyarrow import parquet
from pyspark.sql import Row

from include.summary import count_panels, incidents, user_agents, visitors
from include.summary.geoip import GEOGRAPHY_DDL as PLACE_DDL
from include.summary.geoip import locate_hosts

# As much of many different texts; the rest of them is unknown.
MAX_TEXTS = 100_000
BATCH_ROWS = 100_000
MEMORY_LIMIT = "750MB"  # what DuckDB takes, before it goes on on disk
MAX_THREADS = 8  # each has some memory that cannot go to the disk
LG_K = 12  # of a sketch: 2^12 registers
SILENCE_SECONDS = 180  # seconds between two heartbeats, from which on the producer was silent
UNSUCCESSFUL = ("micros", "status", "method", "endpoint", "query", "host", "referrer", "user_agent",
                "bytes")  # fmt: skip

RowsByDay = dict[str, list[Row]]  # ISO day -> its rows


class Counts:
    """The tables of a summary, counted from the Parquet files in a folder.

    `humans_only`: without bots. `filtered`: only rows that are `wanted`, and visitors are
    labelled by all that they did. `scratch`, a folder, takes what does not fit the memory.
    """

    def __init__(
        self, rows: Path, scratch: Path, *, is_filtered: bool = False, humans_only: bool = False,
        site_name: str = "", maxmind: str = "",
    ) -> None:  # fmt: skip
        self.db = duckdb.connect(config={
            "memory_limit": MEMORY_LIMIT, "threads": min(MAX_THREADS, os.cpu_count() or 1),
            "temp_directory": str(scratch / "spilled"),
            "preserve_insertion_order": False, "autoinstall_known_extensions": False,
        })  # fmt: skip
        self._view("landed", sorted(rows.glob("*.parquet")))
        self.db.execute("CREATE VIEW lines AS SELECT * FROM landed WHERE NOT is_heartbeat")
        self.lines = self._by_day(LINE_COUNTS)
        self.duplicates = self._drop_duplicates(scratch / "unique.parquet")
        self._describe_visitors(maxmind)
        self._narrow(is_filtered, humans_only)
        self.db.execute("ALTER TABLE visits RENAME TO all_visits; CREATE TABLE visits AS SELECT v.*, "
                        "is_bot FROM all_visits v JOIN visitors USING (event_date, visitor_id)")  # fmt: skip
        self.site_name, self.has_geography = site_name, bool(maxmind)

    def count_panels(self) -> None:
        count_panels.count_panels(
            self.db, site_name=self.site_name, has_geography=self.has_geography
        )

    def write_panels(self, day: str, file: Path, top: int) -> list[Row]:
        """A day's panels as one Parquet file, sorted by panel and hits; give the first `top` of each.

        These have `rows` besides, how many the panel has.
        """
        batches = self.db.sql(
            f"SELECT * EXCLUDE event_date FROM panels WHERE event_date = $day ORDER BY {count_panels.ORDER}",
            params={"day": day},
        ).to_arrow_reader(BATCH_ROWS)
        counted: dict[str, int] = {}
        found: list[dict[str, Any]] = []
        # Written by Arrow, for sums of its pages: readers find out that a file was damaged.
        with parquet.ParquetWriter(
            file, batches.schema, compression="snappy", write_page_checksum=True
        ) as writer:  # fmt: skip
            for batch in batches:
                writer.write_batch(batch)
                begin = 0
                # In the order in which they stand: a panel's rows stand together.
                for one in pc.value_counts(batch["panel"]).to_pylist():
                    before = counted.get(one["values"], 0)
                    left = max(0, min(one["counts"], top - before))
                    found += batch.slice(begin, left).to_pylist()
                    counted[one["values"]] = before + one["counts"]
                    begin += one["counts"]
        return [Row(**row, rows=counted[row["panel"]]) for row in found]

    def collect_tables(self, newest: int, samples: int, bots: int) -> dict[str, RowsByDay]:
        """What a summary is made of beside its panels' top rows: table -> day -> its rows."""
        return {
            "lines": self.lines,
            "duplicates": {day: [Row(lines=count)] for day, count in self.duplicates.items()},
            "visitors": self._distinct(),
            "visits": self._by_day(visitors.select_visit_counts()),
            "bots": self._by_day(visitors.BOTS, count=bots),
            "attacks": self._by_day(incidents.select_attacks("requests")),
            "minutes": self._by_day(incidents.ERROR_MINUTES),
            "unsuccessful": self._by_day(NEWEST_UNSUCCESSFUL, count=newest),
            "bad": self._by_day(BAD_SAMPLES, count=samples),
        }

    def collect_heartbeats(self) -> RowsByDay:
        """By day: `minutes` with a heartbeat, the `first`, the `last`, and `gaps` (`from`, `to`).

        All in seconds since 1970; a gap is longer than SILENCE.
        """
        return self._by_day(HEARTBEATS, silence=SILENCE_SECONDS)

    def _drop_duplicates(self, file: Path) -> dict[str, int]:
        """Make the view `all_requests`: good lines without duplicates. By day the number of duplicates.

        Rows without a line_id (from files) are none: files are read once.
        """
        good = "SELECT * FROM lines WHERE bad_reason IS NULL"
        has_duplicates = (
            "SELECT count(dedup_hash) > count(DISTINCT dedup_hash) FROM lines "
            "WHERE bad_reason IS NULL"
        )
        duplicates: dict[str, int] = {}
        if self.db.execute(has_duplicates).fetchall() == [(True,)]:
            same = "PARTITION BY event_date, dedup_hash, dedup_hash_2 ORDER BY kafka_partition, kafka_offset"
            self.db.execute(
                f"COPY ({good} QUALIFY dedup_hash IS NULL OR row_number() OVER ({same}) = 1) "
                f"TO '{_quoted(file)}' (FORMAT parquet)"
            )
            self._view("all_requests", [file])
            left = self._fetched(
                "SELECT event_date::VARCHAR, count(*) FROM all_requests GROUP BY ALL"
            )
            unique = dict(left)
            came = {day: sum(row.good for row in rows) for day, rows in self.lines.items()}
            duplicates = {day: count - unique.get(day, 0) for day, count in came.items() if count}
        else:
            self.db.execute(f"CREATE VIEW all_requests AS {good}")
        return duplicates

    def _describe_visitors(self, maxmind: str) -> None:
        """Make the tables `visits` and `visitors` of all requests, with what is known of them."""
        self.db.execute(f"CREATE TABLE visits AS {visitors.select_visits('all_requests')}")
        self.db.execute(f"CREATE TABLE visitors AS {visitors.select_visitors('all_requests')}")
        agents = user_agents.describe(self._most_frequent("user_agent"))
        self._table("agents", agents, user_agents.ROW_DDL)
        self.db.execute(f"CREATE TABLE labelled AS {visitors.select_labelled_visitors()}")
        self.db.execute("DROP TABLE visitors; ALTER TABLE labelled RENAME TO visitors")
        if maxmind:
            self._table("places", locate_hosts(maxmind, self._most_frequent("host")), PLACE_DDL)
            self.db.execute("CREATE TABLE placed AS SELECT * FROM visitors LEFT JOIN places USING (host); "
                            "DROP TABLE visitors; ALTER TABLE placed RENAME TO visitors")  # fmt: skip

    def _narrow(self, is_filtered: bool, humans_only: bool) -> None:
        """Make the view `requests`, and visitors and visits those of these."""
        if not is_filtered:
            self.db.execute("CREATE VIEW requests AS SELECT * FROM all_requests")
            return
        self.db.execute(f"""
            CREATE VIEW requests AS SELECT all_requests.* FROM all_requests
            JOIN (SELECT event_date, visitor_id, is_bot FROM visitors) USING (event_date, visitor_id)
            WHERE wanted AND NOT (is_bot AND {humans_only})
        """)
        counted = [
            row[0] for row in self._fetched("DESCRIBE " + visitors.select_visitors("requests"))
        ]
        others = [name for name in self.db.table("visitors").columns if name not in counted]
        self.db.execute(f"""
            CREATE TABLE narrowed AS SELECT * FROM ({visitors.select_visitors("requests")})
            LEFT JOIN (SELECT event_date, visitor_id, {", ".join(others)} FROM visitors)
            USING (event_date, visitor_id)
        """)
        self.db.execute("ALTER TABLE visitors RENAME TO all_visitors; "
                        "ALTER TABLE narrowed RENAME TO visitors; DROP TABLE visits")  # fmt: skip
        self.db.execute(f"CREATE TABLE visits AS {visitors.select_visits('requests')}")

    def _most_frequent(self, column: str) -> list[str]:
        """The texts of a column, those of most requests first; MOST_TEXTS of them."""
        found = self._fetched(
            f"SELECT {column} FROM visitors WHERE {column} IS NOT NULL GROUP BY {column} "
            f"ORDER BY sum(hits) DESC, {column} LIMIT {MAX_TEXTS}"
        )
        return [text for (text,) in found]

    def _table(self, name: str, rows: Iterable[tuple[str | None, ...]], ddl: str) -> None:
        names = [column.split()[0] for column in ddl.split(",")]
        columns = list(zip(*rows, strict=True)) or [()] * len(names)
        texts = dict(zip(names, (pa.array(column, pa.string()) for column in columns), strict=True))
        self.db.register("of_python", pa.table(texts))
        self.db.execute(f"CREATE TABLE {name} AS SELECT * FROM of_python")
        self.db.unregister("of_python")

    def _distinct(self) -> RowsByDay:
        """By day a sketch of the `visitors`, one of the `humans` among them, `first` and `last` micros."""
        found: RowsByDay = {}
        days = self._fetched(
            "SELECT event_date, min(first_seen), max(last_seen) FROM visitors GROUP BY ALL"
        )
        for day, first, last in days:
            sketches = []
            for bots in (True, False):
                sketch = hll_sketch(LG_K)
                pairs = self.db.execute(
                    f"SELECT visitor_id FROM visitors WHERE counts AND event_date = $day "
                    f"AND ({bots} OR NOT is_bot) ORDER BY visitor_id", {"day": day},
                )  # fmt: skip
                while some := pairs.fetchmany(100_000):
                    for (visitor_id,) in some:
                        sketch.update(visitor_id)
                sketches.append(base64.b64encode(sketch.serialize_updatable()).decode())
            of_day = {"visitors": sketches[0], "humans": sketches[1], "first": first, "last": last}
            found[str(day)] = [Row(**of_day)]
        return found

    def _view(self, name: str, files: list[Path]) -> None:
        """The files are named once: what else comes into their folder is none of them."""
        names = [glob.escape(str(file)) for file in files]
        self.db.from_parquet(names, hive_partitioning=False).create_view(name)

    def _fetched(self, query: str, **values: Any) -> list[tuple[Any, ...]]:
        return self.db.execute(query, values).fetchall()

    def _by_day(self, query: str, **values: Any) -> RowsByDay:
        found: RowsByDay = {}
        rows = self.db.execute(query, values)
        names = [column[0] for column in rows.description or []]
        at = names.index("event_date")
        of_row = Row(*names[:at], *names[at + 1 :])
        for row in rows.fetchall():
            found.setdefault(str(row[at]), []).append(of_row(*row[:at], *row[at + 1 :]))
        return found


def _quoted(path: Path) -> str:
    return str(path).replace("'", "''")


# By day and where they came from: lines `good` and `bad` as landed, duplicates included. The place is a
# `topic`, a `partition`, and its `first` and `last` offset; or a `file`.
LINE_COUNTS = """
    SELECT event_date, topic, kafka_partition AS partition, file,
        count_if(bad_reason IS NULL)::BIGINT AS good,
        count_if(bad_reason IS NOT NULL)::BIGINT AS bad, min(kafka_offset) AS first, max(kafka_offset) AS last
    FROM lines GROUP BY ALL
"""
# By day and reason: `lines` and different samples.
BAD_SAMPLES = """
    SELECT event_date, bad_reason, sum(lines)::BIGINT AS lines, coalesce(min(sample, $count), []) AS samples
    FROM (SELECT event_date, bad_reason, sample, count(*) AS lines FROM lines
        WHERE bad_reason IS NOT NULL GROUP BY ALL)
    GROUP BY ALL
"""
_UNSUCCESSFUL_ORDER = "micros DESC, " + ", ".join(
    f"{name} NULLS FIRST" for name in UNSUCCESSFUL[1:]
)
# The newest requests of each day whose status is not 200, newest first; always in the same order.
# Only those are put in order that may be among them: of many, that is most of the time.
NEWEST_UNSUCCESSFUL = f"""
    WITH found AS (
        SELECT * REPLACE (coalesce(host, '-') AS host) FROM requests WHERE status IS DISTINCT FROM 200
    )
    SELECT event_date, {", ".join(UNSUCCESSFUL)} FROM found JOIN (
        SELECT event_date, list_min(max(micros, $count)) AS since FROM found GROUP BY event_date
    ) USING (event_date) WHERE micros >= since
    QUALIFY row_number() OVER (PARTITION BY event_date ORDER BY {_UNSUCCESSFUL_ORDER}) <= $count
    ORDER BY event_date, {_UNSUCCESSFUL_ORDER}
"""
HEARTBEATS = """
    SELECT event_date, count(DISTINCT second // 60) AS minutes, min(second) AS first, max(second) AS last,
        coalesce(list({'from': before, 'to': second} ORDER BY second) FILTER (second - before > $silence), [])
            AS gaps
    FROM (
        SELECT event_date, second, lag(second) OVER (PARTITION BY event_date ORDER BY second) AS before
        FROM (SELECT event_date, floor(micros / 1000000)::BIGINT AS second FROM landed WHERE is_heartbeat)
    ) GROUP BY event_date
"""

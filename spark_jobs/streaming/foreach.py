"""Writers for the foreach sink. They take one row at a time, as JSON, with open, process and close.

They run in Spark's Python workers, which import this module from the zip of --py-files.
"""

import sqlite3
from contextlib import closing
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from pathlib import Path
from urllib.parse import urlsplit

from pyspark.sql import Row

from include.flag_values import Endpoint, parse_endpoint

TABLES = """
CREATE TABLE IF NOT EXISTS batches (query TEXT, batch INT, part INT, PRIMARY KEY (query, batch, part));
CREATE TABLE IF NOT EXISTS rows (query TEXT, batch INT, part INT, row TEXT);
CREATE VIEW IF NOT EXISTS latest AS SELECT row FROM rows JOIN
  (SELECT query, max(batch) AS batch FROM batches GROUP BY query) USING (query, batch);
"""


class SqliteWriter:
    """Write rows as JSON into the table `rows` of a SQLite file, each batch exactly once.

    A batch's rows are committed together with its number, so a batch that Spark repeats after a
    crash is skipped. The view `latest` shows the newest batch: with output mode complete, all totals.
    """

    def __init__(self, path: str, query_id: str) -> None:
        self._path, self._query_id = Path(path).absolute(), query_id

    def open(self, partition_id: int, batch_id: int) -> bool:
        """Open the file; return False if this part of the batch was written already."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._connection = sqlite3.connect(self._path, timeout=60, isolation_level=None)
        self._connection.executescript(TABLES)
        self._key = (self._query_id, batch_id, partition_id)
        self._rows: list[tuple[object, ...]] = []
        select = "SELECT 1 FROM batches WHERE (query, batch, part) = (?, ?, ?)"
        return self._connection.execute(select, self._key).fetchone() is None

    def process(self, row: Row) -> None:
        self._rows.append((*self._key, row["row"]))

    def close(self, error: Exception | None) -> None:
        with closing(self._connection) as connection:
            if error is not None:
                return
            connection.execute("BEGIN IMMEDIATE")
            insert = "INSERT OR IGNORE INTO batches VALUES (?, ?, ?)"
            if connection.execute(insert, self._key).rowcount:
                connection.executemany("INSERT INTO rows VALUES (?, ?, ?, ?)", self._rows)
            connection.execute("COMMIT")


class HttpWriter:
    """POST each row as JSON, at least once. The headers name the row's batch and partition."""

    def __init__(self, url: str) -> None:
        self._url = url

    def open(self, partition_id: int, batch_id: int) -> bool:
        url = urlsplit(self._url)
        connection_class = HTTPSConnection if url.scheme == "https" else HTTPConnection
        self._connection = connection_class(url.hostname or "", url.port, timeout=20)
        self._path = (url.path or "/") + (f"?{url.query}" if url.query else "")
        self._headers = {
            "Content-Type": "application/json",
            "Tidemark-Batch": str(batch_id),
            "Tidemark-Partition": str(partition_id),
        }
        return True

    def process(self, row: Row) -> None:
        try:
            self._connection.request("POST", self._path, row["row"].encode(), self._headers)
            response = self._connection.getresponse()
            response.read()
        except (OSError, HTTPException) as error:
            raise ConnectionError(f"foreach:{self._url} does not answer: {error}") from None
        if response.status >= 300:
            raise ConnectionError(
                f"foreach:{self._url} answered {response.status} {response.reason}"
            )

    def close(self, error: Exception | None) -> None:
        self._connection.close()


def build_foreach_writer(sink: Endpoint, query_id: str) -> SqliteWriter | HttpWriter:
    """Return the writer that `foreach:…` names.

    Args:
        sink: A foreach sink, whose name is `sqlite:FILE` or an HTTP address.
        query_id: Id of the query. It separates the batches of one query from those of another.
    """
    target = parse_endpoint(sink.name)
    if target.kind == "sqlite":
        return SqliteWriter(target.name, query_id)
    return HttpWriter(sink.name)

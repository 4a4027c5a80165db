"""Writers for the foreach sink: each row, as JSON, one at a time, with open, process and close.

They run in Spark's Python workers, which import them from the zip of --py-files.
"""

import sqlite3
from contextlib import closing
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from pathlib import Path
from urllib.parse import urlsplit

from pyspark.sql import Row

from spark_jobs.runtime.words import Place

TABLES = """
CREATE TABLE IF NOT EXISTS batches (query TEXT, batch INT, part INT, PRIMARY KEY (query, batch, part));
CREATE TABLE IF NOT EXISTS rows (query TEXT, batch INT, part INT, row TEXT);
CREATE VIEW IF NOT EXISTS latest AS SELECT row FROM rows JOIN
  (SELECT query, max(batch) AS batch FROM batches GROUP BY query) USING (query, batch);
"""


class SqliteWriter:
    """Keeps rows in a SQLite file, as JSON in the table `rows`: each batch once.

    A batch's rows are committed together with its number, so one that Spark repeats after a crash
    is passed over. The view `latest` shows the newest batch: all totals, with complete.
    """

    def __init__(self, path: str, query: str) -> None:
        self._path, self._query = Path(path).absolute(), query

    def open(self, part: int, batch: int) -> bool:
        """Begin a transaction; False if the batch is kept already."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._connection = sqlite3.connect(self._path, timeout=60, isolation_level=None)
        self._connection.executescript(TABLES)
        self._key = (self._query, batch, part)
        self._rows: list[tuple[object, ...]] = []
        asked = "SELECT 1 FROM batches WHERE (query, batch, part) = (?, ?, ?)"
        return self._connection.execute(asked, self._key).fetchone() is None

    def process(self, row: Row) -> None:
        self._rows.append((*self._key, row["row"]))

    def close(self, error: Exception | None) -> None:
        with closing(self._connection) as connection:
            if error is not None:
                return
            connection.execute("BEGIN IMMEDIATE")
            kept = connection.execute("INSERT OR IGNORE INTO batches VALUES (?, ?, ?)", self._key)
            if kept.rowcount:
                connection.executemany("INSERT INTO rows VALUES (?, ?, ?, ?)", self._rows)
            connection.execute("COMMIT")


class HttpWriter:
    """POSTs each row as JSON. At least once: the headers say which batch it belongs to."""

    def __init__(self, url: str) -> None:
        self._url = url

    def open(self, part: int, batch: int) -> bool:
        url = urlsplit(self._url)
        kind = HTTPSConnection if url.scheme == "https" else HTTPConnection
        self._connection = kind(url.hostname or "", url.port, timeout=20)
        self._path = (url.path or "/") + (f"?{url.query}" if url.query else "")
        self._headers = {"Content-Type": "application/json", "Tidemark-Batch": str(batch),
                         "Tidemark-Partition": str(part)}  # fmt: skip
        return True

    def process(self, row: Row) -> None:
        try:
            self._connection.request("POST", self._path, row["row"].encode(), self._headers)
            answer = self._connection.getresponse()
            answer.read()
        except (OSError, HTTPException) as error:
            raise ConnectionError(f"foreach:{self._url} does not answer: {error}") from None
        if answer.status >= 300:
            raise ConnectionError(f"foreach:{self._url} answered {answer.status} {answer.reason}")

    def close(self, error: Exception | None) -> None:
        self._connection.close()


def writer_of(sink: Place, query: str) -> SqliteWriter | HttpWriter:
    """The writer that `foreach:…` names; `query` tells the batches of one query from another's."""
    kind, _, rest = sink.name.partition(":")
    return SqliteWriter(rest, query) if kind == "sqlite" else HttpWriter(sink.name)

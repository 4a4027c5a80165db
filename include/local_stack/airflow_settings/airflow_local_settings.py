"""What Airflow is to do otherwise where it has no setting: its SQLite database, its log servers.

Airflow imports this module by its name, from PYTHONPATH.

**The database.** A savepoint waits for other writers, and belongs to a transaction.
Python's sqlite3 begins a transaction before the first change, not before a savepoint. So a savepoint
outside of one reads first, and its change fails at once ("database is locked") if anything was written
in between; and its release commits, so that others see half of what belongs together. In Airflow 3.3
that is a backfill: half made, then taken away from under the scheduler, which ends on it.

`airflow.settings.create_metadata_engine` and its sister say in their docstrings that they may be replaced
so. Another database is left as it is.
The remedy is SQLAlchemy's (https://docs.sqlalchemy.org/en/20/dialects/sqlite.html, "Transactions with
SQLite and the sqlite3 driver"), at savepoints only: other transactions begin with their change.

**The log servers** of the scheduler and the triggerer listen on all addresses (Airflow 3.3.2,
`airflow/utils/serve_logs/core.py`); here on the one that the web page listens on.
"""

import sys
from types import SimpleNamespace
from typing import Any

import sqlalchemy
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

# All that Airflow is to take from here.
__all__ = ["create_async_metadata_engine", "create_metadata_engine"]

# For another writer. sqlite3's own 5 s are short on a busy machine, and a backfill of years is one
# transaction.
PATIENCE = {"timeout": 120}


def create_metadata_engine(
    sql_alchemy_conn: str, *, engine_args: dict[str, Any], connect_args: dict[str, Any]
) -> sqlalchemy.Engine:
    """Airflow's engine; the arguments are those of Airflow's own function."""
    is_sqlite = sql_alchemy_conn.startswith("sqlite")
    engine = sqlalchemy.create_engine(
        sql_alchemy_conn, connect_args=(PATIENCE if is_sqlite else {}) | connect_args, **engine_args
    )
    if is_sqlite:

        @sqlalchemy.event.listens_for(engine, "savepoint")
        def begin(connection: sqlalchemy.Connection, _name: str) -> None:
            driver: Any = connection.connection.dbapi_connection
            if not driver.in_transaction:
                driver.execute("BEGIN IMMEDIATE")

    return engine


def create_async_metadata_engine(
    sql_alchemy_conn_async: str, *, connect_args: dict[str, Any],
    engine_args: dict[str, Any] | None = None,
) -> AsyncEngine:  # fmt: skip
    """Airflow's engine for what waits for many things at once; the arguments are those of Airflow's."""
    patience = PATIENCE if sql_alchemy_conn_async.startswith("sqlite") else {}
    return create_async_engine(
        sql_alchemy_conn_async, connect_args=patience | connect_args, **(engine_args or {})
    )


def _serve_logs_like_the_web_page() -> None:
    """Only for the two commands that have a log server: others need not load its libraries."""
    import uvicorn
    from airflow.configuration import conf
    from airflow.utils.serve_logs import core

    host = conf.get("api", "host")

    def run(app: str, **options: Any) -> None:
        uvicorn.run(app, **options | {"host": host})

    vars(core)["uvicorn"] = SimpleNamespace(run=run)


if {"scheduler", "triggerer"} & set(sys.argv[1:2]):
    _serve_logs_like_the_web_page()

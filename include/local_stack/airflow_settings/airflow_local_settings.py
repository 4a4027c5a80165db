"""Change Airflow's behaviour where it has no setting: its SQLite database and its log servers.

Airflow imports this module by its name, from PYTHONPATH.

**The database.** This module starts a transaction before a savepoint, which then waits for other
writers. Python's sqlite3 starts a transaction before the first change, not before a savepoint. This
has two consequences for a savepoint outside of a transaction:

- It reads first. If another process writes in the meantime, its own change fails at once ("database
  is locked").
- Its release commits, so other processes see half of the changes that belong together.

In Airflow 3.3 a backfill does this: it is half created, then removed while the scheduler works on it,
and the scheduler ends.

The docstrings of `airflow.settings.create_metadata_engine` and its asynchronous counterpart allow
replacing them this way. Other databases are not changed. The solution is SQLAlchemy's
(https://docs.sqlalchemy.org/en/20/dialects/sqlite.html, "Transactions with SQLite and the sqlite3
driver"), limited to savepoints: other transactions start with their first change.

**The log servers** of the scheduler and the triggerer listen on all addresses (Airflow 3.3.2,
`airflow/utils/serve_logs/core.py`). This module makes them listen on the web page's address.
"""

import sys
from types import SimpleNamespace
from typing import Any

import sqlalchemy
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

# The names that Airflow imports.
__all__ = ["create_async_metadata_engine", "create_metadata_engine"]

# Seconds to wait for another writer. sqlite3's default of 5 s is too short on a busy machine, and a
# backfill of years is one transaction.
PATIENCE = {"timeout": 120}


def create_metadata_engine(
    sql_alchemy_conn: str, *, engine_args: dict[str, Any], connect_args: dict[str, Any]
) -> sqlalchemy.Engine:
    """Create Airflow's engine. The arguments are those of Airflow's own function."""
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
    sql_alchemy_conn_async: str,
    *,
    connect_args: dict[str, Any],
    engine_args: dict[str, Any] | None = None,
) -> AsyncEngine:
    """Create Airflow's asynchronous engine. The arguments are those of Airflow's own function."""
    timeout = PATIENCE if sql_alchemy_conn_async.startswith("sqlite") else {}
    return create_async_engine(
        sql_alchemy_conn_async, connect_args=timeout | connect_args, **(engine_args or {})
    )


def _serve_logs_like_the_web_page() -> None:
    """Make the log server listen on the web page's address.

    Called only for the two commands that have a log server: others need not load its libraries.
    """
    import uvicorn
    from airflow.configuration import conf
    from airflow.utils.serve_logs import core

    host = conf.get("api", "host")

    def run(app: str, **options: Any) -> None:
        uvicorn.run(app, **options | {"host": host})

    vars(core)["uvicorn"] = SimpleNamespace(run=run)


if {"scheduler", "triggerer"} & set(sys.argv[1:2]):
    _serve_logs_like_the_web_page()

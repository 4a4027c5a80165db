"""Airflow's database as SQLite: a savepoint waits for other writers, and belongs to a transaction.

Python's sqlite3 begins a transaction before the first change, not before a savepoint. So a savepoint
outside of one reads first, and its change fails at once ("database is locked") if anything was written
in between; and its release commits, so that others see half of what belongs together. In Airflow 3.3
that is a backfill: half made, then taken away from under the scheduler, which ends on it.

Airflow imports this module by its name, from PYTHONPATH; `airflow.settings.create_metadata_engine` says
in its docstring that it may be replaced so.
The remedy is SQLAlchemy's (https://docs.sqlalchemy.org/en/20/dialects/sqlite.html, "Transactions with
SQLite and the sqlite3 driver"), at savepoints only: other transactions begin with their change.
"""

from typing import Any

import sqlalchemy

__all__ = ["create_metadata_engine"]  # all that Airflow is to take from here

WAIT_SECONDS = 30  # for another writer; sqlite3's own 5 s are short on a busy machine


def create_metadata_engine(
    sql_alchemy_conn: str, *, engine_args: dict[str, Any], connect_args: dict[str, Any]
) -> sqlalchemy.Engine:
    """Airflow's engine for a SQLite file; the arguments are those of Airflow's own function."""
    engine = sqlalchemy.create_engine(
        sql_alchemy_conn, connect_args={"timeout": WAIT_SECONDS} | connect_args, **engine_args
    )

    @sqlalchemy.event.listens_for(engine, "savepoint")
    def begin(connection: sqlalchemy.Connection, _name: str) -> None:
        driver: Any = connection.connection.dbapi_connection
        if not driver.in_transaction:
            driver.execute("BEGIN IMMEDIATE")

    return engine

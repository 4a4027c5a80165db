"""Airflow on SQLite: savepoints while another process writes."""

import subprocess
import sys
import threading
import time

import pytest
import sqlalchemy
from sqlalchemy import text
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from include.local_stack.airflow import environment
from include.local_stack.airflow_settings.airflow_local_settings import create_metadata_engine
from include.settings import load_settings


@pytest.fixture
def url(tmp_path):
    """A SQLite database with a write-ahead log, like the one that Airflow creates."""
    url = f"sqlite:///{tmp_path / 'airflow.db'}"
    with sqlalchemy.create_engine(url).begin() as connection:
        connection.execute(text("PRAGMA journal_mode=WAL"))
        connection.execute(text("CREATE TABLE run (name TEXT)"))
    return url


def list_names(engine):
    with engine.connect() as connection:
        return [name for (name,) in connection.execute(text("SELECT name FROM run"))]


def add_in_savepoint(engine, concurrent_action):
    """Add a run as Airflow's backfill does: in a savepoint, look for the run, then insert it.

    Returns the names that other connections see after the savepoint is released.
    """
    with Session(engine) as session:
        with session.begin_nested():
            session.execute(text("SELECT name FROM run")).all()
            concurrent_action()
            session.execute(text("INSERT INTO run VALUES ('first day')"))
        visible_names = list_names(engine)
        session.execute(text("INSERT INTO run VALUES ('second day')"))
        session.commit()
    return visible_names


def start_writer(engine):
    """Insert a row from another thread, like a scheduler; the insert may have to wait."""

    def write():
        with engine.begin() as connection:
            connection.execute(text("INSERT INTO run VALUES ('scheduler')"))

    thread = threading.Thread(target=write)
    thread.start()
    time.sleep(0.3)
    return thread


def test_a_savepoint_survives_a_concurrent_write(url):
    engine = create_metadata_engine(url, engine_args={}, connect_args={})
    threads = []
    visible_names = add_in_savepoint(engine, lambda: threads.append(start_writer(engine)))
    threads[0].join(10)
    assert visible_names == [], "days are seen when all of them are made"
    assert sorted(list_names(engine)) == ["first day", "scheduler", "second day"]


def test_the_default_engine_fails_on_a_concurrent_write(url):
    """If this test fails, Python or SQLAlchemy has fixed the problem: remove `create_metadata_engine`."""
    engine = sqlalchemy.create_engine(url)
    with pytest.raises(OperationalError, match="database is locked"):
        add_in_savepoint(engine, lambda: start_writer(engine).join())
    assert add_in_savepoint(engine, lambda: None) == ["scheduler", "first day"]


@pytest.mark.parametrize("database", ["", "postgresql"])
def test_airflow_uses_our_sqlite_engine_and_leaves_postgresql_unchanged(tmp_path, database):
    env = {"TIDEMARK_HOME": str(tmp_path)}
    if database:
        (tmp_path / "url").write_text("postgresql+psycopg2://nobody@127.0.0.1:1/none")
        env["TIDEMARK_AIRFLOW_DATABASE"] = str(tmp_path / "url")
    code = (
        "from airflow import settings; settings.configure_orm();"
        "from sqlalchemy import event; engine = settings.engine;"
        "print('engine', engine.dialect.name, len(engine.dispatch.savepoint))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment(load_settings(env)), text=True,
        capture_output=True, check=True,
    )  # fmt: skip
    assert ("engine postgresql 0" if database else "engine sqlite 1") in done.stdout

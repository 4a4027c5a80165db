"""Airflow's database on the laptop: what its savepoints do while others write."""

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
    """A database as Airflow makes one: with a write-ahead log."""
    url = f"sqlite:///{tmp_path / 'airflow.db'}"
    with sqlalchemy.create_engine(url).begin() as connection:
        connection.execute(text("PRAGMA journal_mode=WAL"))
        connection.execute(text("CREATE TABLE run (name TEXT)"))
    return url


def names(engine):
    with engine.connect() as connection:
        return [name for (name,) in connection.execute(text("SELECT name FROM run"))]


def add_in_savepoint(engine, meanwhile):
    """A day of a backfill as Airflow makes it: look for its run, then make it, in a savepoint."""
    with Session(engine) as session:
        with session.begin_nested():
            session.execute(text("SELECT name FROM run")).all()
            meanwhile()
            session.execute(text("INSERT INTO run VALUES ('first day')"))
        released = names(engine)
        session.execute(text("INSERT INTO run VALUES ('second day')"))
        session.commit()
    return released


def writes(engine):
    """A scheduler that writes now, from a thread of its own; it may have to wait."""

    def write():
        with engine.begin() as connection:
            connection.execute(text("INSERT INTO run VALUES ('scheduler')"))

    thread = threading.Thread(target=write)
    thread.start()
    time.sleep(0.3)
    return thread


def test_a_savepoint_does_not_fail_on_what_was_written_in_between(url):
    engine = create_metadata_engine(url, engine_args={}, connect_args={})
    threads = []
    released = add_in_savepoint(engine, lambda: threads.append(writes(engine)))
    threads[0].join(10)
    assert released == [], "days are seen when all of them are made"
    assert sorted(names(engine)) == ["first day", "scheduler", "second day"]


def test_without_it_airflow_fails_so(url):
    """If this fails, Python or SQLAlchemy mends it, and the module can go."""
    engine = sqlalchemy.create_engine(url)
    with pytest.raises(OperationalError, match="database is locked"):
        add_in_savepoint(engine, lambda: writes(engine).join())
    assert add_in_savepoint(engine, lambda: None) == ["scheduler", "first day"]


@pytest.mark.parametrize("database", ["", "postgresql"])
def test_airflow_takes_it_and_leaves_other_databases_as_they_are(tmp_path, database):
    env = {"TIDEMARK_HOME": str(tmp_path)}
    if database:
        (tmp_path / "url").write_text("postgresql+psycopg2://nobody@127.0.0.1:1/none")
        env["TIDEMARK_AIRFLOW_DATABASE"] = str(tmp_path / "url")
    asked = (
        "from airflow import settings; settings.configure_orm();"
        "from sqlalchemy import event; engine = settings.engine;"
        "print('engine', engine.dialect.name, len(engine.dispatch.savepoint))"
    )
    done = subprocess.run(
        [sys.executable, "-c", asked], env=environment(load_settings(env)), text=True,
        capture_output=True, check=True,
    )  # fmt: skip
    assert ("engine postgresql 0" if database else "engine sqlite 1") in done.stdout

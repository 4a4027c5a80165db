"""Locks: a checkpoint belongs to one query, and a folder to one process at a time."""

import fcntl
import json
import os
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from include.errors import InvalidInput, RetryLater
from include.lake.files import replace_file

WAIT_FOR_LOCK_SECONDS = 15


@contextmanager
def checkpoint_lock(
    folder: Path, checkpoint: Path, run_id: str, identity: dict[str, str]
) -> Iterator[str]:
    """Lock `folder` for a query, and yield the query's id.

    Args:
        folder: Folder to lock. Its file `query.json` records the query.
        checkpoint: Spark's checkpoint folder of the query.
        run_id: Name of this run, which other processes see in their error.
        identity: Description of the query; `job` is required. A checkpoint that was started accepts
            only a query with the same description.

    Raises:
        RetryLater: Another process holds the folder. The message names it.
        InvalidInput: The checkpoint belongs to another query. The message says what differs.
    """
    with folder_lock(folder, identity["job"], run_id):
        yield _register_query(folder / "query.json", checkpoint, identity)


@contextmanager
def folder_lock(folder: Path, job: str, run_id: str) -> Iterator[None]:
    """Lock `folder` for this process. The kernel frees the lock when the process ends, however it ends.

    Raises:
        RetryLater: Another process holds the folder. The message names it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("a+") as lock:
        deadline = time.monotonic() + WAIT_FOR_LOCK_SECONDS
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    lock.seek(0)
                    holder = lock.read().strip() or "another process"
                    raise RetryLater(
                        f"{folder} is being written by {holder}; "
                        f"wait until it has ended, then run again"
                    ) from None
                time.sleep(0.2)
        lock.truncate(0)
        lock.write(f"{job}, run {run_id}, process {os.getpid()}")
        lock.flush()
        yield


def _register_query(query_file: Path, checkpoint: Path, identity: dict[str, str]) -> str:
    record = json.loads(query_file.read_text()) if query_file.is_file() else {}
    has_started = any((checkpoint / "offsets").glob("[0-9]*"))
    if has_started and not record:
        raise InvalidInput(
            f"{checkpoint} was started by an unknown query (of a landing, or of another program); "
            f"use another folder for this query"
        )
    for name, value in identity.items():
        if has_started and record.get(name, value) != value:
            raise InvalidInput(
                f"{checkpoint} belongs to another query, with the {name} {record[name]!r}, not "
                f"{value!r}; use another folder for this query"
            )
    query_id: str = (has_started and record.get("id")) or str(uuid.uuid4())
    replace_file(query_file, json.dumps(identity | {"id": query_id}))
    return query_id

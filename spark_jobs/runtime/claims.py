"""A folder that belongs to one query, and to one process at a time."""

import fcntl
import json
import os
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from spark_jobs.runtime.words import NotNow, Refused

WAIT_FOR_LOCK_SECONDS = 15


@contextmanager
def claimed(folder: Path, checkpoint: Path, run: str, about: dict[str, str]) -> Iterator[str]:
    """Hold `folder` for the query that `about` describes; give the query's own id.

    Raises NotNow with the name of who holds it, Refused with the query whose `checkpoint` it has.
    """
    with held(folder, about["job"], run):
        yield _check_owner(folder / "query.json", checkpoint, about)


@contextmanager
def held(folder: Path, job: str, run: str) -> Iterator[None]:
    """Hold `folder` for this process; raises NotNow with the name of who holds it.

    The kernel frees the lock when the process ends, however it ends.
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
                    raise NotNow(
                        f"{folder} is being written by {holder}; "
                        f"wait until it has ended, then run again"
                    ) from None
                time.sleep(0.2)
        lock.truncate(0)
        lock.write(f"{job}, run {run}, process {os.getpid()}")
        lock.flush()
        yield


def _check_owner(kept: Path, checkpoint: Path, about: dict[str, str]) -> str:
    found = json.loads(kept.read_text()) if kept.is_file() else {}
    begun = any((checkpoint / "offsets").glob("[0-9]*"))
    if begun and not found:
        raise Refused(
            f"{checkpoint} was begun by a query that is not known here (a landing's own, or another "
            f"program's); give this one a folder of its own"
        )
    for name, value in about.items():
        if begun and found.get(name, value) != value:
            raise Refused(
                f"{checkpoint} belongs to another query, with the {name} {found[name]!r}, not "
                f"{value!r}; give this one a folder of its own"
            )
    query: str = (begun and found.get("id")) or str(uuid.uuid4())
    replace_text(kept, json.dumps(about | {"id": query}))
    return query


def replace_text(path: Path, text: str) -> None:
    """Write under another name and rename: a reader sees the old file or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}")
    part.write_text(text)
    part.replace(path)

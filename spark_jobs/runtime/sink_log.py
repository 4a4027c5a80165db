"""What a landing's readers see: the log of Spark's file sink, read and changed safely.

`data/_spark_metadata/` has a file for each batch, `N`, and every tenth is `N.compact`, which lists the
files of all batches before it too: readers take the last `.compact` and those after it. Here a log file
is only ever replaced by one of the same name, so Spark counts its batches on as before, and each is
replaced in one rename: whoever reads meanwhile has the old list of that file or the new one.
"""

import json
import os
from dataclasses import dataclass
from datetime import UTC, datetime

from spark_jobs.runtime.stored import Data, Stored, address_of, path_at
from spark_jobs.runtime.words import Refused

HEADER = "v1"
NO_DAY = "__HIVE_DEFAULT_PARTITION__"


@dataclass(frozen=True)
class LandedFile:
    """A data file as the log lists it; `landed_at` in milliseconds since 1970."""

    path: Data
    size: int
    landed_at: int

    @property
    def day(self) -> str | None:
        """The day of its rows, by its folder; None for rows without one."""
        value = self.path.parent.name.partition("=")[2]
        return None if value == NO_DAY else value

    @property
    def landed_on(self) -> str:
        return datetime.fromtimestamp(self.landed_at / 1000, UTC).date().isoformat()


Lists = dict[str, list[LandedFile]]


def listed(data: Data) -> Lists:
    """Log file -> the data files in it, for the log files that readers take.

    Raises Refused if the log is not whole or a file that it lists is not there: what it does not
    list would then be no leftover.
    """
    log = data / "_spark_metadata"
    names = {
        int(name.removesuffix(".compact")): name
        for name in sorted(path.name for path in log.glob("[0-9]*"))
    }
    if not names:
        return {}
    compact = max((n for n, name in names.items() if name.endswith(".compact")), default=0)
    found: Lists = {}
    for batch in range(compact, max(names) + 1):
        if batch not in names:
            raise Refused(
                f"{log} lacks batch {batch}; put it back from a copy, nothing was changed"
            )
        found[names[batch]] = _read(log / names[batch])
    there = {path.resolve() for path in _data_files(data)}
    for file in (file for files in found.values() for file in files):
        if file.path.resolve() not in there:
            raise Refused(
                f"{log} lists {file.path}, which is not there: the landing was moved, or is damaged; "
                "put it back where it was, nothing was changed"
            )
    return found


def rewrite(data: Data, name: str, files: list[LandedFile]) -> None:
    """Let the log file `name` list `files`; on disk when this returns."""
    log = data / "_spark_metadata"
    entries = [
        {
            "path": address_of(file.path), "size": file.size, "isDir": False,
            "modificationTime": file.landed_at, "blockReplication": 1, "blockSize": 33554432,
            "action": "add",
        } for file in files
    ]  # fmt: skip
    text = "\n".join([HEADER, *(json.dumps(entry) for entry in entries)])
    if isinstance(log, Stored):
        (log / name).replace_text(text)
        return
    part = log / ".rewritten"  # one name, so that nothing is left of a killed run for long
    part.write_text(text)
    sync(part)
    # Its checksum would not fit the new text; without one, Spark reads it unchecked.
    (log / f".{name}.crc").unlink(missing_ok=True)
    part.replace(log / name)
    sync(log)


def unlisted(data: Data, lists: Lists) -> list[Data]:
    """Data files that no reader sees: of tasks that were killed, or replaced by others.

    Whoever asks must hold the landing: the batch that is being written is not listed yet either.
    """
    known = {file.path.resolve() for files in lists.values() for file in files}
    return [path for path in _data_files(data) if path.resolve() not in known]


def sync(path: Data) -> None:
    """Return when the file or folder is on disk; what is in a store, is."""
    if isinstance(path, Stored):
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _data_files(data: Data) -> list[Data]:
    """All files of data, whoever sees them, in order."""
    found: list[Data] = []
    for folder in data.glob("event_date=*"):
        found += sorted(folder.glob("[!.]*"))
    return found


def _read(path: Data) -> list[LandedFile]:
    header, *lines = path.read_text().splitlines()
    entries = [json.loads(line) for line in lines]
    if header != HEADER or any(entry["action"] != "add" for entry in entries):
        raise Refused(
            f"{path} is not as Spark 4.2 writes it (expected {HEADER!r} and only 'add'); "
            "nothing was changed"
        )
    return [
        LandedFile(path_at(entry["path"]), entry["size"], entry["modificationTime"])
        for entry in entries
    ]

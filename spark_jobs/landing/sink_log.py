"""Read and rewrite the log of Spark's file sink, which lists the data files that readers see.

`data/_spark_metadata/` has one log file per batch, `N`. Every tenth is `N.compact`, which also lists the
files of all earlier batches. Readers use the last `.compact` and the log files after it.

This module only replaces a log file by one of the same name, so that Spark continues its batch numbers. Each
log file is replaced in one rename: a concurrent reader sees either the old list of that file or the new one.
"""

import json
from dataclasses import dataclass
from datetime import UTC, datetime

from include.errors import InvalidInput
from include.lake.files import fsync_path, replace_file
from spark_jobs.landing.storage import DataPath, RemotePath, format_uri, parse_uri

HEADER = "v1"
NO_DAY = "__HIVE_DEFAULT_PARTITION__"


@dataclass(frozen=True)
class LandedFile:
    """A data file as the log lists it; `size` in bytes, `landed_at` in milliseconds since 1970 (UTC)."""

    path: DataPath
    size: int
    landed_at: int

    @property
    def day(self) -> str | None:
        """The day of its rows as an ISO date, from the folder name; None for rows without a day."""
        value = self.path.parent.name.partition("=")[2]
        return None if value == NO_DAY else value

    @property
    def landed_date(self) -> str:
        """The UTC date of `landed_at`, as an ISO date."""
        return datetime.fromtimestamp(self.landed_at / 1000, UTC).date().isoformat()


FilesByLog = dict[str, list[LandedFile]]


def list_landed_files(data: DataPath) -> FilesByLog:
    """List the data files that readers see.

    Args:
        data: The landing's data folder.

    Returns:
        Name of the log file -> its data files, for the log files that readers use. Empty if there is no log.

    Raises:
        InvalidInput: The log is incomplete, or a file that it lists does not exist. Files that are not listed
            could then not be told from leftovers.
    """
    log = data / "_spark_metadata"
    names = {
        int(name.removesuffix(".compact")): name
        for name in sorted(path.name for path in log.glob("[0-9]*"))
    }
    if not names:
        return {}
    compact = max((n for n, name in names.items() if name.endswith(".compact")), default=0)
    files_by_log: FilesByLog = {}
    for batch in range(compact, max(names) + 1):
        if batch not in names:
            raise InvalidInput(
                f"{log} lacks batch {batch}. Nothing was changed: restore this log file from a backup"
            )
        files_by_log[names[batch]] = _read_log(log / names[batch])
    existing = {path.resolve() for path in _list_data_files(data)}
    for file in (file for files in files_by_log.values() for file in files):
        if file.path.resolve() not in existing:
            raise InvalidInput(
                f"{log} lists {file.path}, which does not exist: the landing was moved or is damaged. "
                "Nothing was changed: move the landing back, or restore it from a backup"
            )
    return files_by_log


def rewrite_log(data: DataPath, log_name: str, files: list[LandedFile]) -> None:
    """Replace the log file `log_name` by one that lists `files`, and sync it to disk."""
    log = data / "_spark_metadata"
    entries = [
        {
            "path": format_uri(file.path),
            "size": file.size,
            "isDir": False,
            "modificationTime": file.landed_at,
            "blockReplication": 1,
            "blockSize": 33554432,
            "action": "add",
        }
        for file in files
    ]
    text = "\n".join([HEADER, *(json.dumps(entry) for entry in entries)])
    if isinstance(log, RemotePath):
        (log / log_name).replace_text(text)
        return
    # The old checksum does not match the new text. Without a .crc file, Spark reads the log unchecked.
    (log / f".{log_name}.crc").unlink(missing_ok=True)
    for part in log.glob(".*.part"):  # left by a killed run
        part.unlink()
    replace_file(log / log_name, text)


def list_leftover_files(data: DataPath, files_by_log: FilesByLog) -> list[DataPath]:
    """List the data files that no reader sees, left by killed tasks or replaced by merged files.

    The caller must hold the landing's lock: the files of a batch that is being written are not listed in
    the log yet either.
    """
    known = {file.path.resolve() for files in files_by_log.values() for file in files}
    return [path for path in _list_data_files(data) if path.resolve() not in known]


def fsync_data(path: DataPath) -> None:
    """Flush a local file or folder to disk. Remote storage needs no flush."""
    if not isinstance(path, RemotePath):
        fsync_path(path)


def _list_data_files(data: DataPath) -> list[DataPath]:
    """List all data files, with those that no reader sees, sorted within each day."""
    files: list[DataPath] = []
    for folder in data.glob("event_date=*"):
        files += sorted(folder.glob("[!.]*"))
    return files


def _read_log(path: DataPath) -> list[LandedFile]:
    header, *lines = path.read_text().splitlines()
    entries = [json.loads(line) for line in lines]
    actions = sorted({entry["action"] for entry in entries})
    if header != HEADER or any(action != "add" for action in actions):
        raise InvalidInput(
            f"{path} has the header {header!r} and the actions {actions}, but Spark 4.2 writes {HEADER!r} "
            "and only 'add'. Nothing was changed: maintenance supports landings of Spark 4.2 only"
        )
    return [
        LandedFile(parse_uri(entry["path"]), entry["size"], entry["modificationTime"])
        for entry in entries
    ]

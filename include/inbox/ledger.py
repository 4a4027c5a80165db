"""The ledger of the inbox: which files were taken into the folder `ready`, and what they contain."""

import hashlib
import os
from pathlib import Path
from typing import IO, Any

from include.inbox.inspect import BLOCK_BYTES
from include.lake.files import append_record, read_records, replace_file


def read_taken_files(ready: Path) -> list[dict[str, Any]]:
    """Return the ledger of the folder `ready`: one record per file, oldest first.

    Returns:
        Records with `name`, `packed` (bytes) and `modified` (nanoseconds since 1970) of the file in the
        inbox, `sha256` and `size` (bytes) of its unpacked content, and `what` (`taken` or `copy`).
        Records of taken files also have `ready` (the name there), `lines` (what Spark reads there),
        `format`, and `first` and `last` (times of the first and the last line as ISO instants, or
        None). Old records lack these.
    """
    return list(Ledger(ready).records)


def read_unlanded_records(ready: Path) -> list[dict[str, Any]]:
    """Return the records of taken files that are still in `ready` and wait to be landed."""
    return [
        record for record in read_taken_files(ready) if (ready / record.get("ready", "-")).is_file()
    ]


class Ledger:
    """Records which files were taken: one JSON line a file, in the file `<ready>.jsonl` beside `ready`.

    Attributes:
        dry_run: `add` and `undo_unfinished` change nothing on disk.
        records: The records, oldest first, as `read_taken_files` returns them.
    """

    def __init__(self, ready: Path, dry_run: bool = False) -> None:
        self._ready, self.dry_run = ready, dry_run
        self._path = ready.with_name(f"{ready.name}.jsonl")
        self._unfinished = ready.with_name(f".{self._path.name}.unfinished")
        # A record that a kill cut off is missing: its file is checked again and found by its checksum.
        self.records = list(read_records(self._path))

    def has_file(self, name: str, file_stat: os.stat_result) -> bool:
        """Whether a file of this name, size and time was taken or recognised as a copy before."""
        key = (name, file_stat.st_size, file_stat.st_mtime_ns)
        return any((r["name"], r["packed"], r["modified"]) == key for r in self.records)

    def find_name(self, checksum: str) -> str:
        """Return the name under which this unpacked content was taken; "" if it was not."""
        return next((r["name"] for r in self.records if r["sha256"] == checksum), "")

    def find_taken_size(self, name: str, file: IO[bytes], file_size: int, compression: str) -> int:
        """Return how many bytes at the start of a file were taken before under its name.

        Args:
            name: Name of the file in the inbox.
            file: The open file. It is at its start afterwards.
            file_size: Its size in bytes.
            compression: Its suffix as of `detect_compression`. Only a plain file ("") is continued.

        Returns:
            The size of the content that was taken, in bytes; 0 if nothing was, or the file now begins
            with something else.
        """
        if compression:
            return 0
        sizes = {r["size"]: r["sha256"] for r in self.records if r["name"] == name}
        try:
            for size in sorted(sizes, reverse=True):
                file.seek(0)
                if size <= file_size and _hash_prefix(file, size) == sizes[size]:
                    return int(size)
        finally:
            file.seek(0)
        return 0

    def mark_unfinished(self, target: Path) -> None:
        """Record the name that appears in `ready` next, until the ledger has it."""
        replace_file(self._unfinished, target.name)

    def undo_unfinished(self) -> None:
        """Remove a file from `ready` that a killed run has left there without a record.

        The file is taken again. If it has grown since, it gets another name: without the removal, its
        lines would be in `ready` twice.
        """
        if self.dry_run or not self._unfinished.is_file():
            return
        name = Path(self._unfinished.read_text()).name
        if name and name not in {record.get("ready") for record in self.records}:
            (self._ready / name).unlink(missing_ok=True)
        self._unfinished.unlink()

    def add(
        self,
        name: str,
        file_stat: os.stat_result,
        sha256: str,
        size: int,
        outcome: str,
        **details: Any,
    ) -> dict[str, Any]:
        """Append the record of a file, wait until it is on disk, and remove the mark of `mark_unfinished`.

        Args:
            name: Name of the file in the inbox.
            file_stat: Its size and time when it was read.
            sha256: Checksum of its unpacked content; of its complete lines if it was taken.
            size: Bytes of that content.
            outcome: `taken` or `copy`.
            details: Further keys of the record: `ready`, `lines`, `format`, `first` and `last`.

        Returns:
            The record.
        """
        record = {
            "name": name,
            "packed": file_stat.st_size,
            "modified": file_stat.st_mtime_ns,
            "sha256": sha256,
            "size": size,
            "what": outcome,
            **details,
        }
        self.records.append(record)
        if self.dry_run:
            return record
        append_record(self._path, record)
        self._unfinished.unlink(missing_ok=True)
        return record


def _hash_prefix(file: IO[bytes], size: int) -> str:
    digest = hashlib.sha256()
    while size > 0 and (block := file.read(min(BLOCK_BYTES, size))):
        digest.update(block)
        size -= len(block)
    return digest.hexdigest()

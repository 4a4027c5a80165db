"""Take the new files of the inbox into the folder `ready`, from which Spark reads them.

Spark's file source reads each file name once and never reads a file again that grows. It chooses the
decompression by the name, counts a copy twice, and stops at a damaged archive. So Spark reads another
folder, `ready`. Each file gets there once, as a whole, under a name that shows what it contains, and
only with lines that are new. Spark gets exactly the bytes that were inspected.
"""

import fcntl
import gzip
import hashlib
import json
import os
import re
import stat
import time
from collections.abc import Iterator
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any
from urllib.parse import unquote, urlsplit

from include.compression import detect_compression
from include.errors import UnreadableFile
from include.inbox.inspect import (
    BLOCK_BYTES,
    Inspection,
    escape_unprintable,
    open_regular_file,
    read_blocks,
)
from include.inbox.ledger import Ledger
from include.inbox.quarantine import quarantine_file
from include.lake.files import fsync_path, replace_file
from include.lake.landing_files import LandingFiles
from include.lake.paths import w3c_fields_path
from include.log_formats.log_format import compile_log_format

STABLE_SECONDS = 2.0  # a file is complete when its size has not changed for this long
PARTIAL_SUFFIXES = (".part", ".partial", ".tmp", ".filepart", ".crdownload", ".swp")
SPARK_SUFFIXES = (".gz", ".bz2", ".zst")  # Spark unpacks these; xz is written to `ready` as gz
ZERO_BLOCK = bytes(BLOCK_BYTES)
FICLONE = 0x40049409  # Linux ioctl: share the blocks of another file until one of them is changed


class FileBeingWritten(Exception):
    """A file changed while it was read."""


@dataclass
class TakeResult:
    """Outcome for each file: its name -> a text; `records` are the ledger records of taken files."""

    taken: dict[str, str] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    quarantined: dict[str, str] = field(default_factory=dict)
    records: list[dict[str, Any]] = field(default_factory=list)

    def format_lines(self) -> list[str]:
        """Return one line a file, for a task's log."""
        outcomes = (
            ("taken", self.taken),
            ("skipped", self.skipped),
            ("QUARANTINED", self.quarantined),
        )
        return [
            f"{outcome:11} {escape_unprintable(name)}: {details}"
            for outcome, files in outcomes
            for name, details in files.items()
        ]


def take_new_files(
    inbox: Path, ready: Path, log_format: str = "", *, dry_run: bool = False
) -> TakeResult:
    """Take new files from `inbox` into `ready`, and move unreadable ones to `inbox/_set_aside`.

    Anything but a regular file with one name (a link, FIFO, socket or device) is quarantined unread.
    A file that was taken before is recognised by name, size and time, and by the checksum of its
    unpacked content: a copy under another name, packed or not, is skipped. Of a plain file that has
    grown, only the new lines are taken.

    You can repeat and interrupt this: a file appears in `ready` as a whole, then in the ledger. A lock
    makes a second call wait for the first.

    Args:
        inbox: Folder that users write to; created if it is missing.
        ready: Folder that Spark reads; created if it is missing. The fields of W3C files are written
            to `<ready>.formats.json` beside it.
        log_format: Apache LogFormat that files may have besides the known formats.
        dry_run: Report what would be done, and take and move nothing.

    Returns:
        The outcome for each file.

    Raises:
        ValueError: `log_format` cannot be parsed.
        NotADirectoryError: `ready` is a symbolic link.
    """
    ready.mkdir(parents=True, exist_ok=True)
    if ready.is_symlink():
        raise NotADirectoryError(f"{ready} is a symbolic link: replace it by a folder")
    inbox.mkdir(parents=True, exist_ok=True)
    with ready.with_name(f".{ready.name}.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return _take_all(inbox, ready, log_format, dry_run)


def remove_landed_files(ready: Path, landing: LandingFiles) -> int:
    """Remove the files from `ready` that the landing has committed.

    Returns:
        How many files were removed.
    """
    committed = max(landing.list_committed_batches(), default=-1)
    removed = 0
    for entry in landing.read_source_log():
        path = ready / unquote(urlsplit(entry["path"]).path.rpartition("/")[2])
        if entry["batchId"] <= committed and path.is_file():
            path.unlink()
            removed += 1
    return removed


def _take_all(inbox: Path, ready: Path, log_format: str, dry_run: bool) -> TakeResult:
    ledger = Ledger(ready, dry_run)
    ledger.undo_unfinished()
    if log_format:
        compile_log_format(log_format)  # refuse it before a file is touched
    result = TakeResult()
    entries = dict(_list_entries(inbox))
    if any(time.time() - file_stat.st_mtime < STABLE_SECONDS for file_stat in entries.values()):
        time.sleep(STABLE_SECONDS)
    for path, file_stat in entries.items():
        try:
            if path.lstat().st_size != file_stat.st_size:
                raise FileBeingWritten
            if not ledger.has_file(path.name, path.lstat()):
                _take_file(path, ready, ledger, result, log_format)
        except UnreadableFile as error:
            outcome = quarantine_file(path, str(error), dry_run)
            result.quarantined[path.name] = f"{error}; {outcome}"
        except FileBeingWritten:
            result.skipped[path.name] = "it is being written; the next run takes it"
        except FileNotFoundError:
            continue  # removed by its owner meanwhile
        except PermissionError as error:
            if str(error.filename) != str(path):
                raise  # a file of ours, not of the inbox
            result.skipped[path.name] = (
                f"it cannot be read ({error.strerror}); give read permission to the user who runs "
                "Tidemark"
            )
    return result


def _list_entries(inbox: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """List the entries of the inbox with final names, except folders; a link is listed itself."""
    for path in sorted(inbox.iterdir()):
        with suppress(FileNotFoundError):
            if _is_final_name(path) and not stat.S_ISDIR((file_stat := path.lstat()).st_mode):
                yield path, file_stat


def _is_final_name(path: Path) -> bool:
    return path.name[0] not in "._" and not path.name.lower().endswith(PARTIAL_SUFFIXES)


def _take_file(
    path: Path, ready: Path, ledger: Ledger, result: TakeResult, log_format: str
) -> None:
    part = ready / f".{hashlib.sha256(os.fsencode(path.name)).hexdigest()[:12]}.part"
    part.unlink(missing_ok=True)  # a killed run may have left it
    try:
        with (
            open_regular_file(path) as file,
            nullcontext() if ledger.dry_run else part.open("x+b") as out,
        ):
            file_stat, compression = os.fstat(file.fileno()), detect_compression(file)
            start = ledger.find_taken_size(path.name, file, file_stat.st_size, compression)
            try:
                inspection = _inspect_and_copy(file, file_stat, compression, start, out)
            except UnreadableFile:
                _check_unchanged(file, file_stat, compression)
                raise
            _check_unchanged(file, file_stat, compression)
            if not inspection.size:
                result.skipped[path.name] = "it is empty"
                return
            if original := ledger.find_name(inspection.checksum):
                result.skipped[path.name] = (
                    f"a copy of {escape_unprintable(original)}, which was taken before"
                )
                ledger.add(path.name, file_stat, inspection.checksum, inspection.size, "copy")
                return
            if inspection.end_offset <= start:
                result.skipped[path.name] = "it has no new complete line"
                return
            details = inspection.describe_lines(log_format)
            target = ready / _build_ready_name(path, compression, inspection, details["format"])
            if out:
                if inspection.fields:
                    _add_w3c_fields(w3c_fields_path(ready), details["format"], inspection.fields)
                os.fsync(out.fileno())
                ledger.mark_unfinished(target)
                part.replace(target)
                fsync_path(ready)
    finally:
        part.unlink(missing_ok=True)
    record = ledger.add(
        path.name,
        file_stat,
        inspection.lines_checksum,
        inspection.end_offset,
        "taken",
        ready=target.name,
        **details,
    )
    result.records.append(record)
    size = f"{inspection.end_offset - start:,} {'new bytes' if start else 'bytes'}"
    size = f"{size} after the first {start:,}" if start else size
    result.taken[path.name] = f"{size}, {details['lines']:,} lines, format {details['format']}"


def _inspect_and_copy(
    file: IO[bytes],
    file_stat: os.stat_result,
    compression: str,
    start_offset: int,
    out: IO[bytes] | None,
) -> Inspection:
    """Read the bytes that a file had at `file_stat` once, and write what Spark is to read to `out`.

    Spark gets the new complete lines, or a packed file as it is. A packed file is copied first, and
    the copy is checked, because nobody else can change it.
    """
    inspection = Inspection(start_offset)
    is_quiet = time.time() - file_stat.st_mtime > STABLE_SECONDS * 30
    lines: Any = out
    if out and compression in SPARK_SUFFIXES:
        _copy_bytes(file, out, file_stat.st_size)
        file, lines = out, None
    elif out and compression:
        lines = gzip.GzipFile(fileobj=out, mode="wb", compresslevel=1)
    for number, block in enumerate(read_blocks(file, compression, file_stat.st_size), 1):
        new_lines = inspection.feed(block)
        if lines:
            lines.write(new_lines)
        if lines is out and number % 8 == 0:
            _start_writeback(out, (number - 8) * BLOCK_BYTES, 8 * BLOCK_BYTES)
    # A last line without a newline is complete if nobody has written to the file for a while.
    last_line = inspection.finish(is_whole=bool(compression) or is_quiet)
    if lines:
        lines.write(last_line)
    if out:
        if lines and lines is not out:
            lines.close()
        out.flush()
    return inspection


def _copy_bytes(file: IO[bytes], out: IO[bytes], size: int) -> None:
    """Copy `size` bytes; share the file's blocks if the file system can."""
    try:
        fcntl.ioctl(out.fileno(), FICLONE, file.fileno())
    except OSError:
        while size and (block := file.read(min(BLOCK_BYTES, size))):
            if block == ZERO_BLOCK[: len(block)]:  # a hole in the file must not fill the disk
                out.seek(len(block), os.SEEK_CUR)
            else:
                out.write(block)
            size -= len(block)
        out.truncate()
    out.flush()
    out.seek(0)
    _start_writeback(out, 0, 0)


def _start_writeback(out: IO[bytes] | None, begin: int, size: int) -> None:
    """Start writing to disk while reading goes on, so that the fsync at the end takes less time."""
    if out and hasattr(os, "posix_fadvise"):  # not on macOS
        os.posix_fadvise(out.fileno(), begin, size, os.POSIX_FADV_DONTNEED)


def _check_unchanged(file: IO[bytes], file_stat: os.stat_result, compression: str) -> None:
    """Raise FileBeingWritten if a packed file has changed since `file_stat`; a plain one may grow."""
    new_stat = os.fstat(file.fileno())
    if compression and (new_stat.st_size, new_stat.st_mtime_ns) != (
        file_stat.st_size,
        file_stat.st_mtime_ns,
    ):
        raise FileBeingWritten


def _build_ready_name(
    path: Path, compression: str, inspection: Inspection, format_name: str
) -> str:
    """Return a name that Spark can read for any original name; its suffixes show how to read it."""
    stem = path.name.removesuffix(compression) if compression else path.name
    # Hadoop takes a colon as the end of a scheme. Only real ids of W3C fields may look like one.
    stem = re.sub(r"[^A-Za-z0-9._ ()%+=@,-]", "_", stem)[:150].replace(".w3c-", "_w3c-")
    packed = compression if compression in SPARK_SUFFIXES else ".gz" if compression else ""
    if inspection.fields:
        return f"{inspection.lines_checksum[:12]}-{stem}.{format_name}.log{packed}"
    return f"{inspection.lines_checksum[:12]}-{stem}{packed or '.log'}"


def _add_w3c_fields(path: Path, name: str, fields: str) -> None:
    """Add fields to the file of known W3C fields; a reader sees the old file or the whole new one."""
    known = json.loads(path.read_text()) if path.is_file() else {}
    if known.get(name) == fields:
        return
    replace_file(path, json.dumps(known | {name: fields}, indent=1))

"""Check the files that people put into the inbox before Spark reads them, and quarantine bad ones.

Spark's file source reads each file name once and never reads a file again that grows. It chooses the
decompression by the name, counts a copy twice, and stops at a damaged archive. So Spark reads another
folder, `ready`. Each file gets there once, as a whole, under a name that shows what it contains, and
only with lines that are new.

Users who write to the inbox are not trusted. Only regular files with one name are opened, each once,
and Spark gets exactly the bytes that were checked.
"""

import errno
import fcntl
import gzip
import hashlib
import json
import os
import re
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from itertools import count
from pathlib import Path
from typing import IO, Any
from urllib.parse import unquote, urlsplit

from include.compression import ARCHIVE_ERRORS, OPENERS, detect_compression
from include.contracts import MAX_LINE_BYTES
from include.errors import UnreadableFile
from include.lake.files import append_record, fsync_path, read_records, replace_file
from include.lake.landing_files import LandingFiles
from include.lake.paths import w3c_fields_path
from include.log_formats import (
    Format,
    build_instant,
    compile_log_format,
    compile_w3c,
    detect_format,
    normalise_w3c_fields,
    w3c_id,
)

STABLE_SECONDS = 2.0  # a file is complete when its size has not changed for this long
# A file is refused as a bomb if it unpacks to more than MAX_UNPACKED_BYTES, or to more than the larger
# of 100 blocks and MAX_COMPRESSION_RATIO times its size. A log packs 10 to 60 times smaller.
MAX_UNPACKED_BYTES = 200 * 2**30
MAX_COMPRESSION_RATIO = 400
PARTIAL_SUFFIXES = (".part", ".partial", ".tmp", ".filepart", ".crdownload", ".swp")
BLOCK_BYTES = 1 << 20
SAMPLE_LINES = 200  # read at the head of a file to detect its format, at its end for its last time
SPARK_SUFFIXES = (".gz", ".bz2", ".zst")  # Spark unpacks these; xz is written to `ready` as gz
W3C_DIRECTIVE = re.compile(
    rb"^(?:\xef\xbb\xbf)?#(Fields|Software):([^\n]*)", re.MULTILINE | re.IGNORECASE
)
LineReader = Callable[[str], tuple[str, datetime | None] | None]
ZERO_BLOCK = bytes(BLOCK_BYTES)
FICLONE = 0x40049409  # Linux ioctl: share the blocks of another file until one of them is changed
MAX_NAME_BYTES = 240  # of a name in the quarantine: 255 are allowed, and ".2" and ".why" are added
IRREGULAR_FILE_TYPES = {
    stat.S_IFLNK: "a symbolic link",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFDIR: "a folder",
}


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


def _take_all(inbox: Path, ready: Path, log_format: str, dry_run: bool) -> TakeResult:
    ledger = _Ledger(_ledger_path(ready), dry_run)
    ledger.undo_unfinished(ready)
    custom_format = compile_log_format(log_format) if log_format else None
    result = TakeResult()
    entries = dict(_list_entries(inbox))
    if any(time.time() - file_stat.st_mtime < STABLE_SECONDS for file_stat in entries.values()):
        time.sleep(STABLE_SECONDS)
    for path, file_stat in entries.items():
        try:
            if path.lstat().st_size != file_stat.st_size:
                raise FileBeingWritten
            if not ledger.has_file(path.name, path.lstat()):
                _take_file(path, ready, ledger, result, custom_format)
        except UnreadableFile as error:
            outcome = _quarantine_file(path, str(error), dry_run)
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


def inspect_file(path: Path, log_format: str = "") -> dict[str, Any]:
    """Return `lines`, `format`, `first` and `last` of a file, as in the records of `read_records`.

    Raises:
        UnreadableFile: The file is not a regular one, is damaged, or is in no known format.
    """
    inspection = _Inspection(0)
    with _open_regular_file(path) as file:
        for block in _read_blocks(file, detect_compression(file), os.fstat(file.fileno()).st_size):
            inspection.feed(block)
    inspection.finish(is_whole=True)
    return inspection.describe_lines(compile_log_format(log_format) if log_format else None)


def read_taken_files(ready: Path) -> list[dict[str, Any]]:
    """Return the ledger of the folder `ready`: one record per file, oldest first.

    Returns:
        Records with `name`, `packed` (bytes) and `modified` (nanoseconds since 1970) of the file in the
        inbox, `sha256` and `size` (bytes) of its unpacked content, and `what` (`taken` or `copy`).
        Records of taken files also have `ready` (the name there), `lines` (what Spark reads there),
        `format`, and `first` and `last` (times of the first and the last line as ISO instants, or
        None). Old records lack these.
    """
    return list(_Ledger(_ledger_path(ready)).records)


def read_unlanded_records(ready: Path) -> list[dict[str, Any]]:
    """Return the records of taken files that are still in `ready` and wait to be landed."""
    return [
        record for record in read_taken_files(ready) if (ready / record.get("ready", "-")).is_file()
    ]


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


def _take_file(
    path: Path, ready: Path, ledger: "_Ledger", result: TakeResult, custom_format: Format | None
) -> None:
    part = ready / f".{hashlib.sha256(os.fsencode(path.name)).hexdigest()[:12]}.part"
    part.unlink(missing_ok=True)  # a killed run may have left it
    try:
        with (
            _open_regular_file(path) as file,
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
            details = inspection.describe_lines(custom_format)
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


def _open_regular_file(path: Path) -> IO[bytes]:
    """Open a regular file that has one name; UnreadableFile for anything else, without opening it."""
    _check_regular(path.lstat())  # opening a device may have an effect
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO):  # replaced by a link or socket meanwhile
            raise UnreadableFile("it is not a regular file; put a copy of the file there") from None
        raise
    try:
        _check_regular(os.fstat(handle))
        return os.fdopen(handle, "rb")
    except BaseException:
        os.close(handle)
        raise


def _check_regular(file_stat: os.stat_result) -> None:
    if not stat.S_ISREG(file_stat.st_mode):
        kind = IRREGULAR_FILE_TYPES.get(stat.S_IFMT(file_stat.st_mode), "something else")
        raise UnreadableFile(f"it is {kind}, not a regular file; put a copy of the file there")
    if file_stat.st_nlink > 1:
        raise UnreadableFile("it has another name (a hard link); put a copy of the file there")
    if file_stat.st_size > MAX_UNPACKED_BYTES:
        raise UnreadableFile(
            f"it has {file_stat.st_size:,} bytes; a log may have up to {MAX_UNPACKED_BYTES:,}"
        )


def _check_unchanged(file: IO[bytes], file_stat: os.stat_result, compression: str) -> None:
    """Raise FileBeingWritten if a packed file has changed since `file_stat`; a plain one may grow."""
    new_stat = os.fstat(file.fileno())
    if compression and (new_stat.st_size, new_stat.st_mtime_ns) != (
        file_stat.st_size,
        file_stat.st_mtime_ns,
    ):
        raise FileBeingWritten


def _build_ready_name(
    path: Path, compression: str, inspection: "_Inspection", format_name: str
) -> str:
    """Return a name that Spark can read for any original name; its suffixes show how to read it."""
    stem = path.name.removesuffix(compression) if compression else path.name
    # Hadoop takes a colon as the end of a scheme. Only real ids of W3C fields may look like one.
    stem = re.sub(r"[^A-Za-z0-9._ ()%+=@,-]", "_", stem)[:150].replace(".w3c-", "_w3c-")
    packed = compression if compression in SPARK_SUFFIXES else ".gz" if compression else ""
    if inspection.fields:
        return f"{inspection.lines_checksum[:12]}-{stem}.{format_name}.log{packed}"
    return f"{inspection.lines_checksum[:12]}-{stem}{packed or '.log'}"


class _Inspection:
    """Collects facts about a file's content while the file is read once, in complete lines."""

    def __init__(self, start_offset: int) -> None:
        self._start_offset = start_offset  # bytes before this were taken already
        self._digest = hashlib.sha256()
        self._rest = self._head = self._tail = b""
        self._lines = self._comments = 0
        self._directives: list[tuple[str, str]] = []
        self._is_w3c = False
        self.size = self.end_offset = 0  # bytes of the content, and of its complete lines
        self.checksum = self.lines_checksum = ""

    def feed(self, block: bytes) -> bytes:
        """Add the next bytes of the content, and return the complete lines in them that are new."""
        if not self.size:
            self._is_w3c = block.removeprefix(b"\xef\xbb\xbf").startswith(b"#")
        self.size += len(block)
        data = self._rest + block
        cut = data.rfind(b"\n") + 1
        if len(data) - cut > 2 * MAX_LINE_BYTES:
            cut = len(data)  # longer than any line of a log: do not wait for its end
        lines, self._rest = data[:cut], data[cut:]
        return self._add_lines(lines)

    def finish(self, is_whole: bool) -> bytes:
        """End the content, and compute the checksums.

        Args:
            is_whole: Count a last line that lacks its newline as complete.

        Returns:
            That last line if it counts, else nothing.
        """
        last_line = self._add_lines(self._rest) if is_whole else b""
        self.lines_checksum = self._digest.hexdigest()
        if not is_whole:
            self._digest.update(self._rest)
        self.checksum = self._digest.hexdigest()
        self._lines += bool(self._tail) and not self._tail.endswith(b"\n")
        return last_line

    def _add_lines(self, lines: bytes) -> bytes:
        self._digest.update(lines)
        if self._is_w3c:
            self._directives += [
                (name.decode().lower(), text.decode("utf-8", "replace").strip())
                for name, text in W3C_DIRECTIVE.findall(lines)
            ]
        new_lines = lines[max(0, self._start_offset - self.end_offset) :]
        self.end_offset += len(lines)
        self._lines += new_lines.count(b"\n")
        self._comments += new_lines.count(b"\n#") + new_lines.startswith((b"#", b"\xef\xbb\xbf#"))
        self._head += new_lines[: BLOCK_BYTES - len(self._head)]
        self._tail = (self._tail + new_lines)[-BLOCK_BYTES:]
        return new_lines

    @property
    def fields(self) -> str:
        """The normalised #Fields of a W3C file; empty for other files."""
        declared = list(dict.fromkeys(text for name, text in self._directives if name == "fields"))
        if not declared:
            return ""
        if len(declared) > 1:
            raise UnreadableFile(
                f"its fields change to '#Fields: {escape_unprintable(declared[1][:200])}'; "
                "split the file before that line"
            )
        software = next((text for name, text in self._directives if name == "software"), "")
        return normalise_w3c_fields(declared[0], software)

    def describe_lines(self, custom_format: Format | None) -> dict[str, Any]:
        """Return `lines`, `first`, `last` and `format` of the new lines, for the ledger.

        Raises:
            UnreadableFile: None of the first lines is in a known format.
        """
        fields, lines = self.fields, self._lines
        read_line: LineReader
        if fields:
            lines -= self._comments
            try:
                read_line = _make_w3c_reader(fields)
            except ValueError as error:
                raise UnreadableFile(str(error)) from None
        else:
            read_line = partial(detect_format, custom_format=custom_format)
        head = _decode_lines(self._head, is_w3c=bool(fields))[:SAMPLE_LINES]
        head_matches = [match for line in head if (match := read_line(line))]
        formats = {name for name, _ in head_matches}
        if head and not formats and not self._start_offset:
            first_lines = "".join(f"\n  {escape_unprintable(line[:200])}" for line in head[:3])
            raise UnreadableFile(
                "it is in no known access-log format; set TIDEMARK_LOG_FORMAT if an Apache LogFormat "
                f"describes it (docs/formats.md). Its first three lines:{first_lines}"
            )
        tail = _decode_lines(self._tail, is_w3c=bool(fields))[: -SAMPLE_LINES - 1 : -1]
        tail_matches = (match for line in tail if (match := read_line(line)))
        return {
            "lines": lines,
            "first": next((at.isoformat() for _, at in head_matches if at), None),
            "last": next((at.isoformat() for _, at in tail_matches if at), None),
            "format": formats.pop() if len(formats) == 1 else "mixed",
        }


def _make_w3c_reader(fields: str) -> LineReader:
    w3c_format, name = compile_w3c(fields), w3c_id(fields)

    def read_line(line: str) -> tuple[str, datetime | None] | None:
        values = w3c_format.parse(line)
        return (name, build_instant(values)) if values else None

    return read_line


def _decode_lines(content: bytes, is_w3c: bool) -> list[str]:
    """Return the lines of a part of a file, without blank lines and W3C directives."""
    lines = [
        line.decode("utf-8", "replace").rstrip("\r").lstrip("\ufeff")
        for line in content.split(b"\n")
        if len(line) <= MAX_LINE_BYTES
    ]
    return [line for line in lines if line.strip() and not (is_w3c and line.startswith("#"))]


def escape_unprintable(text: str) -> str:
    """Escape what is not printable in untrusted text, so that a person can read it safely."""
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text
    )


def _inspect_and_copy(
    file: IO[bytes],
    file_stat: os.stat_result,
    compression: str,
    start_offset: int,
    out: IO[bytes] | None,
) -> _Inspection:
    """Read the bytes that a file had at `file_stat` once, and write what Spark is to read to `out`.

    Spark gets the new complete lines, or a packed file as it is. A packed file is copied first, and
    the copy is checked, because nobody else can change it.
    """
    inspection = _Inspection(start_offset)
    is_quiet = time.time() - file_stat.st_mtime > STABLE_SECONDS * 30
    lines: Any = out
    if out and compression in SPARK_SUFFIXES:
        _copy_bytes(file, out, file_stat.st_size)
        file, lines = out, None
    elif out and compression:
        lines = gzip.GzipFile(fileobj=out, mode="wb", compresslevel=1)
    for number, block in enumerate(_read_blocks(file, compression, file_stat.st_size), 1):
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


def _read_blocks(file: IO[bytes], compression: str, packed_size: int) -> Iterator[bytes]:
    """Yield the unpacked content of a file of `packed_size` bytes in blocks.

    Raises:
        UnreadableFile: The file is damaged, or unpacks to more than a log may.
    """
    size = 0
    limit = min(MAX_UNPACKED_BYTES, max(100 * BLOCK_BYTES, packed_size * MAX_COMPRESSION_RATIO))
    try:
        unpacked = OPENERS[compression](file, "rb") if compression else file
        while block := unpacked.read(
            BLOCK_BYTES if compression else min(BLOCK_BYTES, packed_size - size)
        ):
            size += len(block)
            if size > limit:
                raise UnreadableFile(
                    f"its {packed_size:,} bytes unpack to more than {limit:,}, which no log does"
                )
            yield block
    except ARCHIVE_ERRORS as error:
        raise UnreadableFile(f"it is damaged ({error}); copy it again from its source") from None


def _add_w3c_fields(path: Path, name: str, fields: str) -> None:
    """Add fields to the file of known W3C fields; a reader sees the old file or the whole new one."""
    known = json.loads(path.read_text()) if path.is_file() else {}
    if known.get(name) == fields:
        return
    replace_file(path, json.dumps(known | {name: fields}, indent=1))


def _ledger_path(ready: Path) -> Path:
    return ready.with_name(f"{ready.name}.jsonl")


def _quarantine_file(path: Path, reason: str, dry_run: bool) -> str:
    """Move a file into the quarantine, and write the reason beside it.

    The folder is used through a handle: a user who writes to the inbox could replace it by a link.

    Returns:
        A text that says where the file is now.
    """
    folder = path.parent / "_set_aside"
    if dry_run:
        return f"it would be moved to {folder}"
    try:
        folder.mkdir(exist_ok=True)
        quarantine = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            _move_to_quarantine(path, quarantine, reason)
        finally:
            os.close(quarantine)
    except FileNotFoundError:
        return "it was removed from the inbox meanwhile"
    except OSError as error:  # for example, the folder is a link; the other files are still taken
        return f"it stays in the inbox: it cannot be moved to {folder} ({error.strerror})"
    return f"it was moved to {folder}"


def _move_to_quarantine(path: Path, quarantine_handle: int, reason: str) -> None:
    base = os.fsencode(path.name)
    if len(base) > MAX_NAME_BYTES:
        digest = hashlib.sha256(base).hexdigest()[:12]
        base = f"{base[: MAX_NAME_BYTES - 13].decode(errors='ignore')}-{digest}".encode()
    for number in count(1):
        target = base + (f".{number}".encode() if number > 1 else b"")
        reason_file = target + b".why"
        with suppress(FileNotFoundError):
            os.stat(target, dir_fd=quarantine_handle, follow_symlinks=False)
            continue
        with suppress(FileExistsError):
            handle = os.open(
                reason_file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666, dir_fd=quarantine_handle
            )
            break
    try:
        with os.fdopen(handle, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(f"{reason}\n")
        os.rename(path, target, dst_dir_fd=quarantine_handle)
    except OSError:
        os.unlink(reason_file, dir_fd=quarantine_handle)
        raise


def _is_final_name(path: Path) -> bool:
    return path.name[0] not in "._" and not path.name.lower().endswith(PARTIAL_SUFFIXES)


def _hash_prefix(file: IO[bytes], size: int) -> str:
    digest = hashlib.sha256()
    while size > 0 and (block := file.read(min(BLOCK_BYTES, size))):
        digest.update(block)
        size -= len(block)
    return digest.hexdigest()


class _Ledger:
    """Records which files were taken: one JSON line a file, in a file beside the folder `ready`."""

    def __init__(self, path: Path, dry_run: bool = False) -> None:
        self._path, self.dry_run = path, dry_run
        self._unfinished = path.with_name(f".{path.name}.unfinished")
        # A record that a kill cut off is missing: its file is checked again and found by its checksum.
        self.records = list(read_records(path))

    def has_file(self, name: str, file_stat: os.stat_result) -> bool:
        key = (name, file_stat.st_size, file_stat.st_mtime_ns)
        return any((r["name"], r["packed"], r["modified"]) == key for r in self.records)

    def find_name(self, checksum: str) -> str:
        return next((r["name"] for r in self.records if r["sha256"] == checksum), "")

    def find_taken_size(self, name: str, file: IO[bytes], file_size: int, compression: str) -> int:
        """Return how many bytes at the start of this plain file were taken before under its name."""
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

    def undo_unfinished(self, ready: Path) -> None:
        """Remove a file from `ready` that a killed run has left there without a record.

        The file is taken again. If it has grown since, it gets another name: without the removal, its
        lines would be in `ready` twice.
        """
        if self.dry_run or not self._unfinished.is_file():
            return
        name = Path(self._unfinished.read_text()).name
        if name and name not in {record.get("ready") for record in self.records}:
            (ready / name).unlink(missing_ok=True)
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

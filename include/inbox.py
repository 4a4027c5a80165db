"""Look at the files that people drop into the inbox before Spark does, and set the bad ones aside.

Spark reads each name once, picks the decompression by the name, never looks at a file again that
grows, counts a copy twice, and stops at a damaged archive. So it reads another folder, `ready`, into
which each file comes once: whole, under a name that says what it is, and only what is new of it.

Whoever writes to the inbox is not trusted: only a regular file with one name is opened, once, and
what Spark gets are the very bytes that were checked.
"""

import bz2
import errno
import fcntl
import gzip
import hashlib
import json
import lzma
import os
import re
import stat
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from itertools import count
from pathlib import Path
from typing import IO, Any
from urllib.parse import unquote, urlsplit

from backports import zstd

from include.contracts import MAX_LINE_BYTES
from include.lake import formats_of
from include.log_formats import (
    Format,
    compile_log_format,
    compile_w3c,
    instant,
    recognise,
    w3c_fields,
    w3c_id,
)

SETTLED_SECONDS = 2.0  # a file is whole when its size has not changed for so long
MOST_UNPACKED = 200 * 2**30  # and
MOST_RATIO = 400  # of unpacked to packed, together: a bomb. A log packs 10 to 60 times smaller.
PARTIAL = (".part", ".partial", ".tmp", ".filepart", ".crdownload", ".swp")
BLOCK = 1 << 20
LOOKED_AT = 200  # lines, at the head of a file for its format and at its end for its last time
OPENERS: dict[str, Callable[..., Any]] = {
    ".gz": gzip.open, ".bz2": bz2.open, ".zst": zstd.open, ".xz": lzma.open
}  # fmt: skip
MAGICS = {
    b"\x1f\x8b": ".gz", b"BZh": ".bz2", b"\x28\xb5\x2f\xfd": ".zst", b"\xfd7zXZ": ".xz"
}  # fmt: skip
BY_SPARK = (".gz", ".bz2", ".zst")  # Spark unpacks these itself; xz gets to `ready` as gz
UNREADABLE = {b"PK\x03\x04": "zip", b"7z\xbc\xaf": "7z"}
DIRECTIVES = re.compile(
    rb"^(?:\xef\xbb\xbf)?#(Fields|Software):([^\n]*)", re.MULTILINE | re.IGNORECASE
)
Reader = Callable[[str], tuple[str, datetime | None] | None]
ZEROS = bytes(BLOCK)
FICLONE = 0x40049409  # Linux's ioctl: share the blocks of another file until either is written to
LONGEST_NAME = 240  # bytes of a name in the quarantine; ".2" and ".why" follow, 255 are allowed
IRREGULAR = {
    stat.S_IFLNK: "a symbolic link", stat.S_IFIFO: "a FIFO", stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device", stat.S_IFBLK: "a device", stat.S_IFDIR: "a folder",
}  # fmt: skip
BAD_ARCHIVE = (EOFError, OSError, zlib.error, lzma.LZMAError, zstd.ZstdError)


class Damaged(Exception):
    """Why a file is set aside."""


class BeingWritten(Exception):
    """A file changed while it was read."""


@dataclass
class Inventory:
    """What was found: file name -> what became of it, and the `records` of what was taken."""

    taken: dict[str, str] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    set_aside: dict[str, str] = field(default_factory=dict)
    files: list[dict[str, Any]] = field(default_factory=list)

    def lines(self) -> list[str]:
        """One line a file, for a task's log."""
        found = [f"taken      {shown(name)}: {what}" for name, what in self.taken.items()]
        found += [f"skipped    {shown(name)}: {why}" for name, why in self.skipped.items()]
        return found + [f"SET ASIDE  {shown(name)}: {why}" for name, why in self.set_aside.items()]


def take(inbox: Path, ready: Path, log_format: str = "", *, only_look: bool = False) -> Inventory:
    """Bring what is new in `inbox` into `ready`; move what cannot be read to `inbox/_set_aside`.

    What is no regular file with one name (links, FIFOs, sockets, devices) is quarantined unread.

    With `only_look` say what would be done, and change nothing. One at a time: another waits.

    A file must be in a format that is known, or in `log_format`, an Apache LogFormat (ValueError if
    that cannot be read). What W3C files say of their fields goes into `<ready>.formats.json`.

    Files are known by name, size and time, and by the checksum of their unpacked content: a copy
    under another name, packed or not, is skipped. Of a plain file that has grown, the new lines are
    taken. Safe to repeat, and to interrupt: a file appears in `ready` whole, then in the ledger.
    Raises NotADirectoryError if `ready` is a symbolic link.
    """
    ready.mkdir(parents=True, exist_ok=True)
    if ready.is_symlink():
        raise NotADirectoryError(f"{ready} is a symbolic link: put a folder there")
    inbox.mkdir(parents=True, exist_ok=True)
    with ready.with_name(f".{ready.name}.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return _take(inbox, ready, log_format, only_look)


def _take(inbox: Path, ready: Path, log_format: str, only_look: bool) -> Inventory:
    ledger = _Ledger(_ledger_of(ready), only_look)
    ledger.undo_unfinished(ready)
    given = compile_log_format(log_format) if log_format else None
    found = Inventory()
    before = dict(_entries(inbox))
    if any(time.time() - state.st_mtime < SETTLED_SECONDS for state in before.values()):
        time.sleep(SETTLED_SECONDS)
    for path, state in before.items():
        try:
            if path.lstat().st_size != state.st_size:
                raise BeingWritten
            if not ledger.knows(path.name, path.lstat()):
                _take_one(path, ready, ledger, found, given)
        except Damaged as why:
            found.set_aside[path.name] = f"{why}; {_set_aside(path, str(why), only_look)}"
        except BeingWritten:
            found.skipped[path.name] = "it is being written; the next run takes it"
        except FileNotFoundError:
            continue  # taken away in between
        except PermissionError as why:
            if str(why.filename) != str(path):
                raise  # ours, not theirs
            found.skipped[path.name] = (
                f"it cannot be read ({why.strerror}); give the user who runs this the right to"
            )
    return found


def _entries(inbox: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """What lies in the inbox under the name of a whole file, but for folders; links themselves."""
    for path in sorted(inbox.iterdir()):
        with suppress(FileNotFoundError):
            if _is_whole_name(path) and not stat.S_ISDIR((state := path.lstat()).st_mode):
                yield path, state


def look_at(path: Path, log_format: str = "") -> dict[str, Any]:
    """`lines`, `format`, `first` and `last` of a file, as in `records`. Raises Damaged."""
    look = _Look(0)
    with _open(path) as file:
        for block in _blocks(file, _kind(file), os.fstat(file.fileno()).st_size):
            look.feed(block)
    look.finish(is_whole=True)
    return look.about(compile_log_format(log_format) if log_format else None)


def records(ready: Path) -> list[dict[str, Any]]:
    """What was taken into `ready`, a record a file, oldest first.

    `name`, `packed` and `modified` as in the inbox; `sha256` and `size` of the unpacked content;
    `what` (`taken` or `copy`). Of what was taken also: `ready`, the name there; `lines` that Spark
    reads there; `format`; `first` and `last`, the times in its first and last line as ISO instants or
    None. Records from before these were kept lack them.
    """
    return list(_Ledger(_ledger_of(ready)).records)


def waiting(ready: Path) -> list[dict[str, Any]]:
    """The records of files that were taken and lie there still, to be landed."""
    return [record for record in records(ready) if (ready / record.get("ready", "-")).is_file()]


def clear_landed(ready: Path, checkpoint: Path) -> int:
    """Remove from `ready` what the landing with this checkpoint has committed; give how many."""
    committed = max((int(p.name) for p in (checkpoint / "commits").glob("[0-9]*")), default=-1)
    cleared = 0
    for log in (checkpoint / "sources" / "0").glob("[0-9]*"):
        for line in log.read_text().splitlines()[1:]:
            entry = json.loads(line)
            path = ready / unquote(urlsplit(entry["path"]).path.rpartition("/")[2])
            if entry["batchId"] <= committed and path.is_file():
                path.unlink()
                cleared += 1
    return cleared


def _take_one(
    path: Path, ready: Path, ledger: "_Ledger", found: Inventory, given: Format | None
) -> None:
    part = ready / f".{hashlib.sha256(os.fsencode(path.name)).hexdigest()[:12]}.part"
    part.unlink(missing_ok=True)  # left by a take that was killed
    try:
        with _open(path) as file, nullcontext() if ledger.only_look else part.open("x+b") as out:
            state, kind = os.fstat(file.fileno()), _kind(file)
            begin = ledger.prefix_of(path.name, file, state.st_size, kind)
            try:
                look = _read_through(file, state, kind, begin, out)
            except Damaged:
                _check_unchanged(file, state, kind)
                raise
            _check_unchanged(file, state, kind)
            if not look.size:
                found.skipped[path.name] = "it is empty"
                return
            if other := ledger.name_of(look.checksum):
                found.skipped[path.name] = f"a copy of {shown(other)}, which was taken before"
                ledger.add(path.name, state, look.checksum, look.size, "copy")
                return
            if look.end <= begin:
                found.skipped[path.name] = "no whole line is new"
                return
            about = look.about(given)
            target = ready / _ready_name(path, kind, look, about["format"])
            if out:
                if look.fields:
                    _remember(formats_of(ready), about["format"], look.fields)
                os.fsync(out.fileno())
                ledger.begin(target)
                part.replace(target)
                _sync(ready)
    finally:
        part.unlink(missing_ok=True)
    record = ledger.add(
        path.name, state, look.checksum_of_end, look.end, "taken", ready=target.name, **about
    )
    found.files.append(record)
    what = f"{look.end - begin:,} bytes"
    what = f"{what} that are new after {begin:,}" if begin else what
    found.taken[path.name] = f"{what}, {about['lines']:,} lines, {about['format']}"


def _open(path: Path) -> IO[bytes]:
    """Open a regular file that has no other name. Raises Damaged for anything else, unopened."""
    _check_regular(path.lstat())  # to open a device may do something
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO):  # a link, a socket: put there in between
            raise Damaged("it is not a regular file") from None
        raise
    try:
        _check_regular(os.fstat(handle))
        return os.fdopen(handle, "rb")
    except BaseException:
        os.close(handle)
        raise


def _check_regular(state: os.stat_result) -> None:
    if not stat.S_ISREG(state.st_mode):
        what = IRREGULAR.get(stat.S_IFMT(state.st_mode), "something else")
        raise Damaged(f"it is {what}, not a regular file; put a copy of the file there")
    if state.st_nlink > 1:
        raise Damaged("it has another name (a hard link); put a copy of the file there")
    if state.st_size > MOST_UNPACKED:
        raise Damaged(f"it has {state.st_size:,} bytes, more than {MOST_UNPACKED:,}: no log does")


def _check_unchanged(file: IO[bytes], before: os.stat_result, kind: str) -> None:
    """Raise BeingWritten for a packed file that was written to meanwhile; plain ones may grow."""
    now = os.fstat(file.fileno())
    if kind and (now.st_size, now.st_mtime_ns) != (before.st_size, before.st_mtime_ns):
        raise BeingWritten


def _ready_name(path: Path, kind: str, look: "_Look", format_: str) -> str:
    """A name that Spark can read, whatever the file is called: it says what is in it."""
    stem = path.name.removesuffix(kind) if kind else path.name
    # A colon ends a scheme for Hadoop, and what looks like the id of W3C fields must be one.
    stem = re.sub(r"[^A-Za-z0-9._ ()%+=@,-]", "_", stem)[:150].replace(".w3c-", "_w3c-")
    packed = kind if kind in BY_SPARK else ".gz" if kind else ""
    if look.fields:
        return f"{look.checksum_of_end[:12]}-{stem}.{format_}.log{packed}"
    return f"{look.checksum_of_end[:12]}-{stem}{packed or '.log'}"


def _kind(file: IO[bytes]) -> str:
    """How it is packed, a suffix of OPENERS; nothing for plain text. By content: names lie."""
    head = file.read(6)
    file.seek(0)
    for magic, name in UNREADABLE.items():
        if head.startswith(magic):
            raise Damaged(f"it is {name}; unpack it, or pack it as gz, bz2, zst or xz")
    kind = next((kind for magic, kind in MAGICS.items() if head.startswith(magic)), "")
    if not kind and b"\0" in head:
        raise Damaged("it is no text")
    return kind


class _Look:
    """What is gathered of a file's content while it is read through once, whole line by whole line."""

    def __init__(self, begin: int) -> None:
        self._begin = begin  # what lies before was taken already
        self._digest = hashlib.sha256()
        self._rest = self._head = self._tail = b""
        self._lines = self._comments = 0
        self._directives: list[tuple[str, str]] = []
        self._is_w3c = False
        self.size = self.end = 0  # of the content, and of its whole lines
        self.checksum = self.checksum_of_end = ""

    def feed(self, block: bytes) -> bytes:
        """Take the next bytes; give the whole lines that are new."""
        if not self.size:
            self._is_w3c = block.removeprefix(b"\xef\xbb\xbf").startswith(b"#")
        self.size += len(block)
        data = self._rest + block
        cut = data.rfind(b"\n") + 1
        if len(data) - cut > 2 * MAX_LINE_BYTES:
            cut = len(data)  # no line of a log
        whole, self._rest = data[:cut], data[cut:]
        return self._take(whole)

    def finish(self, is_whole: bool) -> bytes:
        """The end: the last line, without its newline, is one if `is_whole`; give it then."""
        last = self._take(self._rest) if is_whole else b""
        self.checksum_of_end = self._digest.hexdigest()
        if not is_whole:
            self._digest.update(self._rest)
        self.checksum = self._digest.hexdigest()
        self._lines += bool(self._tail) and not self._tail.endswith(b"\n")
        return last

    def _take(self, whole: bytes) -> bytes:
        self._digest.update(whole)
        if self._is_w3c:
            self._directives += [
                (name.decode().lower(), text.decode("utf-8", "replace").strip())
                for name, text in DIRECTIVES.findall(whole)
            ]
        new = whole[max(0, self._begin - self.end) :]
        self.end += len(whole)
        self._lines += new.count(b"\n")
        self._comments += new.count(b"\n#") + new.startswith((b"#", b"\xef\xbb\xbf#"))
        self._head += new[: BLOCK - len(self._head)]
        self._tail = (self._tail + new)[-BLOCK:]
        return new

    @property
    def fields(self) -> str:
        """What the W3C file says of its fields; empty for other files."""
        found = dict.fromkeys(text for name, text in self._directives if name == "fields")
        if not found:
            return ""
        if len(found) > 1:
            raise Damaged(
                f"its fields change within it, to '#Fields: {shown([*found][1][:200])}'; split it there"
            )
        software = next((text for name, text in self._directives if name == "software"), "")
        return w3c_fields(next(iter(found)), software)

    def about(self, given: Format | None) -> dict[str, Any]:
        """What the ledger says of the new lines. Raises Damaged if nobody could read them."""
        fields, lines = self.fields, self._lines
        read: Reader
        if fields:
            lines -= self._comments
            try:
                read = _reader_of_w3c(fields)
            except ValueError as why:
                raise Damaged(str(why)) from None
        else:
            read = partial(recognise, given=given)
        head = _texts(self._head, is_w3c=bool(fields))[:LOOKED_AT]
        found = [read(line) for line in head]
        names = {one[0] for one in found if one}
        if head and not names and not self._begin:
            three = "".join(f"\n  {shown(line[:200])}" for line in head[:3])
            raise Damaged(
                "not recognised as an access log; set TIDEMARK_LOG_FORMAT if an Apache LogFormat "
                f"describes it (docs/formats.md). Its first three lines:{three}"
            )
        tail = _texts(self._tail, is_w3c=bool(fields))[: -LOOKED_AT - 1 : -1]
        last = (read(line) for line in tail)
        return {
            "lines": lines,
            "first": next((one[1].isoformat() for one in found if one and one[1]), None),
            "last": next((one[1].isoformat() for one in last if one and one[1]), None),
            "format": names.pop() if len(names) == 1 else "mixed",
        }


def _reader_of_w3c(fields: str) -> Reader:
    known, name = compile_w3c(fields), w3c_id(fields)

    def read(line: str) -> tuple[str, datetime | None] | None:
        found = known.read(line)
        return (name, instant(found)) if found else None

    return read


def _texts(content: bytes, is_w3c: bool) -> list[str]:
    """The lines of a piece of a file that say something, directives left out."""
    lines = [
        line.decode("utf-8", "replace").rstrip("\r").lstrip("\ufeff")
        for line in content.split(b"\n") if len(line) <= MAX_LINE_BYTES
    ]  # fmt: skip
    return [line for line in lines if line.strip() and not (is_w3c and line.startswith("#"))]


def shown(text: str) -> str:
    """Text of anybody for a person's eyes: what is not printable is escaped."""
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text
    )


def _read_through(
    file: IO[bytes], state: os.stat_result, kind: str, begin: int, out: IO[bytes] | None
) -> _Look:
    """Read all that the file had in its `state` once; write to `out` what Spark is to read.

    It gets the new whole lines, or a packed file as it is. A packed file is copied first, and the
    copy is checked: nobody else can change it.
    """
    look = _Look(begin)
    is_quiet = time.time() - state.st_mtime > SETTLED_SECONDS * 30
    lines: Any = out
    if out and kind in BY_SPARK:
        _copy(file, out, state.st_size)
        file, lines = out, None
    elif out and kind:
        lines = gzip.GzipFile(fileobj=out, mode="wb", compresslevel=1)
    for number, block in enumerate(_blocks(file, kind, state.st_size), 1):
        new = look.feed(block)
        if lines:
            lines.write(new)
        if lines is out and number % 8 == 0:
            _start_writing(out, (number - 8) * BLOCK, 8 * BLOCK)
    # The last line may lack its newline if nobody has written for a while: then it is whole.
    last = look.finish(is_whole=bool(kind) or is_quiet)
    if lines:
        lines.write(last)
    if out:
        if lines and lines is not out:
            lines.close()
        out.flush()
    return look


def _copy(file: IO[bytes], out: IO[bytes], left: int) -> None:
    """Copy so many bytes; share the file's blocks where the file system can."""
    try:
        fcntl.ioctl(out.fileno(), FICLONE, file.fileno())
    except OSError:
        while left and (block := file.read(min(BLOCK, left))):
            if block == ZEROS[: len(block)]:  # a hole there must not fill the disk here
                out.seek(len(block), os.SEEK_CUR)
            else:
                out.write(block)
            left -= len(block)
        out.truncate()
    out.flush()
    out.seek(0)
    _start_writing(out, 0, 0)


def _start_writing(out: IO[bytes] | None, begin: int, size: int) -> None:
    """Let the system write to the disk while we read on, so that the fsync at the end waits less."""
    if out and hasattr(os, "posix_fadvise"):  # not on macOS
        os.posix_fadvise(out.fileno(), begin, size, os.POSIX_FADV_DONTNEED)


def _blocks(file: IO[bytes], kind: str, packed: int) -> Iterator[bytes]:
    """The unpacked content of a file of `packed` bytes, bounded. Raises Damaged."""
    size = 0
    bound = min(MOST_UNPACKED, max(100 * BLOCK, packed * MOST_RATIO))
    try:
        unpacked = OPENERS[kind](file, "rb") if kind else file
        while block := unpacked.read(BLOCK if kind else min(BLOCK, packed - size)):
            size += len(block)
            if size > bound:
                raise Damaged(f"{packed:,} bytes unpack to more than {size:,}: no log does")
            yield block
    except BAD_ARCHIVE as error:
        raise Damaged(f"it is damaged ({error})") from None


def _remember(file: Path, name: str, fields: str) -> None:
    """Add to the fields of W3C files that are known; a reader sees all of the file or the old one."""
    known = json.loads(file.read_text()) if file.is_file() else {}
    if known.get(name) == fields:
        return
    part = file.with_name(f".{file.name}.part")
    part.write_text(json.dumps(known | {name: fields}, indent=1))
    _sync(part)
    part.replace(file)
    _sync(file.parent)


def _sync(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _ledger_of(ready: Path) -> Path:
    return ready.with_name(f"{ready.name}.jsonl")


def _set_aside(path: Path, why: str, only_look: bool) -> str:
    """Move a file into the quarantine, with the reason beside it; give where it is now.

    By a handle of the folder: whoever writes to the inbox could put a link in its place.
    """
    folder = path.parent / "_set_aside"
    if only_look:
        return f"it would be moved to {folder}"
    try:
        folder.mkdir(exist_ok=True)
        quarantine = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            _move_with_reason(path, quarantine, why)
        finally:
            os.close(quarantine)
    except FileNotFoundError:
        return "it was taken away in between"
    except OSError as error:  # a link, say; the other files go on
        return f"it stays in the inbox: it cannot be moved to {folder} ({error.strerror})"
    return f"it lies in {folder}"


def _move_with_reason(path: Path, quarantine: int, why: str) -> None:
    base = os.fsencode(path.name)
    if len(base) > LONGEST_NAME:
        digest = hashlib.sha256(base).hexdigest()[:12]
        base = f"{base[: LONGEST_NAME - 13].decode(errors='ignore')}-{digest}".encode()
    for number in count(1):
        target = base + (f".{number}".encode() if number > 1 else b"")
        reason = target + b".why"
        with suppress(FileNotFoundError):
            os.stat(target, dir_fd=quarantine, follow_symlinks=False)
            continue
        with suppress(FileExistsError):
            handle = os.open(reason, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666, dir_fd=quarantine)
            break
    with os.fdopen(handle, "w", encoding="utf-8", errors="backslashreplace") as file:
        file.write(f"{why}\n")
    try:
        os.rename(path, target, dst_dir_fd=quarantine)
    except OSError:
        os.unlink(reason, dir_fd=quarantine)
        raise


def _is_whole_name(path: Path) -> bool:
    return path.name[0] not in "._" and not path.name.lower().endswith(PARTIAL)


def _digest(file: IO[bytes], size: int) -> str:
    digest = hashlib.sha256()
    while size > 0 and (block := file.read(min(BLOCK, size))):
        digest.update(block)
        size -= len(block)
    return digest.hexdigest()


class _Ledger:
    """What was taken: a JSON line a file, beside the folder `ready`."""

    def __init__(self, path: Path, only_look: bool = False) -> None:
        self._path, self.only_look = path, only_look
        self._unfinished = path.with_name(f".{path.name}.unfinished")
        self.records: list[dict[str, Any]] = []
        text = path.read_text() if path.is_file() else ""
        self._is_torn = not text.endswith("\n") and bool(text)
        for line in text.splitlines():
            try:
                self.records.append(json.loads(line))
            except ValueError:
                continue  # torn by a kill: that file is looked at again, and known by checksum

    def knows(self, name: str, state: os.stat_result) -> bool:
        key = (name, state.st_size, state.st_mtime_ns)
        return any((r["name"], r["packed"], r["modified"]) == key for r in self.records)

    def name_of(self, checksum: str) -> str:
        return next((r["name"] for r in self.records if r["sha256"] == checksum), "")

    def prefix_of(self, name: str, file: IO[bytes], has: int, kind: str) -> int:
        """How many bytes of this plain file were taken under its name before, if they are the same."""
        if kind:
            return 0
        sizes = {r["size"]: r["sha256"] for r in self.records if r["name"] == name}
        try:
            for size in sorted(sizes, reverse=True):
                file.seek(0)
                if size <= has and _digest(file, size) == sizes[size]:
                    return int(size)
        finally:
            file.seek(0)
        return 0

    def begin(self, target: Path) -> None:
        """Note the name that appears in `ready` next, until the ledger has it."""
        self._unfinished.write_text(target.name)
        _sync(self._unfinished)

    def undo_unfinished(self, ready: Path) -> None:
        """Remove from `ready` what a killed take left there without a record.

        It is taken again. A log that has grown since gets another name then: its lines would be
        there twice.
        """
        if self.only_look or not self._unfinished.is_file():
            return
        name = Path(self._unfinished.read_text()).name
        if name and name not in {record.get("ready") for record in self.records}:
            (ready / name).unlink(missing_ok=True)
        self._unfinished.unlink()

    def add(
        self, name: str, state: os.stat_result, sha256: str, size: int, what: str, **about: Any
    ) -> dict[str, Any]:
        record = {"name": name, "packed": state.st_size, "modified": state.st_mtime_ns,
                  "sha256": sha256, "size": size, "what": what, **about}  # fmt: skip
        self.records.append(record)
        if self.only_look:
            return record
        is_new = not self._path.exists()
        with self._path.open("a") as file:
            file.write("\n" * self._is_torn + json.dumps(record) + "\n")
            file.flush()
            os.fsync(file.fileno())
        self._is_torn = False
        if is_new:
            _sync(self._path.parent)
        self._unfinished.unlink(missing_ok=True)
        return record

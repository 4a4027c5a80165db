"""Inspect a file of the inbox: whether it can be read, in which format it is, and what it contains.

Users who write to the inbox are not trusted. Only regular files with one name are opened, each once.
"""

import errno
import hashlib
import os
import re
import stat
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from include.compression import ARCHIVE_ERRORS, OPENERS, detect_compression
from include.contracts import MAX_LINE_BYTES
from include.errors import UnreadableFile
from include.log_formats.w3c import build_w3c_id, normalise_w3c_fields

if TYPE_CHECKING:
    from include.log_formats.reader import LineReader

# A file is refused as a bomb if it unpacks to more than MAX_UNPACKED_BYTES, or to more than the larger
# of 100 blocks and MAX_COMPRESSION_RATIO times its size. A log packs 10 to 60 times smaller.
MAX_UNPACKED_BYTES = 200 * 2**30
MAX_COMPRESSION_RATIO = 400
BLOCK_BYTES = 1 << 20
SAMPLE_LINES = 200  # read at the head of a file to detect its format, at its end for its last time
W3C_DIRECTIVE = re.compile(
    rb"^(?:\xef\xbb\xbf)?#(Fields|Software):([^\n]*)", re.MULTILINE | re.IGNORECASE
)
IRREGULAR_FILE_TYPES = {
    stat.S_IFLNK: "a symbolic link",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFDIR: "a folder",
}


def inspect_file(path: Path, log_format: str = "") -> dict[str, Any]:
    """Return `lines`, `format`, `first` and `last` of a file, as in the records of `read_taken_files`.

    Raises:
        UnreadableFile: The file is not a regular one, is damaged, or is in no known format.
    """
    inspection = Inspection(0)
    with open_regular_file(path) as file:
        for block in read_blocks(file, detect_compression(file), os.fstat(file.fileno()).st_size):
            inspection.feed(block)
    inspection.finish(is_whole=True)
    return inspection.describe_lines(log_format)


class Inspection:
    """Collects facts about a file's content while the file is read once, in complete lines.

    Args:
        start_offset: The lines of so many bytes at the start were taken already: only sizes and
            checksums include them.

    Attributes:
        size: Bytes of the content so far.
        end_offset: Bytes of its complete lines.
        checksum: SHA-256 of the content as hexadecimal digits; "" until `finish`.
        lines_checksum: The same of its complete lines.
    """

    def __init__(self, start_offset: int) -> None:
        self._start_offset = start_offset
        self._digest = hashlib.sha256()
        self._rest = self._head = self._tail = b""
        self._lines = self._comments = 0
        self._directives: list[tuple[str, str]] = []
        self._is_w3c = False
        self.size = self.end_offset = 0
        self.checksum = self.lines_checksum = ""

    def feed(self, block: bytes) -> bytes:
        """Add the next bytes of the content, and return the complete lines in them that are new."""
        if not self.size:
            self._is_w3c = block.removeprefix(b"\xef\xbb\xbf").startswith(b"#")
        self.size += len(block)
        cut = block.rfind(b"\n") + 1
        if not cut and len(self._rest) + len(block) > 2 * MAX_LINE_BYTES:
            cut = len(block)  # longer than any line of a log: do not wait for its end
        if not cut:
            self._rest += block
            return b""
        lines = self._rest + memoryview(block)[:cut]
        self._rest = block[cut:]
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
        if self._is_w3c:
            begins_so = new_lines.startswith((b"#", b"\xef\xbb\xbf#"))
            self._comments += new_lines.count(b"\n#") + begins_so
        self._head += new_lines[: BLOCK_BYTES - len(self._head)]
        self._tail = (self._tail[len(new_lines) - BLOCK_BYTES :] + new_lines)[-BLOCK_BYTES:]
        return new_lines

    @property
    def fields(self) -> str:
        """The normalised #Fields of a W3C file; empty for other files.

        Raises:
            UnreadableFile: The fields change in the middle of the file.
        """
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

    def describe_lines(self, log_format: str) -> dict[str, Any]:
        """Return `lines`, `first`, `last` and `format` of the new lines, for the ledger.

        Args:
            log_format: Apache LogFormat that lines may have besides the known formats; may be empty.

        Raises:
            UnreadableFile: None of the first lines can be read, or the fields of a W3C file cannot be used.
        """
        from include.log_formats.reader import LineReader  # Polars; DAG files import this module

        fields = self.fields
        w3c_id = build_w3c_id(fields) if fields else ""
        try:
            reader = LineReader(log_format, {w3c_id: fields} if fields else None)
        except ValueError as error:
            raise UnreadableFile(str(error)) from None
        head = _split_lines(self._head, is_w3c=bool(fields))[:SAMPLE_LINES]
        tail = _split_lines(self._tail, is_w3c=bool(fields))[-SAMPLE_LINES:]
        formats, times = _read_sample(reader, head, w3c_id)
        if head and not formats and not self._start_offset:
            raise UnreadableFile(_describe_unknown_lines(head))
        _, last_times = _read_sample(reader, tail, w3c_id)
        return {
            "lines": self._lines - (self._comments if fields else 0),
            "first": times[0].isoformat() if times else None,
            "last": last_times[-1].isoformat() if last_times else None,
            "format": w3c_id or (formats.pop() if len(formats) == 1 else "mixed"),
        }


def _read_sample(
    reader: "LineReader", lines: list[bytes], w3c_id: str
) -> tuple[set[str], list[datetime]]:
    """Return the formats of the lines that can be read, and their times."""
    import polars as pl

    files = pl.Series([f".{w3c_id}.log"] * len(lines), dtype=pl.String)
    rows = reader.read(pl.Series(lines, dtype=pl.Binary), files=files)
    good = rows.filter(rows["bad_reason"].is_null())
    return set(good["log_format"]), good["timestamp"].to_list()


def _describe_unknown_lines(lines: list[bytes]) -> str:
    first_lines = "".join(
        f"\n  {escape_unprintable(line.decode('utf-8', 'replace')[:200])}" for line in lines[:3]
    )
    return (
        "it is in no known access-log format; set TIDEMARK_LOG_FORMAT if an Apache LogFormat "
        f"describes it (docs/formats.md). Its first three lines:{first_lines}"
    )


def _split_lines(content: bytes, is_w3c: bool) -> list[bytes]:
    """Return the lines of a part of a file, without blank lines and W3C directives."""
    lines = [line.removeprefix(b"\xef\xbb\xbf") for line in content.split(b"\n")]
    return [line for line in lines if line.strip() and not (is_w3c and line.startswith(b"#"))]


def open_regular_file(path: Path) -> IO[bytes]:
    """Open a regular file that has one name, for reading bytes.

    Raises:
        UnreadableFile: It is something else, which is not opened, or larger than a log may be.
        OSError: It is missing, or this user may not read it.
    """
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


def read_blocks(file: IO[bytes], compression: str, packed_size: int) -> Iterator[bytes]:
    """Yield the unpacked content of a file in blocks of at most BLOCK_BYTES.

    Args:
        file: The open file, at its start.
        compression: Its suffix as of `detect_compression`; "" for plain text.
        packed_size: Bytes of the file. What is appended to a plain file meanwhile is not read.

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


def escape_unprintable(text: str) -> str:
    """Escape what is not printable in untrusted text, so that a person can read it safely."""
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text
    )

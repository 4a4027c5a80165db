"""Read the lines of a log file in bounded memory: plain text, gz, bz2, zst or xz, detected by content."""

import errno
import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path
from typing import BinaryIO, NamedTuple, cast

from include.compression import ARCHIVE_ERRORS, open_uncompressed
from include.contracts import MAX_LINE_BYTES
from include.errors import UnreadableFile

NOT_REGULAR = (
    "{} is not a regular file with one name (it is a link or a special file); "
    "replace it by a copy of the file"
)


class UnreadableLogFile(Exception):
    """A file cannot be read as a log. The message names the file and the remedy."""


class Line(NamedTuple):
    """A line of a log.

    Attributes:
        start: Byte offset in the uncompressed log.
        text: The line without its newline. A line longer than MAX_LINE_BYTES is cut to
            MAX_LINE_BYTES + 1 bytes: enough for the parser to report it as too long.
        size: Bytes of the whole line in the log, newline included.
    """

    start: int
    text: bytes
    size: int


def read_lines(path: Path, *, strict: bool = False) -> Iterator[Line]:
    """Read the lines of a log file in order.

    A compressed file is read completely once before the first line is yielded.

    Args:
        path: Plain text, gz, bz2, zst or xz.
        strict: Refuse links, for a folder that other users may write to: see `open_log`.

    Raises:
        UnreadableLogFile: The file is missing, not readable, not a regular file, or damaged.
    """
    _check_log_file(path, strict)
    with open_log(path, strict=strict) as file:
        yield from stream_lines(file)


def stream_lines(file: BinaryIO, start: int = 0, complete_only: bool = False) -> Iterator[Line]:
    """Yield the lines from the current position of `file`.

    Args:
        file: The uncompressed log, positioned at `start`.
        start: Byte offset of the current position.
        complete_only: Leave out a last line without a newline.
    """
    while text := file.readline(MAX_LINE_BYTES + 2):
        size, piece = len(text), text
        while size > MAX_LINE_BYTES and not piece.endswith(b"\n"):
            if not (piece := file.readline(1024 * 1024)):
                break
            size += len(piece)
        if complete_only and not piece.endswith(b"\n"):
            return
        yield Line(start, text.removesuffix(b"\n")[: MAX_LINE_BYTES + 1], size)
        start += size


def read_log_id(path: Path, *, strict: bool = False) -> str:
    """Return an id of the log that stays the same when the file is renamed, compressed, or grows.

    The id is a hash of the first line, which no later write changes. Two logs may have the same id;
    the summary counts two lines as duplicates only if their content is equal, too.

    Raises:
        UnreadableLogFile: As in `read_lines`.
    """
    _check_log_file(path, strict)
    with open_log(path, strict=strict) as file:
        return hash_first_line(file.readline(MAX_LINE_BYTES))


def hash_first_line(first_line: bytes) -> str:
    """Return the id of the log that begins with this line: 16 hexadecimal digits."""
    return hashlib.sha256(first_line.rstrip(b"\r\n")).hexdigest()[:16]


@contextmanager
def open_log(path: Path, *, strict: bool = False) -> Iterator[BinaryIO]:
    """Open the uncompressed content of a log file.

    Args:
        path: Plain text, gz, bz2, zst or xz.
        strict: Require a regular file with one name. A link in a folder that other users may write
            to could point to any file that only we may read.

    Raises:
        UnreadableLogFile: `strict` is set, and the file is not a regular file with one name.
    """
    flags = os.O_RDONLY | (os.O_NOFOLLOW | os.O_NONBLOCK if strict else 0)
    with open(path, "rb", opener=lambda name, _: os.open(name, flags)) as file:
        state = os.fstat(file.fileno())
        if strict and (not stat.S_ISREG(state.st_mode) or state.st_nlink > 1):
            raise UnreadableLogFile(NOT_REGULAR.format(path))
        try:
            uncompressed = open_uncompressed(file)
        except UnreadableFile as error:
            raise UnreadableLogFile(f"{path} cannot be read: {error}") from None
        with uncompressed:
            yield cast(BinaryIO, uncompressed)


_verified_files: set[tuple[Path, float, int]] = set()


def _check_log_file(path: Path, strict: bool) -> None:
    """Refuse a path that is no file and a damaged compressed file, before any line is sent."""
    if path.is_dir():
        raise UnreadableLogFile(f"{path} is a folder; give the path of one log file")
    if not path.exists():
        raise UnreadableLogFile(f"there is no file {path}; check the path")
    if not path.is_file():
        raise UnreadableLogFile(NOT_REGULAR.format(path))
    try:
        file_stat = path.stat()
        version = (path, file_stat.st_mtime, file_stat.st_size)
        with open_log(path, strict=strict) as file:
            # A plain file is an io.BufferedReader: there is nothing to verify.
            if not isinstance(file, BufferedReader) and version not in _verified_files:
                while file.read(1024 * 1024):
                    pass
        _verified_files.add(version)
    except PermissionError:
        raise UnreadableLogFile(
            f"this user may not read {path}; change the file's permissions"
        ) from None
    except ARCHIVE_ERRORS as error:
        if isinstance(error, OSError) and error.errno == errno.ELOOP:
            raise UnreadableLogFile(NOT_REGULAR.format(path)) from None
        raise UnreadableLogFile(
            f"{path} is damaged: {error}. No line was sent; copy the file again from its source"
        ) from None

"""Read the lines of a log file: plain, gzip or bzip2, told apart by content, in bounded memory."""

import bz2
import errno
import gzip
import hashlib
import os
import stat
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, NamedTuple, cast

from include.contracts import MAX_LINE_BYTES

NOT_REGULAR = "{} is not a regular file with one name; put a copy of the file there"


class LogFileError(Exception):
    """A file that cannot be read as a log; the message names it and the remedy."""


class Line(NamedTuple):
    """`start`: byte offset in the (unpacked) log; `size`: its bytes, newline included.

    `text` has no newline. Of a line longer than MAX_LINE_BYTES it has that many bytes and one:
    enough for the parser to call it too long.
    """

    start: int
    text: bytes
    size: int


def read_lines(path: Path, *, strict: bool = False) -> Iterator[Line]:
    """The lines of `path`, in order. Raises LogFileError; a packed file is tested whole first.

    `strict` refuses links, for a folder that others may write to: see `open_log`.
    """
    _check(path, strict)
    with open_log(path, strict=strict) as file:
        yield from lines_from(file)


def lines_from(file: BinaryIO, start: int = 0, ended: bool = False) -> Iterator[Line]:
    """The lines from `start`, where `file` stands; only those that have ended if one says so."""
    while text := file.readline(MAX_LINE_BYTES + 2):
        size, piece = len(text), text
        while size > MAX_LINE_BYTES and not piece.endswith(b"\n"):
            if not (piece := file.readline(1024 * 1024)):
                break
            size += len(piece)
        if ended and not piece.endswith(b"\n"):
            return
        yield Line(start, text.removesuffix(b"\n")[: MAX_LINE_BYTES + 1], size)
        start += size


def log_id(path: Path, *, strict: bool = False) -> str:
    """A name for the log that stays when the file is renamed, packed, or grows.

    It comes from the first line, which no later write changes. (Two logs may share it; the summary
    calls two lines the same only if their content is, too.)
    """
    _check(path, strict)
    with open_log(path, strict=strict) as file:
        return id_of(file.readline(MAX_LINE_BYTES))


def id_of(first: bytes) -> str:
    """The name of the log that begins with this line."""
    return hashlib.sha256(first.rstrip(b"\r\n")).hexdigest()[:16]


@contextmanager
def open_log(path: Path, *, strict: bool = False) -> Iterator[BinaryIO]:
    """The unpacked content of a log file.

    With `strict` it must be a regular file with one name: a link in a folder that others may write
    to could name any file that only we may read. Raises LogFileError.
    """
    flags = os.O_RDONLY | (os.O_NOFOLLOW | os.O_NONBLOCK if strict else 0)
    with open(path, "rb", opener=lambda name, _: os.open(name, flags)) as file:
        state = os.fstat(file.fileno())
        if strict and (not stat.S_ISREG(state.st_mode) or state.st_nlink > 1):
            raise LogFileError(NOT_REGULAR.format(path))
        magic = file.read(3)
        file.seek(0)
        if magic[:2] == b"\x1f\x8b":
            with gzip.open(file, "rb") as packed:
                yield cast(BinaryIO, packed)
        elif magic == b"BZh":
            with bz2.open(file, "rb") as packed:
                yield cast(BinaryIO, packed)
        else:
            yield file


_whole: set[tuple[Path, float, int]] = set()


def _check(path: Path, strict: bool) -> None:
    """Refuse what is no file, and a packed file that is damaged: before a line of it is sent."""
    if path.is_dir():
        raise LogFileError(f"{path} is a folder; give one log file")
    if not path.exists():
        raise LogFileError(f"there is no file {path}")
    if not path.is_file():
        raise LogFileError(NOT_REGULAR.format(path))
    try:
        about = path.stat()
        state = (path, about.st_mtime, about.st_size)
        with open_log(path, strict=strict) as file:
            if isinstance(file, gzip.GzipFile | bz2.BZ2File) and state not in _whole:
                while file.read(1024 * 1024):
                    pass
        _whole.add(state)
    except PermissionError:
        raise LogFileError(f"{path} may not be read by this user; change its permissions") from None
    except (EOFError, OSError, zlib.error) as error:
        if isinstance(error, OSError) and error.errno == errno.ELOOP:
            raise LogFileError(NOT_REGULAR.format(path)) from None
        raise LogFileError(
            f"{path} is damaged: {error}. Nothing of it was sent; copy it again from its source"
        ) from None

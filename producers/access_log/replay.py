"""Read the lines of a log file: plain, gzip or bzip2, told apart by content, in bounded memory."""

import bz2
import gzip
import hashlib
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple, cast

from include.contracts import MAX_LINE_BYTES


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


def read_lines(path: Path) -> Iterator[Line]:
    """The lines of `path`, in order. Raises LogFileError; a packed file is tested whole first."""
    _check(path)
    with open_log(path) as file:
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


def log_id(path: Path) -> str:
    """A name for the log that stays when the file is renamed, packed, or grows.

    It comes from the first line, which no later write changes. (Two logs may share it; the summary
    calls two lines the same only if their content is, too.)
    """
    _check(path)
    with open_log(path) as file:
        return id_of(file.readline(MAX_LINE_BYTES))


def id_of(first: bytes) -> str:
    """The name of the log that begins with this line."""
    return hashlib.sha256(first.rstrip(b"\r\n")).hexdigest()[:16]


def open_log(path: Path) -> BinaryIO:
    with path.open("rb") as file:
        magic = file.read(3)
    if magic[:2] == b"\x1f\x8b":
        return cast(BinaryIO, gzip.open(path, "rb"))
    if magic == b"BZh":
        return cast(BinaryIO, bz2.open(path, "rb"))
    return path.open("rb")


_whole: set[tuple[Path, float, int]] = set()


def _check(path: Path) -> None:
    """Refuse what is no file, and a packed file that is damaged: before a line of it is sent."""
    if path.is_dir():
        raise LogFileError(f"{path} is a folder; give one log file")
    if not path.exists():
        raise LogFileError(f"there is no file {path}")
    if not path.is_file():
        raise LogFileError(f"{path} is not a regular file; copy it to one first")
    try:
        stat = path.stat()
        state = (path, stat.st_mtime, stat.st_size)
        with open_log(path) as file:
            if isinstance(file, gzip.GzipFile | bz2.BZ2File) and state not in _whole:
                while file.read(1024 * 1024):
                    pass
        _whole.add(state)
    except PermissionError:
        raise LogFileError(f"{path} may not be read by this user; change its permissions") from None
    except (EOFError, OSError, zlib.error) as error:
        raise LogFileError(
            f"{path} is damaged: {error}. Nothing of it was sent; copy it again from its source"
        ) from None

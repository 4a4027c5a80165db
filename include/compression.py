"""Detect how a log file is compressed, by its content, and read it uncompressed: gz, bz2, zst and xz."""

import bz2
import gzip
import lzma
import zlib
from collections.abc import Callable
from typing import IO, Any

from backports import zstd

from include.errors import UnreadableFile

OPENERS: dict[str, Callable[..., Any]] = {
    ".gz": gzip.open,
    ".bz2": bz2.open,
    ".zst": zstd.open,
    ".xz": lzma.open,
}
MAGIC_NUMBERS = {
    b"\x1f\x8b": ".gz",
    b"BZh": ".bz2",
    b"\x28\xb5\x2f\xfd": ".zst",
    b"\xfd7zXZ": ".xz",
}
UNSUPPORTED_MAGIC_NUMBERS = {b"PK\x03\x04": "zip", b"7z\xbc\xaf": "7z"}
# What reading a damaged file raises.
ARCHIVE_ERRORS = (EOFError, OSError, zlib.error, lzma.LZMAError, zstd.ZstdError)


def detect_compression(file: IO[bytes]) -> str:
    """Return the suffix in OPENERS for the compression of a file; "" for plain text.

    The content decides, because names can be wrong. The file is then at its start.

    Raises:
        UnreadableFile: It is an archive of another kind, or no text.
    """
    file.seek(0)
    head = file.read(6)
    file.seek(0)
    for magic, name in UNSUPPORTED_MAGIC_NUMBERS.items():
        if head.startswith(magic):
            raise UnreadableFile(
                f"it is a {name} archive; unpack it, or compress it as gz, bz2, zst or xz"
            )
    compression = next(
        (suffix for magic, suffix in MAGIC_NUMBERS.items() if head.startswith(magic)), ""
    )
    if not compression and b"\0" in head:
        raise UnreadableFile("it is not a text file: its first bytes contain a zero byte")
    return compression


def open_uncompressed(file: IO[bytes]) -> IO[bytes]:
    """Return the uncompressed content of an open file; the file itself if it is plain text.

    Raises:
        UnreadableFile: As `detect_compression`.
    """
    compression = detect_compression(file)
    uncompressed: IO[bytes] = OPENERS[compression](file, "rb") if compression else file
    return uncompressed

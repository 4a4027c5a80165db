"""Replace files as a whole, and append to files of JSON lines.

After a kill or a full disk a reader finds the old content or the new one, never a part. Spark jobs and
producers use this module, too: it imports the standard library only.
"""

import json
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any


def replace_file(path: Path, content: str | bytes, permissions: int = 0o666) -> None:
    """Write a file, or replace it, as `open_replacement` does.

    Args:
        path: The file. Its folder is created if it is missing.
        content: Text is encoded as UTF-8; what UTF-8 cannot encode is written as an escape (`\\udc80`).
        permissions: Mode of the file; the umask of the process takes rights away from it.
    """
    with open_replacement(path, "wb", permissions) as file:
        file.write(_encode(content))


@contextmanager
def open_replacement(
    path: Path, mode: str = "wb", permissions: int = 0o666, **options: Any
) -> Iterator[IO[Any]]:
    """Open a file for writing that replaces `path` when the block ends without an error.

    The content has another name in the same folder until it is on disk. After an error `path` is as it
    was before. A path that is no regular file, such as /dev/stdout or a pipe, is written directly.

    Args:
        path: The file. Its folder is created if it is missing.
        mode: `w` or `wb`.
        permissions: Mode of the file; the umask of the process takes rights away from it.
        options: As for `open`, such as `encoding`.
    """
    if path.exists() and not path.is_file():
        with path.open(mode, **options) as stream:
            yield stream
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{secrets.token_hex(6)}.part")

    def create(name: str, flags: int) -> int:
        return os.open(name, flags | os.O_EXCL, permissions)

    try:
        with open(part, mode, opener=create, **options) as file:
            yield file
            _flush_to_disk(file)
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    fsync_path(path.parent)


def replace_files(files: Mapping[str, str | bytes], folder: Path) -> None:
    """Replace several files of a folder: all are written before the first is replaced.

    Args:
        files: Name -> content, as for `replace_file`. The files are replaced in this order, so the file
            that readers look for must be the last.
        folder: The folder. It is created if it is missing; its other files stay.
    """
    temporary = folder.with_name(f".{secrets.token_hex(6)}.part")
    try:
        temporary.mkdir(parents=True)
        for name, content in files.items():
            with (temporary / name).open("xb") as file:
                file.write(_encode(content))
                _flush_to_disk(file)
        folder.mkdir(exist_ok=True)
        for name in files:
            (temporary / name).replace(folder / name)
        fsync_path(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def append_record(path: Path, record: dict[str, Any]) -> None:
    """Append a record to a file as one line of JSON, and wait until it is on disk.

    If a killed process left an incomplete last line, the record begins on a new line. A path that is no
    regular file, such as /dev/stdout or a pipe, is written without waiting for a disk.
    """
    text = json.dumps(record, default=str) + "\n"
    if path.exists() and not path.is_file():
        with path.open("w") as stream:
            stream.write(text)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    is_new = not path.exists()
    with path.open("ab+") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - 1))
        is_incomplete = file.read(1) not in (b"", b"\n")
        # One short write: processes that append at the same time do not mix their lines.
        file.write((("\n" if is_incomplete else "") + text).encode())
        _flush_to_disk(file)
    if is_new:
        fsync_path(path.parent)


def read_records(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the records of a file that `append_record` writes; none if there is no file.

    A line that a killed process left incomplete is skipped: what it recorded is recorded again.
    """
    for line in path.read_bytes().split(b"\n") if path.is_file() else ():
        try:
            yield json.loads(line)
        except ValueError:
            continue


def fsync_path(path: Path) -> None:
    """Wait until the content of a file, or the names in a folder, are on disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _flush_to_disk(file: IO[Any]) -> None:
    file.flush()
    os.fsync(file.fileno())


def _encode(content: str | bytes) -> bytes:
    return content if isinstance(content, bytes) else content.encode(errors="backslashreplace")

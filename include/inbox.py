"""Look at the files that people drop into the inbox before Spark does, and set the bad ones aside.

Spark reads each name once, picks the decompression by the name, never looks at a file again that
grows, counts a copy twice, and stops at a damaged archive. So it reads another folder, `ready`, into
which each file comes once: whole, under a name that says what it is, and only what is new of it.
"""

import bz2
import gzip
import hashlib
import json
import os
import shutil
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any
from urllib.parse import unquote, urlsplit

SETTLED_SECONDS = 2.0  # a file is whole when its size has not changed for so long
MOST_UNPACKED = 200 * 2**30  # and
MOST_RATIO = 400  # of unpacked to packed, together: a bomb. A log packs 10 to 60 times smaller.
PARTIAL = (".part", ".partial", ".tmp", ".filepart", ".crdownload", ".swp")
BLOCK = 1 << 20
OPENERS: dict[str, Callable[..., Any]] = {".gz": gzip.open, ".bz2": bz2.open}
MAGICS = {b"\x1f\x8b": ".gz", b"BZh": ".bz2"}
UNREADABLE = {
    b"\x28\xb5\x2f\xfd": "zstd",
    b"PK\x03\x04": "zip",
    b"\xfd7zXZ": "xz",
    b"7z\xbc\xaf": "7z",
}


class Damaged(Exception):
    """Why a file is set aside."""


@dataclass
class Inventory:
    """What was found: file name -> what became of it."""

    taken: dict[str, str] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    set_aside: dict[str, str] = field(default_factory=dict)

    def lines(self) -> list[str]:
        """One line a file, for a task's log."""
        found = [f"taken      {name}: {what}" for name, what in self.taken.items()]
        found += [f"skipped    {name}: {why}" for name, why in self.skipped.items()]
        return found + [f"SET ASIDE  {name}: {why}" for name, why in self.set_aside.items()]


def take(inbox: Path, ready: Path) -> Inventory:
    """Bring what is new in `inbox` into `ready`; move what cannot be read to `inbox/_set_aside`.

    Files are known by name, size and time, and by the checksum of their unpacked content: a copy
    under another name, packed or not, is skipped. Of a plain file that has grown, the new lines are
    taken. Safe to repeat, and to interrupt: a file appears in `ready` whole, then in the ledger.
    """
    ready.mkdir(parents=True, exist_ok=True)
    inbox.mkdir(parents=True, exist_ok=True)
    ledger = _Ledger(ready.with_name(f"{ready.name}.jsonl"))
    found = Inventory()
    files = [path for path in sorted(inbox.iterdir()) if path.is_file() and _is_whole_name(path)]
    before = {path: path.stat().st_size for path in files}
    if any(time.time() - path.stat().st_mtime < SETTLED_SECONDS for path in files):
        time.sleep(SETTLED_SECONDS)
    for path in files:
        try:
            if path.stat().st_size != before[path]:
                found.skipped[path.name] = "it is being written; the next run takes it"
            elif not ledger.knows(path):
                _take_one(path, ready, ledger, found)
        except Damaged as why:
            _set_aside(path, str(why))
            found.set_aside[path.name] = f"{why}; it lies in {path.parent / '_set_aside'}"
        except FileNotFoundError:
            continue  # taken away in between
    return found


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


def _take_one(path: Path, ready: Path, ledger: "_Ledger", found: Inventory) -> None:
    state, kind = path.stat(), _kind(path)
    checksum, size = _read_through(path, kind)
    if not size:
        found.skipped[path.name] = "it is empty"
        return
    if other := ledger.name_of(checksum):
        found.skipped[path.name] = f"a copy of {other}, which was taken before"
        ledger.add(path, state, checksum, size, "copy")
        return
    begin = ledger.prefix_of(path, kind)
    stem = path.name.removesuffix(kind) if kind else path.name
    target = ready / f"{checksum[:12]}-{stem}{kind or '.log'}"
    part = ready / f".{target.name}"
    part.unlink(missing_ok=True)
    end = size
    if kind:  # copied, not linked: a link would change with a file that is written over
        shutil.copyfile(path, part)
    else:
        end = _copy_lines(path, part, begin)
        if end == begin:
            part.unlink()
            found.skipped[path.name] = "no whole line is new"
            return
        if begin or end < size:
            with path.open("rb") as file:
                checksum = _digest(file, end)
    part.replace(target)
    ledger.add(path, state, checksum, end, "taken")
    what = f"{end - begin:,} bytes"
    found.taken[path.name] = f"{what} that are new after {begin:,}" if begin else what


def _kind(path: Path) -> str:
    """`.gz`, `.bz2` or nothing for plain text, by content: names lie."""
    with path.open("rb") as file:
        head = file.read(6)
    for magic, name in UNREADABLE.items():
        if head.startswith(magic):
            raise Damaged(f"it is {name}; unpack it, or pack it as gz or bz2")
    kind = next((kind for magic, kind in MAGICS.items() if head.startswith(magic)), "")
    if not kind and b"\0" in head:
        raise Damaged("it is no text")
    return kind


def _read_through(path: Path, kind: str) -> tuple[str, int]:
    """Checksum (SHA-256) and size of the unpacked content, all of it read."""
    digest, size, packed = hashlib.sha256(), 0, path.stat().st_size
    opened: IO[bytes] = OPENERS.get(kind, open)(path, "rb")
    try:
        with opened as file:
            while block := file.read(BLOCK):
                digest.update(block)
                size += len(block)
                if size > MOST_UNPACKED or size > max(100 * BLOCK, packed * MOST_RATIO):
                    raise Damaged(f"{packed:,} bytes unpack to more than {size:,}: no log does")
    except (EOFError, OSError, zlib.error) as error:
        if isinstance(error, FileNotFoundError | PermissionError):
            raise
        raise Damaged(f"it is damaged ({error})") from None
    return digest.hexdigest(), size


def _copy_lines(path: Path, part: Path, begin: int) -> int:
    """Copy the whole lines from byte `begin` on; give the byte after the last one.

    The last line may lack its newline if nobody has written for a while: then it is whole, too.
    """
    quiet = time.time() - path.stat().st_mtime > SETTLED_SECONDS * 30
    with path.open("rb") as file, part.open("wb") as out:
        file.seek(begin)
        shutil.copyfileobj(file, out, BLOCK)
    size = part.stat().st_size
    with part.open("rb+") as out:
        end, at = size, size
        while not quiet and at > 0:  # back to the last newline
            step = min(BLOCK, at)
            out.seek(at - step)
            newline = out.read(step).rfind(b"\n")
            at -= step
            end = at + newline + 1 if newline >= 0 else 0
            if newline >= 0:
                break
        out.truncate(end)
    return begin + end


def _set_aside(path: Path, why: str) -> None:
    folder = path.parent / "_set_aside"
    folder.mkdir(exist_ok=True)
    target = folder / path.name
    number = 1
    while target.exists():
        number += 1
        target = folder / f"{path.name}.{number}"
    path.replace(target)
    target.with_name(f"{target.name}.why").write_text(f"{why}\n")


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

    def __init__(self, path: Path) -> None:
        self._path = path
        self._records: list[dict[str, Any]] = []
        if path.is_file():
            for line in path.read_text().splitlines():
                try:
                    self._records.append(json.loads(line))
                except ValueError:
                    continue  # torn by a kill: that file is looked at again, and known by checksum

    def knows(self, path: Path) -> bool:
        state = path.stat()
        key = (path.name, state.st_size, state.st_mtime_ns)
        return any((r["name"], r["packed"], r["modified"]) == key for r in self._records)

    def name_of(self, checksum: str) -> str:
        return next((r["name"] for r in self._records if r["sha256"] == checksum), "")

    def prefix_of(self, path: Path, kind: str) -> int:
        """How many bytes of this plain file were taken under its name before, if they are the same."""
        if kind:
            return 0
        sizes = {r["size"]: r["sha256"] for r in self._records if r["name"] == path.name}
        for size in sorted(sizes, reverse=True):
            if size <= path.stat().st_size:
                with path.open("rb") as file:
                    if _digest(file, size) == sizes[size]:
                        return int(size)
        return 0

    def add(self, path: Path, state: os.stat_result, sha256: str, size: int, what: str) -> None:
        record = {"name": path.name, "packed": state.st_size, "modified": state.st_mtime_ns,
                  "sha256": sha256, "size": size, "what": what}  # fmt: skip
        self._records.append(record)
        with self._path.open("a") as file:
            file.write(json.dumps(record) + "\n")
            file.flush()
            os.fsync(file.fileno())

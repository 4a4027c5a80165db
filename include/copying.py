"""Copy the published reports to another place: a bucket, the folder of a web server."""

import json
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from airflow.sdk import ObjectStoragePath


def copy_reports(reports: Path, place: str, kept: Path) -> tuple[int, int]:
    """Make `place` have the files that `reports` has; give how many were written and removed.

    `place` is an address as Airflow's ObjectStoragePath takes it: `file:///srv/www/reports`, or
    `s3://CONNECTION@bucket/reports`. Only what is new or has changed since the last copy there is
    written, each file whole, pages last; what has gone from `reports` goes there too. Symbolic
    links in `reports` are neither followed nor copied: they may lead to what is not published.
    `kept` is the file in which it is remembered what was copied, also when a copy fails in the
    middle. Raises ValueError for an address that no installed provider serves.
    """
    try:
        target = ObjectStoragePath(place)
        files = target.fs
    except (ImportError, ValueError) as why:
        raise ValueError(
            f"TIDEMARK_REPORT_COPY={place}: {why}. Expected an address such as file:///srv/www/reports, "
            f"or s3://CONNECTION@bucket/reports with `pip install 'apache-airflow-providers-amazon[s3fs]'`"
        ) from None
    last = json.loads(kept.read_text()) if kept.is_file() else {}
    done: dict[str, list[int]] = last.get("files", {}) if last.get("place") == place else {}
    there = dict(_published(reports))
    new = [name for name in sorted(there, key=_pages_last) if done.get(name) != there[name]]
    gone = sorted(set(done) - set(there))
    try:
        for name in new:
            with suppress(FileNotFoundError):  # it is being replaced: the next copy has it
                _put(files, reports / name, (target / name).path)
                done[name] = there[name]
        for name in gone:
            (target / name).unlink(missing_ok=True)
            del done[name]
    finally:
        kept.parent.mkdir(parents=True, exist_ok=True)
        part = kept.with_suffix(".part")
        part.write_text(json.dumps({"place": place, "files": done}))
        part.replace(kept)
    return len(new), len(gone)


def _published(reports: Path) -> Iterator[tuple[str, list[int]]]:
    """Name, time of change and size of each regular file.

    Folders that are being made or removed are hidden, and os.walk enters no linked folder.
    """
    for folder, folders, names in os.walk(reports):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            path = Path(folder) / name
            with suppress(FileNotFoundError):
                if not name.startswith("."):
                    about = path.lstat()
                    if stat.S_ISREG(about.st_mode):
                        name = path.relative_to(reports).as_posix()
                        yield name, [about.st_mtime_ns, about.st_size]


def _put(files: Any, source: Path, place: str) -> None:
    """A reader there, such as a web server, sees the old file or the new one, and may read it."""
    if "file" not in files.protocol:  # an object appears when it is whole; its type is by its name
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(folder) / source.name
            _copy_file(source, copy)
            files.put_file(str(copy), place)
        return
    where = Path(place)
    part = where.with_name(f".{where.name}")
    for above in reversed([where.parent, *where.parent.parents]):
        if not above.is_dir():
            above.mkdir(exist_ok=True)
            above.chmod(0o755)
    _copy_file(source, part)
    part.chmod(0o644)
    part.replace(where)


def _copy_file(source: Path, target: Path) -> None:
    """Raises OSError if `source` has become a symbolic link since it was listed."""
    opened = os.open(source, os.O_RDONLY | os.O_NOFOLLOW)
    with os.fdopen(opened, "rb") as content, target.open("wb") as copy:
        shutil.copyfileobj(content, copy)


def _pages_last(name: str) -> tuple[int, str]:
    return name.endswith("index.html") + (name.count("/") < 2), name

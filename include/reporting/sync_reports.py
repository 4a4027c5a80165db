"""Copy the published reports to another storage location: a bucket or a web server's folder."""

import json
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from airflow.sdk import ObjectStoragePath

from include.lake.files import open_replacement, replace_file


def copy_reports(reports: Path, target_url: str, state_file: Path) -> tuple[int, int]:
    """Synchronise the files of `reports` to `target_url`.

    Only files that are new or have changed since the last copy are written. Each file is written whole,
    pages last. Files that were removed from `reports` are removed there too. Symbolic links in `reports`
    are neither followed nor copied, because they may lead to files that are not published.

    Args:
        reports: Folder of the published reports.
        target_url: An address for Airflow's ObjectStoragePath: `file:///srv/www/reports` or
            `s3://CONNECTION@bucket/reports`.
        state_file: Records which files were copied, also when a copy fails halfway.

    Returns:
        The number of files written and the number removed.

    Raises:
        ValueError: No installed provider serves the address.
    """
    try:
        target = ObjectStoragePath(target_url)
        filesystem = target.fs
    except (ImportError, ValueError) as error:
        raise ValueError(
            f"TIDEMARK_REPORT_COPY={target_url}: {error}. Expected an address such as "
            f"file:///srv/www/reports, or s3://CONNECTION@bucket/reports with "
            f"`pip install 'apache-airflow-providers-amazon[s3fs]'`"
        ) from None
    state = json.loads(state_file.read_text()) if state_file.is_file() else {}
    copied: dict[str, list[int]] = {}
    if state.get("place") == target_url:
        copied = state.get("files", {})
    published = dict(_list_published_files(reports))
    changed = [
        name
        for name in sorted(published, key=_get_copy_order)
        if copied.get(name) != published[name]
    ]
    removed = sorted(set(copied) - set(published))
    try:
        for name in changed:
            with suppress(FileNotFoundError):  # it is being replaced; the next copy writes it
                _put_file(filesystem, reports / name, (target / name).path)
                copied[name] = published[name]
        for name in removed:
            (target / name).unlink(missing_ok=True)
            del copied[name]
    finally:
        replace_file(state_file, json.dumps({"place": target_url, "files": copied}))
    return len(changed), len(removed)


def _list_published_files(reports: Path) -> Iterator[tuple[str, list[int]]]:
    """Yield for each regular file its name and [modification time in ns, size in bytes].

    Hidden folders are skipped: they are being written or removed. os.walk does not follow linked folders.
    """
    for folder, folders, names in os.walk(reports):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            path = Path(folder) / name
            with suppress(FileNotFoundError):
                if not name.startswith("."):
                    status = path.lstat()
                    if stat.S_ISREG(status.st_mode):
                        relative_name = path.relative_to(reports).as_posix()
                        yield relative_name, [status.st_mtime_ns, status.st_size]


def _put_file(filesystem: Any, source: Path, target_path: str) -> None:
    """Copy one file so that readers, such as a web server, see the old or the new one and may read it."""
    if "file" not in filesystem.protocol:
        # An object store shows an object when it is complete, and takes its type from its name.
        with tempfile.TemporaryDirectory() as temporary_folder:
            copy = Path(temporary_folder) / source.name
            with copy.open("wb") as file:
                _copy_content(source, file)
            filesystem.put_file(str(copy), target_path)
        return
    target = Path(target_path)
    for folder in reversed([target.parent, *target.parent.parents]):
        if not folder.is_dir():
            folder.mkdir(exist_ok=True)
            folder.chmod(0o755)
    with open_replacement(target) as file:
        _copy_content(source, file)
        os.fchmod(file.fileno(), 0o644)


def _copy_content(source: Path, target: IO[bytes]) -> None:
    """Copy a file's content. Raises OSError if `source` has become a symbolic link since it was listed."""
    descriptor = os.open(source, os.O_RDONLY | os.O_NOFOLLOW)
    with os.fdopen(descriptor, "rb") as content:
        shutil.copyfileobj(content, target)


def _get_copy_order(name: str) -> tuple[int, str]:
    """Sort key: a page comes after its data files, and a list of reports after the reports' pages."""
    return name.endswith("index.html") + (name.count("/") < 2), name

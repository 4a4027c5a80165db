"""Rewrite the absolute paths in a lake after its home folder was moved.

Spark keeps absolute paths: the file sink's log names each landed file, and the file source's log names
each file that was read. The project's own files that refer to a landing do the same. Without the
rewrite a moved lake cannot be read, or its files would be landed again.
"""

import re
from collections.abc import Callable
from pathlib import Path

from include.errors import SetupError
from include.lake.files import replace_file
from include.settings import Settings

# Files that hold paths, relative to the lake.
PATH_PATTERNS = [
    "landing/*/*/data/_spark_metadata/*",
    "landing/*/*/checkpoint/sources/*/*",
    "landing/*/*/query.json",
    "landing/*/*/data_at",
    "landing/*/*/progress.jsonl",
    "summary/*/*/summary.json",
    "summary/*/summary.json",
    "runs/*/*.json",
    "runs/*/*/*.json",
]


def relocate_lake(old_home: Path, settings: Settings) -> int:
    """Rewrite paths below `old_home` to the same paths below `settings.home`.

    Each file is replaced as a whole, so you can interrupt this and run it again.

    Args:
        old_home: Absolute path where the home folder was before it was moved.
        settings: Settings whose `home` is the new folder.

    Returns:
        How many files have changed.

    Raises:
        SetupError: `old_home` is not absolute or still holds a lake, or there is no lake in
            `settings.home`.
    """
    if not old_home.is_absolute():
        raise SetupError(f"{old_home} is not an absolute path: make relocate FROM=/old/folder")
    if (old_home / "lake").exists() and old_home.resolve() != settings.home.resolve():
        raise SetupError(
            f"{old_home} still holds a lake: move all of it to {settings.home}, or remove it"
        )
    if not settings.lake.is_dir():
        raise SetupError(
            f"there is no lake in {settings.home}: set TIDEMARK_HOME in .env to the folder that holds it"
        )
    replace_paths = _make_replacer(f"{old_home}/", f"{settings.home}/", '("|sqlite:///|:| )')
    replace_uris = _make_replacer(
        _escape_uri(f"{old_home}/"), _escape_uri(f"{settings.home}/"), "(file://|file:)"
    )
    changed = 0
    for pattern in (*PATH_PATTERNS, "../airflow/airflow.cfg"):
        for path in settings.lake.glob(pattern):
            if path.is_file() and not path.name.startswith("."):
                before = path.read_bytes()
                after = replace_uris(replace_paths(before))
                if after != before:
                    path.with_name(f".{path.name}.crc").unlink(missing_ok=True)
                    replace_file(path, after)
                    changed += 1
    return changed


def _make_replacer(old: str, new: str, prefix: str) -> Callable[[bytes], bytes]:
    """Return a function that replaces `old` by `new` where it follows the expression `prefix`."""
    # If `new` lies inside `old`, a repeated run must not replace the paths that are new already.
    inside = f"(?!{re.escape(new.removeprefix(old))})" if new.startswith(old) else ""
    pattern = re.compile(f"{prefix}{re.escape(old)}{inside}".encode())
    return lambda text: pattern.sub(lambda match: match[1] + new.encode(), text)


def _escape_uri(path: str) -> str:
    """Escape a path as java.net.URI does: only the characters that a URI may not contain."""
    return "".join(f"%{ord(c):02X}" if c in ' %"<>\\^`{|}#?[]' else c for c in path)

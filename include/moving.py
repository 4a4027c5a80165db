"""After the folder of everything was moved: say its new place wherever its old one is written.

Spark keeps absolute paths: the file sink's log names each landed file, the file source's log each
file that was read, and what of ours refers to a landing does too. Without this a moved lake cannot be
read, or its files would be landed again.
"""

import re
from collections.abc import Callable
from pathlib import Path

from include.local_stack.processes import StackError
from include.settings import Settings

# What holds paths, under the lake.
PLACES = [
    "landing/*/*/data/_spark_metadata/*", "landing/*/*/checkpoint/sources/*/*",
    "landing/*/*/query.json", "landing/*/*/data_at", "landing/*/*/progress.jsonl", "summary/*/*/summary.json",
    "summary/*/summary.json", "runs/*/*.json", "runs/*/*/*.json",
]  # fmt: skip


def relocated(old: Path, settings: Settings) -> int:
    """Rewrite the paths below `old`, where `home` was; give how many files changed.

    Each file is replaced whole, so it may be interrupted and repeated. Raises StackError if
    something is still there, or nothing is here.
    """
    if not old.is_absolute():
        raise StackError(f"{old} is no absolute path: make relocate FROM=/where/it/was")
    if (old / "lake").exists() and old.resolve() != settings.home.resolve():
        raise StackError(f"{old} is still there: move all of it to {settings.home}, or remove it")
    if not settings.lake.is_dir():
        raise StackError(
            f"there is no lake in {settings.home}; set TIDEMARK_HOME in .env to where it is"
        )
    plain = _named(f"{old}/", f"{settings.home}/", '("|sqlite:///|:| )')
    as_uri = _named(_uri(f"{old}/"), _uri(f"{settings.home}/"), "(file://|file:)")
    changed = 0
    for place in (*PLACES, "../airflow/airflow.cfg"):
        for path in settings.lake.glob(place):
            if path.is_file() and not path.name.startswith("."):
                before = path.read_bytes()
                text = as_uri(plain(before))
                if text != before:
                    path.with_name(f".{path.name}.crc").unlink(missing_ok=True)
                    part = path.with_name(f".{path.name}.moved")
                    part.write_bytes(text)
                    part.replace(path)
                    changed += 1
    return changed


def _named(was: str, now: str, start: str) -> Callable[[bytes], bytes]:
    """A function that puts `now` for `was` where it follows `start`."""
    # A place inside the old one is not to be put into itself when this is repeated.
    inside = f"(?!{re.escape(now.removeprefix(was))})" if now.startswith(was) else ""
    pattern = re.compile(f"{start}{re.escape(was)}{inside}".encode())
    return lambda text: pattern.sub(lambda found: found[1] + now.encode(), text)


def _uri(path: str) -> str:
    """As java.net.URI writes a path: it escapes what a URI may not hold, and nothing else."""
    return "".join(f"%{ord(c):02X}" if c in ' %"<>\\^`{|}#?[]' else c for c in path)

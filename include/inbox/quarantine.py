"""Move files that cannot be read out of the inbox, into its quarantine, with the reason beside them."""

import hashlib
import os
from contextlib import suppress
from itertools import count
from pathlib import Path

MAX_NAME_BYTES = 240  # of a name in the quarantine: 255 are allowed, and ".2" and ".why" are added


def quarantine_file(path: Path, reason: str, dry_run: bool) -> str:
    """Move a file into the quarantine, and write the reason beside it.

    The folder is used through a handle: a user who writes to the inbox could replace it by a link.

    Args:
        path: The file in the inbox. It is moved to `_set_aside` beside it, or stays if that fails.
        reason: Why it cannot be read; written to `<name>.why`.
        dry_run: Move and write nothing.

    Returns:
        A text that says where the file is now.
    """
    folder = path.parent / "_set_aside"
    if dry_run:
        return f"it would be moved to {folder}"
    try:
        folder.mkdir(exist_ok=True)
        quarantine = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            _move_to_quarantine(path, quarantine, reason)
        finally:
            os.close(quarantine)
    except FileNotFoundError:
        return "it was removed from the inbox meanwhile"
    except OSError as error:  # for example, the folder is a link; the other files are still taken
        return f"it stays in the inbox: it cannot be moved to {folder} ({error.strerror})"
    return f"it was moved to {folder}"


def _move_to_quarantine(path: Path, quarantine_handle: int, reason: str) -> None:
    base = os.fsencode(path.name)
    if len(base) > MAX_NAME_BYTES:
        digest = hashlib.sha256(base).hexdigest()[:12]
        base = f"{base[: MAX_NAME_BYTES - 13].decode(errors='ignore')}-{digest}".encode()
    for number in count(1):
        target = base + (f".{number}".encode() if number > 1 else b"")
        reason_file = target + b".why"
        with suppress(FileNotFoundError):
            os.stat(target, dir_fd=quarantine_handle, follow_symlinks=False)
            continue
        with suppress(FileExistsError):
            handle = os.open(
                reason_file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666, dir_fd=quarantine_handle
            )
            break
    try:
        with os.fdopen(handle, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(f"{reason}\n")
        os.rename(path, target, dst_dir_fd=quarantine_handle)
    except OSError:
        os.unlink(reason_file, dir_fd=quarantine_handle)
        raise

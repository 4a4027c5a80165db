"""What lies below `var/` is its owner's only: it holds passwords, and the addresses of visitors."""

import os
from pathlib import Path

OTHERS = 0o077


def close_to_others(home: Path) -> int:
    """Take group's and others' rights from `home` and all below it; give how many had some.

    Left as they are: links, files of other users (PostgreSQL's), and jars, which are published ones.
    New files are their owner's by `include.settings.restrict_new_files`; this is for what an earlier
    version, or a command with another umask, has written.
    """
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    closed = _close(home)
    for folder, folders, files in os.walk(home):
        folders[:] = [name for name in folders if not name.startswith("jars")]
        for name in [*folders, *files]:
            closed += _close(Path(folder, name))
    return closed


def _close(path: Path) -> int:
    try:
        state = path.lstat()
        if path.is_symlink() or state.st_uid != os.geteuid() or not state.st_mode & OTHERS:
            return 0
        path.chmod(state.st_mode & 0o7700)
    except FileNotFoundError:  # it was replaced in between
        return 0
    return 1

"""Let only the owner read what lies below `var/`: it holds passwords and addresses of visitors."""

import os
from pathlib import Path

GROUP_OTHERS_MASK = 0o077


def restrict_existing_files(home: Path) -> int:
    """Remove the rights of group and others from `home` and everything below it.

    Links, files of other users (PostgreSQL's) and jars, which are public, stay as they are.
    `include.settings.restrict_new_files` restricts new files. This function is for files that an
    earlier version, or a command with another umask, has written.

    Returns:
        How many files and folders have changed.
    """
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    changed = _restrict_file(home)
    for folder, folders, files in os.walk(home):
        folders[:] = [name for name in folders if not name.startswith("jars")]
        for name in [*folders, *files]:
            changed += _restrict_file(Path(folder, name))
    return changed


def _restrict_file(path: Path) -> int:
    try:
        state = path.lstat()
        if (
            path.is_symlink()
            or state.st_uid != os.geteuid()
            or not state.st_mode & GROUP_OTHERS_MASK
        ):
            return 0
        path.chmod(state.st_mode & 0o7700)
    except FileNotFoundError:  # replaced by another process meanwhile
        return 0
    return 1

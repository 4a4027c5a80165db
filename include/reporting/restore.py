"""Put back the reports that a run replaced: `make restore`."""

import argparse
import sys

from include.datasets import ACCESS_LOG
from include.lake.paths import reports_path, summaries_path
from include.reporting.publishing import (
    copy_day,
    get_replaced_folder,
    publishing_lock,
    write_periods,
)
from include.settings import Settings, load_settings, restrict_new_files


def restore_days(settings: Settings, run_id: str, days: list[str] | None = None) -> list[str]:
    """Put back the summaries and reports that a run replaced.

    Args:
        run_id: Name of the run's folder under `replaced/access_log/`.
        days: ISO dates. By default all days of the run.

    Returns:
        The restored days.

    Raises:
        ValueError: There is no backup of this run or day. The message lists the backups.
    """
    replaced_folder = get_replaced_folder(settings)
    backup = replaced_folder / run_id
    backup_days = (
        sorted(path.name for path in backup.glob("[0-9]*")) if run_id and backup.is_dir() else []
    )
    if not backup_days:
        runs = ", ".join(sorted(path.name for path in replaced_folder.glob("*"))) or "none"
        problem = f"no backup of run {run_id!r}" if run_id else "no run given"
        raise ValueError(f"{problem}; runs with a backup: {runs}")
    if missing := sorted(set(days or []) - set(backup_days)):
        raise ValueError(
            f"run {run_id!r} has no backup of {', '.join(missing)}; it has {', '.join(backup_days)}"
        )
    with publishing_lock(settings):
        for day in days or backup_days:
            copy_day(backup / day / "summary", summaries_path(settings, ACCESS_LOG.name) / day)
            copy_day(backup / day / "report", reports_path(settings, ACCESS_LOG.name) / day)
    write_periods(settings, days or backup_days)
    return days or backup_days


def main(argv: list[str] | None = None) -> None:
    """Put back the summaries and reports that a run replaced: `make restore RUN=…`."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument(
        "run", nargs="?", default="", help="name of a folder in var/lake/replaced/access_log"
    )
    parser.add_argument("days", nargs="*", help="days to restore (default: all days of the run)")
    args = parser.parse_args(argv)
    try:
        days = restore_days(load_settings(), args.run, args.days)
    except ValueError as error:
        sys.exit(str(error))
    print(f"restored: {', '.join(days)}")  # noqa: T201


if __name__ == "__main__":
    restrict_new_files()
    main()

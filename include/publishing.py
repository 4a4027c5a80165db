"""Publish the reports of days: checked, each replaced whole, what it replaced kept, the list last."""

import argparse
import fcntl
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from include.lake import reports, summaries
from include.quality import NotFit, check_day, keep
from include.reporting.report import read_summary, write_index, write_report
from include.settings import Settings, load_settings

DATASET = "access_log"


def publish_days(
    settings: Settings, days: list[str], run: str, *, anyway: bool = False,
    staged: Path | None = None,
) -> dict[str, dict[str, int]]:  # fmt: skip
    """Report each day from its summary; give its headline numbers by day.

    With `staged`, a folder of new summaries, each replaces the day's own when it has passed; what it
    replaces, summary and report, is kept in `replaced/` (`restore`).

    Raises NotFit after the other days if one fails a check, unless `anyway`; SummaryError for a
    summary that cannot be read. Results of the checks are kept in `summary/access_log/checks.jsonl`.
    """
    folder, told, unfit = reports(settings, DATASET), {}, []
    for day in days:
        summary = read_summary((staged or summaries(settings, DATASET)) / day / "summary.json")
        checks = check_day(summary, folder, settings, staged)
        keep(checks, summary, run, summaries(settings, DATASET) / "checks.jsonl")
        failed = [check for check in checks if check.level == "fail"]
        for check in checks:
            print(f"{day}: {check.level:4}  {check.name}: {check.says}")  # noqa: T201
        if failed and not anyway:
            unfit += [f"{day}: {check.says}" for check in failed]
            continue
        with publishing(settings):
            if staged:
                _put_aside(settings, day, run)
                _copy_day(staged / day, summaries(settings, DATASET) / day)
            page = write_report(summary, folder, [asdict(check) for check in checks])
            write_index(folder)
        told[day] = {name: summary[name] for name in ("requests", "unsuccessful", "visitors")}
        print(f"{page}: {told[day]}")  # noqa: T201
    if unfit:
        raise NotFit(
            f"not published: {'; '.join(unfit)}. Look at the bad lines (reasons and samples are in "
            f"summary.json of the day); then run it with publish_anyway, or change "
            f"TIDEMARK_BAD_SHARE_FAIL"
        )
    return told


@contextmanager
def publishing(settings: Settings) -> Iterator[None]:
    """Hold the published days against other runs; waits for its turn."""
    folder = summaries(settings, DATASET)
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def replaced(settings: Settings) -> Path:
    """Where `publish_days` keeps what it replaced: a folder a run, in it a folder a day."""
    return settings.lake / "replaced" / DATASET


def restore(settings: Settings, run: str, days: list[str] | None = None) -> list[str]:
    """Put back the summaries and reports that `run` replaced; give the days.

    Raises ValueError with the names that there are if there is no such run or day.
    """
    kept = replaced(settings) / run
    there = sorted(path.name for path in kept.glob("[0-9]*")) if run and kept.is_dir() else []
    if not there or (missing := set(days or []) - set(there)):
        runs = sorted(path.name for path in replaced(settings).glob("*"))
        found = (
            f"of it: {', '.join(there)}; not {missing}" if there else f"{', '.join(runs) or 'none'}"
        )
        raise ValueError(f"nothing is kept of {run or 'no run'}; there are {found}")
    with publishing(settings):
        for day in days or there:
            _copy_day(kept / day / "summary", summaries(settings, DATASET) / day)
            _copy_day(kept / day / "report", reports(settings, DATASET) / day)
        write_index(reports(settings, DATASET))
    return days or there


def _put_aside(settings: Settings, day: str, run: str) -> None:
    """Keep the day as it is published now; what a run has kept once, its retry does not touch."""
    kept = replaced(settings) / run.replace("/", "_") / day
    old = {
        "summary": summaries(settings, DATASET) / day,
        "report": reports(settings, DATASET) / day,
    }
    if kept.is_dir() or not (old["summary"] / "summary.json").is_file():
        return
    part = kept.with_name(f".{day}")
    shutil.rmtree(part, ignore_errors=True)
    for name, folder in old.items():
        if folder.is_dir():
            shutil.copytree(folder, part / name)
    part.replace(kept)


def _copy_day(source: Path, target: Path) -> None:
    """Each file whole; the one that readers look for (summary.json, index.html) last."""
    target.mkdir(parents=True, exist_ok=True)
    files = [path for path in source.iterdir() if path.is_file()]
    for file in sorted(files, key=lambda f: f.name in ("summary.json", "index.html")):
        part = target / f".{file.name}"
        shutil.copyfile(file, part)
        part.replace(target / file.name)


def main(argv: list[str] | None = None) -> None:
    """`make restore RUN=…`: put back what a run replaced."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument(
        "run", nargs="?", default="", help="a folder of var/lake/replaced/access_log"
    )
    parser.add_argument("days", nargs="*", help="some of its days; default: all")
    args = parser.parse_args(argv)
    try:
        days = restore(load_settings(), args.run, args.days)
    except ValueError as refused:
        sys.exit(str(refused))
    print(f"restored: {', '.join(days)}")  # noqa: T201


if __name__ == "__main__":
    main()

"""Publish the reports of days: checked, each replaced whole, the list of days last."""

from dataclasses import asdict

from include.lake import reports, summaries
from include.quality import NotFit, check_day, keep
from include.reporting.report import read_summary, write_index, write_report
from include.settings import Settings

DATASET = "access_log"


def publish_days(
    settings: Settings, days: list[str], run: str, *, anyway: bool = False
) -> dict[str, dict[str, int]]:
    """Report each day from its summary; give its headline numbers by day.

    Raises NotFit after the other days if one fails a check, unless `anyway`; SummaryError for a
    summary that cannot be read. Results of the checks are kept in `summary/access_log/checks.jsonl`.
    """
    folder, told, unfit = reports(settings, DATASET), {}, []
    for day in days:
        summary = read_summary(summaries(settings, DATASET) / day / "summary.json")
        checks = check_day(summary, folder, settings)
        keep(checks, summary, run, summaries(settings, DATASET) / "checks.jsonl")
        failed = [check for check in checks if check.level == "fail"]
        for check in checks:
            print(f"{day}: {check.level:4}  {check.name}: {check.says}")  # noqa: T201
        if failed and not anyway:
            unfit += [f"{day}: {check.says}" for check in failed]
            continue
        page = write_report(summary, folder, [asdict(check) for check in checks])
        told[day] = {name: summary[name] for name in ("requests", "unsuccessful", "visitors")}
        print(f"{page}: {told[day]}")  # noqa: T201
    if folder.is_dir():
        write_index(folder)
    if unfit:
        raise NotFit(
            f"not published: {'; '.join(unfit)}. Look at the bad lines (reasons and samples are in "
            f"summary.json of the day); then run it with publish_anyway, or change "
            f"TIDEMARK_BAD_SHARE_FAIL"
        )
    return told

"""Maintain a landing: remove the given days, and merge the small files of each day.

Reads   a landing's data (land_access_log, land_clickstream)
Writes  the same rows in fewer files, sorted by time, without the removed days; to <manifest> the
        files, bytes and rows of each changed day, before and after. By default this is a dry run,
        which changes nothing
Run     ./tidemark run maintain_landing --source parquet:var/lake/landing/access_log/kafka/data \\
            --remove-days 2025-01-15 --dry-run true
"""

import argparse
import json
import shutil
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import StructType

from include.errors import InvalidInput
from include.flag_values import parse_days, parse_folder_endpoint
from include.lake.files import append_record, read_records, replace_file
from spark_jobs.landing import sink_log
from spark_jobs.landing.folder import Landing
from spark_jobs.landing.sink_log import FilesByLog, LandedFile
from spark_jobs.landing.storage import DataPath, RemotePath, parse_uri, remove_tree
from spark_jobs.streaming import session
from spark_jobs.streaming.arguments import add_boolean_flag, build_parser, positive_int
from spark_jobs.streaming.progress import format_count

JOB = "maintain_landing"
SORT_COLUMNS = ("timestamp", "ts")  # a merged day is sorted by these, where it has them
Counts = dict[str, int]


@dataclass
class FileGroup:
    """The files of one day in one log file. Readers see all their changes at once."""

    log: str
    day: str  # or "undated, landed on 2026-01-15"
    files: list[LandedFile] = field(default_factory=list)
    is_removed: bool = False
    target_file_count: int = 0  # how many files to merge them into; 0: do not merge
    merged_files: list[DataPath] = field(default_factory=list)
    counts_before: Counts = field(default_factory=dict)

    @property
    def is_changed(self) -> bool:
        return self.is_removed or self.target_file_count > 0


def main(argv: list[str] | None = None) -> None:
    parser = build_parser(__doc__)
    add = parser.add_argument
    add("--source", required=True, help="parquet:DIR, a landing's data folder")
    add("--remove-days", default="none", help="YYYY-MM-DD[,YYYY-MM-DD]: days to remove")
    add(
        "--undated-before",
        default="none",
        metavar="DAY",
        help="remove lines without a day that were landed before this day (UTC)",
    )
    add(
        "--through-batch",
        type=int,
        metavar="N",
        help="last batch when --remove-days was chosen: days with lines of later batches are not removed",
    )
    add(
        "--file-bytes",
        type=positive_int,
        default=128 << 20,
        help="approximate size of a merged file",
    )
    add_boolean_flag(
        parser, "--dry-run", "show what would be done and change nothing", default=True
    )
    add("--run-id", default="by-hand", help="name of this run in its records")
    add("--manifest", metavar="FILE", help="write what this run did to this file, as JSON")
    args = parser.parse_args(argv)
    source = parse_folder_endpoint("--source", args.source, "parquet")
    landing, started = Landing(source, ""), time.monotonic()
    manifest: dict[str, Any] = {
        "run": args.run_id,
        "job": JOB,
        "landing": str(landing.data),
        "dry_run": args.dry_run,
    }
    if landing.data.is_dir():
        with landing.maintenance_lock(JOB, args.run_id):
            manifest |= maintain_files(landing, args)
    manifest |= {
        "ended_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": round(time.monotonic() - started, 1),
    }
    if args.manifest:
        replace_file(Path(args.manifest), json.dumps(manifest, indent=1))
    for line in describe_changes(manifest):
        print(f"{JOB}: {line}")  # noqa: T201


def maintain_files(landing: Landing, args: argparse.Namespace) -> dict[str, Any]:
    """Remove days and merge files as the flags say. The caller holds the landing's maintenance lock.

    Args:
        landing: The landing.
        args: The parsed flags of this job.

    Returns:
        What was done, or with `--dry-run` would be done: `stay` (days that are not removed, with the reason),
        `leftovers`, `replayed` (removed folders of re-parsed rows), `removed` (counts by day) and `merged`
        (counts before and after). Empty if nothing is landed.

    Raises:
        InvalidInput: The sink log is damaged, all days would be removed, or merged rows differ from the
            rows before.
    """
    is_dry_run, files_by_log = args.dry_run, sink_log.list_landed_files(landing.data)
    if not files_by_log:  # without a log, data cannot be told from leftovers
        return {}
    chosen_days = set(_parse_days_or_none("--remove-days", args.remove_days))
    late_days = {
        day
        for batch in landing.files.read_batches()
        for day in chosen_days & set(batch["days"])
        if args.through_batch is not None and batch["batch"] > args.through_batch
    }
    days_to_remove = chosen_days - late_days
    changed_groups = [g for g in group_files(files_by_log, days_to_remove, args) if g.is_changed]
    refuse_full_removal(landing, files_by_log, days_to_remove)
    leftovers = sink_log.list_leftover_files(landing.data, files_by_log)
    result: dict[str, Any] = {
        "stay": dict.fromkeys(sorted(late_days), "lines came after the days were chosen"),
        "leftovers": {"files": len(leftovers), "bytes": sum(p.stat().st_size for p in leftovers)},
        "replayed": {
            str(p.relative_to(landing.folder)): _measure_folder(p)
            for p in list_reparsed_folders(landing, days_to_remove)
        },
    }
    if changed_groups:
        spark = session.start_session(JOB)
        paths = [file.path for g in changed_groups for file in g.files]
        schema = read_merged_schema(spark, paths)
        fingerprints = compute_fingerprints(spark, schema, paths)
        for group in changed_groups:
            group.counts_before = _sum_counts(fingerprints[file.path] for file in group.files)
        if not is_dry_run:
            merge_files(
                spark,
                schema,
                get_merge_folder(landing),
                [g for g in changed_groups if g.target_file_count],
            )
    if not is_dry_run:
        apply_changes(landing, args.run_id, files_by_log, changed_groups, days_to_remove)
    removed: dict[str, Counts] = {}
    for group in changed_groups:
        if group.is_removed:
            removed[group.day] = _sum_counts([removed.get(group.day, {}), _select_counts(group)])
    # Files that a killed attempt of this run removed are no longer in the log: add them from its records.
    result["removed"] = removed | ({} if is_dry_run else sum_removed_counts(landing, args.run_id))
    result["merged"] = [
        {
            "day": g.day,
            "log": g.log,
            "before": _select_counts(g),
            "after": {
                "files": g.target_file_count,
                "bytes": None if is_dry_run else sum(p.stat().st_size for p in g.merged_files),
                "good": g.counts_before["good"],
                "bad": g.counts_before["bad"],
            },
        }
        for g in changed_groups
        if g.target_file_count
    ]
    return result


def group_files(
    files_by_log: FilesByLog, days_to_remove: set[str], args: argparse.Namespace
) -> list[FileGroup]:
    """Group the files by log file and day, and decide for each group whether to remove or merge it.

    A group is merged if that at least halves the number of its files.
    """
    groups: dict[tuple[str, str], FileGroup] = {}
    for log, files in files_by_log.items():
        for file in files:
            day = file.day or f"undated, landed on {file.landed_date}"
            groups.setdefault((log, day), FileGroup(log, day)).files.append(file)
    undated_before = max(_parse_days_or_none("--undated-before", args.undated_before), default="")
    for group in groups.values():
        first, size = group.files[0], sum(file.size for file in group.files)
        group.is_removed = (
            first.day in days_to_remove if first.day else first.landed_date < undated_before
        )
        target_file_count = max(1, round(size / args.file_bytes))
        if not group.is_removed and len(group.files) >= 2 * target_file_count:
            group.target_file_count = target_file_count
    return list(groups.values())


def refuse_full_removal(
    landing: Landing, files_by_log: FilesByLog, days_to_remove: set[str]
) -> None:
    """Raise InvalidInput if all days would be removed: this is more likely a mistake than intended."""
    days = {file.day for files in files_by_log.values() for file in files if file.day}
    if days and days <= days_to_remove:
        raise InvalidInput(
            f"{landing.data}: --remove-days would remove all its days, {min(days)} to {max(days)}. Keep at "
            f"least one day, or move all of {landing.folder} away if you want to keep none"
        )


def read_merged_schema(spark: SparkSession, files: list[DataPath]) -> StructType:
    """Read the union of the files' columns: files of older versions may have fewer."""
    return spark.read.option("mergeSchema", True).parquet(*map(str, files)).schema


def compute_fingerprints(
    spark: SparkSession, schema: StructType, files: list[DataPath]
) -> dict[DataPath, Counts]:
    """Count and hash the rows of each file.

    Args:
        spark: The session.
        schema: All columns of the files.
        files: The data files.

    Returns:
        File -> `files` (1), `bytes`, `good` and `bad` (rows), and `hash`: a sum over the rows that does not
        depend on their order.
    """
    fingerprints = {
        path: {"files": 1, "bytes": path.stat().st_size, "good": 0, "bad": 0, "hash": 0}
        for path in files
    }
    # xxhash64 skips nulls: also hash which columns are null.
    row = F.xxhash64(*schema.names, *[F.isnull(name) for name in schema.names])
    counted = (
        _read_rows(spark, schema, files)
        .groupBy("_metadata.file_path")
        .agg(
            F.count_if(F.col("bad_reason").isNull()).alias("good"),
            F.count_if(F.col("bad_reason").isNotNull()).alias("bad"),
            F.sum(row.cast("decimal(38,0)")).cast("string").alias("hash"),
        )
    )
    for file, *counts in counted.collect():
        fingerprints[parse_uri(file)] |= dict(
            zip(("good", "bad", "hash"), map(int, counts), strict=True)
        )
    return fingerprints


def merge_files(
    spark: SparkSession, schema: StructType, folder: DataPath, groups: list[FileGroup]
) -> None:
    """Write the rows of each group to fewer files below `folder`, and set the group's `merged_files`.

    Readers do not see the merged files yet, see `apply_changes`.

    Raises:
        InvalidInput: The merged files do not hold the same rows as the group's files.
    """
    remove_tree(folder)
    for number, group in enumerate(groups):
        rows = _read_rows(spark, schema, [file.path for file in group.files])
        times = [name for name in SORT_COLUMNS if name in rows.columns]
        partitioned_rows = (
            rows.repartitionByRange(group.target_file_count, *times)
            if group.target_file_count > 1
            else rows.coalesce(1)
        )
        partitioned_rows.sortWithinPartitions(*times).write.parquet(str(folder / str(number)))
        group.merged_files = sorted((folder / str(number)).glob("part-*"))
    fingerprints = (
        compute_fingerprints(spark, schema, [path for g in groups for path in g.merged_files])
        if groups
        else {}
    )
    for group in groups:
        group.target_file_count = len(group.merged_files)
        counts_after = _sum_counts(fingerprints[path] for path in group.merged_files)
        if any(counts_after[name] != group.counts_before[name] for name in ("good", "bad", "hash")):
            raise InvalidInput(
                f"{group.day} of {group.log}: merged, its rows would be {counts_after}, not "
                f"{group.counts_before}. Nothing was changed: this is a bug, please report it with {folder}"
            )


def apply_changes(
    landing: Landing,
    run: str,
    files_by_log: FilesByLog,
    changed_groups: list[FileGroup],
    days_to_remove: set[str],
) -> None:
    """Update the sink log to the merged files and without the removed days, then delete unlisted files.

    If this is killed at any point, the other rows of the landing are unchanged, and the next run continues.
    A day is recorded as removed before its first file is removed, so that no job summarises half a day.

    Args:
        landing: The landing, with its maintenance lock held.
        run: The run, for the record of removed days.
        files_by_log: The files in the sink log, updated in place.
        changed_groups: The groups to remove or merge. Merged files must be written already.
        days_to_remove: ISO dates.
    """
    for group in changed_groups:
        for number, merged_file in enumerate(group.merged_files):
            sink_log.fsync_data(merged_file)
            target: Any = group.files[0].path.parent / merged_file.name
            group.merged_files[number] = merged_file.replace(target)
        sink_log.fsync_data(group.files[0].path.parent)
    removals = [
        (group.day, group.log, _select_counts(group))
        for group in changed_groups
        if group.is_removed
    ]
    removals += [
        (p.name.partition("=")[2], "replayed", _measure_folder(p))
        for p in list_reparsed_folders(landing, days_to_remove)
    ]
    for day, log, counts in removals:
        at = datetime.now(UTC).isoformat(timespec="seconds")
        append_record(
            landing.files.removed, {"day": day, "log": log, "run": run, "at": at} | counts
        )
    for log in {group.log: None for group in changed_groups}:
        old = {file.path for group in changed_groups if group.log == log for file in group.files}
        new = [
            LandedFile(path, path.stat().st_size, max(file.landed_at for file in group.files))
            for group in changed_groups
            if group.log == log
            for path in group.merged_files
        ]
        files_by_log[log] = [file for file in files_by_log[log] if file.path not in old] + new
        sink_log.rewrite_log(landing.data, log, files_by_log[log])
    for path in sink_log.list_leftover_files(landing.data, files_by_log):
        path.with_name(f".{path.name}.crc").unlink(missing_ok=True)
        path.unlink()
    for folder in landing.data.glob("event_date=*"):
        if not any(folder.iterdir()):
            remove_tree(folder)
    # No log lists the files of re-parsed rows. Renaming the folder removes them for readers all at once.
    merging = landing.folder / "merging"
    merging.mkdir(exist_ok=True)
    for folder in list_reparsed_folders(landing, days_to_remove):
        shutil.rmtree(folder.replace(merging / f"{folder.name}-replayed"))
    remove_tree(merging)
    remove_tree(get_merge_folder(landing))


def get_merge_folder(landing: Landing) -> DataPath:
    """Return the folder for files that are being merged; readers ignore it.

    At a remote storage location it is inside the data folder, because only that belongs to the landing.
    """
    is_remote = isinstance(landing.data, RemotePath)
    return landing.data / "_merging" if is_remote else landing.folder / "merging"


def list_reparsed_folders(landing: Landing, days_to_remove: set[str]) -> list[Path]:
    """List the folders of these days in `replayed/`, which hold re-parsed rows."""
    folders = landing.files.reparsed.rglob("event_date=*")
    return [folder for folder in folders if folder.name.partition("=")[2] in days_to_remove]


def sum_removed_counts(landing: Landing, run: str) -> dict[str, Counts]:
    """Return day -> the counts of what `run` removed, over all its attempts."""
    # Another attempt records the same removal again: the first record counts.
    first_records: dict[tuple[str, str], Counts] = {}
    for record in read_records(landing.files.removed):
        if record["run"] == run and record["log"] != "replayed":
            first_records.setdefault((record["day"], record["log"]), record)
    return {
        day: _sum_counts(
            {name: record[name] for name in _COUNT_NAMES}
            for (record_day, _), record in first_records.items()
            if record_day == day
        )
        for day, _ in first_records
    }


def describe_changes(result: dict[str, Any]) -> list[str]:
    """Format what was done, or with a dry run would be done, as one log line per day and change."""
    if "removed" not in result:
        return [f"no landed data in {result['landing']}: nothing to do"]
    would = "would be " if result["dry_run"] else ""
    lines = [f"{day}: not removed: {reason}" for day, reason in result["stay"].items()]
    for day, counts in sorted(result["removed"].items()):
        lines.append(f"{day}: {would}removed: {_format_counts(counts)}")
    for folder, counts in sorted(result["replayed"].items()):
        lines.append(f"{folder}: {would}removed: {format_count(counts['files'], 'file', 'files')}")
    for merge in result["merged"]:
        after = format_count(merge["after"]["files"], "file", "files")
        lines.append(f"{merge['day']}: {would}merged: {_format_counts(merge['before'])} -> {after}")
    if leftover_count := result["leftovers"]["files"]:
        leftovers = format_count(leftover_count, "leftover file", "leftover files")
        lines.append(f"{would}removed: {leftovers} that no reader sees")
    return lines or ["nothing to do"]


_COUNT_NAMES = ("files", "bytes", "good", "bad")


def _parse_days_or_none(flag: str, text: str) -> list[str]:
    return [] if text == "none" else parse_days(flag, text)


def _read_rows(spark: SparkSession, schema: StructType, files: list[DataPath]) -> DataFrame:
    return spark.read.schema(schema).parquet(*map(str, files))


def _select_counts(group: FileGroup) -> Counts:
    return {name: group.counts_before[name] for name in _COUNT_NAMES}


def _sum_counts(counts: Any) -> Counts:
    total: Counter[str] = Counter()
    for summand in counts:
        for name, value in summand.items():
            total[name] += value
    return dict(total)


def _measure_folder(folder: Path) -> Counts:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {"files": len(files), "bytes": sum(path.stat().st_size for path in files)}


def _format_counts(counts: Counts) -> str:
    return (
        f"{format_count(counts['files'], 'file', 'files')}, {counts['bytes']:,} bytes, "
        f"{counts['good']:,} good and {counts['bad']:,} bad rows"
    )


if __name__ == "__main__":
    session.run_job(JOB, main)

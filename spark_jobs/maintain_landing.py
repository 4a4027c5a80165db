"""Keep a landing small: remove days that are old enough, merge the small files of each day.

Reads   a landing's data (land_access_log, land_clickstream)
Writes  the same rows in fewer files, sorted by time, without the days that go; to <manifest>
        the files, bytes and rows of each day before and after
Run     ./tidemark run maintain_landing --source parquet:var/lake/landing/access_log/kafka/data \\
            --remove-days 2025-01-15 --dry-run true
"""

import argparse
import json
import shutil
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import StructType

from spark_jobs.runtime import session, sink_log
from spark_jobs.runtime.arguments import arguments, positive
from spark_jobs.runtime.claims import replace_text
from spark_jobs.runtime.landing import Landing, removed_days
from spark_jobs.runtime.progress import append_line, plural
from spark_jobs.runtime.sink_log import LandedFile, Lists
from spark_jobs.runtime.stored import Data, Stored, path_at, remove_tree
from spark_jobs.runtime.words import Place, Refused

JOB = "maintain_landing"
TIMES = ("timestamp", "ts")  # a merged day is sorted by these, where it has them
Counts = dict[str, int]


@dataclass
class Group:
    """The files of one day in one log file: they change for a reader all at once."""

    log: str
    day: str  # or "undated, landed on 2026-01-15"
    files: list[LandedFile] = field(default_factory=list)
    goes: bool = False
    into: int = 0  # how many files to merge them into; 0: they stay as they are
    made: list[Data] = field(default_factory=list)
    before: Counts = field(default_factory=dict)

    @property
    def touched(self) -> bool:
        return self.goes or self.into > 0


def main(argv: list[str] | None = None) -> None:
    parser = arguments(__doc__)
    add = parser.add_argument
    add("--source", required=True, help="parquet:DIR, a landing's data folder")
    add("--remove-days", default="none", help="YYYY-MM-DD[,YYYY-MM-DD]: days that may go")
    add("--undated-before", default="none", metavar="DAY",
        help="lines without a day go when they were landed before this day (UTC)")  # fmt: skip
    add("--through-batch", type=int, metavar="N",
        help="the last batch when the days were chosen: a day with later lines stays")  # fmt: skip
    add("--file-bytes", type=positive, default=128 << 20, help="of a merged file, about")
    add("--dry-run", choices=["true", "false"], default="true", help="only say what would be done")
    add("--run-id", default="by-hand", help="name of this run in what it records")
    add("--manifest", metavar="FILE", help="what this run did, as JSON")
    args = parser.parse_args(argv)
    kind, _, name = args.source.partition(":")
    if kind != "parquet" or not name:
        raise Refused(f"--source {args.source!r} is not understood; use parquet:DIR")
    landing, started = Landing(Place(kind, name), ""), time.monotonic()
    told: dict[str, Any] = {"run": args.run_id, "job": JOB, "landing": str(landing.data),
                            "dry_run": args.dry_run == "true"}  # fmt: skip
    if landing.data.is_dir():
        with landing.maintained(JOB, args.run_id):
            told |= maintain(landing, args)
    told |= {"ended_at": datetime.now(UTC).isoformat(timespec="seconds"),
             "seconds": round(time.monotonic() - started, 1)}  # fmt: skip
    if args.manifest:
        replace_text(Path(args.manifest), json.dumps(told, indent=1))
    for line in sentences(told):
        print(f"{JOB}: {line}")  # noqa: T201


def maintain(landing: Landing, args: argparse.Namespace) -> dict[str, Any]:
    """Do what the flags say to a landing that is held; give what was done, by day."""
    dry, lists = args.dry_run == "true", sink_log.listed(landing.data)
    if not lists:  # no log: nothing tells data from leftovers
        return {}
    chosen = set(_days(args.remove_days))
    late = {
        day for batch in landing.batches() for day in chosen & set(batch["days"])
        if args.through_batch is not None and batch["batch"] > args.through_batch
    }  # fmt: skip
    going = chosen - late
    touched = [g for g in grouped(lists, going, args) if g.touched]
    refuse_all(landing, lists, going)
    leftovers = sink_log.unlisted(landing.data, lists)
    told: dict[str, Any] = {
        "stay": dict.fromkeys(sorted(late), "lines came after the days were chosen"),
        "leftovers": {"files": len(leftovers), "bytes": sum(p.stat().st_size for p in leftovers)},
        "replayed": {
            str(p.relative_to(landing.folder)): _size(p) for p in replayed(landing, going)
        },
    }
    if touched:
        spark = session.start(JOB)
        schema = merged_schema(spark, [file.path for g in touched for file in g.files])
        rows = fingerprints(spark, schema, [file.path for g in touched for file in g.files])
        for group in touched:
            group.before = _sum(rows[file.path] for file in group.files)
        if not dry:
            merge(spark, schema, merging(landing), [g for g in touched if g.into])
    if not dry:
        carry_out(landing, args.run_id, lists, touched, going)
    removed: dict[str, Counts] = {}
    for group in touched:
        if group.goes:
            removed[group.day] = _sum([removed.get(group.day, {}), _told(group)])
    # What an earlier attempt of this run removed before it was killed is no longer listed.
    told["removed"] = removed | ({} if dry else removed_by(landing, args.run_id))
    told["merged"] = [
        {"day": g.day, "log": g.log, "before": _told(g), "after": {
            "files": g.into, "bytes": None if dry else sum(p.stat().st_size for p in g.made),
            "good": g.before["good"], "bad": g.before["bad"]}} for g in touched if g.into
    ]  # fmt: skip
    return told


def grouped(lists: Lists, going: set[str], args: argparse.Namespace) -> list[Group]:
    """The files by log file and day, with what is to be done to them."""
    groups: dict[tuple[str, str], Group] = {}
    for log, files in lists.items():
        for file in files:
            day = file.day or f"undated, landed on {file.landed_on}"
            groups.setdefault((log, day), Group(log, day)).files.append(file)
    undated_before = max(_days(args.undated_before), default="")
    for group in groups.values():
        first, size = group.files[0], sum(file.size for file in group.files)
        group.goes = first.day in going if first.day else first.landed_on < undated_before
        into = max(1, round(size / args.file_bytes))
        if not group.goes and len(group.files) >= 2 * into:
            group.into = into
    return list(groups.values())


def refuse_all(landing: Landing, lists: Lists, going: set[str]) -> None:
    """Refuse to remove the last day: more likely a wrong number than a wish."""
    days = {file.day for files in lists.values() for file in files if file.day}
    if days and days <= going:
        raise Refused(
            f"{landing.data}: all its days would go, {min(days)} to {max(days)}; keep more days, or "
            f"move all of {landing.folder} away if none is wanted"
        )


def merged_schema(spark: SparkSession, files: list[Data]) -> StructType:
    """All columns of all files: older ones may have fewer."""
    return spark.read.option("mergeSchema", True).parquet(*map(str, files)).schema


def fingerprints(spark: SparkSession, schema: StructType, files: list[Data]) -> dict[Data, Counts]:
    """File -> its files (1), bytes, good and bad rows, and a hash of them in any order."""
    found = {
        path: {"files": 1, "bytes": path.stat().st_size, "good": 0, "bad": 0, "hash": 0}
        for path in files
    }
    # A null alone does not change the hash: which column it is in must.
    row = F.xxhash64(*schema.names, *[F.isnull(name) for name in schema.names])
    counted = _rows(spark, schema, files).groupBy("_metadata.file_path").agg(
        F.count_if(F.col("bad_reason").isNull()).alias("good"),
        F.count_if(F.col("bad_reason").isNotNull()).alias("bad"),
        F.sum(row.cast("decimal(38,0)")).cast("string").alias("hash"),
    )  # fmt: skip
    for file, *counts in counted.collect():
        found[path_at(file)] |= dict(zip(("good", "bad", "hash"), map(int, counts), strict=True))
    return found


def merge(spark: SparkSession, schema: StructType, folder: Data, groups: list[Group]) -> None:
    """Write the rows of each group anew below `folder`; Refused unless they are the same rows."""
    remove_tree(folder)
    for number, group in enumerate(groups):
        rows = _rows(spark, schema, [file.path for file in group.files])
        times = [name for name in TIMES if name in rows.columns]
        by_time = (
            rows.repartitionByRange(group.into, *times) if group.into > 1 else rows.coalesce(1)
        )
        by_time.sortWithinPartitions(*times).write.parquet(str(folder / str(number)))
        group.made = sorted((folder / str(number)).glob("part-*"))
    found = fingerprints(spark, schema, [path for g in groups for path in g.made]) if groups else {}
    for group in groups:
        group.into = len(group.made)
        made = _sum(found[path] for path in group.made)
        if any(made[name] != group.before[name] for name in ("good", "bad", "hash")):
            raise Refused(
                f"{group.day} of {group.log}: merged, its rows would be {made}, not {group.before}; "
                f"nothing was changed, please report this with {folder}"
            )


def carry_out(
    landing: Landing, run: str, lists: Lists, touched: list[Group], going: set[str]
) -> None:
    """Show readers the merged files and hide the days that go; then delete what is not seen.

    Killed at any point, it leaves a landing whose other rows are what they were, and the next run goes
    on. A day is recorded as removed before the first of its files goes: no summary is made of a half.
    """
    for group in touched:
        for number, made in enumerate(group.made):
            sink_log.sync(made)
            target: Any = group.files[0].path.parent / made.name
            group.made[number] = made.replace(target)
        sink_log.sync(group.files[0].path.parent)
    gone = [(group.day, group.log, _told(group)) for group in touched if group.goes]
    gone += [(p.name.partition("=")[2], "replayed", _size(p)) for p in replayed(landing, going)]
    for day, log, counts in gone:
        at = datetime.now(UTC).isoformat(timespec="seconds")
        append_line(landing.removed, {"day": day, "log": log, "run": run, "at": at} | counts)
    for log in {group.log: None for group in touched}:
        old = {file.path for group in touched if group.log == log for file in group.files}
        new = [
            LandedFile(path, path.stat().st_size, max(file.landed_at for file in group.files))
            for group in touched if group.log == log for path in group.made
        ]  # fmt: skip
        lists[log] = [file for file in lists[log] if file.path not in old] + new
        sink_log.rewrite(landing.data, log, lists[log])
    for path in sink_log.unlisted(landing.data, lists):
        path.with_name(f".{path.name}.crc").unlink(missing_ok=True)
        path.unlink()
    for folder in landing.data.glob("event_date=*"):
        if not any(folder.iterdir()):
            remove_tree(folder)
    for folder in replayed(landing, going):  # no log says what is data there: all at once
        shutil.rmtree(folder.replace(_made(landing.folder / "merging") / f"{folder.name}-replayed"))
    remove_tree(landing.folder / "merging")
    remove_tree(merging(landing))


def merging(landing: Landing) -> Data:
    """Where files are merged; in a store inside of what is the landing's own, where no reader looks."""
    stored = isinstance(landing.data, Stored)
    return landing.data / "_merging" if stored else landing.folder / "merging"


def replayed(landing: Landing, going: set[str]) -> list[Path]:
    """Folders of days in `replayed/` beside the data: lines of theirs that were read later."""
    found = (landing.folder / "replayed").rglob("event_date=*")
    return [folder for folder in found if folder.name.partition("=")[2] in going]


def removed_by(landing: Landing, run: str) -> dict[str, Counts]:
    """Day -> what `run` removed of it, all its attempts together."""
    first: dict[tuple[str, str], Counts] = {}
    for record in removed_days(landing.folder):
        if record["run"] == run and record["log"] != "replayed":
            first.setdefault((record["day"], record["log"]), record)
    return {
        day: _sum({n: c[n] for n in _COUNTED} for (of, _), c in first.items() if of == day)
        for day, _ in first
    }


def sentences(told: dict[str, Any]) -> list[str]:
    """What was done, or would be, a line a day."""
    if "removed" not in told:
        return [f"nothing is landed in {told['landing']}"]
    would = "would be " if told["dry_run"] else ""
    lines = [f"{day}: stays, {why}" for day, why in told["stay"].items()]
    for day, counts in sorted(told["removed"].items()):
        lines.append(f"{day}: {would}removed: {_say(counts)}")
    for folder, counts in sorted(told["replayed"].items()):
        lines.append(f"{folder}: {would}removed: {plural(counts['files'], 'file', 'files')}")
    for each in told["merged"]:
        after = plural(each["after"]["files"], "file", "files")
        lines.append(f"{each['day']}: {would}merged: {_say(each['before'])} -> {after}")
    if told["leftovers"]["files"]:
        lines.append(f"{would}removed: {told['leftovers']['files']} files that no reader sees")
    return lines or ["nothing to do"]


_COUNTED = ("files", "bytes", "good", "bad")


def _days(text: str) -> list[str]:
    try:
        return [date.fromisoformat(day).isoformat() for day in text.split(",") if text != "none"]
    except ValueError:
        raise Refused(f"{text!r}: expected days such as 2026-01-31, or none") from None


def _rows(spark: SparkSession, schema: StructType, files: list[Data]) -> DataFrame:
    return spark.read.schema(schema).parquet(*map(str, files))


def _told(group: Group) -> Counts:
    return {name: group.before[name] for name in _COUNTED}


def _sum(counts: Any) -> Counts:
    total: Counter[str] = Counter()
    for each in counts:
        for name, value in each.items():
            total[name] += value
    return dict(total)


def _size(folder: Path) -> Counts:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {"files": len(files), "bytes": sum(path.stat().st_size for path in files)}


def _say(counts: Counts) -> str:
    return (f"{plural(counts['files'], 'file', 'files')}, {counts['bytes']:,} bytes, {counts['good']:,} good "
            f"and {counts['bad']:,} bad rows")  # fmt: skip


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


if __name__ == "__main__":
    session.run(JOB, main)

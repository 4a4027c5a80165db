"""The files in a landing folder, and what its records say.

    <folder>/data/                  the landed rows, written by exactly one query
    <folder>/data_at                the storage location of the data, if they are not in data/
    <folder>/checkpoint/            the query's Spark checkpoint
    <folder>/progress.jsonl         what each batch read and landed, one line per batch
    <folder>/removed.jsonl          days that maintain_landing removed, one line per day and log file
    <folder>/lost.jsonl             accepted data loss: messages that Kafka expired before they were landed
    <folder>/query.json             the job and source that the folder belongs to (streaming/locks.py)
    <folder>/replayed/<name>/       rows of bad lines that a run of replay_bad_lines has re-parsed
    <folder>/replayed/current.json  the name of the valid one, and its lines by day
    <folder>/lock                   locked by the job that writes (streaming/locks.py)

Spark jobs use this module, too: it imports the standard library only.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from include.lake.files import read_records


class LandingFiles:
    """The files of one landing folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.data_location = folder / "data_at"
        self.checkpoint = folder / "checkpoint"
        self.progress = folder / "progress.jsonl"
        self.removed = folder / "removed.jsonl"
        self.data_loss = folder / "lost.jsonl"
        self.reparsed = folder / "replayed"
        self.current_reparse = self.reparsed / "current.json"

    def list_committed_batches(self) -> set[int]:
        """Return the numbers of the batches that Spark has committed."""
        return {int(path.name) for path in (self.checkpoint / "commits").glob("[0-9]*")}

    def read_source_log(self) -> Iterator[dict[str, Any]]:
        """Yield the files that the query has read from its source folder: `path` (a URI), `batchId`, …"""
        for log in (self.checkpoint / "sources" / "0").glob("[0-9]*"):
            for line in log.read_text().splitlines()[1:]:
                yield json.loads(line)

    def read_batches(self) -> list[dict[str, Any]]:
        """Return the record of each batch, oldest first."""
        records = {record["batch"]: record for record in read_records(self.progress)}
        return [records[batch] for batch in sorted(records)]

    def read_last_batch(self) -> int:
        """Return the number of the last recorded batch; -1 if there is none."""
        return max((record["batch"] for record in read_records(self.progress)), default=-1)

    def read_days(self) -> dict[str, int]:
        """Return ISO date -> the last batch with lines of that day; -1 if all its lines are re-parsed."""
        removed = self.read_removed_days()
        latest = {day: -1 for day in self.read_reparse_checksums() if day not in removed}
        for record in read_records(self.progress):
            for day in record["days"]:
                if day != "None" and day not in removed:
                    latest[day] = max(latest.get(day, -1), record["batch"])
        return latest

    def read_removed_days(self) -> set[str]:
        """Return the days that `maintain_lake` has removed, as ISO dates."""
        return {record["day"] for record in read_records(self.removed)}

    def read_end_offsets(self, topic: str) -> dict[int, int]:
        """Return partition -> the offset after its last landed message, as the batches recorded it."""
        end_offsets: dict[int, int] = {}
        for record in read_records(self.progress):
            for partition, end in ((record.get("to") or {}).get(topic) or {}).items():
                end_offsets[int(partition)] = max(end_offsets.get(int(partition), 0), end)
        return end_offsets

    def read_lines_per_message(self) -> float:
        """Return the mean lines per message in the last batch from Kafka; 1 if there is no batch."""
        lines_per_message = 1.0
        for record in read_records(self.progress):
            if record.get("messages"):
                lines_per_message = record["read"] / record["messages"]
        return lines_per_message

    def read_reparse_checksums(self) -> dict[str, str]:
        """Return ISO date -> `lines:checksum` of the day's re-parsed lines."""
        days: dict[str, str] = self.read_current_reparse()["days"]
        return days

    def read_current_reparse(self) -> dict[str, Any]:
        """Return the content of `replayed/current.json`.

        Returns:
            `name` (the valid subfolder of `replayed/`; None if nothing was re-parsed yet), `lines` (its
            number of rows) and `days` (ISO date -> `lines:checksum`).
        """
        file = self.current_reparse
        current: dict[str, Any] = json.loads(file.read_text()) if file.is_file() else {}
        return current or {"name": None, "lines": 0, "days": {}}

    def read_data_location(self) -> dict[str, str]:
        """Return the content of `data_at`: `at` (URI of the data), `id`, `landing`; {} if there is none."""
        file = self.data_location
        record: dict[str, str] = json.loads(file.read_text()) if file.is_file() else {}
        return record

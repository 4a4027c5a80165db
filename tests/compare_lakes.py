"""Compare the reports of two lakes, value by value; names that version 3 changed are mapped.

    python -m tests.compare_lakes OLD_LAKE NEW_LAKE

Both lakes must have the same days, produced from the same logs by two versions of Tidemark. The
comparison covers `report.json`, `panels.parquet` and every CSV of each day, and the clickstream
report if there is one. Prints how many values were compared. Exit code 1 if a value differs or is
missing in one lake.
"""

import csv
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pyarrow import parquet

NAMES = {  # version 2 -> version 3: keys of JSON, columns, panels, names of checks and files
    "people": "humans",
    "people_hits": "humans_hits",
    "people_visitors": "humans_visitors",
    "people_bytes": "humans_bytes",
    "people_only": "humans_only",
    "machines": "bots",
    "machines.csv": "bots.csv",
    "repeated": "duplicates",
    "repeats": "duplicates",
    "losses": "data loss",
    "lost": "data_loss",
    "replayed": "reparsed",
    "trouble": "incidents",
    "says": "message",
}
TEXTS = {"faster than people": "faster than humans"}  # a reason why a visitor is a bot
# Fields that describe the run itself. `message` is a sentence; its number is also a separate field.
RUN_FIELDS = {
    "schema_version",
    "summarised_at",
    "run",
    "landing",
    "message",
    "steps",
    "spark_version",
    "files",
}
PANEL_KEY = ("panel", "parent", "value", "method", "protocol")


def flatten(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield each leaf of a JSON document with its path, with version 3 names."""
    if isinstance(value, dict):
        for name, inner in value.items():
            is_duration = path.endswith("/provenance") and name == "seconds"
            if NAMES.get(name, name) not in RUN_FIELDS and not is_duration:
                yield from flatten(inner, f"{path}/{NAMES.get(name, name)}")
    elif isinstance(value, list):
        yield f"{path}#", len(value)
        for number, inner in enumerate(value):
            yield from flatten(inner, f"{path}/{number}")
    else:
        yield path, rename(value)


def rename(value: Any) -> Any:
    """Map a value to its version 3 name; other text stays unchanged."""
    return TEXTS.get(value, NAMES.get(value, value)) if isinstance(value, str) else value


def read_values(lake: Path) -> dict[str, Any]:
    """Read all values of the reports and panels in a lake, as path -> value."""
    values: dict[str, Any] = {}
    for file in sorted((lake / "reports").rglob("*")):
        name = "/".join(NAMES.get(part, part) for part in file.relative_to(lake).parts)
        if file.suffix == ".json":
            values |= {f"{name}{path}": v for path, v in flatten(json.loads(file.read_text()))}
        elif file.suffix == ".csv":
            rows = list(csv.reader(file.open(encoding="utf-8", newline="")))
            values[f"{name}#"] = len(rows)
            for number, row in enumerate(rows):
                values |= {f"{name}/{number}/{n}": rename(cell) for n, cell in enumerate(row)}
    for file in sorted((lake / "summary").rglob("panels.parquet")):
        rows = [
            {NAMES.get(name, name): rename(value) for name, value in row.items()}
            for row in parquet.read_table(file).to_pylist()
        ]
        rows.sort(
            key=lambda row: [str(row.get(name)) for name in PANEL_KEY]
        )  # version 3 renamed panels
        for number, row in enumerate(rows):
            name = f"{file.relative_to(lake)}/{number}"
            values |= {f"{name}/{column}": value for column, value in row.items()}
    return values


def compare(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """Return one line for each value that differs or is missing on one side."""
    missing = object()
    return [
        f"{path}: {old.get(path, 'missing')!r} -> {new.get(path, 'missing')!r}"
        for path in sorted({*old, *new})
        if old.get(path, missing) != new.get(path, missing)
    ]


def main(old_lake: str, new_lake: str) -> int:
    old, new = read_values(Path(old_lake)), read_values(Path(new_lake))
    differences = compare(old, new)
    print("\n".join(differences[:100]))
    print(f"{len(old):,} values before, {len(new):,} now, {len(differences):,} differ")
    return 1 if differences or not old else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))

"""The comparison of two lakes reports changed values and ignores renamed fields."""

import json

import pyarrow as pa
import pytest
from pyarrow import parquet

from tests.compare_lakes import main

DAY = "access_log/2026-01-15"


def write_lake(root, version, hits=3, humans=2, reason="faster than people"):
    is_new = version == 3
    humans_name, bots_name = ("humans", "bots") if is_new else ("people", "machines")
    report, summary = root / "reports" / DAY, root / "summary" / DAY
    report.mkdir(parents=True)
    summary.mkdir(parents=True)
    reason = "faster than humans" if is_new and reason == "faster than people" else reason
    document = {
        "schema_version": version,
        humans_name: {"requests": humans},
        bots_name: [{"host": "192.0.2.7", "reasons": [reason]}],
        "provenance": {"run": f"run {version}"},
    }
    (report / "report.json").write_text(json.dumps(document))
    (report / f"{bots_name}.csv").write_text(f"value,{humans_name}_hits\n/,{humans}\n")
    table = pa.table({"panel": [bots_name], "hits": [hits], f"{humans_name}_hits": [humans]})
    parquet.write_table(table, summary / "panels.parquet")
    return str(root)


def test_lakes_that_differ_only_in_field_names_are_equal(tmp_path, capsys):
    assert main(write_lake(tmp_path / "old", 2), write_lake(tmp_path / "new", 3)) == 0
    assert "13 values before, 13 now, 0 differ" in capsys.readouterr().out


@pytest.mark.parametrize("changed", [{"hits": 4}, {"humans": 3}, {"reason": "robots.txt"}])
def test_a_changed_value_is_printed(tmp_path, capsys, changed):
    old, new = write_lake(tmp_path / "old", 2), write_lake(tmp_path / "new", 3, **changed)
    assert main(old, new) == 1
    assert " -> " in capsys.readouterr().out


def test_comparing_missing_lakes_fails(tmp_path):
    assert main(str(tmp_path / "none"), str(tmp_path / "nothing")) == 1

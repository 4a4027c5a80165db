"""`make resummarise` rebuilds days with another schema version and leaves the others unchanged."""

import json
import os
import subprocess
import sys

from include.lake.paths import landing_path, reports_path, summaries_path
from include.reporting.publishing import publish_days
from include.settings import PROJECT, load_settings
from tests.builders import build_line

DAYS = ["2015-05-17", "2015-05-18"]


def test_days_with_another_schema_version_are_rebuilt_from_landed_data(job, jars, tmp_path):
    settings = load_settings({"TIDEMARK_HOME": str(tmp_path)})
    (tmp_path / "jars").symlink_to(jars)
    (tmp_path / "in").mkdir()
    lines = [build_line(time=f"{day}/May/2015:10:05:03 +0000") for day in (17, 17, 18)]
    (tmp_path / "in" / "access.log").write_text("\n".join(lines) + "\n")
    data = landing_path(settings, "access_log", "files") / "data"
    summaries = summaries_path(settings, "access_log")
    assert job("land_access_log", "--source", f"text:{tmp_path / 'in'}", "--sink", f"parquet:{data}",
               "--trigger", "available-now")[0] == 0  # fmt: skip
    assert job("summarise_access_log", "--source", f"parquet:{data}", "--source-kind", "files",
               "--sink", f"summary:{summaries}", "--days", ",".join(DAYS))[0] == 0  # fmt: skip
    publish_days(settings, DAYS, "first")

    def read_report(day):
        return json.loads((reports_path(settings, "access_log") / day / "report.json").read_text())

    def resummarise():
        command = [sys.executable, "-m", "include.orchestration.resummarise"]
        env = os.environ | {"TIDEMARK_HOME": str(tmp_path)}
        return subprocess.run(command, cwd=PROJECT, env=env, capture_output=True, text=True)

    before = [read_report(day) for day in DAYS]
    old_summary = summaries / DAYS[0] / "summary.json"
    old_summary.write_text(
        json.dumps({"schema_version": 2, "source": "files", "people": {"requests": 2}})
    )
    result = resummarise()
    assert result.returncode == 0, result.stdout + result.stderr
    assert "1 day" in result.stdout
    after = [read_report(day) for day in DAYS]
    assert after[1] == before[1]
    assert after[0].pop("provenance")["run"] != before[0].pop("provenance")["run"]
    assert after[0] == before[0]
    assert "0 days" in resummarise().stdout

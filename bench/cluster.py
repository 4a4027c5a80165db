"""Measure the gain of a second worker: landing and summary on one core of the cluster, and on two.

    make cluster-up && python -m bench.cluster            (about 10 minutes; the machine must be idle)

Each job is a whole process, as Airflow submits it. Driver, master, brokers and Airflow run on the
same machine as both workers, so on a machine with two cores they compete with the workers.
"""

import json
import shutil
from typing import Any

from rich.console import Console

from bench.pages import write_page
from bench.speed import DAY, make_log
from bench.stack import build_submit_command, measure_command
from include.local_stack.cluster import WORKERS, cluster_settings, service
from include.settings import load_settings

SIZES = (100_000, 1_000_000)
CORES = (1, 2)
console = Console(stderr=True)


def measure() -> list[dict[str, Any]]:
    """Measure each log size on each number of cores.

    Returns:
        A row per size and number of cores: `lines`, `cores`, seconds of `land` and `summarise`.
    """
    settings = cluster_settings(load_settings())
    if not all(service(settings, name).process() for name in WORKERS):
        raise SystemExit("the cluster does not run; start it with `make cluster-up`")
    rows, folder = [], settings.home / "bench"
    for lines in SIZES:
        log = make_log(lines)
        for cores in CORES:
            shutil.rmtree(folder, ignore_errors=True)
            (folder / "in").mkdir(parents=True)
            shutil.copyfile(log, folder / "in" / "access.log")
            data = f"parquet:{folder / 'files' / 'data'}"
            steps = {
                "land": ["land_access_log", "--source", f"text:{folder / 'in'}", "--sink", data],
                "summarise": [
                    "summarise_access_log",
                    "--source",
                    data,
                    "--source-kind",
                    "files",
                    "--sink",
                    f"summary:{folder / 'summary'}",
                    "--days",
                    DAY.isoformat(),
                ],
            }
            row: dict[str, Any] = {"lines": lines, "cores": cores}
            for step, (job, *flags) in steps.items():
                command = build_submit_command(
                    settings, f"spark_jobs/{job}.py", *flags, lines=lines
                )
                command[1:2] = [
                    f"--master={settings.spark_master}",
                    f"--total-executor-cores={cores}",
                ]
                row[step] = measure_command(settings, command).seconds
            console.print(row)
            rows.append(row)
    shutil.rmtree(folder)
    return rows


def main() -> None:
    rows = measure()
    print(json.dumps(rows, indent=1))
    write_page("cluster", rows)


if __name__ == "__main__":
    main()

"""What a second worker brings: landing and summary on one core of the cluster, and on two.

    make cluster-up && python -m bench.cluster            (about 10 minutes; the machine must be idle)

Each job is a whole process, as Airflow submits it; driver, master, brokers and Airflow are on the
same machine as both workers, so that on one of two cores they get in the way.
"""

import json
import shutil
from typing import Any

from rich.console import Console

from bench.pages import write_page
from bench.speed import DAY, made_log
from bench.stack import command_cost, submit
from include.local_stack.cluster import WORKERS, service, settings_of
from include.settings import load_settings

SIZES = (100_000, 1_000_000)
CORES = (1, 2)
says = Console(stderr=True)


def measure() -> list[dict[str, Any]]:
    """A row a size and number of cores: `lines`, `cores`, seconds of `land` and of `summarise`."""
    settings = settings_of(load_settings())
    if not all(service(settings, name).process() for name in WORKERS):
        raise SystemExit("the cluster does not run: `make cluster-up` starts it")
    rows, folder = [], settings.home / "bench"
    for lines in SIZES:
        log = made_log(lines)
        for cores in CORES:
            shutil.rmtree(folder, ignore_errors=True)
            (folder / "in").mkdir(parents=True)
            shutil.copyfile(log, folder / "in" / "access.log")
            data = f"parquet:{folder / 'files' / 'data'}"
            steps = {
                "land": ["land_access_log", "--source", f"text:{folder / 'in'}", "--sink", data],
                "summarise": ["summarise_access_log", "--source", data, "--source-kind", "files",
                              "--sink", f"summary:{folder / 'summary'}", "--days", DAY.isoformat()],
            }  # fmt: skip
            row: dict[str, Any] = {"lines": lines, "cores": cores}
            for step, (job, *flags) in steps.items():
                command = submit(settings, f"spark_jobs/{job}.py", *flags, lines=lines)
                command[1:2] = [
                    f"--master={settings.spark_master}",
                    f"--total-executor-cores={cores}",
                ]
                row[step] = command_cost(settings, command).seconds
            says.print(row)
            rows.append(row)
    shutil.rmtree(folder)
    return rows


def main() -> None:
    rows = measure()
    print(json.dumps(rows, indent=1))
    write_page("cluster", rows)


if __name__ == "__main__":
    main()

"""Run the tests of `make test` as three parallel pytest processes.

Airflow mostly waits and Spark plans on one core, so two cores run all three in less time than one
after another. The output of the second and the third process is printed at the end. Exit code 0 if
all tests pass.

Excluded: tests that are marked `fault`, `browser` or `matrix` (pyproject.toml), and tests/cluster.
"""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

MARKS = "not fault and not browser and not matrix"
PYTEST = [sys.executable, "-m", "pytest", "--durations=10", "-m", MARKS]
SPARK = {str(path) for path in Path("tests/spark").glob("test_*.py")}
KAFKA = {str(path) for path in Path("tests/kafka").glob("test_*.py")}
STREAMS = {"tests/spark/test_streams.py", "tests/spark/test_summarise_access_log.py"}
NO_SESSION = {"tests/kafka/test_produce.py", "tests/kafka/test_streams_page.py"}
RUNS = [  # each takes about as long as the others
    ["tests/unit", "tests/dags", *sorted(NO_SESSION), "tests/whole"],
    sorted(SPARK - STREAMS),
    [*sorted(STREAMS), *sorted(KAFKA - NO_SESSION)],
]


def main() -> int:
    started = time.monotonic()
    outputs = [None, *(tempfile.TemporaryFile("w+") for _ in RUNS[1:])]
    running = [
        subprocess.Popen([*PYTEST, *folders, *sys.argv[1:]], stdout=output, stderr=output)
        for folders, output in zip(RUNS, outputs, strict=True)
    ]
    codes = []
    for run in running:
        while True:
            try:
                codes.append(run.wait())
                break
            except (
                KeyboardInterrupt
            ):  # every pytest process gets it, too, and stops what it started
                continue
    print(f"all tests took {time.monotonic() - started:.0f} s")
    for output in outputs[1:]:
        output.seek(0)
        print(output.read())
    return max(map(abs, codes))


if __name__ == "__main__":
    sys.exit(main())

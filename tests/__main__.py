"""The tests of `make test`, as three runs of pytest side by side; prints what each group took.

Airflow mostly waits, and Spark plans on one core, so two cores do all three in less time than one
after the other. What the second and the third print comes at the end, with pytest's closing
line. Exit code 0 if all pass.

Not among them: what is marked `fault`, `browser` or `matrix` (pyproject.toml), and the cluster's tests.
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
RUNS = [  # that take about as long as each other
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
            except KeyboardInterrupt:  # it reaches all of them, and each ends what it has started
                continue
    print(f"all tests took {time.monotonic() - started:.0f} s")
    for output in outputs[1:]:
        output.seek(0)
        print(output.read())
    return max(map(abs, codes))


if __name__ == "__main__":
    sys.exit(main())

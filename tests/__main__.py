"""The tests of `make test`, as two runs of pytest side by side; prints what each group took.

One run mostly waits for Airflow, the other mostly computes, so two cores do both in the time of the
longer. What the second prints comes at the end, with its closing line. Exit code 0 if both pass.

Not among them: what is marked `fault` or `browser` (pyproject.toml), and the cluster's tests.
"""

import subprocess
import sys
import tempfile
import time

PYTEST = [sys.executable, "-m", "pytest", "--durations=10", "-m", "not fault and not browser"]
WITH_AIRFLOW = ["tests/unit", "tests/dags", "tests/whole"]
WITH_SPARK = ["tests/spark", "tests/kafka"]


def main() -> int:
    started = time.monotonic()
    with tempfile.TemporaryFile("w+") as printed:
        computing = subprocess.Popen(
            [*PYTEST, *WITH_SPARK, *sys.argv[1:]], stdout=printed, stderr=subprocess.STDOUT
        )
        waiting = subprocess.Popen([*PYTEST, *WITH_AIRFLOW, *sys.argv[1:]])
        codes = []
        for run in (waiting, computing):
            while True:
                try:
                    codes.append(run.wait())
                    break
                except KeyboardInterrupt:  # it reaches both, and each ends what it has started
                    continue
        printed.seek(0)
        print(f"all tests took {time.monotonic() - started:.0f} s")
        print(printed.read())
    return max(map(abs, codes))


if __name__ == "__main__":
    sys.exit(main())

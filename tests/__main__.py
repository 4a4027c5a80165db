"""All tests (`make test`): those of the whole stack beside the others, as two runs of pytest.

The first mostly wait for Airflow, the others mostly compute, so that two cores do both in the time of
the longer. What the others print comes at the end, with their closing line; exit code 0 if both pass.
The cluster's tests have a command of their own, `make cluster-test`.
"""

import subprocess
import sys
import tempfile

PYTEST = [sys.executable, "-m", "pytest", "--durations=10"]


def main() -> int:
    with tempfile.TemporaryFile("w+") as printed:
        others = subprocess.Popen(
            [*PYTEST, "--ignore=tests/whole", *sys.argv[1:]],
            stdout=printed, stderr=subprocess.STDOUT,
        )  # fmt: skip
        whole = subprocess.Popen([*PYTEST, "tests/whole", *sys.argv[1:]])
        codes = []
        for run in (whole, others):
            while True:
                try:
                    codes.append(run.wait())
                    break
                except KeyboardInterrupt:  # it reaches both, and each ends what it has started
                    continue
        printed.seek(0)
        print(printed.read())
    return max(map(abs, codes))


if __name__ == "__main__":
    sys.exit(main())

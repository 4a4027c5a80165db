"""The generated sections of docs/benchmarks.md: linear fits, shares and verdicts."""

import pytest

from bench.pages import cluster_section, fit_line, speed_section

MACHINE = {"quick": True, "start": {"stock": 10.0, "ours": 5.0},
           "dags": {"airflow": 1.0, "ours": 1.5}}  # fmt: skip
SIZES = [100_000, 1_000_000]
PARTS = {"land gz": (10, 4), "look at the file": (0, 1), "land text": (10, 5), "summarise": (8, 20),
         "report": (1, 0), "night from text": (19, 26), "GoAccess": (0, 60), "DuckDB": (1, 2)}  # fmt: skip
LANDING = {"raw copy": (10, 2), "land text": (12, 5), "land Kafka": (11, 8)}
PRODUCER_RATES = {"bare kafka-python": 10_000, "bare librdkafka": 100_000, "row by row": 8_000,
                  "500 lines a message": 50_000, "two processes, 500 lines a message": 90_000}  # fmt: skip


@pytest.fixture
def page():
    return speed_section(MACHINE | {
        "sizes": SIZES,
        "rows": [
            {"what": name, "lines": lines, "seconds": fixed + per_million * lines / 1e6, "mib": 900}
            for lines in SIZES for name, (fixed, per_million) in PARTS.items()
        ],
        "landing": [
            {"what": name, "lines": lines, "seconds": fixed + per_million * lines / 1e6, "mib": 700}
            for lines in SIZES for name, (fixed, per_million) in LANDING.items()
        ],
        "producers": {name: {"lines": rate, "mib": 60} for name, rate in PRODUCER_RATES.items()},
        "night": {"lines": SIZES[0], "seconds": 50.0, "tasks": {"preflight": 1.0, "land": 20.0},
                  "steps": {"start of Spark": 3.0}, "idle_cpu": {"airflow": 0.25, "kafka": 0.01}},
    })  # fmt: skip


def test_seconds_are_fitted_as_a_fixed_part_and_a_part_per_million_lines():
    assert fit_line({100_000: 5.2, 1_000_000: 7.0, 5_000_000: 15.0}) == pytest.approx((5.0, 2.0))
    assert fit_line({2_000: 5.2}) is None


def test_each_step_shows_its_seconds_its_fit_and_its_memory(page):
    assert "| land text | 10.5 | 15.0 | 10.0 | 5.0 | 900 |" in page
    assert "| land Kafka | 11.8 | 19.0 | 11.0 | 8.0 | 700 |" in page
    assert "| between tasks (scheduler) | 29.0 | 58% |" in page
    assert "When idle, Airflow takes 25% of a core and the broker 1%" in page


@pytest.mark.parametrize(
    "line",
    [
        "| Start of a submit / plain submit: at most 0.55 | 0.50 | ✓ |",
        "| Landing from text, fixed s / raw copy: at most 1.3 | 1.20 | ✓ |",
        "| Landing from text, s per million lines / raw copy: at most 3.5 | 2.50 | ✓ |",
        "| Landing 1,000,000 lines from Kafka / from text: at most 1.3 | 1.12 | ✓ |",
        "| Daily run of 1,000,000 lines, speed / GoAccess: at least 2 | 1.33 | ✗ |",
        "| Daily run, s per million lines / GoAccess: at most 0.25 | 0.43 | ✗ |",
        "| Row by row / bare kafka-python loop: at least 0.9 | 0.80 | ✗ |",
        "| Two processes / one process: at least 1.6 | 1.80 | ✓ |",
        "| Import of all DAG files without Airflow, s: at most 1 | 1.50 | ✗ |",
    ],
)
def test_each_target_shows_its_measured_value_and_a_verdict(page, line):
    assert line in page


def test_the_speedup_of_two_workers_is_shown_with_and_without_fixed_time():
    rows = [
        {
            "lines": lines,
            "cores": cores,
            "land": 10 + lines / 100 / cores,
            "summarise": 20.0 + lines / cores,
        }
        for lines in (1000, 10_000)
        for cores in (1, 2)
    ]
    section = cluster_section(rows)
    assert "land: 1.83 times as fast on two cores with 10,000 lines; 2.00 times without" in section
    assert "| 10,000 | 2 | 60.0 | 5,020.0 |" in section

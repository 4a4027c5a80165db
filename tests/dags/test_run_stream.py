"""The form of run_stream: what fits becomes flags, what does not is refused by the job's sentence."""

import pytest

from include.run_stream import FormRefused, flags_of
from include.settings import load_settings

FORM = {"job": "clickstream_totals", "source": "kafka:clickstream", "sink": "console",
        "output_mode": "complete", "trigger": "available-now", "run_seconds": 60, "shape": "rows",
        "show": "parsed", "select": None}  # fmt: skip


@pytest.fixture
def settings(tmp_path):
    return load_settings({"TIDEMARK_HOME": str(tmp_path)})


def test_the_forms_defaults_are_flags_that_the_job_takes(settings, dag_bag):
    defaults = dag_bag.dags["run_stream"].params.dump()
    flags = flags_of(settings, defaults)
    given = dict(zip(flags[::2], flags[1::2], strict=True))
    assert given["--source"] == "kafka:clickstream"
    assert given["--trigger"] == "available-now"
    assert given["--shape"] == "rows"


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"output_mode": "append"}, "use complete or update"),
        ({"sink": "parquet:x"}, "does not serve 'parquet'; use console or memory:NAME"),
        ({"trigger": "continuous 1 second"}, "does not serve the continuous trigger"),
        ({"source": "rate:5"}, "does not serve 'rate'"),
        ({"source": "text:../../etc"}, "is not a file in"),
        ({"select": "SELECT 1"}, "asks a table in memory"),
        ({"job": "word_count", "source": "socket:localhost"}, "such as socket:localhost:9999"),
        ({"job": "route_errors", "sink": "kafka:clickstream", "output_mode": "update"}, "one topic"),
        ({"job": "route_errors", "sink": "kafka:e", "trigger": "real-time 5 seconds",
          "output_mode": "append"}, "the real-time trigger knows only update"),
    ],
)  # fmt: skip
def test_what_cannot_run_is_refused_by_the_jobs_own_sentence(settings, changed, says):
    with pytest.raises(FormRefused) as refused:
        flags_of(settings, FORM | changed)
    assert says in str(refused.value)


def test_the_stream_is_submitted_with_the_flags_of_the_plan(dag_bag):
    stream = dag_bag.dags["run_stream"].get_task("stream")
    assert stream.application.endswith("spark_jobs/{{ params.job }}.py")
    assert stream.upstream_task_ids == {"plan"}

"""The form of run_stream: what fits becomes flags, what does not is refused by the job's sentence."""

import pytest

from include.run_stream import FormRefused, flags_of
from include.settings import load_settings

FORM = {"job": "clickstream_totals", "source": "kafka:clickstream", "sink": "console",
        "output_mode": "complete", "trigger": "available-now", "run_seconds": 60,
        "starting": "earliest", "shape": "rows", "by": "minute", "watermark": "10 minutes",
        "show": "parsed", "select": None}  # fmt: skip


@pytest.fixture
def settings(tmp_path):
    return load_settings({"TIDEMARK_HOME": str(tmp_path)})


def test_the_forms_defaults_are_flags_that_the_job_takes(settings, dag_bag):
    defaults = dag_bag.dags["run_stream"].params.dump()
    flags = flags_of(settings, defaults, "a run")
    given = dict(zip(flags[::2], flags[1::2], strict=True))
    assert given["--source"] == "kafka:clickstream"
    assert given["--trigger"] == "available-now"
    assert given["--shape"] == "rows"


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"output_mode": "append"}, "use complete or update"),
        ({"sink": "parquet:x"}, "files can only be added to; use append"),
        ({"sink": "foreach:mine"}, "foreach:sqlite:FILE"),
        ({"sink": "foreach:http://example.org/"}, "posted to this machine only"),
        ({"sink": "foreach:http://169.254.169.254/"}, "posted to this machine only"),
        ({"sink": "foreach:sqlite:../x.db"}, "give a name without"),
        ({"sink": "parquet:../../x", "output_mode": "append"}, "give a name without"),
        ({"trigger": "continuous 1 second"}, "the continuous trigger keeps no totals"),
        ({"source": "rate:5"}, "nothing has come yet"),
        ({"source": "text:../../etc"}, "give a name without"),
        ({"starting": "soon"}, "--starting 'soon'"),
        ({"watermark": "10 years"}, "--watermark '10 years'"),
        ({"select": "SELECT 1"}, "asks a table in memory"),
        ({"job": "word_count", "source": "socket:localhost"}, "such as socket:localhost:9999"),
        ({"job": "route_errors", "sink": "kafka:clickstream", "output_mode": "update"}, "one topic"),
        ({"job": "route_errors", "sink": "kafka:e", "trigger": "real-time 5 seconds",
          "output_mode": "append"}, "the real-time trigger knows one output mode; use update"),
        ({"job": "land_access_log", "sink": "console"}, "does not serve 'console'"),
    ],
)  # fmt: skip
def test_what_cannot_run_is_refused_by_the_jobs_own_sentence(settings, changed, says):
    with pytest.raises(FormRefused) as refused:
        flags_of(settings, FORM | changed, "a run")
    assert says in str(refused.value)


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"sink": "memory:t"}, {"--sink": "memory:t"}),
        ({"job": "word_count", "source": "socket:localhost:9999", "trigger": "every 1 second"},
         {"--source": "socket:localhost:9999"}),
        ({"job": "watch_access_log", "output_mode": "append", "sink": "orc:seen"},
         {"--sink": "orc:{streams}/seen/data", "--show": "parsed"}),
        ({"sink": "foreach:sqlite:totals.db"}, {"--sink": "foreach:sqlite:{streams}/totals.db"}),
        ({"job": "land_clickstream", "output_mode": "append", "sink": "csv:clicks"},
         {"--sink": "csv:{streams}/clicks/data"}),
        ({"by": "window", "output_mode": "append", "sink": "json:windows"},
         {"--by": "window", "--sink": "json:{streams}/windows/data"}),
    ],
)  # fmt: skip
def test_what_fits_becomes_the_flags_of_the_job(settings, changed, expected):
    flags = flags_of(settings, FORM | changed, "a run")
    given = dict(zip(flags[::2], flags[1::2], strict=True))
    where = str(settings.lake / "streams")
    assert given.items() >= {k: v.format(streams=where) for k, v in expected.items()}.items()
    keeps = not given["--sink"].startswith(("memory", "console")) and "land_" not in str(changed)
    assert ("--checkpoint" in given) == keeps


def test_the_same_words_go_on_where_they_stopped_and_others_begin_anew(settings):
    def checkpoint(**changed):
        form = FORM | {"job": "route_errors", "sink": "kafka:e", "output_mode": "update"} | changed
        flags = flags_of(settings, form, "a run")
        return flags[flags.index("--checkpoint") + 1]

    assert checkpoint() == checkpoint(trigger="every 5 seconds", run_seconds=5)
    assert checkpoint() != checkpoint(trigger="real-time 5 seconds")
    assert checkpoint() != checkpoint(sink="kafka:other")


def test_the_stream_is_submitted_with_the_flags_of_the_plan(dag_bag):
    stream = dag_bag.dags["run_stream"].get_task("stream")
    assert stream.application.endswith("spark_jobs/{{ params.job }}.py")
    assert stream.upstream_task_ids == {"plan"}


@pytest.mark.parametrize(
    ("changed", "names"),
    [
        ({"job": "land_access_log", "source": "kafka:access-log", "sink": "parquet:x"},
         ["log_format", "anonymise", "drop_query_names", "time_zone", "future_hours"]),
        ({"job": "watch_access_log", "source": "kafka:access-log"},
         ["log_format", "anonymise", "drop_query_names", "time_zone"]),
        ({"job": "route_errors", "source": "kafka:access-log", "sink": "kafka:e"}, ["log_format"]),
        ({"job": "land_clickstream", "sink": "parquet:x"}, ["time_zone"]),
        ({"output_mode": "complete"}, []),
    ],
)  # fmt: skip
def test_the_sites_settings_about_lines_hold_for_streams_too(tmp_path, changed, names):
    """Its privacy above all: what is hidden each night must not be landed by a stream."""
    told = {"log_format": "%h|%{sec}t|%r|%>s|%b", "anonymise": "2", "drop_query_names": "token",
            "time_zone": "Europe/Paris", "future_hours": "3"}  # fmt: skip
    settings = load_settings({
        "TIDEMARK_HOME": str(tmp_path), "TIDEMARK_LOG_FORMAT": told["log_format"],
        "TIDEMARK_ANONYMISE_ADDRESSES": "2", "TIDEMARK_DROP_QUERY_NAMES": "token",
        "TIDEMARK_TIME_ZONE": "Europe/Paris", "TIDEMARK_FUTURE_HOURS": "3",
    })  # fmt: skip
    flags = flags_of(settings, FORM | {"output_mode": "append"} | changed, "a run")
    given = dict(zip(flags[::2], flags[1::2], strict=True))
    found = {name: given.get(f"--{name.replace('_', '-')}") for name in told}
    assert found == {name: told[name] if name in names else None for name in told}

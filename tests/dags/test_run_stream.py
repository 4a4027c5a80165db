"""The form of run_stream: valid values become flags of the job, others are refused with its message."""

import pytest

from include.orchestration.stream_form import InvalidForm, build_flags
from include.settings import load_settings
from spark_jobs.streaming.combinations import TRIGGERS

FORM = {"job": "clickstream_totals", "source": "kafka:clickstream", "sink": "console",
        "output_mode": "complete", "trigger": "available-now", "run_seconds": 60,
        "starting_offsets": "earliest", "shape": "rows", "by": "minute", "watermark": "10 minutes",
        "show": "parsed"}  # fmt: skip


def parse_flags(flags):
    """Return flag -> value. Each flag has the form --flag=value, so no value can be read as a flag."""
    return dict(flag.split("=", 1) for flag in flags)


SOCKET = {"job": "word_count", "source": "socket:localhost:9999", "trigger": "every 1 second"}


@pytest.fixture
def settings(tmp_path):
    return load_settings({"TIDEMARK_HOME": str(tmp_path)})


def test_the_default_form_becomes_flags_of_the_job(settings, dag_bag):
    defaults = dag_bag.dags["run_stream"].params.dump()
    flags = build_flags(settings, defaults, "a run")
    given = parse_flags(flags)
    assert given["--source"] == "kafka:clickstream"
    assert given["--trigger"] == "available-now"
    assert given["--shape"] == "rows"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"output_mode": "append"}, "use complete or update"),
        ({"sink": "parquet:x"}, "a file sink can only append; use append"),
        ({"sink": "foreach:mine"}, "foreach:sqlite:FILE"),
        ({"sink": "foreach:http://example.org/"}, "the host 'example.org' is not allowed"),
        ({"sink": "foreach:http://169.254.169.254/"}, "TIDEMARK_STREAM_HOSTS=localhost,127.0.0.0/8,::1"),
        ({"sink": "foreach:http://localhost@example.org/"}, "the host 'example.org' is not allowed"),
        ({"sink": "foreach:https://"}, "the host '' is not allowed"),
        (SOCKET | {"source": "socket:169.254.169.254:80"}, "the host '169.254.169.254' is not allowed"),
        (SOCKET | {"source": "socket:example.org:80"}, "TIDEMARK_STREAM_HOSTS=localhost"),
        (SOCKET | {"source": "socket:2130706433:80"}, "is not allowed"),
        (SOCKET | {"source": "socket:localhost.:80"}, "is not allowed"),
        (SOCKET | {"source": "socket::80"}, "such as socket:localhost:9999"),
        ({"source": "kafka:x y"}, "a topic name may contain letters, digits, '.', '_' and '-'"),
        ({"source": "kafka:x\n"}, "a topic name may contain letters"),
        ({"sink": "kafka:x,y"}, "a topic name may contain letters"),
        ({"source": "--check"}, "source '--check' is not understood"),
        ({"trigger": "--check"}, "trigger '--check' is unknown"),
        ({"trigger": "-x"}, "trigger '-x' is unknown"),
        ({"starting_offsets": "--check"}, "--starting-offsets '--check'"),
        ({"watermark": "--check"}, "--watermark '--check'"),
        ({"sink": "foreach:sqlite:../x.db"}, "give a name without"),
        ({"sink": "parquet:../../x", "output_mode": "append"}, "give a name without"),
        ({"trigger": "continuous 1 second"}, "the continuous trigger does not support totals"),
        ({"source": "rate:5"}, "the source has no rows yet"),
        ({"source": "text:../../etc"}, "give a name without"),
        ({"starting_offsets": "soon"}, "--starting-offsets 'soon'"),
        ({"watermark": "10 years"}, "--watermark '10 years'"),
        ({"job": "word_count", "source": "socket:localhost"}, "such as socket:localhost:9999"),
        ({"job": "route_errors", "sink": "kafka:clickstream", "output_mode": "update"}, "one topic"),
        ({"job": "route_errors", "sink": "kafka:e", "trigger": "real-time 5 seconds",
          "output_mode": "append"}, "the real-time trigger supports only one output mode; use update"),
        ({"job": "land_access_log", "sink": "console"}, "does not support 'console'"),
    ],
)  # fmt: skip
def test_an_invalid_form_is_refused_with_the_message_of_the_job(settings, changes, message):
    with pytest.raises(InvalidForm) as error:
        build_flags(settings, FORM | changes, "a run")
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"sink": "memory:t"}, {"--sink": "memory:t"}),
        (SOCKET, {"--source": "socket:localhost:9999"}),
        (SOCKET | {"source": "socket:127.0.0.53:9999"}, {"--source": "socket:127.0.0.53:9999"}),
        (SOCKET | {"source": "socket:::1:9999"}, {"--source": "socket:::1:9999"}),
        ({"sink": "foreach:http://LOCALHOST:80/x"}, {"--sink": "foreach:http://LOCALHOST:80/x"}),
        ({"sink": "foreach:http://[::1]:80/x"}, {"--sink": "foreach:http://[::1]:80/x"}),
        ({"job": "watch_access_log", "output_mode": "append", "sink": "orc:seen"},
         {"--sink": "orc:{streams}/seen/data", "--show": "parsed"}),
        ({"sink": "foreach:sqlite:totals.db"}, {"--sink": "foreach:sqlite:{streams}/totals.db"}),
        ({"job": "land_clickstream", "output_mode": "append", "sink": "csv:clicks"},
         {"--sink": "csv:{streams}/clicks/data"}),
        ({"by": "window", "output_mode": "append", "sink": "json:windows"},
         {"--by": "window", "--sink": "json:{streams}/windows/data"}),
    ],
)  # fmt: skip
def test_a_valid_form_becomes_flags_of_the_job(settings, changes, expected):
    flags = build_flags(settings, FORM | changes, "a run")
    given = parse_flags(flags)
    streams = str(settings.lake / "streams")
    assert given.items() >= {k: v.format(streams=streams) for k, v in expected.items()}.items()
    has_checkpoint = not given["--sink"].startswith(("memory", "console")) and "land_" not in str(
        changes
    )
    assert ("--checkpoint" in given) == has_checkpoint


@pytest.mark.parametrize(
    ("host", "is_allowed"),
    [("lines.example.org", True), ("LINES.example.org", True), ("10.1.2.3", True), ("fd00::5", True),
     ("localhost", False), ("127.0.0.1", False), ("10.2.0.1", False), ("fd00:1::5", False),
     ("example.org", False), ("x.lines.example.org", False)],
)  # fmt: skip
def test_one_setting_lists_the_hosts_that_streams_may_read_and_post_to(tmp_path, host, is_allowed):
    settings = load_settings({
        "TIDEMARK_HOME": str(tmp_path),
        "TIDEMARK_STREAM_HOSTS": "lines.example.org,10.1.0.0/16,fd00::/64",
    })  # fmt: skip
    url_host = f"[{host}]" if ":" in host else host
    for changes in (
        SOCKET | {"source": f"socket:{host}:9999"}, {"sink": f"foreach:http://{url_host}:9999/rows"},
    ):  # fmt: skip
        if is_allowed:
            assert build_flags(settings, FORM | changes, "a run")
        else:
            with pytest.raises(InvalidForm, match="add it to that setting"):
                build_flags(settings, FORM | changes, "a run")


def test_the_form_has_no_sql_parameter(dag_bag):
    """The run shows all rows of a memory sink; `--select` exists on the command line only."""
    params = dag_bag.dags["run_stream"].params.dump()
    assert set(params) == set(FORM)


ACCEPTED = {
    "source": ["kafka:access-log", "socket:localhost:9999", "rate:5", "text:ready/access_log"],
    "sink": ["console", "memory:t", "foreach:sqlite:x.db", "foreach:http://localhost:9/x"],
    "trigger": [*TRIGGERS.values(), "every 1 minute", "every 500 milliseconds"],
    "starting_offsets": [
        "earliest",
        "2026-01-15T00:00:00Z",
        "2026-01-15T00:00:00+01:00",
        "0:100,1:250",
    ],
    "watermark": ["10 minutes", "1 day"],
}
REFUSED = ["", "-x", "--check", "-", "kafka:x y", "kafka:x;y", "every 0 seconds", "every 5 weeks",
           "once 5 seconds", "1 year"]  # fmt: skip


def accepts(dag, name, value):
    from airflow.sdk.exceptions import ParamValidationError

    try:
        dag.params.get_param(name).resolve(value)
    except ParamValidationError:
        return False
    return True


@pytest.mark.parametrize("name", ACCEPTED)
def test_the_form_accepts_valid_values_and_nothing_like_a_flag(dag_bag, name):
    dag = dag_bag.dags["run_stream"]
    assert [text for text in ACCEPTED[name] if not accepts(dag, name, text)] == []
    assert [text for text in REFUSED if accepts(dag, name, text)] == []


def test_no_form_accepts_a_newline_after_a_valid_value(dag_bag):
    """In Python, `$` also matches before a newline at the end."""
    accepted = ACCEPTED | {"file": ["a.log"], "start": ["now"], "only_path": ["/a*"], "only_host": ["*"],
                           "only_status": ["404", "5xx"]}  # fmt: skip
    checked = set()
    for dag in dag_bag.dags.values():
        for name in dag.params:
            if "pattern" in dag.params.get_param(name).schema:
                checked.add(name)
                for text in accepted[name]:
                    assert accepts(dag, name, text), (dag.dag_id, name, text)
                    assert not accepts(dag, name, f"{text}\n"), (dag.dag_id, name, text)
    assert checked == set(accepted)


def test_the_same_form_resumes_its_checkpoint_and_another_one_starts_anew(settings):
    def get_checkpoint(**changes):
        form = FORM | {"job": "route_errors", "sink": "kafka:e", "output_mode": "update"} | changes
        flags = build_flags(settings, form, "a run")
        return parse_flags(flags)["--checkpoint"]

    assert get_checkpoint() == get_checkpoint(trigger="every 5 seconds", run_seconds=5)
    assert get_checkpoint() != get_checkpoint(trigger="real-time 5 seconds")
    assert get_checkpoint() != get_checkpoint(sink="kafka:other")


def test_the_stream_task_submits_the_job_of_the_form_after_the_plan(dag_bag):
    stream = dag_bag.dags["run_stream"].get_task("stream")
    assert stream.application.endswith("spark_jobs/{{ params.job }}.py")
    assert stream.upstream_task_ids == {"plan"}


@pytest.mark.parametrize(
    ("changes", "names"),
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
def test_streams_use_the_sites_parsing_settings(tmp_path, changes, names):
    """Privacy first: a stream must not land what the daily run anonymises or drops."""
    values = {"log_format": "%h|%{sec}t|%r|%>s|%b", "anonymise": "2", "drop_query_names": "token",
              "time_zone": "Europe/Paris", "future_hours": "3"}  # fmt: skip
    settings = load_settings({
        "TIDEMARK_HOME": str(tmp_path), "TIDEMARK_LOG_FORMAT": values["log_format"],
        "TIDEMARK_ANONYMISE_ADDRESSES": "2", "TIDEMARK_DROP_QUERY_NAMES": "token",
        "TIDEMARK_TIME_ZONE": "Europe/Paris", "TIDEMARK_FUTURE_HOURS": "3",
    })  # fmt: skip
    flags = build_flags(settings, FORM | {"output_mode": "append"} | changes, "a run")
    given = parse_flags(flags)
    given_values = {name: given.get(f"--{name.replace('_', '-')}") for name in values}
    assert given_values == {name: values[name] if name in names else None for name in values}

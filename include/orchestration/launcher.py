"""The command `./tidemark`: run a job, a producer, the line server or the topics tool.

The program runs in this process, so it gets Ctrl-C and the keyboard, and its exit code is the command's.
"""

import ast
import os
import runpy
import shlex
import signal
import sys
from itertools import pairwise, zip_longest
from pathlib import Path

from include.errors import SetupError
from include.orchestration.jars import find_pyspark_home, has_s3_landing
from include.orchestration.java import find_java_home
from include.orchestration.package import package_jobs
from include.orchestration.spark_conf import (
    CONNECTOR_JARS,
    build_kafka_flags,
    build_line_flags,
    build_spark_conf,
    format_flags,
)
from include.settings import PROJECT, Settings, load_settings, restrict_new_files

MODULES = {
    "produce clickstream": "producers.clickstream",
    "produce access_log": "producers.access_log",
    "serve-lines": "producers.line_server",
    "topics": "producers.topics",
}
USAGE = """\
tidemark run JOB …               run a Spark job; `run JOB --help` lists its flags
    --print-command              print the spark-submit command instead
    --verbose                    also show Spark's own log
tidemark produce clickstream …   send click events to Kafka
tidemark produce access_log …    send lines of an access log to Kafka
tidemark serve-lines FILE …      serve the lines of a file, or what you type, to a socket source
tidemark topics [NAME …]         create Kafka topics; without names, those of all datasets

Jobs:
"""


class UsageError(ValueError):
    """The command line does not name a known command or job."""


def main(argv: list[str]) -> None:
    """Run the command in `argv`.

    Raises:
        UsageError: The command or job is unknown.
        SetupError: Java or a jar is missing.
        ValueError: A setting is invalid.
    """
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C ends at once and without a traceback
    restrict_new_files()
    if not argv or argv[0] in ("help", "-h", "--help"):
        print(format_usage())  # noqa: T201
        return
    if argv[0] == "run":
        _run_job(argv[1:])
        return
    for command, module in MODULES.items():
        words = command.split()
        if argv[: len(words)] == words:
            sys.argv[1:] = argv[len(words) :]
            signal.signal(signal.SIGINT, signal.default_int_handler)
            runpy.run_module(module, run_name="__main__", alter_sys=True)
            return
    raise UsageError(f"the command {' '.join(argv[:2])!r} is unknown; use one of these")


def format_usage() -> str:
    """Return the help text: all commands, and all jobs with their descriptions."""
    return USAGE + "\n".join(f"    {name:22} {text}" for name, text in list_jobs().items())


def list_jobs() -> dict[str, str]:
    """Return job name -> the first line of its module docstring."""
    files = sorted((PROJECT / "spark_jobs").glob("[a-z]*.py"))
    docstrings = {file.stem: ast.get_docstring(ast.parse(file.read_text())) or "" for file in files}
    return {name: text.partition("\n")[0] for name, text in docstrings.items()}


def _run_job(argv: list[str]) -> None:
    own_flags = {flag for flag in ("--print-command", "--verbose") if flag in argv}
    job, *flags = [word for word in argv if word not in own_flags] or [""]
    if job not in list_jobs():
        raise UsageError(
            f"job {job!r} is unknown; use one of the jobs below"
            if job
            else "run needs the name of a job; use one of the jobs below"
        )
    application = str(PROJECT / "spark_jobs" / f"{job}.py")
    if {"-h", "--help"} & {*flags}:
        _run_application(application, flags)
        return
    settings = load_settings()
    os.environ["JAVA_HOME"] = str(find_java_home())
    env = {
        "JAVA_HOME": os.environ["JAVA_HOME"],
        "SPARK_HOME": str(find_pyspark_home()),
        "PYSPARK_PYTHON": sys.executable,
    }
    if settings.spark_master.startswith("local"):
        env["SPARK_LOCAL_IP"] = "127.0.0.1"
    if has_s3_landing(settings):
        env["SPARK_DIST_CLASSPATH"] = f"{settings.s3_jars}/s3/*"
    flags = add_settings_flags(settings, job, flags)
    submit = _build_submit_flags(
        settings, _has_kafka_endpoint(flags), "info" if "--verbose" in own_flags else "off"
    )
    if "--print-command" in own_flags:
        command = [
            str(Path(sys.executable).with_name("spark-submit")),
            *submit,
            application,
            *flags,
        ]
        print(_format_command(env, command))  # noqa: T201
        return
    # Python starts the JVM, not the other way round: invalid flags are refused before a JVM starts,
    # standard output and error stay separate, and Ctrl-C reaches only Python.
    env["PYSPARK_SUBMIT_ARGS"] = shlex.join([*submit, "pyspark-shell"])
    os.environ |= env
    _run_application(application, flags)


def add_settings_flags(settings: Settings, job: str, flags: list[str]) -> list[str]:
    """Return `flags` with those that follow from the settings: parsing of lines, Kafka servers and login.

    A flag in `flags` takes precedence over the settings.
    """
    # A setting at its default adds no flag: the job has the same default.
    default = build_line_flags(Settings(home=settings.home), job)
    values = {
        name: value
        for name, value in build_line_flags(settings, job).items()
        if value != default[name]
    }
    if _has_kafka_endpoint(flags):
        values |= build_kafka_flags(settings)
    return flags + [
        flag for flag in format_flags(values) if not _has_flag(flags, flag.partition("=")[0])
    ]


def _has_kafka_endpoint(flags: list[str]) -> bool:
    return any(_get_flag_value(flags, name).startswith("kafka:") for name in ("source", "sink"))


def _build_submit_flags(settings: Settings, has_kafka: bool, log_level: str) -> list[str]:
    flags = [f"--master={settings.spark_master}", f"--driver-memory={settings.driver_memory}"]
    for name, value in build_spark_conf(settings, log_level=log_level).items():
        flags += ["--conf", f"{name}={value}"]
    if settings.spark_conf_dir:
        flags.append(f"--properties-file={settings.spark_conf_dir}/spark-defaults.conf")
    if has_kafka:
        jars = [settings.jars / name for name in CONNECTOR_JARS]
        if missing := [jar.name for jar in jars if not jar.is_file()]:
            raise SetupError(
                f"{settings.jars}: missing jars {', '.join(missing)}; run `make setup`"
            )
        flags.append(f"--jars={','.join(map(str, jars))}")
    return [*flags, f"--py-files={package_jobs(settings.job_zip)}"]


def _has_flag(flags: list[str], flag: str) -> bool:
    return any(word == flag or word.startswith(f"{flag}=") for word in flags)


def _get_flag_value(flags: list[str], name: str) -> str:
    """Return the value of `--name value` or `--name=value`; "" without the flag."""
    for word, next_word in zip_longest(flags, flags[1:], fillvalue=""):
        if word == f"--{name}":
            return next_word
        if word.startswith(f"--{name}="):
            return word.partition("=")[2]
    return ""


def _format_command(env: dict[str, str], command: list[str]) -> str:
    """Format a command for a shell: variables and program, then one flag per line."""
    words = [f"{name}={shlex.quote(value)}" for name, value in env.items()]
    words += [shlex.quote(word) for word in command]
    text = words[0]
    for before, word in pairwise(words):
        is_value = before.startswith("--") and "=" not in before
        text += (" " if is_value else " \\\n    ") + word
    return text


def _run_application(application: str, flags: list[str]) -> None:
    """Run a job as the main program. The job installs its own Ctrl-C handler once it can end gracefully."""
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    sys.argv = [application, *flags]
    runpy.run_path(application, run_name="__main__")


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except UsageError as error:
        print(f"tidemark: {error}\n\n{format_usage()}", file=sys.stderr)  # noqa: T201
        sys.exit(2)
    except SetupError as error:
        print(f"tidemark: {error}", file=sys.stderr)  # noqa: T201
        sys.exit(1)
    except ValueError as error:
        print(f"tidemark: {error}", file=sys.stderr)  # noqa: T201
        sys.exit(2)

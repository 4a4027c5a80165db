"""The command `./tidemark`: runs a job, a producer or the line server with all that it needs.

The program runs in this process, so Ctrl-C, exit codes and the keyboard are its own.
"""

import ast
import os
import runpy
import shlex
import signal
import sys
from itertools import pairwise, zip_longest
from pathlib import Path

from include.local_stack.jars import needs_s3, pyspark_home
from include.local_stack.java import java_home
from include.local_stack.processes import StackError
from include.package import package_jobs
from include.settings import PROJECT, Settings, load_settings, restrict_new_files
from include.spark_conf import CONNECTOR_JARS, flags, kafka_flags, line_flags, spark_conf

MODULES = {
    "produce clickstream": "producers.clickstream", "produce access_log": "producers.access_log",
    "serve-lines": "producers.lines", "topics": "producers.topics",
}  # fmt: skip
USAGE = """\
tidemark run JOB …               run a Spark job; --help behind it lists its flags
    --print-command              print the spark-submit command instead
    --verbose                    with Spark's own log
tidemark produce clickstream …   send click events to Kafka
tidemark produce access_log …    send lines of an access log to Kafka
tidemark serve-lines FILE …      serve the lines of a file, or what you type, to a socket source
tidemark topics NAME …           make Kafka topics

Jobs:
"""


class UsageError(ValueError):
    """Words that name nothing that could run."""


def main(words: list[str]) -> None:
    """Run what `words` name. Raises UsageError, StackError, ValueError."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # at once and without a traceback
    restrict_new_files()
    if not words or words[0] in ("help", "-h", "--help"):
        print(usage())  # noqa: T201
        return
    if words[0] == "run":
        _run_job(words[1:])
        return
    for command, module in MODULES.items():
        first = command.split()
        if words[: len(first)] == first:
            sys.argv[1:] = words[len(first) :]
            signal.signal(signal.SIGINT, signal.default_int_handler)
            runpy.run_module(module, run_name="__main__", alter_sys=True)
            return
    raise UsageError(f"{' '.join(words[:2])!r} is unknown")


def usage() -> str:
    """The commands, and each job with the first line of its header."""
    return USAGE + "\n".join(f"    {name:22} {says}" for name, says in jobs().items())


def jobs() -> dict[str, str]:
    """Job -> the first line of its header."""
    files = sorted((PROJECT / "spark_jobs").glob("[a-z]*.py"))
    headers = {file.stem: ast.get_docstring(ast.parse(file.read_text())) or "" for file in files}
    return {name: header.partition("\n")[0] for name, header in headers.items()}


def _run_job(words: list[str]) -> None:
    own = {word for word in ("--print-command", "--verbose") if word in words}
    job, *flags = [word for word in words if word not in own] or [""]
    if job not in jobs():
        raise UsageError(f"job {job!r} is unknown" if job else "run needs the name of a job")
    application = str(PROJECT / "spark_jobs" / f"{job}.py")
    if {"-h", "--help"} & {*flags}:
        _become(application, flags)
        return
    settings = load_settings()
    os.environ["JAVA_HOME"] = str(java_home())
    env = {
        "JAVA_HOME": os.environ["JAVA_HOME"], "SPARK_HOME": str(pyspark_home()),
        "PYSPARK_PYTHON": sys.executable,
    }  # fmt: skip
    if settings.spark_master.startswith("local"):
        env["SPARK_LOCAL_IP"] = "127.0.0.1"
    if needs_s3(settings):
        env["SPARK_DIST_CLASSPATH"] = f"{settings.s3_jars}/s3/*"
    flags = with_settings(settings, job, flags)
    submit = _submit_flags(settings, _needs_kafka(flags), "info" if "--verbose" in own else "off")
    if "--print-command" in own:
        command = [
            str(Path(sys.executable).with_name("spark-submit")),
            *submit,
            application,
            *flags,
        ]
        print(_as_lines(env, command))  # noqa: T201
        return
    # Python starts the JVM, not the other way round: flags are refused without waiting for a JVM,
    # standard output and error stay two, and Ctrl-C reaches Python alone.
    env["PYSPARK_SUBMIT_ARGS"] = shlex.join([*submit, "pyspark-shell"])
    os.environ |= env
    _become(application, flags)


def with_settings(settings: Settings, job: str, given: list[str]) -> list[str]:
    """The flags that were given, and those of the settings: how lines are read, and where Kafka is."""
    # A setting at its default adds no flag: it is the job's default, too.
    default = line_flags(Settings(home=settings.home), job)
    values = {
        name: value for name, value in line_flags(settings, job).items() if value != default[name]
    }
    if _needs_kafka(given):
        values |= kafka_flags(settings)
    return given + [flag for flag in flags(values) if not _has(given, flag.partition("=")[0])]


def _needs_kafka(flags: list[str]) -> bool:
    return any(_value(flags, name).startswith("kafka:") for name in ("source", "sink"))


def _submit_flags(settings: Settings, needs_kafka: bool, log_level: str) -> list[str]:
    flags = [f"--master={settings.spark_master}", f"--driver-memory={settings.driver_memory}"]
    for name, value in spark_conf(settings, log_level=log_level).items():
        flags += ["--conf", f"{name}={value}"]
    if settings.spark_conf_dir:
        flags.append(f"--properties-file={settings.spark_conf_dir}/spark-defaults.conf")
    if needs_kafka:
        jars = [settings.jars / name for name in CONNECTOR_JARS]
        if missing := [jar.name for jar in jars if not jar.is_file()]:
            raise StackError(f"{settings.jars}: {', '.join(missing)} missing; run `make setup`")
        flags.append(f"--jars={','.join(map(str, jars))}")
    return [*flags, f"--py-files={package_jobs(settings.job_zip)}"]


def _has(flags: list[str], flag: str) -> bool:
    return any(word == flag or word.startswith(f"{flag}=") for word in flags)


def _value(flags: list[str], name: str) -> str:
    """The value of `--name value` or `--name=value`."""
    for word, after in zip_longest(flags, flags[1:], fillvalue=""):
        if word == f"--{name}":
            return after
        if word.startswith(f"--{name}="):
            return word.partition("=")[2]
    return ""


def _as_lines(env: dict[str, str], command: list[str]) -> str:
    """A command for a shell: variables, program, then a flag a line."""
    words = [f"{name}={shlex.quote(value)}" for name, value in env.items()]
    words += [shlex.quote(word) for word in command]
    text = words[0]
    for before, word in pairwise(words):
        is_value = before.startswith("--") and "=" not in before
        text += (" " if is_value else " \\\n    ") + word
    return text


def _become(application: str, flags: list[str]) -> None:
    """Run a job as its own program; it asks for Ctrl-C when it can end cleanly."""
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    sys.argv = [application, *flags]
    runpy.run_path(application, run_name="__main__")


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except UsageError as wrong:
        print(f"tidemark: {wrong}\n\n{usage()}", file=sys.stderr)  # noqa: T201
        sys.exit(2)
    except StackError as missing:
        print(f"tidemark: {missing}", file=sys.stderr)  # noqa: T201
        sys.exit(1)
    except ValueError as wrong:
        print(f"tidemark: {wrong}", file=sys.stderr)  # noqa: T201
        sys.exit(2)

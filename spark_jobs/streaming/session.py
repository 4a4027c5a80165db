"""Start and end a Spark job: one session, one exit code, and an error message of one sentence."""

import errno
import logging
import os
import re
import signal
import sys
import threading
import warnings
from collections.abc import Callable

from py4j.protocol import Py4JError, Py4JJavaError
from pyspark import SparkConf, SparkContext
from pyspark.errors import PySparkException, StreamingQueryException
from pyspark.java_gateway import launch_gateway
from pyspark.sql import SparkSession

from include.errors import InvalidInput, RetryLater
from spark_jobs.streaming.topics import LOGIN_REMEDY, join_causes
from spark_jobs.streaming.type_mismatches import AllEventsBad

# Settings that must be the same wherever a job runs. The others (jars, memory, compiler) are given to
# spark-submit by include/orchestration/spark_submit.py.
SETTINGS = {
    "spark.sql.session.timeZone": "UTC",
    # A log may hold a date before the Gregorian calendar: write it unchanged instead of failing.
    "spark.sql.parquet.datetimeRebaseModeInWrite": "CORRECTED",
    "spark.sql.parquet.int96RebaseModeInWrite": "CORRECTED",
    # Options whose values plans and logs do not show: Spark's own list, and those of Kafka's logins.
    "spark.sql.redaction.options.regex": "(?i)url|secret|password|jaas|keystore|truststore",
    "spark.sql.runSQLOnFiles": "false",  # SQL reads only tables, not files such as text.`/etc/passwd`
}
# Settings that spark-submit can override.
DEFAULTS = {
    # Spark's own default is 200 tasks for every total, which delays a small stream by seconds.
    "spark.sql.shuffle.partitions": "4",
    # A Python worker reads lines in batches of this size. Without a bound in bytes, ten thousand lines of a
    # megabyte would be one batch.
    "spark.sql.execution.arrow.maxRecordsPerBatch": "20000",
    "spark.sql.execution.arrow.maxBytesPerBatch": "16m",
    # Spark starts a worker for each core.
    "spark.executorEnv.POLARS_MAX_THREADS": "1",
    # Lower-case letters by Java's rules. ICU's rules differ only for title case, and load slowly.
    "spark.sql.icu.caseMappings.enabled": "false",
    # For its error messages PySpark records the line of Python of every call, in Python and in the
    # JVM. That is half of the time in which a job builds its query: seconds of each job's start.
    "spark.python.sql.dataFrameDebugging.enabled": "false",
    # Spark's own writer of checkpoint files starts a process (chmod) for each file on a local disk,
    # which takes 60 ms. It also detects a second writer; our lock on the folder does that.
    "spark.sql.streaming.checkpointFileManagerClass": "org.apache.spark.sql.execution.streaming."
    "checkpointing.FileSystemBasedCheckpointFileManager",
}
DATA_LOSS_REMEDY = (
    "Kafka no longer has the messages that the checkpoint expects: their retention has passed, or the "
    "topic was created again; to start anew, move the checkpoint away, for a landing with its data"
)
NO_SPACE = "No space left on device"
INTERRUPTED = "interrupted; the position is in the checkpoint, run it again to continue"
# Text in an error of Spark -> what you can do about it.
REMEDIES = {
    "UnknownTopicOrPartitionException": "the topic does not exist; `make up` creates the project's "
    "topics, `./tidemark topics` creates others",
    "offsets out of range": DATA_LOSS_REMEDY,
    "failOnDataLoss": DATA_LOSS_REMEDY,
    "CONCURRENT_STREAM_LOG_UPDATE": "another query writes with this checkpoint; wait for it to end",
    "must specify all TopicPartitions": "--starting-offsets needs an offset for each partition",
    "TopicAuthorizationException": LOGIN_REMEDY,
    "SaslAuthenticationException": LOGIN_REMEDY,
    "SslAuthenticationException": LOGIN_REMEDY,
    "not present in metadata": "the topic does not exist, and the broker does not create topics by "
    "itself; create it with `./tidemark topics`",
    "PYTHON_VERSION_MISMATCH": "install the driver's Python version on the workers, with the packages of "
    "requirements.lock (docs/cluster.md)",
    "JAVA_GATEWAY_EXITED": "Java did not start; `make doctor` shows what is missing",
    "foreach:http": "start the server at that address, or correct the address",
    "Connection refused": "no line server listens there; start `./tidemark serve-lines --port PORT` "
    "in another terminal",
    "FAILED_READ_FILE": "the file is damaged (a cut-off gzip?); move it away and run again",
    NO_SPACE: "the disk is full; free some space and run again, nothing is lost",
}
# Spark's prefix of a query's error: two ids that do not help you.
QUERY_PREFIX = re.compile(
    r"\[STREAM_FAILED\] Query \[id = [0-9a-f-]+, runId = [0-9a-f-]+\] terminated with exception: "
)


def start_session(name: str) -> SparkSession:
    """Start the job's session, with the settings that every job needs."""
    _ensure_jvm()
    builder = SparkSession.builder.appName(name)
    submitted = SparkConf()  # the settings of spark-submit
    for key, value in DEFAULTS.items():
        if not submitted.contains(key):
            builder = builder.config(key, value)
    for key, value in SETTINGS.items():
        builder = builder.config(key, value)
    spark = builder.getOrCreate()
    if not spark._jvm.java.lang.System.getProperty("log4j2.configurationFile"):  # type: ignore[union-attr]
        spark.sparkContext.setLogLevel("WARN")
    return spark


def _ensure_jvm() -> None:
    """Start the JVM, unless spark-submit or an earlier job of this process has started it.

    Its standard error is forwarded, except for the warning that Java prints whenever Spark's vector
    module is loaded, which no option turns off. Ctrl-C takes effect when the JVM has started: a JVM
    that is abandoned while it starts never ends.
    """
    if SparkContext._gateway is not None or "PYSPARK_GATEWAY_PORT" in os.environ:
        return
    interrupts: list[int] = []
    previous = signal.signal(signal.SIGINT, lambda number, _: interrupts.append(number))
    reading, writing = os.pipe()
    threading.Thread(target=_forward_stderr, args=(reading,), daemon=True).start()
    gateway = launch_gateway(popen_kwargs={"stderr": writing})  # type: ignore[no-untyped-call]
    os.close(writing)
    SparkContext._ensure_initialized(gateway=gateway)
    signal.signal(signal.SIGINT, previous)
    if interrupts:
        raise KeyboardInterrupt


def _forward_stderr(pipe: int) -> None:
    with open(pipe, "rb") as stderr:
        for line in stderr:
            if not line.startswith(b"WARNING: Using incubator modules:"):
                os.write(2, line)


class PandasBlocker:
    """Import hook that hides pandas from the process of a job.

    PySpark checks for pandas at the first literal, and thereby loads it. That takes a second of each
    job's start, and no job here uses pandas.
    """

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        if name == "pandas":
            raise ModuleNotFoundError("pandas is hidden from Spark jobs", name=name)


def run_job(name: str, main: Callable[[], None]) -> None:
    """Run `main`, print what went wrong in a sentence, and exit with the code of `run_main`."""
    os.umask(0o077)
    sys.meta_path.insert(0, PandasBlocker())
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # Hides what Py4J and PySpark print for a Ctrl-C while they wait for the JVM: a traceback, and
    # the warning below.
    logging.getLogger().setLevel(logging.CRITICAL)
    warnings.filterwarnings("ignore", "Unable to cleanly shutdown Spark", RuntimeWarning)
    code, message = run_main(name, main)
    if message:
        print(message, file=sys.stderr, flush=True)  # noqa: T201
    elif session := SparkSession.getActiveSession():
        session.stop()
    sys.exit(code)


def run_main(name: str, main: Callable[[], None]) -> tuple[int, str]:
    """Run `main`, and return the exit code and a message without a traceback.

    Args:
        name: Name of the job, which begins the message.
        main: The job.

    Returns:
        The exit code: 0 done, 1 failed, 2 refused, 75 retry later, 130 or 143 ended by a signal.
        2 is final: the same flags would be refused again. 75 is EX_TEMPFAIL of sysexits.h.
        The message: "" if there is nothing to print.
    """
    try:
        main()
    except InvalidInput as error:
        return 2, f"{name}: {error}"
    except RetryLater as error:
        return os.EX_TEMPFAIL, f"{name}: {error}"
    except (StreamingQueryException, PySparkException) as error:
        return 1, f"{name}: {explain_error(error)}"
    except AllEventsBad as error:
        return 1, f"{name}: {error}"
    except ConnectionAbortedError as error:  # the server of a socket source closed the connection
        return 1, f"{name}: {error}"
    except (Py4JError, ConnectionError) as error:
        # A Ctrl-C in the middle of a command to the JVM leaves a broken command behind.
        if _is_interrupted(error):
            print(f"{name}: {INTERRUPTED}", file=sys.stderr, flush=True)  # noqa: T201
            os._exit(130)
        if isinstance(error, Py4JJavaError):  # the JVM runs, and something in it has failed
            return 1, f"{name}: {explain_error(error)}"
        # Spark's JVM was killed and takes no more commands. Exit at once: Python threads that wait
        # for it would keep the landing's lock, and the next run could not start.
        message = "the JVM has stopped; run it again to continue"
        print(f"{name}: {message}", file=sys.stderr, flush=True)  # noqa: T201
        os._exit(1)
    except OSError as error:
        remedy = f"\n  {REMEDIES[NO_SPACE]}" if error.errno == errno.ENOSPC else ""
        return 1, f"{name}: {error}{remedy}"
    except KeyboardInterrupt:
        return 130, f"{name}: {INTERRUPTED}"
    except SystemExit as error:  # ended by a signal, or argparse has printed what is wrong
        return int(error.code or 0), ""
    return 0, ""


def _is_interrupted(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, KeyboardInterrupt):
            return True
        error = error.__context__
    return False


def explain_error(error: Exception) -> str:
    """Return the deepest reason that Spark gives, and on a second line the remedy if there is one."""
    text = str(error)
    remedy = next((remedy for part, remedy in REMEDIES.items() if part in text), "")
    reason = text
    if isinstance(error, PySparkException):
        reason = _extract_error_reason(error.getCondition() or "", text)
    elif isinstance(error, Py4JJavaError):
        reason = join_causes(error)[:1000]
    return f"{reason}\n  {remedy}" if remedy else reason


def _extract_error_reason(error_condition: str, message: str) -> str:
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    if (
        "PYTHON_EXCEPTION" in message
    ):  # raised by our code in a Python worker: its message is the reason
        messages = [
            match[1] for line in lines if (match := re.match(r"\w+(?:Error|Exception): (.*)", line))
        ]
        if messages:
            return messages[-1][:1000]
    causes = [line for line in lines if line.startswith("Caused by:")]
    first = next((line for line in lines if not line.startswith("===")), error_condition)
    return " ".join([QUERY_PREFIX.sub("", first), *causes[-1:]])[:1000]

"""Start and end a Spark job: one session, one exit code, one last line that says what happened."""

import logging
import os
import re
import signal
import sys
import threading
import warnings
from collections.abc import Callable

from py4j.protocol import Py4JError
from pyspark import SparkConf, SparkContext
from pyspark.errors import PySparkException, StreamingQueryException
from pyspark.java_gateway import launch_gateway
from pyspark.sql import SparkSession

from spark_jobs.runtime.losses import NO_RIGHT
from spark_jobs.runtime.misfits import NothingGood
from spark_jobs.runtime.words import NotNow, Refused

# What must be the same wherever a job runs. The rest (jars, memory, compiler) is given to
# spark-submit by include/spark_submit.py.
SETTINGS = {
    "spark.sql.session.timeZone": "UTC",
    # A log may show a day before the Gregorian calendar: write it as it is, never stop at it.
    "spark.sql.parquet.datetimeRebaseModeInWrite": "CORRECTED",
    "spark.sql.parquet.int96RebaseModeInWrite": "CORRECTED",
    # What plans and logs do not show of options: Spark's own words, and those of Kafka's logins.
    "spark.sql.redaction.options.regex": "(?i)url|secret|password|jaas|keystore|truststore",
    "spark.sql.runSQLOnFiles": "false",  # SQL reads tables only: text.`/etc/passwd` is none
}
# What is set unless spark-submit was told otherwise: Spark's own 200 tasks for every total make a
# small stream wait for seconds; its own writer of checkpoint files starts a process (chmod) for each
# on a local disk, 60 ms a file. That one also notices a second writer; our lock on the folder does.
DEFAULTS = {
    "spark.sql.shuffle.partitions": "4",
    # Small letters by Java's rules; ICU's are the same but for titles, and slow to load.
    "spark.sql.icu.caseMappings.enabled": "false",
    # For its error messages PySpark notes at each call the line of Python it came from, on both
    # sides: half of the time in which a job says what it wants, seconds of each job's start.
    "spark.python.sql.dataFrameDebugging.enabled": "false",
    "spark.sql.streaming.checkpointFileManagerClass": "org.apache.spark.sql.execution.streaming."
    "checkpointing.FileSystemBasedCheckpointFileManager",
}
OFFSETS_GONE = (
    "Kafka no longer has what the checkpoint expects: retention has passed, or the topic was made "
    "anew; move the checkpoint away, with its data if it is a landing, to begin anew"
)
INTERRUPTED = "interrupted; the position is in the checkpoint, run it again to go on"
# What a long message of Spark means for the person who reads it, by a word in it.
REMEDIES = {
    "UnknownTopicOrPartitionException": "the topic does not exist; `make up` makes the project's "
    "topics, `./tidemark topics` makes others",
    "offsets out of range": OFFSETS_GONE,
    "failOnDataLoss": OFFSETS_GONE,
    "CONCURRENT_STREAM_LOG_UPDATE": "another query writes with this checkpoint; wait for it to end",
    "must specify all TopicPartitions": "--starting by offsets needs one for each partition",
    "TopicAuthorizationException": NO_RIGHT,
    "SaslAuthenticationException": NO_RIGHT,
    "SslAuthenticationException": NO_RIGHT,
    "not present in metadata": "the topic does not exist, and the broker makes none by itself; "
    "`./tidemark topics` does",
    "JAVA_GATEWAY_EXITED": "Java did not start; `make doctor` says what is missing",
    "foreach:http": "start what listens there, or correct the address",
    "Connection refused": "nobody serves lines there; start `./tidemark serve-lines --port PORT` in "
    "another terminal",
    "FAILED_READ_FILE": "the file is damaged (a cut-off gzip?); move it away and run again",
    "No space left on device": "the disk is full; free some space and run again, nothing is lost",
}
# What Spark puts before the reason: two ids of no use to a reader.
QUERY = re.compile(
    r"\[STREAM_FAILED\] Query \[id = [0-9a-f-]+, runId = [0-9a-f-]+\] terminated with exception: "
)


def start(name: str) -> SparkSession:
    """The job's session, with the settings that every job needs."""
    _ensure_jvm()
    builder = SparkSession.builder.appName(name)
    told = SparkConf()
    for key, value in DEFAULTS.items():
        if not told.contains(key):
            builder = builder.config(key, value)
    for key, value in SETTINGS.items():
        builder = builder.config(key, value)
    spark = builder.getOrCreate()
    if not spark._jvm.java.lang.System.getProperty("log4j2.configurationFile"):  # type: ignore[union-attr]
        spark.sparkContext.setLogLevel("WARN")
    return spark


def _ensure_jvm() -> None:
    """Start the JVM, unless spark-submit or an earlier job of this process has.

    All that it says on standard error is passed on, but for the warning that Java prints whenever
    Spark's vector module is there, and that no switch ends. Ctrl-C waits until the JVM is there:
    one that is left while it starts never ends.
    """
    if SparkContext._gateway is not None or "PYSPARK_GATEWAY_PORT" in os.environ:
        return
    interrupts: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _: interrupts.append(number))
    reading, writing = os.pipe()
    threading.Thread(target=_pass_on, args=(reading,), daemon=True).start()
    gateway = launch_gateway(popen_kwargs={"stderr": writing})  # type: ignore[no-untyped-call]
    os.close(writing)
    SparkContext._ensure_initialized(gateway=gateway)
    signal.signal(signal.SIGINT, before)
    if interrupts:
        raise KeyboardInterrupt


def _pass_on(reading: int) -> None:
    with open(reading, "rb") as said:
        for line in said:
            if not line.startswith(b"WARNING: Using incubator modules:"):
                os.write(2, line)


class WithoutPandas:
    """Makes pandas a module that is not there, for the process of a job.

    PySpark looks at the first literal whether it is there, and so loads it: a second of each job's
    start, for nothing that a job here uses.
    """

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        if name == "pandas":
            raise ModuleNotFoundError("jobs here do without pandas", name=name)


def run(name: str, main: Callable[[], None]) -> None:
    """Run `main`, say what went wrong in a sentence, and exit with the code of `outcome`."""
    os.umask(0o077)
    sys.meta_path.insert(0, WithoutPandas())
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # What Py4J and PySpark say of a Ctrl-C while they wait for the JVM: a traceback, and this.
    logging.getLogger().setLevel(logging.CRITICAL)
    warnings.filterwarnings("ignore", "Unable to cleanly shutdown Spark", RuntimeWarning)
    code, message = outcome(name, main)
    if message:
        print(message, file=sys.stderr, flush=True)  # noqa: T201
    elif session := SparkSession.getActiveSession():
        session.stop()
    sys.exit(code)


def outcome(name: str, main: Callable[[], None]) -> tuple[int, str]:
    """Exit code and last words: 0 done, 1 failed, 2 refused, 75 not now, 130 or 143 by a signal.

    2 is final: the same words would be refused again. 75 is sysexits' EX_TEMPFAIL.

    No traceback for a user.
    """
    try:
        main()
    except Refused as refused:
        return 2, f"{name}: {refused}"
    except NotNow as later:
        return os.EX_TEMPFAIL, f"{name}: {later}"
    except (StreamingQueryException, PySparkException) as failed:
        return 1, f"{name}: {explain(failed)}"
    except NothingGood as wrong:
        return 1, f"{name}: {wrong}"
    except ConnectionAbortedError as closed:  # by a socket that was read
        return 1, f"{name}: {closed}"
    except (Py4JError, ConnectionError) as gone:
        if _was_interrupted(
            gone
        ):  # in the middle of a word to the JVM, which is not understood then
            print(f"{name}: {INTERRUPTED}", file=sys.stderr, flush=True)  # noqa: T201
            os._exit(130)
        # Spark's JVM was killed. Nothing can be said to it any more, so leave at once: what waits
        # for it in Python would hold the landing's lock against the next run.
        print(f"{name}: the JVM has gone; run it again to go on", file=sys.stderr, flush=True)  # noqa: T201
        os._exit(1)
    except OSError as failed:
        return 1, f"{name}: {failed}"
    except KeyboardInterrupt:
        return 130, f"{name}: {INTERRUPTED}"
    except SystemExit as left:  # done, and ended by a signal; or argparse has said what is wrong
        return int(left.code or 0), ""
    return 0, ""


def _was_interrupted(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, KeyboardInterrupt):
            return True
        error = error.__context__
    return False


def explain(failed: Exception) -> str:
    """One line: the deepest reason that Spark gives, and the remedy if we know one."""
    text = str(failed)
    remedy = next((say for word, say in REMEDIES.items() if word in text), "")
    reason = _first_line(failed.getCondition() or "", text) if isinstance(
        failed, PySparkException
    ) else text  # fmt: skip
    return f"{reason}\n  {remedy}" if remedy else reason


def _first_line(condition: str, text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if "PYTHON_EXCEPTION" in text:  # one of ours, in a Python worker: what it says is the reason
        said = [
            found[1] for line in lines if (found := re.match(r"\w+(?:Error|Exception): (.*)", line))
        ]
        if said:
            return said[-1][:1000]
    causes = [line for line in lines if line.startswith("Caused by:")]
    first = next((line for line in lines if not line.startswith("===")), condition)
    return " ".join([QUERY.sub("", first), *causes[-1:]])[:1000]

"""Start and end a Spark job: one session, one exit code, one last line that says what happened."""

import os
import re
import sys
from collections.abc import Callable

from py4j.protocol import Py4JError
from pyspark import SparkConf
from pyspark.errors import PySparkException, StreamingQueryException
from pyspark.sql import SparkSession

from spark_jobs.runtime.losses import NO_RIGHT
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
# What a long message of Spark means for the person who reads it, by a word in it.
REMEDIES = {
    "UnknownTopicOrPartitionException": "the topic does not exist; `make up` makes the project's "
    "topics, `python -m producers.topics` makes others",
    "offsets out of range": OFFSETS_GONE,
    "failOnDataLoss": OFFSETS_GONE,
    "CONCURRENT_STREAM_LOG_UPDATE": "another query writes with this checkpoint; wait for it to end",
    "must specify all TopicPartitions": "--starting by offsets needs one for each partition",
    "TopicAuthorizationException": NO_RIGHT,
    "SaslAuthenticationException": NO_RIGHT,
    "SslAuthenticationException": NO_RIGHT,
    "Topic not present in metadata": "the topic does not exist, and the broker makes none by itself; "
    "`python -m producers.topics` does",
    "foreach:http": "start what listens there, or correct the address",
    "Connection refused": "nobody serves lines there; start `python -m producers.lines --port PORT` "
    "in another terminal",
    "FAILED_READ_FILE": "the file is damaged (a cut-off gzip?); move it away and run again",
    "No space left on device": "the disk is full; free some space and run again, nothing is lost",
}


def start(name: str) -> SparkSession:
    """The job's session, with the settings that every job needs."""
    builder = SparkSession.builder.appName(name)
    told = SparkConf()
    for key, value in DEFAULTS.items():
        if not told.contains(key):
            builder = builder.config(key, value)
    for key, value in SETTINGS.items():
        builder = builder.config(key, value)
    spark = builder.getOrCreate()
    spark.sparkContext.setLogLevel("WARN")
    return spark


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
    sys.meta_path.insert(0, WithoutPandas())
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
    except ConnectionAbortedError as closed:  # by a socket that was read
        return 1, f"{name}: {closed}"
    except (Py4JError, ConnectionError):
        # Spark's JVM was killed. Nothing can be said to it any more, so leave at once: what waits
        # for it in Python would hold the landing's lock against the next run.
        print(f"{name}: the JVM has gone; run it again to go on", file=sys.stderr, flush=True)  # noqa: T201
        os._exit(1)
    except OSError as failed:
        return 1, f"{name}: {failed}"
    except KeyboardInterrupt:
        return 130, f"{name}: interrupted; the position is in the checkpoint, run it again to go on"
    except SystemExit as left:  # done, and ended by a signal; or argparse has said what is wrong
        return int(left.code or 0), ""
    return 0, ""


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
    return " ".join([first, *causes[-1:]])[:1000]

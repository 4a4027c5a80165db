"""How an endless query ends: when its time is up, by Ctrl-C, by SIGTERM, or by a stop file.

spark-submit is two processes: the JVM, whose id a supervisor knows, and Python. A signal reaches
one of them or both; left alone, the JVM would leave at once and the query die in its batch.
"""

import math
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from itertools import count
from pathlib import Path

from py4j.protocol import Py4JError
from pyspark.java_gateway import ensure_callback_server_started
from pyspark.sql import SparkSession
from pyspark.sql.streaming.query import StreamingQuery

LOOK_SECONDS = 0.5
LAST_BATCH_SECONDS = 30
EXIT_CODES = {"Ctrl-C": 130, "SIGTERM": 143}
SIGNALS = {signal.SIGINT: "Ctrl-C", signal.SIGTERM: "SIGTERM"}


class Lease:
    """Waits for a query, and ends it cleanly when somebody asks for that."""

    def __init__(self, spark: SparkSession, seconds: int | None, stop_file: str | None) -> None:
        self._ends = time.monotonic() + (seconds or math.inf)
        self._stop_file = Path(stop_file) if stop_file else None
        self._asked = threading.Event()
        self.reason = "nothing is left"
        self._spark = spark
        self._before: list[Callable[[], object]] = []

    def __enter__(self) -> "Lease":
        self._listen(self._spark)
        return self

    def __exit__(self, *error: object) -> None:
        for restore in self._before:
            restore()

    def wait(self, query: StreamingQuery, meanwhile: Callable[[], str] = lambda: "") -> None:
        """Return when the query has ended; `meanwhile` is called about twice a second.

        What it returns, if anything, is a reason to end the query when all that has come is
        processed. Raises StreamingQueryException if the query failed.
        """
        try:
            while not query.awaitTermination(LOOK_SECONDS):  # type: ignore[arg-type]
                if why := meanwhile():
                    self.reason = why
                    query.processAllAvailable()
                    query.stop()
                    break
                if self._is_over():
                    _end_after_batch(query)
                    break
            meanwhile()
        except Py4JError:
            raise  # the JVM is gone, and the query with it
        except BaseException:
            with suppress(Py4JError):  # a second Ctrl-C may have broken the connection
                query.stop()
            raise

    def leave(self) -> None:
        """Exit as the signal that ended the query asks for, if one did."""
        if self.reason in EXIT_CODES:
            sys.stdout.flush()
            sys.exit(EXIT_CODES[self.reason])

    def _is_over(self) -> bool:
        if self._asked.is_set():
            return True
        if self._stop_file and self._stop_file.exists():
            self._stop_file.unlink()
            self.reason = f"{self._stop_file} asked for it"
            return True
        if time.monotonic() >= self._ends:
            self.reason = "its time is up"
            return True
        return False

    def _ask(self, reason: str) -> None:
        self.reason = reason
        self._asked.set()

    def _listen(self, spark: SparkSession) -> None:
        lease, interrupts = self, count(1)

        def handle(number: int, frame: object) -> None:
            # Counted here, not seen by _asked: of one Ctrl-C the JVM often tells first.
            if number == signal.SIGINT and next(interrupts) > 1:
                raise KeyboardInterrupt  # a second Ctrl-C does not wait for the batch
            lease._ask(SIGNALS[signal.Signals(number)])

        class Handler:
            """sun.misc.SignalHandler, called by the JVM."""

            def handle(self, received: object) -> None:
                name = received.getName()  # type: ignore[attr-defined]
                lease._ask({"INT": "Ctrl-C", "TERM": "SIGTERM"}[name])

            class Java:
                implements = ("sun.misc.SignalHandler",)

        for number in SIGNALS:
            self._before.append(partial(signal.signal, number, signal.signal(number, handle)))
        ensure_callback_server_started(spark.sparkContext._gateway)  # type: ignore[no-untyped-call]
        misc, handler = spark.sparkContext._jvm.sun.misc, Handler()  # type: ignore[union-attr]
        for name in ("INT", "TERM"):
            before = misc.Signal.handle(misc.Signal(name), handler)
            self._before.append(partial(misc.Signal.handle, misc.Signal(name), before))


def _end_after_batch(query: StreamingQuery) -> None:
    """Stop the query between two batches, so that nothing of a batch is written twice."""
    deadline = time.monotonic() + LAST_BATCH_SECONDS
    first = query.lastProgress
    while (
        query.isActive
        and query.status["isTriggerActive"]
        and (query.lastProgress is None) == (first is None)
        and (first is None or query.lastProgress.batchId == first.batchId)  # type: ignore[union-attr]
        and time.monotonic() < deadline
    ):
        time.sleep(0.05)
    query.stop()

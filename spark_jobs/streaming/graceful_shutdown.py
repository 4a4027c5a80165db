"""End an endless query cleanly: after --run-seconds, by Ctrl-C, by SIGTERM, or by a stop file.

spark-submit is two processes: the JVM, whose id a supervisor knows, and Python. A signal reaches
one of them or both. Without a handler the JVM would exit at once, in the middle of a batch.
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

POLL_SECONDS = 0.5
LAST_BATCH_SECONDS = 30
EXIT_CODES = {"Ctrl-C": 130, "SIGTERM": 143}
SIGNALS = {signal.SIGINT: "Ctrl-C", signal.SIGTERM: "SIGTERM"}


class GracefulShutdown:
    """Wait for a query, and end it between two batches when a stop is requested.

    `reason` says why the query has ended, as the end of the sentence "it ran until …".
    """

    def __init__(self, spark: SparkSession, run_seconds: int | None, stop_file: str | None) -> None:
        self._deadline = time.monotonic() + (run_seconds or math.inf)
        self._stop_file = Path(stop_file) if stop_file else None
        self._stop_event = threading.Event()
        self.reason = "all input was processed"
        self._spark = spark
        self._restore_handlers: list[Callable[[], object]] = []

    def __enter__(self) -> "GracefulShutdown":
        self._install_signal_handlers(self._spark)
        return self

    def __exit__(self, *error: object) -> None:
        for restore in self._restore_handlers:
            restore()

    def wait(self, query: StreamingQuery, on_poll: Callable[[], str] = lambda: "") -> None:
        """Return when the query has ended, by itself or because a stop was requested.

        Args:
            query: The running query.
            on_poll: Called about twice a second, and once at the end. If it returns a reason, the
                query ends when all input that has arrived is processed.

        Raises:
            StreamingQueryException: The query failed.
        """
        try:
            while not query.awaitTermination(POLL_SECONDS):  # type: ignore[arg-type]
                if reason := on_poll():
                    self.reason = reason
                    query.processAllAvailable()
                    query.stop()
                    break
                if self._is_stop_due():
                    _stop_after_batch(query)
                    break
            on_poll()
        except Py4JError:
            raise  # the JVM is gone, and the query with it
        except BaseException:
            with suppress(Py4JError):  # a second Ctrl-C may have broken the connection to the JVM
                query.stop()
            raise

    def exit_if_signalled(self) -> None:
        """Exit with the code of the signal that ended the query, if one did."""
        if self.reason in EXIT_CODES:
            sys.stdout.flush()
            sys.exit(EXIT_CODES[self.reason])

    def _is_stop_due(self) -> bool:
        if self._stop_event.is_set():
            return True
        if self._stop_file and self._stop_file.exists():
            self._stop_file.unlink()
            self.reason = f"the stop file {self._stop_file} appeared"
            return True
        if time.monotonic() >= self._deadline:
            self.reason = "--run-seconds had passed"
            return True
        return False

    def _request_stop(self, reason: str) -> None:
        self.reason = reason
        self._stop_event.set()

    def _install_signal_handlers(self, spark: SparkSession) -> None:
        shutdown, interrupts = self, count(1)

        def handle(number: int, frame: object) -> None:
            # Counted here instead of by _stop_event: the JVM's handler often sets that event first,
            # for the same Ctrl-C.
            if number == signal.SIGINT and next(interrupts) > 1:
                raise KeyboardInterrupt  # a second Ctrl-C does not wait for the batch
            shutdown._request_stop(SIGNALS[signal.Signals(number)])

        class Handler:
            """A sun.misc.SignalHandler, called by the JVM."""

            def handle(self, received: object) -> None:
                name = received.getName()  # type: ignore[attr-defined]
                shutdown._request_stop({"INT": "Ctrl-C", "TERM": "SIGTERM"}[name])

            class Java:
                implements = ("sun.misc.SignalHandler",)

        for number in SIGNALS:
            self._restore_handlers.append(
                partial(signal.signal, number, signal.signal(number, handle))
            )
        ensure_callback_server_started(spark.sparkContext._gateway)  # type: ignore[no-untyped-call]
        misc, handler = spark.sparkContext._jvm.sun.misc, Handler()  # type: ignore[union-attr]
        for name in ("INT", "TERM"):
            previous = misc.Signal.handle(misc.Signal(name), handler)
            self._restore_handlers.append(partial(misc.Signal.handle, misc.Signal(name), previous))


def _stop_after_batch(query: StreamingQuery) -> None:
    """Stop the query between two batches, so that no part of a batch is written twice."""
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

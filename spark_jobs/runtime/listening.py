"""What every listener of a query needs: the moment at which nothing more will come."""

import threading

from pyspark.sql.streaming.listener import (
    QueryIdleEvent,
    QueryStartedEvent,
    QueryTerminatedEvent,
    StreamingQueryListener,
)


class Listener(StreamingQueryListener):
    """A listener that can be waited for. Override `onQueryProgress`."""

    def __init__(self) -> None:
        self._ended = threading.Event()

    def onQueryStarted(self, event: QueryStartedEvent) -> None:
        pass

    def onQueryIdle(self, event: QueryIdleEvent) -> None:
        pass

    def onQueryTerminated(self, event: QueryTerminatedEvent) -> None:
        self._ended.set()

    def wait(self, seconds: float = 20) -> None:
        """Events arrive a little after the query has ended; wait for the last one."""
        self._ended.wait(seconds)

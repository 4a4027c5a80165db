"""
### Produce the clickstream

Publishes click events, always the same by their seed: row by row, one event a message with counts as
integers, or batch by batch, arrays of events with counts as strings.

**When** you trigger it.
**Reads** nothing: a generator makes the events.
**Writes** the topic `clickstream`, or `clickstream-batches`.
**Then** total them by minute with the job `clickstream_totals` (docs/streams.md).

*If it fails*: the task's log ends with what to do. An event has no id, so what was sent before a
failure is sent again by a retry: there are no retries, and clearing the task sends all events once more.
"""

from typing import Any

from airflow.sdk import Param, dag, task
from airflow.sdk.exceptions import AirflowFailException

from include.assets import CLICKSTREAM_TOPIC
from include.settings import load_settings

PARAMS = {
    "mode": Param("rows", enum=["rows", "batches"], title="Row by row or batch by batch"),
    "count": Param(600, type="integer", minimum=1, maximum=10_000_000, title="Events"),
    "seed": Param(1, type="integer", description="The same seed makes the same events"),
    "batch_size": Param(
        20, type="integer", minimum=1, maximum=5000, description="Events a message, with batches"
    ),
    "rate": Param(0, type="number", minimum=0, description="Messages a second; 0: at once"),
}


@dag(
    schedule=None,
    doc_md=__doc__,
    tags=["clickstream", "kafka"],
    params=PARAMS,
    max_active_runs=1,
    default_args={"retries": 0},
)
def produce_clickstream():
    @task(outlets=[CLICKSTREAM_TOPIC])
    def produce(params: dict[str, Any]) -> int:
        from producers.clickstream.events import batch_messages, events, row_messages
        from producers.clickstream.publish import publish
        from producers.kafka_client import ProducerError, ensure_topics

        settings, found = load_settings(), events(params["count"], params["seed"])
        if params["mode"] == "rows":
            topic, messages = settings.clickstream_topic, row_messages(found)
        else:
            topic = settings.clickstream_batches_topic
            messages = batch_messages(found, params["batch_size"])
        servers = settings.kafka_servers
        try:
            ensure_topics(servers, [topic], settings.partitions, settings.replication)
            return publish(messages, servers, topic, params["rate"] or None)
        except ProducerError as failed:
            raise AirflowFailException(str(failed)) from None

    produce()


produce_clickstream()

"""
### Produce the clickstream

Publishes click events, always the same by their seed: row by row, one event a message with counts as
integers, or batch by batch, arrays of events with counts as strings.

**When** you trigger it.
**Reads** nothing: a generator makes the events.
**Writes** the topic `clickstream`, or `clickstream-batches`.
**Then** total them by minute with `run_stream` (docs/streams.md); `analyse_clickstream` reports those
that were sent row by row.

*If it fails*: the task's log ends with what to do. There are no retries: without campaigns an event has
no id, and what is sent again counts again.
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
    "start": Param("2024-05-08T12:41:08Z", type="string", pattern=r"^(now|[0-9T:.+Z-]{17,40})$(?!\n)",
                   description="Time of the first event, with its zone; now: this minute. About 20 "
                               "events a minute follow"),
    "campaigns": Param(3, type="integer", minimum=0, maximum=1000,
                       description="Give each event an id and one of so many campaigns; 0: neither"),
    "batch_size": Param(20, type="integer", minimum=1, maximum=5000, section="How it is sent",
                        description="Events a message, with batches"),
    "rate": Param(0, type="number", minimum=0, section="How it is sent",
                  description="Messages a second; 0: at once"),
    "faults": Param(0, type="number", minimum=0, maximum=1, section="How it is sent",
                    description="Share of messages that are no event, in between"),
}  # fmt: skip


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
        from producers.clickstream.events import events, first_second
        from producers.clickstream.publish import messages_of, publish
        from producers.kafka_client import ProducerError, ensure_topics

        settings, is_rows = load_settings(), params["mode"] == "rows"
        topic = settings.clickstream_topic if is_rows else settings.clickstream_batches_topic
        servers = settings.kafka_servers
        try:
            found = events(params["count"], params["seed"], first_second(params["start"]),
                           params["campaigns"])  # fmt: skip
            messages = messages_of(found, params["mode"], params["batch_size"], params["faults"],
                                   params["seed"])  # fmt: skip
            ensure_topics(servers, [topic], settings.partitions, settings.replication)
            return publish(messages, servers, topic, params["rate"] or None)
        except (ProducerError, ValueError) as failed:
            raise AirflowFailException(str(failed)) from None

    produce()


produce_clickstream()

"""
### Produce the clickstream

Publishes generated click events; the same seed gives the same events. `mode` selects the shape: `rows`
sends one event per message with counts as integers, `batches` sends arrays of events with counts as
strings.

**When** you trigger it.

**Reads** nothing: a generator creates the events.

**Writes** the topic `clickstream`, or `clickstream-batches`.

**Then** total the events by minute with `run_stream` (docs/streams.md). `analyse_clickstream` reports the
events of mode `rows`.

**Params**

- `mode` (`rows` or `batches`, default `rows`).
- `count` (integer, default 600), `seed` (integer, default 1): number and seed of the events.
- `start` (text, default `2024-05-08T12:41:08Z`): time of the first event with its zone, or `now`.
- `campaigns` (integer, default 3): number of campaigns; 0: events have neither an id nor a campaign.
- `batch_size` (integer, default 20): events per message in mode `batches`.
- `rate` (number, default 0): messages per second; 0 is without a limit.
- `bad_share` (number from 0 to 1, default 0): share of messages that are not valid events.

**Example conf** `{"mode": "batches", "count": 300, "start": "now", "bad_share": 0.1}`

*If it fails*: the end of the task's log says what to do. There are no retries: without campaigns an event
has no id, and an event that is sent twice counts twice.
"""

from typing import Any

from airflow.sdk import Param, dag, task
from airflow.sdk.exceptions import AirflowFailException

from include.orchestration.assets import CLICKSTREAM_TOPIC
from include.settings import load_settings

PARAMS = {
    "mode": Param("rows", enum=["rows", "batches"], title="Row by row or batch by batch"),
    "count": Param(600, type="integer", minimum=1, maximum=10_000_000, title="Events"),
    "seed": Param(1, type="integer", description="The same seed gives the same events"),
    "start": Param(
        "2024-05-08T12:41:08Z",
        type="string",
        pattern=r"^(now|[0-9T:.+Z-]{17,40})$(?!\n)",
        description="Time of the first event with its zone, or now for this minute. About 20 "
        "events per minute follow",
    ),
    "campaigns": Param(
        3,
        type="integer",
        minimum=0,
        maximum=1000,
        description="Number of campaigns; 0: events have neither an id nor a campaign",
    ),
    "batch_size": Param(
        20,
        type="integer",
        minimum=1,
        maximum=5000,
        section="Sending",
        description="Events per message in mode batches",
    ),
    "rate": Param(
        0,
        type="number",
        minimum=0,
        section="Sending",
        description="Messages per second; 0: no limit",
    ),
    "bad_share": Param(
        0,
        type="number",
        minimum=0,
        maximum=1,
        section="Sending",
        description="Share of messages that are not valid events",
    ),
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
        from producers.clickstream.events import generate_events, parse_start
        from producers.clickstream.publish import encode_events, publish_messages
        from producers.kafka_client import KafkaRequestFailed, ensure_topics

        settings, is_rows = load_settings(), params["mode"] == "rows"
        topic = settings.clickstream_topic if is_rows else settings.clickstream_batches_topic
        servers = settings.kafka_servers
        try:
            events = generate_events(
                params["count"], params["seed"], parse_start(params["start"]), params["campaigns"]
            )
            messages = encode_events(
                events, params["mode"], params["batch_size"], params["bad_share"], params["seed"]
            )
            ensure_topics(servers, [topic], settings.partitions, settings.replication)
            return publish_messages(messages, servers, topic, params["rate"] or None)
        except (KafkaRequestFailed, ValueError) as error:
            raise AirflowFailException(str(error)) from None

    produce()


produce_clickstream()

"""
### Produce the access log

Sends the lines of a web server's log to Kafka: those of a file in the inbox, or a day of believable
traffic that a generator writes, always the same by its seed. What Kafka has acknowledged is kept in
a ledger, so running it again (or after a crash) sends only what is missing.

**When** you trigger it.
**Reads** `var/lake/inbox/access_log/<file>`, or nothing.
**Writes** the topic `access-log`, keyed `<log id>:<byte offset>`, and `var/lake/ledger/`.
**Then** `analyse_access_log` lands and reports what is new.

*If it fails*: the task's log ends with what to do. Fix it and clear the task: it goes on where it
stopped.
"""

from datetime import date, timedelta
from typing import Any

from airflow.sdk import Param, dag, task
from airflow.sdk.exceptions import AirflowException, AirflowFailException

from include.assets import ACCESS_LOG_TOPIC
from include.lake import inbox, inside
from include.settings import load_settings

PARAMS = {
    "source": Param("generator", enum=["generator", "file"], title="Where the lines come from"),
    "file": Param(
        None, type=["null", "string"], pattern=r"^[A-Za-z0-9_][A-Za-z0-9._-]*$(?!\n)", section="File",
        description="Name of a log in var/lake/inbox/access_log: plain, .gz or .bz2",
    ),
    "count": Param(20_000, type="integer", minimum=1, maximum=100_000_000, section="Generator",
                   title="Lines"),
    "seed": Param(1, type="integer", section="Generator",
                  description="The same seed writes the same log"),
    "day": Param("2026-01-15", type="string", format="date", section="Generator"),
    "lines_per_message": Param(100, type="integer", minimum=1, maximum=100_000,
                               description="1: row by row; more: in batches"),
    "rate": Param(0, type="number", minimum=0, description="Lines a second; 0: as fast as it can"),
    "again": Param(False, type="boolean", description="Send what was acknowledged before, too"),
}  # fmt: skip


@dag(
    schedule=None,
    doc_md=__doc__,
    tags=["access log", "kafka"],
    params=PARAMS,
    max_active_runs=1,
    default_args={"retries": 2, "retry_delay": timedelta(seconds=30)},
)
def produce_access_log():
    @task(outlets=[ACCESS_LOG_TOPIC])
    def produce(params: dict[str, Any]) -> dict[str, Any]:
        from dataclasses import asdict

        from producers.access_log.generator import generate, generated_log_id
        from producers.access_log.produce import produce as send
        from producers.access_log.replay import LogFileError, log_id, read_lines
        from producers.kafka_client import ProducerError, ensure_topics

        settings = load_settings()
        try:
            if params["source"] == "file":
                if not params["file"]:
                    raise AirflowFailException("source is `file`, but no file was named")
                inside(inbox(settings, "access_log"), params["file"])
                path = inbox(settings, "access_log") / params["file"]
                lines, name = read_lines(path, strict=True), log_id(path, strict=True)
            else:
                made = (params["count"], params["seed"], date.fromisoformat(params["day"]))
                lines, name = generate(*made), generated_log_id(*made)
            ensure_topics(
                settings.kafka_servers, [settings.access_log_topic],
                settings.partitions, settings.replication,
            )  # fmt: skip
            done = send(
                lines, name, servers=settings.kafka_servers, topic=settings.access_log_topic,
                ledgers=settings.lake / "ledger", rate=params["rate"] or None,
                lines_per_message=params["lines_per_message"], again=params["again"],
            )  # fmt: skip
        except (LogFileError, ValueError) as refused:  # a retry would read the same file
            raise AirflowFailException(str(refused)) from None
        except ProducerError as failed:
            raise AirflowException(str(failed)) from None
        return asdict(done)

    produce()


produce_access_log()

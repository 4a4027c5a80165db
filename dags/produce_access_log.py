"""
### Produce the access log

Sends the lines of a web server's log to Kafka: either a file in the inbox, or one day of realistic traffic
from a generator. The same seed always gives the same log. A ledger records what Kafka has acknowledged, so
a repeated run (also after a crash) sends only the missing lines.

**When** you trigger it.

**Reads** `var/lake/inbox/access_log/<file>`, or nothing.

**Writes** the topic `access-log`, keyed `<log id>:<byte offset>`, and `var/lake/ledger/`.

**Then** run `analyse_access_log`: it lands and reports the new lines.

**Params**

- `source` (`generator` or `file`, default `generator`): where the lines come from.
- `file` (text or null, default null): file name in the inbox, required if `source` is `file`.
- `count` (integer, default 20000), `seed` (integer, default 1), `day` (date, default `2026-01-15`): number
  of lines, seed and day of the generated log.
- `lines_per_message` (integer, default 100): 1 sends row by row, more sends batches.
- `rate` (number, default 0): lines per second; 0 is without a limit.
- `resend` (boolean, default false): send acknowledged lines again.

**Example conf** `{"source": "generator", "count": 5000, "seed": 7, "day": "2026-01-15"}`

*If it fails*: the end of the task's log says what to do. Fix the cause and clear the task: it continues
where it stopped.
"""

from datetime import date, timedelta
from typing import Any

from airflow.sdk import Param, dag, task
from airflow.sdk.exceptions import AirflowException, AirflowFailException

from include.lake.paths import inbox_path, resolve_inside
from include.orchestration.assets import ACCESS_LOG_TOPIC
from include.settings import load_settings

PARAMS = {
    "source": Param("generator", enum=["generator", "file"], title="Source of the lines"),
    "file": Param(
        None,
        type=["null", "string"],
        pattern=r"^[A-Za-z0-9_][A-Za-z0-9._-]*$(?!\n)",
        section="File",
        description="Name of a file in var/lake/inbox/access_log: plain, gz, bz2, zst or xz",
    ),
    "count": Param(
        20_000, type="integer", minimum=1, maximum=100_000_000, section="Generator", title="Lines"
    ),
    "seed": Param(
        1, type="integer", section="Generator", description="The same seed gives the same log"
    ),
    "day": Param("2026-01-15", type="string", format="date", section="Generator"),
    "lines_per_message": Param(
        100,
        type="integer",
        minimum=1,
        maximum=100_000,
        description="1 sends row by row, more sends batches",
    ),
    "rate": Param(0, type="number", minimum=0, description="Lines per second; 0: no limit"),
    "resend": Param(False, type="boolean", description="Send acknowledged lines again"),
}


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

        from producers.access_log.generator import build_generated_log_id, generate_lines
        from producers.access_log.log_file import UnreadableLogFile, read_lines, read_log_id
        from producers.access_log.produce import produce_lines as send
        from producers.kafka_client import KafkaRequestFailed, ensure_topics
        from producers.ledger import UnusableLedger

        settings = load_settings()
        try:
            if params["source"] == "file":
                if not params["file"]:
                    raise AirflowFailException(
                        "source is `file`, but the Param `file` is empty; name a file in "
                        f"{inbox_path(settings, 'access_log')}"
                    )
                path = inbox_path(settings, "access_log") / params["file"]
                resolve_inside(inbox_path(settings, "access_log"), params["file"])
                lines, log_id = read_lines(path, strict=True), read_log_id(path, strict=True)
            else:
                options = (params["count"], params["seed"], date.fromisoformat(params["day"]))
                lines, log_id = generate_lines(*options), build_generated_log_id(*options)
            ensure_topics(
                settings.kafka_servers,
                [settings.access_log_topic],
                settings.partitions,
                settings.replication,
            )
            result = send(
                lines,
                log_id,
                servers=settings.kafka_servers,
                topic=settings.access_log_topic,
                ledgers=settings.lake / "ledger",
                rate=params["rate"] or None,
                lines_per_message=params["lines_per_message"],
                resend=params["resend"],
            )
        except (UnreadableLogFile, ValueError) as error:  # a retry would read the same file
            raise AirflowFailException(str(error)) from None
        except (KafkaRequestFailed, UnusableLedger) as error:
            raise AirflowException(str(error)) from None
        except OSError as error:
            log = f"the log {path}" if params["source"] == "file" else "the generated log"
            raise AirflowException(f"{log}: {error}") from None
        return asdict(result)

    produce()


produce_access_log()

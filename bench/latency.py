"""How long a line waits from Kafka through Spark to Kafka, under each engine at three rates.

The job `route_errors` as it is submitted by Airflow; one partition; every line is a 5xx, so each
comes out. A line carries the moment at which it was handed to the producer; the difference to the
moment at which it was read from the other topic is its latency, both clients included.

    python -m bench.latency            (make bench-latency: about 8 minutes)
"""

import json
import re
import statistics
import subprocess
import threading
import time
from pathlib import Path

from kafka import KafkaConsumer, KafkaProducer
from rich.console import Console

from bench.pages import write_page
from bench.stack import fresh_broker, start_job
from include.settings import Settings
from producers.kafka_client import ensure_topics

TRIGGERS = {
    "micro-batch": "every 1 millisecond",  # a batch as soon as the last one is done
    "continuous": "continuous 1 second",
    "real-time 5 s": "real-time 5 seconds",
    "real-time 30 s": "real-time 30 seconds",
}
RATES = (10, 100, 1000)
SECONDS = {"micro-batch": 15, "continuous": 15, "real-time 5 s": 20, "real-time 30 s": 60}
WARM_UP, WARM_UP_RATE = 1000, 40  # 25 seconds: the first batches of a JVM are slow
LINE = (
    '192.0.2.7 - - [17/May/2015:10:05:03 +0000] "GET /{} HTTP/1.1" 503 512 "-" "Mozilla/5.0 (X11)"'
)
SENT = re.compile(rb"GET /(\d+) ")


def measure() -> list[dict[str, float | str]]:
    """A row an engine and rate: messages, p50, p95 and p99 in milliseconds."""
    says, rows = Console(stderr=True), []
    with fresh_broker() as settings:
        for number, (engine, trigger) in enumerate(TRIGGERS.items()):
            for rate, found in _engine(settings, number, engine, trigger):
                cuts = statistics.quantiles(found, n=100, method="inclusive")
                row = {"engine": engine, "rate": rate, "messages": len(found),
                       "p50_ms": round(cuts[49], 1), "p95_ms": round(cuts[94], 1),
                       "p99_ms": round(cuts[98], 1)}  # fmt: skip
                rows.append(row)
                says.print(row)
    return rows


def _engine(settings: Settings, number: int, engine: str, trigger: str):  # type: ignore[no-untyped-def]
    """Run the job under `trigger`; yield each rate with the latencies of its lines, in ms."""
    servers, read, write = settings.kafka_servers, f"in-{number}", f"out-{number}"
    ensure_topics(servers, [read, write], partitions=1, replication=1)
    stop, output = settings.home / f"{number}.stop", settings.home / f"{number}.out"
    job = start_job(
        settings, "route_errors", "--source", f"kafka:{read}", "--sink", f"kafka:{write}",
        "--servers", servers, "--checkpoint", settings.home / f"checkpoint-{number}", "--trigger", trigger,
        "--stop-file", stop, "--progress", settings.home / f"{number}.jsonl", output=output,
    )  # fmt: skip
    arrived: list[float] = []
    over = threading.Event()
    reading = threading.Thread(target=_read, args=(servers, write, arrived, over))
    reading.start()
    producer = KafkaProducer(bootstrap_servers=servers, linger_ms=0, acks="all")
    try:
        _send(producer, read, WARM_UP, WARM_UP_RATE)
        _until(
            lambda: len(arrived) >= WARM_UP, 120, f"the first lines through {engine}", job, output
        )
        for rate in RATES:
            count = rate * SECONDS[engine]
            arrived.clear()
            _send(producer, read, count, rate)
            _until(
                lambda n=count: len(arrived) >= n,
                60,
                f"{count} lines through {engine}",
                job,
                output,
            )
            yield rate, list(arrived[:count])
    finally:
        over.set()
        stop.touch()
        reading.join()
        producer.close()
        try:
            job.wait(60)
        except subprocess.TimeoutExpired:
            job.kill()


def _send(producer: KafkaProducer, topic: str, count: int, rate: float) -> None:
    begun = time.monotonic()
    for number in range(count):
        if (ahead := number / rate - (time.monotonic() - begun)) > 0:
            time.sleep(ahead)
        producer.send(topic, LINE.format(time.monotonic_ns()).encode())
    producer.flush()


def _read(servers: str, topic: str, arrived: list[float], over: threading.Event) -> None:
    consumer = KafkaConsumer(
        topic, bootstrap_servers=servers, auto_offset_reset="earliest", enable_auto_commit=False,
        fetch_max_wait_ms=50,
    )  # fmt: skip
    while not over.is_set():
        for records in consumer.poll(timeout_ms=100).values():
            now = time.monotonic_ns()
            for record in records:
                sent = SENT.search(record.value)
                assert sent is not None, record.value
                arrived.append((now - int(sent[1])) / 1e6)
    consumer.close()


def _until(ready, seconds: float, what: str, job, output: Path) -> None:  # type: ignore[no-untyped-def]
    deadline = time.monotonic() + seconds
    while not ready():
        if job.poll() is not None or time.monotonic() > deadline:
            raise SystemExit(f"waited for {what}; the job said:\n{output.read_text()[-2000:]}")
        time.sleep(0.05)


def main() -> None:
    rows = measure()
    path = Path("var/bench/latency.json")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(rows, indent=1))
    write_page("latency", rows)


if __name__ == "__main__":
    main()

"""Measure the latency from Kafka through Spark to Kafka, for each engine at three rates.

The job is `route_errors`, submitted like Airflow submits it, on one partition. Every line is a 5xx,
so each is routed. A line contains the time at which it was passed to the producer. Its latency is the
time from there until a consumer has read it from the other topic, both clients included.

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
    "micro-batch": "every 1 millisecond",  # a batch starts as soon as the last one is done
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
SENT_AT = re.compile(rb"GET /(\d+) ")


def measure() -> list[dict[str, float | str]]:
    """Measure each engine at each rate.

    Returns:
        A row per engine and rate (lines per second): messages, and p50, p95 and p99 in milliseconds.
    """
    console, rows = Console(stderr=True), []
    with fresh_broker() as settings:
        for number, (engine, trigger) in enumerate(TRIGGERS.items()):
            for rate, latencies in _measure_engine(settings, number, engine, trigger):
                percentiles = statistics.quantiles(latencies, n=100, method="inclusive")
                row = {
                    "engine": engine,
                    "rate": rate,
                    "messages": len(latencies),
                    "p50_ms": round(percentiles[49], 1),
                    "p95_ms": round(percentiles[94], 1),
                    "p99_ms": round(percentiles[98], 1),
                }
                rows.append(row)
                console.print(row)
    return rows


def _measure_engine(settings: Settings, number: int, engine: str, trigger: str):  # type: ignore[no-untyped-def]
    """Run the job with a trigger; yield each rate and the latencies of its lines in milliseconds."""
    servers = settings.kafka_servers
    source_topic, sink_topic = f"in-{number}", f"out-{number}"
    ensure_topics(servers, [source_topic, sink_topic], partitions=1, replication=1)
    stop_file, output = settings.home / f"{number}.stop", settings.home / f"{number}.out"
    job = start_job(
        settings,
        "route_errors",
        "--source",
        f"kafka:{source_topic}",
        "--sink",
        f"kafka:{sink_topic}",
        "--servers",
        servers,
        "--checkpoint",
        settings.home / f"checkpoint-{number}",
        "--trigger",
        trigger,
        "--stop-file",
        stop_file,
        "--progress",
        settings.home / f"{number}.jsonl",
        output=output,
    )
    latencies: list[float] = []
    stop = threading.Event()
    consumer = threading.Thread(
        target=_collect_latencies, args=(servers, sink_topic, latencies, stop)
    )
    consumer.start()
    producer = KafkaProducer(bootstrap_servers=servers, linger_ms=0, acks="all")
    try:
        _send_lines(producer, source_topic, WARM_UP, WARM_UP_RATE)
        _wait_until(
            lambda: len(latencies) >= WARM_UP, 120, f"the first lines through {engine}", job, output
        )
        for rate in RATES:
            count = rate * SECONDS[engine]
            latencies.clear()
            _send_lines(producer, source_topic, count, rate)
            _wait_until(
                lambda n=count: len(latencies) >= n,
                60,
                f"{count} lines through {engine}",
                job,
                output,
            )
            yield rate, list(latencies[:count])
    finally:
        stop.set()
        stop_file.touch()
        consumer.join()
        producer.close()
        try:
            job.wait(60)
        except subprocess.TimeoutExpired:
            job.kill()


def _send_lines(producer: KafkaProducer, topic: str, count: int, rate: float) -> None:
    started = time.monotonic()
    for number in range(count):
        if (wait_seconds := number / rate - (time.monotonic() - started)) > 0:
            time.sleep(wait_seconds)
        producer.send(topic, LINE.format(time.monotonic_ns()).encode())
    producer.flush()


def _collect_latencies(
    servers: str, topic: str, latencies: list[float], stop: threading.Event
) -> None:
    consumer = KafkaConsumer(
        topic,
        bootstrap_servers=servers,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        fetch_max_wait_ms=50,
    )
    while not stop.is_set():
        for records in consumer.poll(timeout_ms=100).values():
            now = time.monotonic_ns()
            for record in records:
                sent_at = SENT_AT.search(record.value)
                assert sent_at is not None, record.value
                latencies.append((now - int(sent_at[1])) / 1e6)
    consumer.close()


def _wait_until(ready, seconds: float, what: str, job, output: Path) -> None:  # type: ignore[no-untyped-def]
    deadline = time.monotonic() + seconds
    while not ready():
        if job.poll() is not None or time.monotonic() > deadline:
            raise SystemExit(
                f"the job ended, or {seconds:.0f} s passed, while waiting for {what}. "
                f"End of its output:\n{output.read_text()[-2000:]}"
            )
        time.sleep(0.05)


def main() -> None:
    rows = measure()
    path = Path("var/bench/latency.json")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(rows, indent=1))
    write_page("latency", rows)


if __name__ == "__main__":
    main()

"""Bare send loops to compare the producers with: one message per line and nothing else.

    python -m bench.bare kafka-python 127.0.0.1:9092 topic access.log

The settings are those of our producer: idempotent, all replicas, lz4. It prints `N lines/s`.
"""

import sys
import time
from pathlib import Path


def send_with_kafka_python(servers: str, topic: str, path: str) -> int:
    from kafka import KafkaProducer

    producer = KafkaProducer(
        bootstrap_servers=servers,
        enable_idempotence=True,
        acks="all",
        compression_type="lz4",
        linger_ms=20,
        batch_size=256 * 1024,
    )
    sent = 0
    with Path(path).open("rb") as log:
        for line in log:
            producer.send(topic, line[:-1])
            sent += 1
    producer.flush()
    producer.close()
    return sent


def send_with_librdkafka(servers: str, topic: str, path: str) -> int:
    from confluent_kafka import Producer

    producer = Producer(
        {
            "bootstrap.servers": servers,
            "enable.idempotence": True,
            "acks": "all",
            "compression.type": "lz4",
            "linger.ms": 20,
            "batch.size": 256 * 1024,
        }
    )
    sent = 0
    with Path(path).open("rb") as log:
        for line in log:
            while True:
                try:
                    producer.produce(topic, line[:-1])
                    break
                except BufferError:
                    producer.poll(0.01)
            sent += 1
    producer.flush()
    return sent


if __name__ == "__main__":
    name, servers, topic, path = sys.argv[1:]
    started = time.monotonic()
    sent = {"kafka-python": send_with_kafka_python, "librdkafka": send_with_librdkafka}[name](
        servers, topic, path
    )
    print(f"{sent / (time.monotonic() - started):,.0f} lines/s")

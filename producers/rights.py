"""Make the users of two login files, and let each do what it must: `python -m producers.rights`.

For brokers that ask for a login (SASL with SCRAM, and an authorizer). It is run by a login that may
change users and rights: TIDEMARK_KAFKA_PRODUCER_LOGIN=<that one's file>.
"""

from pathlib import Path
from typing import Annotated

import typer

from include.settings import load_settings
from producers.kafka_client import ProducerError, allow, ensure_topics, make_user


def main(
    producer: Annotated[Path, typer.Option(help="login file of producers")],
    spark: Annotated[Path, typer.Option(help="login file of Spark jobs")],
    servers: Annotated[str, typer.Option(help="bootstrap servers; default from settings")] = "",
) -> None:
    """Producers may write the topics of events; Spark may read all, and write those of its own."""
    settings = load_settings()
    at, of_spark = servers or settings.kafka_servers, [settings.access_log_errors_topic]
    of_producers = [topic for topic in settings.topics if topic not in of_spark]
    try:
        ensure_topics(at, settings.topics, settings.partitions, settings.replication)
        allow(at, make_user(at, producer), ["WRITE", "DESCRIBE"], of_producers)
        user = make_user(at, spark)
        allow(at, user, ["READ", "DESCRIBE"], settings.topics)
        allow(at, user, ["WRITE"], of_spark)
    except ProducerError as error:
        typer.echo(f"rights: {error}", err=True)
        raise typer.Exit(1) from None


if __name__ == "__main__":
    typer.run(main)

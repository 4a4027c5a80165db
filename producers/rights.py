"""Create the Kafka users of producers and Spark, and grant their rights: `python -m producers.rights`.

For brokers that require a login (SASL with SCRAM, and an authorizer). Run it with a login that may
change users and rights: TIDEMARK_KAFKA_PRODUCER_LOGIN=<file of that login>.
"""

from pathlib import Path
from typing import Annotated

import typer

from include.datasets import list_job_topics, list_topics
from include.settings import load_settings
from producers.kafka_client import KafkaRequestFailed, ensure_topics, grant_rights, make_user


def main(
    producer: Annotated[Path, typer.Option(help="login file of producers")],
    spark: Annotated[Path, typer.Option(help="login file of Spark jobs")],
    servers: Annotated[
        str, typer.Option(help="Kafka bootstrap servers; default: TIDEMARK_KAFKA_SERVERS")
    ] = "",
) -> None:
    """Create both users. Producers may write event topics; Spark may read all and write its own."""
    settings = load_settings()
    servers = servers or settings.kafka_servers
    topics, spark_topics = list_topics(settings), list_job_topics(settings)
    producer_topics = [topic for topic in topics if topic not in spark_topics]
    try:
        ensure_topics(servers, topics, settings.partitions, settings.replication)
        producer_user = make_user(servers, producer)
        grant_rights(servers, producer_user, ["WRITE", "DESCRIBE"], producer_topics)
        spark_user = make_user(servers, spark)
        grant_rights(servers, spark_user, ["READ", "DESCRIBE"], topics)
        grant_rights(servers, spark_user, ["WRITE"], spark_topics)
    except KafkaRequestFailed as error:
        typer.echo(f"rights: {error}", err=True)
        raise typer.Exit(1) from None


if __name__ == "__main__":
    typer.run(main)

"""Which errors of Kafka's client are permanent, and which can be retried."""

import pytest

from include.errors import InvalidInput, RetryLater
from spark_jobs.streaming.topics import describe_topic

NO_BROKER = {
    "bootstrap.servers": "127.0.0.1:1",
    "request.timeout.ms": "500",
    "default.api.timeout.ms": "1000",
}
SCRAM = {"security.protocol": "SASL_PLAINTEXT", "sasl.mechanism": "SCRAM-SHA-512"}


@pytest.mark.parametrize(
    "login",
    [
        {"security.protocol": "none"},
        {"security.protocol": "SSL", "ssl.truststore.location": "/no/such.jks"},
        SCRAM,
        SCRAM | {"sasl.jaas.config": "junk"},
    ],
    ids=["protocol", "truststore", "no user", "user"],
)
def test_an_unusable_kafka_login_is_a_permanent_error(spark, login):
    with pytest.raises(InvalidInput, match=r"(?s)offsets of topic clicks: .*names the right file"):
        describe_topic(spark, NO_BROKER | login, "clicks")


def test_a_broker_that_does_not_answer_can_be_retried(spark):
    with pytest.raises(
        RetryLater, match="the broker at 127.0.0.1:1 did not give the offsets of topic clicks"
    ):
        describe_topic(spark, NO_BROKER, "clicks")

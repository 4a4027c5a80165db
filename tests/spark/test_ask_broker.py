"""Which answers of Kafka's client are for good, and which another attempt may mend."""

import pytest

from spark_jobs.runtime.losses import ask_broker
from spark_jobs.runtime.words import NotNow, Refused

NOBODY = {
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
def test_a_login_that_cannot_be_used_is_refused_for_good(spark, login):
    with pytest.raises(Refused, match=r"(?s)topic clicks has: .*is the right one"):
        ask_broker(spark, NOBODY | login, "clicks")


def test_a_broker_that_does_not_answer_may_be_asked_again(spark):
    with pytest.raises(
        NotNow, match="the broker at 127.0.0.1:1 does not say what topic clicks has"
    ):
        ask_broker(spark, NOBODY, "clicks")

"""Files of Kafka client properties: what is read, and what is refused by file and line."""

import ssl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.kafka_login import parse_credentials, parse_java_properties, read_login
from include.local_stack.doctor import check_machine
from include.local_stack.secured import jaas_config, make_certificate, write_secret
from include.settings import load_settings
from producers.kafka_client import KafkaRequestFailed, read_login_options

KEY, CERTIFICATE = make_certificate()


@pytest.fixture
def login(tmp_path):
    def write(text):
        path = tmp_path / "client.properties"
        write_secret(path, text)
        return path

    return write


def test_pem_files_beside_it_take_the_place_of_their_names(login, tmp_path):
    write_secret(tmp_path / "both.pem", KEY + CERTIFICATE)
    found = read_login(login(
        "# as Kafka's tools read it\n! so is this\n\nsecurity.protocol = SSL\n"
        "ssl.truststore.type=PEM\nssl.truststore.location=both.pem\n"
        "ssl.keystore.type=PEM\nssl.keystore.location=both.pem\n"
    ))  # fmt: skip
    assert found == {
        "security.protocol": "SSL", "ssl.truststore.type": "PEM", "ssl.keystore.type": "PEM",
        "ssl.truststore.certificates": CERTIFICATE, "ssl.keystore.certificate.chain": CERTIFICATE,
        "ssl.keystore.key": KEY,
    }  # fmt: skip


def test_a_value_goes_on_behind_a_backslash(login):
    found = read_login(login(
        "security.protocol=SASL_SSL\nsasl.jaas.config=some.Module required \\\n"
        '    username="me" \\\n    password="it";\n'
    ))  # fmt: skip
    assert parse_credentials(found) == ("me", "it")


@given(st.text(alphabet="abc=;# :", min_size=1), st.text(alphabet="xyz!'{}$\"\\ =:#", min_size=1))
def test_user_and_password_come_through_the_file_whatever_they_are(
    tmp_path_factory, user, password
):
    quoted = (text.replace("\\", "\\\\").replace('"', '\\"') for text in (user, password))
    line = jaas_config(*quoted).replace("\\", "\\\\")  # in a file of properties a backslash is two
    path = tmp_path_factory.mktemp("login") / "client.properties"
    write_secret(path, f"security.protocol=SASL_SSL\nsasl.jaas.config={line}\n")
    assert parse_credentials(read_login(path)) == (user, password)


def test_what_java_reads_is_read():
    text = (
        "# a comment that ends so \\\nsecurity.protocol: SSL\n  ssl.a   b c \\\n     d\r\n"
        "! another\nsasl.x=\\u00e4\\t\\=\\\\\nssl.pem=one\\n\\\ntwo\\n\nssl.empty"
    )
    assert list(parse_java_properties(text)) == [
        (2, "security.protocol", "SSL"), (3, "ssl.a", "b c d"), (6, "sasl.x", "ä\t=\\"),
        (7, "ssl.pem", "one\ntwo\n"), (9, "ssl.empty", ""),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("security.protocol=SSL\n\nbootstrap.servers=a:9092", "line 3: expected security.protocol"),
        ("sasl.x=1 \\\n 2\nwhat", "line 3: expected"),
        ("sasl.mechanism=PLAIN", "security.protocol=: expected one of SASL_SSL, SSL"),
        ("security.protocol=SSL\nhunter2", "line 2: expected security.protocol"),
        ("security.protocol=SSL\nssl.keystore.key=x", "go together: one is missing"),
        ("security.protocol=TLS", "security.protocol=TLS: expected one of"),
        ("security.protocol=SSL\nssl.truststore.type=PEM\nssl.truststore.location=none.pem",
         "ssl.truststore.location=none.pem: "),
        ("security.protocol=SSL\nssl.keystore.type=PEM\nssl.keystore.location=only.crt",
         "expected a certificate and its key as PEM"),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_refused(login, tmp_path, text, says):
    (tmp_path / "only.crt").write_text(CERTIFICATE)
    path = login(text)
    with pytest.raises(ValueError, match="client.properties") as refused:
        read_login(path)
    assert says in str(refused.value)
    assert "hunter" not in str(refused.value)


def test_a_secret_that_others_may_read_is_refused_with_the_remedy(login):
    path = login("security.protocol=SSL")
    path.chmod(0o644)
    with pytest.raises(ValueError, match="chmod 600"):
        read_login(path)


@pytest.mark.parametrize("store", ["keystore", "truststore"])
@pytest.mark.parametrize("named", ["both.pem", "{folder}/both.pem", "link.pem"])
def test_a_private_key_that_others_may_read_is_refused_with_the_remedy(
    login, tmp_path, store, named
):
    pem = tmp_path / "both.pem"
    write_secret(pem, KEY + CERTIFICATE)
    (tmp_path / "link.pem").symlink_to(pem)
    named = named.format(folder=tmp_path)
    path = login(f"security.protocol=SSL\nssl.{store}.type=PEM\nssl.{store}.location={named}\n")
    for mode in (0o600, 0o640):  # as for the file itself, a group may read it
        pem.chmod(mode)
        assert read_login(path)["security.protocol"] == "SSL"
    for mode in (0o644, 0o604, 0o602):
        pem.chmod(mode)
        with pytest.raises(ValueError, match="client.properties") as refused:
            read_login(path)
        assert f"chmod 600 {tmp_path / named}" in str(refused.value)
        assert KEY.splitlines()[1] not in str(refused.value)


def test_certificates_alone_may_be_read_by_all(login, tmp_path):
    (tmp_path / "ca.pem").write_text(CERTIFICATE)
    (tmp_path / "ca.pem").chmod(0o644)
    path = login("security.protocol=SSL\nssl.truststore.type=PEM\nssl.truststore.location=ca.pem\n")
    assert read_login(path)["ssl.truststore.certificates"] == CERTIFICATE


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ValueError, match="nothing.properties"):
        read_login(tmp_path / "nothing.properties")


def test_python_says_that_it_reads_no_java_keystore(login):
    path = login("security.protocol=SSL\nssl.truststore.location=/some.jks\n")
    with pytest.raises(KafkaRequestFailed, match="PEM"):
        read_login_options(path)


@pytest.mark.parametrize("mechanism", ["sasl.mechanism=GSSAPI\n", "", "sasl.mechanism=PLAIN\n"])
def test_python_says_by_what_it_can_log_in(login, mechanism):
    path = login(f"security.protocol=SASL_SSL\n{mechanism}")
    with pytest.raises(KafkaRequestFailed, match="producers log in by SCRAM-SHA-512.*jaas"):
        read_login_options(path)


def test_the_doctor_looks_at_the_logins_that_the_settings_name(login, tmp_path):
    good = login("security.protocol=SSL")
    settings = load_settings({
        "TIDEMARK_HOME": str(tmp_path), "TIDEMARK_KAFKA_PRODUCER_LOGIN": str(good),
        "TIDEMARK_KAFKA_SPARK_LOGIN": "/no/such.properties",
    })  # fmt: skip
    found = [finding for finding in check_machine(settings) if finding.name == "Kafka login"]
    assert [finding.state for finding in found] == [f"{good}: SSL", "cannot be used"]
    good.write_text("security.protocol=SASL_SSL\nsasl.mechanism=GSSAPI\n")
    found = [finding.remedy for finding in check_machine(settings) if finding.name == "Kafka login"]
    assert "producers log in by SCRAM" in found[0]
    assert "/no/such.properties" in found[1]


def test_a_key_that_does_not_belong_to_its_certificate_is_refused(login, tmp_path):
    other, _ = make_certificate()
    write_secret(tmp_path / "both.pem", other + CERTIFICATE)
    path = login("security.protocol=SSL\nssl.keystore.type=PEM\nssl.keystore.location=both.pem\n")
    with pytest.raises(KafkaRequestFailed, match=r"client.properties: its certificates or key"):
        read_login_options(path)


def test_python_logs_in_with_what_the_file_says(login, tmp_path):
    (tmp_path / "ca.pem").write_text(CERTIFICATE)
    path = login(
        "security.protocol=SASL_SSL\nsasl.mechanism=SCRAM-SHA-512\n"
        f"sasl.jaas.config={jaas_config('me', 'it')}\n"
        "ssl.truststore.type=PEM\nssl.truststore.location=ca.pem\n"
    )
    told = read_login_options(path)
    assert isinstance(told.pop("ssl_context"), ssl.SSLContext)
    assert told == {
        "security_protocol": "SASL_SSL", "sasl_mechanism": "SCRAM-SHA-512",
        "sasl_plain_username": "me", "sasl_plain_password": "it",
    }  # fmt: skip


def test_a_certificate_logs_in_without_a_user(login, tmp_path):
    write_secret(tmp_path / "both.pem", KEY + CERTIFICATE)
    path = login("security.protocol=SSL\nssl.keystore.type=PEM\nssl.keystore.location=both.pem\n")
    told = read_login_options(path)
    assert isinstance(told.pop("ssl_context"), ssl.SSLContext)
    assert told == {
        "security_protocol": "SSL", "sasl_mechanism": None, "sasl_plain_username": None,
        "sasl_plain_password": None,
    }  # fmt: skip

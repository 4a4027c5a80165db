"""Kafka login files: which client properties are read, and which are refused."""

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
def write_login(tmp_path):
    def write(text):
        path = tmp_path / "client.properties"
        write_secret(path, text)
        return path

    return write


def test_names_of_pem_files_are_replaced_by_their_content(write_login, tmp_path):
    write_secret(tmp_path / "both.pem", KEY + CERTIFICATE)
    properties = read_login(write_login(
        "# as Kafka's tools read it\n! so is this\n\nsecurity.protocol = SSL\n"
        "ssl.truststore.type=PEM\nssl.truststore.location=both.pem\n"
        "ssl.keystore.type=PEM\nssl.keystore.location=both.pem\n"
    ))  # fmt: skip
    assert properties == {
        "security.protocol": "SSL", "ssl.truststore.type": "PEM", "ssl.keystore.type": "PEM",
        "ssl.truststore.certificates": CERTIFICATE, "ssl.keystore.certificate.chain": CERTIFICATE,
        "ssl.keystore.key": KEY,
    }  # fmt: skip


def test_a_backslash_continues_a_value_on_the_next_line(write_login):
    properties = read_login(write_login(
        "security.protocol=SASL_SSL\nsasl.jaas.config=some.Module required \\\n"
        '    username="me" \\\n    password="it";\n'
    ))  # fmt: skip
    assert parse_credentials(properties) == ("me", "it")


@given(st.text(alphabet="abc=;# :", min_size=1), st.text(alphabet="xyz!'{}$\"\\ =:#", min_size=1))
def test_any_user_and_password_can_be_stored_and_read(tmp_path_factory, user, password):
    quoted = (text.replace("\\", "\\\\").replace('"', '\\"') for text in (user, password))
    line = jaas_config(*quoted).replace(
        "\\", "\\\\"
    )  # a properties file needs each backslash twice
    path = tmp_path_factory.mktemp("login") / "client.properties"
    write_secret(path, f"security.protocol=SASL_SSL\nsasl.jaas.config={line}\n")
    assert parse_credentials(read_login(path)) == (user, password)


def test_the_syntax_of_java_properties_is_supported():
    text = (
        "# a comment that ends so \\\nsecurity.protocol: SSL\n  ssl.a   b c \\\n     d\r\n"
        "! another\nsasl.x=\\u00e4\\t\\=\\\\\nssl.pem=one\\n\\\ntwo\\n\nssl.empty"
    )
    assert list(parse_java_properties(text)) == [
        (2, "security.protocol", "SSL"), (3, "ssl.a", "b c d"), (6, "sasl.x", "ä\t=\\"),
        (7, "ssl.pem", "one\ntwo\n"), (9, "ssl.empty", ""),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "message"),
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
def test_unusable_properties_are_refused_with_a_reason(write_login, tmp_path, text, message):
    (tmp_path / "only.crt").write_text(CERTIFICATE)
    path = write_login(text)
    with pytest.raises(ValueError, match="client.properties") as error:
        read_login(path)
    assert message in str(error.value)
    assert "hunter" not in str(error.value)


def test_a_login_file_that_others_may_read_is_refused(write_login):
    path = write_login("security.protocol=SSL")
    path.chmod(0o644)
    with pytest.raises(ValueError, match="chmod 600"):
        read_login(path)


@pytest.mark.parametrize("store", ["keystore", "truststore"])
@pytest.mark.parametrize("location", ["both.pem", "{folder}/both.pem", "link.pem"])
def test_a_private_key_that_others_may_read_is_refused_with_the_remedy(
    write_login, tmp_path, store, location
):
    pem = tmp_path / "both.pem"
    write_secret(pem, KEY + CERTIFICATE)
    (tmp_path / "link.pem").symlink_to(pem)
    location = location.format(folder=tmp_path)
    path = write_login(
        f"security.protocol=SSL\nssl.{store}.type=PEM\nssl.{store}.location={location}\n"
    )
    for mode in (0o600, 0o640):  # as with the login file, the group may read it
        pem.chmod(mode)
        assert read_login(path)["security.protocol"] == "SSL"
    for mode in (0o644, 0o604, 0o602):
        pem.chmod(mode)
        with pytest.raises(ValueError, match="client.properties") as error:
            read_login(path)
        assert f"chmod 600 {tmp_path / location}" in str(error.value)
        assert KEY.splitlines()[1] not in str(error.value)


def test_a_file_of_certificates_may_be_readable_by_all(write_login, tmp_path):
    (tmp_path / "ca.pem").write_text(CERTIFICATE)
    (tmp_path / "ca.pem").chmod(0o644)
    path = write_login(
        "security.protocol=SSL\nssl.truststore.type=PEM\nssl.truststore.location=ca.pem\n"
    )
    assert read_login(path)["ssl.truststore.certificates"] == CERTIFICATE


def test_a_missing_login_file_is_named(tmp_path):
    with pytest.raises(ValueError, match="nothing.properties"):
        read_login(tmp_path / "nothing.properties")


def test_python_clients_refuse_a_java_keystore(write_login):
    path = write_login("security.protocol=SSL\nssl.truststore.location=/some.jks\n")
    with pytest.raises(KafkaRequestFailed, match="PEM"):
        read_login_options(path)


@pytest.mark.parametrize("mechanism", ["sasl.mechanism=GSSAPI\n", "", "sasl.mechanism=PLAIN\n"])
def test_python_clients_name_the_login_that_they_support(write_login, mechanism):
    path = write_login(f"security.protocol=SASL_SSL\n{mechanism}")
    with pytest.raises(KafkaRequestFailed, match="producers log in by SCRAM-SHA-512.*jaas"):
        read_login_options(path)


def test_the_doctor_checks_the_logins_of_the_settings(write_login, tmp_path):
    valid_login = write_login("security.protocol=SSL")
    settings = load_settings({
        "TIDEMARK_HOME": str(tmp_path), "TIDEMARK_KAFKA_PRODUCER_LOGIN": str(valid_login),
        "TIDEMARK_KAFKA_SPARK_LOGIN": "/no/such.properties",
    })  # fmt: skip
    findings = [finding for finding in check_machine(settings) if finding.name == "Kafka login"]
    assert [finding.state for finding in findings] == [f"{valid_login}: SSL", "cannot be used"]
    valid_login.write_text("security.protocol=SASL_SSL\nsasl.mechanism=GSSAPI\n")
    remedies = [
        finding.remedy for finding in check_machine(settings) if finding.name == "Kafka login"
    ]
    assert "producers log in by SCRAM" in remedies[0]
    assert "/no/such.properties" in remedies[1]


def test_a_key_that_does_not_match_its_certificate_is_refused(write_login, tmp_path):
    other_key, _ = make_certificate()
    write_secret(tmp_path / "both.pem", other_key + CERTIFICATE)
    path = write_login(
        "security.protocol=SSL\nssl.keystore.type=PEM\nssl.keystore.location=both.pem\n"
    )
    with pytest.raises(KafkaRequestFailed, match=r"client.properties: its certificates or key"):
        read_login_options(path)


def test_python_clients_use_the_user_and_password_of_the_file(write_login, tmp_path):
    (tmp_path / "ca.pem").write_text(CERTIFICATE)
    path = write_login(
        "security.protocol=SASL_SSL\nsasl.mechanism=SCRAM-SHA-512\n"
        f"sasl.jaas.config={jaas_config('me', 'it')}\n"
        "ssl.truststore.type=PEM\nssl.truststore.location=ca.pem\n"
    )
    options = read_login_options(path)
    assert isinstance(options.pop("ssl_context"), ssl.SSLContext)
    assert options == {
        "security_protocol": "SASL_SSL", "sasl_mechanism": "SCRAM-SHA-512",
        "sasl_plain_username": "me", "sasl_plain_password": "it",
    }  # fmt: skip


def test_a_client_certificate_needs_no_user(write_login, tmp_path):
    write_secret(tmp_path / "both.pem", KEY + CERTIFICATE)
    path = write_login(
        "security.protocol=SSL\nssl.keystore.type=PEM\nssl.keystore.location=both.pem\n"
    )
    options = read_login_options(path)
    assert isinstance(options.pop("ssl_context"), ssl.SSLContext)
    assert options == {
        "security_protocol": "SSL", "sasl_mechanism": None, "sasl_plain_username": None,
        "sasl_plain_password": None,
    }  # fmt: skip

"""Kafka with logins, rights and TLS, for both forms of the cluster (TIDEMARK_CLUSTER_SECURED=1).

Clients log in with name and password (SCRAM) and may do what ACLs allow. Brokers, controllers and the
administrator who grants rights identify themselves by certificate. All connections use TLS.
"""

import ipaddress
import secrets
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

from include.errors import SetupError
from include.lake.files import replace_file
from include.settings import PROJECT, Settings

CERTIFICATE_NAME = "tidemark-brokers"
HOSTS = ("localhost", "kafka-1", "kafka-2", "kafka-3")
SCRAM_MODULE = "org.apache.kafka.common.security.scram.ScramLoginModule required"
# A broker's properties in both forms, besides its listeners and the path of its certificate.
BROKER_PROPERTIES = {
    "inter.broker.listener.name": "BROKER",
    "listener.name.broker.ssl.client.auth": "required",
    "listener.name.controller.ssl.client.auth": "required",
    "listener.name.host.scram-sha-512.sasl.jaas.config": f"{SCRAM_MODULE};",
    "sasl.enabled.mechanisms": "SCRAM-SHA-512",
    "ssl.keystore.type": "PEM",
    "ssl.truststore.type": "PEM",
    "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
    "allow.everyone.if.no.acl.found": "false",
    "super.users": f"User:CN={CERTIFICATE_NAME}",
}
# The client property files, which Kafka's own tools can read; CLIENT_PROPERTIES lacks the password.
CLIENT_PROPERTIES = {
    "security.protocol": "SASL_SSL",
    "sasl.mechanism": "SCRAM-SHA-512",
    "ssl.truststore.type": "PEM",
    "ssl.truststore.location": "brokers.crt",
}
ADMIN_PROPERTIES = {
    "security.protocol": "SSL",
    "ssl.truststore.type": "PEM",
    "ssl.truststore.location": "brokers.crt",
    "ssl.keystore.type": "PEM",
    "ssl.keystore.location": "brokers.pem",
}
USERS = ("producer", "spark")


def secrets_folder(settings: Settings) -> Path:
    return settings.home / "secrets"


def write_secret(path: Path, text: str) -> None:
    """Write a file that only its owner may read."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    replace_file(path, text, permissions=0o600)


def make_secrets(settings: Settings) -> None:
    """Create the brokers' certificate and the login files unless they exist."""
    folder = secrets_folder(settings)
    # Written last: if it is missing, an earlier call was interrupted.
    if not (folder / "admin.properties").is_file():
        key, certificate = make_certificate()
        write_secret(folder / "brokers.pem", key + certificate)
        write_secret(folder / "brokers.crt", certificate)
        for user in USERS:
            write_secret(
                folder / f"{user}.properties",
                _format_properties(
                    CLIENT_PROPERTIES
                    | {"sasl.jaas.config": jaas_config(user, secrets.token_urlsafe(24))}
                ),
            )
        write_secret(folder / "admin.properties", _format_properties(ADMIN_PROPERTIES))


def jaas_config(user: str, password: str) -> str:
    return f'{SCRAM_MODULE} username="{user}" password="{password}";'


def listener_properties(
    settings: Settings, client_port: int, inter_broker_port: int, controller_port: int
) -> dict[str, str]:
    """Return the properties of one broker on this machine: its three listeners and its certificate."""
    folder = secrets_folder(settings)
    advertised = f"HOST://127.0.0.1:{client_port},BROKER://127.0.0.1:{inter_broker_port}"
    return {
        "listeners": f"{advertised},CONTROLLER://127.0.0.1:{controller_port}",
        "advertised.listeners": advertised,
        "listener.security.protocol.map": "HOST:SASL_SSL,BROKER:SSL,CONTROLLER:SSL",
        "ssl.keystore.location": str(folder / "brokers.pem"),
        "ssl.truststore.location": str(folder / "brokers.crt"),
    }


def grant_rights(settings: Settings, servers: str, env: dict[str, str]) -> None:
    """Create topics and users and grant rights, with `producers.rights` as the administrator.

    Args:
        settings: The cluster's settings.
        servers: The brokers' listeners for each other, which accept the administrator's certificate.
        env: Environment of the command.

    Raises:
        SetupError: The command failed; with the last line of its output.
    """
    folder = secrets_folder(settings)
    command = [sys.executable, "-m", "producers.rights", "--servers", servers]
    for user in USERS:
        command += [f"--{user}", str(folder / f"{user}.properties")]
    admin_env = env | {"TIDEMARK_KAFKA_PRODUCER_LOGIN": str(folder / "admin.properties")}
    result = subprocess.run(
        command, cwd=PROJECT, env=admin_env, capture_output=True, text=True, check=False
    )
    if result.returncode:
        raise SetupError(
            (result.stderr.strip() or "producers.rights failed: no rights granted").splitlines()[-1]
        )


def make_certificate() -> tuple[str, str]:
    """Create a private key and a self-signed certificate for all brokers, valid for ten years.

    Returns:
        The key and the certificate, both as PEM.
    """
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, CERTIFICATE_NAME)])
    names: list[x509.GeneralName] = [x509.DNSName(host) for host in HOSTS]
    names.append(x509.IPAddress(ipaddress.ip_address("127.0.0.1")))
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=3650))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.KeyUsage(
                digital_signature=True,
                key_cert_sign=True,
                crl_sign=True,
                content_commitment=False,
                key_encipherment=False,
                data_encipherment=False,
                key_agreement=False,
                encipher_only=False,
                decipher_only=False,
            ),
            critical=True,
        )
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(
        pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return private.decode(), certificate.public_bytes(pem).decode()


def _format_properties(properties: dict[str, str]) -> str:
    return "".join(f"{name}={value}\n" for name, value in properties.items())

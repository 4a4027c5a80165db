"""Kafka that asks who one is: what both shapes of the cluster have when TIDEMARK_CLUSTER_SECURED is 1.

Clients log in by name and password (SCRAM) and may do what ACLs allow; brokers and controllers know
each other, and whoever gives the rights, by their certificate. All of it goes through TLS.
"""

import ipaddress
import secrets
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

from include.local_stack.processes import StackError
from include.settings import PROJECT, Settings

NAME = "tidemark-brokers"
HOSTS = ("localhost", "kafka-1", "kafka-2", "kafka-3")
SCRAM = "org.apache.kafka.common.security.scram.ScramLoginModule required"
# A broker's properties in both shapes, beside its listeners and where its certificate lies.
BROKER = {
    "inter.broker.listener.name": "BROKER",
    "listener.name.broker.ssl.client.auth": "required",
    "listener.name.controller.ssl.client.auth": "required",
    "listener.name.host.scram-sha-512.sasl.jaas.config": f"{SCRAM};",
    "sasl.enabled.mechanisms": "SCRAM-SHA-512",
    "ssl.keystore.type": "PEM",
    "ssl.truststore.type": "PEM",
    "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
    "allow.everyone.if.no.acl.found": "false",
    "super.users": f"User:CN={NAME}",
}
# The files of client properties, beside the password: as Kafka's own tools read them.
CLIENT = {
    "security.protocol": "SASL_SSL",
    "sasl.mechanism": "SCRAM-SHA-512",
    "ssl.truststore.type": "PEM",
    "ssl.truststore.location": "brokers.crt",
}
ADMIN = {
    "security.protocol": "SSL",
    "ssl.truststore.type": "PEM",
    "ssl.truststore.location": "brokers.crt",
    "ssl.keystore.type": "PEM",
    "ssl.keystore.location": "brokers.pem",
}
USERS = ("producer", "spark")


def folder(settings: Settings) -> Path:
    return settings.home / "secrets"


def kept_secret(path: Path, text: str) -> None:
    """Write a file that only its owner may read."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    path.touch(mode=0o600)
    path.write_text(text)


def make_secrets(settings: Settings) -> None:
    """The brokers' certificate and the login files, unless they are there."""
    at = folder(settings)
    if not (at / "admin.properties").is_file():  # written last: without it, one was interrupted
        key, certificate = make_certificate()
        kept_secret(at / "brokers.pem", key + certificate)
        kept_secret(at / "brokers.crt", certificate)
        for user in USERS:
            kept_secret(at / f"{user}.properties", _lines(CLIENT | {
                "sasl.jaas.config": jaas(user, secrets.token_urlsafe(24))
            }))  # fmt: skip
        kept_secret(at / "admin.properties", _lines(ADMIN))


def jaas(user: str, password: str) -> str:
    return f'{SCRAM} username="{user}" password="{password}";'


def listeners(settings: Settings, client: int, between: int, controller: int) -> dict[str, str]:
    """The properties of a broker on this machine that are its own: three listeners, a certificate."""
    at = folder(settings)
    open_to_others = f"HOST://127.0.0.1:{client},BROKER://127.0.0.1:{between}"
    return {
        "listeners": f"{open_to_others},CONTROLLER://127.0.0.1:{controller}",
        "advertised.listeners": open_to_others,
        "listener.security.protocol.map": "HOST:SASL_SSL,BROKER:SSL,CONTROLLER:SSL",
        "ssl.keystore.location": str(at / "brokers.pem"),
        "ssl.truststore.location": str(at / "brokers.crt"),
    }


def give_rights(settings: Settings, servers: str, env: dict[str, str]) -> None:
    """Topics, users and their rights, through the producers' own tool. `servers`: for brokers."""
    at = folder(settings)
    command = [sys.executable, "-m", "producers.rights", "--servers", servers]
    for user in USERS:
        command += [f"--{user}", str(at / f"{user}.properties")]
    told = env | {"TIDEMARK_KAFKA_PRODUCER_LOGIN": str(at / "admin.properties")}
    done = subprocess.run(
        command, cwd=PROJECT, env=told, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise StackError((done.stderr.strip() or "the rights were not given").splitlines()[-1])


def make_certificate() -> tuple[str, str]:
    """A key and a certificate for all brokers, as PEM; it is its own authority, for ten years."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, NAME)])
    names: list[x509.GeneralName] = [x509.DNSName(host) for host in HOSTS]
    names.append(x509.IPAddress(ipaddress.ip_address("127.0.0.1")))
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name)
        .public_key(key.public_key()).serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1)).not_valid_after(now + timedelta(days=3650))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.KeyUsage(
                digital_signature=True, key_cert_sign=True, crl_sign=True, content_commitment=False,
                key_encipherment=False, data_encipherment=False, key_agreement=False,
                encipher_only=False, decipher_only=False,
            ), critical=True,
        )
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    pem = serialization.Encoding.PEM
    private = key.private_bytes(
        pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return private.decode(), made.public_bytes(pem).decode()


def _lines(properties: dict[str, str]) -> str:
    return "".join(f"{name}={value}\n" for name, value in properties.items())

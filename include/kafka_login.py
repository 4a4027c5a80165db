"""How a Kafka client logs in: the file of client properties that Kafka's own tools take as well.

Standard library only: producers read it, and it rides in the zip that `spark-submit` ships.
"""

import re
from pathlib import Path

ABOUT_A_LOGIN = ("security.protocol", "sasl.", "ssl.")
PROTOCOLS = ("SASL_SSL", "SSL", "SASL_PLAINTEXT", "PLAINTEXT")
PEM = re.compile(r"-----BEGIN ([A-Z ]+)-----.+?-----END \1-----\n?", re.DOTALL)


def read_login(path: Path) -> dict[str, str]:
    """Kafka's client properties in a file, such as `security.protocol=SASL_SSL`.

    PEM files that it names (from its own folder, unless absolute) are put in their place, so that
    the login can be sent to executors on machines that have no such files. Raises ValueError that
    names the file, the line and the remedy; also for a file that every user of the machine may read.

    Source: https://kafka.apache.org/documentation/#security_configclients
    """
    try:
        text = path.read_text()
        if path.stat().st_mode & 0o007:
            raise ValueError(f"{path}: it holds a secret, and others may read it: chmod 600 {path}")
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: Kafka's client properties cannot be read: {error}") from None
    found: dict[str, str] = {}
    # A backslash goes on in the next line, which keeps the numbers of lines.
    joined = re.sub(r"\\\n\s*", "\x00", text)
    number = 1
    for line in joined.splitlines():
        told = line.replace("\x00", "").strip()
        if told and told[0] not in "#!":
            name, equals, value = (part.strip() for part in told.partition("="))
            if not equals or not name.startswith(ABOUT_A_LOGIN):
                raise ValueError(
                    f"{path}, line {number}: expected security.protocol, sasl.… or ssl.…, then = and "
                    f"its value, found {name!r}"
                )
            found[name] = value
        number += 1 + line.count("\x00")
    if (protocol := found.get("security.protocol")) not in PROTOCOLS:
        raise ValueError(
            f"{path}: security.protocol={protocol or ''}: expected one of {', '.join(PROTOCOLS)}"
        )
    return _with_pem_files(path, found)


def user_of(login: dict[str, str]) -> tuple[str, str]:
    """User and password in `sasl.jaas.config`; two empty texts where there are none."""
    jaas = login.get("sasl.jaas.config", "")
    found = dict(re.findall(r'\b(username|password)\s*=\s*"((?:[^"\\]|\\.)*)"', jaas))
    plain = {name: re.sub(r"\\(.)", r"\1", value) for name, value in found.items()}
    return plain.get("username", ""), plain.get("password", "")


def _with_pem_files(path: Path, login: dict[str, str]) -> dict[str, str]:
    for store in ("ssl.truststore", "ssl.keystore"):
        location = login.get(f"{store}.location")
        if location is None or login.get(f"{store}.type") != "PEM":
            continue
        file = path.parent / location
        try:
            blocks = [(block[1], block[0]) for block in PEM.finditer(file.read_text())]
        except (OSError, UnicodeDecodeError) as error:
            raise ValueError(f"{path}: {store}.location={location}: {error}") from None
        certificates = "".join(text for kind, text in blocks if kind == "CERTIFICATE")
        key = "".join(text for kind, text in blocks if kind.endswith("PRIVATE KEY"))
        if not certificates or (store == "ssl.keystore" and not key):
            wanted = "a certificate" + (" and its key" if store == "ssl.keystore" else "")
            raise ValueError(f"{path}: {store}.location={location}: expected {wanted} as PEM")
        del login[f"{store}.location"]
        if store == "ssl.truststore":
            login["ssl.truststore.certificates"] = certificates
        else:
            login["ssl.keystore.certificate.chain"], login["ssl.keystore.key"] = certificates, key
    return login

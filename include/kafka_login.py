"""Read how a Kafka client logs in, from a file of client properties as Kafka's own tools take it.

This module imports the standard library only: producers import it, and it is part of the zip that
`spark-submit` ships.
"""

import re
from collections.abc import Iterator
from pathlib import Path

LOGIN_PREFIXES = ("security.protocol", "sasl.", "ssl.")
PROTOCOLS = ("SASL_SSL", "SSL", "SASL_PLAINTEXT", "PLAINTEXT")
# kafka-python logs in with user and password by these.
PYTHON_MECHANISMS = ("SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN")
PEM = re.compile(r"-----BEGIN ([A-Z ]+)-----.+?-----END \1-----\n?", re.DOTALL)
# As in java.util.Properties, a name ends before the first =, : or blank without a backslash before it.
PROPERTY_LINE = re.compile(r"((?:\\.|[^\\=: \t\f])*)[ \t\f]*[=:]?[ \t\f]*(.*)", re.DOTALL)
ESCAPE = re.compile(r"\\(u[0-9a-fA-F]{4}|.)", re.DOTALL)
ESCAPED_CHARACTERS = {"t": "\t", "n": "\n", "r": "\r", "f": "\f"}


def read_login(path: Path, *, is_for_python: bool = False) -> dict[str, str]:
    """Read and check a file of Kafka client properties, such as `security.protocol=SASL_SSL`.

    The content of PEM files replaces their names, so that the login can be sent to executors on
    machines that do not have the files.
    Source: https://kafka.apache.org/documentation/#security_configclients

    Args:
        path: The file. PEM files that it names lie relative to its folder, or have absolute paths.
        is_for_python: Also refuse what only Java clients can use.

    Returns:
        Property -> value.

    Raises:
        ValueError: The file cannot be used. The message names the file, the line and what to do; it
            shows no secret. Also if every user of the machine may read or write the file, or a PEM
            file that holds a private key.
    """
    try:
        text = path.read_text()
        is_open = _is_world_accessible(path)
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: cannot read Kafka's client properties: {error}") from None
    if is_open:
        raise ValueError(
            f"{path} holds a secret, but every user of this machine can access it: chmod 600 {path}"
        )
    properties: dict[str, str] = {}
    for number, name, value in parse_java_properties(text):
        if not name.startswith(LOGIN_PREFIXES):
            # Text that is not a property name may be a secret on a line of its own: do not show it.
            shown = f", found {name}" if re.fullmatch(r"[a-z.]+", name) else ""
            raise ValueError(
                f"{path}, line {number}: expected security.protocol, sasl.… or ssl.…, then = and a "
                f"value{shown}"
            )
        properties[name] = value
    if (protocol := properties.get("security.protocol")) not in PROTOCOLS:
        raise ValueError(
            f"{path}: security.protocol={protocol or ''}: expected one of {', '.join(PROTOCOLS)}"
        )
    login = _inline_pem_files(path, properties)
    if ("ssl.keystore.key" in login) != ("ssl.keystore.certificate.chain" in login):
        raise ValueError(
            f"{path}: ssl.keystore.key and ssl.keystore.certificate.chain go together: one is missing; "
            f"give both or neither"
        )
    if is_for_python:
        _check_python_support(path, login)
    return login


def parse_java_properties(text: str) -> Iterator[tuple[int, str, str]]:
    """Parse properties as java.util.Properties does.

    Source: https://docs.oracle.com/en/java/javase/17/docs/api/java.base/java/util/Properties.html

    Yields:
        For each entry, the number of its first line (from 1), its name and its value.
    """
    lines = enumerate(re.split(r"\r\n|\r|\n", text), 1)
    for number, line in lines:
        entry = line.lstrip(" \t\f")
        if not entry or entry[0] in "#!":
            continue
        while (len(entry) - len(entry.rstrip("\\"))) % 2:  # the entry continues on the next line
            entry = entry[:-1] + next(lines, (0, ""))[1].lstrip(" \t\f")
        if match := PROPERTY_LINE.fullmatch(entry):
            yield number, _unescape(match[1]), _unescape(match[2])


def parse_credentials(login: dict[str, str]) -> tuple[str, str]:
    """Return user and password from `sasl.jaas.config`; each is empty if it is missing."""
    jaas = login.get("sasl.jaas.config", "")
    options = dict(re.findall(r'\b(username|password)\s*=\s*"((?:[^"\\]|\\.)*)"', jaas))
    unescaped = {name: re.sub(r"\\(.)", r"\1", value) for name, value in options.items()}
    return unescaped.get("username", ""), unescaped.get("password", "")


def _is_world_accessible(path: Path) -> bool:
    """Whether every user of the machine may read or write the file, or the file that a link names."""
    return bool(path.stat().st_mode & 0o007)


def _check_python_support(path: Path, login: dict[str, str]) -> None:
    if stores := sorted(
        name for name in login if name.endswith(("store.location", "store.password"))
    ):
        raise ValueError(
            f"{path}: {', '.join(stores)}: Python cannot read a Java keystore; give PEM files, with "
            f"ssl.truststore.type=PEM and ssl.keystore.type=PEM"
        )
    mechanism = login.get("sasl.mechanism")
    is_supported = mechanism in PYTHON_MECHANISMS and parse_credentials(login)[0]
    if login["security.protocol"].startswith("SASL") and not is_supported:
        raise ValueError(
            f"{path}: sasl.mechanism={mechanism or ''}: producers log in by {', '.join(PYTHON_MECHANISMS)}, "
            f"with username and password in sasl.jaas.config"
        )


def _unescape(text: str) -> str:
    def replace(escape: re.Match[str]) -> str:
        code = escape[1]
        return chr(int(code[1:], 16)) if len(code) == 5 else ESCAPED_CHARACTERS.get(code, code)

    return ESCAPE.sub(replace, text)


def _inline_pem_files(path: Path, login: dict[str, str]) -> dict[str, str]:
    for store in ("ssl.truststore", "ssl.keystore"):
        location = login.get(f"{store}.location")
        if location is None or login.get(f"{store}.type") != "PEM":
            continue
        file = path.parent / location
        try:
            blocks = [(block[1], block[0]) for block in PEM.finditer(file.read_text())]
            is_open = _is_world_accessible(file)
        except (OSError, UnicodeDecodeError) as error:
            raise ValueError(f"{path}: {store}.location={location}: {error}") from None
        if is_open and any(kind.endswith("PRIVATE KEY") for kind, _ in blocks):
            raise ValueError(
                f"{path}: {store}.location={location}: the file holds a private key, but every user of "
                f"this machine can access it: chmod 600 {file}"
            )
        certificates = "".join(text for kind, text in blocks if kind == "CERTIFICATE")
        key = "".join(text for kind, text in blocks if kind.endswith("PRIVATE KEY"))
        if not certificates or (store == "ssl.keystore" and not key):
            expected = "a certificate" + (" and its key" if store == "ssl.keystore" else "")
            raise ValueError(f"{path}: {store}.location={location}: expected {expected} as PEM")
        del login[f"{store}.location"]
        if store == "ssl.truststore":
            login["ssl.truststore.certificates"] = certificates
        else:
            login["ssl.keystore.certificate.chain"], login["ssl.keystore.key"] = certificates, key
    return login

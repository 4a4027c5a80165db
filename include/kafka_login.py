"""How a Kafka client logs in: the file of client properties that Kafka's own tools take as well.

Standard library only: producers read it, and it rides in the zip that `spark-submit` ships.
"""

import re
from collections.abc import Iterator
from pathlib import Path

ABOUT_A_LOGIN = ("security.protocol", "sasl.", "ssl.")
PROTOCOLS = ("SASL_SSL", "SSL", "SASL_PLAINTEXT", "PLAINTEXT")
MECHANISMS = ("SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN")  # of kafka-python, by name and password
PEM = re.compile(r"-----BEGIN ([A-Z ]+)-----.+?-----END \1-----\n?", re.DOTALL)
# Of java.util.Properties: a name ends before the first =, : or blank that has no backslash before it.
NAME = re.compile(r"((?:\\.|[^\\=: \t\f])*)[ \t\f]*[=:]?[ \t\f]*(.*)", re.DOTALL)
ESCAPE = re.compile(r"\\(u[0-9a-fA-F]{4}|.)", re.DOTALL)
ESCAPED = {"t": "\t", "n": "\n", "r": "\r", "f": "\f"}


def read_login(path: Path, *, by_python: bool = False) -> dict[str, str]:
    """Kafka's client properties in a file, such as `security.protocol=SASL_SSL`.

    PEM files that it names (from its own folder, unless absolute) are put in their place, so that
    the login can be sent to executors on machines that have no such files. Raises ValueError that
    names the file, the line and the remedy, and no value; also if every user of the machine may
    read the file, or a PEM file that holds a private key, and, if the login is to be used
    `by_python`, for what only Java's clients can use.

    Source: https://kafka.apache.org/documentation/#security_configclients
    """
    try:
        text = path.read_text()
        is_open = _is_open_to_all(path)
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: Kafka's client properties cannot be read: {error}") from None
    if is_open:
        raise ValueError(f"{path}: it holds a secret, and others may read it: chmod 600 {path}")
    found: dict[str, str] = {}
    for number, name, value in java_properties(text):
        if not name.startswith(ABOUT_A_LOGIN):
            # What is no name may be a secret that got into a line of its own.
            shown = f", found {name}" if re.fullmatch(r"[a-z.]+", name) else ""
            raise ValueError(
                f"{path}, line {number}: expected security.protocol, sasl.… or ssl.…, then = and its "
                f"value{shown}"
            )
        found[name] = value
    if (protocol := found.get("security.protocol")) not in PROTOCOLS:
        raise ValueError(
            f"{path}: security.protocol={protocol or ''}: expected one of {', '.join(PROTOCOLS)}"
        )
    login = _with_pem_files(path, found)
    if ("ssl.keystore.key" in login) != ("ssl.keystore.certificate.chain" in login):
        raise ValueError(
            f"{path}: ssl.keystore.key and ssl.keystore.certificate.chain go together: one is missing"
        )
    if by_python:
        _check_for_python(path, login)
    return login


def java_properties(text: str) -> Iterator[tuple[int, str, str]]:
    """Number of its first line, name and value of each entry, as java.util.Properties reads them.

    Source: https://docs.oracle.com/en/java/javase/17/docs/api/java.base/java/util/Properties.html
    """
    lines = enumerate(re.split(r"\r\n|\r|\n", text), 1)
    for number, line in lines:
        entry = line.lstrip(" \t\f")
        if not entry or entry[0] in "#!":
            continue
        while (len(entry) - len(entry.rstrip("\\"))) % 2:  # it goes on in the next line
            entry = entry[:-1] + next(lines, (0, ""))[1].lstrip(" \t\f")
        if told := NAME.fullmatch(entry):
            yield number, _unescaped(told[1]), _unescaped(told[2])


def user_of(login: dict[str, str]) -> tuple[str, str]:
    """User and password in `sasl.jaas.config`; two empty texts where there are none."""
    jaas = login.get("sasl.jaas.config", "")
    found = dict(re.findall(r'\b(username|password)\s*=\s*"((?:[^"\\]|\\.)*)"', jaas))
    plain = {name: re.sub(r"\\(.)", r"\1", value) for name, value in found.items()}
    return plain.get("username", ""), plain.get("password", "")


def _is_open_to_all(path: Path) -> bool:
    """Whether every user of the machine may read or write the file; of a link, the file behind it."""
    return bool(path.stat().st_mode & 0o007)


def _check_for_python(path: Path, login: dict[str, str]) -> None:
    if stores := sorted(
        name for name in login if name.endswith(("store.location", "store.password"))
    ):
        raise ValueError(
            f"{path}: {', '.join(stores)}: Python reads no Java keystore; give PEM files, with "
            f"ssl.truststore.type=PEM and ssl.keystore.type=PEM"
        )
    mechanism = login.get("sasl.mechanism")
    is_known = mechanism in MECHANISMS and user_of(login)[0]
    if login["security.protocol"].startswith("SASL") and not is_known:
        raise ValueError(
            f"{path}: sasl.mechanism={mechanism or ''}: producers log in by {', '.join(MECHANISMS)}, "
            f"with username and password in sasl.jaas.config"
        )


def _unescaped(text: str) -> str:
    def plain(escape: re.Match[str]) -> str:
        of = escape[1]
        return chr(int(of[1:], 16)) if len(of) == 5 else ESCAPED.get(of, of)

    return ESCAPE.sub(plain, text)


def _with_pem_files(path: Path, login: dict[str, str]) -> dict[str, str]:
    for store in ("ssl.truststore", "ssl.keystore"):
        location = login.get(f"{store}.location")
        if location is None or login.get(f"{store}.type") != "PEM":
            continue
        file = path.parent / location
        try:
            blocks = [(block[1], block[0]) for block in PEM.finditer(file.read_text())]
            is_open = _is_open_to_all(file)
        except (OSError, UnicodeDecodeError) as error:
            raise ValueError(f"{path}: {store}.location={location}: {error}") from None
        if is_open and any(kind.endswith("PRIVATE KEY") for kind, _ in blocks):
            raise ValueError(
                f"{path}: {store}.location={location}: it holds a private key, and others may read "
                f"it: chmod 600 {file}"
            )
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

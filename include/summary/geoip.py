"""Where an address is: country, city and network, from a MaxMind file that the user brings."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from include.errors import InvalidInput

GEOGRAPHY_DDL = "host STRING, country STRING, city STRING, network STRING"


def locate_hosts(files: str, hosts: Iterable[str]) -> Iterator[tuple[str | None, ...]]:
    """Rows of ROW_DDL, one for each host; nothing is known of host names.

    `files`: paths of databases in MaxMind's format, commas between; Country, City and ASN databases
    add what they have (MaxMind DB specification 2.0). Raises InvalidInput for one that cannot be read.
    """
    import maxminddb

    readers = []
    for name in files.split(","):
        try:
            readers.append(maxminddb.open_database(Path(name.strip())))
        except (OSError, maxminddb.InvalidDatabaseError) as why:
            raise InvalidInput(
                f"--maxmind {name.strip()!r}: {why}; expected a database in MaxMind's format (.mmdb)"
            ) from None
    for host in hosts:
        found: dict[str, Any] = {}
        for reader in readers:
            try:
                known: Any = reader.get(host)
                found |= known or {}
            except ValueError:  # a name, or an IPv6 address in a database of IPv4
                continue
        yield host, _name(found, "country"), _name(found, "city"), _network(found)


def _name(found: dict[str, Any], kind: str) -> str | None:
    place = found.get(kind) or {}
    return place.get("names", {}).get("en") or place.get("iso_code")


def _network(found: dict[str, Any]) -> str | None:
    number = found.get("autonomous_system_number")
    if number is None:
        return None
    return f"AS{number} {found.get('autonomous_system_organization', '')}".strip()

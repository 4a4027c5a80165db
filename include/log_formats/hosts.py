"""Clients as log lines name them: an address, a host name, or a socket. Whole columns."""

import polars as pl

from include.log_formats.grammar import HOST, HOST_NAME, IPV4, IPV6, MAX_HOST_LENGTH, PORT, ZONE_ID

_HOST = f"^{HOST}$"
_WITH_PORT = (
    rf"^(?:(?P<host>{IPV4}|{HOST_NAME}):{PORT}|\[(?P<host_2>{IPV6}{ZONE_ID})\](?::{PORT})?)$"
)
# What servers write for a client that came through a Unix socket.
_SOCKET = r"^(?:-|@|unix:.*)?$"


def parse_hosts(texts: pl.Series) -> tuple[pl.Series, pl.Series]:
    """Check clients by their grammar, and cut off a port.

    Args:
        texts: STRING.

    Returns:
        STRING, the address (IPv4, or IPv6 perhaps with a zone) or host name, null for a socket; and
        BOOLEAN, whether the text is one of these, or null.
    """
    is_host = texts.str.contains(_HOST).fill_null(True)
    if not is_host.all():
        others = texts.filter(~is_host)
        different = others.unique()
        groups = different.str.extract_groups(_WITH_PORT).struct.unnest()
        hosts = groups.to_series(0).fill_null(groups.to_series(1))
        is_known = hosts.is_not_null() | different.str.contains(_SOCKET)
        known = pl.DataFrame({"text": different, "host": hosts, "is_known": is_known})
        looked_up = others.to_frame("text").join(
            known, on="text", how="left", maintain_order="left"
        )
        rows = (~is_host).arg_true()
        texts = texts.scatter(rows, looked_up["host"])
        is_host = is_host.scatter(rows, looked_up["is_known"])
    return texts, is_host & (texts.str.len_bytes() <= MAX_HOST_LENGTH).fill_null(True)

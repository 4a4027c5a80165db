"""JSON lines, as nginx, Caddy and others write them: which keys are read, and how.

A server names a field by one of the keys in KEYS. A key with dots is in an object within the line; of a
list the first entry counts. A line needs a time, a client, a status and a path.
"""

import math
import re
from dataclasses import dataclass
from dataclasses import field as dataclass_field
from typing import Any

import msgspec

from include.log_formats.grammar import FIELDS, METHOD, NUMBER

# Field -> its keys, best first. The client that a proxy names stands before the address of the proxy.
KEYS = {
    "host": ("client_ip", "remote_ip", "remote_addr", "request.client_ip", "request.remote_ip",
             "request.remote_addr", "ClientHost"),
    "user": ("remote_user", "username", "user_id", "request.user_id", "ClientUsername"),
    "time": ("time_iso8601", "time_local", "msec", "ts", "time", "timestamp", "@timestamp", "StartUTC"),
    "request": ("request",),
    "method": ("request_method", "method", "request.method", "verb", "RequestMethod"),
    "target": ("request_uri", "uri", "request.uri", "path", "RequestPath"),
    "query": ("args", "query_string", "request_query"),
    "protocol": ("server_protocol", "request_proto", "proto", "request.proto", "http_version",
                 "RequestProtocol"),
    "status": ("status", "DownstreamStatus"),
    "content_size": ("body_bytes_sent", "bytes_sent", "size", "written_bytes", "bytes_out", "bytes",
                     "DownstreamContentSize"),
    "referrer": ("http_referer", "http_referrer", "referer", "referrer", "request.headers.Referer",
                 "request_Referer"),
    "user_agent": ("http_user_agent", "user_agent", "agent", "ua", "request.headers.User-Agent",
                   "request_User-Agent"),
    "vhost": ("http_host", "host", "request.host", "vhost", "server_name", "RequestHost"),
    "cache_status": ("upstream_cache_status",),
    "mime_type": ("sent_http_content_type", "resp_headers.Content-Type"),
    "tls_version": ("ssl_protocol", "request.tls.version"),
}  # fmt: skip
# Key -> how many of its units are a second.
TAKEN_UNITS = {
    "request_time": 1, "duration": 1, "duration_s": 1, "duration_ms": 1e3, "latency": 1e9, "Duration": 1e9,
}  # fmt: skip
REQUIRED = ("time", "host", "status")
# Caddy writes the number that stands in the handshake (RFC 8446, section 4.1.2).
TLS_NUMBERS = {"769": "TLSv1", "770": "TLSv1.1", "771": "TLSv1.2", "772": "TLSv1.3"}

_HEX_ESCAPE = re.compile(r"((?:^|[^\\])(?:\\\\)*)\\x")
_STATUS = re.compile("[0-9]{1,3}")
_NUMBER = re.compile(NUMBER)
_BEGINS_WITH_METHOD = re.compile(f"{METHOD} ")
_decode = msgspec.json.Decoder().decode


@dataclass
class _Key:
    """What a key gives: a field, with its rank among the keys of that field, and what is in its object."""

    field: str = ""
    rank: int = 0
    units: float = 0
    keys: dict[str, "_Key"] = dataclass_field(default_factory=dict)


def _build_index() -> dict[str, _Key]:
    index: dict[str, _Key] = {}
    for name, keys in KEYS.items():
        for rank, path in enumerate(keys):
            level = index
            *parents, last = path.split(".")
            for parent in parents:
                level = level.setdefault(parent, _Key()).keys
            key = level.setdefault(last, _Key())
            key.field, key.rank = name, rank
    for rank, (name, units) in enumerate(TAKEN_UNITS.items()):
        index[name] = _Key("taken", rank, units)
    return index


_INDEX = _build_index()


def parse_json_lines(lines: list[str]) -> list[tuple[str | None, ...] | None]:
    """Parse JSON lines, one by one: a line that is no JSON does not touch the others.

    Args:
        lines: The lines.

    Returns:
        For each line the values of FIELDS as text, or None if it is not an object or lacks one of
        REQUIRED or a path. `taken` is in seconds.
    """
    return [_parse_line(line) for line in lines]


def _parse_line(line: str) -> tuple[str | None, ...] | None:
    document = _load(line)
    if document is None:
        return None
    values = _collect(document)
    if not _is_complete(values) or not _STATUS.fullmatch(values["status"] or ""):
        return None
    request = values.get("request")
    if request and values.get("method") and not _BEGINS_WITH_METHOD.match(request):
        values["target"] = request  # a path under another name
    elif request:
        values["method"] = values["target"] = values["protocol"] = None
    values["request"] = None if values.get("target") else request
    if (version := values.get("tls_version")) in TLS_NUMBERS:
        values["tls_version"] = TLS_NUMBERS[version]
    return tuple(values.get(name) or None for name in FIELDS)


def _load(line: str) -> dict[str, Any] | None:
    try:
        document = _decode(line)
    except (msgspec.DecodeError, RecursionError):
        # nginx without `escape=json` writes \x22 for a quote, which JSON does not know.
        if "\\x" not in line:
            return None
        try:
            document = _decode(_HEX_ESCAPE.sub(r"\1\\\\x", line))
        except (msgspec.DecodeError, RecursionError):
            return None
    return document if isinstance(document, dict) else None


def _collect(document: dict[str, Any]) -> dict[str, str | None]:
    """Field -> the text of its best key; "" if no key of a field has a value."""
    values: dict[str, str | None] = {}
    ranks: dict[str, int] = {}
    levels = [(document, _INDEX)]
    for level, index in levels:
        for name, value in level.items():
            key = index.get(name)
            if key is None:
                continue
            if isinstance(value, dict):
                levels.append((value, key.keys))
                continue
            text = _to_seconds(value, key.units) if key.units else _to_text(value)
            if not text or text == "-":
                values.setdefault(key.field, "")
            elif key.rank < ranks.get(key.field, len(_INDEX)):
                values[key.field], ranks[key.field] = text, key.rank
    return values


def _is_complete(values: dict[str, str | None]) -> bool:
    # A request that a server could not read has no path, but there is a key for one.
    return all(values.get(name) for name in REQUIRED) and (
        "request" in values or "target" in values
    )


def _to_text(value: Any) -> str:
    if isinstance(value, list):
        value = value[0] if value else None
    if isinstance(value, str):
        return value
    if isinstance(value, bool) or not isinstance(value, int | float):
        return ""
    return repr(int(value)) if isinstance(value, float) and value.is_integer() else repr(value)


def _to_seconds(value: Any, units: float) -> str:
    text = _to_text(value)
    seconds = float(text) / units if _NUMBER.fullmatch(text) else math.inf
    return repr(seconds) if math.isfinite(seconds) else ""

r"""Apache's `LogFormat`, compiled to a pattern for the lines that it writes.

Source: https://httpd.apache.org/docs/2.4/mod/mod_log_config.html. It compiles for a regular expression
engine whose time is linear in the line, so no LogFormat can make a line expensive. Text without quotes
ends where what follows it first fits.
"""

import re
from dataclasses import dataclass, replace
from itertools import pairwise

from include.log_formats.grammar import (
    DAY,
    HOUR,
    LAZY_QUOTED,
    MINUTE,
    MONTH,
    MONTH_NAME,
    NOT_SPACE,
    PORT,
    SECOND,
    SIZE,
    STATUS,
    YEAR,
    ZONE,
    TextFormat,
)

NICKNAMES = {
    "common": '%h %l %u %t "%r" %>s %b',
    "combined": '%h %l %u %t "%r" %>s %b "%{Referer}i" "%{User-Agent}i"',
    "vhost_combined": '%v:%p %h %l %u %t "%r" %>s %O "%{Referer}i" "%{User-Agent}i"',
}
DIRECTIVE = re.compile(
    r"%(?P<before>[!<>\d,]*)(?:\{(?P<name>[^}]*)\})?(?P<after>[!<>\d,]*)"
    r"(?P<letter>\^[A-Za-z]{2}|[A-Za-z%])"
)
WORD, TEXT, NUMBER, STATUS_CODE, TIME = "word", "text", "number", "status", "time"
# A user name has a space in quotes only.
KINDS = (
    dict.fromkeys("haAlmvVXLPu", WORD)
    | dict.fromkeys([*"rUqHioeCnfRxc", "^ti", "^to"], TEXT)
    | dict.fromkeys([*"bBOISDTkp", "^FB"], NUMBER)
    | {"s": STATUS_CODE}
)
# Field -> its directives, best first. Headers in small letters.
FIELD_DIRECTIVES = {
    "vhost": ["v", "V", "{host}i"],
    "host": ["h", "a", "{c}a", "{c}h"],
    "user": ["u"],
    "request": ["r"],
    "method": ["m"],
    "target": ["U"],
    "query": ["q"],
    "protocol": ["H"],
    "status": [">s", "s", "<s"],
    "content_size": ["b", "B", "O"],
    "referrer": ["{referer}i"],
    "user_agent": ["{user-agent}i"],
    "taken": ["D", "{us}T", "{ms}T", "T", "{s}T"],
    "cache_status": ["{cache-status}e", "{cache-status}o", "{x-cache-status}o", "{x-cache}o"],
    "mime_type": ["{content-type}o"],
    "tls_version": ["{ssl_protocol}x"],
}
TAKEN_UNITS = {"D": 1e6, "{us}T": 1e6, "{ms}T": 1e3, "T": 1, "{s}T": 1}
# strftime's directives, and the groups in which they give a part of the time.
STRFTIME_PATTERNS = {
    "d": f"(?P<day>{DAY})",
    "e": " ?(?P<day>[0-9]{1,2})",
    "m": f"(?P<month>{MONTH})",
    "b": f"(?P<month>{MONTH_NAME})",
    "h": f"(?P<month>{MONTH_NAME})",
    "B": f"(?P<month>{MONTH_NAME})[a-z]*",
    "Y": f"(?P<year>{YEAR})",
    "H": f"(?P<hour>{HOUR})",
    "M": f"(?P<minute>{MINUTE})",
    "S": f"(?P<second>{SECOND})",
    "z": f"(?P<zone>{ZONE})",
    "Z": "(?:UTC|GMT)",
    "a": "[A-Za-z]+",
    "A": "[A-Za-z]+",
    "s": "(?P<time>[0-9]+)",
    "%": "%",
}
STRFTIME_SHORTHANDS = {"F": "%Y-%m-%d", "T": "%H:%M:%S", "R": "%H:%M"}
TIME_TOKENS = {
    "sec": "(?P<time>[0-9]+)",
    "msec": "(?P<time>[0-9]+)",
    "usec": "(?P<time>[0-9]+)",
    "msec_frac": "(?P<fraction>[0-9]{3})",
    "usec_frac": "(?P<fraction>[0-9]{6})",
}
REQUIRED_TIME_PARTS = ("year", "month", "day", "hour", "minute")
REMEDY = "docs/formats.md lists what is known"


@dataclass(frozen=True)
class _Piece:
    """A part of a LogFormat: literal `text`, or a directive with its `key` in FIELD_DIRECTIVES."""

    text: str = ""
    kind: str = ""
    key: str = ""
    pattern: str = ""  # of a time
    has_port: bool = False


def compile_log_format(text: str) -> TextFormat:
    """Return the format of the lines that Apache writes for `LogFormat "<text>"`.

    Args:
        text: The text between the quotes, with or without its backslashes, the whole line of
            `httpd.conf`, or one of NICKNAMES.

    Raises:
        ValueError: A directive is unknown, or the lines would lack a host, a status or a time, or could
            not be taken apart. The message names the directive and the remedy.
    """
    pieces = _split_pieces(NICKNAMES.get(text.strip(), text))
    fields = _assign_fields(pieces)
    parts: list[str] = []
    time_parts: set[str] = set()
    for at, piece in enumerate(pieces):
        if not piece.kind:
            parts.append(re.escape(piece.text))
        elif piece.kind == TIME:
            parts.append(_name_groups_once(piece.pattern, time_parts))
        else:
            ends = [
                pieces[other].text if 0 <= other < len(pieces) else "" for other in (at - 1, at + 1)
            ]
            value = _build_value_pattern(piece, is_quoted=ends[0][-1:] == ends[1][:1] == '"')
            parts.append(f"(?P<{fields[at]}>{value})" if at in fields else f"(?:{value})")
    _check_time_parts(time_parts)
    taken = next((pieces[at].key for at, name in fields.items() if name == "taken"), "T")
    return TextFormat(
        "log_format",
        rf"(?s)^{''.join(parts)}[\t-\r ]*$",
        has_escapes=True,
        has_question_mark=True,
        has_epoch=any("(?P<time>[0-9]+)" in piece.pattern for piece in pieces),
        taken_units=TAKEN_UNITS[taken],
    )


def _split_pieces(text: str) -> list[_Piece]:
    # As a line of httpd.conf, with its backslashes, or as the bare string.
    if line := re.match(r'^\s*(?:Log|Custom)Format\s+"((?:[^"\\]|\\.)*)"', text, re.DOTALL):
        text = line[1]
    text = re.sub(r"\\(.)", lambda match: {"t": "\t", "n": ""}.get(match[1], match[1]), text)
    pieces: list[_Piece] = []
    at = 0
    while at < len(text):
        if text[at] != "%":
            end = text.find("%", at)
            end = len(text) if end < 0 else end
            pieces.append(_Piece(text[at:end]))
            at = end
            continue
        match = DIRECTIVE.match(text, at)
        if match is None:
            raise ValueError(f"LogFormat: {text[at : at + 20]!r} is no directive; {REMEDY}")
        pieces.append(_build_piece(match))
        at = match.end()
    merged = _merge_pieces(pieces)
    for piece, following in pairwise(merged):
        if piece.kind in (WORD, TEXT) and following.kind:
            raise ValueError(
                f"LogFormat: nothing stands between %{piece.key} and %{following.key or '…t'}, so nobody "
                "can tell where the first ends; write a space between them"
            )
    return merged


def _merge_pieces(pieces: list[_Piece]) -> list[_Piece]:
    """Join literal texts that stand together, a path and its query, and a virtual host and its port."""
    merged: list[_Piece] = []
    for piece in pieces:
        previous = merged[-1] if merged else _Piece()
        if piece.key == "q" and previous.key == "U":
            continue
        owner = merged[-2] if len(merged) > 1 else _Piece()
        if piece.key == "p" and previous.text == ":" and owner.key in FIELD_DIRECTIVES["vhost"]:
            merged[-2:] = [replace(owner, has_port=True)]
            continue
        if merged and not piece.kind and not previous.kind:  # `%%` beside other text
            merged[-1] = _Piece(previous.text + piece.text)
        else:
            merged.append(piece)
    return merged


def _build_piece(match: re.Match[str]) -> _Piece:
    letter, name = match["letter"], match["name"]
    if letter == "%":
        return _Piece("%")
    flags = match["before"] + match["after"]
    if letter == "t":
        if any(flag.isdigit() for flag in flags):
            raise ValueError(f"LogFormat: {match[0]} is not written for each line; write %t")
        return _Piece(kind=TIME, pattern=_build_time_pattern(name, match[0]))
    if letter not in KINDS:
        raise ValueError(f"LogFormat: the directive {match[0]} is unknown; {REMEDY}")
    key = letter if name is None else f"{{{name.lower()}}}{letter}"
    if letter == "s":
        key = next((flag for flag in reversed(flags) if flag in "<>"), "") + "s"
    if letter == "T" and name is not None and key not in TAKEN_UNITS:
        raise ValueError(f"LogFormat: the directive {match[0]} is unknown; write %{{us}}T or %D")
    return _Piece(kind=KINDS[letter], key=key)


def _build_time_pattern(name: str | None, directive: str) -> str:
    if name is None:
        return r"\[(?P<time>[^\]]*)\]"
    text = re.sub(r"^(?:begin|end):", "", name)
    if text in TIME_TOKENS:
        return TIME_TOKENS[text]
    for short, long in STRFTIME_SHORTHANDS.items():
        text = text.replace(f"%{short}", long)
    parts: list[str] = []
    for match in re.finditer(r"%(.?)|[^%]+", text, re.DOTALL):
        if match[1] is None:
            parts.append(re.escape(match[0]))
        elif match[1] in STRFTIME_PATTERNS:
            parts.append(STRFTIME_PATTERNS[match[1]])
        else:
            raise ValueError(
                f"LogFormat: {match[0]} in {directive} cannot be read; write the time as %t, or with "
                "%Y %m %b %d %H %M %S %z %F %T %s"
            )
    return "".join(parts)


def _name_groups_once(pattern: str, known: set[str]) -> str:
    """Make a group without a name of each whose name is known, and add the other names to `known`."""

    def name_group(match: re.Match[str]) -> str:
        if match[1] in known:
            return "(?:"
        known.add(match[1])
        return match[0]

    return re.sub(r"\(\?P<(\w+)>", name_group, pattern)


def _build_value_pattern(piece: _Piece, *, is_quoted: bool) -> str:
    """A pattern for the value of a directive; it ends where what follows it fits."""
    if piece.kind == NUMBER:
        return SIZE
    if piece.kind == STATUS_CODE:
        return STATUS
    if piece.key == "H":
        return r'HTTP/[^\t-\r "]*|-'
    if piece.kind == TEXT or (piece.key == "u" and is_quoted):
        return LAZY_QUOTED if is_quoted else ".*?"
    return rf"{NOT_SPACE}*?{f':{PORT}' if piece.has_port else ''}"


def _assign_fields(pieces: list[_Piece]) -> dict[int, str]:
    """Position of a piece -> the field that it gives; of several pieces for a field the best."""
    fields = {}
    for name, keys in FIELD_DIRECTIVES.items():
        ranked = [
            (keys.index(piece.key), at) for at, piece in enumerate(pieces) if piece.key in keys
        ]
        if ranked:
            fields[min(ranked)[1]] = name
    for name, description in (("host", "host (%h or %a)"), ("status", "status (%>s)")):
        if name not in fields.values():
            raise ValueError(f"LogFormat: it has no {description}; let the server log it, too")
    return fields


def _check_time_parts(parts: set[str]) -> None:
    missing = [name for name in REQUIRED_TIME_PARTS if name not in parts and "time" not in parts]
    if missing:
        what = (
            "it has no time"
            if len(missing) == len(REQUIRED_TIME_PARTS)
            else f"its time lacks {', '.join(missing)}"
        )
        raise ValueError(f"LogFormat: {what}; write %t")

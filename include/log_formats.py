r"""What a line of an access log looks like, in each format that is read.

Standard library only: this file rides in the zip that `spark-submit` ships to the driver. Spark reads
the lines with these patterns (Java's regular expressions), the inbox looks at files with them
(Python's): they use what means the same in both, and are possessive throughout, so that a hostile line
of a megabyte costs no more than its length.
"""

import hashlib
import json
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import pairwise

# Between the fields, once a pattern has found them. Servers escape control characters; a line that
# holds this one all the same has it replaced first.
SEPARATOR = "\u0001"

# What every format is brought to. `epoch` stands instead of the day to the zone: seconds, or
# milliseconds, microseconds, nanoseconds, told apart by size. `taken` are numbers joined by +, to be
# divided by `unit` to give seconds. `query` is there where it is not part of `request`.
FIELDS = [
    "vhost", "host", "user",
    "day", "month", "year", "hour", "minute", "second", "sign", "zone_hours", "zone_minutes",
    "fraction", "epoch", "request", "query", "status", "content_size", "referrer", "user_agent",
    "taken", "unit", "cache_status", "mime_type", "tls_version", "format",
]  # fmt: skip
TIME_FIELDS = FIELDS[3:13]
MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
UTC_ZONE = {"sign": "+", "zone_hours": "00", "zone_minutes": "00"}

DAY, MONTH, YEAR = r"(0[1-9]|[12]\d|3[01])", r"(0[1-9]|1[0-2])", r"((?:19|20)\d{2})"
MONTH_NAME = r"([A-Z][a-z]{2})"
HOUR, MINUTE, SECOND = r"([01]\d|2[0-3])", r"([0-5]\d)", r"([0-5]\d|60)"
ZONE = r"([+-])([01]\d):?([0-5]\d)"
TIME = (
    rf"{DAY}/{MONTH_NAME}/{YEAR}:{HOUR}:{MINUTE}:{SECOND}"
    r" ([+-])([01]\d)([0-5]\d)"
)
# ISO 8601, and Caddy's `wall`: 2015/05/17 10:05:03. Without a zone it is UTC.
ISO_TIME = (
    rf"{YEAR}[-/]{MONTH}[-/]{DAY}[T ]{HOUR}:{MINUTE}:{SECOND}(?:[.,](\d{{1,9}}))?(?:Z|{ZONE})?"
)
# The end of a line, after (?s). Java's `$` also stands before a last U+0085 or U+2028, which would
# then be left over behind the fields.
END = "(?!.)"
TIME_GROUPS = dict(zip(TIME_FIELDS, [*(f"${n}" for n in range(1, 10)), ""], strict=True))
ISO_GROUPS = {
    "year": "$1", "month": "$2", "day": "$3", "hour": "$4", "minute": "$5", "second": "$6",
    "fraction": "$7", "sign": "$8", "zone_hours": "0$9", "zone_minutes": "0$10",
}  # fmt: skip


@dataclass(frozen=True)
class Format:
    """A pattern for a whole line, and how its groups make the FIELDS: `$3`, literal text, or both.

    `regexp_replace(line, pattern, template)` gives the fields with SEPARATOR between them.
    """

    pattern: str
    groups: dict[str, str] = field(hash=False)

    @property
    def template(self) -> str:
        return SEPARATOR.join(self.groups.get(name, "") for name in FIELDS)

    def parse(self, line: str) -> dict[str, str] | None:
        """The FIELDS of a line, as Spark gets them; None if it does not fit."""
        found = re.match(self.pattern, line, re.ASCII)
        if found is None:
            return None
        template = re.sub(r"\$(\d+)", r"\\g<\1>", self.template)
        return dict(zip(FIELDS, found.expand(template).split(SEPARATOR), strict=True))


# A quote ends the request when status and size follow it, and the referrer when another quoted
# field does: one that the server forgot to escape stays inside. A backslash always takes the next
# character with it, or a visitor could write a status into the log. Possessive throughout:
# the usual `(?:[^"\\]|\\.)*` overflows the stack at 2,000 characters.
REQUEST = rf'((?:[^"\\]++|\\.|"(?! (?:\d{{3}}|-) (?:\d+|-)(?:\s|{END})))*+)'
REFERRER = rf'((?:[^"\\]++|\\.|"(?!\s+"|\s*+{END}))*+)'
USER_AGENT = rf'((?:[^"\\]++|\\.|"(?!\s|{END}))*+)'
# Apache's vhost_combined begins with the server's name and port. An IPv6 host is no such name.
VHOST = r"(?:((?:[^\s:\[\]]++|\[[0-9A-Fa-f:.]++\]):\d{1,5}) (?!- ))?"
# Common and combined, both also with the virtual host in front. `format` is the quote of combined.
APACHE = Format(
    rf'(?s)^{VHOST}(\S+) \S+ (.*?) \[{TIME}\] "{REQUEST}" (\d{{3}}|-) (\d+|-)'
    rf'(?:\s+(")(?:{REFERRER}"\s+"{USER_AGENT}"?|{REFERRER}"?))?(?:\s.*)?{END}',
    {
        "vhost": "$1", "host": "$2", "user": "$3",
        **{name: f"${n}" for n, name in enumerate(TIME_FIELDS[:9], 4)},
        "request": "$13", "status": "$14", "content_size": "$15", "format": "$16",
        "referrer": "$17$19", "user_agent": "$18",
    },
)  # fmt: skip
# AWS Application Load Balancer. The client asked for a path; the load balancer writes a whole
# address, whose server is the virtual host here. A time of -1 says that there is none.
ALB_PREFIX = r"^(?:https?|h2|grpcs|wss?) \d{4}-"
ALB = Format(
    rf"(?s)^(?:https?|h2|grpcs|wss?) {ISO_TIME}"
    r" \S++ \[?([^\s\[\]]{1,60}?)\]?:\d{1,5} \S++"
    r" (-1|\d++(?:\.\d++)?) (-1|\d++(?:\.\d++)?) (-1|\d++(?:\.\d++)?)"
    r" (\d{3}|-) (?:\d{3}|-) (?:\d++|-) (\d++|-)"
    r' "([^\s"\\]++ )?+(?:[a-z]++://([^/\s"?\\]++)(?=[/?]))?+((?:[^"\\]++|\\.)*+)"'
    rf' "((?:[^"\\]++|\\.)*+)"(?: \S++ (\S++))?+(?:\s.*)?{END}',
    ISO_GROUPS | {
        "host": "$11", "taken": "$12+$13+$14", "unit": "1", "status": "$15",
        "content_size": "$16", "request": "$17$19", "vhost": "$18", "user_agent": "$20",
        "tls_version": "$21",
        "format": "alb",
    },
)  # fmt: skip

# JSON lines: the names by which servers know a field, best first. nginx's variables, and what Caddy
# writes, which has half of them in an object `request`.
JSON_NAMES = {
    "host": ["remote_addr", "client_ip", "remote_ip"],
    "user": ["remote_user", "user_id"],
    "time": ["time_iso8601", "time_local", "msec", "ts", "time", "timestamp", "@timestamp"],
    "request": ["request"],
    "method": ["request_method", "method"],
    "target": ["request_uri", "uri"],
    "query": ["args", "query_string"],
    "protocol": ["server_protocol", "proto"],
    "status": ["status"],
    "content_size": ["body_bytes_sent", "bytes_sent", "size"],
    "referrer": ["http_referer", "http_referrer", "referer", "referrer"],
    "user_agent": ["http_user_agent", "user_agent"],
    "taken": ["request_time", "duration"],
    "vhost": ["http_host", "host", "server_name"],
    "cache_status": ["upstream_cache_status"],
    "mime_type": ["sent_http_content_type"],
    "tls_version": ["ssl_protocol"],
}
JSON_HEADERS = {"referrer": "Referer", "user_agent": "User-Agent"}  # Caddy's lists
# Caddy writes the number that stands in the handshake (RFC 8446, section 4.1.2).
TLS_NUMBERS = {"769": "TLSv1", "770": "TLSv1.1", "771": "TLSv1.2", "772": "TLSv1.3"}
JSON_REQUIRED = ["time", "host", "status"]
EPOCH = r"^\d{1,19}(?:\.\d{1,20})?(?:E\d{1,2})?$"


def read_json(line: str) -> dict[str, str] | None:
    """Of a JSON line what JSON_NEEDS names, as text; None if it lacks one of them."""
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, dict):
        return None
    inner = found.get("request")
    places = [found, inner] if isinstance(inner, dict) else [found]
    values = {
        name: next(
            (str(place[key]) for key in JSON_NAMES[name] for place in places
             if place.get(key) not in (None, "", "-")), "",
        )
        for name in JSON_REQUIRED
    }  # fmt: skip
    return values if all(values.values()) else None


def detect_format(
    line: str, custom_format: Format | None = None
) -> tuple[str, datetime | None] | None:
    """The name of the line's format and its time; None if it is in none. W3C is known by file."""
    if custom_format is not None and (fields := custom_format.parse(line)):
        return "log_format", build_instant(fields)
    if fields := APACHE.parse(line):
        name = "combined" if fields["format"] else "common"
        return f"vhost_{name}" if fields["vhost"] else name, build_instant(fields)
    if line.startswith("{"):
        values = read_json(line)
        return ("json", parse_instant(values["time"])) if values else None
    if fields := ALB.parse(line):
        return "alb", build_instant(fields)
    return None


def parse_instant(text: str) -> datetime | None:
    """A time as JSON lines write it."""
    if re.match(EPOCH, text, re.ASCII):
        return build_instant({"epoch": text})
    for pattern, groups in ((ISO_TIME, ISO_GROUPS), (TIME, TIME_GROUPS)):
        if fields := Format(rf"^{pattern}$", groups).parse(text):
            return build_instant(fields)
    return None


def build_instant(fields: dict[str, str]) -> datetime | None:
    """The time in FIELDS; None for a day that the calendar lacks."""
    try:
        if fields.get("epoch"):
            seconds = float(fields["epoch"])
            while seconds >= 1e11:
                seconds /= 1000
            return datetime.fromtimestamp(seconds, UTC)
        month = fields["month"]
        number = MONTHS.index(month) + 1 if month in MONTHS else int(month)
        day = datetime(int(fields["year"]), number, int(fields["day"]), tzinfo=UTC)
        zone = int(fields["zone_hours"]) * 60 + int(fields["zone_minutes"])
        return day + timedelta(
            hours=int(fields["hour"]),
            minutes=int(fields["minute"]) + (zone if fields["sign"] == "-" else -zone),
            seconds=float(f"{fields['second']}.{fields['fraction'] or 0}"),
        )
    except (ValueError, OverflowError, OSError):
        return None


# --- W3C extended -----------------------------------------------------------------------------------

W3C_FILE = r"\.w3c-[0-9a-f]{8}\.log(?:\.gz|\.bz2|\.zst)?$"  # how the inbox names such a file
# Field -> the names by which servers know it, best first.
W3C_NAMES = {
    "host": ["c-ip", "c-dns"],
    "user": ["cs-username"],
    "method": ["cs-method"],
    "target": ["cs-uri-stem", "cs-uri"],
    "query": ["cs-uri-query"],
    "protocol": ["cs-version"],
    "status": ["sc-status"],
    "content_size": ["sc-bytes", "bytes"],
    "referrer": ["cs(referer)"],
    "user_agent": ["cs(user-agent)"],
    "taken": ["time-taken(ms)", "time-taken"],
    "vhost": ["cs-host", "cs(host)"],
}


def normalise_w3c_fields(directive: str, software: str) -> str:
    """What stands behind `#Fields:`, in one form; `time-taken(ms)` says what IIS means by it.

    The draft has seconds there, Microsoft's servers write milliseconds.
    """
    names = directive.lower().split()
    is_iis = "sc-win32-status" in names or software.strip().lower().startswith("microsoft")
    return " ".join(f"{name}(ms)" if is_iis and name == "time-taken" else name for name in names)


def w3c_id(fields: str) -> str:
    return f"w3c-{hashlib.sha256(fields.encode()).hexdigest()[:8]}"


def compile_w3c(fields: str) -> Format:
    """The format of a file whose `#Fields:` names these, in this order.

    Raises ValueError with the remedy if one is missing without which a line says too little.
    """
    names = fields.split()
    lacks = [name for name in ("date", "time") if name not in names]
    lacks += [
        W3C_NAMES[name][0] for name in ("host", "status")
        if not any(known in names for known in W3C_NAMES[name])
    ]  # fmt: skip
    if lacks:
        raise ValueError(
            f"its #Fields names no {' and no '.join(lacks)}; let the server log "
            f"{'it' if len(lacks) == 1 else 'them'}, too"
        )
    owner = {
        next(known for known in W3C_NAMES[name] if known in names): name
        for name in W3C_NAMES if any(known in names for known in W3C_NAMES[name])
    }  # fmt: skip
    parts, groups, count = [], dict(UTC_ZONE), 0
    for name in names:
        wanted = owner.pop(name, "date" if name == "date" else "time" if name == "time" else "")
        if wanted == "date" and "day" not in groups:
            part, made = rf"{YEAR}-{MONTH}-{DAY}", ["year", "month", "day"]
        elif wanted == "time" and "hour" not in groups:
            part = rf"{HOUR}:{MINUTE}(?::{SECOND}(?:\.(\d{{1,9}}))?)?"
            made = ["hour", "minute", "second", "fraction"]
        elif wanted and wanted not in ("date", "time"):
            # Strings may be quoted, with the quote doubled; a dash stands for nothing.
            part, made = r'(?>-(?!\S)|"((?:[^"]++|"")*+)"|(\S++))', [wanted, wanted]
        else:
            part, made = r'(?>"(?:[^"]++|"")*+"|\S++)', []
        for each in made:
            count += 1
            groups[each] = groups.get(each, "") + f"${count}"
        parts.append(part)
    groups["second"] = "0" + groups["second"]  # the draft may leave seconds out
    request = [groups.pop(name, "") for name in ("method", "target", "protocol")]
    groups["request"] = " ".join(text for text in request if text)
    groups["unit"] = "1000" if "time-taken(ms)" in names else "1"
    between = r"[ \t]++"
    return Format(rf"(?s)^{between.join(parts)}\s*+{END}", groups | {"format": "w3c"})


# --- Apache's LogFormat -----------------------------------------------------------------------------

NICKNAMES = {
    "common": '%h %l %u %t "%r" %>s %b',
    "combined": '%h %l %u %t "%r" %>s %b "%{Referer}i" "%{User-Agent}i"',
    "vhost_combined": '%v:%p %h %l %u %t "%r" %>s %O "%{Referer}i" "%{User-Agent}i"',
}
DIRECTIVE = re.compile(
    r"%(?P<before>[!<>\d,]*)(?:\{(?P<name>[^}]*)\})?(?P<after>[!<>\d,]*)"
    r"(?P<letter>\^[A-Za-z]{2}|[A-Za-z%])"
)
WORD, TEXT, NUMBER, STATUS = "word", "text", "number", "status"
KINDS = (
    dict.fromkeys("haAlmvVXLP", WORD)
    | dict.fromkeys([*"urUqHioeCnfRxc", "^ti", "^to"], TEXT)
    | dict.fromkeys(["b", "B", "O", "I", "S", "D", "T", "k", "p", "^FB"], NUMBER)
    | {"s": STATUS}
)  # fmt: skip
SHAPES = {NUMBER: r"(?:\d++|-)", STATUS: r"(?:\d{3}|-)"}
# What gives a field: (its directives, best first). Headers in small letters.
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
    "port": ["p"],
}
UNITS = {"D": "1000000", "{us}T": "1000000", "{ms}T": "1000", "T": "1", "{s}T": "1"}
STRFTIME_PATTERNS = {  # strftime's, as (pattern, the field of each group)
    "d": (DAY, ["day"]), "e": (r" ?(\d{1,2})", ["day"]), "m": (MONTH, ["month"]),
    "b": (MONTH_NAME, ["month"]), "h": (MONTH_NAME, ["month"]),
    "B": (MONTH_NAME + "[a-z]*+", ["month"]), "Y": (YEAR, ["year"]),
    "H": (HOUR, ["hour"]), "M": (MINUTE, ["minute"]), "S": (SECOND, ["second"]),
    "z": (ZONE, ["sign", "zone_hours", "zone_minutes"]), "Z": ("(?:UTC|GMT)", []),
    "a": ("[A-Za-z]++", []), "A": ("[A-Za-z]++", []), "s": (r"(\d++)", ["epoch"]), "%": ("%", []),
}  # fmt: skip
STRFTIME_SHORTHANDS = {"F": "%Y-%m-%d", "T": "%H:%M:%S", "R": "%H:%M"}
TIME_TOKENS = {
    "sec": (r"(\d++)", ["epoch"]), "msec": (r"(\d++)", ["epoch"]), "usec": (r"(\d++)", ["epoch"]),
    "msec_frac": (r"(\d{3})", ["fraction"]), "usec_frac": (r"(\d{6})", ["fraction"]),
}  # fmt: skip
REMEDY = "docs/formats.md lists what is known"


@dataclass
class _Piece:
    """A part of a LogFormat: `text` literal, or a directive of some kind."""

    text: str = ""
    kind: str = ""
    key: str = ""  # as in GIVES
    parts: list[tuple[str, list[str]]] = field(default_factory=list)  # of a time

    @property
    def shape(self) -> str:
        """What can be said of its value beforehand; nothing of free text."""
        if self.kind == "time":
            return re.sub(r"\((?!\?)", "(?:", "".join(pattern for pattern, _ in self.parts))
        return SHAPES.get(self.kind, "") if self.kind else re.escape(self.text)


def compile_log_format(text: str) -> Format:
    """The format that Apache's mod_log_config writes when told `LogFormat "<text>"`.

    Takes a nickname (NICKNAMES), too. Raises ValueError that names the directive and the remedy.
    """
    pieces = _pieces(NICKNAMES.get(text.strip(), text))
    owner = _owners(pieces)
    parts: list[str] = []
    groups: dict[str, str] = {}
    count = 0
    for at, piece in enumerate(pieces):
        if not piece.kind:
            parts.append(re.escape(piece.text))
            continue
        if piece.kind == "time":
            made = piece.parts
        else:
            name = owner.get(at, "")
            value = SHAPES.get(piece.kind) or _free(piece, pieces[at + 1 :])
            made = [(f"({value})" if name else f"(?:{value})", [name] if name else [])]
        for pattern, names in made:
            parts.append(pattern)
            for name in names:
                count += 1
                groups.setdefault(name, f"${count}")
    _check_time(groups)
    return Format(rf"(?s)^{''.join(parts)}\s*+{END}", _composed(groups, owner, pieces))


def _pieces(text: str) -> list[_Piece]:
    # As a line of httpd.conf, with its backslashes, or as the bare string.
    if line := re.match(r'^\s*(?:Log|Custom)Format\s+"((?:[^"\\]|\\.)*)"', text, re.DOTALL):
        text = line[1]
    text = re.sub(r"\\(.)", lambda found: {"t": "\t", "n": ""}.get(found[1], found[1]), text)
    pieces: list[_Piece] = []
    at = 0
    while at < len(text):
        if text[at] != "%":
            end = text.find("%", at)
            end = len(text) if end < 0 else end
            pieces.append(_Piece(text[at:end]))
            at = end
            continue
        found = DIRECTIVE.match(text, at)
        if found is None:
            raise ValueError(f"LogFormat: {text[at : at + 20]!r} is no directive; {REMEDY}")
        pieces.append(_directive(found))
        at = found.end()
    merged: list[_Piece] = []
    for piece in pieces:
        if merged and piece.key == "q" and merged[-1].key == "U":
            continue  # path and query, written as one: read as one
        if merged and not piece.kind and not merged[-1].kind:  # `%%` beside other text
            merged[-1] = _Piece(merged[-1].text + piece.text)
        else:
            merged.append(piece)
    for one, other in pairwise(merged):
        if one.kind in (WORD, TEXT) and other.kind:
            raise ValueError(
                f"LogFormat: nothing stands between %{one.key} and %{other.key or '…t'}, so nobody "
                "can tell where the first ends; write a space between them"
            )
    return merged


def _directive(found: re.Match[str]) -> _Piece:
    letter, name = found["letter"], found["name"]
    if letter == "%":
        return _Piece("%")
    flags = found["before"] + found["after"]
    if letter == "t":
        if any(flag.isdigit() for flag in flags):
            raise ValueError(f"LogFormat: {found[0]} is not written for each line; write %t")
        return _Piece(kind="time", parts=_time_parts(name, found[0]))
    if letter not in KINDS:
        raise ValueError(f"LogFormat: the directive {found[0]} is unknown; {REMEDY}")
    key = letter if name is None else f"{{{name.lower()}}}{letter}"
    if letter == "s":
        key = next((flag for flag in reversed(flags) if flag in "<>"), "") + "s"
    if letter == "T" and name is not None and key not in UNITS:
        raise ValueError(f"LogFormat: the directive {found[0]} is unknown; write %{{us}}T or %D")
    return _Piece(kind=KINDS[letter], key=key)


def _time_parts(name: str | None, directive: str) -> list[tuple[str, list[str]]]:
    if name is None:
        return [(rf"\[{TIME}\]", TIME_FIELDS[:9])]
    text = re.sub(r"^(?:begin|end):", "", name)
    if text in TIME_TOKENS:
        return [TIME_TOKENS[text]]
    for short, long in STRFTIME_SHORTHANDS.items():
        text = text.replace(f"%{short}", long)
    parts: list[tuple[str, list[str]]] = []
    for found in re.finditer(r"%(.?)|[^%]+", text, re.DOTALL):
        if found[1] is None:
            parts.append((re.escape(found[0]), []))
        elif found[1] in STRFTIME_PATTERNS:
            parts.append(STRFTIME_PATTERNS[found[1]])
        else:
            raise ValueError(
                f"LogFormat: {found[0]} in {directive} cannot be read; write the time as %t, or with "
                "%Y %m %b %d %H %M %S %z %F %T %s"
            )
    return parts


def _free(piece: _Piece, after: list[_Piece]) -> str:
    """A pattern for text that ends where what comes after it begins."""
    ends = after[0].text if after else ""
    is_word = piece.kind == WORD
    if not ends:
        return r"\S*+" if is_word else ".*+"
    first = re.escape(ends[0])
    rest = re.escape(ends[1:])
    for following in after[1:5]:
        if following.kind in (WORD, TEXT):
            rest += "(?:HTTP/|-)" if following.key == "H" else ""
            break
        rest += following.shape
    else:
        if len(after) <= 5:
            rest += rf"\s*+{END}"
    plain = rf"[^{first}{_class(is_word, ends[0])}]++"
    if ends[0] == '"':
        plain += r"|\\."
    # The first character of the end may also stand inside, if the rest does not follow it.
    inside = rf"|{first}(?!{rest})" if rest and not (is_word and ends[0].isspace()) else ""
    return rf"(?:{plain}{inside})*+"


def _class(is_word: bool, end: str) -> str:
    return (r"\s" if is_word else "") + (r"\\" if end == '"' else "")


def _owners(pieces: list[_Piece]) -> dict[int, str]:
    """Which piece gives which field, by its place; of several the best."""
    owner = {}
    for name, keys in FIELD_DIRECTIVES.items():
        places = [(keys.index(p.key), at) for at, p in enumerate(pieces) if p.key in keys]
        if places:
            owner[min(places)[1]] = name
    for name, says in (("host", "host (%h or %a)"), ("status", "status (%>s)")):
        if name not in owner.values():
            raise ValueError(f"LogFormat: it has no {says}; let the server log it, too")
    return owner


def _check_time(groups: dict[str, str]) -> None:
    wanted = ["year", "month", "day", "hour", "minute"]
    lacks = [name for name in wanted if name not in groups and "epoch" not in groups]
    if lacks:
        what = "it has no time" if lacks == wanted else f"its time lacks {', '.join(lacks)}"
        raise ValueError(f"LogFormat: {what}; write %t")


def _composed(
    groups: dict[str, str], owner: dict[int, str], pieces: list[_Piece]
) -> dict[str, str]:
    """The groups of a LogFormat as FIELDS."""
    key = {name: pieces[at].key for at, name in owner.items()}
    place = {name: at for at, name in owner.items()}
    target = groups.pop("target", "") + groups.pop("query", "")
    request = [groups.pop("method", ""), target, groups.pop("protocol", "")]
    groups.setdefault("request", " ".join(text for text in request if text))
    port = groups.pop("port", "")
    at = place.get("vhost", 0)
    if "vhost" in place and place.get("port") == at + 2 and pieces[at + 1].text == ":":
        groups["vhost"] += f":{port}"
    if "taken" in key:
        groups["unit"] = UNITS[key["taken"]]
    return UTC_ZONE | {"second": "00"} | groups | {"format": "log_format"}

r"""Writes a request as each server logs it, and says which columns a reader must give for the line."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from urllib.parse import quote

from include.log_formats.times import MONTHS


@dataclass(frozen=True)
class Request:
    """A request with a response. Texts may hold any character; None is a field that is not there."""

    host: str
    port: str
    user: str | None
    time: datetime  # with a zone
    method: str
    path: str
    query: str | None
    protocol: str | None
    status: int
    size: int | None
    referrer: str | None
    user_agent: str | None
    vhost: str
    millis: int

    @property
    def request_line(self) -> str:
        return " ".join(filter(None, (self.method, self.target, self.protocol)))

    @property
    def target(self) -> str:
        return self.path if self.query is None else f"{self.path}?{self.query}"


@dataclass
class Written:
    """A line, and what it must give: `expected` is column -> value, the others are null."""

    text: str
    expected: dict[str, object] = field(default_factory=dict)


Escape = Callable[[str], str]


def escape_as_apache(text: str) -> str:
    r"""`ap_escape_logitem` of Apache's server/util.c: `\"`, `\\`, `\n` and the like, and `\xhh`."""
    return re.sub(r'(["\\])', r"\\\1", escape_bytes_as_apache(text))


def escape_bytes_as_apache(text: str) -> str:
    r"""Only what is not printable ASCII. The reader leaves these escapes as they are written."""
    names = {8: "\\b", 10: "\\n", 13: "\\r", 9: "\\t", 11: "\\v"}
    return "".join(
        chr(byte) if 32 <= byte < 127 else names.get(byte, f"\\x{byte:02x}")
        for byte in text.encode()
    )


def escape_as_nginx(text: str) -> str:
    r"""nginx's `escape=default`: `\xHH` for a quote, a backslash and what is not printable ASCII."""
    return "".join(
        chr(byte) if 32 <= byte < 127 and byte not in b'"\\' else f"\\x{byte:02X}"
        for byte in text.encode()
    )


def keep(text: str) -> str:
    return text


def format_zone(time: datetime) -> str:
    minutes = int(time.utcoffset().total_seconds()) // 60
    return f"{'-' if minutes < 0 else '+'}{abs(minutes) // 60:02}{abs(minutes) % 60:02}"


def format_clf_time(time: datetime) -> str:
    month = MONTHS[time.month - 1]
    return f"{time.day:02}/{month}/{time.year}:{time:%H:%M:%S} {format_zone(time)}"


def expect(
    request: Request, log_format: str, keeps: Escape, **changed: object
) -> dict[str, object]:
    """What most formats give; `keeps` is what the reader leaves escaped."""
    texts = {
        name: keeps(value)
        for name in ("user", "query", "referrer", "user_agent")
        if (value := getattr(request, name)) is not None
    }
    return {
        **texts, "host": request.host, "timestamp": request.time.replace(microsecond=0).astimezone(UTC),
        "method": request.method, "endpoint": keeps(request.path), "protocol": request.protocol,
        "status": request.status, "content_size": request.size, "log_format": log_format,
    } | changed  # fmt: skip


def show(value: object) -> str:
    return "-" if value is None else str(value)


def show_text(value: str | None, escape: Escape) -> str:
    return "-" if value is None else escape(value)


def write_clf(
    request: Request,
    *,
    escape: Escape,
    keeps: Escape,
    is_combined: bool,
    vhost: str = "",
    has_port: bool,
) -> Written:
    """Apache's and nginx's lines."""
    host, user = request.host, show_text(request.user, escape)
    if has_port:
        host = f"[{host}]:{request.port}" if ":" in host else f"{host}:{request.port}"
    if " " in user or user.startswith("["):
        user = f'"{user}"'
    name = "combined" if is_combined else "common"
    text = (f'{host} - {user} [{format_clf_time(request.time)}] "{escape(request.request_line)}" '
            f"{request.status} {show(request.size)}")  # fmt: skip
    expected = expect(request, name, keeps)
    if is_combined:
        headers = [show_text(value, escape) for value in (request.referrer, request.user_agent)]
        text += ' "{}" "{}"'.format(*headers)
    else:
        expected |= {"referrer": None, "user_agent": None}
    if vhost:
        text = f"{vhost} {text}"
        expected |= {"vhost": vhost, "log_format": f"vhost_{name}"}
    return Written(text, expected)


def choose_vhost(request: Request) -> str:
    """With its port; before an address of a client also without, if the request's port is even."""
    is_address = ":" in request.host or re.fullmatch(r"[0-9.]+", request.host)
    return request.vhost if is_address and int(request.port) % 2 == 0 else f"{request.vhost}:443"


def build_clf_writers() -> dict[str, Callable[[Request], Written]]:
    writers: dict[str, Callable[[Request], Written]] = {}
    for server, escape, keeps in (
        ("apache", escape_as_apache, escape_bytes_as_apache),
        ("nginx", escape_as_nginx, escape_as_nginx),
    ):
        for is_combined in (False, True):
            for has_port in (False, True):
                options = {"escape": escape, "keeps": keeps, "is_combined": is_combined,
                           "has_port": has_port}  # fmt: skip
                name = f"{server} {'combined' if is_combined else 'common'}{' port' * has_port}"
                writers[name] = lambda request, options=options: write_clf(request, **options)
                writers[f"{name} vhost"] = lambda request, options=options: write_clf(
                    request, vhost=choose_vhost(request), **options
                )
    return writers


def write_nginx_json(request: Request) -> Written:
    """nginx with `escape=json`: all values are strings, and what is not there is empty."""
    line = {
        "time_iso8601": request.time.isoformat(timespec="seconds"), "remote_addr": request.host,
        "remote_user": request.user or "", "request": request.request_line, "status": str(request.status),
        "body_bytes_sent": str(request.size or 0), "http_referer": request.referrer or "",
        "http_user_agent": request.user_agent or "", "http_host": request.vhost,
        "request_time": f"{request.millis / 1000:.3f}", "upstream_cache_status": "HIT",
        "sent_http_content_type": "text/html", "ssl_protocol": "TLSv1.3",
    }  # fmt: skip
    return Written(
        json.dumps(line, ensure_ascii=False),
        expect(request, "json", keep, content_size=request.size or 0, vhost=request.vhost,
               seconds_taken=request.millis / 1000, cache_status="HIT", mime_type="text/html",
               tls_version="TLSv1.3"),
    )  # fmt: skip


def write_caddy_json(request: Request) -> Written:
    """Caddy: numbers are numbers, the request is an object, and its headers are lists."""
    headers = {"Referer": request.referrer, "User-Agent": request.user_agent}
    line = {
        "level": "info", "ts": int(request.time.timestamp()) + 0.25, "logger": "http.log.access",
        "request": {
            "remote_ip": request.host, "remote_port": request.port, "proto": request.protocol or "HTTP/1.0",
            "method": request.method, "host": request.vhost, "uri": request.target,
            "headers": {name: [value] for name, value in headers.items() if value is not None},
            "tls": {"version": 772},
        },
        "user_id": request.user or "", "duration": request.millis / 1000, "size": request.size or 0,
        "status": request.status, "resp_headers": {"Content-Type": ["text/html", "x"]},
    }  # fmt: skip
    at = request.time.replace(microsecond=250_000).astimezone(UTC)
    return Written(
        json.dumps(line),
        expect(request, "json", keep, content_size=request.size or 0, vhost=request.vhost, timestamp=at,
               protocol=request.protocol or "HTTP/1.0", seconds_taken=request.millis / 1000,
               mime_type="text/html", tls_version="TLSv1.3"),
    )  # fmt: skip


def write_alb(request: Request) -> Written:
    """AWS Application Load Balancer: UTC with microseconds, and a whole address."""
    at = request.time.astimezone(UTC)
    first, second = request.millis // 3, request.millis // 2
    parts = (first, second - first, request.millis - second)
    host = f"[{request.host}]" if ":" in request.host else request.host
    line = (
        f"https {at:%Y-%m-%dT%H:%M:%S}.{at.microsecond:06}Z app/lb/50dc6c495c0c9188 "
        f"{host}:{request.port} 10.0.0.1:80 {' '.join(f'{part / 1000:.3f}' for part in parts)} "
        f"{request.status} 200 34 {show(request.size)} "
        f'"{request.method} https://{request.vhost}:443{escape_as_nginx(request.target)} '
        f'{request.protocol or "HTTP/1.0"}" "{show_text(request.user_agent, escape_as_nginx)}" '
        'ECDHE-RSA-AES128-GCM-SHA256 TLSv1.2 arn:aws:x "Root=1-58337262-36d228ad5d99923122bbe354" "-" "-"'
    )
    return Written(
        line,
        expect(request, "alb", escape_as_nginx, timestamp=at, user=None, referrer=None,
               protocol=request.protocol or "HTTP/1.0", vhost=f"{request.vhost}:443",
               seconds_taken=request.millis / 1000, tls_version="TLSv1.2"),
    )  # fmt: skip


IIS_FIELDS = (
    "date time s-ip cs-method cs-uri-stem cs-uri-query s-port cs-username c-ip cs-version cs(User-Agent) "
    "cs(Referer) cs-host sc-status sc-substatus sc-win32-status sc-bytes time-taken"
)


def write_iis(request: Request) -> Written:
    """IIS: no quotes, a plus sign for white space, milliseconds."""

    def plus(text: str | None) -> str:
        return "-" if text is None else re.sub("[\t-\r ]", "+", text)

    def free(text: str | None) -> str:
        return plus(text).lstrip('"') or "-"  # a quote at the start begins a quoted value

    def read_back(text: str | None) -> str | None:
        return None if free(text) == "-" else free(text).replace("+", " ")

    at = request.time.astimezone(UTC)
    # IIS writes `-` for no query; an empty one is the same.
    user, query = (free(text) for text in (request.user, (request.query or "-").lstrip("?")))
    return Written(
        f"{at:%Y-%m-%d %H:%M:%S} 10.0.0.1 {request.method} {plus(request.path)} {query} 443 {user} "
        f"{request.host} {request.protocol or '-'} {free(request.user_agent)} {free(request.referrer)} "
        f"{request.vhost} {request.status} 0 0 {show(request.size)} {request.millis}",
        expect(
            request, "w3c", plus, user=None if user == "-" else user, query=None if query == "-" else query,
            referrer=read_back(request.referrer), user_agent=read_back(request.user_agent),
            vhost=request.vhost, seconds_taken=request.millis / 1000,
        ),
    )  # fmt: skip


DRAFT_FIELDS = (
    "date time c-ip cs-username cs-method cs-uri cs-version sc-status bytes cs(Referer) cs(User-Agent) "
    "time-taken"
)


def write_w3c_draft(request: Request) -> Written:
    """As the W3C draft has it: strings in quotes, a quote twice, seconds."""

    def quoted(text: str | None) -> str:
        return "-" if text is None else '"' + text.replace('"', '""') + '"'

    at = request.time.astimezone(UTC)
    return Written(
        f"{at:%Y-%m-%d\t%H:%M:%S}\t{request.host}\t{quoted(request.user)}\t{request.method}"
        f"\t{quoted(request.target)}\t{request.protocol or '-'}\t{request.status}\t{show(request.size)}"
        f"\t{quoted(request.referrer)}\t{quoted(request.user_agent)}\t{request.millis / 1000:.3f}",
        expect(request, "w3c", keep, seconds_taken=request.millis / 1000),
    )


CLOUDFRONT_FIELDS = (
    "date time x-edge-location sc-bytes c-ip cs-method cs-host cs-uri-stem sc-status cs(Referer) "
    "cs(User-Agent) cs-uri-query x-edge-result-type time-taken ssl-protocol cs-protocol-version"
)


def write_cloudfront(request: Request) -> Written:
    """CloudFront: tabs, referrer and user agent percent-encoded."""

    def encode(text: str | None) -> str:
        return "-" if text is None else quote(text, safe="/:()")

    at = request.time.astimezone(UTC)
    return Written(
        f"{at:%Y-%m-%d\t%H:%M:%S}\tFRA6\t{show(request.size)}\t{request.host}\t{request.method}"
        f"\t{request.vhost}\t{encode(request.path)}\t{request.status}\t{encode(request.referrer)}"
        f"\t{encode(request.user_agent)}\t{encode(request.query or None)}\tMiss"
        f"\t{request.millis / 1000:.3f}\tTLSv1.3\t{request.protocol or '-'}",
        expect(
            request, "w3c", keep, user=None, endpoint=encode(request.path), vhost=request.vhost,
            cache_status="Miss",
            query=None if request.query in ("", "-", None) else encode(request.query),
            tls_version="TLSv1.3",
            seconds_taken=request.millis / 1000,
        ),
    )  # fmt: skip


WRITERS = build_clf_writers() | {
    "nginx json": write_nginx_json, "Caddy json": write_caddy_json, "ALB": write_alb,
}  # fmt: skip
# Fields -> who writes a file with them.
W3C_WRITERS = {
    IIS_FIELDS: write_iis,
    DRAFT_FIELDS: write_w3c_draft,
    CLOUDFRONT_FIELDS: write_cloudfront,
}


def fill_log_format(log_format: str, request: Request) -> Written:
    """Write a line of an Apache LogFormat. Without quotes a value holds no `|`."""
    at = request.time
    if "%t" not in log_format and "%z" not in log_format:
        at = at.astimezone(UTC)
    if '"%u"' not in log_format:  # it is one word
        request = replace(request, user=request.user and request.user.replace(" ", "_"))
    if "|" in log_format:
        request = Request(**{
            name: value.replace("|", "!") if isinstance(value, str) else value
            for name, value in vars(request).items()
        })  # fmt: skip
    escape, escape_bytes = escape_as_apache, escape_bytes_as_apache
    micros = int(request.time.timestamp()) * 1_000_000 + at.microsecond
    values = {
        "%h": request.host, "%a": request.host, "%l": "-", "%u": show_text(request.user, escape),
        "%t": f"[{format_clf_time(at)}]", "%r": escape(request.request_line), "%m": request.method,
        "%U": escape(request.path), "%q": "" if request.query is None else escape(f"?{request.query}"),
        "%H": request.protocol or "-", "%>s": str(request.status), "%s": str(request.status),
        "%b": show(request.size), "%B": show(request.size or 0), "%O": show(request.size),
        "%{Referer}i": show_text(request.referrer, escape),
        "%{User-Agent}i": show_text(request.user_agent, escape), "%{Host}i": request.vhost,
        "%v": request.vhost, "%p": request.port, "%D": str(request.millis * 1000),
        "%{ms}T": str(request.millis), "%{usec}t": str(micros), "%{sec}t": str(micros // 1_000_000),
        "%{usec_frac}t": f"{at.microsecond:06}", "%{%z}t": format_zone(at),
        "%{%F %T}t": f"{at:%Y-%m-%d %H:%M:%S}", "%{SSL_PROTOCOL}x": "TLSv1.3",
        "%{%d/%b/%Y:%T}t": format_clf_time(at)[:-6], "%{X}o": escape(request.target), "%P": "77",
        "%{Content-Type}o": "text/html", "%{Cache-Status}e": "HIT", "%%": "%",
        "%{%Y-%m-%dT%H:%M:%S%z}t": f"{at:%Y-%m-%dT%H:%M:%S}{format_zone(at)}",
    }  # fmt: skip
    has_micros = "usec" in log_format
    text = re.sub(r"%>?(?:\{[^}]*\})?[A-Za-z%]", lambda match: values[match[0]], log_format)
    expected = expect(
        request, "log_format", escape_bytes,
        timestamp=(request.time if has_micros else request.time.replace(microsecond=0)).astimezone(UTC),
    )  # fmt: skip
    for directive, names in {
        "%u": ["user"], "%{Referer}i": ["referrer"], "%{User-Agent}i": ["user_agent"],
    }.items():  # fmt: skip
        if directive not in log_format:
            expected |= dict.fromkeys(names)
    if "%B" in log_format:
        expected["content_size"] = request.size or 0
    if "%D" in log_format or "%{ms}T" in log_format:
        expected["seconds_taken"] = request.millis / 1000
    for directive, name, value in (
        ("%{Host}i", "vhost", request.vhost), ("%v", "vhost", request.vhost),
        ("%v:%p", "vhost", f"{request.vhost}:{request.port}"), ("%{SSL_PROTOCOL}x", "tls_version", "TLSv1.3"),
        ("%{Content-Type}o", "mime_type", "text/html"), ("%{Cache-Status}e", "cache_status", "HIT"),
    ):  # fmt: skip
        if directive in log_format:
            expected[name] = value
    return Written(text, expected)


LOG_FORMATS = {
    "combined": '%h %l %u %t "%r" %>s %b "%{Referer}i" "%{User-Agent}i"',
    "vhost_combined": '%v:%p %h %l %u %t "%r" %>s %O "%{Referer}i" "%{User-Agent}i"',
    "tabs": '%h\t%u\t%t\t"%r"\t%>s\t%b\t"%{Referer}i"\t"%{User-Agent}i"\t%D',
    "pipes without quotes": "%a|%{%Y-%m-%dT%H:%M:%S%z}t|%m|%U%q|%H|%s|%B|%{Referer}i|%{User-Agent}i|%{Host}i",
    "like JSON": '{"at":%{sec}t,"client":"%a","r":"%r","status":%>s,"b":"%b","ua":"%{User-Agent}i"}',
    "time in pieces": '[%{%d/%b/%Y:%T}t.%{usec_frac}t %{%z}t] %h "%r" %>s %O %{ms}T "%{X}o" [%P] 100%%',
    "microseconds": '%{usec}t %h "%u" %s "%r" %b %{SSL_PROTOCOL}x %{Content-Type}o %{Cache-Status}e',
    "a day and a time": '%{%F %T}t;%h;%u;"%r";%>s;%b;"%{Referer}i";%D',
}

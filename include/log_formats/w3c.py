"""W3C extended log files, whose `#Fields:` say what is in a line.

Source: https://www.w3.org/TR/WD-logfile.html; IIS and CloudFront write it with meanings of their own.
"""

import hashlib

from include.log_formats.grammar import DAY, MONTH, STATUS, YEAR, TextFormat

# How the inbox names such a file. Spark reads it by the fields with this id.
W3C_FILE = r"\.(w3c-[0-9a-f]{8})\.log(?:\.gz|\.bz2|\.zst)?$"
# Field -> the names by which servers know it, best first.
W3C_NAMES = {
    "host": ("c-ip", "c-dns"),
    "user": ("cs-username",),
    "method": ("cs-method",),
    "target": ("cs-uri-stem", "cs-uri"),
    "query": ("cs-uri-query(?)", "cs-uri-query"),
    "protocol": ("cs-protocol-version", "cs-version"),
    "status": ("sc-status",),
    "content_size": ("sc-bytes", "bytes"),
    "referrer": ("cs(referer)",),
    "user_agent": ("cs(user-agent)",),
    "taken": ("time-taken(ms)", "time-taken"),
    "vhost": ("x-host-header", "cs-host", "cs(host)"),
    "tls_version": ("ssl-protocol",),
    "cache_status": ("x-edge-result-type",),
}
# IIS and ASP.NET Core's W3CLogger write these; the draft does not know them.
_NAMES_OF_MICROSOFT = ("sc-win32-status", "s-computername", "s-sitename")
_NAME_OF_CLOUDFRONT = "x-edge-location"
_VALUE = r'"(?:[^"]|"")*"|[^\t-\r ]+'


def normalise_w3c_fields(directive: str, software: str) -> str:
    """Bring what stands behind `#Fields:` to one form.

    Args:
        directive: The names of the fields.
        software: What stands behind `#Software:`; may be empty.

    Returns:
        The names in small letters, with a space between. `time-taken(ms)` says that it is in
        milliseconds, as Microsoft's servers write it; the draft has seconds. `cs-uri-query(?)` says that it
        stands with its question mark, as ASP.NET Core writes it, which names no software.
    """
    names = directive.lower().split()
    is_microsoft = software.strip().lower().startswith("microsoft") or any(
        name in names for name in _NAMES_OF_MICROSOFT
    )
    is_aspnet = is_microsoft and not software and "sc-win32-status" not in names
    marks = {
        "time-taken": "(ms)" if is_microsoft else "",
        "cs-uri-query": "(?)" if is_aspnet else "",
    }
    return " ".join(f"{name}{marks.get(name, '')}" for name in names)


def build_w3c_id(fields: str) -> str:
    """Return a short name for normalised fields, such as `w3c-1a2b3c4d`."""
    return f"w3c-{hashlib.sha256(fields.encode()).hexdigest()[:8]}"


def compile_w3c(fields: str) -> TextFormat:
    """Return the format of a file with these fields.

    Args:
        fields: Normalised fields, in the order of the file.

    Raises:
        ValueError: A field is missing without which a line cannot be read.
    """
    names = fields.split()
    missing = [name for name in ("date", "time") if name not in names]
    missing += [
        W3C_NAMES[name][0]
        for name in ("host", "status")
        if not any(known in names for known in W3C_NAMES[name])
    ]
    if missing:
        raise ValueError(
            f"its #Fields names no {' and no '.join(missing)}; let the server log "
            f"{'it' if len(missing) == 1 else 'them'}, too"
        )
    groups = {
        next(known for known in known_names if known in names): field
        for field, known_names in W3C_NAMES.items()
        if any(known in names for known in known_names)
    }
    patterns = {
        "date": rf'"?(?P<date>{YEAR}-{MONTH}-{DAY})"?',
        "time": r'"?(?P<clock>[0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{1,9})?)?)"?',
    } | {
        name: rf'"?(?P<status>{STATUS})"?' if field == "status" else f"(?P<{field}>{_VALUE})"
        for name, field in groups.items()
    }
    # A name that stands twice is read once.
    parts = [patterns.pop(name, f"(?:{_VALUE})") for name in names]
    return TextFormat(
        "w3c",
        "(?s)^" + r"[ \t]+".join(parts) + r"[ \t]*$",
        has_w3c_values=_NAME_OF_CLOUDFRONT not in names,
        is_url_encoded=_NAME_OF_CLOUDFRONT in names,
        has_question_mark="cs-uri-query(?)" in names,
        taken_units=1000 if "time-taken(ms)" in names else 1,
    )

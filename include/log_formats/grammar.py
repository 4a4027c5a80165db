r"""Parts of patterns that several formats share, and `TextFormat`, a pattern for a whole line.

`[^\t-\r ]` is any character but ASCII white space. Every pattern begins with `(?s)`: a dot is any
character.
"""

from dataclasses import dataclass

# What a format can give of a line, all as text. A group `name_2` in a pattern gives `name`, too.
# `taken` is a time taken, in `1 / taken_units` seconds.
FIELDS = (
    "host", "user", "time", "request", "method", "target", "query", "protocol", "status", "content_size",
    "referrer", "user_agent", "vhost", "taken", "taken_b", "taken_c", "cache_status", "mime_type",
    "tls_version",
)  # fmt: skip

NOT_SPACE = r"[^\t-\r ]"
PORT = "[0-9]{1,5}"

OCTET = "(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
IPV4 = rf"{OCTET}(?:\.{OCTET}){{3}}"
_GROUP = "[0-9A-Fa-f]{1,4}"
IPV6 = (
    rf"(?:(?:{_GROUP}:){{7}}{_GROUP}|(?:{_GROUP}:){{6}}{IPV4}"
    rf"|(?:{_GROUP}:){{1,7}}:|:(?::{_GROUP}){{1,7}}|::(?:{_GROUP}:){{0,5}}{IPV4}"
    + "".join(
        rf"|(?:{_GROUP}:){{1,{before}}}(?::{_GROUP}){{1,{7 - before}}}" for before in range(1, 7)
    )
    + "".join(
        rf"|(?:{_GROUP}:){{1,{before}}}:(?:{_GROUP}:){{0,{5 - before}}}{IPV4}"
        for before in range(1, 6)
    )
    + "|::)"
)
# The zone of a link-local address (RFC 6874).
ZONE_ID = r"(?:%[0-9A-Za-z_.~-]+)?"
# RFC 1123, with the underscore that is seen in practice. The last label is no number: it would be an
# address that is cut off, or no host at all.
_LABEL = "[0-9A-Za-z_](?:[0-9A-Za-z_-]*[0-9A-Za-z_])?"
_LAST_LABEL = (
    "(?:[A-Za-z_](?:[0-9A-Za-z_-]*[0-9A-Za-z_])?"
    "|[0-9]+(?:[A-Za-z_]|-[0-9-]*[A-Za-z_])(?:[0-9A-Za-z_-]*[0-9A-Za-z_])?"
    "|[0-9]+(?:-+[0-9]+)+)"
)
HOST_NAME = rf"(?:{_LABEL}\.)*{_LAST_LABEL}\.?"
HOST = rf"(?:{IPV4}|{IPV6}{ZONE_ID}|{HOST_NAME})"
MAX_HOST_LENGTH = 255

DAY, MONTH, YEAR = "(?:0[1-9]|[12][0-9]|3[01])", "(?:0[1-9]|1[0-2])", "(?:19|20)[0-9]{2}"
MONTH_NAME = "[A-Z][a-z]{2}"
HOUR, MINUTE, SECOND = "(?:[01][0-9]|2[0-3])", "[0-5][0-9]", "(?:[0-5][0-9]|60)"
ZONE = "(?:Z|[+-][01][0-9]:?[0-5][0-9])"
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")

METHOD = "[A-Za-z][A-Za-z_-]{0,31}"
NUMBER = r"[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?"
STATUS = "[0-9]{3}|-"
SIZE = "[0-9]+|-"
# Text in quotes, in which a backslash takes the next character with it. The lazy one goes on until what
# follows it in the pattern fits, so a quote that the server forgot to escape stays inside.
QUOTED = r'(?:[^"\\]|\\.)*'
LAZY_QUOTED = r"(?:[^\\]|\\.)*?"


@dataclass(frozen=True)
class TextFormat:
    """A pattern for a whole line, and what its groups mean.

    Args:
        name: What the column `log_format` says of such a line.
        pattern: A regular expression of Polars. Its groups are named like FIELDS.
        begins_with: A pattern that is asked first, because it is fast; empty: all lines are tried.
        has_escapes: In the fields `\"` means a quote and `\\` a backslash, as Apache writes them.
        has_w3c_values: A field may be quoted, and plus signs stand for spaces, as in W3C files.
        is_url_encoded: Referrer and user agent are percent-encoded, as in CloudFront's files.
        has_epoch: Its time may be a number of seconds; elsewhere a number is no time.
        has_question_mark: A query stands with its question mark.
        taken_units: How many units of `taken` are a second.
        combined_name: What `log_format` says instead of `name` if the line has a referrer.
    """

    name: str
    pattern: str
    begins_with: str = ""
    has_escapes: bool = False
    has_w3c_values: bool = False
    is_url_encoded: bool = False
    has_epoch: bool = False
    has_question_mark: bool = False
    taken_units: float = 1
    combined_name: str = ""

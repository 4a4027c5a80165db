r"""Common and combined lines, read with Spark's own functions: pure DataFrame -> DataFrame.

The continuous and the real-time trigger run no Python, so `include.log_formats` cannot read for them. These
functions read the same of a line, or nothing. They do not read a line with a virtual host, a time in another
form than Apache's, a leap second, or a quote that is not escaped and stands before what looks like a status.
"""

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from include.contracts import MAX_LINE_BYTES
from include.log_formats.grammar import (
    DAY,
    HOST,
    HOST_NAME,
    HOUR,
    IPV4,
    IPV6,
    MAX_HOST_LENGTH,
    METHOD,
    MINUTE,
    MONTH_NAME,
    PORT,
    YEAR,
    ZONE_ID,
)

# Java's regular expressions: possessive throughout (`++`), so that no line takes more than its length. The
# usual `(?:[^"\\]|\\.)*` overflows the stack at 2,000 characters. `(?!.)` is the end: `$` also stands before
# a last line end, and U+2028 is one.
_QUOTED = r'(?:[^"\\]++|\\.)*+'
_IDENT = r'(?:[^\t-\r ":,.\[]++|[A-Za-z_][^\t-\r ":,\[]*+)'
_USER = (
    rf'("{_QUOTED}"|(?:[^\t-\r "\\\[]|\\[^\t-\r ])(?:[^\t-\r "\\]|\\[^\t-\r ])*+'
    r'|\[(?:[^\t-\r "\\\]]|\\[^\t-\r ])*+)'
)
# A quote that the server did not escape stays inside, unless a status, or another quoted field follows.
_REQUEST = r'((?:[^"\\]++|\\.|"(?! (?:[0-9]{3}|-) (?:[0-9]+|-)(?:[ \t]|(?!.))))*+)'
_REFERRER = r'((?:[^"\\]++|\\.|"(?![ \t]++"|[ \t]*+(?!.)))*+)'
_USER_AGENT = r'((?:[^"\\]++|\\.|"(?![ \t]|(?!.)))*+)\\?+(?:"(?:[ \t].*+)?+)?+'
_WORDS = r'(?:[ \t]++[^\t-\r "]++)'
_URL = rf"(-|(?:[a-z][a-z0-9+.-]*+:|/){_QUOTED}|)"
_LINE = (
    rf'(?s)^([^\t-\r "]*+) ++{_IDENT}(?: ++{_USER} ++| {{2,}}+)\[([^\]"]*+)\]'
    rf' "{_REQUEST}" ([0-9]{{3}}|-) ([0-9]++|-)'
    rf'(?:[ \t]++"{_REFERRER}"[ \t]++"{_USER_AGENT}|[ \t]++"({_QUOTED})\\?+'
    rf'|{_WORDS}++[ \t]++"{_URL}"[ \t]++"{_USER_AGENT}|{_WORDS}*+[ \t]*+)(?!.)'
)
# The groups of _LINE that give a field.
_GROUPS = {
    "host": (1,), "user": (2,), "time": (3,), "request": (4,), "status": (5,), "content_size": (6,),
    "referrer": (7, 9, 10), "user_agent": (8, 11),
}  # fmt: skip
# A method, a target, which may hold spaces, and a protocol, which HTTP/0.9 has not.
_REQUEST_LINE = rf"(?s)^({METHOD}) (?:(?:(.*) )?(HTTP/[^ ]*+)(?!.)|(.*+))"
_HOST = f"(?s)^{HOST}(?!.)"
_WITH_PORT = rf"(?s)^(?:({IPV4}|{HOST_NAME}):{PORT}|\[({IPV6}{ZONE_ID})\](?::{PORT})?)(?!.)"
_SOCKET = "(?s)^(?:-|@|unix:.*+)?+(?!.)"
_TIME = rf"(?s)^{DAY}/{MONTH_NAME}/{YEAR}:{HOUR}:{MINUTE}:[0-5][0-9] [+-][01][0-9][0-5][0-9](?!.)"


def parse_common_log(lines: DataFrame) -> DataFrame:
    """Read common and combined lines.

    Args:
        lines: `line` (STRING), and any other columns.

    Returns:
        The other columns, and as landed: `host`, `user`, `timestamp`, `method`, `endpoint`, `query`,
        `protocol`, `status`, `content_size`, `referrer` and `user_agent`. Lines that cannot be read are
        left out.
    """
    others = [name for name in lines.columns if name != "line"]
    fields = {name: _extract(F.col("line"), name) for name in _GROUPS}
    fields["user"] = F.regexp_replace(fields["user"], '(?s)^"(.*)"(?!.)', "$1")
    # Apache writes a backslash before a quote or a backslash. Its `\xhh` stays: those bytes are not text.
    rows = (
        lines.withColumn("line", _cut_line_end(F.col("line")))
        .where(is_common_line(F.col("line")))
        .select(
            *others,
            *(
                F.regexp_replace(text, r'\\(["\\])', "$1").alias(name)
                for name, text in fields.items()
            ),
        )
    )
    method, long_target, protocol, target = (
        F.regexp_extract("request", _REQUEST_LINE, group) for group in range(1, 5)
    )
    target = F.when(method == "", F.col("request")).otherwise(F.concat(long_target, target))
    rows = rows.withColumn("target", target).withColumn("path", F.substring_index("target", "?", 1))
    query = F.expr("substring(target, length(path) + 2)")
    return rows.select(
        *others,
        _present(_cut_port(F.col("host"))).alias("host"),
        _present(F.col("user")).alias("user"),
        _parse_time(F.col("time")).alias("timestamp"),
        F.when(method != "", method).alias("method"),
        _present(F.col("path")).alias("endpoint"),
        F.when(F.contains("target", F.lit("?")), query).alias("query"),
        F.when(protocol != "", protocol).alias("protocol"),
        F.col("status").try_cast("int").alias("status"),
        F.col("content_size").try_cast("bigint").alias("content_size"),
        _present(F.col("referrer")).alias("referrer"),
        _present(F.col("user_agent")).alias("user_agent"),
    )


def select_common_server_errors(messages: DataFrame) -> DataFrame:
    """Select the common and combined lines with a status 5xx of each message.

    It works within the message, because the continuous trigger does not support `explode`.

    Args:
        messages: `key` and `value` (BINARY), the value being one or more lines.

    Returns:
        `key`, which is that of the message, and `value` (BINARY): its lines with a status 5xx. A message
        without such a line is left out.
    """
    # As Latin-1, where every byte is one character: bytes that are not UTF-8 stay as they are.
    lines = F.split(F.decode("value", "ISO-8859-1"), "\n")

    def is_error(line: Column) -> Column:
        whole = _cut_line_end(line)
        return is_common_line(whole) & _extract(whole, "status").startswith("5")

    errors = F.filter(lines, is_error)
    return (
        messages.select("key", errors.alias("errors"))
        .where(F.size("errors") > 0)
        .select("key", F.encode(F.array_join("errors", "\n"), "ISO-8859-1").alias("value"))
    )


def is_common_line(line: Column) -> Column:
    """Whether a line (STRING, without a carriage return at its end) can be read as common or combined."""
    host, size = _extract(line, "host"), _extract(line, "content_size")
    is_host = host.rlike(_HOST) | host.rlike(_WITH_PORT) | host.rlike(_SOCKET)
    return (
        (F.length(line) <= MAX_LINE_BYTES)
        & line.rlike(_LINE)
        & (F.length(host) <= MAX_HOST_LENGTH)
        & is_host
        & _parse_time(_extract(line, "time")).isNotNull()
        & (size.try_cast("bigint").isNotNull() | (size == "-"))
    )


def _cut_line_end(line: Column) -> Column:
    cut = F.regexp_replace(line, r"(?s)(?<!\r)\r++(?!.)", "")
    return F.when(F.endswith(line, F.lit("\r")), cut).otherwise(line)


def _extract(line: Column, name: str) -> Column:
    """The text of a field; empty where its group takes no part."""
    return F.concat(*(F.regexp_extract(line, _LINE, group) for group in _GROUPS[name]))


def _parse_time(text: Column) -> Column:
    instant = F.try_to_timestamp(text, F.lit("dd/MMM/yyyy:HH:mm:ss Z"))
    return F.when(text.rlike(_TIME), instant)


def _cut_port(host: Column) -> Column:
    cut = F.concat(F.regexp_extract(host, _WITH_PORT, 1), F.regexp_extract(host, _WITH_PORT, 2))
    return F.when(host.rlike(_WITH_PORT), cut).when(host.rlike(_HOST), host)


def _present(text: Column) -> Column:
    """Null for what stands for nothing."""
    return F.when(~text.isin("", "-"), text)

r"""What is left out of landed access-log rows for privacy: pure DataFrame -> DataFrame.

Addresses lose their last bits as GoAccess's `--anonymize-level` hides them; named parameters are taken
out of queries. Both are done before anything is written: what is landed never had them.
"""

import argparse
import re
from collections.abc import Sequence

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

SEPARATOR = "\u0001"
ALL = "*"
# Level -> the octets of an IPv4 address and the groups of 16 bits of an IPv6 address that stay.
# GoAccess hides 8, 16, 24 bits of the first, and 64, 80, 96 of the second.
UNMASKED_PARTS = {1: (3, 4), 2: (2, 3), 3: (1, 2)}

# Taken wherever they stand: of a line that could not be read, rather too much goes than too little.
IPV4 = r"(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.\d+"
_V4, _H = r"\d{1,3}(?:\.\d{1,3}){3}", r"[0-9A-Fa-f]{1,4}"
IPV6 = (
    rf"(?:(?:{_H}:){{6}}{_V4}|(?:{_H}:){{7}}{_H}"
    rf"|(?:{_H}(?::{_H}){{0,6}})?::(?:(?:{_H}:){{0,5}}{_V4}|{_H}(?::{_H}){{0,6}})?)"
)
ZONE = r"%[0-9A-Za-z_.~-]+"
# The first label of a name, in a list of hosts: no address, and not the `-` that stands for none.
FIRST_LABEL = (
    r"(?<![^\s,])(?!\d{1,3}(?:\.\d{1,3}){3}(?:[:,\s]|$))(?!-(?:[,\s]|$))(?![^\s,]*:[^\s,]*:)"
    r"[^\s,.:\[\]]+"
)


def anonymise_rows(rows: DataFrame, level: int, names: Sequence[str]) -> DataFrame:
    """Landed rows with addresses masked and the parameters of `names` (or `*`) taken out.

    Level 0 and no names leave the rows, and how they are computed, as they are.
    """
    if level:
        rows = rows.transform(with_masked_addresses, level)
    if names:
        rows = rows.transform(drop_query_parameters, names)
    return rows


def parse_query_names(text: str) -> list[str]:
    """`token,email` -> its names, for argparse; nothing: none."""
    names = text.split(",") if text else []
    if not all(re.fullmatch(r"[^\s=&;?#]+", name) for name in names):
        raise argparse.ArgumentTypeError(
            f"{text!r}: expected names without spaces, such as token,email, or *"
        )
    return names


def with_masked_addresses(rows: DataFrame, level: int) -> DataFrame:
    """Mask the addresses in `host`, `user` and `raw`; names in `host` lose their first label.

    A list of addresses that a proxy has written ends up partly in `user`.
    """
    return rows.withColumns(
        {
            "host": F.regexp_replace(mask_addresses(F.col("host"), level), FIRST_LABEL, "*"),
            "user": mask_addresses(F.col("user"), level),
            "raw": mask_addresses(F.col("raw"), level),
        }
    )


def mask_addresses(text: Column, level: int) -> Column:
    """The text with the last bits of each address in it zero; IPv6 in its shortest form, no zone."""
    octets, groups = UNMASKED_PARTS[level]
    # Every second piece is an IPv6 address. Each step is a transform of its own: what a lambda is
    # given is computed once.
    marked = F.regexp_replace(
        F.replace(text, F.lit(SEPARATOR), F.lit("\ufffd")),
        f"({IPV6})(?:{ZONE})?",
        f"{SEPARATOR}$1{SEPARATOR}",
    )
    pieces = F.transform(
        F.split(marked, SEPARATOR),
        lambda piece, n: F.when(n % 2 == 0, F.array(piece)).otherwise(_groups(piece)),
    )
    masked_pieces = F.transform(
        pieces, lambda piece, n: F.when(n % 2 == 0, piece[0]).otherwise(_masked(piece, groups))
    )
    whole = F.when(F.contains(text, F.lit(":")), F.array_join(masked_pieces, "")).otherwise(text)
    masked = ".".join([f"${n}" for n in range(1, octets + 1)] + ["0"] * (4 - octets))
    return F.regexp_replace(whole, IPV4, masked)


def _groups(address: Column) -> Column:
    """An IPv6 address as written -> its eight groups, lower-case hex without leading zeros."""
    # Its dotted end as two groups: a.b.c.d -> (256a + b):(256c + d)
    pairs = [F.lower(F.hex(_octet(address, n) * 256 + _octet(address, n + 1))) for n in (1, 3)]
    colons = F.when(
        F.contains(address, F.lit(".")),
        F.concat(F.regexp_replace(address, rf"{_V4}$", ""), pairs[0], F.lit(":"), pairs[1]),
    ).otherwise(address)
    halves = F.transform(
        F.split(colons, "::"),
        lambda half: F.transform(
            F.filter(F.split(half, ":"), lambda group: group != ""),
            lambda group: F.regexp_replace(F.lower(group), "^0+(?=.)", ""),
        ),
    )
    # A transform of one element keeps `halves` from being computed for each use.
    return F.transform(
        F.array(halves),
        lambda half: F.concat(
            half[0],
            F.array_repeat(F.lit("0"), 8 - F.size(F.flatten(half))),
            F.when(F.size(half) > 1, F.try_element_at(half, F.lit(2))).otherwise(F.array()),
        ),
    )[0]


def _masked(groups: Column, stay: int) -> Column:
    """Eight groups -> the first of them; an IPv4 address in IPv6's clothes is one of IPv4."""
    high, low = (F.conv(F.try_element_at(groups, F.lit(n)), 16, 10).cast("int") for n in (7, 8))
    dotted = F.format_string(
        "::ffff:%d.%d.%d.%d",
        F.floor(high / 256),
        F.pmod(high, F.lit(256)),
        F.floor(low / 256),
        F.pmod(low, F.lit(256)),
    )
    is_ipv4 = F.array_join(F.slice(groups, 1, 6), ":") == "0:0:0:0:0:ffff"
    # What is hidden is the longest run of zeros, and the zeros before it belong to it.
    first = F.array_join(F.slice(groups, 1, stay), ":")
    return F.when(is_ipv4, dotted).otherwise(
        F.concat(F.regexp_replace(first, r"(?:^|:)0(?::0)*$", ""), F.lit("::"))
    )


def _octet(address: Column, n: int) -> Column:
    return F.regexp_extract(address, r"(\d+)\.(\d+)\.(\d+)\.(\d+)$", n).try_cast("int")


def drop_query_parameters(rows: DataFrame, names: Sequence[str]) -> DataFrame:
    """Take the parameters of `names` out of `query`, `referrer` and `raw`; `*` is all of them."""
    if ALL in names:
        return rows.withColumns(
            {
                "query": F.lit(None).cast("string"),
                "referrer": F.regexp_replace("referrer", r"(?s)\?.*", ""),
                "raw": F.regexp_replace("raw", r'\?(?:[^\s"\\]++|\\.)*+', ""),
            }
        )
    query = F.substring(_without(F.concat(F.lit("?"), "query"), names, "?&;", "[^&;]"), 2, 1 << 30)
    return rows.withColumns(
        {
            "query": F.when((query != "") | (F.col("query") == ""), query),
            "referrer": _without(F.col("referrer"), names, "?&;", "[^&;#]"),
            # In a line that could not be read, a query may stand in quotes or by itself.
            "raw": _without(F.col("raw"), names, r'?&;"\s', r'(?:[^&;#\s"\\]++|\\.)'),
        }
    )


def _without(text: Column, names: Sequence[str], begins: str, value_pattern: str) -> Column:
    """The text without `name=value` after one of the characters `begins`; a lone name goes too.

    Names are compared as a server would: without regard to case, percent-encoded or not, and with
    their brackets (`token[]`, `user[email]`) taken apart.
    """
    forbidden = F.array(*[F.lit(name.lower()) for name in names])
    # After white space or a quote a word is only a parameter if it has a value.
    name_of = rf"^[?&;]([^=&;#\s]*)|^[{begins}]([^=&;#\s\"]*)="

    def left(piece: Column) -> Column:
        written = F.concat(F.regexp_extract(piece, name_of, 1), F.regexp_extract(piece, name_of, 2))
        name = F.lower(F.coalesce(F.try_url_decode(written), written))
        return F.when(
            F.arrays_overlap(F.split(name, r"[\[\]]+"), forbidden),
            # What a question mark led has its next parameter led by it.
            F.regexp_replace(
                F.regexp_replace(piece, rf"(?s)^([{begins}]){value_pattern}*+", f"$1{SEPARATOR}"),
                f"^[&;]{SEPARATOR}",
                "",
            ),
        ).otherwise(piece)

    clean = F.replace(text, F.lit(SEPARATOR), F.lit("\ufffd"))
    # A quote after a backslash is a part of the value.
    pieces = F.split(clean, rf"(?=[{begins}])(?<!\\(?=\"))")
    joined = F.array_join(F.transform(pieces, left), "")
    led = F.regexp_replace(joined, rf"\?{SEPARATOR}[&;]", "?")
    # Most texts have no such name, and splitting is slow.
    may_have = "(?iu)%|" + "|".join(re.escape(name) for name in names)
    done = F.regexp_replace(led, rf"\?{SEPARATOR}|{SEPARATOR}", "")
    return F.when(text.rlike(may_have), done).otherwise(text)

"""Numbers and texts as a person reads them. Everything from a log is hostile until escaped."""

import re

from include.contracts import FORMULA_BEGINS

# Controls (ASCII, Latin-1), line and paragraph separators, and what turns the direction of text:
# invisible on a page, and able to make one text look like another.
_INVISIBLE = re.compile(
    "[\u0000-\u001f\u007f-\u009f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb]"
)


MINUS = "\u2212"  # as wide as the plus


def count(number: float) -> str:
    """1234 -> "1,234"; the median of an even number may end in a half: 2.5 -> "2.5"."""
    return f"{int(number):,}" if number == int(number) else f"{number:,}"


def size(number: float) -> str:
    """Bytes in decimal units, three digits: 2747282740 -> "2.75 GB"."""
    value = float(number)
    for unit in ("B", "kB", "MB", "GB", "TB", "PB"):
        if value < 999.5 or unit == "PB":
            if unit == "B":
                return f"{number:.0f} B"
            decimals = 2 if value < 9.995 else 1 if value < 99.95 else 0
            return f"{value:.{decimals}f} {unit}"
        value /= 1000
    raise AssertionError


def share(part: float, whole: float) -> str:
    """Percent: "12 %", "0.5 %", "<0.1 %", ">99 %"; nothing of nothing is "0 %"."""
    if not part or not whole:
        return "0 %"
    percent = 100 * part / whole
    if percent >= 100:
        return f"{percent:,.0f} %"
    if percent < 0.1:
        return "<0.1 %"
    if 99 < percent < 100:
        return ">99 %"
    return f"{percent:.1f} %" if percent < 9.95 else f"{percent:.0f} %"


def change(now: int, before: int) -> str:
    """What `now` is against `before`: "12 % more", "3.1 % less", "the same"; nothing against 0."""
    if not before:
        return ""
    if now == before:
        return "the same"
    return f"{share(abs(now - before), before)} {'more' if now > before else 'less'}"


def signed(now: float, before: float) -> str:
    """The same as a figure: "+12 %", "\u22123.1 %", "±0 %"; nothing against 0."""
    if not before:
        return ""
    if now == before:
        return "±0 %"
    percent = 100 * abs(now - before) / before
    shown = "<0.1" if percent < 0.1 else f"{percent:,.{1 if percent < 9.95 else 0}f}"
    return f"{'+' if now > before else MINUS}{shown} %"


def seconds(number: float | None) -> str:
    """A time of three digits: "12 ms", "1.23 s", "12.3 s", "75 min"; nothing if none is known."""
    if number is None:
        return ""
    if number < 0.9995:
        return f"{1000 * number:.0f} ms" if number >= 0.0005 or not number else "<1 ms"
    if number < 600:
        return f"{number:.{2 if number < 9.995 else 1 if number < 99.95 else 0}f} s"
    return f"{number / 60:,.0f} min"


def duration(number: float) -> str:
    """How long a visit took: "45 s", "1 min 2 s", "1 h 3 min"."""
    whole = round(number)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600:,} h {whole % 3600 // 60} min"


def visible(text: str, limit: int = 300) -> str:
    r"""What is invisible as `\x1b` or `\u202e`, and no more than `limit` characters."""
    cut = text[:limit] + ("…" if len(text) > limit else "")
    return _INVISIBLE.sub(
        lambda found: f"\\x{ord(found[0]):02x}" if found[0] < "\x80" else f"\\u{ord(found[0]):04x}",
        cut,
    )


def spreadsheet(value: object) -> object:
    """A cell that no spreadsheet takes for a formula (OWASP, CSV injection: a leading quote)."""
    if isinstance(value, str):
        shown = visible(value, 32_000)
        return f"'{shown}" if shown[:1] in FORMULA_BEGINS and shown != "-" else shown
    return value

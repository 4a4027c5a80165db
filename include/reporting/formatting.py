"""Format numbers and texts for people. Every text from a log is hostile until it is escaped."""

import re

from include.contracts import FORMULA_PREFIXES

# Control characters (ASCII, Latin-1), line and paragraph separators, and characters that change the
# direction of text. They are invisible on a page and can make one text look like another.
_INVISIBLE_PATTERN = re.compile(
    "[\u0000-\u001f\u007f-\u009f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb]"
)


MINUS_SIGN = "\u2212"  # as wide as the plus


def format_count(number: float) -> str:
    """Format a count: 1234 -> "1,234". A median of counts may end in a half: 2.5 -> "2.5"."""
    return f"{int(number):,}" if number == int(number) else f"{number:,}"


def format_bytes(number: float) -> str:
    """Format bytes in decimal units with three digits: 2747282740 -> "2.75 GB"."""
    value = float(number)
    for unit in ("B", "kB", "MB", "GB", "TB", "PB"):
        if value < 999.5 or unit == "PB":
            if unit == "B":
                return f"{number:.0f} B"
            decimals = 2 if value < 9.995 else 1 if value < 99.95 else 0
            return f"{value:.{decimals}f} {unit}"
        value /= 1000
    raise AssertionError


def format_share(part: float, whole: float) -> str:
    """Format a share as percent: "12 %", "0.5 %", "<0.1 %", ">99 %". "0 %" if either number is 0."""
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


def format_change(now: int, before: int) -> str:
    """Compare `now` with `before`: "12 % more", "3.1 % less", "the same". Empty if `before` is 0."""
    if not before:
        return ""
    if now == before:
        return "the same"
    return f"{format_share(abs(now - before), before)} {'more' if now > before else 'less'}"


def format_signed_change(now: float, before: float) -> str:
    """Format the change as a signed number: "+12 %", "\u22123.1 %", "±0 %". Empty if `before` is 0."""
    if not before:
        return ""
    if now == before:
        return "±0 %"
    percent = 100 * abs(now - before) / before
    figure = "<0.1" if percent < 0.1 else f"{percent:,.{1 if percent < 9.95 else 0}f}"
    return f"{'+' if now > before else MINUS_SIGN}{figure} %"


def format_seconds(number: float | None) -> str:
    """Format seconds with three digits: "12 ms", "1.23 s", "12.3 s", "75 min". Empty for None."""
    if number is None:
        return ""
    if number < 0.9995:
        return f"{1000 * number:.0f} ms" if number >= 0.0005 or not number else "<1 ms"
    if number < 600:
        return f"{number:.{2 if number < 9.995 else 1 if number < 99.95 else 0}f} s"
    return f"{number / 60:,.0f} min"


def format_duration(number: float) -> str:
    """Format the length of a visit in seconds: "45 s", "1 min 2 s", "1 h 3 min"."""
    seconds = round(number)
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60} min {seconds % 60} s"
    return f"{seconds // 3600:,} h {seconds % 3600 // 60} min"


def escape_invisible(text: str, limit: int = 300) -> str:
    r"""Cut a text to `limit` characters and write invisible ones as `\x1b` or `\u202e`."""
    shortened = text[:limit] + ("…" if len(text) > limit else "")
    return _INVISIBLE_PATTERN.sub(
        lambda match: f"\\x{ord(match[0]):02x}" if match[0] < "\x80" else f"\\u{ord(match[0]):04x}",
        shortened,
    )


def escape_formula(value: object) -> object:
    """Escape a CSV cell so that no spreadsheet takes it for a formula.

    The cell gets a leading quote (OWASP, CSV injection). Only strings change.
    """
    if isinstance(value, str):
        text = escape_invisible(value, 32_000)
        return f"'{text}" if text[:1] in FORMULA_PREFIXES and text != "-" else text
    return value

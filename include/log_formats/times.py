"""Times as log lines write them, to instants. Whole columns; each text that occurs is read once."""

from calendar import monthrange

import polars as pl

from include.log_formats.grammar import (
    DAY,
    HOUR,
    MINUTE,
    MONTH,
    MONTH_NAME,
    MONTHS,
    SECOND,
    YEAR,
)

_CLOCK = rf"(?P<hour>{HOUR}):(?P<minute>{MINUTE})"
_ZONE = r"(?:Z|(?P<sign>[+-])(?P<zone_hours>[01][0-9]):?(?P<zone_minutes>[0-5][0-9]))"
_FRACTION = r"(?:[.,](?P<fraction>[0-9]{1,9}))?"
# 17/May/2015:10:05:03 +0000. Some servers add milliseconds, or a colon in the zone.
_CLF = (
    rf"(?P<day>{DAY})/(?P<month>{MONTH_NAME})/(?P<year>{YEAR}):{_CLOCK}:(?P<second>{SECOND})"
    rf"{_FRACTION} {_ZONE}"
)
# ISO 8601, also with slashes as Caddy writes it, or with the name of the month. Without a zone: UTC.
_ISO = (
    rf"^(?P<year>{YEAR})[-/](?P<month>{MONTH}|{MONTH_NAME})[-/](?P<day>{DAY})[T ]{_CLOCK}"
    rf"(?::(?P<second>{SECOND}){_FRACTION})?(?: ?{_ZONE})?$"
)
_EPOCH = r"^[0-9]{1,19}(?:\.[0-9]{1,20})?$"
_MONTH_NUMBERS = {name: number for number, name in enumerate(MONTHS, 1)} | {
    f"{number:02}": number for number in range(1, 13)
}
_DAYS_IN_MONTH = {month: monthrange(2001, month)[1] for month in range(1, 13)}
# A time in brackets, wherever it stands in a line that is in no known format.
SHOWN_TIME = rf"\[({_CLF})\]"


def parse_times(texts: pl.Series) -> pl.Series:
    """Read times.

    Args:
        texts: STRING; a time in Apache's form, in ISO 8601, or a number of seconds, milliseconds,
            microseconds or nanoseconds since 1970, told apart by its size.

    Returns:
        INT64, microseconds since 1970 UTC; null for what is no time, or a day that the calendar lacks.
    """
    different = texts.unique()
    clf = _count_micros(different.str.extract_groups(f"^{_CLF}$"))
    if clf.null_count() > different.null_count():
        iso = _count_micros(different.str.extract_groups(_ISO))
        clf = clf.fill_null(iso).fill_null(_read_epoch(different))
    times = pl.DataFrame({"text": different, "micros": clf})
    return (
        texts.to_frame("text")
        .join(times, on="text", how="left", maintain_order="left", nulls_equal=True)
        .to_series(1)
    )


def _count_micros(parts: pl.Series) -> pl.Series:
    def number(name: str) -> pl.Expr:
        return pl.col(name).cast(pl.Int64)

    year, month, day = number("year"), pl.col("month_number"), number("day")
    is_leap = (year % 4 == 0) & ((year % 100 != 0) | (year % 400 == 0))
    last_day = pl.col("last_day") + (is_leap & (month == 2)).cast(pl.Int64)
    # Days since 1970 in the Gregorian calendar, with the year beginning in March.
    shifted_year = year - (month <= 2).cast(pl.Int64)
    day_of_year = (153 * ((month + 9) % 12) + 2) // 5 + day - 1
    days = (
        365 * shifted_year
        + shifted_year // 4
        - shifted_year // 100
        + shifted_year // 400
        + day_of_year
        - 719468
    )
    ahead = number("zone_hours").fill_null(0) * 3600 + number("zone_minutes").fill_null(0) * 60
    east = pl.when(pl.col("sign") == "-").then(-ahead).otherwise(ahead)
    second = number("second").fill_null(0)
    seconds = days * 86400 + number("hour") * 3600 + number("minute") * 60 + second - east
    micros = pl.col("fraction").str.pad_end(6, "0").str.slice(0, 6).cast(pl.Int64).fill_null(0)
    return (
        parts.struct.unnest()
        .with_columns(
            month_number=pl.col("month").replace_strict(
                _MONTH_NUMBERS, default=None, return_dtype=pl.Int64
            )
        )
        .with_columns(
            last_day=pl.col("month_number").replace_strict(
                _DAYS_IN_MONTH, default=None, return_dtype=pl.Int64
            )
        )
        .select(micros=pl.when(day <= last_day).then(seconds * 1_000_000 + micros))
        .to_series()
    )


def _read_epoch(texts: pl.Series) -> pl.Series:
    text = pl.when(pl.col("text").str.contains(_EPOCH)).then("text")
    seconds = text.str.extract(r"^([0-9]+)").cast(pl.Int64, strict=False)
    fraction = text.str.extract(r"\.([0-9]+)$").str.pad_end(6, "0")
    micros = fraction.str.slice(0, 6).cast(pl.Int64).fill_null(0)
    # Milliseconds may have a fraction, too.
    millis = fraction.str.slice(0, 3).cast(pl.Int64).fill_null(0)
    return (
        texts.to_frame("text")
        .select(
            pl.when(seconds < 10**11)
            .then(seconds * 1_000_000 + micros)
            .when(seconds < 10**14)
            .then(seconds * 1000 + millis)
            .when(seconds < 10**17)
            .then(seconds)
            .otherwise(seconds // 1000)
        )
        .to_series()
    )

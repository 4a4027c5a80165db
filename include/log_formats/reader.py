r"""The reader: a batch of lines in, the columns of the landed access log out.

What a line gives depends on the line, the name of its file, when it arrived and the settings, never on
the other lines of the batch. No line raises an error: what cannot be read is bad, with a reason.
"""

from collections.abc import Mapping
from urllib.parse import unquote

import polars as pl

from include.contracts import FUTURE_HOURS, MAX_LINE_BYTES, MAX_RAW_CHARACTERS
from include.log_formats.grammar import FIELDS, NUMBER, TextFormat
from include.log_formats.hosts import parse_hosts
from include.log_formats.json_lines import parse_json_lines
from include.log_formats.log_format import compile_log_format
from include.log_formats.registry import TEXT_FORMATS
from include.log_formats.requests import split_requests
from include.log_formats.times import SHOWN_TIME, parse_times
from include.log_formats.w3c import W3C_FILE, compile_w3c

# The columns that the reader gives.
SCHEMA: dict[str, pl.DataType | type[pl.DataType]] = {
    "host": pl.String,
    "user": pl.String,
    "timestamp": pl.Datetime("us", "UTC"),
    "method": pl.String,
    "endpoint": pl.String,
    "query": pl.String,
    "protocol": pl.String,
    "status": pl.Int32,
    "content_size": pl.Int64,
    "referrer": pl.String,
    "user_agent": pl.String,
    "vhost": pl.String,
    "seconds_taken": pl.Float64,
    "log_format": pl.String,
    "bad_reason": pl.String,
    "raw": pl.String,
    "cache_status": pl.String,
    "mime_type": pl.String,
    "tls_version": pl.String,
}
# The columns between the formats and the end: what a line gives, with the host checked.
_PART_SCHEMA: dict[str, pl.DataType | type[pl.DataType]] = {
    name: pl.Float64 if name == "taken" else pl.String
    for name in (*FIELDS, "log_format")
    if name not in ("taken_b", "taken_c")
}
_TIME_PARTS = ("year", "month", "day", "hour", "minute", "second", "fraction", "zone")
_ESCAPED = ("user", "request", "method", "target", "query", "protocol", "referrer", "user_agent")
_DIGITS = "^[0-9]+$"
_NUMBER = f"^{NUMBER}$"
_MICROS_PER_HOUR = 3_600_000_000
_BOM = "\ufeff"


class LineReader:
    """Reads lines in every format that is known.

    Args:
        log_format: An Apache LogFormat, tried before the formats that are detected; may be empty.
        w3c_fields: Fields of W3C files by their id, as the inbox stores them. A line of a file with an id
            in its name is read by the fields of that id and by nothing else.
        future_hours: A line is bad if its time is more hours than this after its arrival.

    Raises:
        ValueError: The LogFormat or the fields cannot be used.
    """

    def __init__(
        self,
        log_format: str = "",
        w3c_fields: Mapping[str, str] | None = None,
        future_hours: int = FUTURE_HOURS,
    ) -> None:
        self._custom_formats = [compile_log_format(log_format)] if log_format else []
        self._w3c_formats = {name: compile_w3c(text) for name, text in (w3c_fields or {}).items()}
        self._future_hours = future_hours

    def read(
        self,
        lines: pl.Series,
        *,
        files: pl.Series | None = None,
        arrived: pl.Series | None = None,
    ) -> pl.DataFrame:
        """Read a batch of lines.

        Args:
            lines: BINARY, a line each without its newline, as it was sent; null counts as empty.
            files: STRING, the name or path of the line's file; may be null.
            arrived: TIMESTAMP (microseconds, UTC), when the line arrived; null if unknown.

        Returns:
            The columns of SCHEMA, a row a line in the same order. A bad line has `bad_reason`, a key of
            `include.contracts.BAD_REASONS`, its text in `raw`, and `timestamp` if it shows one.
        """
        sizes = lines.bin.size().fill_null(0)
        texts = _decode_lines(lines, sizes)
        fields = self._extract_fields(texts, files)
        micros = parse_times(fields["time"])
        is_unread = fields["log_format"].is_null()
        is_blank = pl.repeat(False, len(lines), eager=True)
        if is_unread.any():
            unread = _where(is_unread, texts)
            is_blank = ~unread.str.contains(r"[^\t-\r ]")
            micros = micros.zip_with(~is_unread, parse_times(unread.str.extract(SHOWN_TIME)))
        if arrived is not None:
            latest = arrived.dt.epoch("us") + self._future_hours * _MICROS_PER_HOUR
            is_future = (micros > latest).fill_null(False)
            micros = _where(~is_future, micros)
        else:
            is_future = pl.repeat(False, len(lines), eager=True)
        size = fields["content_size"]
        content_size = _where(size.str.contains(_DIGITS), size).cast(pl.Int64, strict=False)
        reasons = pl.select(
            pl.when(sizes > MAX_LINE_BYTES).then(pl.lit("too_long"))
            .when(is_blank).then(pl.lit("empty"))
            .when(is_unread).then(pl.lit("no_match"))
            .when(is_future).then(pl.lit("far_future"))
            .when(micros.is_null()).then(pl.lit("bad_time"))
            .when(size.is_not_null() & content_size.is_null()).then(pl.lit("bad_size"))
            .otherwise(None)
        ).to_series()  # fmt: skip
        is_bad = reasons.is_not_null()
        if is_bad.any():
            fields = fields.with_columns(pl.when(~is_bad).then(pl.all()))
            content_size = _where(~is_bad, content_size)
        request = _split_fields(fields)
        return pl.DataFrame(
            {
                "host": fields["host"],
                "user": fields["user"],
                "timestamp": micros.cast(pl.Datetime("us", "UTC")),
                **request,
                "status": fields["status"].cast(pl.Int32, strict=False),
                "content_size": content_size,
                "referrer": fields["referrer"],
                "user_agent": fields["user_agent"],
                "vhost": fields["vhost"],
                "seconds_taken": fields["taken"],
                "log_format": fields["log_format"],
                "bad_reason": reasons,
                "raw": _quote_bad_lines(lines, is_bad),
                "cache_status": fields["cache_status"],
                # Without its parameters, such as the character set.
                "mime_type": fields["mime_type"].str.extract("^ *([^; ]+)").str.to_lowercase(),
                "tls_version": fields["tls_version"],
            },
            schema=SCHEMA,
        )

    def _extract_fields(self, texts: pl.Series, files: pl.Series | None) -> pl.DataFrame:
        """Return the columns of _PART_SCHEMA, a row a line; all null where no format fits."""
        fields = _Fields(texts)
        if self._w3c_formats and files is not None:
            ids = files.str.extract(W3C_FILE)
            for w3c_id in ids.drop_nulls().unique().to_list():
                if w3c_id in self._w3c_formats:
                    fields.read(self._w3c_formats[w3c_id], ids.eq_missing(w3c_id))
            fields.close(ids.is_not_null())
        for text_format in self._custom_formats:
            fields.read(text_format)
        # A JSON line is in no other format.
        is_json = texts.str.starts_with("{")
        if is_json.any():
            fields.read(None, is_json)
            fields.close(is_json)
        for text_format in TEXT_FORMATS:
            fields.read(text_format)
        return fields.finish()


class _Fields:
    """The fields of a batch of lines, as one format after the other is tried."""

    def __init__(self, texts: pl.Series) -> None:
        self._texts = texts
        self._columns: dict[str, pl.Series] = {}
        self._is_open = texts != ""  # lines that no format has read

    def read(self, text_format: TextFormat | None, condition: pl.Series | None = None) -> None:
        """Read the open lines in a format.

        Args:
            text_format: The format; None: JSON.
            condition: BOOLEAN, which lines to try; None: all.
        """
        is_candidate = self._is_open if condition is None else self._is_open & condition
        if text_format and text_format.begins_with:
            is_candidate = is_candidate & self._texts.str.contains(text_format.begins_with)
        if not is_candidate.any():
            return
        rows = is_candidate.arg_true()
        texts = self._texts if is_candidate.all() else self._texts.gather(rows)
        fields = _extract_text(texts, text_format) if text_format else _extract_json(texts)
        is_read = fields["log_format"].is_not_null()
        if not is_read.any():
            return
        if len(fields) == len(self._texts):
            self._columns = dict(zip(fields.columns, fields.get_columns(), strict=True))
        else:
            rows, fields = rows.filter(is_read), fields.filter(is_read)
            for name in fields.columns:
                self._columns[name] = self._get(name).scatter(rows, fields[name])
        self.close(self._get("log_format").is_not_null())

    def close(self, condition: pl.Series) -> None:
        """Try no more formats for the lines where `condition` (BOOLEAN) is true."""
        self._is_open = self._is_open & ~condition

    def finish(self) -> pl.DataFrame:
        """Return the columns of _PART_SCHEMA, a row a line."""
        return pl.DataFrame({name: self._get(name) for name in _PART_SCHEMA})

    def _get(self, name: str) -> pl.Series:
        if name not in self._columns:
            nulls = pl.repeat(None, len(self._texts), dtype=_PART_SCHEMA[name], eager=True)
            self._columns[name] = nulls
        return self._columns[name]


def _decode_lines(lines: pl.Series, sizes: pl.Series) -> pl.Series:
    """Return the lines as text: bytes that are not UTF-8 replaced, without a BOM and carriage returns.

    A line that is too long becomes empty: no pattern sees it.
    """
    if (sizes > MAX_LINE_BYTES).any():
        lines = _where(sizes <= MAX_LINE_BYTES, lines)
    try:
        texts = lines.cast(pl.String)
    except pl.exceptions.ComputeError:  # one of them is not UTF-8
        decoded = [None if line is None else line.decode("utf-8", "replace") for line in lines]
        texts = pl.Series(decoded, dtype=pl.String)
    texts = texts.fill_null("")
    if texts.str.ends_with("\r").any():
        texts = texts.str.strip_chars_end("\r")
    return texts.str.strip_prefix(_BOM) if texts.str.starts_with(_BOM).any() else texts


def _extract_text(texts: pl.Series, text_format: TextFormat) -> pl.DataFrame:
    """Extract the fields of lines in a format.

    Args:
        texts: STRING, the lines.
        text_format: The format.

    Returns:
        Columns of _PART_SCHEMA, `log_format` among them; null for a line that is not in the format.
    """
    groups = _merge_groups(texts.str.extract_groups(text_format.pattern).struct.unnest())
    # Every pattern has a status, and it stands in no alternative: without it, the line does not fit.
    fits = groups["status"].is_not_null()
    if not fits.any():
        return groups.select(log_format="status")
    hosts, is_host = parse_hosts(groups["host"])
    groups = groups.with_columns(hosts.alias("host"))
    if not text_format.has_epoch:
        is_number = groups["time"].str.contains("^[0-9.]*$")
        if is_number.any():
            groups = groups.with_columns(_where(~is_number, groups["time"]))
    if (fits & ~is_host).any():
        fits &= is_host
        groups = groups.with_columns(pl.when(fits).then(pl.all()))
    name = pl.lit(text_format.name)
    if text_format.combined_name:
        combined = pl.lit(text_format.combined_name)
        name = pl.when(pl.col("referrer").is_null()).then(name).otherwise(combined)
    groups = groups.with_columns(log_format=pl.when(fits).then(name))
    return _normalise(groups, text_format)


def _merge_groups(groups: pl.DataFrame) -> pl.DataFrame:
    """Merge the groups `name`, `name_2`, … of alternatives, and the parts of a time."""
    numbered = [
        name.rpartition("_") for name in groups.columns if name[-2:-1] == "_" and name[-1].isdigit()
    ]
    merged = {
        name: pl.coalesce(
            name, *(f"{name}_{number}" for other, _, number in numbered if other == name)
        )
        for name in dict.fromkeys(name for name, _, _ in numbered)
    }
    groups = groups.with_columns(**merged)
    if "clock" in groups.columns:
        return groups.with_columns(time=pl.concat_str("date", pl.lit(" "), "clock"))
    if "year" in groups.columns:
        known = [
            pl.col(name) if name in groups.columns else pl.lit(None, pl.String)
            for name in _TIME_PARTS
        ]
        year, month, day, hour, minute, second, fraction, zone = known
        return groups.with_columns(
            time=pl.concat_str(
                year, pl.lit("-"), month, pl.lit("-"), day.str.strip_chars().str.zfill(2), pl.lit(" "),
                hour, pl.lit(":"), minute, pl.lit(":"), second.fill_null("00"),
                pl.concat_str(pl.lit("."), fraction).fill_null(""), zone.fill_null(""),
            )
        )  # fmt: skip
    if "fraction" in groups.columns:
        # `%t` or whole seconds, and the fraction beside them; milliseconds have it already.
        has_fraction = pl.col("time").str.contains("^[0-9]{12}")
        words = pl.col("time").str.splitn(" ", 2).struct
        with_fraction = pl.concat_str(
            words[0], pl.lit("."), "fraction", (pl.lit(" ") + words[1]).fill_null("")
        )
        return groups.with_columns(time=pl.when(has_fraction).then("time").otherwise(with_fraction))
    return groups


def _normalise(fields: pl.DataFrame, text_format: TextFormat) -> pl.DataFrame:
    """Bring the fields of a format to their plain values; what stands for nothing becomes null."""
    names = [name for name in FIELDS if name in fields.columns and name not in ("host", "time")]
    if text_format.has_w3c_values:
        fields = fields.with_columns(_read_w3c_value(name) for name in names)
    fields = fields.with_columns(
        pl.when(pl.col(name).is_in(["", "-"]).not_()).then(name).alias(name) for name in names
    )
    if text_format.is_url_encoded:
        fields = fields.with_columns(
            _decode_url(fields[name]) for name in ("referrer", "user_agent") if name in names
        )
    if text_format.has_question_mark and "query" in names:
        fields = fields.with_columns(pl.col("query").str.strip_prefix("?"))
    if text_format.has_escapes:
        escaped = [name for name in _ESCAPED if name in names]
        if any(fields[name].str.contains("\\", literal=True).any() for name in escaped):
            fields = fields.with_columns(
                pl.col(name).str.replace_all(r'\\(["\\])', "$1") for name in escaped
            )
    parts = [pl.col(name) for name in ("taken", "taken_b", "taken_c") if name in names]
    if parts:
        # Rounded, or 0.1 and 0.2 seconds would be 0.30000000000000004.
        seconds = [
            pl.when(part.str.contains(_NUMBER)).then(part).cast(pl.Float64, strict=False)
            for part in parts
        ]
        total = sum(seconds[1:], seconds[0]) / text_format.taken_units
        fields = fields.with_columns(taken=pl.when(total.is_finite()).then(total.round(9)))
    return fields.select("log_format", "host", "time", *(n for n in names if n in _PART_SCHEMA))


def _read_w3c_value(name: str) -> pl.Expr:
    """A value of a W3C file: without its quotes; in free text a plus sign without quotes is a space."""
    value = pl.col(name)
    plain = (
        value.str.replace_all("+", " ", literal=True)
        if name in ("referrer", "user_agent")
        else value
    )
    unquoted = value.str.extract(r'(?s)^"(.*)"$').str.replace_all('""', '"', literal=True)
    return pl.when(value.str.contains(r'(?s)^".*"$')).then(unquoted).otherwise(plain).alias(name)


def _decode_url(values: pl.Series) -> pl.Series:
    different = values.drop_nulls().unique()
    decoded = [unquote(value) for value in different]
    return values.replace_strict(different, decoded, default=None, return_dtype=pl.String)


def _extract_json(texts: pl.Series) -> pl.DataFrame:
    """As `_extract_text`, for JSON lines."""
    parsed = parse_json_lines(texts.to_list())
    nothing = (None,) * len(FIELDS)
    columns = zip(*(values or nothing for values in parsed), strict=True)
    fields = pl.DataFrame(
        dict(zip(FIELDS, columns, strict=True)), schema=dict.fromkeys(FIELDS, pl.String)
    )
    hosts, is_host = parse_hosts(fields["host"])
    fits = is_host & fields["status"].is_not_null()
    return (
        fields.with_columns(
            hosts.alias("host"), pl.col("taken").cast(pl.Float64), log_format=pl.lit("json")
        )
        .select(_PART_SCHEMA.keys())
        .with_columns(pl.when(fits).then(pl.all()))
    )


def _split_fields(fields: pl.DataFrame) -> dict[str, pl.Series]:
    """Return method, endpoint, query and protocol, from the request or from fields of their own."""
    request = fields["request"]
    parts = split_requests(request)
    names = ["method", "target", "protocol"]
    if request.null_count():
        own_fields = fields.select(
            "method",
            "target",
            protocol=pl.when(pl.col("protocol").str.starts_with("HTTP/")).then("protocol"),
        )
        parts = pl.DataFrame(
            {name: parts[name].zip_with(request.is_not_null(), own_fields[name]) for name in names}
        )
    target, query = parts["target"].str.splitn("?", 2).struct.unnest().get_columns()
    return {
        "method": parts["method"],
        "endpoint": _where(~target.is_in(["", "-"]), target),
        "query": query.fill_null(fields["query"]),
        "protocol": parts["protocol"],
    }


def _quote_bad_lines(lines: pl.Series, is_bad: pl.Series) -> pl.Series:
    """The text of bad lines, cut; a line that is not UTF-8 as Apache would have written it, `\\xhh`."""
    raw = pl.Series([None] * 0, dtype=pl.String).extend_constant(None, len(lines))
    if not is_bad.any():
        return raw
    return raw.scatter(
        is_bad.arg_true(), [_quote_line(line or b"") for line in lines.filter(is_bad)]
    )


def _quote_line(line: bytes) -> str:
    try:
        return line.decode()[:MAX_RAW_CHARACTERS]
    except UnicodeDecodeError:
        return line[:MAX_RAW_CHARACTERS].decode("ascii", "backslashreplace")


def _where(condition: pl.Series, values: pl.Series) -> pl.Series:
    """The values where the condition is true, null elsewhere."""
    return pl.select(pl.when(condition).then(values)).to_series()

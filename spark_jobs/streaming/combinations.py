"""Which sources, sinks, output modes and triggers work together, and why the others do not.

This is the only place that defines it. `python -m spark_jobs.streaming.combinations` prints both
tables as Markdown for docs/streams.md. tests/kafka/test_combinations.py runs every allowed
combination, and lets Spark itself refuse every other. The tables describe Spark 4.2; those of its
guide are less complete
(https://spark.apache.org/docs/4.2.0/streaming/apis-on-dataframes-and-datasets.html).
"""

SOURCES = {
    "kafka": "kafka:TOPIC",
    "socket": "socket:HOST:PORT",
    "rate": "rate:N",
    "text": "text:DIR",
    "csv": "csv:DIR",
    "json": "json:DIR",
    "orc": "orc:DIR",
    "parquet": "parquet:DIR",
}
FILE_SOURCES = ("text", "csv", "json", "orc", "parquet")
SINKS = {
    "parquet": "parquet:DIR",
    "orc": "orc:DIR",
    "json": "json:DIR",
    "csv": "csv:DIR",
    "kafka": "kafka:TOPIC",
    "console": "console",
    "memory": "memory:NAME",
    "foreach": "foreach:sqlite:FILE",
}
FILE_SINKS = ("parquet", "orc", "json", "csv")
OUTPUT_MODES = ("append", "complete", "update")
TRIGGERS = {
    "available-now": "available-now",
    "once": "once",
    "every": "every 5 seconds",
    "continuous": "continuous 1 second",
    "real-time": "real-time 5 seconds",
}
CONTINUOUS, REAL_TIME = "continuous", "real-time"
NO_PYTHON_REASON = (
    "this trigger runs no Python, so it reads only common and combined lines; use every 1 second"
)
FINITE_TRIGGERS = ("available-now", "once")  # the triggers that end by themselves

# Kinds of query: each row by itself; totals of all rows; totals by windows of event time, which are
# final when the watermark has passed.
ROWS, TOTALS, WINDOWS = QUERY_KINDS = ("rows", "totals", "windows")


def find_source_conflict(source: str, trigger: str) -> str:
    """Return why a kind of source does not work with a kind of trigger, and what to use; "" if it does."""
    if source in ("socket", "rate") and trigger in FINITE_TRIGGERS:
        return (
            "the source has no rows yet when the query starts, and this trigger then ends the query; "
            "use every 5 seconds"
        )
    if source in FILE_SOURCES and trigger == CONTINUOUS:
        return "the continuous trigger reads only kafka, socket or rate; use every 1 second"
    if source != "kafka" and trigger == REAL_TIME:
        return "the real-time trigger reads only kafka; use every 1 second"
    return ""


def find_sink_conflict(sink: str, mode: str, trigger: str, query_kind: str) -> str:
    """Return why a query cannot write to a kind of sink, and what to use instead; "" if it can.

    Args:
        sink: A key of SINKS.
        mode: One of OUTPUT_MODES.
        trigger: A key of TRIGGERS.
        query_kind: One of QUERY_KINDS.
    """
    if sink in FILE_SINKS and mode != "append":
        return "a file sink can only append; use append"
    if query_kind == TOTALS and mode == "append":
        return (
            "a total changes with every new row, so it is never final without a watermark; "
            "use complete or update"
        )
    if query_kind == ROWS and mode == "complete":
        return "complete writes all totals again, and this query has none; use append"
    if trigger in (CONTINUOUS, REAL_TIME) and query_kind != ROWS:
        return f"the {trigger} trigger does not support totals; use every 1 second"
    if trigger == CONTINUOUS and sink in (*FILE_SINKS, "foreach"):
        return "the continuous trigger writes only to kafka, console or memory; use every 1 second"
    if trigger == REAL_TIME and sink in (*FILE_SINKS, "memory"):
        return "the real-time trigger writes only to kafka, console or foreach; use every 1 second"
    if trigger == REAL_TIME and mode != "update":
        return "the real-time trigger supports only one output mode; use update"
    return ""


def runs_no_python(trigger: str) -> bool:
    """Whether a kind of trigger runs no Python in Spark, as the reader of log lines needs it."""
    return trigger in (CONTINUOUS, REAL_TIME)


def format_choices(choices: tuple[str, ...]) -> str:
    """Join choices as `a, b or c`."""
    return " or ".join([", ".join(choices[:-1]), choices[-1]] if len(choices) > 1 else choices)


def render_tables() -> str:
    """Return both tables as Markdown. A refused combination shows the number of its reason below."""
    reasons: list[str] = []

    def render_cell(reason: str) -> str:
        if not reason:
            return "✓"
        if reason not in reasons:
            reasons.append(reason)
        return f"<sup>{reasons.index(reason) + 1}</sup>"

    lines = [f"| Source | {' | '.join(TRIGGERS)} |", "|---" * (len(TRIGGERS) + 1) + "|"]
    for source, form in SOURCES.items():
        cells = [render_cell(find_source_conflict(source, trigger)) for trigger in TRIGGERS]
        lines.append(f"| `{form}` | {' | '.join(cells)} |")
    lines += [
        "",
        f"| Sink | Output mode | A query of | {' | '.join(TRIGGERS)} |",
        "|---" * (len(TRIGGERS) + 3) + "|",
    ]
    sinks_by_rows: dict[tuple[str, ...], list[str]] = {}  # sinks with the same rows share them
    for sink, form in SINKS.items():
        # Kinds of query with the same cells share a row.
        queries_by_cells: dict[tuple[str, str], list[str]] = {}
        for mode in OUTPUT_MODES:
            for query in QUERY_KINDS:
                cells = [
                    render_cell(find_sink_conflict(sink, mode, trigger, query))
                    for trigger in TRIGGERS
                ]
                queries_by_cells.setdefault((mode, " | ".join(cells)), []).append(query)
        rows = tuple(
            f"{mode} | {', '.join(queries)} | {cells}"
            for (mode, cells), queries in queries_by_cells.items()
        )
        sinks_by_rows.setdefault(rows, []).append(f"`{form}`")
    lines += [
        f"| {', '.join(sinks)} | {row} |" for rows, sinks in sinks_by_rows.items() for row in rows
    ]
    lines += ["", *[f"{number}. {reason}." for number, reason in enumerate(reasons, 1)]]
    lines += ["", f"A LogFormat with {CONTINUOUS} or {REAL_TIME} is refused: {NO_PYTHON_REASON}."]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(render_tables())  # noqa: T201

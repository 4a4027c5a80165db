"""Which words go together: the one place that says what Spark runs, and why not the rest.

`python -m spark_jobs.runtime.combinations` prints both tables as Markdown; docs/streams.md holds
them, and tests/kafka/test_combinations.py runs every one that is allowed, and lets Spark itself
refuse every other. As Spark 4.2 has it; the guide's tables say less
(https://spark.apache.org/docs/4.2.0/streaming/apis-on-dataframes-and-datasets.html).
"""

SOURCES = {
    "kafka": "kafka:TOPIC", "socket": "socket:HOST:PORT", "rate": "rate:N", "text": "text:DIR",
    "csv": "csv:DIR", "json": "json:DIR", "orc": "orc:DIR", "parquet": "parquet:DIR",
}  # fmt: skip
FILE_SOURCES = ("text", "csv", "json", "orc", "parquet")
SINKS = {
    "parquet": "parquet:DIR", "orc": "orc:DIR", "json": "json:DIR", "csv": "csv:DIR",
    "kafka": "kafka:TOPIC", "console": "console", "memory": "memory:NAME",
    "foreach": "foreach:sqlite:FILE",
}  # fmt: skip
FILE_SINKS = ("parquet", "orc", "json", "csv")
OUTPUT_MODES = ("append", "complete", "update")
TRIGGERS = {
    "available-now": "available-now", "once": "once", "every": "every 5 seconds",
    "continuous": "continuous 1 second", "real-time": "real-time 5 seconds",
}  # fmt: skip
CONTINUOUS, REAL_TIME = "continuous", "real-time"
ENDING = ("available-now", "once")  # the triggers that end by themselves

# What a query makes of what it reads: each row by itself; totals of all rows; totals by windows of
# event time, which are final when the watermark has passed.
ROWS, TOTALS, WINDOWS = QUERIES = ("rows", "totals", "windows")


def refuse_source(source: str, trigger: str) -> str:
    """Why the kind of source cannot be read under the kind of trigger, and what can; else ""."""
    if source in ("socket", "rate") and trigger in ENDING:
        return (
            "nothing has come yet when the query starts, and it ends at once; use every 5 seconds"
        )
    if source in FILE_SOURCES and trigger == CONTINUOUS:
        return "the continuous trigger reads kafka, socket or rate; use every 1 second"
    if source != "kafka" and trigger == REAL_TIME:
        return "the real-time trigger reads kafka only; use every 1 second"
    return ""


def refuse_sink(sink: str, mode: str, trigger: str, query: str) -> str:
    """Why a query cannot write so, one of QUERIES into a kind of sink; and what can; else ""."""
    if sink in FILE_SINKS and mode != "append":
        return "files can only be added to; use append"
    if query == TOTALS and mode == "append":
        return (
            "a total changes as long as rows come, so it is never final without a watermark; "
            "use complete or update"
        )
    if query == ROWS and mode == "complete":
        return "there is no total to give again; use append"
    if trigger in (CONTINUOUS, REAL_TIME) and query != ROWS:
        return f"the {trigger} trigger keeps no totals; use every 1 second"
    if trigger == CONTINUOUS and sink in (*FILE_SINKS, "foreach"):
        return "the continuous trigger writes kafka, console or memory; use every 1 second"
    if trigger == REAL_TIME and sink in (*FILE_SINKS, "memory"):
        return "the real-time trigger writes kafka, console or foreach; use every 1 second"
    if trigger == REAL_TIME and mode != "update":
        return "the real-time trigger knows one output mode; use update"
    return ""


def any_of(words: tuple[str, ...]) -> str:
    """`a, b or c`"""
    return " or ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def tables() -> str:
    """Both tables as Markdown; what is refused has the number of its reason below."""
    reasons: list[str] = []

    def cell(why: str) -> str:
        if not why:
            return "✓"
        if why not in reasons:
            reasons.append(why)
        return f"<sup>{reasons.index(why) + 1}</sup>"

    lines = [f"| Source | {' | '.join(TRIGGERS)} |", "|---" * (len(TRIGGERS) + 1) + "|"]
    for source, form in SOURCES.items():
        cells = [cell(refuse_source(source, trigger)) for trigger in TRIGGERS]
        lines.append(f"| `{form}` | {' | '.join(cells)} |")
    lines += ["", f"| Sink | Output mode | A query of | {' | '.join(TRIGGERS)} |",
              "|---" * (len(TRIGGERS) + 3) + "|"]  # fmt: skip
    alike: dict[tuple[str, ...], list[str]] = {}  # sinks with the same rows share them
    for sink, form in SINKS.items():
        rows: dict[tuple[str, str], list[str]] = {}  # so do queries with the same cells
        for mode in OUTPUT_MODES:
            for query in QUERIES:
                cells = [cell(refuse_sink(sink, mode, trigger, query)) for trigger in TRIGGERS]
                rows.setdefault((mode, " | ".join(cells)), []).append(query)
        told = tuple(f"{mode} | {', '.join(of)} | {cells}" for (mode, cells), of in rows.items())
        alike.setdefault(told, []).append(f"`{form}`")
    lines += [f"| {', '.join(sinks)} | {row} |" for told, sinks in alike.items() for row in told]
    lines += ["", *[f"{number}. {why}." for number, why in enumerate(reasons, 1)]]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(tables())  # noqa: T201

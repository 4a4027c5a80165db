"""docs/benchmarks.md and its plots, from what the benchmarks measured."""

import os
import platform
import statistics
from collections.abc import Callable
from datetime import date
from typing import Any

from include.settings import PROJECT

PAGE = PROJECT / "docs" / "benchmarks.md"
HEAD = """\
# Benchmarks

Written by `make bench`, or a part by `bench-speed`, `bench-bulk`, `bench-latency`; every number here is of
one run on one machine, so compare numbers of a run with each other, not with another machine's.
"""
COLOURS = {"micro-batch": "#a8480f", "continuous": "#56666f", "real-time": "#0b6e8a"}


def write_page(name: str, found: Any) -> None:
    """Put the section `name`, made of what was `found`, into the page; the others stay."""
    text = PAGE.read_text() if PAGE.is_file() else ""
    text = HEAD + text[text.index("\n<!-- ") :] if "\n<!-- " in text else HEAD
    sections: dict[str, Callable[[Any], str]] = {
        "speed": speed_section, "latency": latency_section, "bulk": bulk_section,
        "cluster": cluster_section,
    }  # fmt: skip
    made = sections[name](found)
    begin, end = f"<!-- {name} -->\n", f"<!-- /{name} -->\n"
    if begin in text:
        before, _, rest = text.partition(begin)
        text = before + begin + made + end + rest.partition(end)[2]
    else:
        text = f"{text}\n{begin}{made}{end}"
    PAGE.write_text(text)


def latency_section(rows: list[dict[str, Any]]) -> str:
    """A table, a plot, and the verdict on what was to be reached."""
    picture = PROJECT / "docs" / "images" / "latency.svg"
    picture.write_text(latency_plot(rows))
    lines = [
        "## Latency, Kafka to Spark to Kafka",
        "",
        f"`make bench-latency`, {date.today().isoformat()}, {os.cpu_count()} cores, "
        f"{platform.machine()}, broker and clients on the same machine. "
        "`route_errors` on one partition, every line routed; milliseconds from the producer's call "
        "to the line's arrival at a consumer. Micro-batch is `every 1 millisecond`: a batch as soon "
        "as the last is done.",
        "",
        "![Latency by engine and rate](images/latency.svg)",
        "",
        "| Engine | Lines a second | Lines | p50 ms | p95 ms | p99 ms |",
        "|---|--:|--:|--:|--:|--:|",
    ]
    for row in rows:
        lines.append(
            f"| {row['engine']} | {row['rate']:,} | {row['messages']:,} | {row['p50_ms']:,.0f} | "
            f"{row['p95_ms']:,.0f} | {row['p99_ms']:,.0f} |"
        )
    of = {(row["engine"], row["rate"]): row for row in rows}
    rates = sorted({row["rate"] for row in rows})
    lines += ["", f"| To reach | {' | '.join(f'{rate:,}/s' for rate in rates)} |",
              "|---" + "|--:" * len(rates) + "|"]  # fmt: skip
    for engine in [name for name in dict.fromkeys(row["engine"] for row in rows) if "real" in name]:
        fast = [of[engine, rate] for rate in rates]
        shares = [of[engine, r]["p50_ms"] / of["micro-batch", r]["p50_ms"] for r in rates]
        p50, p99 = [r["p50_ms"] for r in fast], [r["p99_ms"] for r in fast]
        lines.append(f"| {engine}: p50 at most 80 ms | {_verdicts(p50, 80)} |")
        lines.append(f"| {engine}: p99 at most 250 ms | {_verdicts(p99, 250)} |")
        lines.append(
            f"| {engine}: p50 at most 0.25 of micro-batch's | {_verdicts(shares, 0.25, 2)} |"
        )
    lines += [
        "",
        "The seconds of real-time are how often the position is kept. Between two such batches a line "
        "waits for a tenth to a quarter of a second (planning, two log files, new tasks): of 5 seconds "
        "that is more than one line in a hundred, of 30 seconds less.",
    ]
    return "\n".join(lines) + "\n\n"


def speed_section(found: dict[str, Any]) -> str:
    """Tables of every part, a plot, and the verdicts."""
    sizes: list[int] = found["sizes"]
    rows: dict[str, dict[int, dict[str, Any]]] = {}
    for row in found["rows"]:
        rows.setdefault(row["what"], {})[row["lines"]] = row
    picture = PROJECT / "docs" / "images" / "speed.svg"
    if not found["quick"]:
        picture.write_text(speed_plot(rows, sizes[-1]))
    lines = [
        "## Speed",
        "",
        f"`make bench-speed SIZES='{' '.join(map(str, sizes))}'`, {date.today().isoformat()}, "
        f"{os.cpu_count()} cores, {platform.machine()}. "
        "A log is one generated day, combined format. Whole processes, the start of Spark included; "
        "seconds. Fixed and a million lines are fitted over the sizes; memory is the peak of a process "
        "and its children, at the largest size.",
        "",
        f"![Seconds for {sizes[-1]:,} lines](images/speed.svg)",
        "",
        f"| | {' | '.join(f'{n:,}' for n in sizes)} | fixed s | s a million | MiB |",
        "|---|" + "--:|" * (len(sizes) + 3),
    ]
    for what, by_size in rows.items():
        cells = [f"{by_size[n]['seconds']:,.1f}" if n in by_size else "" for n in sizes]
        line = fit({n: row["seconds"] for n, row in by_size.items()})
        told = [f"{round(number, 1) + 0:,.1f}" for number in line] if line else ["", ""]  # no -0.0
        peak = by_size[max(by_size)]["mib"]
        lines.append(f"| {' | '.join([what, *cells, *told, f'{peak:,}' if peak else ''])} |")
    lines += [
        "",
        "DuckDB and Polars read the fields by one regular expression and count nine panels, in one "
        "process that writes no report; GoAccess counts its panels and writes its page; AWStats gets "
        "the smallest log only. What we do beyond them: every line kept as a row of Parquet with its "
        "reason if it is bad, 26 panels each for all and for people alone, visits, attacks, a sketch "
        "of visitors, and nothing lost by a kill.",
        "",
        "Parse: text -> Parquet, in a warm JVM.",
        "",
        f"| | {' | '.join(f'{n:,}' for n in sizes)} |",
        "|---|" + "--:|" * len(sizes),
    ]
    parse = {(row["what"], row["lines"]): row["seconds"] for row in found["parse"]}
    for what in dict.fromkeys(row["what"] for row in found["parse"]):
        lines.append(f"| {what} | {' | '.join(f'{parse[what, n]:,.2f}' for n in sizes)} |")
    lines += [
        "",
        "Producers, one partition leader on the same machine.",
        "",
        "| | lines a second | MiB |",
        "|---|--:|--:|",
    ]
    for what, rate in found["producers"].items():
        peak = f"{rate['mib']:,}" if rate["mib"] else ""
        lines.append(f"| {what} | {rate['lines']:,.0f} | {peak} |")
    lines += ["", *_night_lines(found["night"])]
    lines += ["", "| To reach | Measured | |", "|---|--:|---|", *_reached(found, rows, parse), "",
              "Why what falls short does, and what it would need: "
              "[decision 16](decisions/0016-where-the-time-goes.md)."]  # fmt: skip
    return "\n".join(lines) + "\n\n"


def _night_lines(night: dict[str, Any]) -> list[str]:
    """The night through Airflow, by its tasks."""
    parts = {
        **night["tasks"],
        "between tasks (scheduler)": night["seconds"] - sum(night["tasks"].values()),
        "of the summary: start of Spark": night["steps"].get("start of Spark", 0),
    }
    lines = [
        f"The night through Airflow: {night['lines']:,} lines from a file, from the trigger to the "
        f"report's file {night['seconds']:,.0f} s.",
        "",
        "| | s | share |",
        "|---|--:|--:|",
    ]
    for what, seconds in parts.items():
        lines.append(f"| {what} | {seconds:,.1f} | {seconds / night['seconds']:.0%} |")
    idle = night["idle_cpu"]
    return [
        *lines,
        "",
        f"With nothing to do, Airflow takes {idle['airflow']:.0%} of a core and the broker "
        f"{idle['kafka']:.0%}.",
    ]


def _reached(
    found: dict[str, Any], rows: dict[str, dict[int, dict[str, Any]]],
    parse: dict[tuple[str, int], float],
) -> list[str]:  # fmt: skip
    """What was to be reached, each with its figure and verdict."""
    most, night = found["sizes"][-1], rows["night from text"]
    sent, start, dags = found["producers"], found["start"], found["dags"]

    def slope(what: str) -> float | None:
        line = fit({n: row["seconds"] for n, row in rows[what].items()})
        return line[1] if line else None

    def share(one: float | None, other: float | None) -> float | None:
        return one / other if one is not None and other else None

    raw, seven, ours = (
        parse[what, most] for what in ("raw copy", "seven regexp_extract", "landed row")
    )
    bare = sent["bare kafka-python"]["lines"]
    batch = sent["500 lines a message"]["lines"]
    peaks = [row["mib"] for name, of in rows.items() if name.startswith(("land", "summ"))
             for row in of.values()]  # fmt: skip
    goal: list[tuple[str, float | None, str, float]] = [
        ("Start of a submit, of a stock one's", start["ours"] / start["stock"], "<=", 0.55),
        ("Parse, of a raw copy's time", ours / raw, "<=", 4),
        ("Parse, times as fast as seven `regexp_extract`", seven / ours, ">=", 2.5),
        ("Landing from Kafka, s a million lines", slope("land Kafka"), "<=", 2),
        ("Row by row, of a bare kafka-python loop", sent["row by row"]["lines"] / bare, ">=", 0.9),
        ("500 lines a message, times a bare loop", batch / bare, ">=", 4),
        (
            "Two processes, times one",
            sent["two processes, 500 lines a message"]["lines"] / batch,
            ">=",
            1.6,
        ),
        ("A driver's memory, MiB", max(peaks), "<=", 2048),
        ("A producer's memory, MiB", max(rate["mib"] for rate in sent.values()), "<=", 200),
        ("All DAG files, s beyond Airflow's import", dags["ours"], "<=", 1),
    ]
    if "GoAccess" in rows:
        other = rows["GoAccess"]
        sizes = set(night) & set(other)
        size = 5_000_000 if 5_000_000 in sizes else max(sizes)
        goal[3:3] = [
            (f"The night of {size:,} lines, times as fast as GoAccess",
             other[size]["seconds"] / night[size]["seconds"], ">=", 2),
            ("The night's s a million lines, of GoAccess's",
             share(slope("night from text"), slope("GoAccess")), "<=", 0.25),
        ]  # fmt: skip
    lines = []
    for what, value, sign, bound in goal:
        if value is None:
            continue
        good = value <= bound if sign == "<=" else value >= bound
        told = f"{value:,.0f}" if value >= 100 else f"{value:,.2f}"
        at = "at most" if sign == "<=" else "at least"
        lines.append(f"| {what}: {at} {bound:,} | {told} | {'✓' if good else '✗'} |")
    return lines


def fit(seconds: dict[int, float]) -> tuple[float, float] | None:
    """Lines -> seconds, as fixed seconds and seconds a million lines; None for a single size."""
    if len(seconds) < 2:
        return None
    line = statistics.linear_regression([n / 1e6 for n in seconds], list(seconds.values()))
    return line.intercept, line.slope


def speed_plot(rows: dict[str, dict[int, dict[str, Any]]], lines: int) -> str:
    """An SVG: seconds for a log of so many lines, ours in its steps, others beside it."""
    steps = ("look at the file", "land text", "summarise", "report")
    shades = ("#bcd9e2", "#6fb0c4", "#0b6e8a", "#084f63")
    bars = [("the night", [(step, rows[step][lines]["seconds"]) for step in steps])]
    bars += [
        (name, [(name, rows[name][lines]["seconds"])])
        for name in ("GoAccess", "DuckDB", "Polars") if lines in rows.get(name, {})
    ]  # fmt: skip
    width, left, row_height = 760, 110, 40
    longest = max(sum(seconds for _, seconds in parts) for _, parts in bars)
    scale = (width - left - 70) / longest
    height = 34 + row_height * len(bars) + 30
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'font-family="system-ui, sans-serif" font-size="12" role="img">'
        f"<title>Seconds for {lines:,} lines</title>"
        f'<rect width="{width}" height="{height}" fill="#fbfaf7"/>'
        f'<text x="{left}" y="20" fill="#56666f">seconds for {lines:,} lines</text>'
    ]
    for number, (name, parts) in enumerate(bars):
        y, x = 34 + number * row_height, float(left)
        out.append(
            f'<text x="{left - 10}" y="{y + 19}" text-anchor="end" fill="#16232b">{name}</text>'
        )
        for place, (_, seconds) in enumerate(parts):
            colour = shades[place] if len(parts) > 1 else "#a8480f"
            out.append(
                f'<rect x="{x:.1f}" y="{y + 4}" width="{seconds * scale:.1f}" height="22" fill="{colour}"/>'
            )
            x += seconds * scale
        total = sum(seconds for _, seconds in parts)
        out.append(f'<text x="{x + 8:.1f}" y="{y + 19}" fill="#56666f">{total:,.0f}</text>')
    x, y = float(left), height - 12
    for step, shade in zip(steps, shades, strict=True):
        out.append(
            f'<rect x="{x:.0f}" y="{y - 9}" width="10" height="10" fill="{shade}"/>'
            f'<text x="{x + 15:.0f}" y="{y}" fill="#56666f">{step}</text>'
        )
        x += 40 + 7 * len(step)
    return "".join([*out, "</svg>\n"])


def bulk_section(rows: list[dict[str, Any]]) -> str:
    """A table of the cases, the cost as fixed and a million lines, and the memory's verdict."""
    lines = [
        "## A backfill in bulk",
        "",
        f"`make bench-bulk`, {date.today().isoformat()}, {os.cpu_count()} cores, {platform.machine()}. "
        "Archives (gz) of generated traffic; the steps of `backfill_access_logs` without Airflow's own "
        "time, Spark jobs as whole processes; seconds. Memory is the peak of JVM and Python together, MiB.",
        "",
        "| Days | Files | Lines | MB | inventory | land | MiB | summarise | MiB | validate | publish | s |",
        "|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    steps = ("inventory", "land", "summarise", "validate", "publish")
    for row in rows:
        total = sum(row[step] for step in steps)
        lines.append(
            f"| {row['days']} | {row['files']:,} | {row['lines']:,} | {row['mb']:,.1f} | "
            f"{row['inventory']:,.0f} | {row['land']:,.0f} | {row['land_mib']:,.0f} | "
            f"{row['summarise']:,.0f} | {row['summarise_mib']:,.0f} | {row['validate']:,.1f} | "
            f"{row['publish']:,.0f} | {total:,.0f} |"
        )
    most, least = rows[0], rows[-1]
    seconds = [sum(row[step] for step in steps) for row in (most, least)]
    million = (seconds[0] - seconds[1]) / (most["lines"] - least["lines"]) * 1e6
    fixed = seconds[1] - million * least["lines"] / 1e6
    peak = max(row[f"{step}_mib"] for row in rows for step in ("land", "summarise"))
    if night := most.get("night"):
        share = most["days"] * night / seconds[0]
        lines += ["", f"{most['days']} nights of as many lines each take {night:,.0f} s each: at least 8 "
                  f"times as fast as they: {share:,.1f} {'✓' if share >= 8 else '✗'}."]  # fmt: skip
    lines += [
        "",
        f"So about {fixed:,.0f} s fixed and {million:,.0f} s a million lines, and "
        f"{most['bytes_a_line']:,.0f} bytes on disk a line beside the archives. "
        f"Memory at most 2 GiB: {peak:,.0f} MiB {'✓' if peak <= 2048 else '✗'}.",
    ]
    return "\n".join(lines) + "\n\n"


def cluster_section(rows: list[dict[str, Any]]) -> str:
    """A table of seconds by size and cores, and what the second core brings for a million lines."""
    lines = [
        "## One worker and two",
        "",
        f"`python -m bench.cluster`, {date.today().isoformat()}, {os.cpu_count()} cores, "
        f"{platform.machine()}, on `make cluster-up`: landing from text and summary as whole processes, on "
        "one core of one worker and on one of each. Driver, brokers and Airflow share the machine's cores.",
        "",
        "| Lines | Cores | land s | summarise s |",
        "|--:|--:|--:|--:|",
    ]
    for row in rows:
        lines.append(
            f"| {row['lines']:,} | {row['cores']} | {row['land']:,.1f} | {row['summarise']:,.1f} |"
        )
    of = {(row["lines"], row["cores"]): row for row in rows}
    least, most = min(row["lines"] for row in rows), max(row["lines"] for row in rows)
    for step in ("land", "summarise"):
        whole = of[most, 1][step] / of[most, 2][step]
        slopes = [of[most, cores][step] - of[least, cores][step] for cores in (1, 2)]
        lines += ["", f"{step}: {whole:.2f} times as fast on two, of {most:,} lines; "
                  f"{slopes[0] / slopes[1]:.2f} times without what {least:,} lines take."]  # fmt: skip
    return "\n".join(lines) + "\n\n"


def _verdicts(values: list[float], most: float, digits: int = 0) -> str:
    return " | ".join(f"{v:.{digits}f} {'✓' if v <= most else '✗'}" for v in values)


def latency_plot(rows: list[dict[str, Any]]) -> str:
    """An SVG: for each engine and rate a line from p50 to p99, with a mark at p95; log scale."""
    import math

    width, left, right, step = 760, 190, 40, 34
    rates = sorted({row["rate"] for row in rows})
    height = 60 + step * len(rows) + 16 * (len(rows) // len(rates))
    low, high = 4.0, max(2000.0, max(row["p99_ms"] for row in rows) * 1.1)

    def x(ms: float) -> float:
        share = math.log(max(ms, low) / low) / math.log(high / low)
        return left + share * (width - left - right)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'font-family="system-ui, sans-serif" font-size="12" role="img">'
        f"<title>Latency in milliseconds: p50, p95, p99</title>"
        f'<rect width="{width}" height="{height}" fill="#fbfaf7"/>'
    ]
    for ms in (5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000):
        if ms <= high:
            parts.append(
                f'<line x1="{x(ms):.1f}" x2="{x(ms):.1f}" y1="24" y2="{height - 16}" stroke="#e3e1da"/>'
                f'<text x="{x(ms):.1f}" y="18" text-anchor="middle" fill="#56666f">{ms}</text>'
            )
    parts.append(
        f'<text x="{left - 20}" y="18" text-anchor="end" fill="#56666f">milliseconds</text>'
    )
    y, engine = 34, ""
    for row in rows:
        if row["engine"] != engine:
            y += 16 if engine else 0
            engine = row["engine"]
        y += step
        colour, middle = COLOURS[engine.partition(" ")[0]], y - step / 2
        label = f"{engine}, {row['rate']:,}/s"
        parts.append(
            f'<text x="{left - 20}" y="{middle + 4:.1f}" text-anchor="end" fill="#16232b">{label}</text>'
            f'<line x1="{x(row["p50_ms"]):.1f}" x2="{x(row["p99_ms"]):.1f}" y1="{middle:.1f}" '
            f'y2="{middle:.1f}" stroke="{colour}" stroke-width="4" opacity=".45"/>'
            f'<circle cx="{x(row["p50_ms"]):.1f}" cy="{middle:.1f}" r="6" fill="{colour}"/>'
            f'<circle cx="{x(row["p95_ms"]):.1f}" cy="{middle:.1f}" r="4" fill="{colour}"/>'
            f'<circle cx="{x(row["p99_ms"]):.1f}" cy="{middle:.1f}" r="3" fill="{colour}"/>'
            f'<text x="{x(row["p99_ms"]) + 8:.1f}" y="{middle + 4:.1f}" fill="#56666f">'
            f"{row['p50_ms']:.0f} / {row['p95_ms']:.0f} / {row['p99_ms']:.0f}</text>"
        )
    return "".join([*parts, "</svg>\n"])

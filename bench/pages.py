"""Write docs/benchmarks.md and its plots from the results of the benchmarks."""

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

`make bench` writes this page; `make bench-speed`, `bench-bulk` and `bench-latency` write one section each.
All numbers of a section come from one run on one machine: compare them with each other, not across machines.
"""
MILLION = 1_000_000
COLOURS = {"micro-batch": "#a8480f", "continuous": "#56666f", "real-time": "#0b6e8a"}


def write_page(name: str, results: Any) -> None:
    """Write one section of the page and keep the others.

    Args:
        name: `speed`, `latency`, `bulk` or `cluster`.
        results: What the benchmark's `measure` returns.
    """
    text = PAGE.read_text() if PAGE.is_file() else ""
    text = HEAD + text[text.index("\n<!-- ") :] if "\n<!-- " in text else HEAD
    sections: dict[str, Callable[[Any], str]] = {
        "speed": speed_section,
        "latency": latency_section,
        "bulk": bulk_section,
        "cluster": cluster_section,
    }
    section = sections[name](results)
    begin, end = f"<!-- {name} -->\n", f"<!-- /{name} -->\n"
    if begin in text:
        before, _, after = text.partition(begin)
        text = before + begin + section + end + after.partition(end)[2]
    else:
        text = f"{text}\n{begin}{section}{end}"
    PAGE.write_text(text)


def latency_section(rows: list[dict[str, Any]]) -> str:
    """Build the section on latency: a table, a plot, and the targets with verdicts."""
    picture = PROJECT / "docs" / "images" / "latency.svg"
    picture.write_text(latency_plot(rows))
    lines = [
        "## Latency, Kafka to Spark to Kafka",
        "",
        f"`make bench-latency`, {date.today().isoformat()}, {os.cpu_count()} cores, "
        f"{platform.machine()}, broker and clients on the same machine. "
        "The job is `route_errors` on one partition; every line is routed. Latency is the time in "
        "milliseconds from the producer's call to the line's arrival at a consumer. Micro-batch is "
        "the trigger `every 1 millisecond`: a batch starts as soon as the last one is done.",
        "",
        "![Latency by engine and rate](images/latency.svg)",
        "",
        "| Engine | Lines per second | Lines | p50 ms | p95 ms | p99 ms |",
        "|---|--:|--:|--:|--:|--:|",
    ]
    for row in rows:
        lines.append(
            f"| {row['engine']} | {row['rate']:,} | {row['messages']:,} | {row['p50_ms']:,.0f} | "
            f"{row['p95_ms']:,.0f} | {row['p99_ms']:,.0f} |"
        )
    by_engine_and_rate = {(row["engine"], row["rate"]): row for row in rows}
    rates = sorted({row["rate"] for row in rows})
    lines += [
        "",
        f"| Target | {' | '.join(f'{rate:,}/s' for rate in rates)} |",
        "|---" + "|--:" * len(rates) + "|",
    ]
    for engine in [name for name in dict.fromkeys(row["engine"] for row in rows) if "real" in name]:
        engine_rows = [by_engine_and_rate[engine, rate] for rate in rates]
        micro_batch_rows = [by_engine_and_rate["micro-batch", rate] for rate in rates]
        p50, p99 = [row["p50_ms"] for row in engine_rows], [row["p99_ms"] for row in engine_rows]
        shares = [
            row["p50_ms"] / other["p50_ms"]
            for row, other in zip(engine_rows, micro_batch_rows, strict=True)
        ]
        lines.append(f"| {engine}: p50 at most 80 ms | {_verdicts(p50, 80)} |")
        lines.append(f"| {engine}: p99 at most 250 ms | {_verdicts(p99, 250)} |")
        lines.append(
            f"| {engine}: p50 at most 0.25 of micro-batch's | {_verdicts(shares, 0.25, 2)} |"
        )
    lines += [
        "",
        "The seconds of a real-time trigger are the time between two checkpoints. At each checkpoint, "
        "lines wait 0.1 to 0.25 s (planning, two log files, new tasks). With 5 s between checkpoints "
        "this affects more than one line in a hundred, with 30 s fewer.",
    ]
    return "\n".join(lines) + "\n\n"


def speed_section(results: dict[str, Any]) -> str:
    """Build the section on speed: tables of every part, a plot, and the targets with verdicts."""
    sizes: list[int] = results["sizes"]
    rows = _group(results["rows"])
    picture = PROJECT / "docs" / "images" / "speed.svg"
    if not results["quick"]:
        picture.write_text(speed_plot(rows, sizes[-1]))
    lines = [
        "## Speed",
        "",
        f"`make bench-speed SIZES='{' '.join(map(str, sizes))}'`, {date.today().isoformat()}, "
        f"{os.cpu_count()} cores, {platform.machine()}. "
        "A log is one generated day in combined format. Times are in seconds, for whole processes "
        "including the start of Spark. Fixed seconds and seconds per million lines are fitted over the "
        "sizes. Memory is the peak of a process and its children at the largest size (PSS). *look at the "
        "file* is the inspection of the inbox; *night from text* is a whole daily run from a text file.",
        "",
        f"![Seconds for {sizes[-1]:,} lines](images/speed.svg)",
        "",
        f"| | {' | '.join(f'{n:,}' for n in sizes)} | fixed s | s per million | MiB |",
        "|---|" + "--:|" * (len(sizes) + 3),
    ]
    lines += [_format_row(what, by_size, sizes) for what, by_size in rows.items()]
    lines += [
        "",
        "DuckDB and Polars read the fields with one regular expression and count nine panels, in one "
        "process that writes no report. GoAccess counts its panels and writes its page. AWStats gets "
        "only the smallest log. Tidemark does more: every line is stored as a row of Parquet, with its "
        "reason if it is bad; 26 panels for all visitors and for humans only; visits, attacks, a sketch "
        "of visitors; and a killed process loses nothing.",
        "",
        "Landing, beside a copy of the text that reads nothing of it: the same session, sink, partitions and "
        "counting, median of whole processes. From Kafka there are 500 lines a message.",
        "",
        f"| | {' | '.join(f'{n:,}' for n in sizes)} | fixed s | s per million | MiB |",
        "|---|" + "--:|" * (len(sizes) + 3),
        *(
            _format_row(what, by_size, sizes)
            for what, by_size in _group(results["landing"]).items()
        ),
    ]
    lines += [
        "",
        "Producers, with one partition leader on the same machine.",
        "",
        "| | lines per second | MiB |",
        "|---|--:|--:|",
    ]
    for what, rate in results["producers"].items():
        peak = f"{rate['mib']:,}" if rate["mib"] else ""
        lines.append(f"| {what} | {rate['lines']:,.0f} | {peak} |")
    lines += ["", *_daily_run_lines(results["night"])]
    lines += [
        "",
        "| Target | Measured | |",
        "|---|--:|---|",
        *_target_lines(results, rows),
        "",
        "[Decision 16](decisions/0016-missed-performance-targets-are-documented-with-their-causes.md) "
        "explains the targets that are missed and what would be needed to reach them.",
    ]
    return "\n".join(lines) + "\n\n"


def _group(rows: list[dict[str, Any]]) -> dict[str, dict[int, dict[str, Any]]]:
    """Group rows by `what`, then by `lines`."""
    groups: dict[str, dict[int, dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault(row["what"], {})[row["lines"]] = row
    return groups


def _format_row(what: str, by_size: dict[int, dict[str, Any]], sizes: list[int]) -> str:
    """Format a row of a table: seconds by size, the fitted cost, and the peak memory of the largest size."""
    cells = [f"{by_size[n]['seconds']:,.1f}" if n in by_size else "" for n in sizes]
    line = fit_line({n: row["seconds"] for n, row in by_size.items()})
    # + 0 turns -0.0 into 0.0.
    fit = [f"{round(number, 1) + 0:,.1f}" for number in line] if line else ["", ""]
    peak = by_size[max(by_size)]["mib"]
    return f"| {' | '.join([what, *cells, *fit, f'{peak:,}' if peak else ''])} |"


def _daily_run_lines(daily_run: dict[str, Any]) -> list[str]:
    """Build the table of a daily run through Airflow, by task."""
    parts = {
        **daily_run["tasks"],
        "between tasks (scheduler)": daily_run["seconds"] - sum(daily_run["tasks"].values()),
        "of the summary: start of Spark": daily_run["steps"].get("start of Spark", 0),
    }
    lines = [
        f"A daily run through Airflow with {daily_run['lines']:,} lines from a file takes "
        f"{daily_run['seconds']:,.0f} s from the trigger to the report's file.",
        "",
        "| | s | share |",
        "|---|--:|--:|",
    ]
    for what, seconds in parts.items():
        lines.append(f"| {what} | {seconds:,.1f} | {seconds / daily_run['seconds']:.0%} |")
    idle = daily_run["idle_cpu"]
    return [
        *lines,
        "",
        f"When idle, Airflow takes {idle['airflow']:.0%} of a core and the broker {idle['kafka']:.0%}.",
    ]


def _target_lines(
    results: dict[str, Any],
    rows: dict[str, dict[int, dict[str, Any]]],
) -> list[str]:
    """Build the table of the targets, each with its measured value and verdict."""
    largest, daily_runs = results["sizes"][-1], rows["night from text"]
    producers, start, dags = results["producers"], results["start"], results["dags"]

    landing = _group(results["landing"])

    def fit(by_size: dict[int, dict[str, Any]]) -> tuple[float, float] | tuple[None, None]:
        """Fixed seconds, and seconds per million lines from a million lines on."""
        line = fit_line({n: row["seconds"] for n, row in by_size.items()})
        large = fit_line({n: row["seconds"] for n, row in by_size.items() if n >= MILLION})
        return (line[0], (large or line)[1]) if line else (None, None)

    def ratio(value: float | None, other: float | None) -> float | None:
        return value / other if value is not None and other else None

    fixed, slopes = (
        {what: fit(by_size)[part] for what, by_size in {**rows, **landing}.items()}
        for part in (0, 1)
    )
    from_text, from_kafka = (
        landing[what][largest]["seconds"] for what in ("land text", "land Kafka")
    )
    bare = producers["bare kafka-python"]["lines"]
    batch = producers["500 lines a message"]["lines"]
    peaks = [
        row["mib"]
        for name, by_size in [*rows.items(), *landing.items()]
        if name.startswith(("land", "summ"))
        for row in by_size.values()
    ]
    targets: list[tuple[str, float | None, str, float]] = [
        ("Start of a submit / plain submit", start["ours"] / start["stock"], "<=", 0.55),
        (
            "Landing from text, fixed s / raw copy",
            ratio(fixed["land text"], fixed["raw copy"]),
            "<=",
            1.3,
        ),
        (
            "Landing from text, s per million lines / raw copy",
            ratio(slopes["land text"], slopes["raw copy"]),
            "<=",
            3.5,
        ),
        (f"Landing {largest:,} lines from Kafka / from text", from_kafka / from_text, "<=", 1.3),
        ("Row by row / bare kafka-python loop", producers["row by row"]["lines"] / bare, ">=", 0.9),
        ("500 lines a message / bare kafka-python loop", batch / bare, ">=", 4),
        (
            "Two processes / one process",
            producers["two processes, 500 lines a message"]["lines"] / batch,
            ">=",
            1.6,
        ),
        ("Memory of a job, driver and workers, MiB", max(peaks), "<=", 2048),
        ("Memory of a producer, MiB", max(rate["mib"] for rate in producers.values()), "<=", 200),
        ("Import of all DAG files without Airflow, s", dags["ours"], "<=", 1),
    ]
    if "GoAccess" in rows:
        goaccess = rows["GoAccess"]
        sizes = set(daily_runs) & set(goaccess)
        size = 5_000_000 if 5_000_000 in sizes else max(sizes)
        targets[3:3] = [
            (
                f"Daily run of {size:,} lines, speed / GoAccess",
                goaccess[size]["seconds"] / daily_runs[size]["seconds"],
                ">=",
                2,
            ),
            (
                "Daily run, s per million lines / GoAccess",
                ratio(slopes["night from text"], slopes["GoAccess"]),
                "<=",
                0.25,
            ),
        ]
    lines = []
    for what, value, sign, bound in targets:
        if value is None:
            continue
        is_reached = value <= bound if sign == "<=" else value >= bound
        figure = f"{value:,.0f}" if value >= 100 else f"{value:,.2f}"
        limit = "at most" if sign == "<=" else "at least"
        lines.append(f"| {what}: {limit} {bound:,} | {figure} | {'✓' if is_reached else '✗'} |")
    return lines


def fit_line(seconds: dict[int, float]) -> tuple[float, float] | None:
    """Fit a line to the seconds of several log sizes.

    Args:
        seconds: Number of lines -> seconds.

    Returns:
        Fixed seconds and seconds per million lines; None for a single size.
    """
    if len(seconds) < 2:
        return None
    line = statistics.linear_regression([n / 1e6 for n in seconds], list(seconds.values()))
    return line.intercept, line.slope


def speed_plot(rows: dict[str, dict[int, dict[str, Any]]], lines: int) -> str:
    """Draw an SVG: seconds for a log of `lines` lines, our steps and other tools as bars."""
    steps = ("look at the file", "land text", "summarise", "report")
    shades = ("#bcd9e2", "#6fb0c4", "#0b6e8a", "#084f63")
    bars = [("daily run", [(step, rows[step][lines]["seconds"]) for step in steps])]
    bars += [
        (name, [(name, rows[name][lines]["seconds"])])
        for name in ("GoAccess", "DuckDB", "Polars")
        if lines in rows.get(name, {})
    ]
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
        for index, (_, seconds) in enumerate(parts):
            colour = shades[index] if len(parts) > 1 else "#a8480f"
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
    """Build the section on bulk backfills: the cases, the fitted cost, and the verdict on memory."""
    lines = [
        "## A backfill in bulk",
        "",
        f"`make bench-bulk`, {date.today().isoformat()}, {os.cpu_count()} cores, {platform.machine()}. "
        "The archives (gzip) contain generated traffic. Times are in seconds, for the steps of "
        "`backfill_access_logs` without Airflow's own time, Spark jobs as whole processes. Memory is the "
        "peak of JVM and Python together, in MiB.",
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
    largest, smallest = rows[0], rows[-1]
    seconds = [sum(row[step] for step in steps) for row in (largest, smallest)]
    per_million = (seconds[0] - seconds[1]) / (largest["lines"] - smallest["lines"]) * 1e6
    fixed = seconds[1] - per_million * smallest["lines"] / 1e6
    peak = max(row[f"{step}_mib"] for row in rows for step in ("land", "summarise"))
    if daily_run := largest.get("night"):
        speed = largest["days"] * daily_run / seconds[0]
        lines += [
            "",
            f"{largest['days']} daily runs with as many lines per day take {daily_run:,.0f} s each. "
            f"Target: bulk is at least 8 times as fast: {speed:,.1f} {'✓' if speed >= 8 else '✗'}.",
        ]
    lines += [
        "",
        f"This is about {fixed:,.0f} s fixed and {per_million:,.0f} s per million lines, and "
        f"{largest['bytes_a_line']:,.0f} bytes per line on disk besides the archives. "
        f"Target: memory at most 2 GiB: {peak:,.0f} MiB {'✓' if peak <= 2048 else '✗'}.",
    ]
    return "\n".join(lines) + "\n\n"


def cluster_section(rows: list[dict[str, Any]]) -> str:
    """Build the section on workers: seconds by size and cores, and the gain of the second core."""
    lines = [
        "## One worker and two",
        "",
        f"`python -m bench.cluster`, {date.today().isoformat()}, {os.cpu_count()} cores, "
        f"{platform.machine()}, on `make cluster-up`. Landing from text and the summary run as whole "
        "processes, on one core of one worker and on one core of each worker. Driver, brokers and Airflow "
        "share the machine's cores.",
        "",
        "| Lines | Cores | land s | summarise s |",
        "|--:|--:|--:|--:|",
    ]
    for row in rows:
        lines.append(
            f"| {row['lines']:,} | {row['cores']} | {row['land']:,.1f} | {row['summarise']:,.1f} |"
        )
    seconds = {
        (row["lines"], row["cores"], step): row[step]
        for row in rows
        for step in ("land", "summarise")
    }
    smallest, largest = min(row["lines"] for row in rows), max(row["lines"] for row in rows)
    for step in ("land", "summarise"):
        speed = seconds[largest, 1, step] / seconds[largest, 2, step]
        differences = [
            seconds[largest, cores, step] - seconds[smallest, cores, step] for cores in (1, 2)
        ]
        lines += [
            "",
            f"{step}: {speed:.2f} times as fast on two cores with {largest:,} lines; "
            f"{differences[0] / differences[1]:.2f} times without the time for {smallest:,} lines.",
        ]
    return "\n".join(lines) + "\n\n"


def _verdicts(values: list[float], limit: float, digits: int = 0) -> str:
    return " | ".join(f"{v:.{digits}f} {'✓' if v <= limit else '✗'}" for v in values)


def latency_plot(rows: list[dict[str, Any]]) -> str:
    """Draw an SVG: for each engine and rate a line from p50 to p99 with a mark at p95, log scale."""
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

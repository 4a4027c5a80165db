"""docs/benchmarks.md and its plots, from what the benchmarks measured."""

import os
import platform
from datetime import date
from typing import Any

from include.settings import PROJECT

PAGE = PROJECT / "docs" / "benchmarks.md"
HEAD = """\
# Benchmarks

Written by `make bench-latency` and `make bench-bulk`; every number here is of one run on one machine, so
compare numbers of a run with each other, not with another machine's.
"""
COLOURS = {"micro-batch": "#a8480f", "continuous": "#56666f", "real-time": "#0b6e8a"}


def write_page(name: str, rows: list[dict[str, Any]]) -> None:
    """Put the section `name`, made of `rows`, into the page; the others stay."""
    text = PAGE.read_text() if PAGE.is_file() else HEAD
    made = {"latency": latency_section, "bulk": bulk_section}[name](rows)
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
    lines += [
        "",
        f"So about {fixed:,.0f} s fixed and {million:,.0f} s a million lines, and "
        f"{most['bytes_a_line']:,.0f} bytes on disk a line beside the archives. "
        f"Memory at most 2 GiB: {peak:,.0f} MiB {'✓' if peak <= 2048 else '✗'}.",
    ]
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

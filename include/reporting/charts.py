"""Charts as inline SVG, without scripts. They also work in a mail. The tooltips show the numbers.

Horizontal positions are in percent of the width and texts in pixels, so that a chart is readable on a
phone and on a large screen.
"""

from collections.abc import Callable

from markupsafe import Markup

from include.reporting.formatting import format_count

TOP_MARGIN = 20  # pixels above the highest bar, for its number
BOTTOM_MARGIN = 20  # pixels below the bars, for the labels


def draw_bars(
    values: dict[str, int],
    title: str,
    format_tooltip: Callable[[str, str], str],
    label_every: int = 1,
    height: int = 180,
    part: dict[str, int] | None = None,
    format_label: Callable[[str], str] = str,
) -> Markup:
    """Draw a bar chart of `values`. The number of the highest bar is written above it.

    Args:
        values: Key -> number, one bar each, in this order.
        title: Name of the chart, for screen readers.
        format_tooltip: Makes a bar's tooltip from its key and its formatted number.
        label_every: Label every n-th bar, beginning with the first.
        height: Height of the chart in pixels.
        part: Key -> the part of its value that is drawn in the accent colour, such as the requests of
            humans. The rest of the bar is paler. The highest part also gets its number.
        format_label: Makes a bar's label from its key.
    """
    base, step = height - BOTTOM_MARGIN, 100 / max(1, len(values))
    maximum = max(values.values(), default=0)
    gap = step / 5
    parts = [
        Markup('<svg class="bars{}" width="100%" height="{}" role="img" aria-label="{}">').format(
            " parted" if part is not None else "", height, title
        )
    ]
    for grid_line in (0, 0.5, 1):
        y = base - grid_line * (base - TOP_MARGIN)
        parts.append(Markup('<line x1="0" x2="100%" y1="{:.1f}" y2="{:.1f}"/>').format(y, y))
    peaks = {"top": maximum, "top-part": max((part or {}).values(), default=0)}
    marked_peaks: set[str] = set()
    for index, (key, value) in enumerate(values.items()):
        x = index * step + gap / 2
        bar_values = {"top": value, "top-part": (part or {}).get(key, 0)}
        bar_peaks = [name for name, peak in peaks.items() if peak and bar_values[name] == peak]
        boxes = [_draw_bar("bar", x, step - gap, value, maximum, base)]
        if part is not None:
            boxes.append(_draw_bar("part", x, step - gap, part.get(key, 0), maximum, base))
        parts.append(
            Markup(
                '<g class="{}"><title>{}</title>'
                '<rect class="hit" x="{:.2f}%" y="0" width="{:.2f}%" height="{}"/>{}'
                '<text class="{}" x="{:.2f}%" y="{}">{}</text></g>'
            ).format(
                " ".join(bar_peaks),
                format_tooltip(key, format_count(value)),
                x,
                step - gap,
                base,
                Markup("").join(boxes),
                "odd" if index // label_every % 2 else "",
                x + (step - gap) / 2,
                height - 5,
                format_label(key) if index % label_every == 0 else "",
            )
        )
        for name in bar_peaks:
            if name not in marked_peaks:
                marked_peaks.add(name)
                bar_height = peaks[name] / maximum * (base - TOP_MARGIN)
                parts.append(_draw_peak(name, x, step - gap, base - bar_height - 6, peaks[name]))
    return Markup("").join([*parts, Markup("</svg>")])


def _draw_peak(name: str, x: float, width: float, y: float, value: int) -> Markup:
    """Draw the number above the highest bar. Near the chart's edges the text stays inside the chart."""
    middle = x + width / 2
    anchor = "start" if middle < 4 else "end" if middle > 96 else "middle"
    text_x = {"start": x, "end": x + width}.get(anchor, middle)
    return Markup(
        '<text class="peak of-{}" style="text-anchor:{}" x="{:.2f}%" y="{:.1f}">{}</text>'
    ).format(name, anchor, text_x, y, format_count(value))


def _draw_bar(name: str, x: float, width: float, value: int, maximum: int, base: int) -> Markup:
    bar_height = value / maximum * (base - TOP_MARGIN) if maximum else 0
    return Markup(
        '<rect class="{}" x="{:.2f}%" y="{:.1f}" width="{:.2f}%" height="{:.1f}" rx="1.5"/>'
    ).format(name, x, base - bar_height, width, bar_height)


def draw_sparkline(values: list[int], width: int = 120, height: int = 24) -> Markup:
    """Draw a small line without axes, for a table row. `width` and `height` are in pixels."""
    maximum = max(values, default=0) or 1
    step = width / max(1, len(values) - 1)
    points = " ".join(
        f"{n * step:.1f},{height - 2 - value / maximum * (height - 4):.1f}"
        for n, value in enumerate(values)
    )
    return Markup(
        '<svg class="spark" viewBox="0 0 {} {}" width="{}" height="{}" aria-hidden="true">'
        '<polyline points="{}"/></svg>'
    ).format(width, height, width, height, points)

"""Charts as inline SVG: no script, readable in a mail, with the numbers in reach of the pointer.

Places are in percent of the width, texts in pixels: a chart is as readable on a phone as on a desk.
"""

from collections.abc import Callable

from markupsafe import Markup

from include.reporting.figures import count

HEAD, FOOT = 20, 20  # pixels above the highest bar, for its number, and below all, for the labels


def bars(
    values: dict[str, int], about: str, tip: Callable[[str, str], str], every: int = 1,
    height: int = 180, part: dict[str, int] | None = None,
    label: Callable[[str], str] = str,
) -> Markup:  # fmt: skip
    """One bar for each of `values`, `every` so many labelled by its key; the highest is marked.

    `about` is the chart's name for a screen reader; `tip` makes the text for the pointer of a key
    and its number; `label` makes the label of a key. `part` is what of each value is
    drawn in the accent, such as that of people; the rest is paler.
    """
    base, step = height - FOOT, 100 / max(1, len(values))
    most = max(values.values(), default=0)
    gap = step / 5
    parts = [
        Markup('<svg class="bars{}" width="100%" height="{}" role="img" aria-label="{}">')
        .format(" parted" if part is not None else "", height, about)
    ]  # fmt: skip
    for line in (0, 0.5, 1):
        y = base - line * (base - HEAD)
        parts.append(Markup('<line x1="0" x2="100%" y1="{:.1f}" y2="{:.1f}"/>').format(y, y))
    highest = {"top": most, "top-part": max((part or {}).values(), default=0)}
    marked: set[str] = set()
    for number, (key, value) in enumerate(values.items()):
        x = number * step + gap / 2
        reached = {"top": value, "top-part": (part or {}).get(key, 0)}
        tops = [name for name, high in highest.items() if high and reached[name] == high]
        boxes = [_bar("bar", x, step - gap, value, most, base)]
        if part is not None:
            boxes.append(_bar("part", x, step - gap, part.get(key, 0), most, base))
        parts.append(
            Markup(
                '<g class="{}"><title>{}</title>'
                '<rect class="hit" x="{:.2f}%" y="0" width="{:.2f}%" height="{}"/>{}'
                '<text class="{}" x="{:.2f}%" y="{}">{}</text></g>'
            ).format(
                " ".join(tops), tip(key, count(value)), x, step - gap, base,
                Markup("").join(boxes), "odd" if number // every % 2 else "", x + (step - gap) / 2,
                height - 5, label(key) if number % every == 0 else "",
            )
        )  # fmt: skip
        for name in tops:
            if name not in marked:
                marked.add(name)
                tall = reached[name] / most * (base - HEAD)
                parts.append(_peak(name, x, step - gap, base - tall - 6, reached[name]))
    return Markup("").join([*parts, Markup("</svg>")])


def _peak(name: str, x: float, width: float, y: float, value: int) -> Markup:
    """The number above the highest bar, kept within the chart at its ends."""
    middle = x + width / 2
    side = "start" if middle < 4 else "end" if middle > 96 else "middle"
    at = {"start": x, "end": x + width}.get(side, middle)
    return Markup(
        '<text class="peak of-{}" style="text-anchor:{}" x="{:.2f}%" y="{:.1f}">{}</text>'
    ).format(name, side, at, y, count(value))


def _bar(name: str, x: float, width: float, value: int, most: int, base: int) -> Markup:
    tall = value / most * (base - HEAD) if most else 0
    return Markup(
        '<rect class="{}" x="{:.2f}%" y="{:.1f}" width="{:.2f}%" height="{:.1f}" rx="1.5"/>'
    ).format(name, x, base - tall, width, tall)


def spark(values: list[int], width: int = 120, height: int = 24) -> Markup:
    """A small line without axes, for a row of a table."""
    most = max(values, default=0) or 1
    step = width / max(1, len(values) - 1)
    points = " ".join(
        f"{n * step:.1f},{height - 2 - value / most * (height - 4):.1f}"
        for n, value in enumerate(values)
    )
    return Markup(
        '<svg class="spark" viewBox="0 0 {} {}" width="{}" height="{}" aria-hidden="true">'
        '<polyline points="{}"/></svg>'
    ).format(width, height, width, height, points)

"""Charts as inline SVG: no script, readable in a mail, with the numbers in reach of the pointer."""

from collections.abc import Callable

from markupsafe import Markup

from include.reporting.figures import count


def bars(
    values: dict[str, int], about: str, tip: Callable[[str, str], str], every: int = 1,
    height: int = 160,
) -> Markup:  # fmt: skip
    """One bar for each of `values`, `every` so many labelled by its key; the highest is marked.

    `about` is the chart's name for a screen reader; `tip` makes the text for the pointer of a key
    and its number.
    """
    width, base = 960, height - 22
    most = max(values.values(), default=0)
    step = width / max(1, len(values))
    gap = min(6, step / 4)
    parts = [
        Markup('<svg class="bars" viewBox="0 0 {} {}" role="img" aria-label="{}">')
        .format(width, height, about)
    ]  # fmt: skip
    for line in (0.5, 1.0):
        y = base - line * (base - 18)
        parts.append(Markup('<line x1="0" x2="{}" y1="{:.1f}" y2="{:.1f}"/>').format(width, y, y))
    marked = False
    for number, (label, value) in enumerate(values.items()):
        tall = value / most * (base - 18) if most else 0
        x = number * step + gap / 2
        top = "top" if value == most and most else ""
        parts.append(
            Markup(
                '<g class="{}"><title>{}</title>'
                '<rect class="hit" x="{:.1f}" y="0" width="{:.1f}" height="{}"/>'
                '<rect class="bar" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}" rx="2"/>'
                '<text x="{:.1f}" y="{}">{}</text></g>'
            ).format(
                top, tip(label, count(value)), x, step - gap, base,
                x, base - tall, step - gap, tall,
                min(max(x + (step - gap) / 2, 18), width - 18), height - 6,
                label if number % every == 0 else "",
            )
        )  # fmt: skip
        if top and not marked:
            marked = True
            parts.append(
                Markup('<text class="peak" x="{:.1f}" y="{:.1f}">{}</text>').format(
                    min(max(x + (step - gap) / 2, 24), width - 24), base - tall - 5, count(value)
                )
            )
    return Markup("").join([*parts, Markup("</svg>")])


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

"""A line plot as an SVG file that stands on its own: for documents, where no page brings colours or fonts."""

from collections.abc import Mapping, Sequence
from html import escape
from math import ceil, floor, log10

WIDTH, HEIGHT = 720, 380
LEFT, RIGHT, TOP, BOTTOM = 64, 150, 44, 52
COLOURS = ("#1a73e8", "#d97706", "#1e7b34", "#b3261e")
INK, GREY, PAPER = "#1f2937", "#9ca3af", "#ffffff"

Line = Sequence[tuple[float, float]]


def line_plot(
    lines: Mapping[str, Line],
    *,
    bands: Mapping[str, Sequence[float]] | None = None,
    title: str = "",
    x_title: str = "",
    y_title: str = "",
) -> str:
    """`lines` by name; `bands` gives how far each point may lie up and down."""
    bands = bands or {}
    reach = {name: bands.get(name, [0.0] * len(points)) for name, points in lines.items()}
    xs = [x for points in lines.values() for x, _ in points]
    ys = [
        y + side * far
        for name, points in lines.items()
        for (_, y), far in zip(points, reach[name], strict=True)
        for side in (-1, 1)
    ]
    x_ticks, y_ticks = ticks(min(xs), max(xs)), ticks(min(ys), max(ys))
    low, high = min(y_ticks[0], min(ys)), max(y_ticks[-1], max(ys))

    def at(x: float, y: float) -> str:
        across = LEFT + (x - min(xs)) / ((max(xs) - min(xs)) or 1) * (WIDTH - LEFT - RIGHT)
        down = HEIGHT - BOTTOM - (y - low) / ((high - low) or 1) * (HEIGHT - TOP - BOTTOM)
        return f"{across:.1f},{down:.1f}"

    drawn = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="13" '
        f'fill="{INK}" role="img" aria-label="{escape(title, quote=True)}">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="{PAPER}"/>',
        _text(LEFT, 24, title, size=15, bold=True),
    ]
    for y in y_ticks:
        place = at(min(xs), y).partition(",")[2]
        drawn.append(
            f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{place}" y2="{place}" stroke="{GREY}" stroke-width=".5"/>'
        )
        drawn.append(_text(LEFT - 8, float(place) + 4, f"{y:g}", anchor="end"))
    for x in x_ticks:
        if min(xs) <= x <= max(xs):
            drawn.append(_text(float(at(x, low).partition(",")[0]), HEIGHT - BOTTOM + 20, f"{x:g}", anchor="middle"))
    for number, (name, points) in enumerate(lines.items()):
        colour = COLOURS[number % len(COLOURS)]
        if any(reach[name]):
            above = [at(x, y + far) for (x, y), far in zip(points, reach[name], strict=True)]
            below = [at(x, y - far) for (x, y), far in zip(points, reach[name], strict=True)]
            drawn.append(f'<polygon points="{" ".join(above + below[::-1])}" fill="{colour}" opacity=".15"/>')
        drawn.append(
            f'<polyline points="{" ".join(at(x, y) for x, y in points)}" fill="none" stroke="{colour}" stroke-width="2"/>'
        )
        drawn += [
            f'<circle cx="{p.partition(",")[0]}" cy="{p.partition(",")[2]}" r="3" fill="{colour}"/>'
            for p in (at(x, y) for x, y in points)
        ]
        drawn.append(f'<rect x="{WIDTH - RIGHT + 18}" y="{TOP + 22 * number}" width="14" height="4" fill="{colour}"/>')
        drawn.append(_text(WIDTH - RIGHT + 40, TOP + 6 + 22 * number, name))
    drawn.append(_text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 12, x_title, anchor="middle"))
    middle = (TOP + HEIGHT - BOTTOM) / 2
    drawn.append(f'<g transform="rotate(-90 16 {middle})">{_text(16, middle, y_title, anchor="middle")}</g>')
    return "\n".join([*drawn, "</svg>", ""])


def _text(x, y, text, *, anchor="start", size=13, bold=False) -> str:
    weight = ' font-weight="bold"' if bold else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}"{weight}>{escape(text)}</text>'


def ticks(low: float, high: float, wanted: int = 6) -> list[float]:
    """Round numbers from below `low` to above `high`, about so many."""
    if high <= low:
        high = low + 1
    rough = (high - low) / wanted
    unit = 10.0 ** floor(log10(rough))
    step = next(unit * factor for factor in (1, 2, 2.5, 5, 10) if unit * factor >= rough * 0.999)
    first, last = floor(low / step), ceil(high / step)
    return [round(step * number, 10) for number in range(first, last + 1)]

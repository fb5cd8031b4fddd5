"""Small line charts, drawn here as SVG: nothing to load, and nothing that a script has to do."""

from collections.abc import Mapping, Sequence

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

WIDTH, HEIGHT = 560, 200
LEFT, RIGHT, TOP, BOTTOM = 48, 12, 12, 32
MOST_POINTS = 300  # a line on a screen shows no more

Points = Sequence[tuple[float, float]]


def chart(lines: Mapping[str, Points], *, x_title: str, zero: bool = True) -> SafeString:
    """`lines` by name over a common x; y begins at nought where `zero`. Empty for less than two points."""
    drawn = {name: _thinned(points) for name, points in lines.items() if len(points) > 1}
    if not drawn:
        return SafeString("")
    xs = [x for points in drawn.values() for x, _ in points]
    ys = [y for points in drawn.values() for _, y in points]
    left, right = min(xs), max(xs)
    low, high = (0.0 if zero and min(ys) >= 0 else min(ys)), max(ys)
    if high == low:
        high = low + 1
    if right == left:
        right = left + 1

    def place(x, y):
        across = LEFT + (x - left) / (right - left) * (WIDTH - LEFT - RIGHT)
        down = HEIGHT - BOTTOM - (y - low) / (high - low) * (HEIGHT - TOP - BOTTOM)
        return f"{across:.1f},{down:.1f}"

    grid = format_html_join(
        "",
        '<line x1="{}" x2="{}" y1="{}" y2="{}" class="grid"/><text x="{}" y="{}" text-anchor="end">{}</text>',
        (
            (LEFT, WIDTH - RIGHT, y, y, LEFT - 6, f"{float(y) + 4:.1f}", _short(value))
            for value in (low, (low + high) / 2, high)
            for y in [place(left, value).partition(",")[2]]
        ),
    )
    paths = format_html_join(
        "",
        '<polyline class="line-{}" points="{}"/>',
        ((number, " ".join(place(x, y) for x, y in points)) for number, points in enumerate(drawn.values())),
    )
    legend = format_html_join(
        "",
        '<span class="hub-legend line-{}">{} <b>{}</b></span>',
        ((number, name, _short(points[-1][1])) for number, (name, points) in enumerate(drawn.items())),
    )
    return format_html(
        '<figure class="hub-chart"><svg viewBox="0 0 {} {}" role="img" aria-label="{}">{}{}'
        '<text x="{}" y="{}">{}</text><text x="{}" y="{}" text-anchor="end">{}</text>'
        '<text x="{}" y="{}" text-anchor="middle">{}</text></svg><figcaption>{}</figcaption></figure>',
        WIDTH, HEIGHT, " and ".join(drawn), grid, paths,
        LEFT, HEIGHT - 10, _short(left), WIDTH - RIGHT, HEIGHT - 10, _short(right),
        (LEFT + WIDTH - RIGHT) // 2, HEIGHT - 10, x_title, legend,
    )  # fmt: skip


def _thinned(points: Points) -> Points:
    """At most so many of them, evenly chosen, the last always."""
    if len(points) <= MOST_POINTS:
        return points
    step = len(points) / MOST_POINTS
    return [points[int(number * step)] for number in range(MOST_POINTS)] + [points[-1]]


def _short(value: float) -> str:
    return f"{value:g}" if float(value).is_integer() else f"{value:.3g}"

# SPDX-License-Identifier: BSD-2-Clause
"""Pictures as text: line charts, grouped and stacked bars, flame graphs; SVG 1.1, no script, no line longer than a repository takes."""
import math
import textwrap
from html import escape

# Okabe and Ito (2008): told apart by the colour-blind too
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8c8c8c", "#f0e442")
INK, FAINT, PAPER = "#222222", "#dddddd", "#ffffff"
WIDTH, HEIGHT = 720, 400
LEFT, RIGHT, TOP, BOTTOM = 72, 16, 48, 92
LETTER = 6.2  # width of a letter at 11 px, about


class Svg:
    def __init__(self, width, height, title, note=""):
        self.parts = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}"',
                      ' font-family="sans-serif" font-size="11">', f"<title>{escape(title)}</title>"]
        if note:
            self.parts += ["<desc>", *textwrap.wrap(escape(note), 120), "</desc>"]
        self.rect(0, 0, width, height, PAPER)
        self.width, self.height = width, height

    def rect(self, x, y, w, h, fill, title=""):
        said = f"<title>{escape(shorten(title, 90))}</title>" if title else ""
        self.parts.append(f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(w, 0):.1f}" height="{max(h, 0):.1f}" fill="{fill}">{said}</rect>')

    def line(self, x1, y1, x2, y2, stroke=FAINT, dash=""):
        dashed = f' stroke-dasharray="{dash}"' if dash else ""
        self.parts.append(f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{stroke}"{dashed}/>')

    def text(self, x, y, words, anchor="start", size=11, fill=INK, turn=0):
        turned = f' transform="rotate({turn} {x:.1f} {y:.1f})"' if turn else ""
        self.parts.append(f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}" fill="{fill}"{turned}>'
                          f"{escape(shorten(str(words), 80))}</text>")

    def path(self, points, stroke, dash=""):
        dashed = f' stroke-dasharray="{dash}"' if dash else ""
        self.parts.append('<polyline fill="none" stroke-width="2"' + f' stroke="{stroke}"{dashed} points="')
        self.parts += textwrap.wrap(" ".join(f"{x:.1f},{y:.1f}" for x, y in points), 120)
        self.parts.append('"/>')

    def dot(self, x, y, fill, title):
        self.parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{fill}"><title>{escape(shorten(title, 60))}</title></circle>')

    def done(self):
        return "\n".join(self.parts + ["</svg>"]) + "\n"


def shorten(words, most):
    return words if len(words) <= most else words[:most - 1] + "…"


def ticks(low, high, wanted=5):
    """Round numbers from low to high, the last at or above high."""
    if high <= low:
        high = low + 1
    rough = (high - low) / wanted
    power = 10 ** math.floor(math.log10(rough))
    step = next(power * n for n in (1, 2, 2.5, 5, 10) if power * n >= rough * 0.999)
    first = math.floor(low / step) * step
    return [first + step * i for i in range(int(math.ceil((high - first) / step - 1e-9)) + 1)]


def figure(value):
    """A number as people write it on an axis."""
    if value and abs(value) < 0.01:
        return f"{value:.2g}"
    return f"{value:,.0f}" if abs(value) >= 100 or value == int(value) else f"{value:.3g}"


def frame(chart, y_ticks):
    """Title, y axis and grid; returns the function from value to y."""
    svg = Svg(WIDTH, HEIGHT, chart["title"], chart.get("note", ""))
    svg.text(LEFT, 20, chart["title"], size=14)
    svg.text(LEFT, 36, chart["y"], size=11, fill="#555555")
    low, high = y_ticks[0], y_ticks[-1]
    place = lambda v: TOP + (HEIGHT - TOP - BOTTOM) * (1 - (v - low) / (high - low))  # noqa: E731
    for tick in y_ticks:
        svg.line(LEFT, place(tick), WIDTH - RIGHT, place(tick))
        svg.text(LEFT - 6, place(tick) + 4, figure(tick), anchor="end")
    return svg, place


def legend(svg, names):
    x, y = LEFT, HEIGHT - 34
    for i, name in enumerate(names):
        need = 34 + LETTER * len(name)
        if x + need > WIDTH - RIGHT and x > LEFT:
            x, y = LEFT, y + 16
        svg.rect(x, y - 8, 12, 8, COLOURS[i % len(COLOURS)])
        svg.text(x + 16, y, name)
        x += need


def lines(chart):
    """{"title", "x", "y", "series": {name: [(x, y)]}, "by_place" (x values at equal distances), "note"}. Points are sorted here."""
    series = {name: sorted(points) for name, points in chart["series"].items() if points}
    if not series:
        raise ValueError(f"{chart['title']}: nothing to draw")
    xs = sorted({x for points in series.values() for x, _ in points})
    top = max(y for points in series.values() for _, y in points)
    svg, y_of = frame(chart, ticks(0, top or 1))
    if chart.get("by_place"):
        step = (WIDTH - LEFT - RIGHT) / max(len(xs), 1)
        x_of, x_ticks = lambda x: LEFT + step * (xs.index(x) + 0.5), xs  # noqa: E731
    else:
        x_ticks = ticks(0, xs[-1], 7)
        x_of = lambda x: LEFT + (WIDTH - LEFT - RIGHT) * x / x_ticks[-1]  # noqa: E731
    for tick in x_ticks:
        svg.line(x_of(tick), HEIGHT - BOTTOM, x_of(tick), HEIGHT - BOTTOM + 4, INK)
        svg.text(x_of(tick), HEIGHT - BOTTOM + 17, figure(tick), anchor="middle")
    svg.text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - BOTTOM + 34, chart["x"], anchor="middle", fill="#555555")
    for i, (name, points) in enumerate(series.items()):
        colour = COLOURS[i % len(COLOURS)]
        svg.path([(x_of(x), y_of(y)) for x, y in points], colour, "6 3" if name.startswith("limit") else "")
        for x, y in points:
            svg.dot(x_of(x), y_of(y), colour, f"{name}: {figure(x)}, {figure(y)}")
    legend(svg, series)
    return svg.done()


def bars(chart):
    """{"title", "y", "groups": {group: {name: value}}, "stacked", "note"}: beside one another, or on top of one another."""
    groups = chart["groups"]
    names = list(dict.fromkeys(name for values in groups.values() for name in values))
    if not names:
        raise ValueError(f"{chart['title']}: nothing to draw")
    tops = [sum(v.values()) if chart.get("stacked") else max(v.values()) for v in groups.values() if v]
    svg, y_of = frame(chart, ticks(0, max(tops) or 1))
    room = (WIDTH - LEFT - RIGHT) / len(groups)
    for g, (group, values) in enumerate(groups.items()):
        begin, base = LEFT + room * (g + 0.1), 0.0
        width = room * 0.8 / (1 if chart.get("stacked") else len(names))
        if chart.get("stacked"):
            width = min(width, 90)
            begin = LEFT + room * (g + 0.5) - width / 2
        for i, name in enumerate(names):
            value = values.get(name)
            if value is None:
                continue
            x = begin if chart.get("stacked") else begin + width * i
            svg.rect(x, y_of(base + value), width * (1 if chart.get("stacked") else 0.92), y_of(base) - y_of(base + value),
                     COLOURS[i % len(COLOURS)], f"{group}, {name}: {figure(value)}")
            if chart.get("stacked"):
                base += value
            elif width > 26:
                svg.text(x + width / 2, y_of(value) - 3, figure(value), anchor="middle", size=9)
        if chart.get("stacked"):
            svg.text(begin + width / 2, y_of(base) - 4, figure(base), anchor="middle", size=10)
        svg.text(LEFT + room * (g + 0.5), HEIGHT - BOTTOM + 17, shorten(str(group), max(8, int(room / LETTER))), anchor="middle")
    legend(svg, names)
    return svg.done()


# --- flame graph (Gregg, "The Flame Graph", CACM 59(6), 2016) -------------------------------------------------------------


def tree_of(stacks):
    """{(outermost, …, innermost): samples} as nested {name: [samples, children]}."""
    root = {}
    for stack, count in stacks.items():
        level = root
        for name in stack:
            node = level.setdefault(name, [0, {}])
            node[0] += count
            level = node[1]
    return root


def flame(title, stacks, note="", least=0.002):
    """Widths are shares of the samples; what is narrower than `least` of all is left out. Colour says whose code it is: ours, the
    kernel's (names that end in _[k], as perf's own folding marks them), libraries'."""
    total = sum(stacks.values())
    if not total:
        raise ValueError(f"{title}: nothing to draw")
    row, width, found = 16, 960, []

    def walk(level, depth, begin):
        for name, (count, children) in sorted(level.items()):
            if count / total >= least:
                found.append((depth, begin, count, name))
                walk(children, depth + 1, begin)
            begin += count

    walk(tree_of(stacks), 0, 0)
    deepest = max(depth for depth, *_ in found)
    svg = Svg(width, row * (deepest + 1) + 44, title, note)
    svg.text(8, 20, f"{title} ({total:,} samples)", size=14)
    for depth, begin, count, name in found:
        x, w = 8 + (width - 16) * begin / total, (width - 16) * count / total
        y = svg.height - 8 - row * (depth + 1)
        kernel, plain = name.endswith("_[k]"), name.removesuffix("_[k]")
        colour = "#9ecae1" if kernel else "#fdae6b" if plain.startswith(("cap_", "skep", "lane_", "flt_")) else "#fdd0a2"
        svg.rect(x, y, max(w - 0.6, 0.3), row - 1, colour, f"{plain}: {100 * count / total:.1f} %")
        if w > 24:
            svg.text(x + 2, y + 11, shorten(plain, max(1, int((w - 4) / LETTER))), size=10)
    return svg.done()

#!/usr/bin/env python3
"""Draws a roofline plot (SVG) of a result file of bench/record.py.

    python3 bench/roofline.py RESULT.json -o docs/roofline.svg

Left the kernels on one thread, right the whole model. Across: multiply-adds per byte of weights
and cache that are read; up: multiply-adds per second. A roof rises with the read bandwidth and is
flat at the int8 dot peak of its target, both as the file has them; what stands on it can get no
faster.
"""
import argparse
import json
import math
import re
from html import escape

WIDTH, HEIGHT = 1240, 640
TOP, BOTTOM = 96, 470
PANELS = ((76, 516), (700, 1090))  # left and right edges
COLORS = ("#0b6bb5", "#d1590a", "#128a5e", "#a3448f", "#6b6b6b")  # of targets, best first
INK, SOFT, GRID = "#222222", "#666666", "#e6e6e6"
# White around letters that stand on lines.
HALO = {"stroke": "#ffffff", "stroke_width": 3, "paint_order": "stroke", "stroke_linejoin": "round"}
# Types of weights that the left panel shows: their shapes.
SHAPES = {"int4": "circle", "int4x": "square", "int8": "diamond", "int4a": "triangle"}


class Svg:
    def __init__(self):
        self.parts = []

    def add(self, tag, text=None, **attributes):
        words = "".join(' %s="%s"' % (k.replace("_", "-"),
                                      "%.1f" % v if isinstance(v, float) else escape(str(v)))
                        for k, v in attributes.items())
        self.parts.append("<%s%s/>" % (tag, words) if text is None
                          else "<%s%s>%s</%s>" % (tag, words, escape(text), tag))

    def text(self, x, y, text, size=13, fill=INK, anchor="start", **more):
        self.add("text", text, x=float(x), y=float(y), font_size=size, fill=fill,
                 text_anchor=anchor, **more)

    def marker(self, shape, x, y, color, r=5.0):
        style = dict(fill=color, stroke="#ffffff", stroke_width=1)
        if shape == "circle":
            self.add("circle", cx=float(x), cy=float(y), r=r, **style)
            return
        corners = {"square": ((-.88, -.88), (.88, -.88), (.88, .88), (-.88, .88)),
                   "diamond": ((0, -1.25), (1.25, 0), (0, 1.25), (-1.25, 0)),
                   "triangle": ((0, -1.2), (1.15, .8), (-1.15, .8))}[shape]
        self.add("polygon", points=" ".join("%.1f,%.1f" % (x + r * dx, y + r * dy)
                                            for dx, dy in corners), **style)

    def save(self, title):
        return ('<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" '
                'width="%d" height="%d" font-family="Helvetica, Arial, DejaVu Sans, sans-serif">\n'
                '<title>%s</title>\n%s\n</svg>\n'
                % (WIDTH, HEIGHT, WIDTH, HEIGHT, escape(title), "\n".join(self.parts)))


class Axes:
    """Log-log axes of one panel."""

    def __init__(self, svg, edges, x_range, y_range):
        self.svg, (self.left, self.right) = svg, edges
        self.x_range, self.y_range = x_range, y_range

    def x(self, value):
        low, high = map(math.log, self.x_range)
        return self.left + (self.right - self.left) * (math.log(value) - low) / (high - low)

    def y(self, value):
        low, high = map(math.log, self.y_range)
        return BOTTOM - (BOTTOM - TOP) * (math.log(value) - low) / (high - low)

    def frame(self, title):
        svg = self.svg
        svg.text(self.left, TOP - 14, title, size=15, font_weight="bold")
        for tick in ticks(self.x_range, (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096)):
            svg.add("line", x1=self.x(tick), x2=self.x(tick), y1=TOP, y2=BOTTOM, stroke=GRID)
            if self.x_range[1] < 2000 or math.log2(tick) % 2 == 0:
                svg.text(self.x(tick), BOTTOM + 18, "%g" % tick, size=12, fill=SOFT,
                         anchor="middle")
        for tick in ticks(self.y_range, (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000)):
            svg.add("line", x1=self.left, x2=self.right, y1=self.y(tick), y2=self.y(tick),
                    stroke=GRID)
            svg.text(self.left - 8, self.y(tick) + 4, "%g" % tick, size=12, fill=SOFT, anchor="end")
        svg.add("rect", x=self.left, y=TOP, width=self.right - self.left, height=BOTTOM - TOP,
                fill="none", stroke="#999999")
        svg.text((self.left + self.right) / 2, BOTTOM + 40,
                 "multiply-adds per byte of weights and cache read", anchor="middle")
        svg.text(0, 0, "GMAC/s", anchor="middle",
                 transform="translate(%.1f %.1f) rotate(-90)"
                 % (self.left - 46, (TOP + BOTTOM) / 2))

    def roof(self, bandwidth, peak, color):
        low, high = self.x_range
        begin = max(low, self.y_range[0] / bandwidth)
        points = ((begin, bandwidth * begin), (peak / bandwidth, peak), (high, peak))
        self.svg.add("polyline", fill="none", stroke=color, stroke_width=2, stroke_opacity=0.75,
                     points=" ".join("%.1f,%.1f" % (self.x(a), self.y(b)) for a, b in points))

    def slope_label(self, bandwidth, peak, text):
        """Along the rising part of a roof, above it and below its corner."""
        x = 0.85 * peak / bandwidth
        angle = math.degrees(math.atan2(self.y(bandwidth * 2) - self.y(bandwidth * 1),
                                        self.x(2 * self.x_range[0]) - self.x(self.x_range[0])))
        self.svg.text(0, -10, text, size=12, fill=SOFT, anchor="end", **HALO,
                      transform="translate(%.1f %.1f) rotate(%.1f)"
                      % (self.x(x), self.y(bandwidth * x), angle))


def ticks(span, values):
    return [v for v in values if span[0] <= v <= span[1]]


def apart(labels, gap):
    """Moves labels (y, ...) down or up until they do not meet; sorted by y."""
    labels = sorted(labels)
    for _ in range(100):
        for i in range(len(labels) - 1):
            short = gap - (labels[i + 1][0] - labels[i][0])
            if short > 0.01:
                labels[i] = (labels[i][0] - short / 2,) + labels[i][1:]
                labels[i + 1] = (labels[i + 1][0] + short / 2,) + labels[i + 1][1:]
    return labels


def roofs(axes, peaks, colors):
    """peaks: (isa, GB/s, GMAC/s). Draws the roofs and says the peaks at their right ends."""
    for isa, bandwidth, peak in reversed(peaks):
        axes.roof(bandwidth, peak, colors[isa])
    labels = [(axes.y(peak), isa, peak) for isa, _, peak in peaks]
    for y, isa, peak in apart(labels, 16):
        axes.svg.text(axes.right + 8, y + 4, "%s %.0f" % (isa, peak), fill=colors[isa])
    slowest, fastest = min(p[1] for p in peaks), max(p[1] for p in peaks)
    said = "%.0f" % fastest if fastest - slowest < 1 else "%.0f to %.0f" % (slowest, fastest)
    axes.slope_label(fastest, max(p[2] for p in peaks), "read bandwidth, %s GB/s" % said)


def kernel_points(target):
    """(type, m, kernel) of the first shape that the bench has for each number of tokens."""
    seen = set()
    for kernel in target["kernels"]:
        match = re.fullmatch(r"matmul_(\w+)", kernel["kernel"])
        tokens = re.search(r"m=(\d+)$", kernel["shape"])
        if not match or match.group(1) not in SHAPES or not tokens:
            continue
        key = (match.group(1), int(tokens.group(1)))
        if key not in seen:
            seen.add(key)
            yield key + (kernel,)


def draw_kernels(svg, result, colors):
    targets = result["targets"]
    points = [(t["isa"],) + p for t in targets for p in kernel_points(t)]
    axes = Axes(svg, PANELS[0], (0.5, 1024), limits(
        [p[3]["gmac_per_s"] for p in points] + [t["dot_gmac_per_s"] for t in targets]))
    axes.frame("Matmul kernels, one thread")
    roofs(axes, [(t["isa"], t["read_gb_per_s"], t["dot_gmac_per_s"]) for t in targets], colors)
    for isa, kind, _, kernel in reversed(points):
        svg.marker(SHAPES[kind], axes.x(kernel["macs_per_byte"]), axes.y(kernel["gmac_per_s"]),
                   colors[isa])
    for m in sorted({p[2] for p in points}):
        places = [p[3]["macs_per_byte"] for p in points if p[2] == m]
        x = axes.x(math.sqrt(min(places) * max(places)))
        svg.text(x, BOTTOM - 10, "m = %d" % m, size=12, fill=SOFT, anchor="middle", **HALO)


def draw_model(svg, result, colors):
    threads = max(m["machine"]["threads"] for m in result["models"])
    models = [m for m in result["models"] if m["machine"]["threads"] == threads]
    peaks = {}
    for m in models:  # of each target: the greatest of its measurements
        old = peaks.get(m["machine"]["isa"], (0, 0))
        peaks[m["machine"]["isa"]] = (max(old[0], m["machine"]["read_gb_per_s"]),
                                      max(old[1], m["machine"]["dot_gmac_per_s"]))
    points = []  # x, y, isa, shape, label
    for m in models:
        for phase, shape in (("prefill", "circle"), ("decode", "square")):
            if phase not in m:
                continue
            p = m[phase]
            rate = p["gmac_per_s"] if phase == "prefill" else p["gb_per_s"] * p["macs_per_byte"]
            share = p["share_of_dot_peak"] if phase == "prefill" else p["share_of_bandwidth"]
            length = p["tokens"] if phase == "prefill" else p["context"]
            points.append((p["macs_per_byte"], rate, m["machine"]["isa"], shape,
                           "%d: %.0f%%" % (length, 100 * share)))
    axes = Axes(svg, PANELS[1], (0.5, 4096), limits([p[1] for p in points]
                                                    + [p[1] for p in peaks.values()]))
    axes.frame("Whole model, %d thread%s" % (threads, "" if threads == 1 else "s"))
    roofs(axes, [(isa,) + p for isa, p in peaks.items()], colors)
    for shape in ("circle", "square"):
        labels = []
        for x, y, isa, mine, text in points:
            if mine == shape:
                labels.append((axes.y(y), axes.x(x), text, isa))
        for y, _, text, isa in apart(labels, 15):
            svg.text(max(p[1] for p in labels) + 10, y + 4, text, size=12, fill=colors[isa],
                     **HALO)
        for y, x, _, isa in labels:
            svg.marker(shape, x, y, colors[isa])


def limits(values):
    """A range of the y axis that holds them with room above and below."""
    return min(values) / 2.2, max(values) * 1.6


def legend(svg, isas, colors):
    y, x = BOTTOM + 84, PANELS[0][0]
    svg.text(x, y, "target", fill=SOFT)
    for isa in isas:
        x += 64 if isa == isas[0] else 112
        svg.add("line", x1=x, x2=x + 22, y1=y - 4, y2=y - 4, stroke=colors[isa], stroke_width=3)
        svg.text(x + 28, y, isa)
    y, x = y + 28, PANELS[0][0]
    svg.text(x, y, "weights", fill=SOFT)
    x += 64
    for kind, shape in SHAPES.items():
        svg.marker(shape, x + 8, y - 4, SOFT)
        svg.text(x + 20, y, kind)
        x += 78
    svg.text(x + 8, y, "m: tokens at a time", fill=SOFT)
    y, x = BOTTOM + 84, PANELS[1][0]
    for shape, text in (("circle", "prefill, tokens: share of the int8 dot peak"),
                        ("square", "decode, context: share of the read bandwidth")):
        svg.marker(shape, x + 8, y - 4, SOFT)
        svg.text(x + 20, y, text)
        y += 28


def draw(result):
    svg, machine = Svg(), result["machine"]
    isas = list(dict.fromkeys([t["isa"] for t in result["targets"]]
                              + [m["machine"]["isa"] for m in result["models"]]))
    colors = {isa: COLORS[min(i, len(COLORS) - 1)] for i, isa in enumerate(isas)}
    model = result["models"][0]["model"]
    title = "glint on %s, %d cores" % (machine["cpu"], machine.get("cores", machine["cpus"]))
    svg.add("rect", width=WIDTH, height=HEIGHT, fill="#ffffff")
    svg.text(PANELS[0][0], 34, title, size=20, font_weight="bold")
    size = "%.2f GB" % (model["bytes"] / 1e9) if model["bytes"] > 1e9 else "%.1f MB" % (
        model["bytes"] / 1e6)
    svg.text(PANELS[0][0], 56, " | ".join((
        "%s, %s, %s" % (model["name"], model["type"], size), machine["compiler"],
        machine.get("kernel", "unknown system"), machine["date"][:10])), fill=SOFT)
    draw_kernels(svg, result, colors)
    draw_model(svg, result, colors)
    legend(svg, isas, colors)
    return svg.save(title)


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("result")
    parser.add_argument("-o", "--output", required=True)
    arguments = parser.parse_args()
    with open(arguments.result, encoding="utf-8") as file:
        text = draw(json.load(file))
    with open(arguments.output, "w", encoding="utf-8") as file:
        file.write(text)


if __name__ == "__main__":
    main()

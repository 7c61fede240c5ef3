"""The picture of one check as SVG: when which unit was how far off, and how the numbers went.

Three panels share the axis of time: the heat map of the ratios to the bound, the largest numbers of
each timestep on a logarithmic scale, and their effective bits. What is longer than the picture has
room for is reduced by maximum, so that nothing above its bound is lost. The same picture stands in
the HTML page, in a notebook, and in the file of `--plot`. The standard library and NumPy alone.

Colours are CSS variables with a value for light and one for dark pages: blue is within the bound
and orange beyond it, which the colour-blind can tell apart, and lightness tells how far.
"""

from __future__ import annotations

import math
import re
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from importlib.util import find_spec
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnn_parity.errors import InputError, MissingPackageError, shown
from rnn_parity.recurrence.cells import KERAS_CELLS, Array
from rnn_parity.recurrence.precision import FORMATS
from rnn_parity.report import PNG
from rnn_parity.report.checks import label_in_file, verdict_sentence
from rnn_parity.report.wording import bits, digits
from rnn_parity.verdict.judge import effective_bits
from rnn_parity.verdict.order import WORST_FIRST
from rnn_parity.verdict.results import Check, HeatMap, ImpliedWeight
from rnn_parity.verdict.sentences import number, ratio

LIGHT = {
    **{"paper": "#ffffff", "ink": "#1c2733", "muted": "#5b6875", "line": "#d5dce3"},
    **{"h0": "#edf1f5", "h1": "#d0e1ef", "h2": "#a5c7e2", "h3": "#6ca5cf", "h4": "#2f76ab"},
    **{"h5": "#f7bf5c", "h6": "#ea8a21", "h7": "#c54e10", "h8": "#83230b", "h9": "#000000"},
    **{"deviation": "#a5457f", "residual": "#0b66a8", "bound": "#c54e10", "bits": "#00705a"},
}
DARK = {
    **{"paper": "#171d24", "ink": "#e6ebf0", "muted": "#9aa7b4", "line": "#36414d"},
    **{"h0": "#222b35", "h1": "#24405c", "h2": "#2b5b88", "h3": "#3d82b8", "h4": "#74b6e6"},
    **{"h5": "#96601a", "h6": "#d1832a", "h7": "#f6a94f", "h8": "#ffdca6", "h9": "#ffffff"},
    **{"deviation": "#e08abd", "residual": "#66b3ea", "bound": "#f6a94f", "bits": "#4cc4a5"},
}
"""The colours of light and of dark pages; h0 to h9 are those of the heat map."""
LIMITS = (0, 1 / 16, 1 / 4, 1 / 2, 1, 10, 1e3, 1e6)
"""The largest ratio of each colour of the heat map, but for the last two."""
BEYOND, NO_NUMBER = 5, 9
"""The first colour of what is beyond its bound, and that of what is infinite or no number."""
RULES = """\
.rp text{fill:var(--muted);font:11px system-ui,"DejaVu Sans",sans-serif}
.rp .head{fill:var(--ink);font-weight:600}
.rp .title{fill:var(--ink);font-weight:600;font-size:13px}
.rp .e{text-anchor:end}.rp .m{text-anchor:middle}
.rp path{fill:none}.rp .cells path{stroke-width:1}
.rp .frame{fill:none;stroke:var(--line)}.rp .grid{stroke:var(--line)}
.rp .hover{fill:none;pointer-events:all}
.rp .curve{stroke-width:1.6;stroke-linejoin:round}
.rp .deviation{stroke:var(--deviation);stroke-dasharray:5 2}
.rp .residual{stroke:var(--residual)}
.rp .bound{stroke:var(--bound);stroke-dasharray:1.5 2.5}
.rp .bits{stroke:var(--bits)}
.rp .first{fill:none;stroke:var(--ink);stroke-width:1.6}
.rp .since{stroke:var(--ink);stroke-dasharray:3 3}
.rp .larger{fill:var(--h7)}.rp .smaller{fill:var(--h4)}
"""
RULES += "".join(
    f".rp .h{i}{{stroke:var(--h{i})}}.rp rect.h{i}{{fill:var(--h{i})}}" for i in range(10)
)

WIDTH, LEFT, RIGHT = 560, 58, 14
"""The sizes of a picture in its own units: a page shows it in about as many pixels."""
PLOT = WIDTH - LEFT - RIGHT
CURVES, BITS = 130, 48
"""The heights of the panels that have curves."""
CAPTION, GAP = 18, 12
"""The room over a panel, and under it."""
LETTER = 8.5
"""The room for a letter of a legend, enough for the larger ones of a narrow page."""
MOST_DECADES = 24
"""So many decades of a logarithmic scale are shown; what is smaller lies at its lower end."""


@dataclass(frozen=True)
class Detail:
    """How much a picture shows: at most so many columns of time, rows of units and cells that tell
    their numbers; `hover` says whether every column of time tells them.
    """

    columns: int
    rows: int
    cells: int = 0
    hover: bool = False


WHOLE = Detail(96, 96, 200, True)
SMALL = Detail(48, 24, 20)
THUMBNAIL = Detail(40, 10)


# SVG, as text.


def tag(name: str, *inside: str, **attributes: object) -> str:
    """An element; `class_` is the attribute `class`, `_` in a name stands for `-`."""
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(plain(value))}"'
        for key, value in attributes.items()
    )
    return f"<{name}{written}>{''.join(inside)}</{name}>" if inside else f"<{name}{written}/>"


def plain(value: object) -> str:
    """A value of an attribute: numbers with one decimal, words without what XML cannot hold."""
    if isinstance(value, float):
        return f"{value:.1f}".removesuffix(".0")
    return re.sub("[\ufffe\uffff]", "\ufffd", shown(str(value), keep="\n"))


def words(text: str, x: float, y: float, class_: str = "") -> str:
    """Text at a place."""
    named = {"class_": class_} if class_ else {}
    return tag("text", escape(plain(text)), x=float(x), y=float(y), **named)


def told(text: str) -> str:
    """What is shown while the pointer rests on an element."""
    return tag("title", escape(plain(text)))


def line(class_: str, *points: tuple[float, float]) -> str:
    """A line through points."""
    way = "L".join(f"{plain(float(x))} {plain(float(y))}" for x, y in points)
    return tag("path", class_=class_, d=f"M{way}")


# The numbers of a check, reduced to the columns of a picture.


@dataclass(frozen=True, eq=False)
class Columns:
    """The rows of a check, as many together as fall into each column of time: `edges` `(n + 1,)`.

    `deviation` and `ratio` are the largest of each column; `residual`, `bound`, `batch` and `unit`
    are those of the largest ratio, so that the residual lies below the bound where it is within.
    """

    edges: NDArray[np.int64]
    deviation: Array
    residual: Array
    ratio: Array
    bound: Array
    batch: NDArray[np.int64]
    unit: NDArray[np.int64]

    @classmethod
    def of(cls, check: Check, edges: NDArray[np.int64]) -> Columns:
        """The rows of a check, in the columns between the `edges`."""
        rows = check.timesteps

        def column(name: str) -> NDArray[Any]:
            kept: NDArray[Any] | None = getattr(rows, name, None)
            return np.array([getattr(row, name) for row in rows]) if kept is None else kept

        ratios = column("max_ratio")
        badness = np.where(np.isnan(ratios), np.inf, ratios)
        worst = np.array([a + int(badness[a:b].argmax()) for a, b in pairwise(edges)], np.int64)
        deviation = np.maximum.reduceat(column("max_deviation"), edges[:-1])
        of_worst = [column(name)[worst] for name in ("max_ratio", "bound", "batch", "unit")]
        with np.errstate(invalid="ignore"):
            residual = of_worst[0] * of_worst[1]
        residual = np.where(np.isfinite(residual), residual, column("max_residual")[worst])
        return cls(edges, deviation, residual, *of_worst)

    def __len__(self) -> int:
        return len(self.ratio)


def colours(ratios: Array) -> NDArray[np.int64]:
    """The colour of each ratio, 0 to 9; from `BEYOND` on, exactly where it is not at most 1."""
    found = np.searchsorted(LIMITS, ratios, "left")
    return np.where(np.isfinite(ratios), found, NO_NUMBER)


# The picture.


def picture(check: Check, detail: Detail = WHOLE) -> str:
    """The picture of a check, to stand in a page that has `RULES` and the colours of a theme."""
    height, drawn = panels(check, detail)
    return svg(height, drawn, label_in_file(check.subject))


def standalone(check: Check) -> str:
    """The picture with its title and its verdict as an SVG file of its own, in light colours."""
    title = clipped(label_in_file(check.subject), 74)
    said = textwrap.wrap(shown(verdict_sentence(check)), 88, max_lines=3, placeholder=" …")
    top = 34 + 15 * len(said)
    head = [words(title, 12, 22, "title")]
    head += [words(text, 12, 24 + 15 * i) for i, text in enumerate(said, 1)]
    height, drawn = panels(check, WHOLE)
    body = tag("g", *drawn, transform=f"translate(0 {top})")
    style = tag("style", in_colours(RULES, LIGHT))
    paper = tag("rect", width="100%", height="100%", fill=LIGHT["paper"])
    return svg(height + top, [style, paper, *head, body], title)


def image(check: Check, path: str) -> bytes:
    """The picture as the content of the file `path`: PNG where its name ends so, else SVG.

    Raises `MissingPackageError` and `InputError` as `require` does.
    """
    if not path.lower().endswith(PNG):
        return standalone(check).encode()
    return as_png(standalone(check), 2)


def require(path: str) -> None:
    """Raises `MissingPackageError` where the picture `path` needs a package that is not installed,
    and `InputError` where text could not be drawn, as there are no fonts.
    """
    if not path.lower().endswith(PNG):
        return
    if find_spec("resvg_py") is None:
        raise MissingPackageError(
            "--plot: PNG needs resvg-py; install it with: pip install 'rnn-parity[html]', or name "
            "an .svg file"
        )
    with_text, without = (svg(20, [words(text, 1, 15)], "") for text in ("x", ""))
    if as_png(with_text) == as_png(without):
        raise InputError(
            f"--plot {path!r}: there are no fonts here to write the text of a PNG with; install "
            "some, such as the package fonts-dejavu, or name an .svg file"
        )


def as_png(svg: str, zoom: int = 1) -> bytes:
    """An SVG picture as PNG, so many times as large."""
    import resvg_py

    return bytes(resvg_py.svg_to_bytes(svg_string=svg, zoom=zoom))


def worst(checks: Sequence[Check]) -> Check:
    """The check of several that a person would look at first."""

    def order(check: Check) -> tuple[int, bool, float]:
        largest = check.max_ratio or 0.0
        badness = math.inf if math.isnan(largest) else largest
        return WORST_FIRST.index(check.verdict), not len(check.timesteps), -badness

    return min(checks, key=order)


def in_colours(rules: str, palette: dict[str, str]) -> str:
    """Rules with the colours themselves, for programs that know no variables of CSS."""
    return re.sub(r"var\(--(\w+)\)", lambda name: palette[name[1]], rules)


def svg(height: float, drawn: Iterable[str], title: str) -> str:
    """The root of a picture."""
    return tag(
        "svg",
        *drawn,
        xmlns="http://www.w3.org/2000/svg",
        class_="rp",
        width=WIDTH,
        height=float(height),
        viewBox=f"0 0 {WIDTH} {plain(float(height))}",
        role="img",
        aria_label=title,
    )


def clipped(text: str, most: int) -> str:
    """A text without its middle, where it is too long."""
    half = (most - 1) // 2
    return text if len(text) <= most else f"{text[:half]}…{text[-half:]}"


def panels(check: Check, detail: Detail) -> tuple[float, list[str]]:
    """The height of all panels, and what is drawn."""
    if not len(check.timesteps):
        why = "No sequence of outputs was compared: there are no timesteps to draw."
        return 34.0, [words(why, 12, 20)]
    count, y = len(check.timesteps), 0.0
    drawn: list[str] = []
    heat = None if check.heat_map is None else check.heat_map.coarser(detail.columns, detail.rows)
    edges = equal_parts(count, detail.columns) if heat is None else heat.timesteps
    columns = Columns.of(check, edges)
    if heat is not None:
        drawn += heat_panel(heat, CAPTION)
        y += CAPTION + heat_height(heat) + GAP
    drawn += curves(columns, y + CAPTION)
    tops: dict[float, float] = {y + CAPTION: CURVES}
    y += CAPTION + CURVES
    if check.dtype in FORMATS:
        drawn += bits_panel(columns, str(check.dtype), y + GAP + CAPTION)
        tops[y + GAP + CAPTION] = BITS
        y += GAP + CAPTION + BITS
    if detail.hover:
        drawn += told_by_column(columns, check.dtype, y)
    if heat is not None:
        drawn += told_by_cell(heat, CAPTION, detail.cells)
    drawn += first_mark(check, heat, tops)
    return y + 34, [*drawn, *time_axis(count, y)]


def equal_parts(count: int, most: int) -> NDArray[np.int64]:
    """The edges of at most so many parts of the timesteps."""
    return np.linspace(0, count, min(count, most) + 1).astype(np.int64)


def thumbnail(check: Check) -> str:
    """The heat map alone, small; nothing where there is none."""
    if check.heat_map is None:
        return ""
    heat = check.heat_map.coarser(THUMBNAIL.columns, THUMBNAIL.rows)
    drawn = cells(heat, 0, 0, 120, 30)
    sizes: dict[str, object] = {"class_": "rp thumbnail", "width": 120, "height": 30}
    return tag("svg", drawn, viewBox="0 0 120 30", role="img", aria_label="heat map", **sizes)


# The heat map.


def heat_height(heat: HeatMap) -> float:
    """The height of a heat map: rows that can be seen, and no tower of them."""
    return float(min(max(int(heat.units[-1]) * 9, 18), 150))


def heat_panel(heat: HeatMap, top: float) -> Iterator[str]:
    """The cells of the heat map, and its caption, legend, frame and axis of units."""
    units, height = int(heat.units[-1]), heat_height(heat)
    yield words("ratio to the bound, by unit", LEFT, top - 6, "head")
    yield from legend(heat, top - 14)
    yield cells(heat, LEFT, top, PLOT, height)
    yield frame(top, height)
    yield words("0", LEFT - 6, top + 10, "e")
    if units > 1:
        yield words(str(units - 1), LEFT - 6, top + height - 1, "e")


def cells(heat: HeatMap, x: float, y: float, width: float, height: float) -> str:
    """All cells, those of one colour as one path of horizontal strokes; time goes to the right."""
    which = colours(heat.ratio).T
    rows, columns = which.shape
    ways: dict[int, list[str]] = {}
    for row in range(rows):
        cuts = np.flatnonzero(np.diff(which[row])) + 1
        starts, ends = [0, *cuts.tolist()], [*cuts.tolist(), columns]
        for start, end in zip(starts, ends, strict=True):
            way = ways.setdefault(int(which[row, start]), [])
            way.append(f"M{start} {row + 0.5:g}h{end - start}")
    drawn = [tag("path", class_=f"h{i}", d="".join(way)) for i, way in sorted(ways.items())]
    scale = f"translate({plain(x)} {plain(y)}) scale({width / columns:.5g} {height / rows:.5g})"
    return tag("g", *drawn, class_="cells", transform=scale, shape_rendering="crispEdges")


def legend(heat: HeatMap, top: float) -> Iterator[str]:
    """What the colours mean: those within the bound, and those beyond it that occur."""
    found = {int(i) for i in np.unique(colours(heat.ratio))}
    beyond = [*range(BEYOND, NO_NUMBER)] if found & {*range(BEYOND, NO_NUMBER)} else []
    groups = [("∞, nan", [NO_NUMBER])] if NO_NUMBER in found else []
    groups += [("1e6", beyond)] if beyond else []
    groups += [("bound", [*range(BEYOND)])]
    x = float(WIDTH - RIGHT)
    for label, which in groups:
        x -= LETTER * len(label)
        yield words(label, x, top + 9)
        x -= 4
        for i in reversed(which):
            x -= 11
            yield tag("rect", class_=f"h{i}", x=x, y=top, width=11, height=9)
        x -= 7
    yield words("0", x + 3, top + 9, "e")


def told_by_cell(heat: HeatMap, top: float, most: int) -> Iterator[str]:
    """The numbers of the worst cells beyond their bound, which each tells while pointed at."""
    columns, rows = heat.ratio.shape
    width, height = PLOT / columns, heat_height(heat) / rows
    beyond = np.argwhere(~(heat.ratio <= 1))
    badness = np.nan_to_num(-heat.ratio[tuple(beyond.T)], nan=-np.inf)
    for i, j in beyond[np.argsort(badness, kind="stable")[:most]]:
        when = among("timestep", heat.timesteps[i], heat.timesteps[i + 1])
        where = among("unit", heat.units[j], heat.units[j + 1])
        place = {"x": LEFT + width * i, "y": top + height * j, "width": width, "height": height}
        said = told(f"{when}, {where}: ratio {ratio(heat.ratio[i, j])}")
        yield tag("rect", said, class_="hover", **{k: float(v) for k, v in place.items()})


def among(name: str, start: int, stop: int) -> str:
    """One timestep or unit, or several that stand together."""
    return f"{name} {start}" if stop == start + 1 else f"{name}s {start} to {stop - 1}"


def first_mark(check: Check, heat: HeatMap | None, tops: Mapping[float, float]) -> Iterator[str]:
    """A ring around the first divergence, and a line at its time through the panels of curves.

    `tops` tells their heights by where they begin.
    """
    first = check.first_divergence
    if first is None:
        return
    x = LEFT + PLOT * (first.timestep + 0.5) / len(check.timesteps)
    if heat is not None:
        i = int(np.searchsorted(heat.timesteps, first.timestep, "right")) - 1
        j = int(np.searchsorted(heat.units, first.unit, "right")) - 1
        columns, rows = heat.ratio.shape
        x, y = LEFT + PLOT * (i + 0.5) / columns, CAPTION + heat_height(heat) * (j + 0.5) / rows
        said = told(f"first: timestep {first.timestep}, sample {first.batch}, unit {first.unit}")
        yield tag("circle", said, class_="first hover", cx=float(x), cy=float(y), r=6)
        yield tag("circle", class_="first aside", cx=LEFT + 176.0, cy=CAPTION - 10.0, r=4)
        yield words("first divergence", LEFT + 184, CAPTION - 6, "aside")
    for top, height in tops.items():
        yield line("since", (x, top), (x, top + height))


# The curves.


def curves(columns: Columns, top: float) -> Iterator[str]:
    """Deviation, step residual and bound over time, on a logarithmic scale."""
    yield words("off by", LEFT, top - 6, "head")
    labels = {"deviation": "largest deviation", "residual": "step residual", "bound": "its bound"}
    x = WIDTH - RIGHT - sum(30.0 + LETTER * len(label) for label in labels.values())
    for name, label in labels.items():
        yield line(f"curve {name}", (x, top - 10), (x + 20, top - 10))
        yield words(label, x + 24, top - 6)
        x += 34 + LETTER * len(label)
    series = {name: getattr(columns, name) for name in ("bound", "deviation", "residual")}
    scale = Decades.of([*series.values()], top)
    for exponent in scale.ticks:
        y = scale.place(10.0**exponent)
        yield line("grid", (LEFT, y), (WIDTH - RIGHT, y))
        yield words(f"1e{exponent}", LEFT - 6, y + 4, "e")
    if scale.zeros:
        yield words("0", LEFT - 6, top + CURVES, "e")
    if scale.infinite:
        yield words("∞", LEFT - 6, top + 9, "e")
    yield frame(top, CURVES)
    for name, numbers in series.items():
        yield curve(name, [scale.place(x) for x in numbers])


@dataclass(frozen=True)
class Decades:
    """A logarithmic scale from `10**low` to `10**high`, with places for zero and infinity."""

    low: int
    high: int
    zeros: bool
    infinite: bool
    top: float

    @classmethod
    def of(cls, series: Sequence[Array], top: float) -> Decades:
        """The scale for all numbers of the series, which begins at `top`."""
        numbers = np.concatenate(series)
        seen = numbers[np.isfinite(numbers) & (numbers > 0)]
        high = math.ceil(math.log10(seen.max())) if seen.size else 0
        low = math.floor(math.log10(seen.min())) if seen.size else -1
        low = max(min(low, high - 1), high - MOST_DECADES)
        zeros, infinite = bool((numbers == 0).any()), not bool(np.isfinite(numbers).all())
        return cls(low, high, zeros, infinite, top)

    @property
    def ticks(self) -> range:
        """The powers of ten that are written beside the scale."""
        return range(self.low, self.high + 1, max(1, math.ceil((self.high - self.low) / 4)))

    def place(self, x: float) -> float:
        """How far down a number stands: zero at the bottom, what is no number at the top."""
        start, stop = self.top + 18 * self.infinite, self.top + CURVES - 18 * self.zeros
        if not math.isfinite(x):
            return self.top + 2
        if x == 0:
            return self.top + CURVES - 2
        share = (self.high - math.log10(x)) / (self.high - self.low)
        return start + (stop - start) * min(max(share, 0.0), 1.0)


def curve(name: str, places: Sequence[float]) -> str:
    """A line through the middle of every column; of a single one, across it."""
    if len(places) == 1:
        return line(f"curve {name}", (LEFT, places[0]), (LEFT + PLOT, places[0]))
    step = PLOT / len(places)
    return line(f"curve {name}", *((LEFT + step * (i + 0.5), y) for i, y in enumerate(places)))


def bits_panel(columns: Columns, dtype: str, top: float) -> Iterator[str]:
    """The effective bits over time, and how many there are at the bound."""
    at_bound = effective_bits(1.0, dtype)
    found = [effective_bits(x, dtype) if math.isfinite(x) else 0.0 for x in columns.ratio]
    most = max([at_bound + 4, *(x for x in found if math.isfinite(x))])

    def place(x: float) -> float:
        return top + BITS * (1 - min(max(x / most, 0.0), 1.0))

    yield words("effective bits", LEFT, top - 6, "head")
    yield words(f"fewer than {at_bound:g}: beyond the bound", WIDTH - RIGHT, top - 6, "e")
    yield frame(top, BITS)
    yield line("curve bound", (LEFT, place(at_bound)), (WIDTH - RIGHT, place(at_bound)))
    for x, y in ((at_bound, place(at_bound) + 4), (0.0, top + BITS)):
        yield words(f"{x:g}", LEFT - 6, y, "e")
    yield curve("bits", [place(x) for x in found])


def frame(top: float, height: float) -> str:
    """The border of a panel."""
    return tag("rect", class_="frame", x=LEFT, y=float(top), width=PLOT, height=float(height))


def time_axis(count: int, top: float) -> Iterator[str]:
    """Some timesteps under the last panel, at round numbers."""
    for t in round_numbers(count):
        x = LEFT + PLOT * (t + 0.5) / count
        yield line("grid", (x, top), (x, top + 4))
        yield words(str(t), x, top + 16, "m")
    yield words("timestep", LEFT + PLOT / 2, top + 30, "m head")


def round_numbers(count: int, most: int = 7) -> range:
    """At most so many round numbers from 0 below `count`, at equal distances."""
    step = 1
    while len(range(0, count, step)) > most:
        first = int(str(step)[0])
        step = step * 5 // 2 if first == 2 else 2 * step
    return range(0, count, step)


def told_by_column(columns: Columns, dtype: str | None, bottom: float) -> Iterator[str]:
    """The numbers of each column of time, which it tells while pointed at."""
    width = PLOT / len(columns)
    for i, (start, stop) in enumerate(pairwise(columns.edges.tolist())):
        largest = float(columns.ratio[i])
        numbers = {
            among("timestep", start, stop): f"ratio {ratio(largest)}",
            "at": f"sample {columns.batch[i]}, unit {columns.unit[i]}",
            "bound": number(float(columns.bound[i])),
            "step residual": number(float(columns.residual[i])),
            "deviation": number(float(columns.deviation[i])),
        }
        if dtype in FORMATS and math.isfinite(largest):
            numbers["effective bits"] = bits(effective_bits(largest, str(dtype)))
        said = told("\n".join(f"{name}: {value}" for name, value in numbers.items()))
        place = {"x": LEFT + width * i, "y": CAPTION, "width": width, "height": bottom - CAPTION}
        yield tag("rect", said, class_="hover", **{k: float(v) for k, v in place.items()})


# Implied weights.


def weight_pictures(check: Check) -> list[str]:
    """Each weight of which the outputs imply other entries, as a matrix in which they stand."""
    named: dict[str, list[ImpliedWeight]] = {}
    for one in check.implied_weights or ():
        named.setdefault(one.weight, []).append(one)
    return [weight_picture(check, name, entries) for name, entries in named.items()]


def weight_picture(check: Check, name: str, entries: Sequence[ImpliedWeight]) -> str:
    """A matrix: rows go down, the columns of its gates stand side by side."""
    (rows, columns), gates = matrix_shape(check, name, entries)
    height, top = float(min(max(rows * 8, 24), 110)), 34.0 if gates else 20.0
    wide, high = PLOT / columns, height / rows
    drawn = [words(f"{name} {rows} x {columns}", LEFT, 14, "head"), frame(top, height)]
    drawn.append(words("▲ larger than expected, ▼ smaller", WIDTH - RIGHT, 14, "e"))
    for i, gate in enumerate(gates):
        x = LEFT + PLOT * i / len(gates)
        drawn += [line("grid", (x, top), (x, top + height))] if i else []
        drawn.append(words(gate, x + PLOT / len(gates) / 2, top - 4, "m"))
    for one in entries:
        i, j = (0, *one.index)[-2:]
        drawn.append(entry(one, LEFT + wide * (j + 0.5), top + high * (i + 0.5), check.dtype))
    drawn += [words("0", LEFT - 6, top + 10, "e")]
    drawn += [words(str(rows - 1), LEFT - 6, top + height - 1, "e")] if rows > 2 else []
    return svg(top + height + 6, drawn, f"{name}: the entries that differ")


def matrix_shape(
    check: Check, name: str, entries: Sequence[ImpliedWeight]
) -> tuple[tuple[int, int], tuple[str, ...]]:
    """The rows and columns of a weight, as far as they are known, and its gates."""
    kind, shape = KERAS_CELLS.get(check.subject.layer_class), check.shape
    gates = kind.GATES if kind is not None else ()
    rows, columns = (1 + max((0, *one.index)[-2 + axis] for one in entries) for axis in (0, 1))
    if shape is not None:
        known = {"kernel": shape.features, "recurrent_kernel": shape.units}
        rows = max(rows, known.get(name, rows))
        columns = max(columns, len(gates) * shape.units)
    if shape is None or columns != len(gates) * shape.units or len(gates) == 1:
        gates = ()
    return (rows, columns), gates


def entry(one: ImpliedWeight, x: float, y: float, dtype: str | None) -> str:
    """An entry that differs: a triangle that points to where its value goes."""
    larger, form = one.implied > one.expected, digits(dtype)
    values = f"expected {one.expected:{form}}, implied {one.implied:{form}}"
    said = told(f"{one.weight}{list(one.index)}: {values} ({number(one.sigma)} standard errors)")
    tip = -6.0 if larger else 6.0
    way = f"M{plain(x)} {plain(y + tip)}l5 {plain(-1.6 * tip)}h-10z"
    return tag("path", said, class_="larger" if larger else "smaller", d=way)

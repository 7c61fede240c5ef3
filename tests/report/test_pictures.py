"""The picture of one check: what is drawn where, reduced by maximum, as SVG and as PNG."""

import math
import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from helpers import loop, random_weights
from sample_checks import DIVERGED, INCONCLUSIVE, NOT_COMPARED, PARITY, SUSPECT, row

import rnn_parity as rp
from rnn_parity.report import pictures
from rnn_parity.report.pictures import (
    BEYOND,
    NO_NUMBER,
    SMALL,
    WHOLE,
    Columns,
    colours,
    picture,
    round_numbers,
    standalone,
    thumbnail,
    weight_pictures,
    worst,
)
from rnn_parity.verdict.results import Divergence, HeatMap, ImpliedWeight, Timesteps

HOSTILE = "</title></svg><script>alert(1)</script>\"' onload=x & ]]> \x1b[31m \uffff"


def parsed(svg):
    """The root of a picture, which must be XML."""
    return ET.fromstring(svg)


def named(root, tag):
    return [one for one in root.iter() if one.tag.rpartition("}")[2] == tag]


def texts(root):
    return ["".join(one.itertext()) for one in named(root, "text")]


def told(root):
    """What is shown while something is pointed at."""
    return [one.text for one in named(root, "title")]


def column_of(t, timesteps, columns):
    """The column in which a timestep falls: the last that begins at it or before."""
    return math.ceil((t + 1) * columns / timesteps) - 1


@cache
def long_check(t=123_456, unit=300, bad=3.0, size=(200_000, 512)):
    """A check of a long sequence of which one number is beyond its bound."""
    timesteps, units = size
    heat = HeatMap.empty(*size)
    ratio = np.full((timesteps, 1), 0.25)
    heat.ratio[...] = 0.25
    one = np.full((1, units), 0.25)
    one[0, unit] = bad
    heat.include(t, one)
    ratio[t] = bad
    bound = np.full(timesteps, 1e-7)
    columns = (ratio[:, 0] * 1e-7, np.ones(timesteps), ratio[:, 0] * 1e-7, ratio[:, 0])
    where = np.zeros(timesteps, int), np.where(np.arange(timesteps) == t, unit, 0)
    rows = Timesteps(*columns, *where, bound)
    first = Divergence(t, 0, unit, 1.0, 0.5, 1e-7)
    return replace(DIVERGED, timesteps=rows, heat_map=heat, first_divergence=first)


def cells_of(root):
    """The colour of every cell, by its row and column."""
    (group,) = [one for one in named(root, "g") if one.get("class") == "cells"]
    found = {}
    for path in group:
        colour = int(path.get("class")[1:])
        for start, middle, length in re.findall(r"M(\d+) ([\d.]+)h(\d+)", path.get("d")):
            for column in range(int(start), int(start) + int(length)):
                place = int(float(middle)), column
                assert place not in found
                found[place] = colour
    return found


def test_the_colour_is_beyond_the_bound_exactly_where_the_ratio_is():
    ratios = np.array([0, 1e-9, 0.3, 1, np.nextafter(1, 2), 2, 1e5, 1e300, np.inf, np.nan])
    found = colours(ratios)
    assert ((found >= BEYOND) == ~(ratios <= 1)).all()
    assert found[:4].tolist() == [0, 1, 3, 4]
    assert (found == NO_NUMBER).tolist() == (~np.isfinite(ratios)).tolist()


@pytest.mark.parametrize("detail", [WHOLE, SMALL])
@pytest.mark.parametrize("bad", [1.01, 3.0, math.inf, math.nan])
def test_one_bad_number_of_a_hundred_million_is_seen(detail, bad):
    check = long_check(bad=bad)
    root = parsed(picture(check, detail))
    cells = cells_of(root)
    assert len(cells) == detail.columns * detail.rows
    (place,) = [place for place, colour in cells.items() if colour >= BEYOND]
    assert place == (column_of(300, 512, detail.rows), column_of(123_456, 200_000, detail.columns))
    # It is ringed, and tells its number.
    (ring,) = [one for one in named(root, "circle") if one.get("class") == "first hover"]
    assert "timestep 123456, sample 0, unit 300" in ring[0].text
    (cell,) = [
        one for one in told(root) if ", unit" in one and "\n" not in one and "first" not in one
    ]
    assert f"ratio {pictures.ratio(bad)}" in cell
    if not math.isnan(bad):
        assert max(cells_of(parsed(thumbnail(check))).values()) >= BEYOND


def test_pictures_of_any_length_have_one_size():
    short = len(picture(long_check(5, 3, size=(96, 96))))
    assert len(picture(long_check())) < 1.2 * short < 60_000
    assert len(picture(long_check(), SMALL)) < 10_000
    assert len(thumbnail(long_check())) < 1000


def test_columns_keep_the_largest_numbers_and_the_bound_of_the_worst():
    rows = (
        row(0, 0.5, max_deviation=1.0, bound=2.0),
        row(1, 2.0, max_deviation=0.5, bound=4.0, batch=7),
        row(2, math.nan, bound=0.0, max_residual=math.inf),
        row(3, 9.0),
    )
    found = Columns.of(replace(DIVERGED, timesteps=rows), np.array([0, 2, 4]))
    assert found.deviation.tolist() == [1.0, 1.25e-7]
    assert found.ratio[0] == 2
    assert math.isnan(found.ratio[1])
    # One number's residual and bound: what is within its bound lies below it.
    assert found.residual.tolist() == [8.0, math.inf]
    assert found.bound.tolist() == [4.0, 0.0]
    assert found.batch.tolist() == [7, 3]


def test_every_column_of_time_tells_its_numbers():
    root = parsed(picture(replace(PARITY, heat_map=HeatMap.empty(2, 4))))
    assert "timestep 1: ratio 0.30\nat: sample 3, unit 1\nbound: 4.02e-07\n" in "".join(told(root))
    assert "effective bits: 25.8" in "".join(told(root))
    columns = [one for one in told(parsed(picture(long_check()))) if "\n" in one]
    assert len(columns) == 96
    assert columns[-1].startswith("timesteps 197916 to 199999: ratio 0.25\n")


@pytest.mark.parametrize(
    "check", [PARITY, DIVERGED, NOT_COMPARED, INCONCLUSIVE, SUSPECT], ids=lambda one: one.verdict
)
def test_whatever_was_found_is_drawn(check):
    for svg in (picture(check), picture(check, SMALL), standalone(check)):
        root = parsed(svg)
        assert all(math.isfinite(float(one.get("y", 0))) for one in named(root, "text"))
        if not check.timesteps:
            assert "No sequence of outputs was compared" in "".join(texts(root))
    assert thumbnail(check) == ""
    assert "nan" not in re.sub(r"<title>.*?</title>", "", picture(check), flags=re.DOTALL)


def test_numbers_that_no_scale_holds_have_places_of_their_own():
    zeros = {"max_deviation": 0.0, "max_residual": 0.0, "bound": 0.0}
    rows = (row(0, 0.0, **zeros), row(1, math.inf, max_deviation=math.inf, bound=1e-300))
    shown = texts(parsed(picture(replace(DIVERGED, timesteps=rows))))
    assert "∞" in shown
    assert "0" in shown
    shown = texts(parsed(picture(replace(DIVERGED, timesteps=rows[:1]))))
    assert "∞" not in shown


def test_a_title_cannot_break_out():
    subject = replace(DIVERGED.subject, layer_name=HOSTILE, path=HOSTILE)
    check = replace(DIVERGED, subject=subject, summary=HOSTILE)
    svg = standalone(check)
    root = parsed(svg)
    assert "<script" not in svg
    assert not named(root, "script")
    assert "\x1b" not in svg
    assert root.get("onload") is None
    # Of its own it names nothing that could be loaded.
    assert not re.search(r"(href|src|url\(|@import)", svg)


def test_standalone_needs_no_variables():
    svg = standalone(long_check())
    assert "var(" not in svg
    words = " ".join(texts(parsed(svg)))
    assert "DIVERGED" in words
    assert "a step is 12300 times" in words
    assert standalone(NOT_COMPARED).startswith("<svg ")


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        (1, [0]),
        (7, [*range(7)]),
        (8, [0, 2, 4, 6]),
        (28, [0, 5, 10, 15, 20, 25]),
        (100, [0, 20, 40, 60, 80]),
        (200_000, [0, 50_000, 100_000, 150_000]),
    ],
)
def test_the_axis_of_time_has_round_numbers(count, expected):
    assert [*round_numbers(count)] == expected


# Implied weights.


def test_entries_that_differ_stand_in_their_matrix():
    entries = (
        ImpliedWeight("kernel", (3, 9), 0.5, 0.75, 86.0),
        ImpliedWeight("kernel", (0, 0), 0.5, 0.25, 12.0),
        ImpliedWeight("bias", (1, 5), 0.5, 0.25, 12.0),
    )
    subject = replace(SUSPECT.subject, layer_class="GRU")
    check = replace(SUSPECT, subject=subject, shape=DIVERGED.shape, implied_weights=entries)
    check = replace(check, shape=replace(check.shape, features=5, units=4))
    kernel, bias = map(parsed, weight_pictures(check))
    assert "kernel 5 x 12" in texts(kernel)
    assert [one for one in texts(kernel) if one in "zrh"] == ["z", "r", "h"]
    marks = [one for one in named(kernel, "path") if one.get("class") in ("larger", "smaller")]
    assert [one.get("class") for one in marks] == ["larger", "smaller"]
    assert told(kernel)[0] == "kernel[3, 9]: expected 0.5, implied 0.75 (86.0 standard errors)"
    assert "bias 2 x 12" in texts(bias)


def test_of_a_layer_that_is_not_known_the_matrix_is_as_large_as_its_entries():
    entries = (ImpliedWeight("w", (2,), 0.5, 0.75, 86.0),)
    (svg,) = weight_pictures(replace(SUSPECT, implied_weights=entries))
    assert "w 1 x 3" in texts(parsed(svg))


# Which check, and as a file.


def test_the_worst_of_several():
    assert worst([PARITY, SUSPECT, DIVERGED, INCONCLUSIVE]) is DIVERGED
    more = replace(DIVERGED, max_ratio=math.nan)
    assert worst([DIVERGED, more]) is more
    assert worst([SUSPECT, replace(SUSPECT, timesteps=PARITY.timesteps)]).timesteps
    assert worst([PARITY]) is PARITY


def test_png_and_svg():
    pytest.importorskip("resvg_py")
    check = long_check()
    assert pictures.image(check, "a.SVG").startswith(b"<svg ")
    png = pictures.image(check, "A.PNG")
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    width, height = int.from_bytes(png[16:20], "big"), int.from_bytes(png[20:24], "big")
    assert width == 2 * pictures.WIDTH
    assert height > 600


def test_a_png_without_fonts_is_refused(monkeypatch):
    pytest.importorskip("resvg_py")
    monkeypatch.setattr(pictures, "as_png", lambda svg, zoom=1: b"")
    with pytest.raises(rp.InputError, match=r"--plot 'a\.png': there are no fonts here"):
        pictures.require("a.png")
    pictures.require("a.svg")


def test_without_the_package_png_is_refused_and_svg_is_not(monkeypatch):
    monkeypatch.setattr(pictures, "find_spec", lambda name: None)
    with pytest.raises(rp.RnnParityError, match=r"resvg-py; install it .*rnn-parity\[html\]"):
        pictures.require("a.png")
    pictures.require("a.svg")


def test_a_real_divergence_is_where_it_was_made():
    rng = np.random.default_rng(3)
    weights, x = random_weights(rng, 5, 4), rng.normal(size=(3, 120, 5)).astype(np.float32)
    y = loop(weights, x)
    y[2, 77, 3] += 0.5
    check = rp.compare(rp.SimpleRNN(**weights), x, y).checks[0]
    found = {
        place for place, colour in cells_of(parsed(picture(check))).items() if colour >= BEYOND
    }
    assert (3, column_of(77, 120, 96)) in found
    # From a wrong state the next step is off as well; nothing else is.
    assert {column for _, column in found} <= {column_of(t, 120, 96) for t in (77, 78)}

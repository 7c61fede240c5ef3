"""The plain text for a terminal, letter by letter."""

import dataclasses
import json
import math
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sample_checks import DIVERGED, ENVIRONMENT, INCONCLUSIVE, NOT_COMPARED, PARITY, row

from rnn_parity.report.checks import notes_on, overview, section
from rnn_parity.report.page import Style
from rnn_parity.report.report import Report
from rnn_parity.report.text import grid
from rnn_parity.report.text import section as as_text
from rnn_parity.report.wording import environment_line
from rnn_parity.verdict.results import (
    BlindSpot,
    Check,
    Divergence,
    Sensitivity,
    Shape,
    StateRow,
    Subject,
    TargetError,
    TimestepRow,
)

HEADER = "rnn-parity 1.2.3\nPython 3.11.7, NumPy 2.4.6, TensorFlow 2.21.0, cpu\n\n"
PARITY_TEXT = """\
simple_rnn (SimpleRNN, mode graph), generated layer
float32, batch 32, timesteps 2, features 3, units 4, no mask

  timestep          max     max    max step      max       at      at
              deviation    ULPs    residual    ratio    batch    unit
----------  -----------  ------  ----------  -------  -------  ------
         0            0       0           0        0        3       1
         1     1.25e-07       2    1.19e-07     0.30        3       1
----------  -----------  ------  ----------  -------  -------  ------
   final h            0       0           -        0        0       0

PARITY: every step is within rounding (25.8 effective bits)."""
DIVERGED_TEXT = """\
encoder (SimpleRNN, mode xla), model net.keras
float32, batch 1, timesteps 1, features 1, units 1, no mask

  timestep          max     max    max step      max       at      at
              deviation    ULPs    residual    ratio    batch    unit
----------  -----------  ------  ----------  -------  -------  ------
         0        0.500       -       0.500    12300        3       1
----------  -----------  ------  ----------  -------  -------  ------
   final h            0       0           -        0        0       0

DIVERGED (bias-dropped or kernel-transposed): a step is 12300 times as far off
  as rounding can explain (10.4 effective bits).
  first at  timestep 0, batch 3, unit 1
  observed  0.25
  expected  0.75 (one step from the observed state before)
  off by    0.500, 12300 x the bound 4.05e-05
  cause     bias-dropped: the bias was not added (27.5 effective bits)
  more      rnn-parity explain bias-dropped
  cause     kernel-transposed: the kernel was transposed, which for these sizes
            fits
  more      rnn-parity explain kernel-transposed, or effective-bits
  to do     bias-dropped: add the bias to every step
  to do     kernel-transposed: multiply x @ kernel, the kernel stored as
            (features, units)"""
NOT_COMPARED_TEXT = """\
decoder (LSTM, mode xla), model net.keras

INCONCLUSIVE: not compared: LSTM is not replayed yet."""
INCONCLUSIVE_TEXT = """\
SimpleRNN
float16, computed in float16 sums, batch 1, timesteps 1, features 5000, units 1,
  no mask

  timestep          max    max step      max       at      at
              deviation    residual    ratio    batch    unit
----------  -----------  ----------  -------  -------  ------
         0          inf         nan      nan        3       1

note: the bound of the custom activation square is estimated, not proven

INCONCLUSIVE: the bound is vacuous in float16."""
OVERVIEW_TEXT = """\
  #  layer       mode    verdict         ratio    effective
                                                       bits
---  ----------  ------  ------------  -------  -----------
  1  simple_rnn  graph   parity           0.30         25.8
  2  encoder     xla     diverged        12300         10.4
  3  decoder     xla     not compared        -            -
effective bits: how precise the numbers are; rnn-parity explain effective-bits"""
OVERALL_TEXT = """\
DIVERGED (bias-dropped or kernel-transposed): of 3 checks, 1 diverged: encoder
  (SimpleRNN, mode xla) in net.keras; 1 not compared: decoder (LSTM, mode xla)
  in net.keras; 1 in parity."""
LEFT_OUT = "1 check in parity left out (-v shows all)"


@pytest.mark.parametrize(
    ("check", "text"),
    [
        (PARITY, PARITY_TEXT),
        (DIVERGED, DIVERGED_TEXT),
        (NOT_COMPARED, NOT_COMPARED_TEXT),
        (INCONCLUSIVE, INCONCLUSIVE_TEXT),
    ],
    ids=["parity", "diverged", "not compared", "inconclusive"],
)
def test_one_check(check, text):
    assert str(Report((check,))) == HEADER + text


def test_several_checks_have_an_overview_and_an_overall_sentence():
    failed = [DIVERGED_TEXT, NOT_COMPARED_TEXT, OVERALL_TEXT]
    report = Report((PARITY, DIVERGED, NOT_COMPARED), notes=("on a GPU",))
    start = HEADER[:-1] + "note: on a GPU\n\n"
    assert str(report) == start + "\n\n".join([OVERVIEW_TEXT, LEFT_OUT, *failed])
    whole = start + "\n\n".join([OVERVIEW_TEXT, PARITY_TEXT, *failed])
    assert report.render(verbose=True) == report.render(every=True) == whole


def blind_to(*faults: str, **changes: object) -> Check:
    spots = tuple(BlindSpot(fault, "why") for fault in faults)
    return dataclasses.replace(PARITY, sensitivity=Sensitivity((), spots), **changes)


def test_blind_spots_and_notes_of_what_is_left_out_are_told():
    named = [dataclasses.replace(PARITY.subject, layer_name=n) for n in ("first", "x", "third")]
    checks = (
        blind_to("a", "b", subject=named[0], notes=("estimated",)),
        blind_to("a", subject=named[1]),
        blind_to("a", "b", subject=named[2], notes=("estimated",)),
    )
    assert str(Report(checks)).split("\n\n")[2] == (
        "3 checks in parity left out (-v shows all); blind to a; b (2 of them)\n"
        "note: first, third: estimated"
    )
    assert "left out" not in Report(checks).render(verbose=True)


def test_a_note_on_what_is_left_out_names_the_layers_that_it_is_about():
    """None where it is about all; of a layer against several, which, unless it is about each."""
    sources = ("a.onnx", "b.onnx")
    checks = [
        blind_to(
            "x", subject=Subject("model", "m.keras", "LSTM", name, against=source), notes=notes
        )
        for source, rest in zip(sources, ((), ("by its place",)), strict=True)
        for name, notes in (("f", ("on the CPU", "same")), ("g", ("on the CPU", *rest)))
    ]
    assert notes_on(checks) == [
        "note: on the CPU",
        "note: f: same",
        "note: g against b.onnx: by its place",
    ]
    assert notes_on(checks[:1]) == ["note: f: on the CPU", "note: f: same"]
    files = [
        dataclasses.replace(one, subject=dataclasses.replace(one.subject, path=path))
        for one, path in zip(checks[:3], ("d/x.keras", "d/x.keras", "d/y.keras"), strict=True)
    ]
    assert notes_on(files)[1] == "note: f in x.keras, y.keras: same"
    modes = [
        dataclasses.replace(PARITY, subject=Subject(layer_name="f", mode=mode), notes=(mode,))
        for mode in ("eager", "xla")
    ]
    assert notes_on(modes) == ["note: f in mode eager: eager", "note: f in mode xla: xla"]


def case(check, name, then=False, **changes):
    """The check of a case, of what was recorded or of what is computed now."""
    subject = Subject("case", f"c/{name}.npz", "GRU", name, mode="graph")
    if then:
        subject = dataclasses.replace(subject, against="recorded outputs, TensorFlow 2.15.1")
    return dataclasses.replace(check, subject=subject, **changes)


CASES_TEXT = """\
  #  file    layer    mode    recorded       now              ratio
                                                                now
---  ------  -------  ------  -------------  -------------  -------
  1  a.npz   a        graph   parity 25.8    parity 26.5       0.30
  2  b.npz   b        graph   diverged 10.4  diverged 10.4    12300
  3  c.npz   c        graph   parity 25.8    diverged 10.4    12300
beside each verdict its effective bits; rnn-parity explain effective-bits"""


def test_a_recorded_case_is_one_row_and_told_once_where_nothing_moved():
    checks = (
        *(case(PARITY, "a", True), case(PARITY, "a", effective_bits=26.5)),
        *(case(DIVERGED, "b", True), case(DIVERGED, "b", notes=("the same, bit for bit",))),
        *(case(PARITY, "c", True), case(DIVERGED, "c")),
    )
    text = str(Report(checks))
    assert text.split("\n\n")[1] == CASES_TEXT
    headings = [line for line in text.splitlines() if line.endswith(".npz")]
    assert headings == [f"{name} (GRU, mode graph), case c/{name}.npz" for name in "bc"]
    # What differs is told of both.
    moved = dataclasses.replace(checks[3], timesteps=(row(0, 12345.0, max_deviation=0.25),))
    assert str(Report((checks[2], moved))).count("DIVERGED (bias") == 3
    whole = Report(checks).render(verbose=True)
    assert "b (GRU, mode graph, recorded), case" not in whole
    assert "c (GRU, mode graph, recorded), case c/c.npz, recorded outputs, TensorF" in whole
    assert Report(checks).render("markdown").count("### ") == 2
    assert len(json.loads(Report(checks).to_json())["checks"]) == 6


def test_of_one_case_the_file_is_no_column_and_without_keras_nothing_is_now():
    then, now = case(PARITY, "a", True), case(PARITY, "a")
    assert str(Report((then, now))).split("\n\n")[1].split()[:6] == [
        *("#", "layer", "mode", "recorded", "now", "ratio")
    ]
    alone = str(Report((then, case(PARITY, "b", True)))).split("\n\n")[1]
    assert alone.split()[:5] == ["#", "file", "layer", "mode", "verdict"]
    beside = str(Report((then, case(PARITY, "b", True), case(PARITY, "b")))).split("\n\n")[1]
    assert "  1  a.npz   a        graph   parity 25.8  -                  -\n" in beside


def test_what_fails_for_its_blind_spots_is_not_left_out():
    report = Report((blind_to("a"), PARITY), strict=True)
    assert "  sees      0 of 1 possible faults; blind to a (why)" in str(report)
    assert "1 check in parity left out" in str(report)


def test_a_folder_of_ten_that_pass_is_an_overview():
    subjects = [dataclasses.replace(PARITY.subject, path=f"c/{i}.npz") for i in range(10)]
    spots = Sensitivity(("bias-dropped",), (BlindSpot("mask-ignored", "why"),))
    checks = [dataclasses.replace(PARITY, subject=one, sensitivity=spots) for one in subjects]
    text = str(Report(tuple(checks)))
    assert text.count("\n") < 20
    assert all(f" {i}.npz " in text for i in range(10))


def test_a_check_alone_is_shown_whole():
    assert str(Report((PARITY,))) == Report((PARITY,)).render(verbose=True)


def test_a_report_without_checks_says_that_nothing_was_compared():
    report = Report((), notes=("net.keras has no recurrent layer",))
    last = "INCONCLUSIVE: nothing was compared: net.keras has no recurrent layer."
    assert str(report) == HEADER + last


CODE = re.compile(r"\033\[(\d+)m(.*?)\033\[0m")


def test_colour_is_on_verdicts_and_failing_rows_and_changes_nothing_else():
    for check, code in ((PARITY, 32), (DIVERGED, 31), (INCONCLUSIVE, 33)):
        painted = Report((check,)).render(colour=True)
        assert CODE.findall(painted)[-1] == (str(code), check.verdict.upper())
        assert CODE.sub(r"\2", painted) == str(Report((check,)))
    _, *row, verdict = CODE.findall(Report((PARITY, DIVERGED)).render(colour=True, width=60))[1:]
    assert row == [("31", one) for one in ("0", "0.500", "-", "0.500", "12300", "3", "1")] + row[7:]
    assert [text for _, text in row[7:]] == ["DIVERGED"]
    assert verdict == ("31", "DIVERGED")


def test_the_verdicts_of_an_overview_are_coloured():
    for width in (60, 80):
        painted = Report((PARITY, DIVERGED, NOT_COMPARED)).render(colour=True, width=width)
        assert CODE.findall(painted)[:3] == [
            ("32", "parity"),
            ("31", "diverged"),
            ("33", "not compared"),
        ]
        plain = Report((PARITY, DIVERGED, NOT_COMPARED)).render(width=width)
        assert CODE.sub(r"\2", painted) == plain
    several = [other(PARITY, "a"), other(DIVERGED, "b")]
    assert CODE.findall(Report(tuple(several)).render(colour=True))[:2] == [
        ("32", "parity"),
        ("31", "diverged"),
    ]


def test_quiet_is_the_sentence_alone():
    assert Report((PARITY,)).render(quiet=True) == PARITY_TEXT.splitlines()[-1]
    both = Report((PARITY, PARITY)).render(quiet=True)
    assert both == "PARITY: all 2 checks are in parity (25.8 effective bits)."


def test_what_went_wrong_at_the_end_is_coloured():
    report = Report((PARITY,), worse=("it was parity",), errors=(TargetError("a", "a: gone"),))
    assert report.render(colour=True).endswith(
        "\033[31mERROR\033[0m: a: gone\n\n\033[31mWORSE\033[0m: it was parity"
    )


def long(count: int, worst: dict[int, float], **changes: object) -> Check:
    rows = tuple(row(t, worst.get(t, 0.25)) for t in range(count))
    return dataclasses.replace(PARITY, timesteps=rows, **changes)


def shown(check: Check, every: bool = False) -> str:
    return as_text(section(check, Style(every)))


def side_by_side(checks: list[Check]) -> str:
    return grid(overview(checks))


def first_column(check: Check, every: bool = False) -> list[str]:
    lines = shown(check, every).splitlines()
    return [line[:10].strip() for line in lines[6 : lines.index("", 6)]]


def test_a_long_table_keeps_the_first_the_worst_and_the_last():
    check = long(100, {50: 0.9, 20: 0.8, 30: 0.7, 31: 0.7, 97: 0.6})
    ends = [["0", "1", "2", "3", "4"], ["95", "96", "97", "98", "99"]]
    middle = ["...", "20", "...", "30", "31", "...", "50", "..."]
    after = ["----------", "final h", "86 of 100", "the last"]
    assert first_column(check) == ends[0] + middle + ends[1] + after
    assert "86 of 100 timesteps left out; shown are the first 5" in shown(check)


def test_the_first_divergence_is_always_shown():
    worst = dict.fromkeys(range(60, 70), 5.0)
    check = long(100, worst, first_divergence=Divergence(12, 0, 0, 1.0, 2.0, 0.1))
    assert "12" in first_column(check)


def test_not_a_number_is_worse_than_any_number():
    check = long(100, dict.fromkeys(range(10, 20), 5.0) | {50: math.nan})
    assert "50" in first_column(check)


def test_every_timestep_on_request_and_short_tables_in_full():
    steps = [str(t) for t in range(100)]
    assert first_column(long(100, {}), every=True) == [*steps, "----------", "final h"]
    assert first_column(long(40, {})) == [*steps[:40], "----------", "final h"]


def test_versions_that_are_not_installed_are_left_out():
    assert environment_line({**ENVIRONMENT, "tensorflow": None, "keras": "3.15.1"}) == (
        "Python 3.11.7, NumPy 2.4.6, Keras 3.15.1, cpu"
    )


FLOATS = st.floats() | st.sampled_from([2.2e-308, 1.8e308, 5e-324])
# No batch or layer that fits in memory has longer numbers.
PLACES = {"batch": st.integers(0, 10**8), "unit": st.integers(0, 10**7)}
ULPS = st.integers(0, 2**63 - 1)
ROWS = st.builds(TimestepRow, st.integers(0, 10**9), FLOATS, ULPS, FLOATS, FLOATS, **PLACES)
STATES = st.builds(StateRow, st.sampled_from(["h", "c", "output"]), FLOATS, ULPS, FLOATS, **PLACES)
CHECKS = st.builds(
    Check,
    st.builds(
        Subject,
        st.sampled_from(["generated", "model", "case", "layer"]),
        st.none() | st.text("ab/_-", min_size=1, max_size=200),
        st.sampled_from(["SimpleRNN", "Bidirectional"]),
        st.none() | st.text("ab/_-", min_size=1, max_size=200),
        mode=st.sampled_from([None, "graph", "predict"]),
        call=st.none() | st.integers(0, 9999),
    ),
    st.sampled_from(["parity", "suspect", "diverged", "inconclusive"]),
    st.text("ab ", max_size=300),
    st.none() | st.builds(Shape, *[st.integers(1, 10**9)] * 4),
    st.sampled_from(["float32", "bfloat16"]),
    st.sampled_from(["float32", "bfloat16"]),
    st.none() | st.floats(-1100, 1100) | st.sampled_from([math.inf, -math.inf]),
    st.none() | FLOATS,
    st.none() | FLOATS,
    st.none() | FLOATS,
    st.lists(ROWS, max_size=3).map(tuple),
    st.lists(STATES, max_size=2).map(tuple),
    st.none() | st.builds(Divergence, *[st.integers(0, 10**9)] * 3, *[FLOATS] * 3),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(CHECKS, max_size=3), st.sampled_from([80, 100, 160]))
def test_no_line_is_wider_than_the_terminal(checks, width):
    whole = Report(tuple(checks)).render(verbose=True, width=width)
    for line in whole.splitlines():
        assert len(line) <= width


NAMED = [
    dataclasses.replace(PARITY, subject=dataclasses.replace(PARITY.subject, path=f"{name}.npz"))
    for name in ("a_folder/of_a_very_long_name/first", "a_folder/of_a_very_long_name/second", "x")
]


def test_a_wider_terminal_shows_names_whole():
    narrow, wide = (overview_lines(NAMED, width) for width in (60, 160))
    assert [line.split()[1] for line in wide[2:-1]] == [
        "a_folder/of_a_very_long_name/first.npz",
        "a_folder/of_a_very_long_name/second.npz",
        "x.npz",
    ]
    assert narrow[2].split()[1].startswith("a_f")
    assert "..." in narrow[2]
    assert max(map(len, narrow)) <= 60


def overview_lines(checks: list[Check], width: int) -> list[str]:
    return Report(tuple(checks)).render(width=width).split("\n\n")[1].splitlines()


def test_prose_takes_the_width_of_the_terminal():
    for width in (50, 120):
        text = Report((DIVERGED,)).render(width=width).split("\n\n")[-1]
        assert width - 20 < max(map(len, text.splitlines())) <= width


def test_a_narrow_table_has_headers_of_several_lines():
    lines = Report((PARITY,)).render(width=60).split("\n\n")[2].splitlines()
    assert lines[0].split() == ["timestep", "max", "max", "max", "step", "max", "at", "at"]
    assert lines[1].split() == ["deviation", "ULPs", "residual", "ratio", "batch", "unit"]
    assert lines[0].index("max step") == lines[1].index("residual")
    assert max(map(len, lines)) <= 60


COMPARISON_TEXT = """\
                    port.csv    model.onnx       cmd:./rnn
                                               {input}.csv
                                              {output}.csv
----------------  ----------  ------------  --------------
verdict               parity      diverged    inconclusive
effective bits          25.8          10.4               -
max deviation       1.25e-07         0.500             nan
first divergence           -    timestep 0               -
effective bits: how precise the numbers are; rnn-parity explain effective-bits"""


def other(check, source, **changes):
    """The same check of what another implementation computed."""
    subject = Subject(layer_class="SimpleRNN", layer_name="a", against=source, **changes)
    return dataclasses.replace(check, subject=subject)


def test_implementations_stand_side_by_side():
    checks = [
        other(PARITY, "port.csv"),
        other(DIVERGED, "model.onnx"),
        other(INCONCLUSIVE, "cmd:./rnn {input}.csv {output}.csv"),
    ]
    text = str(Report(tuple(checks)))
    start = f"{HEADER}{COMPARISON_TEXT}\n\n{LEFT_OUT}\n\na (SimpleRNN, against model.onnx)\n"
    assert text.startswith(start)
    assert text.endswith(
        "DIVERGED (bias-dropped or kernel-transposed): of 3 checks, 1 diverged: a\n"
        "  (SimpleRNN, against model.onnx); 1 inconclusive: a (SimpleRNN, against\n"
        "  cmd:./rnn {input}.csv {output}.csv); 1 in parity."
    )


def test_several_layers_and_more_implementations_than_fit():
    checks = [
        other(check, f"keras:{name}", call=call)
        for call, check in ((0, PARITY), (1, NOT_COMPARED))
        for name in ("jax", "torch", "numpy", "openvino")
    ]
    first, second = side_by_side(checks).split("\n\n")
    assert first.splitlines()[0].split() == ["keras:jax", "keras:torch", "keras:numpy"]
    assert second.splitlines()[0].split() == ["keras:openvino"]
    assert [line.split("  ")[0] for line in second.splitlines()[2:]] == [
        *("a call 0", "", "", "", "a call 1", "", "", "")
    ]
    assert second.splitlines()[6].split() == ["a", "call", "1", "verdict", "not", "compared"]


@pytest.mark.parametrize("length", [1, 12, 13, 14, 15, 40])
def test_the_tables_fit_a_terminal(length):
    names = [f"{chr(97 + i) * length}" for i in range(9)]
    text = side_by_side([other(NOT_COMPARED, name) for name in names])
    assert all(len(line) <= 80 for line in text.splitlines())
    heads = [block.partition("---")[0].split() for block in text.split("\n\n")]
    assert sorted("".join("".join(head) for head in heads)) == sorted("".join(names))
    assert len(heads) == 3


def test_a_wrong_state_is_the_first_divergence_of_its_own():
    stale = dataclasses.replace(DIVERGED, first_divergence=None)
    rows = side_by_side([other(PARITY, "x"), other(stale, "y")]).splitlines()
    assert rows[-1].split() == ["first", "divergence", "-", "final", "state"]


def test_one_implementation_of_several_layers_has_the_usual_overview():
    checks = [other(PARITY, "keras:jax"), other(PARITY, "keras:jax", call=1)]
    assert side_by_side(checks).split()[:3] == ["#", "layer", "mode"]

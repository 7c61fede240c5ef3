"""Markdown for a job summary, letter by letter."""

import dataclasses

from sample_checks import DIVERGED, PARITY

from rnn_parity.report.markdown import escaped
from rnn_parity.report.report import Report
from rnn_parity.verdict.results import Subject

WHY = "(bias-dropped or kernel-transposed)"
MARKDOWN = r"""## rnn-parity 1.2.3

**DIVERGED WHY: of 2 checks, 1 diverged: encoder (SimpleRNN, mode xla) in net.keras; 1 in parity.**

Python 3.11.7, NumPy 2.4.6, TensorFlow 2.21.0, cpu

|   # | layer       | mode   | verdict   |   ratio |   effective bits |
|----:|:------------|:-------|:----------|--------:|-----------------:|
|   1 | simple\_rnn | graph  | parity    |    0.30 |             25.8 |
|   2 | encoder     | xla    | diverged  |   12300 |             10.4 |

effective bits: how precise the numbers are; rnn-parity explain effective-bits

### simple\_rnn (SimpleRNN, mode graph), generated layer

float32, batch 32, timesteps 2, features 3, units 4, no mask

**PARITY: every step is within rounding (25.8 effective bits).**

<details><summary>Timesteps and final state</summary>

TABLE

</details>

### encoder (SimpleRNN, mode xla), model net.keras

float32, batch 1, timesteps 1, features 1, units 1, no mask

**DIVERGED WHY: a step is 12300 times as far off as rounding can explain (10.4 effective bits).**

- first at: timestep 0, batch 3, unit 1
- observed: 0.25
- expected: 0.75 (one step from the observed state before)
- off by: 0.500, 12300 x the bound 4.05e-05
- cause: bias-dropped: the bias was not added (27.5 effective bits)
- more: rnn-parity explain bias-dropped
- cause: kernel-transposed: the kernel was transposed, which for these sizes fits
- more: rnn-parity explain kernel-transposed, or effective-bits
- to do: bias-dropped: add the bias to every step
- to do: kernel-transposed: multiply x @ kernel, the kernel stored as (features, units)
"""


COLUMNS = (
    ("   timestep ", "-----------:", "          0 ", "          1 ", "    final h "),
    ("   max deviation ", "----------------:", f"{0:16} ", "        1.25e-07 ", f"{0:16} "),
    ("   max ULPs ", "-----------:", "          0 ", "          2 ", "          0 "),
    (
        *("   max step residual ", "--------------------:", "                   0 "),
        *("            1.19e-07 ", "                   - "),
    ),
    ("   max ratio ", "------------:", "           0 ", "        0.30 ", "           0 "),
    ("   at batch ", "-----------:", "          3 ", "          3 ", "          0 "),
    ("   at unit ", "----------:", "         1 ", "         1 ", "         0 "),
)
TABLE = "\n".join(f"|{'|'.join(cells)}|" for cells in zip(*COLUMNS, strict=True))


def test_markdown():
    text = Report((PARITY, DIVERGED)).render("markdown", verbose=True)
    assert text.startswith(MARKDOWN.replace("WHY", WHY).replace("TABLE", TABLE))
    assert text.endswith("\n\n</details>")


def test_what_passed_is_in_the_overview_alone():
    text = Report((PARITY, DIVERGED)).render("markdown")
    start, _, rest = MARKDOWN.replace("WHY", WHY).replace("TABLE", TABLE).partition("### simple")
    failed = rest[rest.index("### encoder") :]
    assert text.startswith(f"{start}1 check in parity left out (-v shows all)\n\n{failed}")


def test_markdown_shortens_a_long_table_unless_asked_for_every_timestep():
    check = dataclasses.replace(PARITY, timesteps=PARITY.timesteps * 50)
    short = Report((check,)).render("markdown")
    assert "of 100 timesteps left out" in short
    assert "left out" not in Report((check,)).render("markdown", every=True)


def test_markdown_escapes_what_a_name_could_break():
    assert escaped("a|b *c*\n<d> `e` [f]") == r"a\|b \*c\* \<d\> \`e\` \[f\]"
    named = dataclasses.replace(PARITY, subject=Subject(layer_class="A", layer_name="a|b"))
    text = Report((named, named)).render("markdown")
    assert r"| a\|b " in text
    assert "a|b" not in text


SIDE_BY_SIDE = r"""| layer     |                  |   port.csv |        f\|1 |
|:----------|:-----------------|-----------:|------------:|
| SimpleRNN | verdict          |     parity |    diverged |
|           | effective bits   |       25.8 |        10.4 |
|           | max deviation    |   1.25e-07 |       0.500 |
|           | first divergence |          - | timestep 0 |
"""


def test_implementations_stand_side_by_side():
    subjects = [Subject(layer_class="SimpleRNN", against=name) for name in ("port.csv", "f|1")]
    checks = [
        dataclasses.replace(check, subject=subject)
        for check, subject in zip((PARITY, DIVERGED), subjects, strict=True)
    ]
    text = Report(tuple(checks)).render("markdown")
    tables = [line.split() for line in text.splitlines() if line.startswith("|")]
    assert tables[2:6] == [line.split() for line in SIDE_BY_SIDE.splitlines()[2:]]
    assert tables[0] == SIDE_BY_SIDE.splitlines()[0].split()

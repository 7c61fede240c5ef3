"""What a sweep reports, in every form, on findings made by hand."""

import json
import re
import subprocess
from dataclasses import replace

import pytest

from rnn_parity.diagnosis.known_differences import KNOWN_DIFFERENCES
from rnn_parity.report.sweeps import SweepReport
from rnn_parity.sweep.space import SPACES, default_of
from rnn_parity.verdict.consistency import document_contradiction
from rnn_parity.verdict.results import Cause, Divergence
from rnn_parity.verdict.sweep_results import Finding, Outcome, Swept

DEFAULT = default_of("simple_rnn")
ZEROED = DEFAULT.but(
    {"go_backwards": True, "unroll": True, "zero_output_for_mask": True, "mask": "right"}
)
ENVIRONMENT = {"python": "3.11.7", "numpy": "2.4", "tensorflow": "2.21", "keras": "3.15.1"}
ENVIRONMENT = {**ENVIRONMENT, "platform": "Linux", "device": "cpu"}

PARITY = Outcome("parity", "fine", seconds=0.5, max_ratio=0.5, effective_bits=25.0)
DIVERGED = Outcome(
    "diverged",
    "a step is off",
    seconds=0.25,
    max_ratio=float("inf"),
    effective_bits=4.0,
    first_divergence=Divergence(1, 0, 0, 0.5, -0.25, 1e-7),
)
FAILED = Outcome("failed", "mine:f: IndexError: list index out of range (mine.py, line 3)")
LATE = Cause("time-shifted", "one step late", 28.0)
UNCLEAR = Outcome("inconclusive", "the bound is vacuous", seconds=0.25)
OPTIONS = {"layers": ["simple_rnn"], "strength": 3, "limit": None, "seed": 0, "against": None}


def finding(one, outcome, known=None, members=None, causes=()):
    return Finding(one, outcome, causes, None, members or (one,), known)


def report(outcomes, *findings, allow_known=False, unexplained=(), **options):
    swept = Swept(
        ENVIRONMENT,
        outcomes,
        findings,
        tuple(unexplained),
        len(outcomes),
        seconds=2.0,
        workers=2,
        scripts={ZEROED: "repro/1.py"},
    )
    return SweepReport(swept, {**OPTIONS, **options}, allow_known)


REFUSED = Outcome("refused", "no such thing as 'ELU'", seconds=0.125)
REFUSING = {
    DEFAULT.but({"activation": name}): replace(REFUSED, summary=f"no such thing as '{name}'")
    for name in ("ELU", "ReLU")
}
WHOLE = report(
    {DEFAULT: PARITY, ZEROED: DIVERGED, **REFUSING},
    finding(ZEROED, DIVERGED, KNOWN_DIFFERENCES[0], causes=(LATE,)),
    *(finding(*pair) for pair in REFUSING.items()),
)


def test_the_verdict_and_the_exit_code():
    new = finding(ZEROED, DIVERGED)
    known, failed = finding(ZEROED, DIVERGED, KNOWN_DIFFERENCES[0]), finding(DEFAULT, FAILED)
    both = {DEFAULT: PARITY, ZEROED: DIVERGED}
    unclear, wide = finding(ZEROED, UNCLEAR), finding(ZEROED, UNCLEAR, KNOWN_DIFFERENCES[1])
    for one, verdict, code in (
        (report({DEFAULT: PARITY}), "parity", 0),
        (report({}), "inconclusive", 3),
        (report({DEFAULT: REFUSED}, finding(DEFAULT, REFUSED)), "inconclusive", 3),
        (report({DEFAULT: PARITY, ZEROED: REFUSED}), "parity", 0),
        (report({DEFAULT: PARITY, ZEROED: UNCLEAR}, finding(ZEROED, UNCLEAR)), "inconclusive", 3),
        (report(both, new), "diverged", 1),
        (report(both, known), "diverged", 1),
        (report(both, known, allow_known=True), "diverged", 0),
        (report(both, new, allow_known=True), "diverged", 1),
        (report(both, known, new, allow_known=True), "diverged", 1),
        (report({**both, DEFAULT: UNCLEAR}, known, allow_known=True), "diverged", 3),
        (report({ZEROED: UNCLEAR}, wide), "inconclusive", 3),
        (report({ZEROED: UNCLEAR}, wide, allow_known=True), "inconclusive", 0),
        (report({ZEROED: UNCLEAR}, wide, unclear, allow_known=True), "inconclusive", 3),
        (report({ZEROED: UNCLEAR, DEFAULT: UNCLEAR}, wide, allow_known=True), "inconclusive", 3),
        # What hid behind a refusal, and what nobody looked into.
        (report({DEFAULT: REFUSED}, new), "diverged", 1),
        (report(both, known, unexplained=[ZEROED], allow_known=True), "diverged", 1),
        (report({DEFAULT: PARITY, ZEROED: Outcome("suspect", "")}), "suspect", 1),
        # A source that failed counts before anything but a divergence.
        (report({DEFAULT: FAILED}, failed), "failed", 1),
        (report({DEFAULT: FAILED, ZEROED: PARITY}, failed), "failed", 1),
        (report({DEFAULT: FAILED, ZEROED: UNCLEAR}, failed), "failed", 1),
        (report({DEFAULT: FAILED, ZEROED: DIVERGED}, failed, known), "diverged", 1),
        (
            report({DEFAULT: FAILED, ZEROED: DIVERGED}, failed, known, allow_known=True),
            "diverged",
            1,
        ),
        # What hid behind another failure, and turned up while that was made small.
        (report({DEFAULT: PARITY}, failed), "failed", 1),
    ):
        assert (one.verdict, one.exit_code) == (verdict, code)


def test_the_table():
    lines = WHOLE.render().splitlines()
    assert max(map(len, lines)) <= 80
    text = " ".join(" ".join(lines).replace(" \\ ", " ").split())
    for part in (
        "Python 3.11.7, NumPy 2.4, TensorFlow 2.21, Keras 3.15.1, cpu",
        "layer total parity suspect diverged inconclusive failed refused",
        "simple_rnn 4 1 0 1 0 0 2",
        # 4 in 2 s; each of them took 0.5, 0.25 and twice 0.125 s
        "4 configurations in 2 s, 2.00 per second by 2 workers; one worker per second: eager 4.00",
        "1. DIVERGED, known: zeroed-by-the-mask-as-given, in 1 configuration",
        "example simple_rnn with mask=right, go_backwards=True, unroll=True, "
        "zero_output_for_mask=True, batch 3, timesteps 3, features 4, units 4",
        "observed 0.5, expected -0.25",
        "cause time-shifted: one step late (28.0 effective bits) more rnn-parity explain "
        "time-shifted wrong ",
        "right the mask belongs to the inputs",
        "seen in 2.15 to 3.15 more rnn-parity explain zeroed-by-the-mask-as-given again "
        "rnn-parity check --layer simple_rnn --mode eager --batch 3 --timesteps 3 "
        "--features 4 --units 4 --mask right --arg return_sequences=True "
        "--arg return_state=False --arg go_backwards=True --arg unroll=True "
        "--arg zero_output_for_mask=True",
        "script repro/1.py",
        "Refused by Keras: 2 activation=ELU, ReLU: no such thing as 'ELU'",
        "DIVERGED: of 4 configurations, 1 in parity, 1 diverged (1 known reason), 2 refused by "
        "Keras.",
    ):
        assert part in text, part


def test_fewer_than_half_is_said_beside_the_verdict():
    few = report({DEFAULT: PARITY, **REFUSING}, against="mine:f")
    said = "fewer than half of the configurations were checked, 1 of 3"
    expected = f"PARITY: {said}; of 3 configurations, 1 in parity, 2 refused by Keras."
    for name in ("table", "markdown", "github"):
        text = " ".join(few.render(name).replace("\\", "").split())
        assert expected in text, text
    assert json.loads(few.render("json"))["notes"] == [said]
    half = report({DEFAULT: PARITY, ZEROED: REFUSED})
    assert "fewer" not in half.render()
    assert json.loads(half.render("json"))["notes"] == []


def test_the_json_document():
    document = json.loads(WHOLE.render("json"), parse_constant=pytest.fail)
    assert (document["schema"], document["verdict"], document["exit_code"]) == (
        "rnn-parity/1",
        "diverged",
        1,
    )
    assert document["environment"] == ENVIRONMENT
    first, second = document["checks"]
    assert first["verdict"] == "parity"
    assert first["subject"]["layer_class"] == "SimpleRNN"
    assert first["shape"] == {"batch": 3, "timesteps": 3, "features": 4, "units": 4}
    assert second["max_ratio"] == "inf"
    assert second["first_divergence"]["expected"] == -0.25
    assert second["causes"] == []
    sweep = document["sweep"]
    assert sweep["verdicts"] == {"parity": 1, "diverged": 1, "refused": 2}
    assert (sweep["count"], sweep["per_second"], sweep["strength"]) == (4, 2.0, 3)
    assert sweep["checked"] == 2
    assert [entry["configuration"]["activation"] for entry in sweep["refused"]] == ["ELU", "ReLU"]
    assert sweep["refused"][0]["message"] == "no such thing as 'ELU'"
    found = sweep["findings"][0]
    assert found["smallest"]["causes"][0]["fault"] == "time-shifted"
    assert (found["known"], found["count"]) == ("zeroed-by-the-mask-as-given", 1)
    assert found["configurations"] == [second["configuration"]]
    assert found["script"] == "repro/1.py"


def test_markdown_and_annotations():
    text = WHOLE.render("markdown")
    assert text.startswith("## rnn-parity ")
    assert "### DIVERGED, known: zeroed-by-the-mask-as-given, in 1 configuration" in text
    assert "- 2: activation=ELU, ReLU: no such thing as 'ELU'" in text
    known, last = WHOLE.render("github").splitlines()
    assert known.startswith("::warning title=rnn-parity::DIVERGED, known: ")
    assert last.startswith("DIVERGED: of 4 configurations, ")
    new = report({ZEROED: DIVERGED}, finding(ZEROED, DIVERGED)).render("github")
    assert new.startswith("::error title=rnn-parity::DIVERGED, in 1 configuration%0A")


def test_what_is_refused_alone_is_left_out_by_the_options_that_are_named():
    alone = [{"mask": "left"}, {"mask": "right"}, {"activation": "selu"}, {"dtype": "float16"}]
    ones = [DEFAULT.but(one) for one in alone]
    done = DEFAULT.but({"activation": "relu"})
    both = DEFAULT.but({"dtype": "float64", "unroll": True})
    outcomes = {DEFAULT: PARITY, done: PARITY, **dict.fromkeys([*ones, both], REFUSED)}
    findings = [finding(one, REFUSED) for one in (*ones, both)]
    text = report(outcomes, *findings, against="mine:f").render()
    said = " ".join(text.split())
    expected = "leave out what is refused by itself: --exclude mask --exclude activation=selu"
    assert f"{expected} --exclude dtype" in said
    assert "float64" not in text.partition("leave out")[2].partition("Refused")[0]
    assert "leave out" not in report(outcomes, *findings).render()


def test_words_are_not_broken_in_the_middle():
    names = ["hard_shrink", "soft_shrink", "tanh_shrink", "log_softmax", "sparse_sigmoid"] * 2
    ones = [DEFAULT.but({"activation": name, "units": i}) for i, name in enumerate(names, 1)]
    findings = [finding(one, REFUSED) for one in ones]
    lines = report(dict.fromkeys(ones, REFUSED), *findings).render().splitlines()
    assert max(map(len, lines)) <= 80
    words = {word.strip(",:") for line in lines for word in line.replace("=", " ").split()}
    assert {*names} <= words


def test_a_long_list_of_values_is_several_options():
    done = ("tanh", "relu")
    refused = [name for name in SPACES["simple_rnn"]["activation"] if name not in done]
    assert len(refused) > 20
    ones = [DEFAULT.but({"activation": name}) for name in refused]
    outcomes = {DEFAULT: PARITY, DEFAULT.but({"activation": "relu"}): PARITY}
    findings = [finding(one, REFUSED) for one in ones]
    whole = {**outcomes, **dict.fromkeys(ones, REFUSED)}
    text = report(whole, *findings, against="mine:f").render()
    assert "--arg activation=tanh,relu" in text  # the shorter way to say it
    outcomes |= {**dict.fromkeys(ones[:12], PARITY), **dict.fromkeys(ones[12:], REFUSED)}
    text = report(outcomes, *findings[12:], against="mine:f").render()
    assert max(map(len, text.splitlines())) <= 80
    options = re.findall(r"--exclude activation=(\S+)", text)
    assert len(options) > 1
    assert ",".join(options).split(",") == refused[12:]


def test_what_a_source_refused_is_said_once_with_a_few_of_the_values():
    names = SPACES["simple_rnn"]["activation"][1:12]
    ones = [DEFAULT.but({"activation": name}) for name in names]
    large = DEFAULT.but({"mask": "left", "units": 17})  # not by its mask alone
    refused = replace(REFUSED, summary="mine:f: NotImplementedError: only tanh")
    outcomes = {DEFAULT: PARITY, **dict.fromkeys([*ones, large], refused)}
    findings = [finding(ones[0], refused, members=tuple(ones)), finding(large, refused)]
    text = " ".join(report(outcomes, *findings, against="mine:f").render().split())
    values = f"{', '.join(names[:6])}, 5 more"
    assert f"Refused by mine:f: 11 activation={values}: NotImplementedError: only tanh" in text
    assert "--exclude activation " in text
    assert "--exclude mask" not in text
    assert "eager" not in text  # it is Keras that has modes


def test_what_was_refused_is_what_was_asked_for():
    """Not the example, too, which was made simpler."""
    asked, example = (DEFAULT.but({"mask": mask}) for mask in ("random", "right"))
    refused = Outcome("refused", "mine:f: NotImplementedError: no masks")
    found = Finding(example, refused, (), None, (asked,), None)
    text = report({asked: refused, DEFAULT: PARITY}, found, against="mine:f").render()
    assert "1  mask=random: NotImplementedError: no masks" in text


def test_what_is_found_behind_refusals_alone_is_said_to_be():
    found = Finding(ZEROED, DIVERGED, (), None, (), None)
    text = report({DEFAULT: REFUSED}, found).render()
    assert "1. DIVERGED, behind what was refused\n" in text
    assert "1 more finding behind what failed" in " ".join(text.split())


def test_an_option_and_its_value_stay_on_one_line():
    lines = report({ZEROED: DIVERGED}, finding(ZEROED, DIVERGED)).render().splitlines()
    assert not [line for line in lines if line.endswith("--arg \\")]


def test_the_counts_add_up_in_every_form():
    """What turned up while something was made small counts among nothing that was asked for."""
    ones = [DEFAULT.but({"calls": n, "units": m}) for n in (1, 2, 3) for m in (1, 4)]
    outcomes = dict(zip(ones, [PARITY, DIVERGED, DIVERGED, UNCLEAR, REFUSED, FAILED], strict=True))
    sparse = DEFAULT.but({"activation": "sparsemax"})
    found = [
        Finding(ones[1], DIVERGED, (), None, (ones[1], ones[2]), None, behind=(ones[4],)),
        Finding(sparse, DIVERGED, (), None, (), None, behind=(ones[1],)),
        *(finding(one, outcomes[one]) for one in ones[3:]),
    ]
    whole = report(outcomes, *found, against="mine:f")
    swept = replace(whole.swept, looked_into=17, left_out=(finding(ZEROED, REFUSED),))
    swept = replace(swept, seconds_of_looking=58.2, not_handed_over={"mask": ("mask",)})
    whole = SweepReport(swept, whole.options)
    sentence = (
        "DIVERGED: of 6 configurations, 1 in parity, 2 diverged (1 reason), 1 inconclusive "
        "(1 reason), 1 failed (1 reason), 1 refused by Keras; 1 more finding behind what failed."
    )
    for form in ("table", "markdown", "github"):
        text = " ".join(whole.render(form).replace("|", " ").replace("\\", "").split())
        assert sentence in text, text
        if form != "github":
            assert "17 more checks, not counted here, looked into what failed in 58 s" in text
            assert "left out: mask, its signature has no mask" in text
    for text in (whole.render(), whole.render("markdown").replace("|", " ").replace("\\", "")):
        said = " ".join(text.split())
        assert "simple_rnn 6 1 0 2 1 1 1" in said
        assert "DIVERGED, in 2 configurations, behind another failure in 1 more" in said
        assert "DIVERGED, behind another failure in 1" in said
        assert "17 more checks, not counted here, looked into what failed" in said
        assert re.search(r"Left out, because Keras refuses these options together: - mask=", said)
    document = json.loads(whole.render("json"))
    sweep = document["sweep"]
    assert sum(sweep["verdicts"].values()) == sweep["count"] == 6
    assert sum(one["count"] for one in sweep["findings"]) == 5
    assert [len(one["behind"]) for one in sweep["findings"]] == [1, 1, 0, 0, 0]
    assert (sweep["looked_into"], len(sweep["left_out"])) == (17, 1)
    assert sweep["left_out"][0]["configuration"] == ZEROED.entry
    assert document_contradiction(document) is None
    pytest.importorskip("jinja2")
    page = " ".join(whole.render("html").split())
    assert sentence in page
    assert "refuses these options together:</h2>" in page
    assert '<tr><td>1<td class="left">' in page  # what was refused is counted
    assert '<tr><td class="left">mask=' in page  # what was left out is not


def test_what_a_sweep_was_asked_for_is_said():
    asked = {"activation": ["tanh", "relu"], "mask": ["none"]}
    one = report({DEFAULT: PARITY}, restricted=asked)
    assert "\nonly with activation=tanh or relu, mask=none\n" in one.render()
    assert json.loads(one.render("json"))["sweep"]["restricted"] == asked


def test_a_sweep_for_all_but_a_few_values_says_these_few():
    kept = {
        "activation": ["tanh", "relu", "mish"],
        "mask": ["none"],
        "dtype": ["float32", "float16"],
    }
    dropped = {"activation": ["selu", "elu"], "mask": ["left", "right"], "dtype": ["float64"]}
    text = report({DEFAULT: PARITY}, restricted=kept, excluded=dropped).render()
    assert "\nonly with mask=none; without activation=selu or elu, dtype=float64\n" in text


def test_a_long_command_is_one_for_a_shell():
    text = report({ZEROED: DIVERGED}, finding(ZEROED, DIVERGED), seed=7).render()
    shown = text.partition("again")[2].partition("script")[0]
    said = subprocess.run(
        ["sh", "-c", shown.strip().replace("rnn-parity", "echo 1", 1)],
        capture_output=True,
        text=True,
    )
    if said.returncode == 127:
        pytest.skip("no shell here")
    assert said.stderr == ""
    assert said.stdout.startswith("1 check --layer simple_rnn --mode eager --batch 3")
    assert said.stdout.endswith("--arg zero_output_for_mask=True --seed 7\n")


def test_the_seed_is_part_of_the_command():
    assert "--seed 7" in report({ZEROED: DIVERGED}, finding(ZEROED, DIVERGED), seed=7).render()


def test_float64_is_printed_in_full():
    one = DEFAULT.but({"dtype": "float64"})
    text = report({one: DIVERGED}, finding(one, DIVERGED)).render()
    assert "observed  0.5, expected -0.25" in text
    third = Outcome("diverged", "", first_divergence=Divergence(0, 0, 0, 1 / 3, 0.5, 1e-16))
    assert "0.33333333333333331" in report({one: third}, finding(one, third)).render()

"""The pytest plugin, seen from the test suites that use it."""

import pytest
from plugin_suite import FAILS, PASSES, document, runner, said, section

pytest_plugins = ["pytester"]


@pytest.fixture
def suite(pytester, monkeypatch):
    return runner(pytester, monkeypatch)


def test_a_passing_check_returns_its_report(suite):
    source = """
        def test_right(rnn_parity):
            report = rnn_parity.compare(WEIGHTS, INPUTS, RIGHT, [[4.6875], [0.4375]])
            assert type(report) is rp.Report
            assert report.verdict == "parity"
            assert report.checks[0].max_deviation == 0
    """
    result = suite(source, "-v")
    result.assert_outcomes(passed=1)
    assert section(result) == [
        "PARITY test_suite.py::test_right - SimpleRNN, ratio 0, all effective bits"
    ]


def test_a_failure_is_led_by_verdict_place_cause_and_remedy(suite):
    """And it shows no line of this package."""
    result = suite(FAILS)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            ">*rnn_parity.compare(WEIGHTS, INPUTS, WITHOUT_BIAS)",
            "E*AssertionError: DIVERGED (bias-dropped): a step is * as far off as rounding can*",
            "E*first at  timestep 0, batch 0, unit 0",
            "E*observed  1",
            "E*expected  1.25 (one step from the observed state before)",
            "E*off by    0.250, * x the bound *",
            "E*cause     bias-dropped: the bias is left out (all effective bits)",
            "E*more      rnn-parity explain bias-dropped, or effective-bits",
            "E*to do     add the bias to every step",
            "E*SimpleRNN",
            "E*float64, batch 2, timesteps 3, features 1, units 1, no mask",
            "E*timestep*max*max step*max*at*",
            "E*deviation*residual*ratio*batch*unit",
            "E * 0 *0.250 *",
            "E*Python *, NumPy *",
            "test_suite.py:*: AssertionError",
        ]
    )
    (line,) = section(result)
    assert line.startswith("DIVERGED test_suite.py::test_wrong - SimpleRNN, ratio ")
    assert line.endswith(" effective bits, bias-dropped")
    text = result.stdout.str()
    assert "fixture.py" not in text
    assert "_hold" not in text
    assert text.count("DIVERGED") == 3  # the message, the summary, pytest's own summary


def test_bad_input_is_one_line_at_the_line_of_the_test(suite):
    source = """
        def test_bad(rnn_parity):
            rnn_parity.compare(WEIGHTS, INPUTS[0], RIGHT)
    """
    result = suite(source)
    result.assert_outcomes(failed=1)
    errors = [line for line in result.outlines if line.startswith("E ")]
    assert len(errors) == 1
    assert "InputError: inputs: expected shape (batch, timesteps, 1)" in errors[0]
    assert not [line for line in result.outlines if "rnn_parity/" in line and ".py:" in line]


def test_inconclusive_raises(suite):
    source = """
        def test_nan(rnn_parity):
            nothing = [[[float("inf")]]]
            rnn_parity.compare(WEIGHTS, nothing, nothing)
    """
    result = suite(source)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["E*AssertionError: INCONCLUSIVE: *"])


def test_a_blind_check_fails_when_strict(suite):
    result = suite(PASSES, "--rnn-parity-strict")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "E*AssertionError: BLIND: nothing is proven about *",
            "E*sees*of*blind to*",
            "E*to do     use data that would show these faults, or, where *",
        ]
    )
    (line,) = section(result)
    assert line.startswith("BLIND test_suite.py::test_right - ")
    assert "blind to " in line


def test_strict_may_be_set_for_a_project(suite, pytester):
    pytester.makepyprojecttoml("[tool.rnn_parity]\nstrict = true")
    result = suite(PASSES)
    result.assert_outcomes(failed=1)
    lines = ["E*BLIND: nothing is proven about *", "E*strict = true in [[]tool.rnn_parity[]] *"]
    result.stdout.fnmatch_lines(lines)
    # The root of the tests may lie below the folder of the settings.
    (pytester.path / "tests").mkdir()
    (pytester.path / "test_suite.py").rename(pytester.path / "tests" / "test_suite.py")
    (pytester.path / "tests" / "pytest.ini").write_text("[pytest]")
    result = pytester.runpytest_subprocess("-p", "rnn_parity.pytest_plugin", "tests")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["E*of ../pyproject.toml*"])


def test_blind_spots_that_do_not_matter_are_no_failure(suite, pytester):
    spots = ("initial-state-ignored", "mask-*", "masked-*", "bias-doubled", "units-permuted")
    options = [f"--rnn-parity-ignore={spot}" for spot in spots]
    blind = suite(PASSES, "--rnn-parity-strict")
    seen = next(line for line in section(blind)).partition("blind to ")[2].split(", ")
    assert "mask-ignored" in seen
    rest = [f"--rnn-parity-ignore={spot}" for spot in seen]
    suite(PASSES, "--rnn-parity-strict", *rest).assert_outcomes(passed=1)
    suite(PASSES, "--rnn-parity-strict", *options[1:2]).assert_outcomes(failed=1)
    listed = ", ".join(f"'{spot}'" for spot in seen)
    pytester.makepyprojecttoml(f"[tool.rnn_parity]\nstrict = true\nignore = [{listed}]")
    suite(PASSES).assert_outcomes(passed=1)
    pytester.makepyprojecttoml("[tool.rnn_parity]\nignore = ['mask-ignord']")
    result = suite(PASSES)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*[[]tool.rnn_parity[]] ignore 'mask-ignord': *mask-ignored?*"])


def test_a_call_may_be_strict_and_ignore_blind_spots(suite):
    source = """
        def test_calls(rnn_parity):
            with pytest.raises(AssertionError, match="BLIND: nothing is proven") as found:
                rnn_parity.compare(WEIGHTS, INPUTS, RIGHT, strict=True)
            with pytest.raises(rp.InputError, match="ignore 'x': expected the id of a fault"):
                rnn_parity.compare(WEIGHTS, INPUTS, RIGHT, ignore=["x"])
            report = rnn_parity.compare(WEIGHTS, INPUTS, RIGHT, strict=True, ignore="*")
            assert (report.verdict, bool(report)) == ("parity", True)
            blind = rp.compare(WEIGHTS, INPUTS, RIGHT, strict=True)
            assert (blind.verdict, bool(blind)) == ("parity", False)
            assert not rp.compare(WEIGHTS, INPUTS, RIGHT, strict=True, ignore=["mask-*"])
            assert rp.compare(WEIGHTS, INPUTS, RIGHT, strict=True, ignore="*")
    """
    result = suite(source)
    result.assert_outcomes(passed=1)
    assert said(result) == ["1 of 2 checks in parity, 1 blind (test passed) (-v lists them)"]


def test_a_green_suite_adds_one_line(suite):
    source = """
        @pytest.mark.parametrize("n", range(500))
        def test_many(rnn_parity, n):
            rnn_parity.compare(WEIGHTS, INPUTS, RIGHT)
    """
    result = suite(source)
    result.assert_outcomes(passed=500)
    assert said(result) == ["500 checks in parity (-v lists them)"]
    assert [line for line in result.outlines if "PARITY" in line] == []


def test_a_line_for_each_failed_check_with_the_file_of_its_test(suite):
    result = suite(PASSES + FAILS)
    result.assert_outcomes(passed=1, failed=1)
    (line,) = section(result)
    assert line.startswith("DIVERGED test_suite.py::test_wrong - SimpleRNN, ")
    assert said(result) == ["1 of 2 checks in parity, 1 failed (-v lists them)"]


def test_what_a_test_expects_to_fail_is_counted_and_not_listed(suite):
    source = """
        def test_expected(rnn_parity):
            with pytest.raises(AssertionError):
                rnn_parity.compare(WEIGHTS, INPUTS, WITHOUT_BIAS)

        @pytest.mark.xfail(strict=True)
        def test_known(rnn_parity):
            rnn_parity.compare(WEIGHTS, INPUTS, WITHOUT_BIAS)

        @pytest.mark.xfail
        def test_mended(rnn_parity):
            rnn_parity.compare(WEIGHTS, INPUTS, RIGHT)

        def test_skipped(rnn_parity):
            try:
                rnn_parity.compare(WEIGHTS, INPUTS, WITHOUT_BIAS)
            except AssertionError:
                pytest.skip("not now")
    """
    result = suite(source)
    result.assert_outcomes(passed=1, xfailed=1, xpassed=1, skipped=1)
    ends = ("passed", "xfailed", "skipped")
    counts = ", ".join(f"1 diverged (test {end})" for end in ends)
    assert said(result) == [f"1 of 4 checks in parity, {counts} (-v lists them)"]
    assert "DIVERGED" not in result.stdout.str()
    result = suite(source, "-v", "--color=yes")
    lines = [line for line in result.outlines if "DIVERGED" in line]
    assert [line.startswith("\x1b[33mDIVERGED\x1b[0m ") for line in lines] == [True] * 3
    assert [line.endswith(f" (test {end})") for line, end in zip(lines, ends, strict=True)] == [
        True
    ] * 3


def test_a_known_failure_that_passes_fails_by_itself(suite):
    source = """
        @pytest.mark.xfail(strict=True)
        def test_mended(rnn_parity):
            rnn_parity.compare(WEIGHTS, INPUTS, RIGHT)
    """
    result = suite(source)
    result.assert_outcomes(failed=1)
    assert said(result) == ["1 check in parity (-v lists them)"]


def test_a_wrong_setting_is_one_line(suite, pytester):
    pytester.makepyprojecttoml("[tool.rnn_parity]\nmood = 'eager'")
    result = suite(PASSES)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    (error,) = [line for line in result.errlines if line.strip()]
    assert "[tool.rnn_parity]: received 'mood'; did you mean mode? expected one of mode" in error


def test_a_fault_that_is_none_is_one_error_of_the_session(suite, pytester):
    result = suite(PASSES, "--rnn-parity-ignore", "Mask*")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    (error,) = [line for line in result.errlines if line.strip()]
    assert "--rnn-parity-ignore 'Mask*': no such fault; did you mean mask*?" in error
    pytester.makepyprojecttoml("[tool.rnn_parity]\nignore = ['maks*']")
    assert "ignore 'maks*': no such fault; did you mean mask*?" in suite(PASSES).stderr.str()


def test_a_real_layer(suite, pytester):
    pytester.makepyprojecttoml("[tool.rnn_parity]\nmode = 'eager'")
    source = """
        import numpy as np
        from tensorflow import keras

        @pytest.fixture
        def layer():
            layer = keras.layers.SimpleRNN(1, activation=None, return_sequences=True)
            layer.build((2, 3, 1))
            layer.set_weights([np.array([[1.0]]), np.array([[0.5]]), np.array([0.25])])
            return layer

        INPUTS = np.array(INPUTS, "float32")

        def test_right(rnn_parity, layer):
            rnn_parity.check(layer, INPUTS)
            rnn_parity.check(layer, INPUTS, mode="graph")
            rnn_parity.check(layer, INPUTS, against=RIGHT)

        def test_wrong(rnn_parity, layer):
            rnn_parity.check(layer, INPUTS, against=WITHOUT_BIAS)

        def test_model(rnn_parity, layer):
            rnn_parity.check(keras.Sequential([keras.layers.Dense(1)]), INPUTS)
    """
    result = suite(source, "-v")
    result.assert_outcomes(passed=1, failed=2)
    lines = section(result)
    assert ["mode eager" in line for line in lines] == [True, False, False, False, False]
    assert ["mode graph" in line for line in lines] == [False, True, False, False, False]
    assert [line.split()[0] for line in lines] == ["PARITY"] * 3 + ["DIVERGED", "INCONCLUSIVE"]
    assert lines[4].endswith("nothing was compared: sequential has no recurrent layer")


def test_the_reports_of_a_session_are_one_document(suite, pytester):
    result = suite(PASSES + FAILS, "--rnn-parity-report=report.json")
    result.assert_outcomes(passed=1, failed=1)
    assert said(result)[-1] == "reports written to report.json"
    found = document(pytester)
    assert found["schema"] == "rnn-parity/1"
    assert (found["verdict"], found["exit_code"], found["notes"]) == ("diverged", 1, [])
    assert [(c["test"], c["verdict"]) for c in found["checks"]] == [
        ("test_suite.py::test_right", "parity"),
        ("test_suite.py::test_wrong", "diverged"),
    ]
    assert found["checks"][1]["first_divergence"]["expected"] == 1.25
    assert found["environment"]["numpy"]


def test_every_phase_of_a_test_is_reported(suite, pytester):
    source = """
        @pytest.fixture
        def around(rnn_parity):
            rnn_parity.compare(WEIGHTS, INPUTS, RIGHT)
            yield
            rnn_parity.compare(WEIGHTS, INPUTS, WITHOUT_BIAS)

        def test_it(around, rnn_parity):
            rnn_parity.compare(WEIGHTS, INPUTS, RIGHT)
    """
    result = suite(source, "--rnn-parity-report=report.json")
    result.assert_outcomes(passed=1, errors=1)
    verdicts = [check["verdict"] for check in document(pytester)["checks"]]
    assert verdicts == ["parity", "parity", "diverged"]


def test_a_session_without_checks_proves_nothing(suite, pytester):
    result = suite("def test_it(): pass", "--rnn-parity-report=report.json")
    assert result.ret == 0
    found = document(pytester)
    assert (found["verdict"], found["exit_code"], found["checks"]) == ("inconclusive", 3, [])
    assert found["notes"] == ["no test used the fixture rnn_parity"]


def test_collecting_writes_no_report(suite, pytester):
    suite(PASSES, "--collect-only", "--rnn-parity-report=report.json")
    assert not (pytester.path / "report.json").exists()


def test_a_test_that_runs_again_is_reported_once(suite, pytester):
    pytester.makeconftest(
        """
        from _pytest.runner import runtestprotocol

        def pytest_runtest_protocol(item, nextitem):
            for _ in range(2):
                for report in runtestprotocol(item, nextitem=nextitem, log=False):
                    item.ihook.pytest_runtest_logreport(report=report)
            return True
        """
    )
    suite(PASSES, "--rnn-parity-report=report.json")
    assert len(document(pytester)["checks"]) == 1


def test_a_report_that_cannot_be_written_is_refused_before_the_tests(suite):
    result = suite(PASSES, "--rnn-parity-report=missing/report.json")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    errors = [line for line in result.errlines if line.strip()]
    assert errors == [
        "ERROR: --rnn-parity-report: cannot write 'missing/report.json': No such file or directory"
    ]


def test_a_report_that_cannot_be_written_any_more_fails(suite):
    source = """
        import pathlib
        def test_it(rnn_parity):
            pathlib.Path("report.json").mkdir()
    """
    result = suite(source, "--rnn-parity-report=report.json")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    error = "--rnn-parity-report: cannot write 'report.json': it is a directory; name a file in it"
    assert error in result.outlines


def test_workers_send_their_reports(suite, pytester):
    source = """
        @pytest.mark.parametrize("n", range(6))
        def test_many(rnn_parity, n):
            rnn_parity.compare(WEIGHTS, INPUTS, RIGHT if n else WITHOUT_BIAS)
    """
    arguments = ("-p", "xdist.plugin", "-n", "2", "-v", "--rnn-parity-report=report.json")
    result = suite(source, *arguments)
    result.assert_outcomes(passed=5, failed=1)
    found = {check["test"]: check["verdict"] for check in document(pytester)["checks"]}
    assert found == {
        f"test_suite.py::test_many[{n}]": "parity" if n else "diverged" for n in range(6)
    }
    lines = section(result)
    assert len(lines) == 6
    assert len([line for line in lines if line.startswith("PARITY")]) == 5


KNOWN = """
    import numpy as np
    from tensorflow import keras

    def layer():
        keras.utils.set_random_seed(0)
        given = {"unroll": True, "go_backwards": True, "zero_output_for_mask": True}
        return keras.layers.SimpleRNN(2, return_sequences=True, name="one", **given)

    X, MASK = np.ones((1, 3, 1), "float32"), np.array([[True, True, False]])

    def test_check(rnn_parity):
        rnn_parity.check(layer(), X, MASK)

    def test_other(rnn_parity):
        with pytest.raises(AssertionError, match="cause     zeroed-by-the-mask-as-given: "):
            rnn_parity.check(layer(), X, MASK, allow_known=False)
        assert rnn_parity.check(layer(), X, MASK, allow_known=True).verdict == "diverged"
        with pytest.raises(AssertionError, match="DIVERGED"):
            rnn_parity.compare(WEIGHTS, INPUTS, WITHOUT_BIAS)

    def test_regression(rnn_parity):
        rnn_parity.regression(layer(), X, mask=MASK)
"""


def test_known_differences_may_be_allowed(suite, pytester):
    pytest.importorskip("tensorflow")
    suite(KNOWN).assert_outcomes(failed=2, passed=1)
    assert not list(pytester.path.rglob("*.npz"))
    result = suite(KNOWN, "--rnn-parity-allow-known")
    result.assert_outcomes(failed=1, passed=2)  # the missing case is written
    assert len(list(pytester.path.rglob("*.npz"))) == 1
    result.stdout.fnmatch_lines(["E*AssertionError: no case was recorded yet; written now: *"])
    pytester.makepyprojecttoml("[tool.rnn_parity]\nallow_known = true")
    result = suite(KNOWN, "-v")
    result.assert_outcomes(passed=3)
    known = [line for line in section(result) if line.endswith("as-given (allowed)")]
    assert len(known) == 4

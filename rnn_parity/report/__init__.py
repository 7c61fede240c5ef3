"""The only formatter: every form in which results are shown.

A new form of output is one line in `FORMATS` and a module, whose function `render(report, style)`
gives the text of a `page.Renderable`: a report on checks, on a sweep, or the list of faults.
"""

FORMATS = {
    "table": "rnn_parity.report.text",
    "json": "rnn_parity.report.document",
    "markdown": "rnn_parity.report.markdown",
    "github": "rnn_parity.report.github",
    "html": "rnn_parity.report.html",
}
"""The module of each form of output, by the name that `--format` takes. Imported on first use."""

PNG, SVG = ".png", ".svg"
"""How the name of a file with a picture ends."""

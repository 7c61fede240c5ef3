"""Every report in these tests is made by the same versions."""

import pytest
from sample_checks import ENVIRONMENT, TOOL


@pytest.fixture(autouse=True)
def _fixed_versions(monkeypatch):
    monkeypatch.setattr(
        "rnn_parity.report.report.environment", lambda device: {**ENVIRONMENT, "device": device}
    )
    monkeypatch.setattr("rnn_parity.report.page.own_version", lambda: TOOL)

"""Files and folders that the tests of implementations share."""

import pytest


@pytest.fixture
def path(tmp_path):
    """Where a test writes its ONNX model."""
    return str(tmp_path / "model.onnx")


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty folder, which is the current one."""
    monkeypatch.chdir(tmp_path)
    return tmp_path

"""The types that the clients show are those of the collector and the records."""

import pytest

from clients import generate


def test_the_committed_files_are_what_the_document_gives():
    assert generate.main(["--check"]) == 0


def test_a_file_that_is_not_what_the_document_gives_is_named(monkeypatch, capsys: pytest.CaptureFixture[str]):
    path = next(iter(generate.files()))
    monkeypatch.setattr(generate, "files", lambda: {path: "another text"})
    assert generate.main(["--check"]) == 1
    assert f"{path.name} is not what the collector's document gives: run make clients" in capsys.readouterr().out

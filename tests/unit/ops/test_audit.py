"""The audit of dependencies: an advisory ends it with 1, a server that is away never does."""

from pathlib import Path

import pytest

from tests import audit
from tests.audit import Findings, json_of, of_npm, of_pip, output_of

CLEAN = {"name": "orjson", "version": "3.11.0", "vulns": []}
FAULTY = {"name": "aiohttp", "version": "3.0.0", "vulns": [{"id": "PYSEC-1"}, {"id": "PYSEC-2"}]}
UNKNOWN = {"name": "yarl", "skip_reason": "Dependency not found on PyPI and could not be audited"}
NPM = {
    "auditReportVersion": 2,
    "vulnerabilities": {
        "esbuild": {"via": [{"url": "https://github.com/advisories/GHSA-1"}, "terser"]},
        "terser": {"via": ["esbuild"]},
    },
    "metadata": {"dependencies": {"total": 12}},
}


def test_advisories_are_named_with_their_package():
    assert of_pip({"dependencies": [CLEAN, FAULTY, UNKNOWN]}) == Findings(
        2, {"PYSEC-1": "aiohttp 3.0.0", "PYSEC-2": "aiohttp 3.0.0"}
    )
    assert of_npm(NPM) == Findings(12, {"GHSA-1": "esbuild"})


def test_a_database_that_knows_nothing_was_not_asked():
    assert of_pip({"dependencies": [UNKNOWN]}) == of_pip({}) == Findings()
    assert of_npm({"statusCode": 405}) == of_npm(json_of("npm error")) == of_npm(json_of("[]")) == Findings()


def test_accepted_advisories_are_no_findings():
    found = Findings(2, {"B": "two 2", "A": "one 1"})
    assert found.unaccepted({}) == ["one 1: A", "two 2: B"]
    assert found.unaccepted({"A": "2026-11-28: not reached"}) == ["two 2: B"]


@pytest.mark.parametrize(
    ("findings", "code", "said"),
    [
        (Findings(), 0, "its advisory database can't be asked; pinned on"),
        (Findings(3), 0, "3 dependencies, 0 advisories"),
        (Findings(3, {"A": "one 1"}), 1, "one 1: A"),
    ],
)
def test_only_an_advisory_ends_it_with_1(monkeypatch, capsys, findings, code, said):
    monkeypatch.setattr(audit, "audits", lambda: iter([("pyproject.toml", findings)]))
    assert audit.main() == code
    assert said in capsys.readouterr().out


def test_a_command_that_can_not_run_or_hangs_says_nothing(monkeypatch, tmp_path: Path):
    assert output_of([tmp_path / "missing"]) == ""
    monkeypatch.setattr(audit, "TIMEOUT_SECONDS", 0.05)
    assert output_of(["sleep", "30"]) == ""


def test_every_lock_that_is_audited_exists():
    npm_locks = [f"{folder}/package-lock.json" for folder in audit.NPM_FOLDERS]
    for lock in (audit.PYTHON_LOCK, "requirements-audit.lock", *npm_locks):
        assert (audit.ROOT / lock).is_file()

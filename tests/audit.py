"""``python -m tests.audit``: ask the advisory databases about every dependency that is pinned.

pip-audit asks about the Python lock, npm about those of the script for pages and of the page of reports. A database
that can't be asked is no finding: a line says so, with the date of the pins, and the exit code stays 0. It is 1 for an
advisory that ``ACCEPTED`` does not list.
"""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).parents[1]
#: It has everything that the locks of the image have.
PYTHON_LOCK: Final = "requirements.lock"
NPM_FOLDERS: Final = ("sdk", "reports")
TOOLS: Final = ROOT / ".cache" / "audit-venv"
#: For each command: no server keeps a run of CI waiting.
TIMEOUT_SECONDS: Final = 90
#: Advisories that do not concern us, each with the date of the decision and the reason.
ACCEPTED: Final[Mapping[str, str]] = {}


@dataclass(frozen=True)
class Findings:
    """What one lock's dependencies are known for."""

    asked: int = 0
    #: Each advisory with the package that it is about.
    advisories: Mapping[str, str] = field(default_factory=dict)

    def unaccepted(self, accepted: Mapping[str, str]) -> list[str]:
        """Return a line for each advisory that nobody has accepted."""
        return [f"{package}: {name}" for name, package in sorted(self.advisories.items()) if name not in accepted]


def of_pip(report: Mapping[str, Any]) -> Findings:
    """Read pip-audit's report. A package that the database does not have was not asked about."""
    known = [each for each in report.get("dependencies", ()) if "skip_reason" not in each]
    found = {fault["id"]: f"{each['name']} {each['version']}" for each in known for fault in each["vulns"]}
    return Findings(len(known), found)


def of_npm(report: Mapping[str, Any]) -> Findings:
    """Read npm's report; without its version it is an error."""
    if "auditReportVersion" not in report:
        return Findings()
    found = {
        cause["url"].rpartition("/")[2]: name
        for name, package in report["vulnerabilities"].items()
        for cause in package["via"]
        if isinstance(cause, Mapping)  # else the name of another package in this list
    }
    return Findings(report["metadata"]["dependencies"]["total"], found)


def output_of(command: Sequence[str | Path], folder: Path = ROOT) -> str:
    """Return what a command prints, within the time; nothing if it can't be run."""
    try:
        done = subprocess.run(command, cwd=folder, check=False, capture_output=True, text=True, timeout=TIMEOUT_SECONDS)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout


def json_of(text: str) -> Mapping[str, Any]:
    """Return the object that a tool has printed; an empty one if it printed something else."""
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def audits() -> Iterator[tuple[str, Findings]]:
    """Ask about each lock."""
    pip_audit = TOOLS / "bin" / "pip-audit"
    if not pip_audit.exists():
        output_of([sys.executable, "-m", "venv", TOOLS])
        install = ["-m", "pip", "install", "-qq", "--disable-pip-version-check", "--require-hashes", "--no-deps"]
        output_of([TOOLS / "bin" / "python", *install, "-r", "requirements-audit.lock"])
    asked = [pip_audit, "--no-deps", "--disable-pip", "--progress-spinner", "off", "--format", "json", "--requirement"]
    yield PYTHON_LOCK, of_pip(json_of(output_of([*asked, PYTHON_LOCK])))
    npm = shutil.which("npm") or "npm"
    for folder in NPM_FOLDERS:
        report = output_of([npm, "audit", "--package-lock-only", "--json"], ROOT / folder)
        yield f"{folder}/package-lock.json", of_npm(json_of(report))


def pinned_on(lock: str) -> str:
    """Return the day on which a lock has changed last, as far as Git knows."""
    day = output_of(["git", "log", "-1", "--format=%cs", "--", lock]).strip()
    return day if re.fullmatch(r"\d{4}-\d{2}-\d{2}", day) else "an unknown day"


def main() -> int:
    """Print a line for each lock; return the exit code."""
    found: list[str] = []
    for lock, findings in audits():
        if findings.asked:
            print(f"{lock}: {findings.asked} dependencies, {len(findings.advisories)} advisories")
        else:
            print(f"{lock}: its advisory database can't be asked; pinned on {pinned_on(lock)}")
        found += findings.unaccepted(ACCEPTED)
    for line in found:
        print(f"  {line}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())

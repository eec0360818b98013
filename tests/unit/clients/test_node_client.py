"""The Node client's tests, which are in its language, and what it shares with the Python client."""

import json
import re
import subprocess

from event_tracker_client.outbox import Limits
from event_tracker_client.version import VERSION

from tests.fixtures.kafka import PROJECT_DIR
from tests.patience import PATIENCE_SECONDS

NODE_CLIENT = PROJECT_DIR / "clients" / "node"


def test_its_own_tests_pass():
    files = sorted(str(path) for path in (NODE_CLIENT / "test").glob("*.test.js"))
    run = subprocess.run(
        ["node", "--test", *files],
        cwd=NODE_CLIENT, capture_output=True, text=True, check=False, timeout=PATIENCE_SECONDS,
    )  # fmt: skip
    passed = re.search(r"^. pass ([0-9]+)$", run.stdout, re.MULTILINE)
    assert (run.returncode, run.stderr) == (0, ""), run.stdout
    assert passed is not None
    assert int(passed[1]) >= len(files)


def test_it_needs_no_other_package_and_has_the_python_clients_version():
    package = json.loads((NODE_CLIENT / "package.json").read_text())
    assert not {"dependencies", "peerDependencies", "optionalDependencies"} & package.keys()
    assert package["version"] == VERSION
    assert f'"{VERSION}"' in (NODE_CLIENT / "src" / "version.js").read_text()


def test_its_limits_are_the_python_clients():
    program = "import { completeLimits } from './src/limits.js'; console.log(JSON.stringify(completeLimits()))"
    run = subprocess.run(
        ["node", "--input-type=module", "-e", program],
        cwd=NODE_CLIENT, capture_output=True, check=True, timeout=PATIENCE_SECONDS,
    )  # fmt: skip
    limits = json.loads(run.stdout)
    python = Limits()
    for name in python.__slots__:
        assert limits[re.sub(r"_([a-z])", lambda found: found[1].upper(), name)] == getattr(python, name)

"""What an installed package carries besides its modules."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

from tests.fixtures.kafka import PROJECT_DIR


def test_a_wheel_carries_the_datasource_files_as_they_are(tmp_path: Path):
    source = tmp_path / "source"
    source.mkdir()
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(PROJECT_DIR / name, source)
    for name in ("topics", "tracker", "tinybird"):
        shutil.copytree(PROJECT_DIR / name, source / name, symlinks=True)
    build = [sys.executable, "-m", "pip", "wheel", "-qq", "--no-deps", "--no-build-isolation", "-w", tmp_path, source]
    subprocess.run(build, check=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as packed:
        shipped = {
            Path(name).name: packed.read(name)
            for name in packed.namelist()
            if name.startswith("tracker/datasources/project/")
        }
    files = (PROJECT_DIR / "tinybird" / "datasources").glob("*.datasource")
    assert shipped == {file.name: file.read_bytes() for file in files}

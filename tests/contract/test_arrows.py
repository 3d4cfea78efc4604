"""The arrows between the rooms point one way."""

import subprocess
import sys
from pathlib import Path

from tests.support.settings import ROOT


def test_no_import_points_the_wrong_way() -> None:
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert "0 broken" in done.stdout

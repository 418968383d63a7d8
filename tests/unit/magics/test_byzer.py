"""The magics in a shell of IPython, without a kernel and without Ray."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def shown(folder: Path, code: str, **environ: str) -> str:
    """Return what a shell of IPython shows that runs a line of code."""
    command = [sys.executable, "-m", "IPython", "--colors=NoColor", "-c", code]
    environ = {"PATH": "/usr/bin:/bin", "HOME": str(folder), **environ}
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False, timeout=120)
    return done.stdout + done.stderr


def test_magics_load_beside_a_settings_file_that_is_broken_and_show_what_is_wrong(tmp_path: Path) -> None:
    broken = tmp_path / "config.toml"
    broken.write_bytes(b"\0\1")
    code = "%load_ext byzer_magic\nprint('loaded')\n%byzer presets"
    found = shown(tmp_path, code, BYZER_CONFIG=str(broken))
    assert "loaded" in found
    assert f"{broken} is not text in a known encoding" in found
    assert "Traceback" not in found


def test_chat_names_a_wrong_dash_on_the_first_line_of_a_cell(tmp_path: Path) -> None:
    cell = "%%chat m \u2014session s\nhello"
    found = shown(tmp_path, f"%load_ext byzer_magic\nget_ipython().run_cell({cell!r})")
    assert "'\u2014session' begins with an em dash" in found
    assert "Write --session" in found

"""The magics in a shell of IPython, without a kernel and without Ray."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def test_magics_load_beside_a_settings_file_that_is_broken_and_show_what_is_wrong(tmp_path: Path) -> None:
    broken, script = tmp_path / "config.toml", tmp_path / "cell.ipy"
    broken.write_bytes(b"\0\1")
    script.write_text("%load_ext byzer_magic\nprint('loaded')\n%byzer presets\n", encoding="utf-8")
    environ = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "BYZER_CONFIG": str(broken)}
    done = subprocess.run(
        [sys.executable, "-m", "IPython", "--colors=NoColor", str(script)],
        env=environ, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    shown = done.stdout + done.stderr
    assert "loaded" in shown
    assert f"{broken} is not text in a known encoding" in shown
    assert "Traceback" not in shown

"""guidellm: a short load of streams, which it measures."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from given import KEY, URL

UNUSED = ("accelerate", "peft", "scipy", "sklearn", "triton")
"""What transformers imports where it finds it, which takes seconds: guidellm needs none, and installs none."""
REQUESTS = 48


def test_load(tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    command = [
        sys.executable, "-m", "guidellm", "run", "--disable-console",
        "--backend", f"kind=openai_http,target={URL},model=gpt,api_key={KEY}",
        "--profile", "kind=concurrent,streams=8", "--constraint", f"kind=max_requests,count={REQUESTS}",
        "--data", "kind=synthetic_text,prompt_tokens=16,output_tokens=16",
        "--tokenizer", f"kind=hf_auto,model={os.environ['TOKENIZER']}", "--output", f"kind=json,path={report}",
    ]  # fmt: skip
    (tmp_path / "sitecustomize.py").write_text(f"import sys\nsys.modules |= dict.fromkeys({UNUSED}, None)\n")
    one = {"GUIDELLM__MAX_WORKER_PROCESSES": "1"}  # each takes seconds to start
    env = {**os.environ, **one, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path, env=env)
    assert done.returncode == 0, done.stdout + done.stderr
    [found] = json.loads(report.read_text())["benchmarks"]
    all_of_them = {"successful": REQUESTS, "incomplete": 0, "errored": 0, "total": REQUESTS}
    assert found["metrics"]["request_totals"] == all_of_them

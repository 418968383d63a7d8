"""guidellm: a short load of streams, which it measures."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from given import KEY, URL


def test_load(tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    command = [
        sys.executable, "-m", "guidellm", "run", "--disable-console",
        "--backend", f"kind=openai_http,target={URL},model=gpt,api_key={KEY}",
        "--profile", "kind=concurrent,streams=8", "--constraint", "kind=max_requests,count=200",
        "--data", "kind=synthetic_text,prompt_tokens=16,output_tokens=16",
        "--tokenizer", f"kind=hf_auto,model={os.environ['TOKENIZER']}", "--output", f"kind=json,path={report}",
    ]  # fmt: skip
    env = {**os.environ, "GUIDELLM__MAX_WORKER_PROCESSES": "1"}  # each takes seconds to start
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path, env=env)
    assert done.returncode == 0, done.stdout + done.stderr
    [found] = json.loads(report.read_text())["benchmarks"]
    assert found["metrics"]["request_totals"] == {"successful": 200, "incomplete": 0, "errored": 0, "total": 200}

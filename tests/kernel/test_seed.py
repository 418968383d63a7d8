"""The guide's commands, pasted into cells and a shell, with a local server where they name a remote one."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from byzer_magic.client.manager import Manager
from tests.conftest import KEY, Shell
from tests.kernel.conftest import Kernel
from tests.servers.process import Process

pytestmark = [pytest.mark.kernel, pytest.mark.ray]

with (Path(__file__).parents[1] / "seed_commands.tsv").open(encoding="utf-8", newline="") as rows:
    SEED = {row[0]: row[2] for row in csv.reader(rows, delimiter="\t", quoting=csv.QUOTE_NONE)}

REMOTE = (
    "https://api.siliconflow.cn/v1",
    "http://192.168.3.106:11434/v1/",
    "https://api.moonshot.cn/v1",
)
KEYS = ("MODEL_silcon_flow_TOKEN", "MODEL_OPENAI_TOKEN", "MODEL_KIMI_TOKEN")


def local(command: str, provider: Process) -> str:
    """Return a seed command that uses the local server, otherwise unchanged."""
    for url in REMOTE:
        command = command.replace(url, f"{provider.url}/v1")
    command = command.replace("saas.api_key=token", f"saas.api_key={KEY}").replace("--token xxxxx", f"--token {KEY}")
    if "base_url" not in command:  # S01, S02 and S05 use the provider's default URL
        setting = (
            f"--base_url {provider.url}/v1" if "easy" in command else f"--infer_params saas.base_url={provider.url}/v1"
        )
        command = f"{command} {setting}" if "easy" in command else command.replace("--infer_params", setting, 1)
    return command


@pytest.mark.parametrize("name", ["S01", "S02", "S04", "S05", "S10", "S11", "S27", "S28"])
def test_pasted_saas_command_deploys_and_answers(
    name: str, kernel: Kernel, cluster: Manager, provider: Process
) -> None:
    kernel.run("\n".join(f"{key} = {KEY!r}" for key in KEYS))
    command = local(SEED[name], provider)
    deployed = kernel.run(f"%%byzer\n{command} --replace")
    assert deployed.status == "ok", deployed.everything
    alias = command.split("--alias " if "--alias" in command else "--model ")[1].split()[0]
    chat = kernel.run(f"%%chat {alias}\nhello from {name}")
    assert f"Echo: hello from {name}" in chat.markdown, chat.everything
    assert KEY not in chat.everything + deployed.everything
    workers = 2 if "--num_workers 2" in command else 1
    assert f'"total_workers": {workers},' in kernel.run(f"%byzer stat --model {alias}").text


@pytest.mark.engine
@pytest.mark.parametrize("driver", ["llama-cpp-python", "xllamacpp"])
def test_s26_with_a_real_model_through_both_drivers(driver: str, kernel: Kernel, gguf: Path) -> None:
    command = SEED["S26"].replace("/Users/allwefantasy/Downloads/Meta-Llama-3-8B-Instruct-Q4_K_M.gguf", str(gguf))
    command = command.replace("num_gpu_layers=0", f"num_gpu_layers=0 n_threads=1 driver={driver}")
    deployed = kernel.run(f"%%byzer\n{command} --replace")
    assert deployed.status == "ok", deployed.everything
    question = "What is the capital of France? Answer in one sentence."
    chat = kernel.run(f"%%chat llama_3_chat --temperature 0\n{question}")
    assert "Paris" in chat.markdown, chat.everything
    assert "42 + 8 tokens" in chat.markdown
    assert kernel.run("%byzer undeploy --model llama_3_chat").status == "ok"


def test_s03_and_s29_in_a_shell(kernel: Kernel, provider: Process, shell: Shell) -> None:
    deploy = kernel.run(
        f"%byzer easy deploy gpt4o --token {KEY} --base_url {provider.url}/v1 --alias gpt3_5_chat --replace"
    )
    assert deploy.status == "ok", deploy.everything
    words = SEED["S03"].replace("<模型别名>", "gpt3_5_chat").replace("<query>", "你好").split()
    chat = shell(*words[1:], easy=True)
    assert (chat.returncode, chat.stdout) == (0, "Echo: 你好\n"), chat.stderr
    stat = shell(*SEED["S29"].split()[1:], "--json")
    assert stat.returncode == 0, stat.stderr
    assert json.loads(stat.stdout)["total_requests"] == [1]


def test_placeholder_of_the_guide_is_named_in_the_error(kernel: Kernel) -> None:
    cell = kernel.run(f"%%byzer\n{SEED['S03']}")
    assert "<模型别名>" in cell.everything

"""The commands and code blocks of the user's guide, pasted unchanged."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from byzer_magic.commands.parser import line, parse, split, split_block
from byzer_magic.commands.spec import DeploySpec, EasyChatSpec, EasyDeploySpec, StatSpec
from byzer_magic.errors import CommandError

with (Path(__file__).parents[2] / "seed_commands.tsv").open(encoding="utf-8", newline="") as rows:
    SEED = {row["id"]: row for row in csv.DictReader(rows, delimiter="\t", quoting=csv.QUOTE_NONE)}
COMMANDS = {name: row["command (line continuations joined, otherwise verbatim)"] for name, row in SEED.items()}
PLACEHOLDERS = ("S03", "S18", "S19")

# model, type, engine, workers, concurrency, gpus, one infer_param
DEPLOYED = {
    "S04": ("deepseek_chat", "saas/openai", None, 1, 1000, 0, ("saas.api_key", "${MODEL_silcon_flow_TOKEN}")),
    "S05": ("gpt4o_chat", "saas/openai", None, 1, 1000, 0, ("saas.model", "gpt-4o")),
    "S06": ("gpt4o_chat", "saas/azure_openai", None, 1, 10, 0, ("saas.azure_endpoint", "https:/xxx.openai.azure.com/")),
    "S07": ("sonnet_3_5_chat", "saas/claude", None, 1, 10, 0, ("saas.api_key", "${MODEL_CLAUDE_TOEKN}")),
    "S08": ("sonnet_3_5_chat", "saas/aws_bedrock", None, 1, 10, 0, ("saas.region_name", "xxxx")),
    "S09": (
        "sonnet_3_5_chat",
        "saas/aws_bedrock",
        None,
        1,
        10,
        0,
        ("saas.model", "anthropic.claude-3-5-sonnet-20240620-v1:0"),
    ),
    "S10": ("ollama_llama3_chat", "saas/openai", None, 1, 10, 0, ("saas.base_url", "http://192.168.3.106:11434/v1/")),
    "S11": ("kimi_chat", "saas/official_openai", None, 1, 10, 0, ("saas.base_url", "https://api.moonshot.cn/v1")),
    "S12": ("qwen32b_chat", "saas/qianwen", None, 1, 10, 0, ("saas.model", "qwen1.5-32b-chat")),
    "S13": ("qwen_1_8b_chat", "custom/auto", "vllm", 1, 1, 1, ("backend.max_model_len", "28000")),
    "S14": ("qianwen_emb", "saas/qianwen", None, 2, 1, 0, ("saas.model", "text-embedding-v2")),
    "S15": ("gpt_emb", "saas/openai", None, 1, 10, 0, ("saas.model", "text-embedding-3-small")),
    "S16": ("emb", "custom/bge", "transformers", 1, 10, 0, None),
    "S17": ("voice2text", "saas/openai", None, 1, 10, 0, ("saas.model", "whisper-1")),
    "S18": ("voice2text", "custom/whisper", "transformers", 1, 1, 0, None),
    "S19": ("voice2text", "custom/sensevoice", "transformers", 1, 1, 0, ("vad_model", "fsmn-vad")),
    "S20": ("volcano_tts", "saas/volcengine", None, 1, 1, 0, ("saas.app_id", "6503259792")),
    "S21": ("azure_tts", "saas/azure", None, 1, 1, 0, ("saas.service_region", "eastus")),
    "S22": ("openai_tts", "saas/openai", None, 1, 1, 0, ("saas.model", "tts-1")),
    "S23": ("openai_image_gen", "saas/openai", None, 1, 1, 0, ("saas.model", "dall-e-3")),
    "S24": ("qianwen_vl_max_chat", "saas/qianwen_vl", None, 1, 10, 0, ("saas.model", "qwen-vl-max")),
    "S25": ("yi_vl_chat", "saas/openai", None, 1, 10, 0, ("saas.base_url", "https://api.lingyiwanwu.com/v1")),
    "S26": ("llama_3_chat", "custom/auto", "llama_cpp", 1, 1, 0, ("num_gpu_layers", "0")),
    "S27": ("kimi_chat", "saas/official_openai", None, 2, 1, 0, ("saas.model", "moonshot-v1-32k")),
    "S28": ("ollama_llama3_chat", "saas/openai", None, 2, 1, 0, ("saas.model", "llama3:70b-instruct-q4_0")),
}


def filled_in(command: str) -> str:
    for placeholder in ("<模型别名>", "<query>", "<Whiper模型的地址>", "<模型的地址>"):
        command = command.replace(placeholder, "something")
    return command


def test_seed_has_29_commands() -> None:
    assert list(SEED) == [f"S{number:02}" for number in range(1, 30)]


@pytest.mark.parametrize("name", DEPLOYED)
def test_seed_deploy_commands_parse(name: str) -> None:
    spec = parse(split(filled_in(COMMANDS[name])))
    assert isinstance(spec, DeploySpec)
    *fields, param = DEPLOYED[name]
    found = [spec.model, spec.pretrained_model_type, spec.infer_backend, spec.num_workers]
    assert [*found, spec.worker_concurrency, spec.gpus_per_worker] == fields
    assert param is None or param in spec.infer_params.items()


def test_seed_other_commands_parse() -> None:
    assert parse(split(COMMANDS["S01"])) == EasyDeploySpec(preset="deepseek-chat", token="xxxxx", alias="deepseek_chat")
    assert parse(split(COMMANDS["S02"])) == EasyDeploySpec(
        preset="alibaba/Qwen1.5-110B-Chat", token="xxxxx", alias="qwen110b_chat"
    )
    assert parse(split(filled_in(COMMANDS["S03"]))) == EasyChatSpec(model="something", query="something")
    assert parse(split(COMMANDS["S29"])) == StatSpec(model="gpt3_5_chat")


@pytest.mark.parametrize("name", COMMANDS)
def test_seed_specs_survive_their_line(name: str) -> None:
    spec = parse(split(filled_in(COMMANDS[name])))
    assert parse(split(line(spec))) == spec


@pytest.mark.parametrize("name", PLACEHOLDERS)
def test_seed_placeholders_are_rejected(name: str) -> None:
    with pytest.raises(CommandError, match=r"still the placeholder <.+>") as caught:
        parse(split(COMMANDS[name]))
    assert "real value" in caught.value.hint


def test_split_block_takes_all_commands_of_the_guide() -> None:
    block = split_block("\n\n".join(COMMANDS.values()))
    assert [parse(split(filled_in(text))) for text in block] == [
        parse(split(filled_in(text))) for text in COMMANDS.values()
    ]


GUIDE_BLOCKS = {
    "S02": """```bash
easy-byzerllm deploy alibaba/Qwen1.5-110B-Chat --token xxxxx --alias qwen110b_chat
```""",
    "S04": """```
byzerllm deploy --pretrained_model_type saas/openai \\
--cpus_per_worker 0.001 \\
--gpus_per_worker 0 \\
--num_workers 1 \\
--worker_concurrency 1000 \\
--infer_params saas.base_url="https://api.siliconflow.cn/v1" saas.api_key=${MODEL_silcon_flow_TOKEN}  \
saas.model=deepseek-ai/deepseek-v2-chat \\
--model deepseek_chat
```""",
    "S16": """### 私有 BGE 等：

!byzerllm deploy --pretrained_model_type custom/bge \\
--cpus_per_worker 0.001 \\
--gpus_per_worker 0 \\
--worker_concurrency 10 \\
--model_path /home/winubuntu/.auto-coder/storage/models/AI-ModelScope/bge-large-zh \\
--infer_backend transformers \\
--num_workers 1 \\
--model emb
""",
    "S19": """byzerllm deploy --pretrained_model_type custom/sensevoice \\
--infer_backend transformers \\
--cpus_per_worker 0.001 \\
--gpus_per_worker 0 \\
--num_workers 1 \\
--model_path <模型的地址>  \\
--infer_params vad_model=fsmn-vad vad_kwargs.max_single_segment_time=30000
--model voice2text
""",
    "S25": """byzerllm deploy  --pretrained_model_type saas/openai  \\
--cpus_per_worker 0.001 \\
--gpus_per_worker 0 \\
--num_workers 1 \\
--worker_concurrency 10 \\
--infer_params saas.api_key=${MODEL_YI_TOKEN} saas.model=yi-vision saas.base_url=https://api.lingyiwanwu.com/v1 \\
--model yi_vl_chat""",
    "S27": """byzerllm deploy --pretrained_model_type saas/official_openai \\
    --cpus_per_worker 0.001 \\
    --gpus_per_worker 0 \\
    --num_workers 2 \\
    --infer_params saas.api_key=${MODEL_KIMI_TOKEN} saas.base_url="https://api.moonshot.cn/v1" \
saas.model=moonshot-v1-32k \\
    --model kimi_chat    """,
}


@pytest.mark.parametrize("name", GUIDE_BLOCKS)
def test_split_block_finds_one_command_in_each_code_block(name: str) -> None:
    (text,) = split_block(filled_in(GUIDE_BLOCKS[name]))
    assert parse(split(text)) == parse(split(filled_in(COMMANDS[name])))


@pytest.mark.parametrize("end", [" \\\n", " \\  \n    ", "\n", " \\\r\n", " \\ "])
def test_split_block_joins_commands_broken_before_flags(end: str) -> None:
    for command in map(filled_in, COMMANDS.values()):
        (text,) = split_block(command.replace(" --", f"{end}--"))
        assert parse(split(text)) == parse(split(command))


def test_split_block_takes_all_code_blocks() -> None:
    block = split_block("\n\n".join(GUIDE_BLOCKS.values()))
    assert [text.split()[0] for text in block] == ["easy", "deploy", "deploy", "deploy", "deploy", "deploy"]


def test_split_block_quotes_prose_back() -> None:
    with pytest.raises(CommandError, match="not a command: 如果有GPU"):
        split_block("byzerllm stat --model a\n如果有GPU，记得 `--gpus_per_worker 0` 也设置为 1。CPU 还是比较慢的。")

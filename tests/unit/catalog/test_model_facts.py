"""What is known of models by their names."""

from __future__ import annotations

import csv
import re
from datetime import date
from pathlib import Path

import pytest

from byzer_magic.capabilities import Capability
from byzer_magic.catalog import model_facts
from byzer_magic.errors import BadParameter

GUIDE = Path(__file__).parents[2] / "seed_commands.tsv"

READS = "chat tools"
SEES = "chat vision tools"
MODELS = {
    "embed": "text-embedding-3-small text-embedding-v2 BAAI/bge-m3 nomic-embed-text:latest jina-embeddings-v4"
    " gemini-embedding-001 mistral-embed Qwen/Qwen3-Embedding-8B voyage-4",
    "rerank": "BAAI/bge-reranker-v2-m3 jina-reranker-v3 rerank-v4.0-pro Qwen/Qwen3-Reranker-4B gte-rerank-v2",
    "transcribe": "whisper-1 gpt-transcribe whisper-large-v3-turbo FunAudioLLM/SenseVoiceSmall qwen3-asr-flash",
    "speak": "tts-1 gpt-4o-mini-tts volcano_tts FunAudioLLM/CosyVoice2-0.5B qwen3-tts-flash speech-02-hd",
    "image": "dall-e-3 gpt-image-2.6-flare black-forest-labs/FLUX.1-schnell Kwai-Kolors/Kolors qwen-image cogview-4",
    READS: "gpt-3.5-turbo-0125 gpt-4 o1-mini o3-mini openai/gpt-oss-120b deepseek-chat deepseek-ai/DeepSeek-V4-Pro"
    " deepseek-r1:8b moonshot-v1-32k kimi-k2-thinking qwen-max qwen1.5-32b-chat qwen3:8b Qwen/Qwen3-32B qwen3.7-max"
    " glm-4.6 glm-5.3 llama3:70b-instruct-q4_0 meta-llama/Llama-3.3-70B-Instruct mistral:7b grok-3 MiniMax-M2.7",
    SEES: "gpt-4o gpt-4o-2024-05-13 gpt-4.1 gpt-4-turbo gpt-5.6-sol gpt-6-luna o3 claude-3-5-sonnet-20240620"
    " anthropic.claude-3-5-sonnet-20240620-v1:0 us.anthropic.claude-sonnet-5 claude-sonnet-5-5 gemini-3.8-flash"
    " kimi-k2.6 moonshot-v1-8k-vision-preview qwen3.6-plus Qwen/Qwen3-VL-32B-Instruct qwen2.5vl:7b glm-4v-plus"
    " glm-4.6v zai-org/GLM-4.5V llama3.2-vision:11b meta-llama/llama-4-scout pixtral-12b mistral-medium-latest"
    " gemma3:4b grok-4.3 doubao-seed-2-1-pro-260628 MiniMax-M3 qwen3-omni-flash",
    "chat vision": "yi-vision qwen-vl-max qwen-vl-plus qwen-vl-chat-v1 llava:13b deepseek-ai/deepseek-vl2",
    "chat vision image": "gemini-2.5-flash-image gemini-3-pro-image-preview",
}
CASES = [(name, set(capabilities.split())) for capabilities, names in MODELS.items() for name in names.split()]


@pytest.mark.parametrize(("name", "capabilities"), CASES, ids=[name for name, _ in CASES])
def test_capabilities_of_a_name(name: str, capabilities: set[str]) -> None:
    assert model_facts.capabilities(name) == capabilities


def test_capabilities_of_an_unknown_model_are_all_of_chat() -> None:
    assert model_facts.capabilities("my-own-model") == {
        Capability.CHAT,
        Capability.VISION,
        Capability.TOOLS,
    }
    assert model_facts.facts("my-own-model").note == ""


def test_capabilities_as_stated_win() -> None:
    assert model_facts.capabilities("deepseek-chat", "chat, vision") == {Capability.CHAT, Capability.VISION}
    with pytest.raises(BadParameter, match="'fly', which is not a capability"):
        model_facts.capabilities("m", "fly")


@pytest.mark.parametrize("row", model_facts.load(), ids=[row.match[:40] for row in model_facts.load()])
def test_model_rows_are_complete(row: model_facts.ModelFacts) -> None:
    assert row.match == row.match.lower()
    assert row.capabilities
    assert bool(row.source) == bool(row.checked)
    if row.note:
        assert row.source
        assert row.note.endswith(".")
    if row.checked:
        date.fromisoformat(row.checked)


def test_model_row_is_not_hidden_by_one_above_it() -> None:
    rows = model_facts.load()
    for row in rows:
        if not re.search(r"[*?\[]", row.match):
            assert all(model_facts.facts(name) is row for name in row.match.split()), row.match


RETIRED = {
    "gpt-4o": "gpt-6-luna",
    "gpt-3.5-turbo-0125": "gpt-5.6-terra",
    "dall-e-3": "gpt-image",
    "tts-1": "gpt-realtime-2.1-mini",
    "whisper-1": "gpt-transcribe",
    "claude-3-5-sonnet-20240620": "claude-sonnet-5-5",
    "anthropic.claude-3-5-sonnet-20240620-v1:0": "anthropic.claude-sonnet-5",
    "deepseek-chat": "deepseek-v4-flash",
    "deepseek-reasoner": "deepseek-v4-pro",
    "deepseek-coder": "deepseek-v4-flash",
    "deepseek-ai/deepseek-v2-chat": "deepseek-ai/DeepSeek-V4-Pro",
    "qwen1.5-32b-chat": "qwen3.6-plus",
    "alibaba/Qwen1.5-110B-Chat": "qwen3.6-plus",
    "qwen-turbo": "qwen3.6-plus",
    "qwen-vl-max": "qwen3.6-plus",
    "qwen-vl-plus": "qwen3.6-plus",
    "kimi-k2-0905-preview": "kimi-k2.6",
    "kimi-latest": "kimi-k2.6",
    "yi-vision": "At risk",
}


@pytest.mark.parametrize(("name", "successor"), RETIRED.items())
def test_note_of_a_retired_model_names_its_successor(name: str, successor: str) -> None:
    assert successor in model_facts.facts(name).note


def test_models_of_the_guide_have_a_source() -> None:
    commands = [row["command (line continuations joined, otherwise verbatim)"] for row in _guide()]
    models = {match[1] for command in commands for match in re.finditer(r"saas\.model=(\S+)", command)}
    unknown = {name for name in models if not model_facts.facts(name).source}
    assert unknown == {"xxxxx", "llama3:70b-instruct-q4_0", "volcano_tts"}, "a placeholder, open weights, a cluster"


def _guide() -> list[dict[str, str]]:
    with GUIDE.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))

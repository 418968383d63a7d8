"""Completion of command lines."""

from __future__ import annotations

import pytest

from byzer_magic.commands.parser import complete


def completed(text: str) -> list[str]:
    return complete(
        text,
        aliases=["gpt4o", "llama"],
        preset_names=["deepseek-chat", "gpt4o"],
        kinds=["saas/openai", "saas/azure", "custom/auto"],
        params=lambda kind, engine: [f"{kind}.a=", f"{kind}.b=", f"{engine}="],
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("dep", ["deploy"]),
        ("byzerllm st", ["stat"]),
        ("easy ", ["deploy", "undeploy", "chat"]),
        ("easy-byzerllm un", ["undeploy"]),
        ("help lo", ["logs"]),
        ("zzz ", []),
        ("deploy --infer_backend ll", ["llama_cpp"]),
        ("deploy --infer_backend v", ["vllm"]),
        ("deploy --infer_backend=v", ["--infer_backend=vllm"]),
        ("deploy --pretrained_model_type saas/", ["saas/openai", "saas/azure"]),
        ("deploy --num", ["--num_workers"]),
        ("deploy --num_workers 2 --num", []),
        ("deploy --replace --dry", ["--dry_run"]),
        ("deploy --model_path ", []),
        ("deploy --model ", []),
        ("stat --model ", ["gpt4o", "llama"]),
        ("stat --model gpt4o --j", ["--json"]),
        ("undeploy --model=l", ["--model=llama"]),
        ("easy deploy d", ["deepseek-chat"]),
        ("easy deploy gpt4o --to", ["--token"]),
        ("easy chat l", ["llama"]),
        ("easy chat llama hello --", []),
        ("%%chat g", ["gpt4o"]),
        ("%%chat gpt4o --format m", ["markdown"]),
        ("%%chat gpt4o it's ", []),
        ("deploy --infer_params cus", ["custom/auto.a=", "custom/auto.b="]),
        ("deploy --infer_params a=", []),
    ],
)
def test_complete_offers_what_fits(text: str, words: list[str]) -> None:
    assert completed(text) == words


def test_complete_offers_parameters_of_the_type_and_the_engine() -> None:
    found = completed("deploy --pretrained_model_type x --infer_backend y --infer_params x.a=1 ")
    assert [word for word in found if not word.startswith("--")] == ["x.b=", "y="]
    assert "--model" in found
    assert "--infer_params" not in found


def test_complete_offers_flags_where_no_value_is_expected() -> None:
    assert completed("list ") == ["--json", "--ray_address"]
    assert completed("easy deploy gpt4o --token x --re") == ["--replace"]


def test_complete_offers_no_parameters_without_a_source() -> None:
    assert complete("deploy --infer_params s") == []


def test_complete_offers_models_of_hubs_where_one_begins() -> None:
    def models() -> list[str]:
        return ["hf:", "ms:", "hf:a/b"]

    assert complete("deploy --model_path hf", models=models) == ["hf:", "hf:a/b"]
    assert complete("pull hf:a", models=models) == ["hf:a/b"]
    assert complete("models rm ms", models=models) == ["ms:"]
    assert complete("deploy --model_path=hf", models=models) == ["--model_path=hf:", "--model_path=hf:a/b"]
    assert complete("deploy --model_path m", models=models) == [], "it may be a path"

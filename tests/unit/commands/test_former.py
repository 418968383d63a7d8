"""byzer-llm's commands, pasted: taken under the new name, or answered with the truth."""

from __future__ import annotations

import pytest

from byzer_magic.backends import registry
from byzer_magic.backends.base import typed_params
from byzer_magic.commands import former
from byzer_magic.commands.parser import parse, split
from byzer_magic.errors import BadParameter, CommandError, UnknownKind
from byzer_magic.plan import resolve


@pytest.mark.parametrize(("engine", "now"), former.ENGINES.items())
def test_engine_is_taken_under_its_name_here(engine: str, now: str) -> None:
    assert parse(split(f"deploy --model m --infer_backend {engine}")).infer_backend == now  # type: ignore[attr-defined]


@pytest.mark.parametrize(("kind", "now"), former.TYPES.items())
def test_type_is_taken_under_its_name_here(kind: str, now: str) -> None:
    assert parse(split(f"deploy --model m --pretrained_model_type {kind}")).pretrained_model_type == now  # type: ignore[attr-defined]
    assert now in registry.kinds()
    assert kind not in registry.kinds()


@pytest.mark.parametrize("kind", former.GONE_TYPES)
def test_type_that_is_left_out_says_why(kind: str) -> None:
    spec = parse(split(f"deploy --model m --pretrained_model_type {kind}"))
    with pytest.raises(UnknownKind, match=kind) as caught:
        resolve(spec, {}, {})  # type: ignore[arg-type]
    assert "Did you mean" not in str(caught.value)
    assert caught.value.hint


def test_command_that_is_left_out_says_why() -> None:
    with pytest.raises(CommandError, match="Byzer Storage"):
        parse(split("byzerllm storage start --cluster byzerai_store"))


def test_query_takes_a_template() -> None:
    assert parse(split('query --model m --query "hi" --template auto')).query == "hi"  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("kind", "given", "found"),
    [
        ("saas/openai", {"saas.https_verify": "false"}, {"saas.verify": "false"}),
        ("saas/openai", {"saas.max_output_tokens": "8096"}, {"saas.max_tokens": 8096}),
        ("saas/reasoning_openai", {"saas.is_reasoning": "True"}, {}),
        ("saas/claude", {"saas.is_reasoning": "False"}, {}),
    ],
)
def test_parameter_is_taken_or_changes_nothing(kind: str, given: dict[str, str], found: dict[str, object]) -> None:
    info = registry.find(kind).info
    common = {"saas.model": "m", "saas.api_key": "k"}
    params = typed_params(info, common | given, {})
    plain = typed_params(info, common, {})
    assert {name: value for name, value in params.items() if plain.get(name) != value} == found


@pytest.mark.parametrize(
    ("kind", "name", "hint"),
    [
        ("saas/qianfan", "saas.secret_key", "old API"),
        ("saas/minimax", "saas.group_id", "old API"),
        ("saas/sparkdesk", "saas.appid", "old API"),
        ("saas/openai", "saas.api_type", "saas/azure_openai"),
        ("saas/openai", "saas.api_version", "saas/azure_openai"),
        ("saas/openai", "saas.local_address", "saas.proxy"),
    ],
)
def test_parameter_that_is_gone_says_what_instead(kind: str, name: str, hint: str) -> None:
    info = registry.find(kind).info
    with pytest.raises(BadParameter, match="has no parameter") as caught:
        typed_params(info, {"saas.model": "m", name: "x"}, {})
    assert hint in str(caught.value.hint)
    assert "Did you mean" not in str(caught.value)


def test_rows_are_about_parameters_that_the_types_do_not_have() -> None:
    for types, name, _hint in former.GONE_PARAMETERS:
        if "*" not in types and "*" not in name:
            known = {each for param in registry.find(types).info.params for each in (param.name, *param.aliases)}
            assert name not in known

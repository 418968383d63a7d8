"""Words to specs and back."""

from __future__ import annotations

import pytest

from byzer_magic.commands.options import Spec
from byzer_magic.commands.parser import line, parse, parse_chat, split, split_block
from byzer_magic.commands.spec import (
    EASY_COMMANDS,
    ChatSpec,
    DeploySpec,
    EasyChatSpec,
    EasyDeploySpec,
    ListSpec,
    QuerySpec,
    StatSpec,
    UndeploySpec,
)
from byzer_magic.errors import CommandError

KEY = "sk-planted0123456789"


def run(text: str) -> Spec:
    return parse(split(text))


def deploy(text: str) -> DeploySpec:
    spec = run(f"deploy --model m {text}")
    assert isinstance(spec, DeploySpec)
    return spec


def refused(text: str) -> CommandError:
    with pytest.raises(CommandError) as caught:
        run(text)
    return caught.value


# words before a command


@pytest.mark.parametrize(
    "before",
    ["", "byzerllm ", "!byzerllm ", "! byzerllm ", "%byzer ", "%%byzer ", "!", "$ byzerllm ", "  ", "%byzer byzerllm ",
     "%byzer !byzerllm ", "\ufeff", "\u200b", "\u200bbyzerllm ", "\ufeff$ byzerllm \u200b"],
)  # fmt: skip
def test_parse_skips_words_before_the_command(before: str) -> None:
    assert split_block(f"{before}stat --model a") == ["stat --model a"]
    assert parse(split(f"{before}stat --model a")) == StatSpec(model="a")


@pytest.mark.parametrize("before", ["easy-byzerllm", "!easy-byzerllm", "easy", "byzerllm easy", "%byzer easy",
                                    "%byzer easy-byzerllm"])  # fmt: skip
def test_parse_takes_easy_commands(before: str) -> None:
    assert split_block(f"{before} undeploy a") == ["easy undeploy a"]
    assert type(parse(split(f"{before} undeploy a"))) is EASY_COMMANDS["undeploy"]


# parse


def test_parse_deploy_with_every_option() -> None:
    spec = deploy(
        "--pretrained_model_type=saas/openai --infer-backend vllm --num_workers 2 --cpus_per_worker 0.5 --dry-run "
        "--infer_params a=1 b.c=x=y d='two words' e= --replace --infer_params f='{\"g\": [1]}'"
    )
    assert spec == DeploySpec(
        model="m",
        pretrained_model_type="saas/openai",
        infer_backend="vllm",
        num_workers=2,
        cpus_per_worker=0.5,
        dry_run=True,
        replace=True,
        infer_params={"a": "1", "b.c": "x=y", "d": "two words", "e": "", "f": '{"g": [1]}'},
    )


def test_parse_takes_the_last_of_equal_options() -> None:
    assert deploy("--num_workers 2 --num_workers 3 --infer_params a=1 a=2 --infer_params a=3") == DeploySpec(
        model="m", num_workers=3, infer_params={"a": "3"}
    )


def test_parse_takes_values_that_are_negative_or_begin_with_dashes() -> None:
    spec = run("query --model m --temperature -1e-1 --query=--help --system -x")
    assert spec == QuerySpec(model="m", temperature=-0.1, query="--help", system="-x")


def test_parse_prompt_takes_all_words() -> None:
    assert run("easy chat m Why 'is  the' sky --blue -h?") == EasyChatSpec(
        model="m", query="Why is  the sky --blue -h?"
    )


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("deploy", "deploy needs --model.", "Example: deploy --pretrained_model_type"),
        ("easy chat m", "easy chat needs QUERY.", "Example: easy chat"),
        ("deploy --num_worker 2", "Unknown option --num_worker.", "Did you mean --num_workers?"),
        ("deploy --gpus_per_workers 1", "Unknown option --gpus_per_workers.", "Did you mean --gpus_per_worker?"),
        ("deploy --mod m", "Unknown option --mod.", "Did you mean --model?"),
        ("stat --zzz", "Unknown option --zzz.", "Options of stat: --model, --json"),
        ("shutdown --now", "Unknown option --now.", "shutdown takes no options."),
        ("undepoly --model m", "Unknown command 'undepoly'.", "Did you mean undeploy?"),
        ("zzz", "Unknown command 'zzz'.", "Commands: deploy,"),
        ("easy chta m hi", "Unknown command 'easy chta'.", "Did you mean chat?"),
        ("deploy --model m --num_workers two", "--num_workers is 'two', which is not a whole number.", ""),
        ("deploy --model m --num_workers 1.5", "--num_workers is '1.5', which is not a whole number.", ""),
        ("deploy --model m --cpus_per_worker nan", "--cpus_per_worker is 'nan', which is not a number.", ""),
        ("deploy --model m --num_workers 0", "--num_workers is 0, which is below its minimum of 1.", ""),
        ("what_if --model m --num_workers 99999999", "is 99999999, which is above its maximum of 10000.", ""),
        ("scale --model m --num_workers 10001", "--num_workers is 10001, which is above its maximum of 10000.", ""),
        (f"journal --id {2**63}", f"--id is {2**63}, which is above its maximum of {2**63 - 1}.", ""),
        ("deploy --model m --infer_backend vlm", "--infer_backend is 'vlm', which is not one of", "Did you mean vllm?"),
        ("deploy --model --replace", "--model needs a value.", "Write --model=--replace if that is its value."),
        ("deploy --model", "--model needs a value.", "Write --model VALUE"),
        ("deploy --model m --replace=no", "--replace takes no value.", ""),
        ("deploy --model my chat", "deploy does not take 'chat'.", "quotes"),
        ("deploy --infer_params x", "--infer_params: 'x' is not key=value.", "name=value"),
        ("deploy --infer_params =x", "--infer_params: '=x' is not key=value.", "name=value"),
        ("deploy --infer_params a=1 \u2014model m", "'\u2014model' begins with an em dash", "Write --model"),
        ("deploy --infer_params a=1 '\\' b=2", "is not key=value.", "line break may have been lost"),
        (
            "stat --model <模型别名>",
            "--model is still the placeholder <模型别名>.",
            "Replace <模型别名> with a real value.",
        ),
        ("deploy --infer_params a=<b>", "a is still the placeholder <b>.", "Replace <b>"),
        ("easy deploy <preset>", "still the placeholder <preset>.", "Replace <preset>"),
        ("deploy --num_workers <n>", "still the placeholder <n>.", "Replace <n>"),
    ],
)
def test_parse_errors_have_message_and_hint(text: str, message: str, hint: str) -> None:
    error = refused(text)
    assert message in error.message
    assert hint in error.hint


def test_parse_errors_hide_a_key_without_its_flag() -> None:
    assert KEY not in str(refused(f"easy deploy gpt4o {KEY}"))
    assert KEY not in str(refused(f"deploy --model m --infer_params {KEY}"))


# %chat


@pytest.mark.parametrize(
    ("text", "spec"),
    [
        ("a", ChatSpec(model="a")),
        ("a Why is it's sky blue?", ChatSpec(model="a", query="Why is it's sky blue?")),
        ("a it's  --system 'x' {b}", ChatSpec(model="a", query="it's  --system 'x' {b}")),
        (
            "--system 'be \"terse\"' a --max-tokens 9 'hi'",
            ChatSpec(model="a", system='be "terse"', max_tokens=9, query="'hi'"),
        ),
        ("a --reset --session s", ChatSpec(model="a", reset=True, session="s")),
        ("--model a hi there", ChatSpec(model="a", query="hi there")),
        ("a -- --help  me", ChatSpec(model="a", query="--help  me")),
        ("a 'twas", ChatSpec(model="a", query="'twas")),
        ("a <html>", ChatSpec(model="a", query="<html>")),
    ],
)
def test_parse_chat_reads_a_line(text: str, spec: ChatSpec) -> None:
    assert parse_chat(text) == spec


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "%%chat needs MODEL."),
        ("--reset", "%%chat needs MODEL."),
        ("<模型别名> hi", "still the placeholder"),
        ("a --sytem x hi", "Unknown option --sytem."),
        ("a --format html hi", "--format is 'html', which is not one of"),
        ("a --system 'x hi", "not closed"),
    ],
)
def test_parse_chat_errors_have_message_and_hint(text: str, message: str) -> None:
    with pytest.raises(CommandError) as caught:
        parse_chat(text)
    assert message in caught.value.message


def test_parse_chat_prompt_follows_the_params() -> None:
    spec = parse_chat("voice --params voice=nova speed=1.1 Hello there, x = y")
    assert (spec.model, spec.params, spec.query) == ("voice", {"voice": "nova", "speed": "1.1"}, "Hello there, x = y")
    spec = parse_chat("voice --params voice=nova -- a=b")
    assert (spec.params, spec.query) == ({"voice": "nova"}, "a=b")


# line and masking


def test_line_omits_defaults_and_needless_quotes() -> None:
    spec = DeploySpec(model="m", num_workers=1, infer_params={"saas.api_key": "${MY_KEY}", "x": "a b"})
    assert line(spec) == "deploy --model m --infer_params saas.api_key=${MY_KEY} 'x=a b'"


@pytest.mark.parametrize(
    "spec",
    [
        DeploySpec(model="m", infer_params={"saas.api_key": KEY, "saas.AWS_SECRET_KEY": KEY, "hf-token": KEY}),
        EasyDeploySpec(preset="p", token=KEY, infer_params={"password": KEY}),
    ],
)
def test_line_and_repr_mask_secrets(spec: Spec) -> None:
    assert KEY in line(spec)
    assert KEY not in line(spec, masked=True)
    assert KEY not in repr(spec)
    assert KEY not in f"{spec}"
    assert "***" in repr(spec)


def test_line_and_repr_show_what_is_not_secret() -> None:
    spec = DeploySpec(model="m", infer_params={"saas.api_key": "${MY_KEY}", "saas.max_tokens": "9"})
    assert line(spec, masked=True) == line(spec)
    assert repr(spec) == "DeploySpec(model='m', infer_params={'saas.api_key': '${MY_KEY}', 'saas.max_tokens': '9'})"


def test_line_masks_a_reference_with_text_around_it() -> None:
    spec = DeploySpec(model="m", infer_params={"saas.api_key": "planted${A}"})
    assert "planted" not in line(spec, masked=True)


def test_parse_takes_flags_of_list_and_undeploy() -> None:
    assert run("list --json") == ListSpec(json=True)
    assert run("undeploy --model m --force --grace 1.5") == UndeploySpec(model="m", force=True, grace=1.5)

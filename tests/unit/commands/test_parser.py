from __future__ import annotations

from pathlib import Path

import pytest

from byzer_magic.commands.options import Spec, is_secret_name, options_of
from byzer_magic.commands.parser import HelpRequested, complete, help_text, line, parse, parse_chat, split, split_block
from byzer_magic.commands.spec import (
    COMMANDS,
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
from byzer_magic.i18n import using

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


# words


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a 'b c' \"d e\"", ["a", "b c", "d e"]),
        ("a \\\n  b", ["a", "b"]),
        ("a \\  \r\nb", ["a", "b"]),
        ("a # b", ["a", "#", "b"]),
        ('k=${MODEL A\'s "key"} b', ['k=${MODEL A\'s "key"}', "b"]),
        ("'${A}' \"${B}\"", ["${A}", "${B}"]),
        ("'${' '}'", ["${", "}"]),
        ("""j='{"a": [1, "b"]}'""", ['j={"a": [1, "b"]}']),
        ("a \\ --b", ["a", "--b"]),
        ("a\u00a0b\u3000c '\u00a0'", ["a", "b", "c", "\u00a0"]),
        ("'a \\\nb'", ["a \\\nb"]),
        ('"a \\\nb"', ["a b"]),
        ("", []),
    ],
)
def test_split_returns_words(text: str, words: list[str]) -> None:
    assert split(text) == words


def test_split_names_an_open_quote() -> None:
    with pytest.raises(CommandError, match="not closed: query --query it's") as caught:
        split("query --query it's")
    assert "double quotes" in caught.value.hint


def test_split_hides_the_key_in_an_open_quote() -> None:
    with pytest.raises(CommandError) as caught:
        split("easy deploy x --token planted-key-1 --infer_params saas.api_key=planted-key-2 'open")
    assert "planted-key" not in str(caught.value)


# blocks


@pytest.mark.parametrize(
    "before", ["", "byzerllm ", "!byzerllm ", "! byzerllm ", "%byzer ", "%%byzer ", "!", "$ byzerllm ", "  "]
)
def test_parse_skips_words_before_the_command(before: str) -> None:
    assert split_block(f"{before}stat --model a") == ["stat --model a"]
    assert parse(split(f"{before}stat --model a")) == StatSpec(model="a")


@pytest.mark.parametrize("before", ["easy-byzerllm", "!easy-byzerllm", "easy", "byzerllm easy", "%byzer easy"])
def test_parse_takes_easy_commands(before: str) -> None:
    assert split_block(f"{before} undeploy a") == ["easy undeploy a"]
    assert type(parse(split(f"{before} undeploy a"))) is EASY_COMMANDS["undeploy"]


def test_split_block_ends_commands_at_blank_lines_fences_and_new_commands() -> None:
    assert split_block("```bash\nlist\n```\n\nstat\nlist --json\n") == ["list", "stat", "list --json"]


def test_split_block_of_an_empty_block_is_empty() -> None:
    assert split_block("\n# nothing\n") == []


def test_split_block_skips_a_flag_that_is_commented_out() -> None:
    assert split_block("deploy --model a \\\n# --num_workers 2 \\\n--replace") == ["deploy --model a --replace"]


def test_split_block_continues_after_a_backslash_and_a_blank_line() -> None:
    assert split_block("stat \\\n\n--model a") == ["stat --model a"]


def test_split_block_rejects_a_flag_after_a_blank_line() -> None:
    with pytest.raises(CommandError, match="does not belong to a command: --model a"):
        split_block("stat\n\n--model a")


def test_split_block_takes_quoted_values_of_several_lines() -> None:
    (text,) = split_block('query --model a --query "one\n\nlist two"\n')
    assert parse(split(text)) == QuerySpec(model="a", query="one\n\nlist two")


def test_split_block_rejects_an_open_quote() -> None:
    with pytest.raises(CommandError, match="not closed: query"):
        split_block('query --model a --query "one\nlist')


def test_split_block_suggests_the_nearest_command() -> None:
    with pytest.raises(CommandError, match="not a command: deplyo --model a") as caught:
        split_block("deplyo --model a")
    assert caught.value.hint.startswith("Did you mean deploy? A command starts with one of: deploy, undeploy")


def test_split_block_explains_a_lost_backslash() -> None:
    with pytest.raises(CommandError) as caught:
        split_block("deploy --infer_params a=1\nb=2")
    assert r"end that line with \." in caught.value.hint


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
        ("deploy --model m --infer_backend vlm", "--infer_backend is 'vlm', which is not one of", "Did you mean vllm?"),
        ("deploy --model --replace", "--model needs a value.", "Write --model=--replace if that is its value."),
        ("deploy --model", "--model needs a value.", "Write --model VALUE"),
        ("deploy --model m --replace=no", "--replace takes no value.", ""),
        ("deploy --model my chat", "deploy does not take 'chat'.", "quotes"),
        ("deploy --infer_params x", "--infer_params: 'x' is not key=value.", "name=value"),
        ("deploy --infer_params =x", "--infer_params: '=x' is not key=value.", "name=value"),
        ("deploy --infer_params a=1 \u2014model m", "'\u2014model' is not key=value.", "line break may be lost"),
        ("deploy --infer_params a=1 '\\' b=2", "is not key=value.", "line break may be lost"),
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


# --file


def from_file(text: str, flags: str = "", command: str = "deploy") -> Spec:
    return parse(split(f"{command} --file f.yml {flags}"), read_file={"f.yml": text}.__getitem__)


def test_parse_file_gives_options() -> None:
    spec = from_file("model: m\nnum_workers: 2\ncpus-per-worker: 0.5\ndry_run: yes\nreplace: false\nmodel_path:\n")
    assert spec == DeploySpec(model="m", num_workers=2, cpus_per_worker=0.5, dry_run=True)


def test_parse_flags_win_over_the_file() -> None:
    spec = from_file("model: m\nnum_workers: 2\ninfer_params: {a: 1, b: 2}", "--num_workers 1 --infer_params b=3")
    assert spec == DeploySpec(model="m", num_workers=1, infer_params={"a": "1", "b": "3"})


@pytest.mark.parametrize(
    "text",
    [
        "infer_params:\n  saas.model: x\n  saas.api_version: 2024-02-15\n  verbose: true",
        "infer_params:\n  saas:\n    model: x\n    api_version: 2024-02-15\n  verbose: true",
        "infer_params:\n  - saas.model=x\n  - saas.api_version=2024-02-15\n  - verbose: true",
        "infer_params: saas.model=x saas.api_version=2024-02-15 verbose=true",
        "saas.model: x\nsaas: {api_version: 2024-02-15}\ninfer_params: {verbose: true}",
    ],
)
def test_parse_file_takes_infer_params_in_each_notation(text: str) -> None:
    spec = from_file(f"model: m\n{text}")
    params = {"saas.model": "x", "saas.api_version": "2024-02-15", "verbose": "true"}
    assert spec == DeploySpec(model="m", infer_params=params)


def test_parse_file_turns_env_into_a_reference() -> None:
    spec = from_file(
        "model: ENV {{ NAME }}\n"
        "model_path: ENV {{HOME}}/{{DIR}}\n"
        "infer_params:\n  saas: {api_key: 'ENV {{MY_KEY}}'}\n  stop: ['ENV {{STOP}}', b]\n  say: 'a {{b}}'\n"
    )
    assert spec == DeploySpec(
        model="${NAME}",
        model_path="${HOME}/${DIR}",
        infer_params={"saas.api_key": "${MY_KEY}", "stop": '["${STOP}", "b"]', "say": "a {{b}}"},
    )


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("model: m\nnum_worker: 2", "Unknown option 'num_worker' in f.yml.", "Did you mean num_workers?"),
        ("file: g.yml", "Unknown option 'file' in f.yml.", ""),
        ("model: m\na: b: c", "f.yml is not valid YAML in line 2", "quotes"),
        ("- model", "f.yml is not a mapping", "option: value"),
        ("model: [a]", "model in f.yml is a list, but takes one value.", ""),
        ("model: m\nnum_workers: two", "num_workers in f.yml is 'two', which is not a whole number.", ""),
        ("model: m\nreplace: maybe", "replace in f.yml is 'maybe', which is not true or false.", ""),
        ("model: m\nnum_workers: 0", "which is below its minimum of 1.", ""),
        ("model: m\ninfer_params: [x]", "infer_params in f.yml: 'x' is not key=value.", "name: value"),
        ("model: <m>", "model in f.yml is still the placeholder <m>.", ""),
        ("", "deploy needs --model.", ""),
    ],
)
def test_parse_file_errors_name_the_file(text: str, message: str, hint: str) -> None:
    with pytest.raises(CommandError) as caught:
        from_file(text)
    assert message in caught.value.message
    assert hint in caught.value.hint


def test_parse_file_rejects_dotted_keys_without_infer_params() -> None:
    with pytest.raises(CommandError, match=r"Unknown option 'saas\.model'"):
        from_file("saas.model: x", command="stat")


def test_parse_names_a_missing_file(tmp_path: Path) -> None:
    assert "No such file" in refused(f"deploy --file {tmp_path}/none.yml").message


def test_parse_reads_a_file(tmp_path: Path) -> None:
    path = tmp_path / "deploy.yml"
    path.write_text("model: 模型\n", encoding="utf-8")
    assert run(f"deploy --file {path}") == DeploySpec(model="模型")


def test_parse_rejects_a_binary_file(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(b"\xff\xfe\x00")
    assert "not UTF-8" in refused(f"deploy --file {path}").message


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


@pytest.mark.parametrize(
    "name", ["saas.api_key", "APIKEY", "saas.aws_access_key", "a.b.Secret", "access-key", "credential"]
)
def test_is_secret_name_finds_secrets(name: str) -> None:
    assert is_secret_name(name)


@pytest.mark.parametrize("name", ["saas.max_tokens", "saas.model", "token.limit", "keys", "secret_santa"])
def test_is_secret_name_leaves_other_names(name: str) -> None:
    assert not is_secret_name(name)


# help


@pytest.mark.parametrize("text", ["--help", "-h", "help", "", "byzerllm"])
def test_help_lists_every_command(text: str) -> None:
    with pytest.raises(HelpRequested) as caught:
        run(text)
    for name in (*COMMANDS, *(f"easy {name}" for name in EASY_COMMANDS)):
        assert f"  {name} " in str(caught.value)


@pytest.mark.parametrize("name", [*COMMANDS, *(f"easy {name}" for name in EASY_COMMANDS)])
def test_help_of_a_command_has_its_options(name: str) -> None:
    with pytest.raises(HelpRequested) as caught:
        run(f"{name} --help")
    cls = EASY_COMMANDS[name.removeprefix("easy ")] if name.startswith("easy ") else COMMANDS[name]
    for opt in options_of(cls):
        assert opt.help in str(caught.value)


def test_help_text_is_in_the_active_language() -> None:
    with using("zh"):
        assert "部署的别名，在集群中唯一（必填）" in help_text("deploy")


def test_help_of_chat() -> None:
    with pytest.raises(HelpRequested, match="Usage: %%chat"):
        parse_chat("--help")


def test_help_of_an_unknown_command_gives_the_nearest() -> None:
    with pytest.raises(CommandError, match="Did you mean deploy"):
        help_text("deplyo")


# completion


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


def test_complete_offers_flags_of_list() -> None:
    assert run("list --json") == ListSpec(json=True)
    assert run("undeploy --model m --force --grace 1.5") == UndeploySpec(model="m", force=True, grace=1.5)


def test_parse_chat_prompt_follows_the_params() -> None:
    spec = parse_chat("voice --params voice=nova speed=1.1 Hello there, x = y")
    assert (spec.model, spec.params, spec.query) == ("voice", {"voice": "nova", "speed": "1.1"}, "Hello there, x = y")
    spec = parse_chat("voice --params voice=nova -- a=b")
    assert (spec.params, spec.query) == ({"voice": "nova"}, "a=b")

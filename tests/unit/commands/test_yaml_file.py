"""The YAML of `--file`."""

from __future__ import annotations

import traceback
from itertools import pairwise
from pathlib import Path

import pytest

from byzer_magic.commands import yaml_file
from byzer_magic.commands.options import Spec
from byzer_magic.commands.parser import parse, split
from byzer_magic.commands.spec import (
    DeploySpec,
)
from byzer_magic.errors import CommandError


def run(text: str) -> Spec:
    return parse(split(text))


def refused(text: str) -> CommandError:
    with pytest.raises(CommandError) as caught:
        run(text)
    return caught.value


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
        ("model: m\na: b: c", "f.yml is not valid YAML on line 2", "quotes"),
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
    assert "save it as UTF-8" in refused(f"deploy --file {path}").message


def test_parse_refuses_a_thousand_brackets() -> None:
    with pytest.raises(CommandError, match="is not valid YAML"):
        parse(["deploy", "--file", "f.yml"], read_file=lambda _path: "model: " + "[" * 20_000)


BOMB = "a: &a [x, x]\n" + "".join(f"{name}: &{name} [*{below}, *{below}]\n" for below, name in pairwise("abcdefghijkl"))


@pytest.mark.parametrize(
    ("text", "sign"),
    [
        (BOMB, "&"),
        ("model: *hunter2", "*"),
        ("model: &hunter2", "&"),
        ("saas: &a {model: x}", "&"),
        ("infer_params: [&a [x, x], *a]", "&"),
        ("<<: {model: m}", "<<"),
        ("infer_params:\n  <<: {saas.model: x}", "<<"),
        ("model: m\nsaas.api_key: !hunter2 x", "!"),
        ("model: m\nsaas: !hunter2 {model: x}", "!"),
    ],
)
def test_what_repeats_or_makes_values_is_refused(text: str, sign: str) -> None:
    with pytest.raises(CommandError) as caught:
        from_file(text)
    assert f"f.yml has {sign} on line" in caught.value.message
    assert "hunter2" not in str(caught.value), "a password may begin so"


def test_signs_of_anchors_in_quotes_are_text() -> None:
    spec = from_file("model: m\ninfer_params: {a: '*x', b: '&x', c: '<<', d: \"!x\", e: a*b&c!d, f: !!str 5}")
    assert spec == DeploySpec(
        model="m", infer_params=dict(zip("abcdef", ["*x", "&x", "<<", "!x", "a*b&c!d", "5"], strict=True))
    )


@pytest.mark.parametrize(
    "line", ['saas.api_key: "hunter2', "saas.api_key: x: hunter2", "a: !b!hunter2", "a: {hunter2]"]
)
def test_no_error_about_yaml_quotes_the_file(line: str) -> None:
    with pytest.raises(CommandError) as caught:
        from_file(f"model: m\n{line}\n")
    assert "hunter2" not in "".join(traceback.format_exception(caught.value))


def test_values_that_are_one_object_are_written_twice() -> None:
    same = {"a": "1"}
    text = yaml_file.write(DeploySpec(model="m", infer_params=same | {"b": "1"}))
    assert not set("&*") & set(text)

"""What web pages, word processors and input methods make of a command: understood where that is certain, else named."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from byzer_magic.cli import main
from byzer_magic.commands import typography
from byzer_magic.commands.options import options_of
from byzer_magic.commands.parser import parse, parse_chat, split, split_block
from byzer_magic.commands.spec import ChatSpec, DeploySpec, EasyChatSpec, ListSpec, QuerySpec, Spec
from byzer_magic.commands.tokens import from_shell
from byzer_magic.errors import CommandError
from byzer_magic.widgets.form.values import from_text

DASHES = {
    "\u2014": "an em dash",
    "\u2013": "an en dash",
    "\u2212": "a minus sign",
    "\uff0d": "a dash of another kind",
    "\u2010": "a dash of another kind",
    "\u2011": "a dash of another kind",
    "\u2015": "a dash of another kind",
    "\ufe63": "a dash of another kind",
    "-": "one hyphen",
    "---": "3 hyphens",
    "\u2013-": "an en dash",
    "-\u2013": "an en dash",
    "\u2014\u2014": "an em dash",
}
PLACES = (
    "deploy {}model m",
    "deploy --pretrained_model_type saas/openai {}model m",
    "deploy --infer_params saas.model=x {}model m",
    "deploy --replace {}model=m",
    "deploy --model {}model",
    "query --model m {}query hello",
    "easy deploy {}token x gpt4o",
    "easy chat m {}model x",
    "stat {}model m",
    "{}help",
    "stat {}help",
)


def error_of(text: str) -> str:
    with pytest.raises(CommandError) as caught:
        parse(split(text))
    return str(caught.value)


@pytest.mark.parametrize("dash", DASHES)
@pytest.mark.parametrize("place", PLACES)
def test_a_wrong_dash_is_named_wherever_an_option_can_be(place: str, dash: str) -> None:
    error = error_of(place.format(dash))
    assert f"begins with {DASHES[dash]}, not with two hyphens" in error
    assert any(f"Write --{name}" in error for name in ("model", "query", "token", "help"))


@pytest.mark.parametrize("dash", DASHES)
def test_a_wrong_dash_is_named_by_every_face(dash: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["deploy", f"{dash}model", "x"]) == 2
    assert DASHES[dash] in capsys.readouterr().err
    for call in (
        lambda: from_text(f"byzerllm deploy {dash}model x"),
        lambda: parse_chat(f"m {dash}session s hello"),
        lambda: parse_chat(f"{dash}session s m hello"),
    ):
        with pytest.raises(CommandError, match="not with two hyphens"):
            call()


def test_a_misspelled_option_with_a_wrong_dash_has_the_nearest_one() -> None:
    assert "Write --model;" in error_of("stat --json \u2014modle m")
    assert "Write --num_workers;" in error_of("deploy \u2014num-workers 2")


def test_a_secret_behind_a_wrong_dash_is_not_shown() -> None:
    assert "sk-own" not in error_of("easy deploy gpt4o \u2014token=sk-own-0123456789")


@pytest.mark.parametrize(
    "prompt",
    [
        "\u2014 no option",
        "\u2014and then?",
        "\u2014model is a word",
        "a \u2014model",
        "-1",
        "\u201chello\u201d",
        "\uff0dx",
    ],
)
def test_a_prompt_keeps_its_dashes_and_quotation_marks(prompt: str) -> None:
    assert parse(["query", "--model", "m", "--query", prompt]) == QuerySpec(model="m", query=prompt)
    assert parse(["easy", "chat", "m", prompt]) == EasyChatSpec(model="m", query=prompt)
    assert parse_chat(f"m -- {prompt}") == ChatSpec(model="m", query=prompt)


def test_a_chat_keeps_a_system_prompt_as_typed() -> None:
    for system in ("<be brief>", "\u201cbe brief\u201d"):
        assert parse_chat(f"m --system '{system}' hello") == ChatSpec(model="m", system=system, query="hello")
    with pytest.raises(CommandError, match="curly quotation marks"):
        parse_chat("m --session \u201ctutor\u201d hello")


@given(st.sampled_from(sorted(DASHES)), st.sampled_from([opt.name for opt in options_of(DeploySpec)]))
def test_no_wrong_dash_is_ever_a_value_without_a_word(dash: str, name: str) -> None:
    for text in (f"deploy --model m {dash}{name}", f"deploy --model m --infer_params a=1 {dash}{name} b"):
        with pytest.raises(CommandError):
            parse(split(text))


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("query --model m --query \u201chello world\u201d", "curly quotation marks"),
        ("query --model m --query \u201cone two three\u201d", "curly quotation marks"),
        ("deploy --model \u201cm\u201d", "curly quotation marks"),
        ("deploy --model m --infer_params saas.model=\u201cgpt-4o\u201d", "curly quotation marks"),
        ("deploy --model m --model_path \u2018/models/x\u2019", "curly quotation marks"),
        ("deploy --model m --infer_params saas.model=\u300cgpt-4o\u300d", "Write straight ones, or none"),
        ("deploy --model \u00abm\u00bb", "Write straight ones, or none"),
        ("deploy --model m --infer_params saas.model\u200eg", "an invisible character (U+200E)"),
        ("deploy --model m -\u00ad-num_workers 1", "Write --num_workers"),
        ("deploy --model m --infer_params a=1 -\u00ad-num_workers 1", "Write --num_workers"),
        ("deploy --model m --infer_params saas.model\uff1dgpt-4o", "\uff1d is a full-width character: write =."),
        ("deploy --model\uff1dm", "\uff1d is a full-width character: write =."),
        ("\uff44eploy --model m", "\uff44 is a full-width character: write d."),
        ("deploy --model m --cpus_per_worker 0\uff0e5x", "\uff0e is a full-width character: write ."),
        ("deploy --model m --infer_params &quot;saas.model", "&quot; is the HTML for a character: write '\"'"),
        ("deploy --model m ^", "^ continues a line on Windows only"),
        ("deploy --model m `", "` continues a line on Windows only"),
        ("deploy --model m ' '", "A line break may have been lost"),
        ("deploy --model m --infer_params a=1 '\\ '", "A line break may have been lost"),
    ],
)
def test_other_odd_characters_are_named(text: str, hint: str) -> None:
    assert hint in error_of(text)


def test_a_secret_beside_a_surplus_word_is_not_shown() -> None:
    assert "\uff53" not in error_of("easy deploy gpt4o --token \uff53\uff4b-own surplus")


def test_odd_characters_of_a_yaml_file_are_named_and_its_spaces_understood() -> None:
    def read(text: str) -> Spec:
        return parse(["deploy", "--file", "f.yml"], read_file=lambda _path: text)

    assert read("model:\u00a0m\ninfer_params:\n\u3000\u3000a:\u3000b\n") == DeploySpec(
        model="m", infer_params={"a": "b"}
    )
    for text, hint in (
        ("model\uff1am", "\uff1a is a full-width character: write :."),
        ("model: \u201cm\u201d", "curly quotation marks"),
        ("\uff4dodel: m", "full-width"),
    ):
        with pytest.raises(CommandError) as caught:
            read(text)
        assert hint in str(caught.value)


@pytest.mark.parametrize("space", ["\u00a0", "\u3000", "\u2002", "\u2009", "\u202f", "\u2028", "\x0b", "\u00a0 \u00a0"])
def test_spaces_of_web_pages_separate_words(space: str) -> None:
    wanted = DeploySpec(model="m", num_workers=2)
    text = " deploy --model m --num_workers 2 ".replace(" ", space)
    assert parse(split(text)) == wanted
    assert [parse(split(part)) for part in split_block(text)] == [wanted]
    for words in (
        [f"deploy{space}--model{space}m{space}--num_workers{space}2"],
        ["deploy", f"--model{space}m", f"--num_workers{space}2"],
    ):
        assert parse(from_shell(words)) == wanted
    assert from_shell(["query", "--query", f"a{space}b"]) == ["query", "--query", f"a{space}b"]


@pytest.mark.parametrize("invisible", ["\u200b", "\ufeff", "\u2060"])
def test_invisible_characters_are_no_part_of_a_word(invisible: str) -> None:
    assert split(f"{invisible}stat {invisible}--model{invisible} m{invisible}") == ["stat", "--model", "m"]
    assert split(f"query --query 'a{invisible}b'") == ["query", "--query", f"a{invisible}b"]
    cell = (
        f"{invisible}# two\n{invisible}stat --model a\n{invisible}--json\n{invisible}\n{invisible}```\n!{invisible}list"
    )
    assert split_block(cell) == ["stat --model a --json", "list"]


@pytest.mark.parametrize(
    "joint",
    ["\\\n", "\\ \n", "\\\r\n", "\\ \t\r\n", "^\n", "^\r\n", "^ \n", "`\n", "`\r\n", "\\\u00a0\n", "\\\u200b\n",
     "\\ \ufeff\r\n", "\\\u2028", "\\ \u2029", "\u2028"],
)  # fmt: skip
def test_continued_lines_are_understood(joint: str) -> None:
    wanted = DeploySpec(model="m", infer_params={"a": "1", "b": "2"})
    text = f"deploy {joint}  --infer_params a=1 {joint}  b=2 {joint}  --model m"
    assert parse(split(text)) == wanted
    for sign in ("", "$ ", "!", "> ", "\u276f ", "C:\\Users\\me> ", "PS C:\\Users\\me> "):
        commands = split_block(f"{sign}byzerllm {text}\nbyzerllm list")
        assert [parse(split(command)) for command in commands] == [wanted, ListSpec()]


def test_explain_has_nothing_to_say_about_plain_text() -> None:
    assert not typography.explain("deploy --model m saas.model=x")

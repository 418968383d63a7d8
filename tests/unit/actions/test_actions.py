"""Commands with a manager that only plays back: what they ask of it, and what they show."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from byzer_magic.actions.actions import options_in, run_all
from byzer_magic.actions.context import Context
from byzer_magic.actions.terminal import Terminal
from byzer_magic.capabilities import Capability
from byzer_magic.client.manager import Manager
from byzer_magic.commands.parser import parse, parse_chat, split
from byzer_magic.errors import CommandError
from byzer_magic.files import writing
from byzer_magic.i18n import using
from byzer_magic.media import wav
from byzer_magic.types import AudioChunk, ChatChunk, Dispatched, ImageItem, PromptTruncation, Request, Usage


class Playback(Manager):
    """A manager whose deployments answer with given chunks."""

    def __init__(self, capability: Capability = Capability.CHAT, *chunks: Any, unfinished: int = 0) -> None:
        super().__init__()
        self._capability = capability
        self._chunks = chunks
        self._unfinished = unfinished
        self.requests: list[Request] = []

    def ensure(self, *_: Any) -> None:
        """No Ray is running."""

    def reach(self, *_: Any) -> None:
        """No Ray is running."""

    async def capabilities(self, _alias: str) -> frozenset[Capability]:
        return frozenset({self._capability})

    async def ask(self, _alias: str, request: Request) -> Any:
        self.requests.append(request)
        yield Dispatched(0, 0.0)
        for chunk in self._chunks:
            yield chunk

    async def undeploy(self, _spec: Any) -> int:
        return self._unfinished

    async def drain(self, _spec: Any) -> int:
        return self._unfinished


def run(line: str, manager: Manager) -> Any:
    return run_all(Context(manager=manager, output=Terminal()), [parse(split(line))])


@pytest.mark.parametrize(
    ("line", "unfinished", "english", "chinese"),
    [
        ("undeploy --model m", 0, "m: undeployed.", "m：已下线。"),
        ("undeploy --model m", 1, "m: undeployed; 1 request was cancelled.", "m：已下线；1 个请求被取消。"),
        ("undeploy --model m", 2, "m: undeployed; 2 requests were cancelled.", "m：已下线；2 个请求被取消。"),
        (
            "drain --model m --worker 3",
            2,
            "m worker 3 is drained: it gets no new requests. 2 requests in flight will finish. "
            "To undo: restart --model m",
            "m 的 worker 3 已排空：不再接收新请求。2 个进行中的请求会继续完成。恢复：restart --model m",
        ),
    ],
)
def test_run_all_reports_in_the_users_language(
    line: str, unfinished: int, english: str, chinese: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for language, text in (("en", english), ("zh", chinese)):
        with using(language):
            run(line, Playback(unfinished=unfinished))
        assert capsys.readouterr().err.strip() == text


def test_query_sends_its_options_and_prints_the_text(capsys: pytest.CaptureFixture[str]) -> None:
    manager = Playback(Capability.CHAT, ChatChunk("he"), ChatChunk("llo", finish="stop"))
    result = run("query --model m --query hi --temperature 0.5 --params seed=7 stop=x", manager)
    assert (result.text, capsys.readouterr().out) == ("hello", "hello\n")
    [request] = cast("list[Any]", manager.requests)
    assert (request.options, request.stream) == ({"seed": 7, "stop": "x", "temperature": 0.5}, False)


def test_query_warns_of_a_prompt_that_was_truncated(tmp_path: Any, capsys: pytest.CaptureFixture[str]) -> None:
    usage = Usage(2050, 1, truncated=PromptTruncation(2050, 7900, "Set a longer context."))
    for option in ("", f"--output_file {tmp_path / 'answer.txt'}"):
        run(f"query --model m --query hi {option}", Playback(Capability.CHAT, ChatChunk("Hello", usage=usage)))
        warned = "⚠ Only 2,050 of about 7,900 prompt tokens were read. Set a longer context.\n"
        assert capsys.readouterr().err.endswith(warned)


def test_query_that_returns_a_file_needs_its_name_in_a_shell(tmp_path: Any) -> None:
    manager = Playback(Capability.SPEAK, AudioChunk(b"mp3", "audio/mpeg"))
    with pytest.raises(CommandError, match="m returns a file"):
        run("query --model m --query hi", manager)
    assert not manager.requests
    run(f"query --model m --query hi --output_file {tmp_path}/x.mp3", manager)
    assert (tmp_path / "x.mp3").read_bytes() == b"mp3"


def test_query_names_the_file_by_its_bytes(tmp_path: Any, capsys: pytest.CaptureFixture[str]) -> None:
    manager = Playback(Capability.SPEAK, AudioChunk(wav.write(bytes(200), 8000), "audio/mpeg"))
    run(f"query --model m --query hi --output_file {tmp_path}/x.mp3", manager)
    assert [path.name for path in tmp_path.iterdir()] == ["x.wav"]
    assert capsys.readouterr().err.splitlines()[-1] == f"Wrote {tmp_path}/x.wav: the result is WAV, not MP3."


def test_query_without_a_prompt_is_refused() -> None:
    with pytest.raises(CommandError, match="query needs --query"):
        run("query --model m", Playback())


def test_options_in_reads_json_values() -> None:
    item = parse_chat("m --max_tokens 9 --params n=2 flag=true sizes=[1,2] word=plain hi")
    assert options_in(item) == {"n": 2, "flag": True, "sizes": [1, 2], "word": "plain", "max_tokens": 9}


def test_deploy_asks_for_a_missing_key_once(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    asked: list[str] = []

    class Asking(Terminal):
        def ask_secret(self, prompt: str) -> str | None:
            asked.append(prompt)
            return "sk-typed-abcdefgh"

    line = "deploy --pretrained_model_type saas/openai --infer_params saas.model=x --model m --dry_run"
    run_all(Context(manager=Playback(), output=Asking()), [parse(split(line))])
    assert len(asked) == 1
    assert asked[0].endswith("Enter it for m (hidden): ")
    shown = capsys.readouterr()
    assert "sk-typed" not in shown.out + shown.err
    assert "m: all checks passed; nothing was deployed (--dry_run)." in shown.err


def test_context_has_no_variables_by_default() -> None:
    assert not Context(manager=Playback(), output=cast("Any", SimpleNamespace())).variables()


@pytest.mark.parametrize("name", ["missing/x.mp3", "folder"])
def test_query_checks_the_file_before_it_sends_anything(tmp_path: Any, name: str) -> None:
    (tmp_path / "folder").mkdir()
    manager = Playback(Capability.CHAT, ChatChunk("hello", finish="stop"))
    with pytest.raises(CommandError, match="Cannot write") as caught:
        run(f"query --model m --query hello --output_file {tmp_path / name}", manager)
    assert not manager.requests
    assert "nothing has been sent" in caught.value.localized()


def test_query_saves_a_result_elsewhere_that_cannot_be_written(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    full = tmp_path / "full.mp3"
    rescue = tmp_path / "rescue"
    rescue.mkdir()
    monkeypatch.setattr("tempfile.mkdtemp", lambda **_: str(rescue))
    real = writing.write

    def write(path: Any, data: bytes) -> None:
        if path == full:
            raise OSError(28, "No space left on device")
        real(path, data)

    monkeypatch.setattr(writing, "write", write)
    manager = Playback(Capability.SPEAK, AudioChunk(b"ID3" + bytes(9), "audio/mpeg"))
    with pytest.raises(CommandError, match="No space left") as caught:
        run(f"query --model m --query hello --output_file {full}", manager)
    assert str(rescue / "result.mp3") in caught.value.localized()
    assert (rescue / "result.mp3").read_bytes() == b"ID3" + bytes(9)


MADE = [
    (Capability.SPEAK, AudioChunk(b"ID3" + bytes(9), "audio/mpeg"), "result.mp3"),
    (Capability.IMAGE, ImageItem("image/png", b"\x89PNG\r\n\x1a\n" + bytes(9)), "result.png"),
    (Capability.CHAT, ChatChunk("A paid answer.", finish="stop"), "result.txt"),
]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), RuntimeError("broken")])
@pytest.mark.parametrize(("capability", "chunk", "name"), MADE)
def test_a_result_that_a_shell_does_not_finish_to_write_is_saved_and_named(
    capability: Capability,
    chunk: Any,
    name: str,
    error: BaseException,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Any,
) -> None:
    monkeypatch.setattr("tempfile.mkdtemp", lambda **_: str(tmp_path))

    def fail(*_: object) -> None:
        raise error

    asked = ""
    if capability is Capability.CHAT:
        monkeypatch.setattr(Terminal, "text", fail)
    else:
        asked = f" --output_file {tmp_path / 'asked.bin'}"
        monkeypatch.setattr("byzer_magic.actions.asking._written", fail)
    with pytest.raises(type(error)):
        run(f"query --model m --query hello{asked}", Playback(capability, chunk))
    assert (tmp_path / name).stat().st_size
    assert str(tmp_path / name) in capsys.readouterr().err


@pytest.mark.parametrize("error", [KeyboardInterrupt(), RuntimeError("broken")])
def test_easy_chat_that_is_not_shown_is_saved_and_named(
    error: BaseException, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setattr("tempfile.mkdtemp", lambda **_: str(tmp_path))

    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr("byzer_magic.actions.terminal.footer.line", fail)
    with pytest.raises(type(error)):
        run("easy chat m hello", Playback(Capability.CHAT, ChatChunk("A paid answer.", finish="stop")))
    assert (tmp_path / "result.txt").read_text() == "A paid answer."
    assert str(tmp_path / "result.txt") in capsys.readouterr().err

"""Finding backends, typing their parameters, and checking model files: nothing here starts anything."""

from __future__ import annotations

import re
import struct
import subprocess
import sys
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from byzer_magic import errors, plugins
from byzer_magic.backends import compatible, registry
from byzer_magic.backends.base import Backend, Info, Param, Setup, typed_params
from byzer_magic.backends.http.errors import ErrorResponse
from byzer_magic.backends.http.sse import events
from byzer_magic.backends.openai.backend import OpenAIBackend
from byzer_magic.backends.openai.schema import Body, chunk_of, decode
from byzer_magic.commands.secrets import Secret
from byzer_magic.local_models import gguf as gguf_file
from byzer_magic.types import ChatChunk, Usage

INFO = Info(
    kind="saas/demo",
    title="Demo",
    params=(
        Param(name="saas.model", help="", required=True),
        Param(name="saas.key", help="", secret=True, env=("DEMO_KEY",)),
        Param(name="saas.timeout", help="", kind="float", default=5.0, aliases=("saas.wait",)),
        Param(name="saas.fast", help="", kind="bool"),
        Param(name="saas.mode", help="", choices=("a", "b")),
    ),
)


def test_values_get_their_types() -> None:
    found = typed_params(INFO, {"saas.model": "m", "saas.wait": "2", "saas.fast": "yes"}, {"DEMO_KEY": "k-123"})
    assert found == {"saas.model": "m", "saas.timeout": 2.0, "saas.fast": True, "saas.key": Secret("k-123")}
    assert "k-123" not in repr(found)


@pytest.mark.parametrize(
    ("given", "kind", "words"),
    [
        ({}, errors.MissingKey, "saas/demo needs saas.model."),
        ({"saas.model": "m", "saas.mdoel": "m"}, errors.BadParameter, "Did you mean saas.model?"),
        ({"saas.model": "m", "model": "m"}, errors.BadParameter, "Did you mean saas.model?"),
        ({"saas.model": "m", "saas.timeout": "soon"}, errors.BadParameter, "not a number"),
        ({"saas.model": "m", "saas.fast": "maybe"}, errors.BadParameter, "not true or false"),
        ({"saas.model": "m", "saas.mode": "c"}, errors.BadParameter, "not one of a, b"),
    ],
)
def test_wrong_values_are_errors_that_help(given: dict[str, str], kind: type[Exception], words: str) -> None:
    with pytest.raises(kind) as caught:
        typed_params(INFO, given, {})
    assert words in str(caught.value)


@pytest.mark.parametrize("kind", registry.saas_kinds())
def test_every_provider_keeps_the_bargain(kind: str) -> None:
    backend = registry.find(kind)
    assert issubclass(backend, Backend)
    assert backend.info.kind == kind
    assert not backend.info.local
    assert all(param.help for param in backend.info.params)
    names = [name for param in backend.info.params for name in (param.name, *param.aliases)]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("row", compatible.load().values(), ids=compatible.load())
def test_compatible_rows_are_complete(row: compatible.Provider) -> None:
    assert row.base_url is None or re.fullmatch(r"https://[\w.-]+(/[\w.-]+)*/?", row.base_url)
    assert all(re.fullmatch(r"[A-Z][A-Z0-9_]+", name) for name in row.env)
    assert row.source.startswith("https://")
    date.fromisoformat(row.checked)


def test_a_row_is_a_provider_with_its_own_address_key_and_batch() -> None:
    kind = registry.find("saas/qwen_compat")
    assert kind is registry.find("saas/qwen_compat")
    assert issubclass(kind, OpenAIBackend)
    assert kind.EMBED_BATCH == 10
    assert OpenAIBackend.EMBED_BATCH > 10
    found = typed_params(kind.info, {"saas.model": "m"}, {"DASHSCOPE_API_KEY": "k-dash", "OPENAI_API_KEY": "k-open"})
    assert found["saas.base_url"] == "https://dashscope.aliyuncs.com/compatible-mode/v1"
    assert found["saas.api_key"] == Secret("k-dash")


def test_a_rows_key_does_not_go_to_another_address() -> None:
    given = {"saas.model": "m", "saas.base_url": "http://127.0.0.1:1/v1"}
    assert "saas.api_key" not in typed_params(registry.find("saas/groq").info, given, {"GROQ_API_KEY": "k"})


def test_a_row_asks_for_its_key_unless_it_has_another_address() -> None:
    kind = registry.find("saas/groq")
    with pytest.raises(errors.MissingKey, match="GROQ_API_KEY"):
        kind.check(Setup(model="a", params=typed_params(kind.info, {"saas.model": "m"}, {"OPENAI_API_KEY": "k"})))
    own = {"saas.model": "m", "saas.base_url": "http://127.0.0.1:1/v1"}
    kind.check(Setup(model="a", params=typed_params(kind.info, own, {})))


@pytest.mark.parametrize(("other", "name"), [("kimi", "moonshot"), ("doubao", "ark")])
def test_a_provider_may_have_several_names(other: str, name: str) -> None:
    info = registry.find(f"saas/{other}").info
    assert (info.kind, info.params) == (f"saas/{other}", registry.find(f"saas/{name}").info.params)


def test_a_new_row_is_a_new_provider(monkeypatch: pytest.MonkeyPatch) -> None:
    row = replace(compatible.load()["groq"], name="newcomer", title="Newcomer", base_url="https://api.new/v1")
    monkeypatch.setattr(compatible, "load", lambda: {"newcomer": row})
    assert "saas/newcomer" in registry.kinds()
    assert registry.find("saas/newcomer").info.title == "Newcomer"


def test_older_names_of_openai_are_openai() -> None:
    for name in ("official_openai", "reasoning_openai"):
        assert registry.find(f"saas/{name}").info.params == registry.find("saas/openai").info.params


@pytest.mark.parametrize("engine", plugins.builtin_engines())
def test_every_engine_keeps_the_bargain(engine: str) -> None:
    backend = registry.find("custom/auto", engine)
    assert issubclass(backend, Backend)
    assert backend.info.local
    assert all(param.help for param in backend.info.params)


@pytest.mark.parametrize(
    ("kind", "engine", "words"),
    [
        ("saas/opanai", None, "Did you mean saas/openai"),
        ("custom/auto", None, "Add --infer_backend (available:"),
        ("custom/auto", "llamacpp", "Did you mean llama_cpp"),
        ("zzz", None, "Available: "),
    ],
)
def test_unknown_kinds_name_the_near_ones(kind: str, engine: str | None, words: str) -> None:
    with pytest.raises(errors.UnknownKind) as caught:
        registry.find(kind, engine)
    assert words in str(caught.value)


def test_listing_and_finding_import_no_sdk() -> None:
    code = (
        "import sys; from byzer_magic import plugins; from byzer_magic.backends import registry;"
        "registry.kinds();"
        "assert not any(m.startswith('byzer_magic.backends.http') for m in sys.modules), 'listing imports http';"
        "[registry.find(kind) for kind in registry.saas_kinds()];"
        "[registry.find('custom/auto', engine) for engine in plugins.builtin_engines()];"
        "print([m for m in ('openai', 'aiohttp', 'llama_cpp', 'xllamacpp', 'ray', 'IPython') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"


def test_entry_points_are_loaded_only_when_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = []

    class Point:
        name = "saas/third"

        def load(self) -> type[Backend]:
            loaded.append(self.name)
            return registry.find("saas/openai")

    monkeypatch.setattr("importlib.metadata.entry_points", lambda group: [Point()] if group == plugins.GROUP else [])
    assert "saas/third" in registry.kinds()
    with pytest.raises(errors.UnknownKind):
        registry.find("saas/fourth")
    assert not loaded
    assert registry.find("saas/third") is registry.find("saas/openai")
    assert loaded == ["saas/third"]


def test_a_missing_package_is_an_install_line() -> None:
    info = Info(kind="saas/demo", title="", params=(), requires=("no_such_package_here",), extra="demo")
    with pytest.raises(errors.MissingExtra) as caught:
        registry.require(info)
    assert "pip install 'byzer-magic[demo]'" in caught.value.hint


# ---- OpenAI's bodies


@pytest.mark.parametrize(
    ("data", "chunk"),
    [
        ('{"choices":[{"index":0,"delta":{"content":"a"}}]}', ChatChunk("a")),
        ('{"choices":[{"index":0,"delta":{"role":"assistant","content":""}}]}', None),
        ('{"choices":[{"delta":{"reasoning":"r"}}],"usage":null}', ChatChunk(reasoning="r")),
        ('{"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":null}}', ChatChunk(usage=Usage(1, 0))),
        ('{"choices":null}', None),
        ('{"choices":[{"delta":null,"finish_reason":"stop"}]}', ChatChunk(finish="stop")),
        ('{"choices":[{"delta":{"content":[{"type":"text","text":"x"},{"type":"other"}]}}]}', ChatChunk("x")),
        ('{"choices":[{"delta":{"refusal":"no"}}]}', ChatChunk("no")),
        ('{"id":"i","model":"m","choices":[{"delta":{},"finish_reason":"length"}]}',
         ChatChunk(finish="length", extra={"id": "i", "model": "m"})),
        ('{"choices":[{"index":1,"delta":{"content":"b"}}]}',
         ChatChunk(extra={"choices": [{"index": 1, "text": "b", "finish": None}]})),
        ('{"choices":[{"delta":{"content":"a"},"logprobs":{"content":[]}}]}',
         ChatChunk("a", extra={"logprobs": {"content": []}})),
    ],
)  # fmt: skip
def test_bodies_are_read_leniently(data: str, chunk: ChatChunk | None) -> None:
    assert chunk_of(decode(data.encode())) == chunk


def test_an_empty_body_is_nothing() -> None:
    assert chunk_of(Body()) is None


def test_error_bodies_are_faults() -> None:
    with pytest.raises(ErrorResponse):
        decode(b'{"error": {"message": "no"}}')


async def read(*blocks: bytes) -> list[bytes]:
    async def source():  # type: ignore[no-untyped-def]
        for block in blocks:
            yield block

    return [data async for data in events(source())]


@pytest.mark.parametrize("cut", range(1, 40))
async def test_events_do_not_depend_on_packets(cut: int) -> None:
    stream = ': hi\r\nid: 3\r\ndata: {"a":"\u2028é"}\r\n\r\ndata:{"b":1}\n\nretry: 5\ndata: [DONE]\n\n'.encode()
    blocks = [stream[i : i + cut] for i in range(0, len(stream), cut)]
    assert await read(*blocks) == ['{"a":"\u2028é"}'.encode(), b'{"b":1}', b"[DONE]"]


async def test_error_events_and_a_last_line_without_end() -> None:
    assert await read(b'event: error\ndata: {"message":"no"}\n\n') == [b'{"error":{"message":"no"}}']
    assert await read(b'event: error\ndata: {"error":1}\n\n') == [b'{"error":1}']
    assert await read(b"event: message\ndata: 1\n\ndata: 2") == [b"1", b"2"]


# ---- model files


def gguf(path: Path, *, tensors: int = 1, entries: int = 1, version: int = 3) -> Path:
    path.write_bytes(struct.pack("<4sIQQ", b"GGUF", version, tensors, entries))
    return path


def test_a_folder_with_one_model_is_that_model(tmp_path: Path) -> None:
    first = gguf(tmp_path / "big-00001-of-00002.gguf")
    gguf(tmp_path / "big-00002-of-00002.gguf")
    gguf(tmp_path / "mmproj-big.gguf")
    assert gguf_file.find(str(tmp_path)) == first
    gguf(tmp_path / "other.gguf")
    with pytest.raises(errors.BadParameter, match=r"2 models in .*: big-00001-of-00002\.gguf, other\.gguf"):
        gguf_file.find(str(tmp_path))


def test_files_that_cannot_be_models(tmp_path: Path) -> None:
    model = gguf(tmp_path / "llama-3-8b.Q4.gguf")
    (tmp_path / "page.gguf").write_bytes(b"<html>")
    (tmp_path / "empty.gguf").write_bytes(b"")
    (tmp_path / "short.gguf").write_bytes(b"GGUF\x03\x00")
    gguf(tmp_path / "odd.gguf", version=99)
    (tmp_path / "none").mkdir()
    cases = {
        None: "needs --model_path",
        "llama-3-8b.Q5.gguf": f"Did you mean {model}?",
        "zzzzzzzz": "In ",
        "none": "There is no .gguf file in",
        "no/where/x.gguf": "exists, but not no in it",
        "page.gguf": "is not a GGUF file (it starts with b'<htm')",
        "empty.gguf": "is not a GGUF file (it is empty)",
        "short.gguf": "ends in its header, after 6 bytes",
        "odd.gguf": "damaged header (version 99",
    }
    for name, words in cases.items():
        with pytest.raises(errors.BadParameter) as caught:
            gguf_file.find(str(tmp_path / name) if name else None)
        assert words in str(caught.value)


def test_a_providers_own_key_does_not_go_to_another_address() -> None:
    info = registry.find("saas/openai").info
    environ = {"OPENAI_API_KEY": "sk-of-openai"}
    assert typed_params(info, {"saas.model": "m"}, environ)["saas.api_key"].reveal() == "sk-of-openai"
    elsewhere = typed_params(info, {"saas.model": "m", "saas.base_url": "http://127.0.0.1:9/v1"}, environ)
    assert "saas.api_key" not in elsewhere

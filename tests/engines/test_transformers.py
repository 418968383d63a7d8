"""transformers with real models: SmolLM2 where the text matters, a tiny Qwen2 where only the plumbing does."""

from __future__ import annotations

import asyncio
import importlib
import json
import shutil
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from byzer_magic import errors
from byzer_magic.backends import registry
from byzer_magic.backends.local.transformers import batch as transformers_batch
from byzer_magic.capabilities import Capability
from byzer_magic.types import ChatRequest, Media, Message
from tests.backends import FREE_TURNS, ask, closing_stops_it, collect, opened, setup_of, text_of, turns_per_item
from tests.models.gguf_qwen2 import expected, qwen2_gguf
from tests.models.smollm2 import smollm2
from tests.models.tiny_qwen2 import CONTEXT, TEMPLATE, tiny_qwen2

KIND = "custom/auto@transformers"
TRANSFORMERS = registry.find("custom/auto", "transformers")
QUESTION = "What is the capital of France? Answer in one sentence."
ANSWER = "The capital of France is Paris."
STORY = "Tell a long story about a cat and a dog."
TOGETHER = 4
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "weather",
            "description": "Tell the weather.",
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer"}}},
        },
    }
]
RESPONSES = {
    "version": 1,
    "defaults": {"role": "assistant"},
    "start_anchor": "<|im_start|>assistant\n",
    "fields": {
        "tool_calls": {
            "open": "<tool_call>",
            "close": "</tool_call>",
            "content": "json",
            "repeats": True,
            "transform": {"type": "function", "function": "{content}"},
        },
        "content": {"close": "<tool_call>"},
    },
}
"""How transformers reads calls in the form of Qwen and Hermes."""

pytestmark = [pytest.mark.engine, pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def backend() -> AsyncIterator[Any]:
    backend = await opened(KIND, {"temperature": "0"}, model_path=str(smollm2()), concurrency=TOGETHER)
    yield backend
    await backend.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def tiny() -> AsyncIterator[Any]:
    backend = await opened(KIND, {"temperature": "1", "seed": "7"}, model_path=str(tiny_qwen2()))
    yield backend
    await backend.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the tiny model that a test may change."""
    return Path(shutil.copytree(tiny_qwen2(), tmp_path / "model"))


def change(folder: Path, **values: Any) -> None:
    """Change a model's config.json."""
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **values}))


async def failure(folder: Path | str, **params: str) -> errors.ByzerError:
    """Return the error with which a deployment fails, in the driver or in the worker."""
    with pytest.raises(errors.ByzerError) as caught:
        await (await opened(KIND, params, model_path=str(folder))).close()
    print(caught.value)
    return caught.value


async def test_chat_streams_token_by_token(backend: Any) -> None:
    chunks = await collect(backend, ask(QUESTION))
    assert text_of(chunks) == ANSWER
    assert [chunk.finish for chunk in chunks if chunk.finish] == ["stop"]
    assert [(use.prompt_tokens, use.completion_tokens) for use in (chunk.usage for chunk in chunks) if use] == [(42, 8)]
    assert [chunk.text for chunk in chunks[:3]] == ["The", " capital", " of"]


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens", "max_new_tokens"])
async def test_chat_respects_max_tokens(backend: Any, name: str) -> None:
    chunks = await collect(backend, ask(STORY, **{name: 3}))
    assert [chunk.finish for chunk in chunks if chunk.finish] == ["length"]
    assert [chunk.usage.completion_tokens for chunk in chunks if chunk.usage] == [3]


async def test_chat_ends_before_stop_texts(backend: Any) -> None:
    chunks = await collect(backend, ask(QUESTION, stop=["ital of", "Paris"]))
    assert text_of(chunks) == "The cap"
    assert chunks[-1].finish == "stop"


async def test_chat_returns_complete_characters(backend: Any) -> None:
    chunks = await collect(backend, ask("Repeat exactly: 😀 日本語", max_tokens=25))
    assert "😀" in text_of(chunks)
    assert not any("\ufffd" in chunk.text for chunk in chunks)


async def test_parts_of_a_message_are_one_text(backend: Any) -> None:
    parts: list[Any] = [{"type": "text", "text": word} for word in (QUESTION[:10], QUESTION[10:])]
    assert text_of(await collect(backend, ChatRequest(messages=[Message("user", parts)]))) == ANSWER


async def test_chat_batches_concurrent_requests(backend: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transformers_batch, "MOST_JOIN_SECONDS", 5.0)  # however busy the machine, they are prepared
    questions = [QUESTION, STORY, "Write about the sea, at length.", "Explain in detail how bread is made."]
    alone = [await collect(backend, ask(text, max_tokens=8)) for text in questions]
    backend._batches.sizes.clear()
    joined = await asyncio.gather(*(collect(backend, ask(text, max_tokens=8)) for text in questions))
    assert [text_of(chunks) for chunks in joined] == [text_of(chunks) for chunks in alone]
    assert backend._batches.sizes == [len(questions)], "benchmarks/batching.py measures what that brings"


async def test_chat_requests_of_a_batch_end_separately(backend: Any) -> None:
    wanted = [{"max_tokens": 2}, {"stop": " is"}, {}]
    answers = await asyncio.gather(*(collect(backend, ask(QUESTION, **options)) for options in wanted))
    assert [text_of(chunks) for chunks in answers] == ["The capital", "The capital of France", ANSWER]
    assert [chunks[-1].finish for chunks in answers] == ["length", "stop", "stop"]


async def test_chat_request_can_leave_its_batch(backend: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("JOIN_SECONDS", "MOST_JOIN_SECONDS"):
        monkeypatch.setattr(transformers_batch, name, 2.0)  # however busy the machine, the two meet
    await asyncio.sleep(0.5)  # a model that is just done with a test before would take the first one at once
    backend._batches.sizes.clear()
    others: list[Any] = []

    async def read() -> None:
        async for chunk in backend.chat(ask(STORY, max_tokens=16)):
            others.append(chunk)  # noqa: PERF401 - its length is read meanwhile

    other = asyncio.create_task(read())
    async with aclosing(backend.chat(ask(STORY, max_tokens=300))) as chunks:
        async for chunk in chunks:
            if chunk.text:
                break
        before = len(others)
    after = len(others)
    await other
    print(f"left a batch of {max(backend._batches.sizes)} after {after - before} tokens of the other")
    assert after - before < 8, "it leaves at the next token"
    assert others[-1].usage.completion_tokens == 16
    assert backend._batches.sizes == [2]


async def test_chat_batches_requests_with_equal_options_only(backend: Any) -> None:
    backend._batches.sizes.clear()
    options: list[dict[str, Any]] = [{}, {"temperature": 1, "seed": 1}, {"temperature": 1, "seed": 1}, {"top_p": 0.5}]
    answers = await asyncio.gather(*(collect(backend, ask(STORY, max_tokens=6, **each)) for each in options))
    assert text_of(answers[1]) == text_of(answers[2])
    assert sum(backend._batches.sizes) == len(options)
    assert max(backend._batches.sizes) <= 2, "greedy ones (top_p alone does not undo temperature 0)"


async def test_close_stops_the_model_and_leaves_it_ready(backend: Any) -> None:
    await closing_stops_it(backend, ask(STORY))
    assert text_of(await collect(backend, ask(QUESTION))) == ANSWER


async def test_chat_can_be_cancelled_during_prefill(backend: Any) -> None:
    engine = importlib.import_module("byzer_magic.backends.local.transformers.engine")
    layers = engine._layers(backend._model.network)
    entered: list[int] = []
    hooks = [layer.register_forward_pre_hook(lambda *_: entered.append(len(entered))) for layer in layers]
    task = asyncio.create_task(collect(backend, ask("word " * 3000)))
    while len(entered) < 2:
        await asyncio.sleep(0.01)
    begun = len(entered)
    task.cancel()
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    for hook in hooks:
        hook.remove()
    print(f"cancelled in layer {begun} of {len(layers)}, left after {len(entered)}")
    assert len(entered) < len(layers) // 2, "the layer that is computed ends, and the rest is not"
    assert text_of(await collect(backend, ask(QUESTION))) == ANSWER


async def test_chat_leaves_the_event_loop_responsive(backend: Any) -> None:
    assert await turns_per_item(backend.chat(ask(STORY, max_tokens=8))) > FREE_TURNS


async def test_chat_refuses_a_prompt_that_is_too_long(tiny: Any) -> None:
    with pytest.raises(
        errors.ContextTooLong, match=rf"has \d{{4}} tokens, but the context length is {CONTEXT}"
    ) as caught:
        await collect(tiny, ask("word " * 4000))
    assert caught.value.details["n_ctx"] == CONTEXT
    assert caught.value.details["prompt_tokens"] > CONTEXT


async def test_chat_ends_at_the_end_of_the_context() -> None:
    backend = await opened(KIND, {"temperature": "0", "max_model_len": "64"}, model_path=str(tiny_qwen2()))
    chunks = await collect(backend, ask("Hello"))
    assert chunks[-1].finish == "length"
    assert chunks[-1].usage.total_tokens == 64
    await backend.close()


async def test_chat_seed_is_reproducible_and_request_options_override_defaults(tiny: Any) -> None:
    first, same, other, greedy = [
        text_of(await collect(tiny, ask("Hello", max_tokens=12, **more)))
        for more in ({}, {"seed": 7}, {"seed": 8}, {"temperature": 0})
    ]
    assert first == same != other
    assert greedy not in (first, other)


@pytest.mark.parametrize(
    "options",
    [
        {"top_k": 1},
        {"top_p": 1e-6},
        {"min_p": 1.0},
        {"typical_p": 1.0, "do_sample": False},
        {"repetition_penalty": 1.0, "temperature": 0.0},
        {"presence_penalty": 0, "frequency_penalty": 0, "temperature": 0, "n": 1, "response_format": {"type": "text"}},
    ],
)
async def test_chat_greedy_options_return_the_likeliest_tokens(tiny: Any, options: dict[str, Any]) -> None:
    greedy = text_of(await collect(tiny, ask("Hello", max_tokens=8, temperature=0)))
    assert text_of(await collect(tiny, ask("Hello", max_tokens=8, **options))) == greedy


@pytest.mark.parametrize("options", [{"presence_penalty": 2}, {"repetition_penalty": 5}, {"no_repeat_ngram_size": 1}])
async def test_chat_penalties_prevent_repetition(tiny: Any, options: dict[str, Any]) -> None:
    plain, varied = [
        text_of(await collect(tiny, ask("Hello", max_tokens=12, temperature=0, **more))) for more in ({}, options)
    ]
    assert len(set(plain)) == 1, "it repeats itself"
    assert varied != plain


@pytest.mark.parametrize(
    ("options", "kind", "words", "hint"),
    [
        ({"temprature": 0}, errors.BadRequest, "no option 'temprature'", "Did you mean temperature?"),
        ({"temperature": "hot"}, errors.BadRequest, "is 'hot', which is not a number", ""),
        ({"temperature": -1}, errors.BadRequest, "at least 0", ""),
        ({"top_p": 0}, errors.BadRequest, "above 0 and at most 1", ""),
        ({"max_tokens": 0}, errors.BadRequest, "at least 1", ""),
        ({"max_tokens": 2.5}, errors.BadRequest, "not an integer", ""),
        ({"stop": [1]}, errors.BadRequest, "not a string or a list of strings", ""),
        ({"do_sample": 1}, errors.BadRequest, "not true or false", ""),
        ({"response_format": {"type": "json_object"}}, errors.Unsupported, "does not support response_format", "vllm"),
        ({"n": 2}, errors.Unsupported, "one response", ""),
        ({"tools": TOOLS}, errors.Unsupported, "no response_template", "response_template="),
        ({"tools": TOOLS, "tool_choice": "required"}, errors.Unsupported, "cannot force a tool call", ""),
    ],
)
async def test_chat_refuses_invalid_requests(
    tiny: Any, options: dict[str, Any], kind: type[errors.ByzerError], words: str, hint: str
) -> None:
    with pytest.raises(kind, match=words) as caught:
        await collect(tiny, ask("Hello", **options))
    assert hint in caught.value.hint


async def test_chat_refuses_images(tiny: Any) -> None:
    parts: list[Any] = [Media(mime="image/png", data=b"x"), {"type": "text", "text": "What is this?"}]
    with pytest.raises(errors.Unsupported, match="accepts text only"):
        await collect(tiny, ChatRequest(messages=[Message("user", parts)]))


async def test_chat_returns_the_error_of_the_template(folder: Path) -> None:
    template = "{% if messages[0].role != 'user' %}{{ raise_exception('The user speaks first.') }}{% endif %}hello"
    backend = await opened(KIND, {"chat_template": template}, model_path=str(folder))
    with pytest.raises(errors.BadRequest, match="rejected the messages: The user speaks first"):
        await collect(backend, ChatRequest(messages=[Message("system", "Be kind.")]))
    await backend.close()


async def test_tools_reach_the_template_and_calls_are_read(folder: Path) -> None:
    from byzer_magic.backends.local.transformers import engine as transformers_engine, params as transformers_params

    (folder.parent / "responses.json").write_text(json.dumps(RESPONSES))
    params = {"response_template": str(folder.parent / "responses.json")}
    backend = await opened(KIND, params, model_path=str(folder))
    assert Capability.TOOLS in backend.capabilities()
    with_tools, without = [
        (await collect(backend, ask("Hello", max_tokens=3, tools=TOOLS, tool_choice=choice)))[-1]
        for choice in ("auto", "none")
    ]
    assert with_tools.usage.prompt_tokens > without.usage.prompt_tokens + 20
    assert with_tools.finish == "length"

    model = backend._model
    generation = transformers_params.generation({}, {"tools": TOOLS})
    prompt = model.tokenizer("<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n")["input_ids"]
    read = transformers_engine.tool_reader(model, prompt, generation)
    text = 'I look.<tool_call>{"name": "weather", "arguments": {"city": "Paris", "days": "2"}}</tool_call>'
    chunk = read([*model.tokenizer(text)["input_ids"], *model.ends], "stop")
    assert chunk is not None
    assert (chunk.text, chunk.finish) == ("I look.", "tool_calls")
    [call] = chunk.tool_calls or []
    assert call["function"]["name"] == "weather"
    assert json.loads(call["function"]["arguments"]) == {"city": "Paris", "days": 2}, "typed by the tool's schema"
    assert read(model.tokenizer('<tool_call>{"name":')["input_ids"], "length") is None, "truncated: its text is kept"
    await backend.close()


async def test_load_a_gguf_file_with_its_own_chat_template() -> None:
    """What transformers makes of a real GGUF file is the model of most tests here: see tests/models/smollm2.py."""
    stages: list[str] = []
    setup = setup_of(TRANSFORMERS, {"temperature": "0"}, model_path=str(qwen2_gguf()))
    backend: Any = await TRANSFORMERS.open(setup, lambda stage, *_: stages.append(stage))
    assert stages[0].startswith("importing torch")
    assert stages[-1] == "model loaded"
    assert f"loading {qwen2_gguf().name}" in stages
    loaded = backend._model.network.state_dict()
    assert all(loaded[name].equal(values) for name, values in expected().items())
    last = (await collect(backend, ask("Hello", max_tokens=2)))[-1]
    written = "<|im_start|>user\nHello<|im_end|>\n<|im_start|>assistant\n"
    assert last.usage.prompt_tokens == len(backend._model.tokenizer(written)["input_ids"])
    await backend.close()


@pytest.mark.parametrize(
    "params",
    [
        {"dtype": "bfloat16", "attn_implementation": "eager"},
        {"dtype": "float16", "backend.device": "cpu"},
        {"torch_dtype": "float32", "device_map": "auto", "max_memory": '{"cpu": "1GiB"}'},
    ],
)
async def test_load_with_parameters(params: dict[str, str]) -> None:
    backend = await opened(KIND, params, model_path=str(tiny_qwen2()), cpus=1.0)
    wanted = params.get("dtype") or params["torch_dtype"]
    assert str(backend._model.network.dtype) == f"torch.{wanted}"
    assert (await collect(backend, ask("Hello", max_tokens=2)))[-1].usage.completion_tokens == 2
    await backend.close()


async def test_chat_uses_the_recommended_options_of_the_model(folder: Path) -> None:
    recommended = {
        "do_sample": True,
        "temperature": 0.6,
        "top_p": 0.9,
        "repetition_penalty": 1.1,
        "eos_token_id": [2, 5],
    }
    (folder / "generation_config.json").write_text(json.dumps(recommended))
    backend = await opened(KIND, {"top_p": "0.5"}, model_path=str(folder))
    assert backend._defaults["temperature"] == 0.6
    assert backend._defaults["top_p"] == 0.5
    assert backend._model.ends == {2, 5}
    assert (await collect(backend, ask("Hello", max_tokens=2)))[-1].finish
    await backend.close()


async def test_open_requires_a_chat_template(folder: Path) -> None:
    (folder / "chat_template.jinja").unlink()
    error = await failure(folder)
    assert "no chat template" in error.message
    assert "chat_template=" in error.hint
    file = folder.parent / "own.jinja"
    file.write_text(TEMPLATE)
    for given in (str(file), TEMPLATE):
        backend = await opened(KIND, {"chat_template": given, "max_tokens": "2"}, model_path=str(folder))
        assert await collect(backend, ask("Hello"))
        await backend.close()
    assert "neither a file" in (await failure(folder, chat_template="/nowhere.jinja")).message


async def test_open_requires_a_tokenizer(folder: Path) -> None:
    for file in (*folder.glob("tokenizer*"), folder / "chat_template.jinja"):
        file.unlink()
    error = await failure(folder)
    assert isinstance(error, errors.BadParameter)
    assert "has no tokenizer" in error.message
    backend = await opened(KIND, {"tokenizer": str(tiny_qwen2()), "max_tokens": "2"}, model_path=str(folder))
    assert await collect(backend, ask("Hello"))
    await backend.close()


async def test_open_refuses_damaged_weights(folder: Path) -> None:
    weights = folder / "model.safetensors"
    complete = weights.read_bytes()
    weights.write_bytes(complete[:-1000])
    assert "its header describes" in (await failure(folder)).message
    weights.write_bytes(complete)
    change(folder, hidden_size=128)
    error = await failure(folder)
    assert isinstance(error, errors.EngineFailed)
    assert "inconsistent" in error.message
    assert "has the shape [2000, 64], but config.json implies [2000, 128]" in error.message


async def test_check_refuses_missing_weights(folder: Path) -> None:
    change(folder, tie_word_embeddings=False)
    error = await failure(folder)
    assert "would be random: lm_head.weight" in error.message


async def test_architectures(folder: Path) -> None:
    change(folder, architectures=["BertForMaskedLM"])
    assert "a BertForMaskedLM, which does not generate text" in (await failure(folder)).message
    change(folder, architectures=["FrobnicateForCausalLM"], model_type="frobnicate")
    error = await failure(folder)
    assert isinstance(error, errors.EngineFailed)
    assert "architecture is not supported" in error.message
    change(folder, architectures=["T5ForConditionalGeneration"], model_type="t5")
    assert "architecture is not supported" in (await failure(folder)).message
    (folder / "modules.json").write_text("[]")
    error = await failure(folder)
    assert "not a text generation model" in error.message
    assert "custom/bge" in error.hint


async def test_code_of_the_model_runs_only_when_it_is_trusted(folder: Path) -> None:
    mark = folder.parent / "ran"
    (folder / "own.py").write_text(
        f"import pathlib\npathlib.Path({str(mark)!r}).touch()\n"
        "from transformers import Qwen2Config, Qwen2ForCausalLM\n"
        "class OwnConfig(Qwen2Config):\n    model_type = 'own'\n"
        "class OwnForCausalLM(Qwen2ForCausalLM):\n    config_class = OwnConfig\n"
    )
    names = {"AutoConfig": "own.OwnConfig", "AutoModelForCausalLM": "own.OwnForCausalLM"}
    change(folder, model_type="own", architectures=["OwnForCausalLM"], auto_map=names)
    error = await failure(folder)
    assert "its own code" in error.message
    assert "trust_remote_code=true" in error.hint
    assert not mark.exists()
    backend = await opened(KIND, {"backend.trust_remote_code": "true", "max_tokens": "2"}, model_path=str(folder))
    assert mark.exists()
    assert await collect(backend, ask("Hello"))
    await backend.close()


@pytest.mark.parametrize(
    ("params", "words", "hint"),
    [
        ({"quantization": "4bit"}, "needs the package bitsandbytes", "pip install bitsandbytes"),
        ({"quantization": "8bit", "quantization_config": "{}"}, "exclude each other", ""),
        ({"quantization": "3bit"}, "not one of 4bit, 8bit", ""),
        ({"quantization_config": '{"bits": 4}'}, "has no quant_method", ""),
        ({"quantization_config": '{"quant_method": "hqq"}'}, "needs the package hqq", "pip install hqq"),
        ({"quantization_config": '{"quant_method": "magic"}'}, "rejected quantization_config: .* got magic", ""),
        ({"dtype": "int3"}, "not one of auto, float32", ""),
        ({"device": "cuda:0"}, "torch cannot use here", "leave it out"),
        ({"device": "toaster"}, "torch cannot use here", ""),
        ({"device": "cpu", "device_map": "auto"}, "exclude each other", ""),
        ({"max_memory": '{"cpu": "1GiB"}'}, "no effect without device_map", ""),
        ({"attn_implementation": "psychic"}, "rejected attn_implementation", ""),
        ({"max_model_len": "4096"}, "supports 2,048 tokens", "at most 2048"),
        ({"temperature": "-1"}, "at least 0", ""),
        ({"adapter": "/nowhere/at/all"}, "is not a folder", ""),
        ({"response_template": "{"}, "not valid JSON", ""),
        ({"trust_remote_cod": "true"}, "no parameter 'trust_remote_cod'", "trust_remote_code"),
    ],
)
async def test_check_refuses_parameters_that_cannot_work(params: dict[str, str], words: str, hint: str) -> None:
    with pytest.raises(errors.ByzerError, match=words) as caught:
        await (await opened(KIND, params, model_path=str(tiny_qwen2()))).close()
    print(caught.value)
    assert hint in caught.value.hint


async def test_open_generates_a_token_before_the_first_user_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = importlib.import_module("byzer_magic.backends.local.transformers.engine")
    calls: list[int] = []
    run = engine.run
    monkeypatch.setattr(engine, "run", lambda model, call, watch: (calls.append(call["most"]), run(model, call, watch)))
    backend = await opened(KIND, {}, model_path=str(tiny_qwen2()))
    await backend.close()
    assert calls == [1]


async def test_check_names_a_gpu_that_torch_cannot_use() -> None:
    with pytest.raises(errors.EngineFailed, match="has 1 GPUs, but torch"):
        await opened(KIND, {}, model_path=str(tiny_qwen2()), gpus=1.0)


async def test_close_cancels_running_and_queued_requests() -> None:
    backend = await opened(KIND, {"temperature": "0"}, model_path=str(tiny_qwen2()))
    tasks = [asyncio.create_task(collect(backend, ask("Hello"))) for _ in range(2)]
    while not backend._batches.running:
        await asyncio.sleep(0.01)
    await backend.close()
    for task in tasks:
        with pytest.raises(errors.StreamTruncated, match="before the response was complete"):
            await task

"""`ByzerLLM`: what its calls send and return, with models that answer by a function."""

from __future__ import annotations

import asyncio
import base64
import json
from typing import Annotated, Any

import pydantic
import pytest

from byzer_magic.client import current
from byzer_magic.compat.functions import asyncfy_with_semaphore, get_llm_names, get_single_llm
from byzer_magic.compat.llm import ByzerLLM, SimpleByzerLLM
from byzer_magic.compat.responses import EventName, InferBackend, LLMHistoryItem, LLMRequest, LLMResponse, Templates
from byzer_magic.compat.tags import Image
from byzer_magic.errors import CommandError, RateLimited
from byzer_magic.types import ChatChunk, EmbeddingBatch, ImageItem, Media, Ranking, SpeakRequest
from tests.answering import Answering, called

PNG = "data:image/png;base64," + base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(20)).decode()
IMAGE_URL = {"type": "image_url", "image_url": {"url": f"<_image_>{PNG}</_image_>"}}
SAY = [{"role": "user", "content": "hello"}]


@pytest.fixture
def manager(monkeypatch: pytest.MonkeyPatch) -> Answering:
    return managed(monkeypatch, lambda request: f"Echo: {request.messages[-1].content}")


def managed(monkeypatch: pytest.MonkeyPatch, *answers: Any, capabilities: tuple[str, ...] = ("chat",)) -> Answering:
    manager = Answering(*answers, capabilities=capabilities)
    monkeypatch.setattr(current, "current_manager", lambda: manager)
    return manager


def llm() -> ByzerLLM:
    return ByzerLLM.from_default_model("m")


def test_chat_oai_returns_one_response_with_byzer_llms_fields(manager: Answering) -> None:
    [response] = llm().chat_oai(conversations=[{"role": "system", "content": "Short."}, *SAY])
    assert isinstance(response, LLMResponse)
    assert response.output == "Echo: hello"
    assert response.input == {"instruction": "hello", "history": [{"role": "system", "content": "Short."}]}
    assert response.metadata["input_tokens_count"] == 7
    assert response.metadata["generated_tokens_count"] == 2
    assert response.metadata["finish_reason"] == "stop"
    assert response.metadata["reasoning_content"] == ""


def test_chat_oai_takes_a_text_and_another_model(manager: Answering) -> None:
    assert ByzerLLM().chat_oai("你好", model="other")[0].output == "Echo: 你好"
    with pytest.raises(CommandError, match="no model"):
        ByzerLLM().chat_oai("hello")


@pytest.mark.parametrize(
    ("config", "options"),
    [
        ({"max_length": 10, "temperature": 0.1, "top_p": 0.9}, {"max_tokens": 10, "temperature": 0.1, "top_p": 0.9}),
        ({"gen.stop": '["a", "b"]', "generation.seed": 3}, {"stop": ["a", "b"], "seed": 3}),
        ({"gen.stop": "x", "generation.stream": True, "gen.request_id": "r"}, {"stop": "x"}),
        ({"temperature": None}, {}),
        ({"human_as_model": False, "my_own": 1, "seed": 3, "gen.top_a": 2}, {"seed": 3, "top_a": 2}),
    ],
)
def test_llm_config_becomes_fields_of_the_request(manager: Answering, config: dict[str, Any], options: Any) -> None:
    llm().chat_oai(SAY, llm_config=config)
    assert manager.requests[0].options == options


def test_settings_of_a_model_go_with_each_request(manager: Answering) -> None:
    client = llm().setup_extra_generation_params("m", {"temperature": 0.5}).setup_max_output_length("m", 9)
    client.chat_oai(SAY, llm_config={"temperature": 0}, extra_request_params={"user": "u"})
    assert manager.requests[0].options == {"temperature": 0, "max_tokens": 9, "extra_body": {"user": "u"}}


def test_adapter_of_a_request_goes_with_it(manager: Answering) -> None:
    llm().chat_oai(SAY, llm_config={"adapter_name_or_path": "/lora", "lora_name": "a", "lora_int_id": 1})
    assert manager.requests[0].options == {"lora": {"name": "a", "path": "/lora"}}


def test_fields_of_byzer_llms_own_are_not_sent(manager: Answering) -> None:
    llm().chat_oai([{"role": "user", "content": "hi", "metadata": {"x": 1}}])
    assert manager.texts() == [("user", "hi")]
    llm().chat_oai([LLMHistoryItem("system", "Short."), LLMHistoryItem("user", "hi")])
    assert manager.texts() == [("system", "Short."), ("user", "hi")]


@pytest.mark.parametrize(
    "content",
    [
        json.dumps([{"image": PNG}, {"text": "what?"}]),
        json.dumps([{"image": f"<_image_>{PNG}</_image_>", "text": "what?"}]),
        json.dumps([IMAGE_URL, {"type": "text", "text": "what?"}]),
        f"<_image_>{PNG}</_image_>\nwhat?",
    ],
)  # fmt: skip
def test_images_in_prompts_become_parts(manager: Answering, content: str) -> None:
    llm().chat_oai([{"role": "user", "content": content}])
    [(_role, parts)] = manager.texts()
    image, text = parts
    assert isinstance(image, Media)
    assert image.data.startswith(b"\x89PNG")
    assert text["text"] == "what?"


def test_image_of_the_settings_goes_with_the_last_message(manager: Answering) -> None:
    for image in (PNG, PNG.partition(",")[2]):
        llm().chat_oai(SAY, llm_config={"image": image})
        [(_role, (part, text))] = manager.texts()
        assert isinstance(part, Media)
        assert part.data.startswith(b"\x89PNG")
        assert text["text"] == "hello"
        assert manager.requests[-1].options == {}


def test_tags_stay_text_where_the_client_says_so_and_around_paths(manager: Answering, tmp_path: Any) -> None:
    path = tmp_path / "x.png"
    path.write_bytes(base64.b64decode(PNG.partition(",")[2]))
    llm().chat_oai(f"<_image_>{path}</_image_>")
    assert manager.texts()[0][1] == f"<_image_>{path}</_image_>"
    client = llm()
    client.skip_nontext_check = True
    client.chat_oai(Image.load_image_from_path(str(path)))
    assert manager.texts()[0][1].startswith("<_image_>data:image/png")


def test_stream_yields_the_response_so_far_or_what_is_new(manager: Answering) -> None:
    texts = [text for text, _known in llm().stream_chat_oai(SAY)]
    assert texts == ["Echo: ", "Echo: hello", "Echo: hello"]
    pairs = list(llm().stream_chat_oai(conversations=SAY, delta_mode=True))
    assert [text for text, _known in pairs] == ["Echo: ", "hello", ""]
    assert (pairs[-1][1].generated_tokens_count, pairs[-1][1].finish_reason) == (2, "stop")


def test_stream_has_reasoning_in_the_metadata(monkeypatch: pytest.MonkeyPatch) -> None:
    managed(monkeypatch, [ChatChunk(reasoning="Let me"), ChatChunk(reasoning=" see."), ChatChunk("42", finish="stop")])
    found = [known.reasoning_content for _text, known in llm().stream_chat_oai(SAY, delta_mode=True)]
    assert found == ["Let me", " see.", ""]
    assert [known.reasoning_content for _text, known in llm().stream_chat_oai(SAY)][-1] == "Let me see."
    assert llm().chat_oai(SAY)[0].metadata["reasoning_content"] == "Let me see."


async def test_async_stream_yields_the_same(manager: Answering) -> None:
    found = [text async for text, _known in llm().async_stream_chat_oai(SAY, delta_mode=True)]
    assert found == ["Echo: ", "hello", ""]


def test_models_without_chat_return_what_they_make(monkeypatch: pytest.MonkeyPatch) -> None:
    manager = managed(monkeypatch, [ImageItem("image/png", b"png")], capabilities=("image",))
    [response] = llm().chat_oai([{"role": "user", "content": json.dumps({"input": "a cat", "size": "1024x1024"})}])
    assert base64.b64decode(response.output) == b"png"
    assert manager.requests[0].options == {"size": "1024x1024"}
    managed(monkeypatch, [], capabilities=("speak",))
    assert llm().chat_oai("hello")[0].output == ""
    assert isinstance(current.current_manager().requests[0], SpeakRequest)  # type: ignore[attr-defined]


def test_errors_are_byzer_magics(monkeypatch: pytest.MonkeyPatch) -> None:
    managed(monkeypatch, RateLimited("Too many requests."))
    with pytest.raises(RateLimited):
        llm().chat_oai(SAY)


# ---- typed responses and tools


class Time(pydantic.BaseModel):
    time: str


def test_response_class_returns_a_value_or_why_not(monkeypatch: pytest.MonkeyPatch) -> None:
    managed(monkeypatch, '{"time": "now"}')
    assert llm().chat_oai(SAY, response_class=Time)[0].value == Time(time="now")
    managed(monkeypatch, "no")
    [answer] = llm().chat_oai(SAY, response_class=Time)
    assert answer.value is None
    assert answer.response.output == "no"
    assert "not respond with a valid Time" in answer.metadata["reason"]


def test_impl_asks_for_what_the_function_returns_and_runs_no_code(monkeypatch: pytest.MonkeyPatch) -> None:
    manager = managed(monkeypatch, '{"time": "2024-06-14"}')

    @llm().impl()
    def current_time(zone: str = "UTC") -> Time:  # type: ignore[empty-body]
        """Return the current time."""

    assert current_time("CET") == Time(time="2024-06-14")
    told = manager.texts()[0][1]
    assert "current_time(zone" in told
    assert "Return the current time." in told
    assert "'CET'" in told


def test_impl_func_is_the_response_or_the_value(monkeypatch: pytest.MonkeyPatch) -> None:
    def current_time() -> "Time":  # type: ignore[empty-body]  # noqa: UP037 - a text, as in modules of their own
        """Return the current time."""

    managed(monkeypatch, '{"time": "noon"}')
    assert llm().chat_oai(SAY, impl_func=current_time)[0].output == '{"time": "noon"}'
    assert llm().chat_oai(SAY, impl_func=current_time, execute_impl_func=True)[0].value == Time(time="noon")


def test_response_decorator_reads_its_argument(monkeypatch: pytest.MonkeyPatch) -> None:
    managed(monkeypatch, '{"time": "noon"}')

    @llm().response()
    def when(text: str) -> Time:  # type: ignore[empty-body]
        """Not used."""

    assert when("It is noon.") == Time(time="noon")


def add(a: Annotated[int, "first"], b: Annotated[int, "second", {"enum": [1, 2]}] = 2) -> int:
    """Add."""
    return a + b


def test_tools_are_called_and_their_values_returned(monkeypatch: pytest.MonkeyPatch) -> None:
    manager = managed(monkeypatch, called("add", '{"a": 1}'))
    [answer] = llm().chat_oai([{"content": "1 + 2", "role": "user"}], tools=[add], execute_tool=True)
    assert answer.values == [3]
    assert answer.metadata["selected_functions"] == ["add"]
    schema = manager.requests[0].options["tools"][0]["function"]["parameters"]
    assert schema["properties"]["b"]["enum"] == [1, 2]
    [answer] = llm().chat_oai(SAY, tools=[add], tool_choice=add)
    assert json.loads(answer.output)["tool_calls"][0]["function"] == {"name": "add", "arguments": {"a": 1}}
    assert manager.requests[-1].options["tool_choice"] == {"type": "function", "function": {"name": "add"}}


@pytest.mark.parametrize(
    ("answer", "reason"),
    [("no", "called no function"), (called("add", "{}"), "ValidationError"), (called("sub", "{}"), "")],
)
def test_tools_that_cannot_be_called_say_why(monkeypatch: pytest.MonkeyPatch, answer: Any, reason: str) -> None:
    managed(monkeypatch, answer)
    [found] = llm().chat_oai(SAY, tools=[add], execute_tool=True)
    assert found.values == []
    assert reason in found.metadata["reason"]


def test_further_arguments_are_hidden_from_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    def search(query: str, key: str) -> str:
        """Search."""
        return f"{query} {key}"

    manager = managed(monkeypatch, called("search", '{"query": "x"}'))
    [answer] = llm().chat_oai(SAY, tools=[search, add], func_params={"key": "123"}, execute_tool=True)
    assert answer.values == ["x 123"]
    assert "key" not in manager.requests[0].options["tools"][0]["function"]["parameters"]["properties"]


def test_coroutine_functions_are_awaited(monkeypatch: pytest.MonkeyPatch) -> None:
    async def now() -> str:
        """Return the time."""
        return "noon"

    managed(monkeypatch, called("now", "{}"))
    assert llm().chat_oai(SAY, tools=[now], execute_tool=True)[0].values == ["noon"]


def test_arguments_that_are_no_json_stay_a_text(monkeypatch: pytest.MonkeyPatch) -> None:
    managed(monkeypatch, called("add", '{"a": 1'))
    [found] = llm().chat_oai(SAY, tools=[add])
    assert json.loads(found.output)["tool_calls"][0]["function"]["arguments"] == '{"a": 1'


def test_tools_and_a_class_do_not_go_together(manager: Answering) -> None:
    with pytest.raises(CommandError, match="do not go together"):
        llm().chat_oai(SAY, tools=[add], response_class=Time)


# ---- embeddings


def test_embeddings_are_lists_of_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    manager = managed(
        monkeypatch, lambda request: [EmbeddingBatch(0, 2, bytes(8) * len(request.texts))], capabilities=("embed",)
    )
    client = ByzerLLM().setup_default_emb_model_name("emb")
    assert client.emb_query("text")[0].output == [0.0, 0.0]
    found = client.emb(None, LLMRequest(["one", "two"]))
    assert [each.output for each in found] == [[0.0, 0.0]] * 2
    assert client.emb("other", ["three"])[0].input == {"instruction": "three"}
    assert [request.texts for request in manager.requests] == [["text"], ["one", "two"], ["three"]]


def test_rerank_returns_pairs_with_scores(monkeypatch: pytest.MonkeyPatch) -> None:
    managed(monkeypatch, lambda _request: [Ranking([(1, 0.9), (0, 0.1)])], capabilities=("rerank",))
    client = ByzerLLM().setup_default_re_rank_model_name("r")
    [found] = client.emb_rerank(sentence_pairs=[("sky", "grass"), ("sky", "blue")])
    assert found.output == [[["sky", "blue"], 0.9], [["sky", "grass"], 0.1]]
    managed(monkeypatch, [Ranking([(0, 0.5)])], capabilities=("rerank",))
    for pair in (("sky", "blue"), ["sky", "blue"]):
        assert client.emb_rerank(sentence_pairs=pair)[0].output == [["sky", "blue"], 0.5]
    with pytest.raises(CommandError):
        client.emb_rerank()


# ---- the rest


def test_setters_chain_and_those_without_meaning_do_nothing() -> None:
    client = (
        ByzerLLM()
        .setup_num_workers(2)
        .setup_gpus_per_worker(1)
        .setup_infer_backend(InferBackend.VLLM)
        .setup_template("m", Templates.qwen())
        .setup_template(model="m", template="auto")
        .setup_role_mapping("m", {})
    )
    assert client.sys_conf == {"maxConcurrency": 2, "num_gpus": 1, "infer_backend": "ray/vllm"}
    with pytest.raises(AttributeError):
        client.setup_nothing()  # type: ignore[operator]


def test_callbacks_see_requests_and_may_answer(manager: Answering) -> None:
    seen: list[Any] = []
    client = llm()
    client.add_event_callback(EventName.BEFORE_CALL_MODEL, lambda _llm, model, sent: (True, seen.append((model, sent))))
    client.add_event_callback(EventName.AFTER_CALL_MODEL, lambda _llm, _model, got: (False, [{"predict": "mine"}]))
    assert client.chat_oai(SAY)[0].output == "mine"
    assert seen == [("m", [{"instruction": "hello", "history": []}])]
    client.chat_oai(SAY, llm_config={"my_own": True})
    assert seen[1] == ("m", [{"instruction": "hello", "history": [], "my_own": True}])
    client.add_event_callback(
        EventName.BEFORE_CALL_MODEL, lambda *_args: (False, [{"predict": "cached", "input": "x"}])
    )
    assert client.chat_oai(SAY)[0].output == "cached"
    assert len(manager.requests) == 2


def test_callbacks_may_change_what_is_sent(manager: Answering) -> None:
    def redact(_llm: Any, _model: str, items: list[dict[str, Any]]) -> tuple[bool, None]:
        items[0]["instruction"] = items[0]["instruction"].replace("Ann", "NAME")
        items[0]["history"] = []
        return True, None

    client = llm()
    client.add_event_callback(EventName.BEFORE_CALL_MODEL, redact)
    conversation = [{"role": "system", "content": "You know Ann."}, {"role": "user", "content": "Who is Ann?"}]
    assert client.chat_oai(conversation)[0].input["instruction"] == "Who is NAME?"
    assert list(client.stream_chat_oai(conversation))[-1][0] == "Echo: Who is NAME?"
    assert [manager.texts(number) for number in (0, 1)] == [[("user", "Who is NAME?")]] * 2
    assert len(conversation) == 2


def test_callbacks_see_streams_and_may_answer_before(manager: Answering) -> None:
    seen: list[Any] = []
    client = llm()
    client.add_event_callback(EventName.BEFORE_CALL_MODEL, lambda _llm, _model, sent: (True, seen.append(sent)))
    client.add_event_callback(EventName.AFTER_CALL_MODEL, lambda _llm, _model, got: (True, seen.append(got)))
    text = "".join(text for text, _meta in client.stream_chat_oai(SAY, delta_mode=True))
    assert seen[0] == [{"instruction": "hello", "history": []}]
    assert seen[1][0]["predict"] == text
    client.add_event_callback(
        EventName.BEFORE_CALL_MODEL,
        lambda *_args: (False, [{"predict": "cached", "metadata": {"input_tokens_count": 3, "speed": 1.0}}]),
    )
    [(text, meta)] = client.stream_chat_oai(SAY)
    assert (text, meta.input_tokens_count) == ("cached", 3)
    assert len(manager.requests) == 1


async def test_callbacks_see_asynchronous_streams(manager: Answering) -> None:
    seen: list[Any] = []
    client = llm()
    client.add_event_callback(EventName.BEFORE_CALL_MODEL, lambda _llm, _model, sent: (True, seen.append(sent)))
    client.add_event_callback(EventName.AFTER_CALL_MODEL, lambda _llm, _model, got: (True, seen.append(got)))
    found = [text async for text, _meta in client.async_stream_chat_oai(SAY)]
    assert seen[1][0]["predict"] == found[-1]
    client.add_event_callback(EventName.BEFORE_CALL_MODEL, lambda *_args: (False, [{"predict": "cached"}]))
    assert [text async for text, _meta in client.async_stream_chat_oai(SAY)] == ["cached"]


def test_what_a_callback_answers_is_read_as_the_class(monkeypatch: pytest.MonkeyPatch) -> None:
    managed(monkeypatch, '{"time": "09:00"}')
    client = llm()
    client.add_event_callback(EventName.AFTER_CALL_MODEL, lambda *_args: (False, [{"predict": '{"time": "10:00"}'}]))
    assert client.chat_oai(SAY, response_class=Time)[0].value == Time(time="10:00")
    client.add_event_callback(EventName.BEFORE_CALL_MODEL, lambda *_args: (False, [{"predict": "no"}]))
    [found] = client.chat_oai(SAY, response_class=Time)
    assert found.value is None
    assert found.response.output == "no"
    assert "valid Time" in found.metadata["reason"]


def test_chat_sends_the_settings_of_a_request_that_were_changed(manager: Answering) -> None:
    llm().chat(None, LLMRequest("hello"))
    llm().chat(None, LLMRequest("hello", max_length=10, temperature=0.5), {"temperature": 0.7})
    assert [request.options for request in manager.requests] == [{}, {"max_tokens": 10, "temperature": 0.7}]


def test_meta_and_metadata_name_the_model(manager: Answering) -> None:
    meta = llm().get_meta("m")
    assert (meta["model_name"], meta["model_deploy_type"], meta["support_stream"]) == ("gpt-4o", "saas", True)
    assert llm().metadata.is_chat_model
    assert llm().require_template("m") is False


def test_sub_clients_are_kept_by_name() -> None:
    client = llm()
    assert client.setup_sub_client("code", [llm(), llm()]).get_sub_client("none") is None
    assert get_llm_names(client, "code") == ["m", "m"]
    assert get_llm_names(client) == ["m"]
    assert get_llm_names(client.remove_sub_client("code"), "code") == ["m"]
    assert get_single_llm("a,b", "lite").default_model_name == "a"
    assert SimpleByzerLLM().default_model_name == "deepseek_chat"


async def test_asyncfy_runs_in_a_thread() -> None:
    assert await asyncfy_with_semaphore(lambda number: number + 1)(1) == 2

    async def twice(number: int) -> int:
        return number * 2

    assert await asyncfy_with_semaphore(twice, asyncio.Semaphore(1), timeout=60)(2) == 4

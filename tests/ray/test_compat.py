"""byzer-llm's Python API on a real Ray: deployed, asked and removed by code written for byzer-llm."""

from __future__ import annotations

import base64
import enum
import json
import time
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pydantic
import pytest

import byzer_magic as bz
from byzer_magic import compat
from byzer_magic.client.manager import Manager
from byzer_magic.errors import BadParameter
from tests.conftest import KEY
from tests.servers.process import Process

pytestmark = pytest.mark.ray

MODELS = {
    "deepseek_chat": "gpt-4o",
    "emb": "text-embedding-3-small",
    "rerank": "bge-reranker-v2-m3",
    "voice": "tts-1",
    "draw": "dall-e-3",
}
THREADS = 800
PROMPTS = 5_000


@pytest.fixture(scope="module")
def byzerllm(cluster: Manager, provider: Process) -> Iterator[Any]:
    """The module, with models that its own client has deployed."""
    compat.install()
    import byzerllm

    byzerllm.connect_cluster()
    llm = byzerllm.ByzerLLM().setup_num_workers(1).setup_worker_concurrency(64).setup_cpus_per_worker(0.001)
    for alias, model in MODELS.items():
        params = {"saas.base_url": f"{provider.url}/v1", "saas.api_key": KEY, "saas.model": model}
        llm.deploy(model_path="", pretrained_model_type="saas/openai", udf_name=alias, infer_params=params)
    yield byzerllm
    for alias in MODELS:
        llm.undeploy(alias)
    compat.uninstall()


class Story(pydantic.BaseModel):
    title: str


class Ages(pydantic.BaseModel):
    ann: int
    bob: int
    cyd: int


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


def test_deploy_replaces_and_undeploy_removes(byzerllm: Any, provider: Process) -> None:
    llm = byzerllm.SimpleByzerLLM()
    params = {"saas.base_url": f"{provider.url}/v1", "saas.api_key": KEY, "saas.model": "gpt-4o"}
    for _again in range(2):
        assert llm.deploy("", "saas/reasoning_openai", "other", params) == {"model": "other", "status": "deployed"}
    assert llm.is_model_exist("other")
    assert llm.get_meta("other")["model_deploy_type"] == "saas"
    llm.undeploy("other")
    llm.undeploy("other")
    assert not llm.is_model_exist("other")
    with pytest.raises(BadParameter):
        llm.deploy("", "saas/openai", "other", {"saas.modle": "gpt-4o"})


def test_client_chats_and_streams(byzerllm: Any) -> None:
    llm = byzerllm.ByzerLLM.from_default_model("deepseek_chat")
    [response] = llm.chat_oai(conversations=[{"role": "user", "content": "think:Hm. say:42"}])
    assert response.output == "Echo: "
    assert response.metadata["reasoning_content"] == "Hm. say:42"
    pairs = list(llm.stream_chat_oai(conversations=[{"role": "user", "content": "say:one two"}], delta_mode=True))
    assert "".join(text for text, _known in pairs) == "one two"
    assert pairs[-1][1].generated_tokens_count == 2


def test_other_capabilities_answer_chat_oai(byzerllm: Any) -> None:
    llm = byzerllm.ByzerLLM()
    image = llm.chat_oai([{"role": "user", "content": json.dumps({"input": "a cat"})}], model="draw")[0].output
    assert base64.b64decode(image).startswith(b"\x89PNG")
    prompt = json.dumps({"input": "hello", "voice": "alloy", "response_format": "wav"})
    audio = llm.chat_oai([{"role": "user", "content": prompt}], model="voice")[0].output
    assert base64.b64decode(audio).startswith(b"RIFF")
    pieces = [data for data, _known in llm.stream_chat_oai([{"role": "user", "content": prompt}], model="voice")]
    assert b"".join(pieces).startswith(b"RIFF")
    assert len(llm.emb_query("text", model="emb")[0].output) > 2
    ranked = llm.emb_rerank(model="rerank", sentence_pairs=[("sky", "grass"), ("sky", "the sky")])[0].output
    assert {tuple(pair) for pair, _score in ranked} == {("sky", "grass"), ("sky", "the sky")}


def test_small_local_model_writes_values_by_its_grammar(byzerllm: Any, gguf: Path) -> None:
    """A model of 135 million parameters does not write such JSON on its own: llama.cpp's grammar makes it."""
    llm = byzerllm.ByzerLLM().setup_infer_backend("llama_cpp")
    params = {"driver": "xllamacpp", "n_threads": 1, "n_ctx": 1024, "temperature": 0}
    llm.deploy(str(gguf), "custom/llama2", "small", params)
    ages = bz.model("small").chat("How old are Ann, Bob and Cyd?", schema=Ages, max_tokens=60)
    assert isinstance(ages, Ages)

    @bz.prompt("small", max_tokens=60)
    def colour(thing: str) -> Colour:
        """Which colour does {{ thing }} have?"""

    assert colour("the sky") in Colour
    llm.undeploy("small")


def test_prompt_functions_return_texts_streams_and_values(byzerllm: Any) -> None:
    @byzerllm.prompt("deepseek_chat")
    def hello(name: str) -> str:
        """你好, {{ name }}"""

    @byzerllm.prompt(llm="deepseek_chat")
    def count() -> Generator[str, None, None]:
        """say:one two"""

    @byzerllm.prompt(llm="deepseek_chat")
    def story(title: str) -> Story:
        """say:{"title": "{{ title }}"}"""

    assert hello("Ann") == "Echo: 你好, Ann"
    assert "".join(count()) == "one two"
    assert story("Snow") == Story(title="Snow")


def test_800_threads_send_5000_prompts_and_each_gets_its_own_response(byzerllm: Any) -> None:
    @byzerllm.prompt()
    def hello(name: str) -> str:
        """Hello, {{ name }}."""

    def ask(number: int) -> str:
        llm = byzerllm.ByzerLLM()
        llm.setup_default_model_name("deepseek_chat")
        return str(hello.with_llm(llm).run(name=f"caller {number}"))

    started = time.monotonic()
    with ThreadPoolExecutor(THREADS) as pool:
        results = list(pool.map(ask, range(PROMPTS)))
    print(f"{PROMPTS} prompts in {time.monotonic() - started:.1f} s")
    assert results == [f"Echo: Hello, caller {number}." for number in range(PROMPTS)]

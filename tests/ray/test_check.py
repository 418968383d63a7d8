"""`deploy --check`: a deployment is ready once its model has answered, and is not there where it does not."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

import byzer_magic as bz
from byzer_magic import errors
from byzer_magic.client.manager import Manager
from byzer_magic.types import Event, Loading, Placed, Ready
from tests.conftest import KEY, Shell, alive
from tests.ray.test_deploy import deploy, llama, saas
from tests.servers.process import Process, received
from tests.waiting import eventually

pytestmark = pytest.mark.ray

WRONG = "sk-wrong-key-1234567890"


def sent(provider: Process) -> int:
    """Return how many requests a provider has received."""
    return received(provider)


def check_of(events: list[Event]) -> str:
    ready = events[-1]
    assert isinstance(ready, Ready)
    return str(ready.check)


@pytest.mark.parametrize("model", ["gpt-4o", "text-embedding-3-small", "tts-1", "whisper-1"])
def test_check_asks_the_provider_for_the_smallest_answer(model: str, manager: Manager, provider: Process) -> None:
    before = sent(provider)
    events = deploy(manager, saas(provider, infer_params={"saas.model": model}, check=True))
    assert check_of(events).startswith("check passed in")
    assert any(isinstance(event, Loading) and "checking" in event.stage for event in events)
    assert sent(provider) == before + 1


def test_check_generates_no_image(manager: Manager, provider: Process) -> None:
    before = sent(provider)
    assert "costs money" in check_of(
        deploy(manager, saas(provider, infer_params={"saas.model": "dall-e-3"}, check=True))
    )
    assert sent(provider) == before


def test_deploy_without_check_asks_nothing(manager: Manager, provider: Process) -> None:
    before = sent(provider)
    assert check_of(deploy(manager, saas(provider))) == ""
    assert sent(provider) == before


@pytest.mark.parametrize(
    ("params", "error", "reason"),
    [
        ({"saas.api_key": WRONG}, errors.AuthenticationFailed, "401"),
        ({"saas.model": "gpt-nonsense"}, errors.ProviderError, "gpt-nonsense"),
        (
            {"saas.base_url": "http://127.0.0.1:9/v1", "saas.max_retries": "0"},
            errors.ProviderUnavailable,
            "127.0.0.1:9",
        ),
    ],
)
def test_failed_check_leaves_nothing(
    params: dict[str, str], error: type[errors.ByzerError], reason: str, manager: Manager, provider: Process
) -> None:
    with pytest.raises(error) as caught:
        deploy(manager, saas(provider, infer_params=params, check=True))
    assert reason in str(caught.value)
    assert "m is not deployed: the check failed." in caught.value.hint
    assert WRONG not in str(caught.value)
    assert manager.run(manager.aliases()) == []


def test_url_without_its_path_fails_the_check(manager: Manager, provider: Process) -> None:
    with pytest.raises(errors.ByzerError) as caught:
        deploy(manager, saas(provider, infer_params={"saas.base_url": provider.url}, check=True))
    assert "the check failed" in caught.value.hint
    assert manager.run(manager.aliases()) == []


def test_failed_check_leaves_the_deployment_that_it_should_replace(manager: Manager, provider: Process) -> None:
    deploy(manager, saas(provider))
    before = sent(provider)
    with pytest.raises(errors.AuthenticationFailed) as caught:
        deploy(manager, saas(provider, infer_params={"saas.api_key": WRONG}, check=True, replace=True))
    assert "m stays as it is: the check failed." in caught.value.hint
    assert sent(provider) == before + 1
    assert bz.model("m").chat("hello").text == "Echo: hello"
    assert check_of(deploy(manager, saas(provider, num_workers=2, check=True, replace=True)))
    assert sent(provider) == before + 3
    assert len(bz.model("m").stat().workers) == 2


def test_check_asks_each_worker_of_a_local_engine(manager: Manager, gguf: Path) -> None:
    assert check_of(deploy(manager, llama(gguf, num_workers=2, check=True))).startswith("check passed")
    assert bz.model("l").chat("hi", max_tokens=2).text
    assert bz.model("l").stat().traits == ["engine", "in_cluster", "json_mode"]


def test_failed_local_deployment_leaves_the_one_it_was_to_replace(
    manager: Manager, provider: Process, gguf: Path, tmp_path: Path
) -> None:
    (odd := tmp_path / "odd.gguf").write_bytes(gguf.read_bytes().replace(b"llama.block_count", b"llama.block_coast", 1))
    deploy(manager, saas(provider, "l"))
    with pytest.raises(errors.EngineFailed, match="block_count"):
        deploy(manager, llama(odd, check=True, replace=True))
    assert manager.run(manager.stat("l")).kind == "saas/openai"


@pytest.fixture
def silent() -> Iterator[str]:
    """The URL of a server that accepts connections, and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}/v1"


def test_interrupted_check_leaves_nothing(manager: Manager, provider: Process, silent: str) -> None:
    spec = saas(provider, infer_params={"saas.base_url": silent}, check=True)
    events = manager.iterate(manager.deploy(manager.plan(spec)))
    pid = 0
    for event in events:
        if isinstance(event, Placed):
            pid = event.pid
        if isinstance(event, Loading) and "checking" in event.stage:
            break
    events.close()  # type: ignore[attr-defined]  # a generator; Ctrl-C ends here too
    assert manager.run(manager.aliases()) == []
    assert eventually(lambda: not alive(pid))


def easy(shell: Shell, provider: Process, *words: str) -> subprocess.CompletedProcess[str]:
    where = ("--base_url", f"{provider.url}/v1", "--alias", "m")
    return shell("deploy", "deepseek-chat", *where, *words, easy=True)


def test_easy_deploy_checks_unless_told_otherwise(manager: Manager, provider: Process, shell: Shell) -> None:
    wrong = easy(shell, provider, "--token", WRONG)
    assert wrong.returncode != 0
    assert "401" in wrong.stderr
    assert WRONG not in wrong.stderr
    assert manager.run(manager.aliases()) == []
    assert easy(shell, provider, "--token", WRONG, "--no_check").returncode == 0
    right = easy(shell, provider, "--token", KEY, "--replace")
    assert (right.returncode, "check passed in" in right.stderr) == (0, True), right.stderr

"""A worker on a node where the model is not: it is fetched there, the same commit and the same file."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from byzer_magic.client import fetching
from byzer_magic.client.manager import Manager
from byzer_magic.commands.spec import DeploySpec
from byzer_magic.errors import FetchError
from byzer_magic.plan import Plan
from byzer_magic.runtime.workers.model_files import on_this_node
from tests.servers.process import Process, received

TINY = "hf:byzer/tiny-GGUF"


def planned(model: str = TINY) -> Plan:
    """Return the plan of the node that deploys, which has fetched the model."""
    return fetching.planned(Manager(), DeploySpec(model="m", model_path=model, infer_backend="llama_cpp"))


def as_of_another_node(plan: Plan) -> Plan:
    """Return the plan as it reaches a node whose caches are elsewhere."""
    path = str(plan.setup.model_path).replace("/hf/hub/", "/of-another-node/hub/")
    return replace(plan, setup=replace(plan.setup, model_path=path))


async def test_model_that_is_here_is_not_asked_for(hub: Process, hub_environ: dict[str, str]) -> None:
    plan = planned()
    before = received(hub)
    assert await on_this_node(plan, report) is plan.setup
    elsewhere = await on_this_node(as_of_another_node(plan), report)
    assert elsewhere == plan.setup, "it is in this node's cache"
    assert received(hub) == before


async def test_model_that_is_missing_is_fetched_with_progress(
    hub_environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = planned()
    seen: list[tuple[str, float | None, str]] = []
    shutil.rmtree(Path(hub_environ["HF_HOME"]))
    setup = await on_this_node(plan, lambda *told: seen.append((told[0], *told[1:])))  # type: ignore[arg-type]
    assert setup == plan.setup, "the same commit"
    assert Path(str(setup.model_path)).is_file()
    assert seen[0][0] == "contacting Hugging Face"
    assert seen[-1][1] == 1.0


async def test_model_that_cannot_be_fetched_there_is_an_error(hub: Process, hub_environ: dict[str, str]) -> None:
    plan = planned()
    shutil.rmtree(Path(hub_environ["HF_HOME"]))
    hub.post("/faults", {"status": 500})
    with pytest.raises(FetchError, match="answered with status 500"):
        await on_this_node(plan, report)


async def test_path_stays_as_it_is(tmp_path: Path, gguf: Path) -> None:
    plan = planned(str(gguf))
    assert await on_this_node(replace(plan, setup=replace(plan.setup, model_path="/nowhere")), report) == replace(
        plan.setup, model_path="/nowhere"
    )


def report(_stage: str, _fraction: float | None = None, _detail: str = "", /) -> None:
    """Take the progress."""

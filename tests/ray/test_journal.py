"""The journal around real deployments: what was asked once is not asked again, and everything is written down."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

import byzer_magic as bz
from byzer_magic import errors
from byzer_magic.client import journaling
from byzer_magic.client.journaling import How
from byzer_magic.client.manager import Manager
from byzer_magic.client.scope import SCOPE
from byzer_magic.commands.spec import DeploySpec, UndeploySpec
from byzer_magic.journal.entry import Origin
from byzer_magic.journal.store import Store
from byzer_magic.rendering import footer
from tests.conftest import KEY
from tests.servers.process import Process, received

pytestmark = pytest.mark.ray


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    """The journal of a project of its own, which this process keeps."""
    monkeypatch.chdir(tmp_path)
    journaling.JOURNAL.turn(on=True)
    SCOPE.begin(Origin("notebook", "a.ipynb", "cell 1"))
    yield journaling.JOURNAL.store(bz.default_manager().settings)
    journaling.JOURNAL.turn(on=None)
    SCOPE.begin(Origin("python"))


def spec(provider: Process, model: str, key: str = KEY) -> DeploySpec:
    params = {"saas.base_url": f"{provider.url}/v1", "saas.api_key": key, "saas.model": model}
    return DeploySpec(
        model="noted", pretrained_model_type="saas/openai", cpus_per_worker=0.001, infer_params=params, replace=True
    )


def test_what_was_asked_is_not_asked_again(manager: Manager, provider: Process, store: Store) -> None:
    list(manager.iterate(manager.deploy(manager.plan(spec(provider, "gpt-4o")))))
    model = bz.model("noted")
    before = received(provider)
    first = [model.chat("hello"), model.chat("hello"), model.chat("hello", temperature=0)]
    first += [model.chat("hello", temperature=0)]
    assert received(provider) == before + 3, "one sample where the temperature is 0, else one for each time"
    SCOPE.begin(Origin("notebook", "a.ipynb", "cell 1"))  # it runs again
    again = [model.chat("hello"), model.chat("hello"), model.chat("hello", temperature=0)]
    assert [result.text for result in again] == [result.text for result in first[:3]]
    assert [result.usage for result in again] == [result.usage for result in first[:3]]
    assert "".join(chunk.text for chunk in model.stream("hello", temperature=0)) == first[2].text
    assert received(provider) == before + 3
    assert [result.cost for result in again] == [0.0] * 3
    assert again[0].saved == first[0].cost
    assert "from the journal, saved" in footer.line(again[0])
    assert "from the journal" not in footer.line(first[0])
    with journaling.using(How(fresh=True, sample=0)):
        assert model.chat("hello").journal is None
    assert asyncio.run(model.achat("hello", temperature=0)).journal is not None
    assert received(provider) == before + 4

    with journaling.using(How(read=False, known=False)):  # of a chat window
        by_hand = model.chat("hello", temperature=0)
    assert by_hand.journal is None
    assert model.chat("hello", temperature=0).journal.entry < store.search()[0].id, "its answer is no one else's"
    _check_entries(store)
    _check_other_models(manager, provider, store)


def _check_entries(store: Store) -> None:
    entries = [entry for entry in store.walk() if entry]
    assert [(entry.sample, entry.status) for entry in entries] == [
        (0, "complete"),
        (1, "complete"),
        *[(0, "complete")] * 3,
    ]
    entry = entries[0]
    assert (entry.alias, entry.provider, entry.title, entry.method) == ("noted", "saas/openai", "gpt-4o", "chat")
    assert entry.prompt == "hello"
    assert entry.answer
    assert entry.cost
    assert entry.request_id.startswith("req_")
    assert entry.origin == Origin("notebook", "a.ipynb", "cell 1")
    assert [seconds for seconds, _ in entry.pieces] == sorted(seconds for seconds, _ in entry.pieces)


def _check_other_models(manager: Manager, provider: Process, store: Store) -> None:
    """Another key is the same model, another model is not; errors are noted and asked again."""
    model, before = bz.model("noted"), received(provider)
    list(manager.iterate(manager.deploy(manager.plan(spec(provider, "gpt-4o", f"{KEY}-2")))))
    assert model.chat("hello", temperature=0).journal is not None
    list(manager.iterate(manager.deploy(manager.plan(spec(provider, "gpt-4o-mini")))))
    assert model.chat("hello", temperature=0).journal is None
    assert received(provider) == before + 1
    manager.run(manager.undeploy(UndeploySpec(model="noted")))
    with pytest.raises(errors.NotDeployed):
        model.chat("hello", temperature=0)
    text = store.path.read_bytes() + store.path.with_name("journal.db-wal").read_bytes()
    assert KEY.encode() not in text

"""What is wanted comes back, waits with a reason, or is forgotten; the file follows each change."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from byzer_magic import errors
from byzer_magic.backends import route
from byzer_magic.commands.spec import DeploySpec
from byzer_magic.plan import Plan, resolve
from byzer_magic.routing.budget import Spent
from byzer_magic.runtime import fleet as module
from byzer_magic.runtime.cluster.desired_state import DesiredState
from byzer_magic.runtime.fleet import Fleet
from byzer_magic.runtime.fleet_file import LOCAL, FleetFile

KEY = "sk-test-1234567890abcd"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BYZER_CONFIG", str(tmp_path / "config.toml"))
    monkeypatch.delenv("KEY_OF_ANN", raising=False)
    (tmp_path / ".env").write_text(f"KEY_OF_ANN={KEY}\n")
    return tmp_path


def plan(alias: str, key: str = "${KEY_OF_ANN}") -> Plan:
    params = {"saas.model": "gpt-4o", "saas.api_key": key}
    spec = DeploySpec(model=alias, pretrained_model_type="saas/openai", infer_params=params)
    return resolve(spec, {}, {"KEY_OF_ANN": KEY})


def fleet(folder: Path, *aliases: str, key: str = "${KEY_OF_ANN}") -> Fleet:
    """Return the fleet of the next cluster, after one in which these were deployed."""
    before = Fleet(FleetFile(LOCAL))
    for alias in aliases:
        before.keep(plan(alias, key), str(folder), ["chat"])
    return Fleet(FleetFile(LOCAL))


async def restore(after: Fleet, failing: str = "", present: tuple[str, ...] = ()) -> list[Plan]:
    """Bring a fleet back; return the plans that were deployed."""
    made: list[Plan] = []

    async def create(item: Plan, _folder: str) -> None:
        if item.spec.model == failing:
            raise errors.NoRoom("the cluster has too few CPUs", "Undeploy something.")
        made.append(item)

    await after.restore(after.begin(present), create)
    return made


async def test_wanted_deployments_come_back_with_the_values_of_their_folder(folder: Path) -> None:
    made = await restore(fleet(folder, "a", "b"))
    assert sorted(item.spec.model for item in made) == ["a", "b"]
    assert made[0].setup.params["saas.api_key"].reveal() == KEY
    assert made[0].capabilities == ("chat",)


async def test_what_runs_is_not_deployed_again(folder: Path) -> None:
    made = await restore(fleet(folder, "a", "b"), present=("a",))
    assert [item.spec.model for item in made] == ["b"]


@pytest.mark.parametrize(
    ("key", "failing", "why"),
    [
        (KEY, "", "saas.api_key was typed in the command"),
        ("${KEY_OF_ANN}", "a", "too few CPUs"),
    ],
)
async def test_what_cannot_come_back_waits_with_the_reason(folder: Path, key: str, failing: str, why: str) -> None:
    after = fleet(folder, "a", key=key)
    await restore(after, failing)
    (entry,) = after.entries()
    assert why in str(entry.why)
    refused = after.why_not("a")
    assert refused is not None
    assert why in str(refused)
    assert FleetFile(LOCAL).read().keys() == {"a"}  # it is wanted all the same


async def test_missing_variable_is_named(folder: Path) -> None:
    after = fleet(folder, "a")
    (folder / ".env").unlink()
    await restore(after)
    assert "${KEY_OF_ANN} is not defined" in str(after.entries()[0].why)


async def test_requests_wait_for_a_deployment_that_comes_back(folder: Path) -> None:
    after = fleet(folder, "a")
    missing = after.begin(())
    waiting = asyncio.create_task(after.settled("a"))
    await asyncio.sleep(0)
    assert not waiting.done()
    assert after.entries()[0].restoring

    async def create(_item: Plan, _folder: str) -> None:
        await asyncio.sleep(0)

    await after.restore(missing, create)
    await waiting
    assert not after.entries()[0].restoring


async def test_deployment_that_came_back_gives_way_until_a_user_has_deployed_it(folder: Path) -> None:
    after = fleet(folder, "a")
    await restore(after)
    assert after.is_restored("a")
    after.keep(plan("a"), str(folder), ["chat"])
    assert not after.is_restored("a")


async def test_route_whose_deployments_wait_is_made_with_the_first_of_them(folder: Path) -> None:
    before = fleet(folder, "a", "b", key=KEY)  # typed, so that they wait
    spec = DeploySpec(model="best", pretrained_model_type=route.KIND, infer_params={route.TO: "a,b"})
    before.keep(resolve(spec, {}, {}), str(folder), ["chat"])
    after = Fleet(FleetFile(LOCAL))
    await restore(after, failing="best")
    assert [entry.alias for entry in after.entries() if entry.why] == ["a", "b", "best"]
    made: list[str] = []

    async def create(item: Plan, _folder: str) -> None:
        made.append(item.spec.model)

    assert after.waiting_routes("c") == []
    again = after.waiting_routes("a")
    assert again == ["best"]
    await after.restore(again, create)
    assert made == ["best"]
    assert after.waiting_routes("b") == [], "it is there"


async def test_forgotten_deployment_does_not_come_back(folder: Path) -> None:
    before = fleet(folder, "a", "b")
    assert before.forget("a")
    assert not before.forget("a")
    assert [item.spec.model for item in await restore(Fleet(FleetFile(LOCAL)))] == ["b"]


async def test_number_of_workers_follows_scale(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    after = fleet(folder, "a")
    monkeypatch.setattr(module, "SYNC_SECONDS", 0.01)
    monkeypatch.setattr(module.desired_state, "find", lambda _plan_id: DesiredState(5))
    syncing = asyncio.create_task(after.sync())
    async with asyncio.timeout(60):
        while FleetFile(LOCAL).read()["a"].spec.num_workers != 5:
            await asyncio.sleep(0.01)
    syncing.cancel()


async def test_what_was_spent_of_a_budget_comes_back(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stored: dict[str, Spent] = {}
    monkeypatch.setattr(module, "SYNC_SECONDS", 0.01)
    monkeypatch.setattr(module.desired_state, "find", lambda _plan_id: None)
    monkeypatch.setattr(module.spending, "load", stored.get)
    monkeypatch.setattr(module.spending, "store", stored.__setitem__)
    limited = plan("a")
    limited = replace(limited, spec=replace(limited.spec, budget_usd=5.0))
    before = Fleet(FleetFile(LOCAL))
    before.keep(limited, str(folder), ["chat"])
    before.keep(plan("b"), str(folder), ["chat"])
    stored[limited.id] = Spent(1.5, {20_000: 1.5})
    syncing = asyncio.create_task(before.sync())
    async with asyncio.timeout(60):
        while FleetFile(LOCAL).read()["a"].spent != stored[limited.id]:
            await asyncio.sleep(0.01)
    syncing.cancel()
    before.keep(limited, str(folder), ["chat"])  # after an update, say
    stored.clear()  # with the Ray that has ended

    after = Fleet(FleetFile(LOCAL))
    assert after.spent("a") == Spent(1.5, {20_000: 1.5})
    assert after.spent("b") is None
    made = {item.spec.model: item.id for item in await restore(after)}
    assert stored == {made["a"]: Spent(1.5, {20_000: 1.5})}
    after.forget("a")
    assert after.spent("a") is None


def test_file_that_cannot_be_read_is_told_and_kept(folder: Path) -> None:
    file = FleetFile(LOCAL)
    file.path.parent.mkdir()
    file.path.write_text("not JSON")
    after = Fleet(FleetFile(LOCAL))
    assert "local.json is not a list of deployments" in str(after.problem)
    after.keep(plan("a"), str(folder), ["chat"])
    assert file.path.read_text() == "not JSON"


def test_full_disk_is_told_and_deployments_go_on(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    after = fleet(folder, "a")

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", full)
        after.keep(plan("b"), str(folder), ["chat"])
    assert "No space left on device" in str(after.problem)
    assert {entry.alias for entry in after.entries()} == {"a", "b"}
    after.keep(plan("c"), str(folder), ["chat"])
    assert not after.problem
    assert FleetFile(LOCAL).read().keys() == {"a", "b", "c"}

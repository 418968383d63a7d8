"""`pull`, `models rm`, and deployments of models in hubs: with a hub of the tests, and without Ray."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from byzer_magic.actions import fleet_file
from byzer_magic.actions.actions import run_all
from byzer_magic.actions.context import Context
from byzer_magic.actions.terminal import Terminal
from byzer_magic.client.manager import Manager
from byzer_magic.commands.parser import parse, split
from byzer_magic.commands.spec import DeploySpec
from byzer_magic.errors import CommandError, FetchError, NotFetched
from byzer_magic.local_models import hardware
from byzer_magic.runtime.fleet_file import LOCAL, FleetFile, wanted
from byzer_magic.types import Fetched
from tests.hubs import BIG, TOKEN
from tests.models.gguf_vision import mmproj
from tests.servers.process import Process, noted_after, received
from tests.waiting import PATIENCE

TINY = "hf:byzer/tiny-GGUF"
DEPLOY = f"deploy --model_path {TINY} --infer_backend llama_cpp --model tiny"


@pytest.fixture(autouse=True)
def own_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BYZER_CONFIG", str(tmp_path / "config.toml"))
    monkeypatch.chdir(tmp_path)


class Here(Manager):
    """A manager without a cluster, which notes what is to be deployed."""

    def __init__(self) -> None:
        super().__init__()
        self.plans: list[Any] = []

    def ensure(self, *_: Any) -> None:
        """No Ray is running."""

    async def deploy(self, plan: Any) -> Any:  # type: ignore[override]
        self.plans.append(plan)
        return
        yield


def run(line: str, manager: Manager | None = None) -> None:
    run_all(Context(manager=manager or Here(), output=Terminal()), [parse(split(line))])


def test_pull_shows_its_progress_and_where_the_model_is(
    hub_environ: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    run("pull hf:byzer/tiny-qwen2")
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "hf:byzer/tiny-qwen2: contacting Hugging Face"
    assert lines[1].startswith("hf:byzer/tiny-qwen2: downloading 6 files from Hugging Face (")
    assert lines[-1].startswith("hf:byzer/tiny-qwen2: downloaded 966 kB in ")
    assert lines[-1].endswith("/snapshots/" + lines[-1][-40:])
    run("pull hf:byzer/tiny-qwen2")
    assert "up to date, 966 kB: " in capsys.readouterr().err.splitlines()[-1]


def test_pull_of_a_name_that_is_none_starts_nothing(hub_environ: dict[str, str]) -> None:
    with pytest.raises(Exception, match="is not a valid name of a model in a hub"):
        run("pull Qwen3-0.6B")


@pytest.mark.parametrize("line", [f"pull {TINY} --dry_run", f"{DEPLOY} --dry_run"])
def test_dry_run_says_size_and_place_and_fetches_nothing(
    line: str, hub: Process, hub_environ: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    before = received(hub)
    run(line)
    said = capsys.readouterr().err
    assert f"{TINY}: 1 file, 286 kB; 286 kB to download into {hub_environ['HF_HOME']}/hub, where " in said
    assert "(--dry_run)" in said
    assert not [entry for entry in noted_after(hub, before) if "range" in entry]


def test_deploy_fetches_the_model_first_and_keeps_it_as_typed(
    hub: Process, hub_environ: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    manager = Here()
    run(DEPLOY, manager)
    (plan,) = manager.plans
    assert plan.spec.model_path == plan.model_path == TINY
    assert Path(plan.setup.model_path).name == "tiny-Q8_0.gguf"
    assert plan.located.model_path == plan.setup.model_path
    assert "tiny: downloading 1 file from Hugging Face" in capsys.readouterr().err
    before = received(hub)
    run(DEPLOY, manager)
    assert received(hub) == before, "what is complete is used without asking the hub"
    run(f"{DEPLOY} --dry_run", manager)
    assert f"--model_path {TINY}" in capsys.readouterr().out


def test_deploy_finds_the_token_and_the_mirror_in_env_file(
    hub: Process, hub_environ: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("HF_ENDPOINT")
    Path(".env").write_text(f"HF_TOKEN={TOKEN}\nHF_ENDPOINT={hub.url}\n")
    run("pull hf:byzer/gated")
    assert TOKEN not in "".join(capsys.readouterr())


def test_env_file_of_another_gets_no_token_runs_nothing_and_moves_no_cache(
    hub: Process, hub_environ: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    login = Path(hub_environ["HF_HOME"]) / "token"
    login.parent.mkdir()
    login.write_text(TOKEN)
    monkeypatch.delenv("HF_ENDPOINT")
    evil = tmp_path / "evil"
    evil.mkdir()
    (evil / "sitecustomize.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    (evil / "huggingface_hub.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    Path(".env").write_text(f"HF_ENDPOINT={hub.url}\nPYTHONPATH={evil}\nHF_HUB_CACHE={evil}\n")
    before = received(hub)
    with pytest.raises(FetchError, match="is gated"):
        run("pull hf:byzer/gated")
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    with pytest.raises(FetchError, match="is gated"):
        run("pull hf:byzer/gated")
    assert received(hub) > before
    assert not [entry for entry in noted_after(hub, before) if entry.get("has_token")]
    run(f"pull {TINY}")
    assert (Path(hub_environ["HF_HOME"]) / "hub" / "models--byzer--tiny-GGUF").is_dir()
    assert not (tmp_path / "ran").exists()
    monkeypatch.setenv("HF_ENDPOINT", hub.url)
    run("pull hf:byzer/gated")


def test_deploy_fetches_the_part_for_images_too(
    hub_environ: dict[str, str], repositories: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = repositories / "byzer" / "seeing-GGUF"
    folder.mkdir(exist_ok=True)
    shutil.copy(mmproj(), folder / "mmproj-F16.gguf")
    manager = Here()
    run(f"{DEPLOY} --infer_params clip_model_path=hf:byzer/seeing-GGUF:mmproj-F16.gguf", manager)
    assert len(manager.plans) == 1
    assert capsys.readouterr().err.count("tiny: downloaded ") == 2


def test_deploy_offline_names_what_is_missing(hub_environ: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(FetchError, match="HF_HUB_OFFLINE is set"):
        run(DEPLOY)


def test_several_deployments_are_checked_before_one_is_made(hub_environ: dict[str, str]) -> None:
    manager = Here()
    lines = [DEPLOY, DEPLOY.replace("tiny-GGUF", "nothing")]
    with pytest.raises(FetchError, match="no repository byzer/nothing"):
        run_all(Context(manager=manager, output=Terminal()), [parse(split(line)) for line in lines])
    assert not manager.plans


def test_quantization_is_chosen_by_the_free_memory_and_said(
    hub_environ: dict[str, str], repositories: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = repositories / "byzer" / "several-GGUF"
    folder.mkdir(exist_ok=True)
    for name, size in (("Q2_K", 100_000), ("Q4_0", 200_000), ("Q8_0", 400_000)):
        (folder / f"m-{name}.gguf").write_bytes(b"GGUF" + bytes(size))
    monkeypatch.setattr(hardware, "detect", lambda: hardware.Hardware(cpus=1, memory_free=500_000))
    run("pull hf:byzer/several-GGUF")
    said = capsys.readouterr().err
    assert (
        "m-Q4_0.gguf; Q4_0 (200 kB) of 3 quantizations, because it is the largest one that leaves half of the" in said
    )
    assert "to take another, name it, e.g. hf:byzer/several-GGUF:Q2_K" in said


def test_interrupt_in_a_shell_stops_at_once_and_the_next_run_goes_on(
    hub: Process, hub_environ: dict[str, str], tmp_path: Path
) -> None:
    hub.post("/faults", {"pause": 0.1})
    code = "import sys; from byzer_magic.cli import main; sys.exit(main())"
    command = [sys.executable, "-c", code, "pull", "hf:byzer/big-GGUF"]
    environ = hub_environ | {"PYTHONPATH": str(Path(__file__).parents[3])}
    blobs = Path(hub_environ["HF_HOME"]) / "hub/models--byzer--big-GGUF/blobs"
    with subprocess.Popen(command, stderr=subprocess.PIPE, env=environ, cwd=tmp_path) as shell:
        while not any(path.stat().st_size for path in blobs.glob("*.incomplete")):
            assert shell.poll() is None
            time.sleep(0.05)
        shell.send_signal(signal.SIGINT)
        _out, said = shell.communicate(timeout=PATIENCE)
    assert shell.returncode == 130
    assert said.decode().splitlines()[-1] == "Interrupted."
    assert b"Traceback" not in said
    (part,) = blobs.glob("*.incomplete")
    kept = part.stat().st_size
    hub.post("/faults", {})
    before = received(hub)
    run("pull hf:byzer/big-GGUF")
    assert [entry["range"] for entry in noted_after(hub, before) if "range" in entry] == [[kept, BIG]]


# ---- models and models rm


def test_models_lists_what_was_fetched_and_rm_removes_it(
    hub: Process, hub_environ: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HOME", hub_environ["HF_HOME"])
    for model in (TINY, "ms:byzer/tiny-qwen2"):
        run(f"pull {model}")
    hub.post("/faults", {"damaged": True})
    part = Path(hub_environ["HF_HOME"]) / "hub/models--byzer--big-GGUF/blobs/x.incomplete"
    part.parent.mkdir(parents=True)
    part.write_bytes(bytes(123_000))
    capsys.readouterr()
    run("models --json")
    rows = {row["hub"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows.keys() == {f"{TINY}:tiny-Q8_0.gguf", "ms:byzer/tiny-qwen2", "hf:byzer/big-GGUF"}
    assert rows["ms:byzer/tiny-qwen2"]["name"] == "byzer/tiny-qwen2"
    assert rows["ms:byzer/tiny-qwen2"]["size"] > 800_000
    assert "partly downloaded (123 kB)" in rows["hf:byzer/big-GGUF"]["error"]
    run("models")
    assert "hf:byzer/tiny-GGUF:tiny-Q8_0.gguf" in capsys.readouterr().out
    for name in (f"{TINY}:Q8_0", "byzer/tiny-qwen2", "hf:byzer/big-GGUF"):
        run(f"models rm {name}")
    assert "removed, 286 kB freed." in capsys.readouterr().err
    run("models --json")
    assert json.loads(capsys.readouterr().out) == []
    with pytest.raises(NotFetched, match="byzer/tiny-qwen2 is not in the caches"):
        run("models rm byzer/tiny-qwen2")


def test_model_in_use_is_removed_by_force_only(hub_environ: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    manager = Here()
    run(DEPLOY, manager)
    FleetFile(LOCAL).write({"tiny": wanted(manager.plans[0], "", ["chat"])})
    with pytest.raises(CommandError, match="is in use: tiny"):
        run(f"models rm {TINY}")
    run(f"models rm {TINY} --force")
    assert "removed" in capsys.readouterr().err


# ---- the fleet


def test_fleet_has_the_model_as_typed_and_its_path_beside_it(hub_environ: dict[str, str]) -> None:
    manager = Here()
    run(DEPLOY, manager)
    plan = manager.plans[0]
    kept = wanted(plan, "", ["chat"])
    assert kept.spec.model_path == TINY
    assert kept.located.model_path == kept.path == plan.setup.model_path
    assert not list(fleet_file.differences(kept.spec, plan))
    Path(kept.path).unlink()
    assert kept.located.model_path == TINY


def test_python_api_fetches_the_model(hub_environ: dict[str, str]) -> None:
    from byzer_magic.client import fetching

    plan = fetching.planned(Here(), DeploySpec(model="tiny", model_path=TINY, infer_backend="llama_cpp"))
    assert Path(str(plan.setup.model_path)).is_file()


def test_fetched_event_is_shown_as_the_end() -> None:
    from byzer_magic.rendering import progress

    deploy = progress.Deploy("m")
    deploy.take(Fetched("/x", 10**9, 10**9, 61.0))
    assert deploy.state == "ready"
    assert deploy.stage == "downloaded 1.0 GB in 61 s: /x"

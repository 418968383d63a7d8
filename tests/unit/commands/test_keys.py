"""Where a key may come from: the environment, a keyring, a prompt."""

from __future__ import annotations

from collections.abc import Iterator

import keyring
import keyring.backend
import pytest
from keyring.errors import NoKeyringError

from byzer_magic import errors
from byzer_magic.commands.keys import looked_up
from byzer_magic.commands.secrets import Secret
from byzer_magic.commands.spec import DeploySpec
from byzer_magic.plan import resolve


class Ring(keyring.backend.KeyringBackend):
    """A keyring in memory, through keyring's own interface."""

    priority = 9  # type: ignore[assignment]

    def set_password(self, service: str, username: str, password: str) -> None:
        raise NotImplementedError

    def get_password(self, service: str, username: str) -> str | None:
        if service == "broken":
            raise NoKeyringError("no keyring on this machine")
        return {"me": "from-the-ring"}.get(username) if service == "open/ai" else None


@pytest.fixture
def ring() -> Iterator[None]:
    before = keyring.get_keyring()
    keyring.set_keyring(Ring())
    yield
    keyring.set_keyring(before)


def deploy(**params: str) -> DeploySpec:
    given = {"saas.model": "gpt-4o", **{f"saas.{name}": text for name, text in params.items()}}
    return DeploySpec(model="m", pretrained_model_type="saas/openai", infer_params=given)


def test_env_names_a_variable_of_the_notebook_or_the_environment() -> None:
    assert looked_up("env:A", {"A": "from-notebook"}, {"A": "from-env"}) == "from-notebook"
    assert looked_up("env:B", {}, {"B": "from-env"}) == "from-env"
    with pytest.raises(errors.MissingKey, match=r"env:C is not defined"):
        looked_up("env:C", {}, {})


def test_keyring_names_an_entry(ring: None) -> None:
    assert looked_up("keyring:open/ai/me") == "from-the-ring"
    with pytest.raises(errors.MissingKey, match="no 'you' of 'open/ai'") as caught:
        looked_up("keyring:open/ai/you")
    assert "keyring set open/ai you" in caught.value.hint
    with pytest.raises(errors.MissingKey, match="No keyring can be read here: no keyring on this machine"):
        looked_up("keyring:broken/me")
    with pytest.raises(errors.BadParameter, match="no entry of a keyring"):
        looked_up("keyring:me")


def test_only_secrets_are_looked_up(ring: None) -> None:
    plan = resolve(deploy(api_key="keyring:open/ai/me", user="env:HOME"), {}, {"HOME": "/root"})
    assert plan.setup.params["saas.api_key"] == Secret("from-the-ring")
    assert plan.setup.params["saas.user"] == "env:HOME"
    assert "from-the-ring" not in repr(plan) + repr(plan.spec) + repr(plan.setup)


def test_a_typed_key_stands_in_for_a_missing_one() -> None:
    for spec in (deploy(), deploy(api_key="${NOT_THERE}"), deploy(api_key="env:NOT_THERE")):
        with pytest.raises(errors.MissingKey) as caught:
            resolve(spec, {}, {})
        assert caught.value.details["param"] == "saas.api_key"
        plan = resolve(spec, {}, {}, {"saas.api_key": "typed"})
        assert plan.setup.params["saas.api_key"].reveal() == "typed"


def test_what_is_no_secret_cannot_be_asked_for() -> None:
    with pytest.raises(errors.MissingKey) as caught:
        resolve(deploy(api_key="k", user="${NOT_THERE}"), {}, {})
    assert "param" not in caught.value.details

"""Secrets in settings: references, places where keys are kept, and values that are never shown."""

from __future__ import annotations

import pickle
import traceback
from collections.abc import Iterator

import keyring
import keyring.backend
import pytest
from hypothesis import given, strategies as st
from keyring.errors import NoKeyringError

from byzer_magic import errors
from byzer_magic.commands import parser
from byzer_magic.commands.secrets import Expansion, Secret, expand, is_reference, known_here, look_up, names_in
from byzer_magic.commands.spec import DeploySpec
from byzer_magic.errors import MissingKey
from byzer_magic.plan import resolve
from byzer_magic.runtime.workers.keyed import each_key

KEY = "planted-key-0123456789"


@pytest.mark.parametrize("nothing", [float("nan"), None])
def test_a_variable_that_is_nan_or_none_has_no_value(nothing: float | None) -> None:
    for read in (expand, look_up):
        text = "${KEY}" if read is expand else "env:KEY"
        assert read(text, {"KEY": nothing}, {"KEY": "k-1"}) == "k-1"
        with pytest.raises(MissingKey):
            read(text, {"KEY": nothing})


def test_expand_takes_the_first_source_that_has_the_name() -> None:
    assert expand("${A}-${B}", {"A": 1}, {"A": "2", "B": "3"}) == "1-3"


def test_expand_leaves_text_without_references() -> None:
    assert expand("a $A {A} $ {A}", {"A": "x"}) == "a $A {A} $ {A}"


def test_expand_takes_names_of_any_characters() -> None:
    assert expand("${MODEL_silcon flow-TOKEN}", {"MODEL_silcon flow-TOKEN": "x"}) == "x"


def test_expand_does_not_expand_values_again() -> None:
    assert expand("${A}", {"A": "${B}", "B": "x"}) == "${B}"


def test_expand_names_an_undefined_variable_and_how_to_set_it() -> None:
    with pytest.raises(MissingKey, match=r"\$\{NOPE\} is not defined") as caught:
        expand("${NOPE}", {}, {})
    assert "export NOPE=" in caught.value.hint


def test_names_in_returns_names_in_order() -> None:
    assert names_in("${B} x${A}y ${B}") == ["B", "A", "B"]


@pytest.mark.parametrize(
    ("typed", "keys"),
    [
        ("sk-one-12345678,sk-two-12345678", "sk-one-12345678,sk-two-12345678"),
        ("sk-one-12345678 , sk-two-12345678", "sk-one-12345678,sk-two-12345678"),
        ("${A},${B}", "sk-a-12345678,sk-b-12345678"),
        ("env:A,env:B", "sk-a-12345678,sk-b-12345678"),
        ("${A},env:B,sk-one-12345678", "sk-a-12345678,sk-b-12345678,sk-one-12345678"),
        ("${BOTH}", "sk-a-12345678,sk-b-12345678"),
        ("env:BOTH,${A}", "sk-a-12345678,sk-b-12345678"),
        ("${A},${A}", "sk-a-12345678"),
    ],
)
@pytest.mark.parametrize("kind", ["saas/openai", "saas/claude", "saas/azure_openai", "saas/ollama", "saas/qianwen"])
def test_several_keys_are_looked_up_one_by_one(kind: str, typed: str, keys: str) -> None:
    plan = resolve(
        _spec(kind, typed), {"A": "sk-a-12345678"}, {"B": "sk-b-12345678", "BOTH": " sk-a-12345678,sk-b-12345678\n"}
    )
    assert plan.setup.params["saas.api_key"].reveal() == keys
    assert [each["saas.api_key"].reveal() for each in each_key(plan.backend, plan.setup.params)] == keys.split(",")
    assert set(keys.split(",")) <= set(plan.hidden)
    assert "12345678" not in repr(plan) + repr(plan.setup)


def _spec(kind: str, typed: str) -> DeploySpec:
    params = {"saas.api_key": typed, "saas.model": "gpt-4o"}
    params |= {"saas.azure_endpoint": "https://x.openai.azure.com"} if "azure" in kind else {}
    return DeploySpec(model="m", pretrained_model_type=kind, infer_params=params)


@pytest.mark.parametrize(
    ("typed", "why"),
    [
        ("sk-one,,sk-two", "an empty key"),
        (",sk-one", "an empty key"),
        ("sk-one,", "ends with a comma"),
        ("sk-one,'sk-two'", "#2 has quotes"),
        ("sk-one,sk-two # mine", "#2 has a space"),
        ('["sk-one","sk-two"]', "JSON or a list"),
        ("sk-one，sk-two", "no HTTP header"),
        ("sk-one,${NOPE}", "NOPE} is not defined"),
        ("sk-one,env:NOPE", "NOPE is not defined"),
    ],
)
def test_one_of_several_keys_that_cannot_be_sent_is_named(typed: str, why: str) -> None:
    with pytest.raises(errors.ConfigError, match=why) as caught:
        resolve(_spec("saas/openai", typed), {}, {})
    assert "sk-one" not in str(caught.value)


@pytest.mark.parametrize("name", ["aws_access_key", "aws_secret_key", "aws_session_token"])
def test_pairs_of_keys_are_not_several(name: str) -> None:
    pair = {"saas.aws_access_key": "AKIA0000", "saas.aws_secret_key": "planted", "saas.region_name": "r"}
    params = {**pair, "saas.model": "m", f"saas.{name}": "one,two"}
    with pytest.raises(errors.BadParameter, match=f"saas.{name} has a comma") as caught:
        resolve(DeploySpec(model="m", pretrained_model_type="saas/aws_bedrock", infer_params=params), {}, {})
    assert "make a route" in caught.value.hint


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("${A},${B}", True),
        ("env:A, env:B", True),
        ("keyring:s/a,keyring:s/b", True),
        ("keyring:s/a,sk-1", False),
        ("${A},sk-1", False),
        ("${A},", False),
    ],
)
def test_reference_has_no_key_in_any_of_its_parts(text: str, shown: bool) -> None:
    assert is_reference(text) is shown


def test_secret_is_hidden_in_every_rendering() -> None:
    secret = Secret(KEY)
    renderings = (repr(secret), str(secret), f"{secret}", f"{secret!r}", str([secret]), "%s" % secret)  # noqa: UP031
    assert set(renderings) == {"***", "[***]"}


def test_secret_keeps_its_value_through_pickle() -> None:
    assert pickle.loads(pickle.dumps(Secret(KEY))).reveal() == KEY


def test_secret_equals_secrets_of_the_same_value_but_no_text() -> None:
    assert Secret(KEY) == Secret(KEY)
    assert hash(Secret(KEY)) == hash(Secret(KEY))
    assert Secret(KEY) != Secret("other")
    assert Secret(KEY) != KEY


# where keys are kept


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


def test_look_up_env_reads_the_notebook_then_the_environment() -> None:
    assert look_up("env:A", {"A": "from-notebook"}, {"A": "from-env"}) == "from-notebook"
    assert look_up("env:B", {}, {"B": "from-env"}) == "from-env"
    with pytest.raises(errors.MissingKey, match=r"env:C is not defined"):
        look_up("env:C", {}, {})


def test_look_up_keyring_reads_an_entry(ring: None) -> None:
    assert look_up("keyring:open/ai/me") == "from-the-ring"
    with pytest.raises(errors.MissingKey, match="no entry 'you' for 'open/ai'") as caught:
        look_up("keyring:open/ai/you")
    assert "keyring set open/ai you" in caught.value.hint
    with pytest.raises(errors.MissingKey, match="No keyring is available here: no keyring on this machine"):
        look_up("keyring:broken/me")
    with pytest.raises(errors.BadParameter, match="not a valid keyring entry"):
        look_up("keyring:me")


def test_resolve_looks_up_secrets_only(ring: None) -> None:
    plan = resolve(deploy(api_key="keyring:open/ai/me", user="env:HOME"), {}, {"HOME": "/root"})
    assert plan.setup.params["saas.api_key"] == Secret("from-the-ring")
    assert plan.setup.params["saas.user"] == "env:HOME"
    assert "from-the-ring" not in repr(plan) + repr(plan.spec) + repr(plan.setup)


def test_resolve_takes_a_typed_key_for_a_missing_one() -> None:
    for spec in (deploy(), deploy(api_key="${NOT_THERE}"), deploy(api_key="env:NOT_THERE")):
        with pytest.raises(errors.MissingKey) as caught:
            resolve(spec, {}, {})
        assert caught.value.details["param"] == "saas.api_key"
        plan = resolve(spec, {}, {}, {"saas.api_key": "typed"})
        assert plan.setup.params["saas.api_key"].reveal() == "typed"


def test_resolve_asks_for_secrets_only() -> None:
    with pytest.raises(errors.MissingKey) as caught:
        resolve(deploy(api_key="k", user="${NOT_THERE}"), {}, {})
    assert "param" not in caught.value.details


def test_what_no_error_shows_is_secret_by_its_name_or_typed() -> None:
    found = known_here(
        "--infer_params saas.api_key=typed-in-00 saas.model=gpt-4o-mini saas.api_key=${KEY} --token typed-in-01",
        {"MY_TOKEN": "token-of-mine", "city": "Constantinople", "key": 7},
        {
            "OPENAI_API_KEY": "from-the-env",
            "PATH": "/usr/local/bin",
            "SSH_KEY": "/home/me/.ssh/id",
            "http_proxy": "http://e:1",
        },
    )
    assert set(found) == {"typed-in-00", "typed-in-01", "token-of-mine", "from-the-env"}


@given(st.text(min_size=8, max_size=40), st.text(alphabet="ab '", max_size=9))
def test_as_typed_shows_no_value(value: str, around: str) -> None:
    expansion = Expansion({"MY_KEY": value})
    whole = expansion.expand(f"{around}${{MY_KEY}}{around}")
    for text in (whole, repr(whole)):
        shown = expansion.as_typed(text)
        assert value.strip() not in shown.replace("${MY_KEY}", "").replace("***", "") or not value.strip()


@pytest.mark.parametrize(
    "name",
    [
        "saas.timeout",
        "saas.capabilities",
        "saas.base_url",
        "saas.max_retries",
        "saas.extra_headers",
        "saas.extra_body",
        "saas.verify",
        "saas.proxy",
        "saas.temperature",
    ],
)
@pytest.mark.parametrize(
    "value", ["gsk_0123456789abcdefghij", "https:plain-planted-word", "two plain planted words", "键-planted-word"]
)
def test_errors_about_settings_show_what_was_typed(name: str, value: str) -> None:
    spec = DeploySpec(
        model="m", pretrained_model_type="saas/openai", infer_params={"saas.model": "x", name: "${MY_KEY}"}
    )
    with pytest.raises(errors.ByzerError) as caught:
        resolve(spec, {}, {"MY_KEY": value})
    text = "".join(traceback.format_exception(caught.value))
    assert not any(value[at : at + 8] in text for at in range(len(value) - 7)), text


@pytest.mark.parametrize(
    "url",
    [
        "htps://me:SECRETSECRET@gw/v1",
        "me:SECRETSECRET@gw/v1",
        "https:me:SECRETSECRET@gw/v1",
        "https://u:SECRETSECRET@gw/compatible-mode/v1",
    ],
)
@pytest.mark.parametrize("kind", ["saas/openai", "saas/qianwen", "saas/ollama", "saas/claude"])
def test_no_password_of_a_url_is_shown(kind: str, url: str) -> None:
    for typed in (url, "${URL}"):
        params = {"saas.model": "x", "saas.api_key": KEY, "saas.base_url": typed}
        spec = DeploySpec(model="m", pretrained_model_type=kind, infer_params=params)
        assert "SECRET" not in repr(spec) + parser.line(spec, masked=True)
        try:
            plan = resolve(spec, {}, {"URL": url})
        except errors.ByzerError as err:
            assert "SECRET" not in "".join(traceback.format_exception(err))
        else:
            assert "SECRETSECRET" in plan.hidden

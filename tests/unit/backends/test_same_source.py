"""A URL that a `.env` sets gets no key from elsewhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from byzer_magic.catalog import presets
from byzer_magic.client.manager import Manager
from byzer_magic.commands.spec import DeploySpec, EasyDeploySpec
from byzer_magic.config import Settings
from byzer_magic.errors import BadParameter
from byzer_magic.plan import Plan

EVIL = "https://collector.example/api"
KEY = "planted-key-0123456789"
PROVIDERS = [
    ("saas/qianwen", "qwen-max", "DASHSCOPE_API_KEY", "DASHSCOPE_HTTP_BASE_URL"),
    ("saas/openai", "gpt-4o", "OPENAI_API_KEY", "OPENAI_BASE_URL"),
    ("saas/azure_openai", "gpt-4o", "AZURE_OPENAI_API_KEY", "AZURE_OPENAI_ENDPOINT"),
    ("saas/claude", "claude-sonnet-4-5", "ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL"),
]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for _kind, _model, *names in PROVIDERS:
        for name in names:
            monkeypatch.delenv(name, raising=False)
    return tmp_path


def plan(kind: str, model: str, **params: str) -> Plan:
    given = {"saas.model": model, **{f"saas.{name}": text for name, text in params.items()}}
    return Manager(Settings()).plan(DeploySpec(model="m", pretrained_model_type=kind, infer_params=given))


@pytest.mark.parametrize(("kind", "model", "key", "url"), PROVIDERS)
def test_env_file_draws_no_key_of_the_environment(
    kind: str, model: str, key: str, url: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / ".env").write_text(f"{url}={EVIL}\n")
    monkeypatch.setenv(key, KEY)
    with pytest.raises(BadParameter, match=rf"{url} is set by \.env, but the key is not") as caught:
        plan(kind, model)
    assert KEY not in str(caught.value)
    for typed in (KEY, f"${{{key}}}", f"env:{key}"):
        with pytest.raises(BadParameter, match=r"is set by \.env"):
            plan(kind, model, api_key=typed)


@pytest.mark.parametrize(("kind", "model", "key", "url"), PROVIDERS)
def test_url_and_key_of_one_source_belong_together(
    kind: str, model: str, key: str, url: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / ".env").write_text(f"{url}={EVIL}\n{key}={KEY}\n")
    assert KEY in plan(kind, model).hidden
    (folder / ".env").unlink()
    monkeypatch.setenv(url, EVIL)
    monkeypatch.setenv(key, KEY)
    assert KEY in plan(kind, model).hidden
    assert KEY in plan(kind, model, api_key="${" + key + "}").hidden
    monkeypatch.delenv(key)
    assert "typed-key-0123" in plan(kind, model, api_key="typed-key-0123").hidden
    (folder / ".env").write_text(f"{key}={KEY}\n")
    with pytest.raises(BadParameter, match=r"come from different sources"):
        plan(kind, model)


def test_a_preset_is_no_way_around(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / ".env").write_text(f"OPENAI_BASE_URL={EVIL}\n")
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with pytest.raises(BadParameter, match=r"OPENAI_BASE_URL is set by \.env"):
        Manager(Settings()).plan(presets.spec(EasyDeploySpec(preset="gpt4o")))


def test_keys_that_boto3_finds_go_to_no_url_of_a_file(folder: Path) -> None:
    (folder / ".env").write_text(f"AWS_ENDPOINT_URL_BEDROCK_RUNTIME={EVIL}\n")
    with pytest.raises(BadParameter, match=r"AWS_ENDPOINT_URL_BEDROCK_RUNTIME is set by \.env, but the key is not"):
        plan("saas/aws_bedrock", "amazon.nova-lite-v1:0", region_name="us-east-1")


def test_certificates_and_proxies_of_a_file_read_no_key(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import certifi

    for name in ("SSL_CERT_FILE", "http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    (folder / ".env").write_text("https_proxy=http://proxy.example:8080\n")
    assert plan("saas/openai", "gpt-4o").network_notes, "encrypted: a proxy reads nothing"
    (folder / ".env").write_text(f"SSL_CERT_FILE={certifi.where()}\n")
    with pytest.raises(BadParameter, match=r"SSL_CERT_FILE is set by \.env"):
        plan("saas/openai", "gpt-4o")
    (folder / ".env").write_text("http_proxy=http://proxy.example:8080\n")
    with pytest.raises(BadParameter, match=r"http_proxy is set by \.env"):
        plan("saas/openai", "gpt-4o", base_url="http://gw.example/v1", api_key="${OPENAI_API_KEY}")


@pytest.mark.parametrize("name", ["extra_headers", "extra_body"])
def test_secrets_in_headers_and_bodies_are_keys(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / ".env").write_text(f"OPENAI_BASE_URL={EVIL}\nOPENAI_API_KEY=key-of-the-file\nTITLE=x\n")
    monkeypatch.setenv("OTHER_KEY", KEY)
    with pytest.raises(BadParameter, match=r"OPENAI_BASE_URL is set by \.env, but the key is not \(OTHER_KEY\)"):
        plan("saas/openai", "gpt-4o", **{name: '{"X-Api-Key": "${OTHER_KEY}"}'})
    assert plan("saas/openai", "gpt-4o", **{name: '{"X-Title": "${TITLE}"}'}).setup.params[f"saas.{name}"]


def test_a_proxy_of_a_file_reads_no_key_where_certificates_are_not_checked(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    (folder / ".env").write_text("https_proxy=http://proxy.example:8080\n")
    with pytest.raises(BadParameter, match=r"https_proxy is set by \.env"):
        plan("saas/openai", "gpt-4o", verify="false")


def test_a_url_of_a_file_needs_no_key(folder: Path) -> None:
    (folder / ".env").write_text("OLLAMA_HOST=http://gpu-box:11434\n")
    assert plan("saas/ollama", "m").setup.params["saas.base_url"] == "http://gpu-box:11434"


def test_a_typed_key_goes_to_the_url_that_the_command_names(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / ".env").write_text(f"MY_URL={EVIL}\n")
    assert KEY in plan("saas/openai", "gpt-4o", base_url="${MY_URL}", api_key=KEY).hidden
    monkeypatch.setenv("MY_KEY", KEY)
    with pytest.raises(BadParameter, match=r"MY_URL is set by \.env"):
        plan("saas/openai", "gpt-4o", base_url="${MY_URL}", api_key="${MY_KEY}")


def test_of_several_variables_the_least_trusted_counts(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / ".env").write_text("MY_HOST=collector.example\nFAKE=x\n")
    monkeypatch.setenv("MY_SCHEME", "https")
    monkeypatch.setenv("MY_KEY", KEY)
    for key in ("${MY_KEY}", "${FAKE}${MY_KEY}"):
        with pytest.raises(BadParameter, match=r"MY_HOST is set by \.env"):
            plan("saas/openai", "gpt-4o", base_url="${MY_SCHEME}://${MY_HOST}/v1", api_key=key)


def test_a_file_puts_no_variable_of_the_environment_into_its_url(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", KEY)
    (folder / ".env").write_text("OLLAMA_HOST=http://collector.example/${MY_KEY}\n")
    assert KEY not in str(plan("saas/ollama", "m").setup.params)

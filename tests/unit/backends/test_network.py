"""Which proxy and certificates a deployment has, from settings and variables."""

from __future__ import annotations

import os
import ssl
from pathlib import Path

import pytest
import trustme
from hypothesis import given, strategies as st

from byzer_magic import errors
from byzer_magic.backends.network import from_environment, read_verify
from byzer_magic.commands.spec import DeploySpec
from byzer_magic.plan import Plan, resolve

PROXY = "http://me:planted-password@10.0.0.1:3128"
ENVIRON = {"https_proxy": PROXY, "http_proxy": "http://10.0.0.2:80"}


def plan_of(environ: dict[str, str], url: str = "https://api.x.com/v1", **params: str) -> Plan:
    own = {f"saas.{name}": value for name, value in params.items()}
    infer_params = {"saas.model": "m", "saas.api_key": "sk-planted-1", "saas.base_url": url, **own}
    return resolve(DeploySpec(model="m", pretrained_model_type="saas/openai", infer_params=infer_params), {}, environ)


@pytest.mark.parametrize(
    ("host", "no_proxy", "direct"),
    [
        ("api.x.com", "", False),
        ("api.x.com", "x.com", True),
        ("api.x.com", ".x.com", True),
        ("api.x.com", "*.x.com", True),
        ("apix.com", ".x.com", False),
        ("api.x.com", "y.com, api.x.com", True),
        ("api.x.com", "y.com api.x.com", True),
        ("api.x.com:8443", "api.x.com:8443", True),
        ("api.x.com", "*", True),
        ("API.X.com", "api.x.com", True),
        ("10.1.2.3:8000", "10.0.0.0/8", True),
        ("11.1.2.3", "10.0.0.0/8", False),
        ("[fd00::1]:8000", "fd00::/8", True),
        ("127.0.0.1:11434", "localhost,127.0.0.1", True),
        ("api.x.com", "10.0.0.0/99,,api", False),
    ],
)
def test_no_proxy_covers_a_host(host: str, no_proxy: str, direct: bool) -> None:
    network = from_environment({**ENVIRON, "no_proxy": no_proxy})
    assert (network.proxy(f"https://{host}/v1") is None) == direct


@pytest.mark.parametrize(
    ("environ", "source"),
    [
        ({"https_proxy": PROXY}, "https_proxy"),
        ({"HTTPS_PROXY": PROXY}, "HTTPS_PROXY"),
        ({"https_proxy": PROXY, "HTTPS_PROXY": "http://other:1"}, "https_proxy"),
        ({"https_proxy": " ", "ALL_PROXY": PROXY}, "ALL_PROXY"),
        ({"all_proxy": "socks5://10.0.0.1:7890", "https_proxy": PROXY}, "https_proxy"),
        ({"https_proxy": PROXY.removeprefix("http://")}, "https_proxy"),
    ],
)
def test_proxy_comes_from_the_variable_that_curl_would_take(environ: dict[str, str], source: str) -> None:
    network = from_environment(environ)
    assert network.proxy("https://api.x.com/v1") == PROXY
    assert network.describe("https://api.x.com/v1") == [
        f"Requests go through the proxy http://10.0.0.1:3128 ({source})."
    ]


def test_setting_overrides_all_variables() -> None:
    environ = {**ENVIRON, "no_proxy": "x.com"}
    assert plan_of(environ, proxy="http://10.0.0.9:1").setup.network.proxy("https://api.x.com") == "http://10.0.0.9:1"
    assert plan_of(ENVIRON, proxies="http://10.0.0.9:1").setup.network.proxy("https://api.x.com") == "http://10.0.0.9:1"
    assert plan_of(ENVIRON, proxy="none").setup.network.proxy("https://api.x.com") is None


def test_plan_tells_what_is_not_the_default_without_the_password() -> None:
    plan = plan_of({**ENVIRON, "no_proxy": "10.0.0.0/8"}, verify="false")
    assert plan.network_notes == [
        "Requests go through the proxy http://10.0.0.1:3128 (https_proxy).",
        "TLS certificates are not verified (saas.verify).",
    ]
    assert plan_of({}).network_notes == []
    assert "bypass the proxy from http_proxy" in plan_of(
        {**ENVIRON, "no_proxy": "10.0.0.0/8"}, url="http://10.5.0.1:8000/v1"
    ).network_notes[0]  # fmt: skip
    assert "planted-password" not in repr(plan) + repr(plan.setup) + repr(plan.setup.network)
    assert "planted-password" in plan.hidden


@pytest.mark.parametrize(
    ("params", "environ", "words"),
    [
        ({"proxy": "socks5://127.0.0.1:7890"}, {}, "saas.proxy is a SOCKS proxy"),
        ({"proxy": "not a url"}, {}, "saas.proxy is not the URL of an HTTP proxy"),
        ({"proxy": "http://host:port"}, {}, "saas.proxy is not the URL of an HTTP proxy"),
        ({}, {"HTTPS_PROXY": "ftp://10.0.0.1:1"}, "HTTPS_PROXY is not the URL of an HTTP proxy"),
        ({"proxy": "http://10.0.0.1 :3128"}, {}, "saas.proxy is not the URL of an HTTP proxy"),
        ({}, {"https_proxy": "http://10.0.0.1 :3128"}, "https_proxy is not the URL of an HTTP proxy"),
        ({}, {"https_proxy": "http:/10.0.0.1:3128"}, "https_proxy is not the URL of an HTTP proxy"),
        ({}, {"https_proxy": "yes"}, "https_proxy is not the URL of an HTTP proxy"),
        ({}, {"https_proxy": "http://10.0.0.1:99999"}, "https_proxy is not the URL of an HTTP proxy"),
        ({"verify": "x" * 300}, {}, "which does not exist"),
        ({"verify": "a\0b"}, {}, "which does not exist"),
        ({"verify": "/no/such/ca.pem"}, {}, "saas.verify is '/no/such/ca.pem'"),
        ({}, {"SSL_CERT_FILE": "/no/such/ca.pem"}, "SSL_CERT_FILE is /no/such/ca.pem"),
    ],
)
def test_what_cannot_work_is_refused_with_its_source(
    params: dict[str, str], environ: dict[str, str], words: str
) -> None:
    with pytest.raises(errors.BadParameter) as caught:
        plan_of(environ, **params)
    assert words in str(caught.value)
    assert caught.value.hint


def test_certificates_do_not_stop_a_server_without_tls() -> None:
    environ = {"SSL_CERT_FILE": "/no/such/ca.pem", "all_proxy": "socks5://127.0.0.1:7890"}
    plan = plan_of(environ, url="http://127.0.0.1:8000/v1")
    assert plan.network_notes == ["The SOCKS proxy from all_proxy is not used: only HTTP proxies are supported."]


def test_file_without_certificates_is_named(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("not a certificate")
    with pytest.raises(errors.BadParameter, match=r"ca\.pem, which contains no certificates"):
        plan_of({}, verify=str(tmp_path / "ca.pem"))


def test_what_is_no_file_and_no_folder_of_certificates_is_named_without_opening_it(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "empty").mkdir()
    for name, reason in (("pipe", "it is not a regular file"), ("empty", "the folder is empty")):
        for params, environ in (({"verify": str(tmp_path / name)}, {}), ({}, {"SSL_CERT_FILE": str(tmp_path / name)})):
            with pytest.raises(errors.BadParameter, match=f"{name}, which contains no certificates: {reason}"):
                plan_of(environ, **params)


def test_verify_without_a_value_is_the_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert plan_of({}, verify=" ").setup.network.verify is True
    assert (read_verify("on"), read_verify("Off")) == (True, False)


def test_relative_path_of_certificates_becomes_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "ca.pem").touch()
    monkeypatch.chdir(tmp_path)
    assert read_verify("ca.pem") == str(tmp_path / "ca.pem")


def test_adopt_leaves_nothing_of_the_environment_before() -> None:
    environ = {"HTTP_PROXY": "http://old:1", "NO_PROXY": "old", "SSL_CERT_FILE": "/old.pem", "HOME": "/root"}
    from_environment({"https_proxy": PROXY, "no_proxy": "corp"}).adopt(environ)
    assert environ == {"https_proxy": PROXY, "no_proxy": "corp", "HOME": "/root"}


@given(st.dictionaries(st.sampled_from(["https_proxy", "ALL_PROXY", "no_proxy", "NO_PROXY"]), st.text()), st.text())
def test_no_value_of_a_variable_raises_anything_else(environ: dict[str, str], url: str) -> None:
    network = from_environment(environ)
    for target in ("https://api.x.com/v1", url):
        try:
            network.check(target)
        except errors.BadParameter as err:
            assert err.hint


@pytest.mark.parametrize("url", ["http://[::1/v1", "http://h:port/v1", "http://h:99999/v1", "https://a..b"])
def test_url_that_is_none_is_named_in_a_deployment(url: str) -> None:
    for environ in ({}, ENVIRON):
        with pytest.raises(errors.BadParameter, match=r"saas\.base_url is"):
            plan_of(environ, url=url)


def test_certificates_are_read_again_when_their_file_has_changed(tmp_path: Path) -> None:
    first, second = trustme.CA(), trustme.CA()
    path = tmp_path / "ca.pem"
    first.cert_pem.write_to_path(path)
    network = from_environment({}, verify=str(path))
    context = network.ssl_context()
    assert network.ssl_context() is context
    second.cert_pem.write_to_path(path, append=True)
    again = network.ssl_context()
    assert isinstance(again, ssl.SSLContext)
    assert len(again.get_ca_certs()) == 2
    path.unlink()
    with pytest.raises(errors.BadParameter, match="contains no certificates"):
        network.ssl_context()

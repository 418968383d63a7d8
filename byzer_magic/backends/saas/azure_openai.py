"""OpenAI's models at Azure: the same API at a URL of the account's own.

https://learn.microsoft.com/azure/ai-foundry/openai/api-version-lifecycle: with the version ``v1`` requests go to
``/openai/v1/``, without an `api-version`; with a dated version they go to ``/openai/deployments/<name>/``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar
from urllib.parse import quote, urlencode

from byzer_magic.backends.base import Info, Param, Setup
from byzer_magic.backends.http.params import api_key, check_objects, check_url, missing_key, reveal
from byzer_magic.backends.openai import params as openai_params
from byzer_magic.backends.openai.backend import OpenAIBackend
from byzer_magic.backends.openai.client import Account, Client, connect, key_of
from byzer_magic.catalog import model_facts
from byzer_magic.i18n import lazy_gettext as _

ENDPOINT = "https://NAME.openai.azure.com/"
_OTHERS = ("saas.base_url", "saas.organization", "saas.api_key", "saas.model")


def _info() -> Info:
    shared = openai_params.info("saas/azure_openai", "Azure OpenAI")
    own = (
        Param(
            name="saas.azure_endpoint",
            help=_("URL of the resource: {example}", example=ENDPOINT),
            env=("AZURE_OPENAI_ENDPOINT",),
            required=True,
            aliases=("saas.base_url",),
        ),
        api_key(
            "AZURE_OPENAI_API_KEY",
            required=False,
            help=_("API key of the resource; several, separated by commas, take turns"),
        ),
        Param(
            name="saas.azure_ad_token",
            help=_("Microsoft Entra ID token, instead of a key"),
            secret=True,
            env=("AZURE_OPENAI_AD_TOKEN",),
        ),
        Param(name="saas.api_version", help=_("API version: v1, or a date"), default="v1", env=("OPENAI_API_VERSION",)),
        Param(name="saas.azure_deployment", help=_("name of the deployment in Azure (default: saas.model)")),
        Param(
            name="saas.api_type", help=_("accepted for older commands"), choices=("azure", "azure_ad"), default="azure"
        ),
        Param(name="saas.model", help=_("model name"), required=True),
    )
    params = (*own, *(param for param in shared.params if param.name not in _OTHERS))
    return replace(shared, params=params)


class AzureOpenAIBackend(OpenAIBackend):
    """The OpenAI API at Azure."""

    info: ClassVar[Info] = _info()

    def __init__(self, setup: Setup, client: Client) -> None:
        super().__init__(setup, client)
        self._model = _deployment(setup.params)  # requests name the deployment, not the model

    @classmethod
    def check(cls, setup: Setup) -> None:
        """Check the URL, and that there is a key or a token.

        Raises:
            MissingKey: neither is given.
            BadParameter: the URL or a JSON parameter is not valid.
        """
        params = setup.params
        check_url(params, "saas.azure_endpoint", ENDPOINT)
        if "saas.api_key" not in params and "saas.azure_ad_token" not in params:
            names = "saas.api_key or saas.azure_ad_token"
            raise missing_key(cls.info.kind, names, "AZURE_OPENAI_API_KEY", ask_for="saas.api_key")
        check_objects(params)
        model_facts.capabilities(params["saas.model"], params.get("saas.capabilities"))

    @classmethod
    def connect(cls, setup: Setup) -> Client:
        """Make the client, with the paths and headers of the API version."""
        make = _undated if setup.params["saas.api_version"] == "v1" else _dated
        return connect(setup, account(setup), lambda sdk, common: make(sdk, common, setup.params))


def account(setup: Setup) -> Account:
    """Return where requests go, and their headers: as the SDK's Azure client has them."""
    params = setup.params
    url, version = params["saas.azure_endpoint"].rstrip("/"), params["saas.api_version"]
    token, key = reveal(params.get("saas.azure_ad_token")), {"api-key": key_of(setup)}
    if version != "v1":
        base_url = f"{url}/openai/deployments/{quote(_deployment(params))}?{urlencode({'api-version': version})}"
        return Account(base_url, {"Authorization": f"Bearer {token}"} if token else key)
    bearer = {"Authorization": f"Bearer {token or key_of(setup)}"}
    return Account(f"{url}/openai/v1", bearer if token else {**bearer, **key})


def _deployment(params: Mapping[str, Any]) -> str:
    return str(params.get("saas.azure_deployment") or params["saas.model"])


def _undated(sdk: Any, common: dict[str, Any], params: Mapping[str, Any]) -> Any:
    url = f"{params['saas.azure_endpoint'].rstrip('/')}/openai/v1/"
    token = reveal(params.get("saas.azure_ad_token"))
    headers = {**(common["default_headers"] or {}), **({} if token else {"api-key": common["api_key"]})}
    own = {"base_url": url, "api_key": token or common["api_key"], "default_headers": headers}
    return sdk.AsyncOpenAI(**common | own)


def _dated(sdk: Any, common: dict[str, Any], params: Mapping[str, Any]) -> Any:
    token = reveal(params.get("saas.azure_ad_token"))
    own = {
        "api_key": None if token else common["api_key"],
        "azure_ad_token": token,
        "azure_endpoint": params["saas.azure_endpoint"],
        "azure_deployment": _deployment(params),
        "api_version": params["saas.api_version"],
    }
    return sdk.AsyncAzureOpenAI(**{name: value for name, value in common.items() if name != "base_url"} | own)


BACKEND = AzureOpenAIBackend

"""Commands of the documentation, changed as little as it takes to run them here: another URL, another path."""

from __future__ import annotations

import re
from contextlib import ExitStack
from pathlib import Path

from byzer_magic.backends import registry
from tests.conftest import KEY
from tests.servers.process import Process, openai_api, own

MODELS = "deepseek-chat,qwen-max,moonshot-v1-32k,llama3.2"
LOCAL_MODELS = "/models/"
"""Where the pages keep weights; the tests have a folder of their own with the same names in it."""
DEPLOY = re.compile(r"--pretrained_model_type (saas/\w+)(?:\\\n|[^\n]|\n(?=--))*")
EASY = re.compile(r"((?:easy-byzerllm|%byzer easy) deploy \S+)")
YAML = re.compile(r"^infer_params:\n", re.MULTILINE)
OWN = {
    "saas/azure_openai": ("openai_api", "saas.azure_endpoint={url}"),
    "saas/claude": ("claude", "saas.base_url={url}"),
    "saas/aws_bedrock": ("bedrock", "saas.endpoint_url={url}"),
    "saas/qianwen": ("dashscope", "saas.base_url={url}/api/v1"),
    "saas/volcengine": ("volcengine", "saas.base_url={url}"),
    "saas/azure": ("azure_speech", "saas.base_url={url}"),
    "saas/ollama": ("ollama", "saas.base_url={url}"),
}
"""The providers with an API of their own: the server that plays it, and the parameter that leads there."""
EXPORTED = (
    "OPENAI_API_KEY", "OPENAI_API_KEY_2", "DEEPSEEK_API_KEY", "ANTHROPIC_API_KEY", "DASHSCOPE_API_KEY",
    "MOONSHOT_API_KEY", "AZURE_OPENAI_API_KEY", "AZURE_SPEECH_KEY", "VOLC_TTS_TOKEN",
    "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY",
)  # fmt: skip
"""The variables that the reader has exported; a key is the same for every test server."""
OPENAI = ("openai_api", "saas.base_url={url}/v1")
KEYS = {"bedrock": f"{KEY}:{KEY}", "ollama": ""}


class Redirect:
    """Leads commands to the test servers, each started when it is first needed."""

    def __init__(self, running: ExitStack, models: Path) -> None:
        self._running = running
        self._models = models
        self._servers: dict[str, Process] = {}

    def __call__(self, text: str) -> str:
        """Return the text with every deploy aimed at a server of the tests."""
        text = DEPLOY.sub(self._deploy, text)
        text = EASY.sub(lambda match: f"{match[1]} --base_url {self._url('openai_api')}/v1", text)
        return text.replace(LOCAL_MODELS, f"{self._models}/")

    def yaml(self, text: str) -> str:
        """Return a file of `deploy --file` aimed at the test server."""
        base_url = f"  saas.base_url: {self._url('openai_api')}/v1\n"
        return YAML.sub(lambda match: match[0] + base_url, text) if "saas/" in text else text

    @property
    def openai_url(self) -> str:
        """The server that plays OpenAI."""
        return self._url("openai_api")

    def _deploy(self, match: re.Match[str]) -> str:
        server, setting = OWN.get(match[1], OPENAI)
        setting = setting.format(url=self._url(server))
        text = match[0]
        if "saas.api_key=" not in text and (variable := key_variable(match[1])):
            text = text.replace("--infer_params ", f"--infer_params saas.api_key=env:{variable} ", 1)
        name = setting.partition("=")[0]
        given = re.compile(rf"{re.escape(name)}=\S+")
        if given.search(text):
            return given.sub(setting, text)
        return text.replace("--infer_params ", f"--infer_params {setting} ", 1)

    def _url(self, server: str) -> str:
        if server not in self._servers:
            key = KEYS.get(server, KEY)
            made = openai_api(key, MODELS) if server == "openai_api" else own(server, key)
            self._servers[server] = self._running.enter_context(made)
        return self._servers[server].url


def key_variable(kind: str) -> str:
    """Return the variable that replaces a missing key, but not at another URL than the provider's own."""
    params = registry.find(kind).info.params
    names = (name for param in params if param.name == "saas.api_key" for name in param.env)
    return next((name for name in names if name in EXPORTED), "")

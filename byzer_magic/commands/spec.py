"""The commands and their options, declared once.

From these dataclasses come the parsers of the magics and of the shell, completion, `--help`, the check of
`--file`, the fields of the forms, and the table in the documentation. Adding an option is adding a field.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING
from typing import Any

from byzer_magic.commands.options import Spec, option
from byzer_magic.commands.registry import CELL, EASY, REGISTRY, command, command_of
from byzer_magic.i18n import lazy_gettext as _
from byzer_magic.plugins import EngineChoices
from byzer_magic.routing.policy import POLICIES


def _alias(default: Any = MISSING, **more: Any) -> Any:
    return option(default, help=_("alias of the deployment"), complete="alias", **more)


def _images(text: str) -> Any:
    return option((), help=text, kind="texts", complete="path")


def _request_params() -> Any:
    return option(
        help=_("more fields of the request as key=value words (voice, size, n, seed, response_format, ...)"),
        kind="params",
    )


def _ray_address() -> Any:
    return option(
        "auto",
        help=_("Ray cluster: auto (running one, else a local one is started) or host:port"),
    )


@command("deploy", run="byzer_magic.actions.actions:deploy")
class DeploySpec(Spec):
    """A model to deploy. Text stays as typed: `${NAME}` is expanded beside the spec, never in it."""

    summary = _("Deploy a SaaS model or local weights under an alias.")
    examples = (
        "deploy --pretrained_model_type saas/openai --model gpt4o_chat"
        " --infer_params saas.model=gpt-4o saas.api_key=${MODEL_OPENAI_TOKEN}",
        "deploy --pretrained_model_type custom/auto --infer_backend llama_cpp --model_path model.gguf --model llama",
        "deploy --file deploy.yml --dry_run",
    )

    model: str = option(
        help=_("name of this deployment, unique in the cluster"),
    )
    pretrained_model_type: str = option("custom/auto", help=_("saas/<provider> or custom/<family>"), complete="kind")
    infer_backend: str | None = option(None, help=_("engine of a local model"), choices=EngineChoices())
    model_path: str | None = option(None, help=_("weights of a local model: file or folder"), complete="path")
    num_workers: int = option(1, help=_("workers of this deployment"), kind="int", minimum=1)
    worker_concurrency: int = option(1, help=_("requests one worker runs at once"), kind="int", minimum=1)
    load_balance: str = option(
        "lru",
        help=_("next worker: lru (least recently used), least_busy (fewest requests) or round_robin (in turn)"),
        choices=tuple(POLICIES),
    )
    cpus_per_worker: float = option(0.01, help=_("CPUs Ray reserves per worker"), kind="float", minimum=0)
    gpus_per_worker: float = option(0.0, help=_("GPUs Ray reserves per worker"), kind="float", minimum=0)
    infer_params: Mapping[str, str] = option(
        help=_("settings of the backend as key=value words (saas.*, backend.*, ...)"),
        kind="params",
    )
    ray_address: str = _ray_address()
    file: str | None = option(None, help=_("YAML file with any of these options"), complete="path")
    replace: bool = option(default=False, help=_("replace what runs under this alias"), kind="bool")
    dry_run: bool = option(default=False, help=_("check everything, deploy nothing"), kind="bool")


@command("undeploy", run="byzer_magic.actions.actions:undeploy")
class UndeploySpec(Spec):
    """A deployment to remove."""

    summary = _("Remove a deployment; requests in flight may finish first.")
    examples = ("undeploy --model gpt4o_chat", "undeploy --model gpt4o_chat --force")

    model: str = _alias()
    force: bool = option(default=False, help=_("do not wait for requests in flight"), kind="bool")
    grace: float = option(30.0, help=_("seconds that requests in flight may take to finish"), kind="float", minimum=0)
    ray_address: str = _ray_address()
    file: str | None = option(None, help=_("YAML file with any of these options"), complete="path")


def _worker(text: str) -> Any:
    return option(None, help=text, kind="int", minimum=0)


@command("scale", run="byzer_magic.actions.actions:scale")
class ScaleSpec(Spec):
    """Another number of workers for a deployment that runs."""

    summary = _("Change the number of workers of a running deployment; requests go on meanwhile.")
    examples = ("scale --model gpt4o_chat --num_workers 8",)

    model: str = _alias()
    num_workers: int = option(help=_("workers that it shall have"), kind="int", minimum=1)
    ray_address: str = _ray_address()


@command("drain", run="byzer_magic.actions.actions:drain")
class DrainSpec(Spec):
    """Workers that shall get no new requests."""

    summary = _("Send no new requests to a deployment, or to one worker; those in flight finish. `restart` ends it.")
    examples = ("drain --model gpt4o_chat", "drain --model llama --worker 1")

    model: str = _alias()
    worker: int | None = _worker(_("this worker only"))
    ray_address: str = _ray_address()


@command("restart", run="byzer_magic.actions.actions:restart")
class RestartSpec(Spec):
    """Workers that shall begin anew."""

    summary = _("Restart the workers one after the other, or one of them; requests in flight finish first.")
    examples = ("restart --model llama", "restart --model llama --worker 1")

    model: str = _alias()
    worker: int | None = _worker(_("this worker only"))
    grace: float = option(30.0, help=_("seconds that requests in flight may take to finish"), kind="float", minimum=0)
    ray_address: str = _ray_address()


@command("stat", run="byzer_magic.actions.inspect:stat")
class StatSpec(Spec):
    """A look at one deployment, or at all."""

    summary = _("Show the counters of one deployment as JSON, or a table of all.")
    examples = ("stat --model gpt4o_chat", "stat --interval 2", "stat --df")

    model: str | None = _alias(None)
    json: bool = option(default=False, help=_("print plain JSON"), kind="bool")
    df: bool = option(default=False, help=_("return a pandas DataFrame (notebook)"), kind="bool")
    interval: float = option(0.0, help=_("repeat every so many seconds until interrupted"), kind="float", minimum=0)
    ray_address: str = _ray_address()
    file: str | None = option(None, help=_("YAML file with any of these options"), complete="path")


@command("list", run="byzer_magic.actions.inspect:list_deployments")
class ListSpec(Spec):
    """All deployments."""

    summary = _("List the deployments of the cluster.")
    examples = ("list",)

    json: bool = option(default=False, help=_("print plain JSON"), kind="bool")
    ray_address: str = _ray_address()


@command(
    "panel", run="byzer_magic.widgets.panel.screen:show", notebook_only=_("In a shell there is: stat --interval 1")
)
class PanelSpec(Spec):
    """The live panel."""

    summary = _("Show all deployments, or one, in a panel that stays live while cells run.")
    examples = ("panel", "panel --model gpt4o_chat")

    model: str | None = _alias(None)
    ray_address: str = _ray_address()


@command("plot", run="byzer_magic.widgets.plot:show", notebook_only=_("In a shell there is: stat --model ALIAS --json"))
class PlotSpec(Spec):
    """A deployment's last minutes as a figure."""

    summary = _("Plot latency, throughput and cost of a deployment over the last minutes.")
    examples = ("plot --model gpt4o_chat", "plot --model gpt4o_chat --minutes 2")

    model: str = _alias()
    minutes: float = option(10.0, help=_("how far back, at most 10"), kind="float", minimum=0.1)
    ray_address: str = _ray_address()


@command("form", run="byzer_magic.widgets.form.screen:show", notebook_only=_("In a shell there is: deploy --help"))
class FormSpec(Spec):
    """A form for a deployment."""

    summary = _("Fill in a deployment as a form: fields, checks, a test of the connection, the command it stands for.")
    examples = ("form", "form deepseek-chat", "form --file deploy.yml")
    keeps_file = True

    preset: str | None = option(
        None, help=_("preset, type (saas/openai) or engine (vllm) to begin with"), positional=True, complete="preset",
    )  # fmt: skip
    file: str | None = option(None, help=_("YAML file to begin with"), complete="path")
    ray_address: str = _ray_address()


@command(
    "chat",
    run="byzer_magic.widgets.chat.screen:show",
    notebook_only=_("In a shell there is: easy-byzerllm chat ALIAS PROMPT"),
)
class ChatViewSpec(Spec):
    """A chat window in a cell."""

    summary = _("Open a chat with a deployment: streaming answers, attachments, sessions, settings.")
    examples = ("chat gpt4o_chat", "chat gpt4o_chat --session tutor")

    model: str = _alias(positional=True)
    session: str | None = option(
        None,
        help=_("go on with this session of %%chat"),
    )
    system: str | None = option(
        None,
        help=_("system prompt"),
    )
    ray_address: str = _ray_address()


@command("query", run="byzer_magic.actions.actions:query")
class QuerySpec(Spec):
    """One prompt to one deployment."""

    summary = _("Send one prompt and print the answer.")
    examples = (
        'query --model gpt4o_chat --query "Why is the sky blue?"',
        'query --model openai_tts --query "Hello" --params voice=nova --output_file hello.mp3',
        "query --model voice2text --audio talk.m4a",
    )

    model: str = _alias()
    query: str | None = option(
        None,
        help=_("the prompt"),
    )
    output_file: str | None = option(
        None, help=_("write the answer to this file: text, sound, picture or JSON"), complete="path"
    )
    image: tuple[str, ...] = _images(_("a picture to look at or to change: path or URL; may be repeated"))
    audio: str | None = option(None, help=_("a sound to write down: its path"), complete="path")
    params: Mapping[str, str] = _request_params()
    system: str | None = option(
        None,
        help=_("system prompt"),
    )
    temperature: float | None = option(None, help=_("sampling temperature"), kind="float")
    max_tokens: int | None = option(None, help=_("longest answer, in tokens"), kind="int", minimum=1)
    timeout: float | None = option(None, help=_("seconds to wait for the whole answer"), kind="float", minimum=0)
    ray_address: str = _ray_address()
    file: str | None = option(None, help=_("YAML file with any of these options"), complete="path")


@command("logs", run="byzer_magic.actions.inspect:logs")
class LogsSpec(Spec):
    """The log of one deployment."""

    summary = _("Show the last lines that a deployment and its engine wrote.")
    examples = ("logs --model llama --lines 50",)

    model: str = _alias()
    lines: int = option(100, help=_("how many lines"), kind="int", minimum=1)
    ray_address: str = _ray_address()


@command("connect", run="byzer_magic.actions.actions:connect")
class ConnectSpec(Spec):
    """A cluster to use."""

    summary = _("Connect to a Ray cluster (auto: the running one, else start a local one).")
    examples = ("connect", "connect --ray_address 10.0.0.5:6379")

    ray_address: str = _ray_address()


@command("shutdown", run="byzer_magic.actions.actions:shutdown")
class ShutdownSpec(Spec):
    """The end of the local Ray."""

    summary = _("Stop the local Ray that byzer-magic started, with all its deployments.")
    examples = ("shutdown",)


@command("models", run="byzer_magic.actions.inspect:list_models")
class ModelsSpec(Spec):
    """The models on this machine's disk."""

    summary = _("List the local models in the usual caches, and what runs each.")
    examples = ("models", "models --model_path /data/models")

    model_path: str | None = option(None, help=_("look in this folder instead"), complete="path")
    json: bool = option(default=False, help=_("print plain JSON"), kind="bool")


@command("doctor", run="byzer_magic.actions.inspect:diagnose")
class DoctorSpec(Spec):
    """What is installed here, and what a model would need."""

    summary = _("Show which engines are installed, what is free, and what a model would need.")
    examples = ("doctor", "doctor --model_path /data/models/Qwen3-8B")

    model_path: str | None = option(
        None, help=_("a model to size up before it is loaded: file or folder"), complete="path"
    )
    json: bool = option(default=False, help=_("print plain JSON"), kind="bool")


@command("presets", run="byzer_magic.actions.inspect:list_presets")
class PresetsSpec(Spec):
    """The table of presets."""

    summary = _("Show the presets that `easy deploy` knows.")
    examples = ("presets",)

    json: bool = option(default=False, help=_("print plain JSON"), kind="bool")


@command("sessions", run="byzer_magic.magics.chat:sessions", notebook_only=_("In a shell there are no sessions."))
class SessionsSpec(Spec):
    """The conversations that `%%chat --session` remembers."""

    summary = _("List the conversation sessions of this notebook, or forget some.")
    examples = ("sessions", "sessions --reset tutor", "sessions --reset all")

    reset: str | None = option(
        None,
        help=_("forget this session (all: every one)"),
    )


@command("easy deploy", run="byzer_magic.actions.actions:easy_deploy")
class EasyDeploySpec(Spec):
    """A preset to deploy."""

    summary = _("Deploy a preset: provider, URL and model name are filled in.")
    examples = ("easy deploy deepseek-chat --token ${DEEPSEEK_API_KEY} --alias deepseek_chat",)

    preset: str = option(help=_("name of the preset (`presets` shows them)"), positional=True, complete="preset")
    token: str | None = option(None, help=_("key of the provider; ${NAME} is fine"), secret=True)
    alias: str | None = option(
        None,
        help=_("alias; default: the preset's name with _ for other characters"),
    )
    base_url: str | None = option(
        None,
        help=_("another endpoint with the same wire"),
    )
    infer_params: Mapping[str, str] = option(help=_("more settings, key=value"), kind="params")
    ray_address: str = _ray_address()
    replace: bool = option(default=False, help=_("replace what runs under this alias"), kind="bool")
    dry_run: bool = option(default=False, help=_("check everything, deploy nothing"), kind="bool")


@command("easy undeploy", run="byzer_magic.actions.actions:easy_undeploy")
class EasyUndeploySpec(Spec):
    """A deployment to remove, named without a flag."""

    summary = _("Remove a deployment.")
    examples = ("easy undeploy deepseek_chat",)

    model: str = _alias(positional=True)
    force: bool = option(default=False, help=_("do not wait for requests in flight"), kind="bool")
    ray_address: str = _ray_address()


@command("easy chat", run="byzer_magic.actions.actions:easy_chat")
class EasyChatSpec(Spec):
    """One prompt to one deployment, named without flags."""

    summary = _("Send one prompt and print the answer as it comes.")
    examples = ("easy chat deepseek_chat Why is the sky blue?",)

    model: str = _alias(positional=True)
    query: str = option(help=_("the prompt"), positional=True)
    ray_address: str = _ray_address()


@command("%%chat", run="byzer_magic.magics.byzer:ByzerMagics.chat")
class ChatSpec(Spec):
    """The first line of `%%chat` (or all of `%chat`)."""

    summary = _("Ask a deployment what it is for: chat streams into the cell, speech plays, pictures show.")
    examples = (
        "%%chat gpt4o_chat --session tutor",
        "%chat gpt4o_chat Why is the sky blue?",
        "%%chat gpt4o_chat --image photo.png",
        "%%chat openai_tts --params voice=nova speed=1.1 --out speech",
        "%chat voice2text --audio talk.m4a",
        "%%chat gpt4o_chat,deepseek_chat --judge qwen_max",
    )

    model: str = option(
        help=_("alias of the deployment; several, with commas between, answer side by side"),
        complete="alias", positional=True,
    )  # fmt: skip
    query: str | None = option(None, help=_("the prompt, when it is not in the cell"), positional=True)
    system: str | None = option(
        None,
        help=_("system prompt"),
    )
    temperature: float | None = option(None, help=_("sampling temperature"), kind="float")
    max_tokens: int | None = option(None, help=_("longest answer, in tokens"), kind="int", minimum=1)
    image: tuple[str, ...] = _images(_("a picture to look at or to change: path, URL or variable; may be repeated"))
    audio: str | None = option(
        None, help=_("a sound to write down: path or variable; rec: record it here"), complete="path",
    )  # fmt: skip
    params: Mapping[str, str] = _request_params()
    session: str | None = option(
        None,
        help=_("remember the conversation under this name"),
    )
    reset: bool = option(default=False, help=_("start the session anew"), kind="bool")
    format: str = option("markdown", help=_("how the answer is shown"), choices=("markdown", "text", "json", "code"))
    out: str | None = option(
        None,
        help=_("put the result (of several models: a list) into this variable"),
    )
    df: bool = option(default=False, help=_("put a pandas DataFrame into --out instead"), kind="bool")
    judge: str | None = option(
        None, help=_("a deployment that compares the answers of several models"), complete="alias"
    )
    no_stream: bool = option(default=False, help=_("show the answer when it is complete"), kind="bool")
    timeout: float | None = option(None, help=_("seconds to wait for the whole answer"), kind="float", minimum=0)


COMMANDS = {name: row.spec for name, row in REGISTRY.items() if not name.startswith((EASY, CELL))}
"""Subcommands of `%byzer` and `byzerllm`."""

EASY_COMMANDS = {name.removeprefix(EASY): row.spec for name, row in REGISTRY.items() if name.startswith(EASY)}
"""Subcommands of `%byzer easy` and `easy-byzerllm`."""


def all_commands() -> dict[str, type[Spec]]:
    """Return every command by the name that errors, help and completion use for it."""
    return {name: row.spec for name, row in REGISTRY.items()}


def name_of(cls: type[Spec]) -> str:
    """Return the name of a command.

    Example:
        >>> name_of(EasyDeploySpec)
        'easy deploy'
    """
    return command_of(cls).name

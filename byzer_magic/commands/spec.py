"""The commands and their options, declared once.

The parsers of the magics and of the shell, completion, `--help`, the check of `--file`, the fields of the forms and the
reference in the documentation are made from these classes. To add an option, add a field; to add a command, add a class
and the function that its decorator names.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING
from typing import Any

from byzer_magic.commands import former, registry
from byzer_magic.commands.options import Spec, option
from byzer_magic.commands.registry import LISTED, REGISTRY, SKIPPED, command, command_of
from byzer_magic.i18n import lazy_gettext as _
from byzer_magic.plugins import EngineChoices
from byzer_magic.routing.autoscale import Scaling
from byzer_magic.routing.budget import PERIODS
from byzer_magic.routing.capacity import Capacity
from byzer_magic.routing.node_choice import PLACEMENTS
from byzer_magic.routing.policy import POLICIES

MOST_WORKERS = 10_000
"""Of one deployment: a table of slots, and the replay of `what_if`, have each of them in memory."""
MAX_QUEUED = 10_000
"""Requests that wait in one deployment, where nothing else is said."""


def _alias(default: Any = MISSING, **more: Any) -> Any:
    return option(default, help=_("alias of the deployment"), complete="alias", **more)


def _images(text: str) -> Any:
    return option((), help=text, kind="texts", complete="path")


def _request_params() -> Any:
    return option(
        help=_("more fields of the request, as key=value words (voice, size, n, seed, response_format, ...)"),
        kind="params",
    )


def _fresh() -> Any:
    return option(default=False, help=_("ask also what the journal could answer"), kind="bool")


def _session() -> Any:
    return option(None, help=_("keep the conversation under this name, also for other notebooks and shells"))


def _reset() -> Any:
    return option(default=False, help=_("start the session again"), kind="bool")


def _background() -> Any:
    return option(
        default=False,
        help=_("return at once; the answer goes on without this notebook or shell (`attach` shows it)"),
        kind="bool",
    )


def _ray_address() -> Any:
    return option(
        "auto",
        help=_("Ray cluster: host:port, auto (the running one, else start a local one), or local (your local Ray)"),
    )


@command("deploy", run="byzer_magic.actions.actions:deploy", replayed=SKIPPED)
class DeploySpec(Spec):
    """A model to deploy. Values stay as typed: `${NAME}` is expanded in the plan, never in the spec."""

    summary = _("Deploy a SaaS model or local weights under an alias.")
    examples = (
        "deploy --pretrained_model_type saas/openai --model gpt4o_chat"
        " --infer_params saas.model=gpt-4o saas.api_key=${MODEL_OPENAI_TOKEN}",
        "deploy --pretrained_model_type custom/auto --infer_backend llama_cpp --model_path model.gguf --model llama",
        "deploy --model_path hf:Qwen/Qwen3-0.6B --model qwen",
        "deploy --pretrained_model_type saas/openai --infer_params saas.model=gpt-4o --model gpt4o_chat --check",
        "deploy --file deploy.yml --dry_run",
    )

    model: str = option(help=_("alias of the deployment, unique in the cluster"))
    pretrained_model_type: str = option(
        "custom/auto", help=_("type: saas/<provider> or custom/<family>"), complete="kind", renamed=former.TYPES
    )
    infer_backend: str | None = option(
        None,
        help=_("engine that runs a local model"),
        choices=EngineChoices(),
        renamed=former.ENGINES,
    )
    model_path: str | None = option(
        None,
        help=_("local model: file, folder, or a model in a hub (hf:OWNER/REPO, ms:OWNER/REPO, with :FILE or :Q4_K_M)"),
        complete="model",
    )
    num_workers: int = option(1, help=_("number of workers"), kind="int", minimum=1, maximum=MOST_WORKERS)
    min_workers: int | None = option(
        None,
        help=_("scale by the queue, down to this number of workers; 0: a local model sleeps after --idle (default 5m)"),
        kind="int",
        minimum=0,
        maximum=MOST_WORKERS,
    )
    max_workers: int | None = option(
        None,
        help=_("scale by the queue, up to this number of workers"),
        kind="int",
        minimum=1,
        maximum=MOST_WORKERS,
    )
    worker_concurrency: int = option(1, help=_("requests that one worker runs at once"), kind="int", minimum=1)
    load_balance: str = option(
        "lru",
        help=_(
            "next worker: lru (least recently used), least_busy (fewest requests), round_robin (in turn),"
            " session (that of the chat's last turn, which has it cached)"
        ),
        choices=tuple(POLICIES),
    )
    cpus_per_worker: float = option(0.01, help=_("CPUs that Ray reserves for each worker"), kind="float", minimum=0)
    gpus_per_worker: float = option(0.0, help=_("GPUs that Ray reserves for each worker"), kind="float", minimum=0)
    placement: str | None = option(
        None,
        help=_("nodes of the workers of a local model: spread (over all) or pack (on as few as will do)"),
        choices=PLACEMENTS,
    )
    idle: float | None = option(
        None,
        help=_(
            "unload a local model after this time without requests (10m, 1h30m; 0: never);"
            " the next request loads it again"
        ),
        kind="duration",
        minimum=0,
    )
    silence: float = option(
        1800.0,
        help=_(
            "restart a worker of a local model that computes, but sends nothing to its requests for this long"
            " (10m, 2h; 0: never)"
        ),
        kind="duration",
        minimum=0,
    )
    max_queue: int = option(
        MAX_QUEUED, help=_("requests that may wait for a slot; further ones are refused"), kind="int", minimum=0
    )
    rpm: int = option(
        0, help=_("requests a minute; further ones wait in the queue; 0: no limit"), kind="int", minimum=0
    )
    tpm: int = option(
        0, help=_("tokens a minute, of prompts and answers; further requests wait; 0: no limit"), kind="int", minimum=0
    )
    budget_usd: float = option(
        0.0, help=_("what may be spent, in US dollars; then requests are refused; 0: no limit"), kind="float", minimum=0
    )
    budget_per: str = option(
        PERIODS[0], help=_("what --budget_usd is for: the deployment, or each day (UTC)"), choices=PERIODS
    )
    infer_params: Mapping[str, str] = option(
        help=_("parameters of the backend, as key=value words (saas.*, backend.*, ...)"),
        kind="params",
    )
    ray_address: str = _ray_address()
    file: str | None = option(None, help=_("YAML file with any of these options"), complete="path")
    replace: bool = option(default=False, help=_("replace the deployment of this alias"), kind="bool")
    check: bool = option(
        default=False,
        help=_("deploy only what answers: ask for one token (or one embedding, ...) before it is ready"),
        kind="bool",
    )
    dry_run: bool = option(default=False, help=_("check everything, deploy nothing"), kind="bool")

    @property
    def scaling(self) -> Scaling:
        """Return between which numbers of workers it scales by itself."""
        return Scaling.of(self.num_workers, self.min_workers, self.max_workers, self.idle)

    def capacity(self, workers: int) -> Capacity:
        """Return what it has to serve requests with, when it has so many workers."""
        values = {name: getattr(self, name) for name in Capacity.__struct_fields__}
        return Capacity(**{**values, "num_workers": workers})


@command("undeploy", run="byzer_magic.actions.actions:undeploy", replayed=SKIPPED)
class UndeploySpec(Spec):
    """A deployment to remove."""

    summary = _("Remove a deployment; requests in flight may finish first.")
    examples = ("undeploy --model gpt4o_chat", "undeploy --model gpt4o_chat --force")

    model: str = _alias()
    force: bool = option(default=False, help=_("do not wait for requests in flight"), kind="bool")
    grace: float = option(30.0, help=_("seconds to wait for requests in flight"), kind="float", minimum=0)
    ray_address: str = _ray_address()
    file: str | None = option(None, help=_("YAML file with any of these options"), complete="path")


def _of_deploy(name: str) -> Any:
    """Return an option of `deploy` that is left as it is where it is not given."""
    meta = dict(DeploySpec.__dataclass_fields__[name].metadata)
    return option(**meta) if meta["kind"] == "params" else option(None, **meta)


@command("update", run="byzer_magic.actions.fleet:update", replayed=SKIPPED)
class UpdateSpec(Spec):
    """Changes of a deployment."""

    summary = _("Change a deployment without interrupting it: new workers take over once they are up, old ones finish.")
    examples = (
        "update --model gpt4o_chat --infer_params saas.model=gpt-4o-mini",
        "update --model llama --model_path newer.gguf --num_workers 2",
    )

    model: str = _alias()
    pretrained_model_type: str | None = _of_deploy("pretrained_model_type")
    infer_backend: str | None = _of_deploy("infer_backend")
    model_path: str | None = _of_deploy("model_path")
    num_workers: int | None = _of_deploy("num_workers")
    min_workers: int | None = _of_deploy("min_workers")
    max_workers: int | None = _of_deploy("max_workers")
    worker_concurrency: int | None = _of_deploy("worker_concurrency")
    load_balance: str | None = _of_deploy("load_balance")
    cpus_per_worker: float | None = _of_deploy("cpus_per_worker")
    gpus_per_worker: float | None = _of_deploy("gpus_per_worker")
    placement: str | None = _of_deploy("placement")
    idle: float | None = _of_deploy("idle")
    silence: float | None = _of_deploy("silence")
    max_queue: int | None = _of_deploy("max_queue")
    rpm: int | None = _of_deploy("rpm")
    tpm: int | None = _of_deploy("tpm")
    budget_usd: float | None = _of_deploy("budget_usd")
    budget_per: str | None = _of_deploy("budget_per")
    infer_params: Mapping[str, str] = _of_deploy("infer_params")
    ray_address: str = _ray_address()
    file: str | None = option(None, help=_("YAML file with any of these options"), complete="path")
    check: bool = option(
        default=False, help=_("request one token from the new workers before they take over"), kind="bool"
    )
    dry_run: bool = option(default=False, help=_("check everything, change nothing"), kind="bool")


def _worker(text: str) -> Any:
    return option(None, help=text, kind="int", minimum=0)


@command("scale", run="byzer_magic.actions.actions:scale", replayed=SKIPPED)
class ScaleSpec(Spec):
    """A new number of workers for a running deployment."""

    summary = _("Change the number of workers of a running deployment; requests continue.")
    examples = ("scale --model gpt4o_chat --num_workers 8",)

    model: str = _alias()
    num_workers: int = option(help=_("new number of workers"), kind="int", minimum=1, maximum=MOST_WORKERS)
    ray_address: str = _ray_address()


@command("drain", run="byzer_magic.actions.actions:drain", replayed=SKIPPED)
class DrainSpec(Spec):
    """Workers that receive no new requests."""

    summary = _(
        "Send no new requests to a deployment or to one worker; requests in flight finish. `restart` undoes it."
    )
    examples = ("drain --model gpt4o_chat", "drain --model llama --worker 1")

    model: str = _alias()
    worker: int | None = _worker(_("this worker only"))
    ray_address: str = _ray_address()


@command("restart", run="byzer_magic.actions.actions:restart", replayed=SKIPPED)
class RestartSpec(Spec):
    """Workers to restart."""

    summary = _("Restart all workers one by one, or one worker; requests in flight finish first.")
    examples = ("restart --model llama", "restart --model llama --worker 1")

    model: str = _alias()
    worker: int | None = _worker(_("this worker only"))
    grace: float = option(30.0, help=_("seconds to wait for requests in flight"), kind="float", minimum=0)
    ray_address: str = _ray_address()


@command("stat", run="byzer_magic.actions.inspect:stat", replayed=LISTED)
class StatSpec(Spec):
    """Statistics of one deployment, or of all."""

    summary = _("Show the statistics of one deployment as JSON, or a table of all deployments.")
    examples = ("stat --model gpt4o_chat", "stat --interval 2", "stat --df")

    model: str | None = _alias(None)
    json: bool = option(default=False, help=_("print JSON"), kind="bool")
    df: bool = option(default=False, help=_("return a pandas DataFrame (notebook only)"), kind="bool")
    interval: float = option(
        0.0, help=_("repeat at this interval, in seconds, until interrupted"), kind="float", minimum=0
    )
    ray_address: str = _ray_address()
    file: str | None = option(None, help=_("YAML file with any of these options"), complete="path")


@command("list", run="byzer_magic.actions.inspect:list_deployments", replayed=LISTED)
class ListSpec(Spec):
    """All deployments."""

    summary = _("List the deployments of the cluster.")
    examples = ("list",)

    json: bool = option(default=False, help=_("print JSON"), kind="bool")
    ray_address: str = _ray_address()


@command("fleet", run="byzer_magic.actions.fleet:show", replayed=LISTED)
class FleetSpec(Spec):
    """What the cluster is to have."""

    summary = _("Show the deployments that the cluster should have, and why any of them is not running.")
    examples = ("fleet",)

    json: bool = option(default=False, help=_("print JSON"), kind="bool")
    ray_address: str = _ray_address()


@command("export", run="byzer_magic.actions.fleet_file:export", replayed=LISTED)
class ExportSpec(Spec):
    """A file of all deployments."""

    summary = _("Write the deployments into a YAML file, without secrets, for `apply`.")
    examples = ("export fleet.yaml", "export fleet.yaml --force")

    path: str = option(help=_("file to write"), positional=True, complete="path")
    force: bool = option(default=False, help=_("overwrite an existing file"), kind="bool")
    ray_address: str = _ray_address()


@command("apply", run="byzer_magic.actions.fleet_file:apply", replayed=SKIPPED)
class ApplySpec(Spec):
    """A file of deployments that the cluster is to have."""

    summary = _("Deploy what a YAML file describes and update what differs; the rest stays as it is.")
    examples = ("apply fleet.yaml", "apply fleet.yaml --dry_run", "apply fleet.yaml --prune")

    path: str = option(help=_("file to read"), positional=True, complete="path")
    prune: bool = option(default=False, help=_("undeploy deployments that are not in the file"), kind="bool")
    dry_run: bool = option(default=False, help=_("show what would change, change nothing"), kind="bool")
    ray_address: str = _ray_address()


@command("alias", run="byzer_magic.actions.fleet:alias", replayed=LISTED)
class AliasSpec(Spec):
    """A name for several deployments."""

    summary = _("Define a route: one alias for several deployments, with failover or fixed shares; or list the routes.")
    examples = ("alias best=gpt4o,claude,local", "alias ab=gpt4o:0.9,claude:0.1", "alias")

    definition: str | None = option(
        None, help=_("NAME=a,b,c for failover in this order, NAME=a:0.9,b:0.1 for shares"), positional=True
    )
    patience: float | None = option(
        None,
        help=_("seconds to wait for the first token before trying the next deployment (default: 60)"),
        kind="float",
        minimum=0,
    )
    worker_concurrency: int = option(1000, help=_("requests that the route forwards at once"), kind="int", minimum=1)
    replace: bool = option(default=False, help=_("replace the deployment of this alias"), kind="bool")
    ray_address: str = _ray_address()


@command("sleep", run="byzer_magic.actions.fleet:sleep", replayed=SKIPPED)
class SleepSpec(Spec):
    """A model to unload until it is needed."""

    summary = _("Unload a local model and free its memory; the next request loads it again.")
    examples = ("sleep --model llama",)

    model: str = _alias()
    ray_address: str = _ray_address()


@command(
    "panel",
    run="byzer_magic.widgets.panel.screen:show",
    notebook_only=_("In a shell, use: stat --interval 1"),
    replayed=LISTED,
)
class PanelSpec(Spec):
    """The live panel."""

    summary = _("Show all deployments, or one, in a panel that updates while cells run.")
    examples = ("panel", "panel --model gpt4o_chat")

    model: str | None = _alias(None)
    ray_address: str = _ray_address()


@command(
    "plot",
    run="byzer_magic.widgets.plot:show",
    notebook_only=_("In a shell, use: stat --model ALIAS --json"),
    replayed=LISTED,
)
class PlotSpec(Spec):
    """A deployment's last minutes as a figure."""

    summary = _("Plot latency, throughput and cost of a deployment over the last few minutes.")
    examples = ("plot --model gpt4o_chat", "plot --model gpt4o_chat --minutes 2")

    model: str = _alias()
    minutes: float = option(10.0, help=_("minutes to go back, at most 10"), kind="float", minimum=0.1)
    ray_address: str = _ray_address()


@command("what_if", run="byzer_magic.actions.what_if:show", replayed=LISTED)
class WhatIfSpec(Spec):
    """Other workers, or another load, for which the last minutes of a deployment are replayed."""

    summary = _(
        "Predict waiting times: replay the requests of the last minutes with other workers, or with more requests."
    )
    examples = (
        "what_if --model gpt4o_chat --num_workers 8 --worker_concurrency 4",
        "what_if --model gpt4o_chat --scale_load 2",
    )

    model: str = _alias()
    num_workers: int | None = _of_deploy("num_workers")
    min_workers: int | None = _of_deploy("min_workers")
    max_workers: int | None = _of_deploy("max_workers")
    worker_concurrency: int | None = _of_deploy("worker_concurrency")
    load_balance: str | None = _of_deploy("load_balance")
    max_queue: int | None = _of_deploy("max_queue")
    rpm: int | None = _of_deploy("rpm")
    scale_load: float = option(
        1.0, help=_("how many times as many requests come; 2: twice as many"), kind="float", minimum=0.01
    )
    minutes: float = option(10.0, help=_("minutes to go back, at most 10"), kind="float", minimum=0.1)
    json: bool = option(default=False, help=_("print JSON"), kind="bool")
    ray_address: str = _ray_address()

    @property
    def changes(self) -> dict[str, Any]:
        """Return the values for the fields of the deployment's capacity; those that stay are None."""
        return {name: getattr(self, name) for name in Capacity.__struct_fields__ if hasattr(self, name)}


@command(
    "form",
    run="byzer_magic.widgets.form.screen:show",
    notebook_only=_("In a shell, use: deploy --help"),
    replayed=LISTED,
)
class FormSpec(Spec):
    """A form for a deployment."""

    summary = _("Deploy with a form: fields, checks, a connection test, and the resulting command.")
    examples = ("form", "form deepseek-chat", "form --file deploy.yml")
    keeps_file = True

    preset: str | None = option(
        None, help=_("preset, type (saas/openai) or engine (vllm) to start with"), positional=True, complete="preset",
    )  # fmt: skip
    file: str | None = option(None, help=_("YAML file to start with"), complete="path")
    ray_address: str = _ray_address()


@command(
    "chat",
    run="byzer_magic.widgets.chat.screen:show",
    notebook_only=_("In a shell, use: easy-byzerllm chat ALIAS PROMPT"),
)
class ChatViewSpec(Spec):
    """A chat window in a cell."""

    summary = _("Open a chat window for a deployment: streaming responses, attachments, sessions, settings.")
    examples = ("chat gpt4o_chat", "chat gpt4o_chat --session tutor")

    model: str = _alias(positional=True)
    session: str | None = option(None, help=_("continue this session of %%chat"))
    system: str | None = option(None, help=_("system prompt"))
    ray_address: str = _ray_address()


@command("query", run="byzer_magic.actions.actions:query")
class QuerySpec(Spec):
    """One prompt to one deployment."""

    summary = _("Send one prompt and print the response.")
    examples = (
        'query --model gpt4o_chat --query "Why is the sky blue?"',
        'query --model openai_tts --query "Hello" --params voice=nova --output_file hello.mp3',
        "query --model voice2text --audio talk.m4a",
    )

    model: str = _alias()
    query: str | None = option(None, help=_("the prompt"))
    output_file: str | None = option(
        None, help=_("write the result to this file: text, audio, image or JSON"), complete="path"
    )
    image: tuple[str, ...] = _images(_("image to send or to edit: path or URL; may be repeated"))
    audio: str | None = option(None, help=_("audio to transcribe: path"), complete="path")
    params: Mapping[str, str] = _request_params()
    system: str | None = option(None, help=_("system prompt"))
    temperature: float | None = option(None, help=_("sampling temperature"), kind="float")
    max_tokens: int | None = option(None, help=_("maximum length of the response, in tokens"), kind="int", minimum=1)
    timeout: float | None = option(None, help=_("seconds to wait for the complete response"), kind="float", minimum=0)
    fresh: bool = _fresh()
    template: str | None = option(None, help=_("accepted for byzer-llm's commands; the model's own template is used"))
    ray_address: str = _ray_address()
    file: str | None = option(None, help=_("YAML file with any of these options"), complete="path")


@command("map", run="byzer_magic.actions.tables:map_rows", cell="prompt")
class MapSpec(Spec):
    """One prompt to each row of a table."""

    summary = _("Ask about each row of a table; the answers are new columns, and no row is paid twice.")
    examples = (
        'map --model gpt4o_chat --df reviews --prompt "Classify: {text}" --out label',
        'map --model gpt_emb --df reviews --prompt "{text}" --out embedding --into reviews',
        'map --model gpt4o_chat --input_file in.csv --output_file out.csv --prompt "Translate: {text}" --dry_run',
    )

    model: str = _alias()
    df: str | None = option(None, help=_("the notebook's variable with the rows: DataFrame, Series or Ray Dataset"))
    input_file: str | None = option(
        None, help=_("a file with the rows, in place of a variable: .csv, .jsonl or .parquet"), complete="path"
    )
    encoding: str | None = option(None, help=_("encoding of --input_file, where it is not UTF-8: gb18030, cp1252, ..."))
    prompt: str = option(
        "",
        help=_(
            "the prompt for a row, with columns in braces; {{ and }} are braces; in a cell, it is below %%byzer map"
        ),
    )
    out: str | None = option(None, help=_("the column of the answers"))
    schema: str | None = option(
        None, help=_("the notebook's variable with a pydantic model or another type; its fields become columns")
    )
    into: str | None = option(None, help=_("the notebook's variable for the new table; without it, the cell shows it"))
    output_file: str | None = option(
        None, help=_("write the new table to this file: .csv, .jsonl or .parquet"), complete="path"
    )
    image: str | None = option(None, help=_("the column with an image for each row: paths, URLs, bytes"))
    audio: str | None = option(None, help=_("the column with the audio to transcribe: paths, bytes"))
    documents: str | None = option(None, help=_("the column with the documents to rank: a list in each row"))
    system: str | None = option(None, help=_("system prompt"))
    concurrency: int | None = option(
        None,
        help=_("requests in flight at most; by default the slots of the deployment"),
        kind="int",
        minimum=1,
    )
    budget: float | None = option(
        None, help=_("what may be spent, in the currency of the model's price"), kind="float", minimum=0
    )
    dry_run: bool = option(
        default=False, help=_("show the number of rows, tokens and the cost instead; nothing is asked"), kind="bool"
    )
    fresh: bool = option(default=False, help=_("ask also what the journal knows"), kind="bool")
    no_journal: bool = option(default=False, help=_("do without the journal: keep no answers, take none"), kind="bool")
    params: Mapping[str, str] = _request_params()
    temperature: float | None = option(None, help=_("sampling temperature"), kind="float")
    max_tokens: int | None = option(None, help=_("maximum length of the response, in tokens"), kind="int", minimum=1)
    timeout: float | None = option(None, help=_("seconds to wait for the complete response"), kind="float", minimum=0)
    ray_address: str = _ray_address()


@command("logs", run="byzer_magic.actions.inspect:logs", replayed=LISTED)
class LogsSpec(Spec):
    """The log of one deployment."""

    summary = _("Show the last lines of the log of a deployment and its engine.")
    examples = ("logs --model llama --lines 50",)

    model: str = _alias()
    lines: int = option(100, help=_("number of lines"), kind="int", minimum=1)
    ray_address: str = _ray_address()


@command("serve", run="byzer_magic.gateway.command:serve", replayed=SKIPPED)
class ServeSpec(Spec):
    """An HTTP endpoint for all deployments."""

    summary = _("Serve the deployments over HTTP, with the APIs of OpenAI, Anthropic and Ollama.")
    examples = (
        "serve",
        "serve --host 0.0.0.0 --port 8000 --api_key '${ENDPOINT_KEY}'",
        "serve --detach --num_replicas 2",
        "serve --stop",
        "serve --served_model_name gpt-4o=deepseek_chat,embedding --ssl_certfile cert.pem --ssl_keyfile key.pem",
    )

    host: str = option("127.0.0.1", help=_("address to listen on; 0.0.0.0: all of this machine's"))
    port: int = option(8000, help=_("port to listen on; 0: any that is free"), kind="int", minimum=0)
    api_key: str | None = option(
        None, help=_("key that may use every model, may be ${NAME}; for several keys see `serve keys add`"), secret=True
    )
    served_model_name: str | None = option(
        None,
        help=_("models to serve, separated by commas: an alias, or NAME=ALIAS (default: all, by their aliases)"),
    )
    ssl_keyfile: str | None = option(None, help=_("private key for HTTPS, a PEM file"), complete="path")
    ssl_certfile: str | None = option(None, help=_("certificate for HTTPS, a PEM file"), complete="path")
    allowed_origins: str | None = option(
        None,
        help=_("origins whose web pages may use the endpoint, separated by commas, or a JSON list; *: all"),
    )
    allowed_methods: str | None = option(None, help=_("methods that these pages may use (default: all)"))
    allowed_headers: str | None = option(None, help=_("headers that these pages may send (default: all)"))
    allow_credentials: bool = option(default=False, help=_("let these pages send cookies"), kind="bool")
    allowed_media_domains: str | None = option(
        None,
        help=_(
            "hosts, separated by commas, whose images and audio are fetched by URL for models of the cluster; *: all "
            "public ones (default: * without keys and for --api_key, none for keys of `serve keys`)"
        ),
    )
    uvicorn_log_level: str = option(
        "info",
        help=_("what goes to stderr: info has a line per request, warning only what goes wrong"),
        choices=("debug", "info", "warning", "error", "critical", "trace"),
    )
    journal: str | None = option(
        None,
        help=_("project folder in whose journal requests are kept (default: the one here, where the journal is on)"),
        complete="path",
    )
    num_replicas: int | None = option(
        None,
        help=_("serve from this many processes in the cluster, over all its nodes (default in notebooks: one a node)"),
        kind="int",
        minimum=1,
    )
    detach: bool = option(
        default=False,
        help=_("serve from processes in the cluster, which outlive this command; always so in notebooks"),
        kind="bool",
    )
    stop: bool = option(default=False, help=_("stop the endpoint in the cluster"), kind="bool")
    grace: float = option(30.0, help=_("seconds to wait for requests in flight"), kind="float", minimum=0)
    prompt_template: str | None = option(
        None, help=_("accepted for old commands, without effect: models bring their own"), complete="path"
    )
    response_role: str = option("assistant", help=_("accepted for old commands, without effect: always assistant"))
    ray_address: str = _ray_address()
    file: str | None = option(None, help=_("YAML file with any of these options"), complete="path")


@command("serve keys add", run="byzer_magic.gateway.command:add_key")
class AddKeySpec(Spec):
    """A new key of the endpoint."""

    summary = _("Make a key for the endpoint; it is shown once. With the first one, `serve` refuses requests without.")
    examples = (
        "serve keys add alice",
        "serve keys add course --models gpt4o_chat,embedding --requests_per_minute 60 --tokens_per_minute 100000"
        " --days 90",
    )

    name: str = option(help=_("whose key it is, or what for"), positional=True)
    models: str | None = option(None, help=_("models that it may use, separated by commas (default: all)"))
    requests_per_minute: int = option(0, help=_("requests a minute; 0: no limit"), kind="int", minimum=0)
    tokens_per_minute: int = option(
        0, help=_("tokens a minute, of prompts and responses; 0: no limit"), kind="int", minimum=0
    )
    days: float | None = option(None, help=_("days after which it expires"), kind="float", minimum=0)
    metrics: bool = option(default=False, help=_("let it read /metrics, which shows the use of all keys"), kind="bool")


@command("serve keys list", run="byzer_magic.gateway.command:list_keys")
class ListKeysSpec(Spec):
    """The keys of the endpoint."""

    summary = _("List the keys of the endpoint, with their limits; the keys themselves are not stored.")
    examples = ("serve keys list",)

    json: bool = option(default=False, help=_("print JSON"), kind="bool")


@command("serve keys revoke", run="byzer_magic.gateway.command:revoke_key")
class RevokeKeySpec(Spec):
    """A key of the endpoint to remove."""

    summary = _("Revoke a key of the endpoint; endpoints that run refuse it at once.")
    examples = ("serve keys revoke alice",)

    name: str = option(help=_("name of the key"), positional=True)


@command("connect", run="byzer_magic.actions.actions:connect", replayed=SKIPPED)
class ConnectSpec(Spec):
    """A cluster to use."""

    summary = _("Connect to a Ray cluster (auto: the running one, else start a local one).")
    examples = ("connect", "connect --ray_address 10.0.0.5:6379")

    ray_address: str = _ray_address()


@command("shutdown", run="byzer_magic.actions.actions:shutdown", replayed=SKIPPED)
class ShutdownSpec(Spec):
    """Stops the local Ray."""

    summary = _("Stop the local Ray that byzer-magic started, and all its deployments.")
    examples = ("shutdown",)


@command("models", run="byzer_magic.actions.inspect:list_models")
class ModelsSpec(Spec):
    """The models on this machine's disk."""

    summary = _("List the models in the usual caches of this machine, and the engine that runs each.")
    examples = ("models", "models --model_path /data/models")

    model_path: str | None = option(None, help=_("search this folder instead"), complete="path")
    json: bool = option(default=False, help=_("print JSON"), kind="bool")


@command("models rm", run="byzer_magic.actions.hubs:remove", replayed=SKIPPED)
class ModelsRmSpec(Spec):
    """A model of a hub to remove."""

    summary = _("Remove a model that was downloaded from a hub, and free its disk space.")
    examples = ("models rm hf:Qwen/Qwen3-0.6B", "models rm hf:Qwen/Qwen3-8B-GGUF:Q4_K_M")

    name: str = option(
        help=_("the model, as `pull` has it, or OWNER/REPO as `models` shows it"), positional=True, complete="model"
    )
    force: bool = option(default=False, help=_("remove it even if a deployment uses it"), kind="bool")


@command("pull", run="byzer_magic.actions.hubs:pull", replayed=SKIPPED)
class PullSpec(Spec):
    """A model of a hub to fetch."""

    summary = _("Download a model from a hub (Hugging Face, ModelScope) into its cache on this machine.")
    examples = (
        "pull hf:Qwen/Qwen3-0.6B",
        "pull hf:Qwen/Qwen3-8B-GGUF:Q4_K_M",
        "pull ms:Qwen/Qwen3-0.6B --dry_run",
    )

    name: str = option(
        help=_("the model: hf:OWNER/REPO or ms:OWNER/REPO, then @REVISION, :FILE or :QUANTIZATION where one is meant"),
        positional=True,
        complete="model",
    )
    infer_backend: str | None = option(
        None, help=_("engine that will run it; decides between file formats"), choices=EngineChoices(),
        renamed=former.ENGINES,
    )  # fmt: skip
    gpus_per_worker: float = option(
        0.0, help=_("GPUs of a worker; their memory decides between quantizations"), kind="float", minimum=0
    )
    dry_run: bool = option(
        default=False, help=_("show what would be downloaded and where to; download nothing"), kind="bool"
    )


@command("doctor", run="byzer_magic.actions.inspect:diagnose")
class DoctorSpec(Spec):
    """What is installed here, and what a model would need."""

    summary = _("Show installed engines, free resources, and what a model would need.")
    examples = ("doctor", "doctor --model_path /data/models/Qwen3-8B")

    model_path: str | None = option(
        None, help=_("model to estimate before it is loaded: file or folder"), complete="path"
    )
    json: bool = option(default=False, help=_("print JSON"), kind="bool")


@command("presets", run="byzer_magic.actions.inspect:list_presets")
class PresetsSpec(Spec):
    """The table of presets."""

    summary = _("List the presets of `easy deploy`.")
    examples = ("presets",)

    json: bool = option(default=False, help=_("print JSON"), kind="bool")


@command("sessions", run="byzer_magic.actions.kept:sessions")
class SessionsSpec(Spec):
    """The conversations that `--session` keeps."""

    summary = _("List the sessions that notebooks, chat windows and shells share, or remove them.")
    examples = ("sessions", "sessions --reset tutor", "sessions --reset all --model gpt4o_chat")

    reset: str | None = option(None, help=_("remove this session (all: every session)"))
    model: str | None = _alias(None)
    ray_address: str = _ray_address()


@command("answers", run="byzer_magic.actions.kept:answers", replayed=SKIPPED)
class AnswersSpec(Spec):
    """The answers that deployments keep."""

    summary = _("List the answers that were asked for with --background; `attach` shows them.")
    examples = ("answers", "answers --model gpt4o_chat")

    model: str | None = _alias(None)
    ray_address: str = _ray_address()


@command("attach", run="byzer_magic.actions.kept:attach", replayed=SKIPPED)
class AttachSpec(Spec):
    """An answer to continue."""

    summary = _("Show an answer of --background, and what comes of it; interrupting it leaves the answer going.")
    examples = (
        "attach",
        "attach 1f3a9c20",
        "attach dall_e --output_file cat.png",
        "attach 1f3a9c20 --cancel",
    )

    name: str | None = option(
        None,
        help=_("id of the answer, or an alias, of which it is the newest (default: the newest of this folder)"),
        positional=True,
        complete="answer",
    )
    cancel: bool = option(default=False, help=_("end the answer instead; what has arrived is kept"), kind="bool")
    output_file: str | None = option(
        None, help=_("write the result to this file: text, audio, image or JSON"), complete="path"
    )
    ray_address: str = _ray_address()


@command("easy deploy", run="byzer_magic.actions.actions:easy_deploy", replayed=SKIPPED)
class EasyDeploySpec(Spec):
    """A preset to deploy."""

    summary = _("Deploy a preset: provider, URL and model name are filled in.")
    examples = (
        "easy deploy deepseek-chat --token ${DEEPSEEK_API_KEY} --alias deepseek_chat",
        "easy deploy deepseek-chat --no_check",
    )

    preset: str = option(help=_("name of the preset (`presets` lists them)"), positional=True, complete="preset")
    token: str | None = option(None, help=_("API key of the provider; may be ${NAME}"), secret=True)
    alias: str | None = option(
        None, help=_("alias; default: the preset's name, with _ for characters other than letters and digits")
    )
    base_url: str | None = option(None, help=_("another URL with the same API"))
    infer_params: Mapping[str, str] = option(help=_("more parameters, as key=value words"), kind="params")
    ray_address: str = _ray_address()
    replace: bool = option(default=False, help=_("replace the deployment of this alias"), kind="bool")
    check: bool = option(
        default=False, help=_("ask for one token before it is ready; this is the default"), kind="bool"
    )
    no_check: bool = option(default=False, help=_("deploy without asking for a token first"), kind="bool")
    dry_run: bool = option(default=False, help=_("check everything, deploy nothing"), kind="bool")


@command("easy undeploy", run="byzer_magic.actions.actions:easy_undeploy", replayed=SKIPPED)
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

    summary = _("Send one prompt and print the response as it arrives.")
    examples = (
        "easy chat deepseek_chat Why is the sky blue?",
        "easy chat deepseek_chat --session tutor And at night?",
    )

    model: str = _alias(positional=True)
    query: str = option(help=_("the prompt"), positional=True)
    session: str | None = _session()
    reset: bool = _reset()
    background: bool = _background()
    ray_address: str = _ray_address()


@command("%%chat", run="byzer_magic.magics.byzer:ByzerMagics.chat")
class ChatSpec(Spec):
    """The first line of `%%chat` (or all of `%chat`)."""

    summary = _("Send a request to a deployment: chat streams into the cell, speech plays, images are shown.")
    examples = (
        "%%chat gpt4o_chat --session tutor",
        "%chat gpt4o_chat Why is the sky blue?",
        "%%chat gpt4o_chat --image photo.png",
        "%%chat openai_tts --params voice=nova speed=1.1 --out speech",
        "%chat voice2text --audio talk.m4a",
        "%%chat gpt4o_chat,deepseek_chat --judge qwen_max",
        "%%chat gpt4o_chat --background",
        "%chat --attach",
        "%%chat gpt4o_chat,deepseek_chat --grid country=[France,Japan] tone=[plain,poetic] --temperature 0,0.7",
    )

    model: str = option(
        help=_("alias of the deployment; several aliases, separated by commas, respond side by side"),
        complete="alias", positional=True,
    )  # fmt: skip
    query: str | None = option(None, help=_("the prompt, when it is not in the cell"), positional=True)
    system: str | None = option(None, help=_("system prompt"))
    temperature: float | tuple[float, ...] | None = option(
        None, help=_("sampling temperature; with several, separated by commas, each is asked"), kind="float",
        several=True,
    )  # fmt: skip
    max_tokens: int | tuple[int, ...] | None = option(
        None, help=_("maximum length of the response, in tokens; with several, each is asked"), kind="int", minimum=1,
        several=True,
    )  # fmt: skip
    grid: Mapping[str, str] = option(
        help=_(
            "variables of the prompt, each with a list ([France,Japan]) or an expression of the notebook: every"
            " combination is asked, in one table; params.NAME=[...] is a field of the request"
        ),
        kind="params",
        several=True,
    )
    samples: int = option(1, help=_("ask each prompt so many times"), kind="int", minimum=1)
    dry_run: bool = option(
        default=False, help=_("show what would be asked, and roughly what it would cost; ask nothing"), kind="bool"
    )
    image: tuple[str, ...] = _images(_("image to send or to edit: path, URL or variable; may be repeated"))
    audio: str | None = option(
        None, help=_("audio to transcribe: path or variable; rec: record it here"), complete="path",
    )  # fmt: skip
    params: Mapping[str, str] = _request_params()
    session: str | None = _session()
    reset: bool = _reset()
    background: bool = _background()
    attach: bool = option(
        default=False,
        help=_("show an answer of --background: the alias is its id, its alias, or left out, for the newest"),
        kind="bool",
    )
    cancel: bool = option(default=False, help=_("with --attach: end the answer"), kind="bool")
    format: str = option("markdown", help=_("how the response is shown"), choices=("markdown", "text", "json", "code"))
    out: str | None = option(None, help=_("variable for the result (a list for several models)"))
    df: bool = option(default=False, help=_("store a pandas DataFrame in --out instead"), kind="bool")
    schema: str | None = option(
        None, help=_("variable with a type, such as a pydantic model: the result is a value of it")
    )
    tools: str | None = option(None, help=_("functions of the notebook that the model may call, separated by commas"))
    judge: str | None = option(
        None, help=_("deployment that compares the responses of several models"), complete="alias"
    )
    comparisons: int = option(
        100, help=_("pairs of responses that --judge compares at most, in a grid"), kind="int", minimum=1
    )
    no_stream: bool = option(default=False, help=_("show the response only when it is complete"), kind="bool")
    fresh: bool = _fresh()
    sample: int | None = option(
        None,
        help=_("which of several answers to this prompt is meant, where the journal is on (0, 1, ...)"),
        kind="int",
        minimum=0,
    )
    timeout: float | None = option(None, help=_("seconds to wait for the complete response"), kind="float", minimum=0)


from byzer_magic.commands import journal_specs as journal_specs  # noqa: E402 - registers its commands after those above

COMMANDS = registry.COMMANDS
"""Subcommands of `%byzer` and `byzerllm`."""

EASY_COMMANDS = registry.EASY_COMMANDS
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

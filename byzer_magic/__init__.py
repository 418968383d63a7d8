"""Deploy any model on Ray from a notebook cell, and talk to it by its alias.

`%load_ext byzer_magic` brings the magics; `connect` and `model` are the same in Python:

    import byzer_magic as bz
    bz.connect()
    bz.model("alias").chat("hi").text
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from byzer_magic.client.manager import Manager
    from byzer_magic.client.model import Model

__all__ = [
    "connect",
    "default_manager",
    "deploy",
    "load_ipython_extension",
    "model",
    "prompt",
    "search",
    "undeploy",
    "unload_ipython_extension",
]
__version__ = "0.1.0"


def default_manager() -> Manager:
    """Return the manager of this process, which reports nothing; its connection is shared by all faces.

    Example:
        >>> bz.default_manager() is bz.default_manager()
        True
    """
    from byzer_magic.client import current

    return current.default_manager()


def connect(ray_address: str | None = None) -> str:
    """Connect to a Ray cluster and return its address.

    Args:
        ray_address: ``host:port``, or ``auto``, which starts a local Ray when none runs; by default that of the
            settings.

    Raises:
        CannotConnect: no Ray responds at this address.

    Example:
        >>> bz.connect()
        '...:...'
    """
    from byzer_magic.client import arguments, current

    return current.current_manager().connect(
        None if ray_address is None else arguments.text(ray_address, "ray_address")
    )


def model(alias: str) -> Model:
    """Return a deployed model.

    Raises:
        CannotConnect: no Ray is running, and none can be started.
        NotDeployed: nothing is deployed as `alias`; raised at the first use.

    Example:
        >>> bz.model("gpt4o_chat")
        Model('gpt4o_chat')
    """
    from byzer_magic.client import current

    return current.model(alias)


def deploy(line: str) -> Model:
    """Deploy a model, given as the options of `byzerllm deploy`.

    Args:
        line: e.g. ``"--pretrained_model_type saas/openai --infer_params saas.model=gpt-4o --model gpt4o"``.

    Raises:
        ByzerError: the line is wrong, or the deployment failed.

    Example:
        >>> bz.deploy("--pretrained_model_type saas/openai --infer_params saas.model=gpt-4o --model gpt4o")
        Model('gpt4o')
    """
    from byzer_magic.client import arguments, current, fetching
    from byzer_magic.client.model import Model
    from byzer_magic.commands.parser import parse, split
    from byzer_magic.commands.spec import DeploySpec

    words = split(arguments.text(line, "line"))
    spec = parse(words if words[:1] == ["deploy"] else ["deploy", *words])
    if not isinstance(spec, DeploySpec):
        raise TypeError(line)
    manager = current.current_manager()
    fetching.deploy(manager, spec)
    if not spec.dry_run:
        manager.reach(spec.model)
    return Model(spec.model, manager)


def prompt(model: Any = None, /, *, llm: Any = None, options: Any = None, **more: Any) -> Any:
    '''Make a function's docstring a prompt, and its call a request (see `byzer_magic.prompts`).

    Args:
        model: an alias, a `Model`, or a lambda of the object whose method this is, which returns one; without one,
            calling the function returns its prompt. A function with a name is the prompt itself: `@bz.prompt` works
            without parentheses.
        llm: the same, by name; here a function with a name chooses the model, too.
        options: fields of the request, e.g. ``{"temperature": 0}``; also ``system``, ``image``, ``audio``, ``timeout``.
        more: further options, as keyword arguments.

    Raises:
        CommandError: a function is decorated without parentheses, and has no docstring; when it is called: the
            docstring is not a Jinja template, a value is missing, or the type in the annotation cannot be found.
        MalformedResponse: when it is called: the response is not of the type in the annotation.

    Example:
        >>> @bz.prompt("gpt4o_chat")
        ... def translate(text: str, language: str) -> str:
        ...     """Translate into {{ language }}: {{ text }}"""
        >>> translate("good morning", language="French")
        '...good morning...'
        >>> translate.prompt("good morning", language="French")
        'Translate into French: good morning'
    '''
    from byzer_magic.prompts import prompt as make

    return make(model, llm=llm, options=options, **more)


def search(rows: Any, query: Any, k: int = 5, *, column: str | None = None, model: Any = None) -> Any:
    """Return the rows of a DataFrame that are nearest to a query by their embeddings, the nearest first.

    Args:
        rows: a DataFrame with a column of embeddings, such as `Model.map` makes.
        query: a text, or an embedding.
        k: how many rows at most.
        column: the column of embeddings; by default the one that `Model.map` has made.
        model: the alias, or the `Model`, that embeds the query; by default the one that made the column.

    Returns:
        Those rows, with the column `score`: the cosine, from -1 to 1.

    Raises:
        CommandError: there is no column of embeddings, or they have another size than that of the query.
        NotDeployed: nothing is deployed as the alias.

    Example:
        >>> import pandas
        >>> texts = bz.model("bge").map(pandas.DataFrame({"text": ["the sky is blue", "grass is green"]}), "{text}")
        >>> bz.search(texts, "What colour is the sky?", k=1).columns.tolist()
        ['text', 'embedding', 'embedding_error', 'score']
    """
    from byzer_magic.data.search import search as find

    return find(rows, query, k, column=column, model=model)


def undeploy(alias: str, *, force: bool = False) -> None:
    """Remove a deployment.

    Args:
        alias: its name.
        force: cancel the requests in flight instead of letting them finish.

    Raises:
        NotDeployed: nothing is deployed as `alias`.

    Example:
        >>> model = bz.deploy("--pretrained_model_type saas/openai --infer_params saas.model=gpt-4o --model old")
        >>> bz.undeploy("old")
    """
    from byzer_magic.client import arguments, current
    from byzer_magic.commands.spec import UndeploySpec

    manager, alias = current.current_manager(), arguments.text(alias, "alias")
    manager.ensure()
    manager.run(manager.undeploy(UndeploySpec(model=alias, force=force)))


def load_ipython_extension(shell: Any) -> None:
    """Register `%byzer`, `%%byzer`, `%chat`, `%%chat`, and let `import byzerllm` find `byzer_magic.compat`."""
    from byzer_magic import compat
    from byzer_magic.data import accessor
    from byzer_magic.magics import register

    compat.install()
    accessor.install()
    register(shell)


def unload_ipython_extension(shell: Any) -> None:
    """Remove what `load_ipython_extension` added."""
    from byzer_magic import compat
    from byzer_magic.data import accessor
    from byzer_magic.magics import unregister

    unregister(shell)
    accessor.uninstall()
    compat.uninstall()

"""The magics in a real kernel, on a real Ray, against a provider in a separate process."""

from __future__ import annotations

import os
import re
import signal
import threading
from pathlib import Path

import pytest

import byzer_magic as bz
from byzer_magic.client.manager import Manager
from byzer_magic.types import Placed
from tests.conftest import KEY
from tests.kernel.conftest import Kernel
from tests.servers.process import Process, own, received, release
from tests.waiting import PATIENCE, eventually

pytestmark = [pytest.mark.kernel, pytest.mark.ray]


@pytest.fixture(scope="module")
def deployed(kernel: Kernel, provider: Process) -> Kernel:
    """A kernel that has deployed `m`."""
    kernel.run(f"KEY = {KEY!r}")
    cell = kernel.run(deploy_line(provider))
    assert cell.status == "ok", cell.everything
    assert "ready in" in str(cell.shown)
    return kernel


def deploy_line(provider: Process, alias: str = "m") -> str:
    return (
        f"%byzer deploy --pretrained_model_type saas/openai --cpus_per_worker 0.001 --worker_concurrency 4 "
        f"--infer_params saas.base_url={provider.url}/v1 saas.api_key=${{KEY}} saas.model=gpt-4o --model {alias}"
    )


def test_load_ext_imports_no_heavy_package(kernel: Kernel) -> None:
    heavy = "{'ray', 'torch', 'openai', 'pandas', 'websockets', 'llama_cpp', 'transformers', 'jinja2', 'pydantic'}"
    assert kernel.run(f"import sys; print(sorted({heavy} & set(sys.modules)))").text == "[]\n"


def test_kernel_that_deploys_asks_lists_opens_screens_and_undeploys_never_imports_ray(
    deployed: Kernel, provider: Process
) -> None:
    screens = ("%byzer panel", "%byzer form", "%byzer form deepseek-chat", "%byzer chat m", "%byzer plot --model m")
    changes = ("%byzer scale --model other --num_workers 2", "%byzer undeploy --model other")
    looks = ("%byzer list", "%byzer stat", "%byzer doctor", "%byzer logs --model m")
    for command in ("%%chat m\nhello", *looks, *screens, deploy_line(provider, "other"), *changes):
        assert deployed.run(command).status == "ok", command
    found = deployed.run("import sys; print({name.partition('.')[0] for name in sys.modules} & {'ray', 'grpc'})")
    assert found.text == "set()\n"


def test_chat_streams_into_the_cell_with_a_footer(deployed: Kernel) -> None:
    cell = deployed.run("%%chat m\ntokens:30@60")
    assert cell.status == "ok"
    assert 3 <= cell.updates <= 14, "painted as it came, at most 20 times a second"
    assert "TTFT" in cell.markdown
    assert "worker 0" in cell.markdown
    assert len(cell.shown) == 1


def test_footer_is_in_the_users_language(deployed: Kernel) -> None:
    deployed.run("%config ByzerMagics.lang = 'zh'")
    cell = deployed.run("%%chat m\nhello")
    original = deployed.run("%%chat m --no_stream\nhello")
    deployed.run("%config ByzerMagics.lang = ''")
    for shown in (cell.shown[0], original.shown[-1]):
        assert "m · worker 0 · 首 token" in shown["text/html"]
        assert "个 token" in shown["text/plain"]
    assert "TTFT" in deployed.run("%%chat m\nhello").markdown


def test_truncated_prompt_is_told_with_the_command_that_prevents_it(deployed: Kernel) -> None:
    with own("ollama") as ollama:
        params = f"saas.base_url={ollama.url} saas.model=qwen3"
        deployed.run(f"%byzer deploy --pretrained_model_type saas/ollama --infer_params {params} --model ollama")
        deployed.run("notes = 'The gulls knew that a storm would come by noon. ' * 717")
        cell = deployed.run("%%chat ollama --max_tokens 2\n{{notes}}")
        [told] = re.findall(
            r"⚠ Only 2,050 of about 8,\d00 prompt tokens were read\. .*: (update [\w.= -]+)", cell.markdown
        )
        assert deployed.run("print(_chat.truncated.read)").text == "2050\n"
        cell = deployed.run(f"%byzer {told}")
        assert cell.status == "ok", cell.everything
        cell = deployed.run("%%chat ollama --max_tokens 2\n{{notes}}")
        assert "7892 + 2 tokens" in cell.markdown
        assert "⚠" not in cell.markdown
        deployed.run("%byzer undeploy --model ollama")


def test_chat_fills_in_double_braces_only(deployed: Kernel) -> None:
    deployed.run("city = 'Paris'")
    cell = deployed.run('%%chat m --out answer\nsay:{"a": {city}} $HOME {{city.upper()}} \\{{city}}')
    assert cell.status == "ok", cell.everything
    assert deployed.run("print(answer.text)").text.strip() == '{"a": {city}} $HOME PARIS {{city}}'
    assert deployed.run("print(_chat == answer, answer.usage.completion_tokens > 0)").text == "True True\n"


def test_chat_names_an_undefined_name_in_a_prompt(deployed: Kernel) -> None:
    cell = deployed.run("%%chat m\nhello {{nobody}}")
    assert cell.status == "error"
    assert "nobody is not defined" in cell.everything
    assert "Traceback" not in cell.everything


def test_chat_interrupt_stops_at_once_and_keeps_the_part(deployed: Kernel, provider: Process) -> None:
    cell = deployed.run("%%chat m --out part\ntokens:2000@50", on_text=deployed.interrupt)
    assert cell.status == "error"
    assert "Interrupted" in cell.everything
    assert "interrupted" in cell.markdown
    assert deployed.run("print(part.interrupted, len(part.text) > 0, part is _chat)").text == "True True True\n"
    assert eventually(lambda: bz.model("m").stat().busy == 0)
    assert eventually(lambda: "tokens:2000@50" in str(closed_early(provider)))


def closed_early(provider: Process) -> list[object]:
    return [entry for entry in provider.get("/journal") if "2000@50" in str(entry) and "gone" in entry]


def test_chat_keeps_the_part_when_its_worker_is_killed(deployed: Kernel, cluster: Manager) -> None:
    link = cluster.run(cluster.connection.link("m"))
    pid = next(event.pid for event in cluster.iterate(link.stream("watch")) if isinstance(event, Placed))
    cell = deployed.run("%%chat m\ntokens:2000@50", on_text=lambda: os.kill(pid, signal.SIGKILL))
    assert cell.status == "error"
    assert "the worker died during the request" in cell.everything
    assert "the partial answer is in _chat" in cell.markdown
    assert deployed.run("print(_chat.interrupted, len(_chat.text) > 0)").text == "True True\n"
    assert "Echo: again" in deployed.run("%%chat m\nagain").markdown


def test_stat_repeats_until_interrupted(deployed: Kernel) -> None:
    threading.Timer(1.5, deployed.interrupt).start()
    cell = deployed.run("%byzer stat --model m --interval 0.3")
    assert cell.status == "ok"
    assert cell.text.count("total_workers") > 1


def test_reasoning_is_folded_and_escaped(deployed: Kernel) -> None:
    cell = deployed.run("%%chat m\nthink:```<script>x</script>")
    assert "<summary>reasoning</summary>" in cell.markdown
    assert "<script" not in cell.markdown
    assert "<summary>Reasoning</summary>" in cell.painted
    assert "&lt;script&gt;" in cell.painted
    assert "<script>x" not in cell.painted


def test_tool_calls_are_shown(deployed: Kernel) -> None:
    cell = deployed.run("%%chat m\ntool:weather")
    assert "Tool call <code>weather</code>" in cell.painted
    assert "weather(" in cell.shown[0]["text/plain"]


def test_chat_calls_functions_of_the_notebook_and_shows_the_calls(deployed: Kernel) -> None:
    deployed.run("def weather(city: str) -> str:\n    'Return the weather.'\n    return f'sunny in {city}'")
    cell = deployed.run("%%chat m --tools weather --out found\ntool:weather")
    assert cell.status == "ok", cell.everything
    assert 'weather({"city": "Paris"}) -> sunny in Paris' in cell.text
    assert "Echo: sunny in Paris" in cell.markdown
    assert deployed.run("print(found.raw['calls'][0]['result'], _chat is found)").text == "sunny in Paris True\n"
    cell = deployed.run("%%chat m --tools weather,nothing\nhello")
    assert "nothing is not defined in this notebook" in cell.error


def test_chat_returns_a_value_of_a_type(deployed: Kernel) -> None:
    deployed.run("import pydantic\nclass City(pydantic.BaseModel):\n    name: str\n    people: int")
    cell = deployed.run('%%chat m --schema City --out city\nsay:{"name": "Paris", "people": 2}')
    assert cell.status == "ok", cell.everything
    assert "City(name='Paris', people=2)" in cell.text
    assert deployed.run("print(city.people, _chat is city)").text == "2 True\n"
    cell = deployed.run("%%chat m --schema City\nsay:nothing")
    assert "City(name='text', people=3)" in cell.text, "asked again, with the schema"
    assert "do not go together" in deployed.run("%%chat m --schema City --tools weather\nx").error


def test_code_written_for_byzer_llm_runs(deployed: Kernel) -> None:
    cell = deployed.run(
        "import byzerllm\nllm = byzerllm.ByzerLLM.from_default_model('m')\n"
        "@byzerllm.prompt(llm=llm)\ndef hello(q: str) -> str:\n    '''\n    Hello {{ q }}\n    '''\n"
        "print(hello('Ann').strip(), llm.chat_oai(conversations='hi')[0].output)"
    )
    assert cell.text == "Echo: Hello Ann Echo: hi\n"
    cell = deployed.run("byzerllm.ByzerRetrieval()")
    assert "Byzer Storage" in cell.error


def test_chat_output_has_html_and_the_text_unchanged(deployed: Kernel) -> None:
    cell = deployed.run("%%chat m\nsay:**bold** $x^2$")
    assert list(cell.shown[0]) == ["text/html", "text/markdown", "text/plain"]
    assert "<strong>bold</strong>" in cell.shown[0]["text/html"]
    assert "<msup>" in cell.shown[0]["text/html"]
    assert cell.shown[0]["text/plain"].startswith("**bold** $x^2$\n\nm · worker 0")


def test_session_keeps_its_messages(deployed: Kernel) -> None:
    deployed.run("%%chat m --session s\nsay:one")
    deployed.run("%%chat m --session s\ntwo")
    assert "2" in str(deployed.run("%byzer sessions").shown[0]["text/plain"])
    assert deployed.run("%chat m --session s --reset").status == "ok"
    assert "no sessions" in str(deployed.run("%byzer sessions").everything)


def test_session_says_when_it_does_not_keep_a_turn(deployed: Kernel) -> None:
    deployed.run("%%chat m --session blank\nsay:one")
    cell = deployed.run("%%chat m --session blank\nsay:   ")
    assert "The session does not keep this turn: the response has no text." in str(cell.everything)
    deployed.run("%%chat m --session blank\nstill there?")
    assert deployed.run("print(_chat.text)").text == "Echo: still there?\n"
    assert deployed.run("%chat m --session blank --reset").status == "ok"


def test_line_chat_takes_the_prompt_as_typed(deployed: Kernel) -> None:
    deployed.run("%chat m it's  fine --really")
    assert deployed.run("print(_chat.text)").text == "Echo: it's  fine --really\n"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("%byzer deploy --pretrained_model_type saas/openai", "--model"),
        ("%byzer deploy --model x --num_worker 2", "Did you mean --num_workers?"),
        ("%byzer deploy --model x --pretrained_model_type saas/opanai", "Did you mean saas/openai"),
        ("%byzer deploy --model x --infer_backend llama_cp", "llama_cpp"),
        ("%byzer deploy --model x --pretrained_model_type saas/openai --infer_params saas.modle=y", "saas.model"),
        ("%byzer deploy --model x --num_workers two", "'two', which is not a whole number"),
        ("%byzer deploy --model x --pretrained_model_type saas/openai --infer_params saas.model=${NO_X}", "NO_X"),
        ("%byzer deploy --model x --infer_backend llama_cpp --model_path /no/such.gguf", "/no/such.gguf"),
        ("%byzer deploy --model x --infer_backend llama_cpp --model_path /etc/passwd", "not a GGUF"),
        ("%byzer connect --ray_address 127.0.0.1:9", "Nothing is listening at 127.0.0.1:9"),
        ("%byzer easy deploy deepseek-chatt --token x", "deepseek-chat"),
        ("%byzer stta", "stat"),
        ("%%chat\nhello", "alias"),
        ("%%chat m —session s1\nhello", "Write --session"),
        ("%%chat m --out class\nhello", "not a variable name"),
    ],
)
def test_error_is_one_clear_block(kernel: Kernel, line: str, expected: str) -> None:
    cell = kernel.run(line)
    assert cell.status == "error"
    assert expected in cell.everything
    assert "Traceback" not in cell.everything
    assert expected in cell.error, "an output of the type error, which papermill looks for"


def test_error_of_a_wrong_key_does_not_show_the_key(kernel: Kernel, provider: Process) -> None:
    kernel.run("WRONG = 'sk-wrong-abcdefgh1234'")
    kernel.run(deploy_line(provider, "locked").replace("KEY", "WRONG"))
    cell = kernel.run("%%chat locked\nhi")
    assert cell.status == "error"
    assert "401" in cell.everything
    assert "abcdefgh" not in cell.everything


def test_outputs_never_show_the_key(deployed: Kernel, provider: Process) -> None:
    cells = [
        deployed.run(deploy_line(provider)),
        deployed.run(deploy_line(provider) + " --dry_run"),
        deployed.run("%%chat m\nfault:leak"),
        deployed.run("%byzer stat"),
        deployed.run("%byzer logs --model m"),
        deployed.run("import byzer_magic as bz; bz.model('m'), bz.default_manager()"),
    ]
    assert [cell.everything for cell in cells if KEY in cell.everything] == []


def test_stat_has_three_forms(deployed: Kernel, provider: Process) -> None:
    deployed.run(deploy_line(provider, "counted"))
    deployed.run("%chat counted hello")
    assert '"total_requests": [\n        1\n    ]' in deployed.run("%byzer stat --model counted").text
    table = deployed.run("%byzer stat").shown[0]
    assert "saas/openai" in table["text/html"]
    assert "saas/openai" in table["text/plain"]
    frame = deployed.run("df = %byzer stat --df --model counted\nprint(type(df).__name__, df.loc[0, 'requests'])")
    assert frame.text == "DataFrame 1\n"


def test_doctor_and_models_are_tables(kernel: Kernel, gguf: Path) -> None:
    (both,) = kernel.run("%byzer doctor").shown
    assert both["text/html"].count("<table") == 2
    machine, engines = both["text/plain"].split("\n\n")
    assert "memory" in machine
    assert "llama_cpp" in engines
    (model,) = kernel.run(f"%byzer doctor --model_path {gguf}").shown
    assert "llama_cpp, because" in model["text/plain"]
    (models,) = kernel.run(f"%byzer models --model_path {gguf.parent}").shown
    assert gguf.stem in models["text/html"]
    assert kernel.run("import sys; print({'torch', 'vllm', 'llama_cpp'} & set(sys.modules))").text.strip() == "set()"


def test_kernel_that_is_stopped_during_a_stream_goes_on_with_it(deployed: Kernel) -> None:
    def stop() -> None:
        deployed.stop()
        assert bz.model("m").chat("hello").text == "Echo: hello", "others are not held back"
        deployed.resume()

    cell = deployed.run("%%chat m\ntokens:60@40", on_text=stop)
    assert cell.status == "ok"
    assert deployed.run("print(_chat.usage.completion_tokens)").text == "60\n"


def test_deployments_outlive_a_kernel_that_is_killed_during_a_stream(deployed: Kernel, provider: Process) -> None:
    streams = len(closed_early(provider))
    deployed.ask("%%chat m\ntokens:2000@50")
    assert eventually(lambda: bz.model("m").stat().busy == 1)
    deployed.restart()  # with SIGKILL
    assert eventually(lambda: bz.model("m").stat().busy == 0)
    assert eventually(lambda: len(closed_early(provider)) == streams + 1), "the provider is not kept busy either"
    deployed.run("%load_ext byzer_magic")
    deployed.run("%chat m still there")
    assert deployed.run("print(_chat.text)").text == "Echo: still there\n"


def test_notebooks_chat_at_the_same_time(
    deployed: Kernel, kernel_env: dict[str, str], folder: Path, provider: Process
) -> None:
    other = Kernel(kernel_env, folder)
    try:
        other.run("%load_ext byzer_magic")
        other.run("%byzer connect")
        texts: dict[str, str] = {}

        def chat(name: str, kernel: Kernel) -> None:
            kernel.run("%%chat m\nheld:notebooks tokens:100")
            texts[name] = kernel.run("print(_chat.usage.completion_tokens)").text

        threads = [threading.Thread(target=chat, args=pair) for pair in (("a", deployed), ("b", other))]
        for thread in threads:
            thread.start()
        assert eventually(lambda: bz.model("m").stat().workers[0].free == 2)
        release(provider, "notebooks")
        for thread in threads:
            thread.join(PATIENCE)
        assert texts == {"a": "100\n", "b": "100\n"}
    finally:
        other.close()


def test_pasted_block_deploys_all_or_nothing(kernel: Kernel, cluster: Manager, provider: Process) -> None:
    block = f"""%%byzer
byzerllm deploy --pretrained_model_type saas/openai \\
--cpus_per_worker 0.001 \\
--infer_params saas.base_url="{provider.url}/v1" saas.api_key={KEY} saas.model=gpt-4o \\
--model first

!byzerllm deploy --pretrained_model_type saas/official_openai --cpus_per_worker 0.001 \\
--infer_params saas.base_url={provider.url}/v1 saas.api_key=KEY2 saas.model=gpt-4o
--model second
"""
    cell = kernel.run(block.replace("KEY2", "${NOT_DEFINED}"))
    assert "NOT_DEFINED" in cell.everything
    assert not {"first", "second"} & set(cluster.run(cluster.aliases()))
    assert kernel.run(block.replace("KEY2", KEY)).status == "ok"
    assert {"first", "second"} < set(cluster.run(cluster.aliases()))


def test_tab_completes_commands_flags_choices_and_aliases(deployed: Kernel) -> None:
    assert "deploy" in deployed.complete("%byzer dep")
    assert "--infer_backend" in deployed.complete("%byzer deploy --infer_b")
    assert "llama_cpp" in deployed.complete("%byzer deploy --infer_backend lla")
    assert "deepseek-chat" in deployed.complete("%byzer easy deploy deepseek-c")
    assert "m" in deployed.complete("%byzer undeploy --model ")
    assert "m" in deployed.complete("%%chat ")
    assert "--model_path" in deployed.complete("%%byzer\nbyzerllm deploy \\\n--infer_backend llama_cpp \\\n--model_p")
    assert "saas.api_key=" in deployed.complete(
        "%byzer deploy --pretrained_model_type saas/openai --infer_params saas.api"
    )


def test_unload_ext_removes_everything(kernel: Kernel) -> None:
    kernel.run("%unload_ext byzer_magic")
    assert "not found" in kernel.run("%byzer list").everything
    assert kernel.run("%load_ext byzer_magic").status == "ok"
    assert "COMMAND" in kernel.run("%byzer help").text


def test_line_may_end_in_a_question_mark(deployed: Kernel) -> None:
    for line in ("%chat m echo: is it?", "%byzer easy chat m echo: is it?"):
        cell = deployed.run(line)
        assert cell.status == "ok"
        assert "is it?" in cell.everything, line


def test_cell_that_runs_again_is_answered_from_the_journal(deployed: Kernel, provider: Process, tmp_path: Path) -> None:
    deployed.run(f"import os; home = os.getcwd(); os.chdir({str(tmp_path)!r})")
    assert "The journal is on" in deployed.run("%byzer journal on").text
    before = received(provider)
    first, again = (deployed.run("%%chat m\nhello, once") for _ in range(2))
    assert received(provider) == before + 1
    assert "from the journal" in str(again.shown)
    assert "from the journal" not in str(first.shown)
    assert "from the journal" not in str(deployed.run("%%chat m --fresh\nhello, once").shown)
    ask = "[model.chat('a joke').journal is None for _ in range(2)]"
    loop = f"model = __import__('byzer_magic').model('m')\nprint({ask})"
    assert [deployed.run(loop).text for _ in range(2)] == ["[True, True]\n", "[False, False]\n"]
    listed = deployed.run("%byzer journal once")
    assert "hello, once" in str(listed.shown)
    assert deployed.run("frame = %byzer journal --df\nlen(frame)").value == "4"
    receipt = str(deployed.run("%byzer receipt").shown[-1]["text/plain"])
    lines = [" ".join(line.split()) for line in receipt.split("\n")]
    asked, known = [line for line in lines if "%%chat m hello, once" in line]
    assert "%%chat m hello, once m 1 " in asked
    assert "%%chat m hello, once m 1 1 0 + 0" in known
    assert "m 1 1 " not in asked
    last = "f = %byzer receipt --df\nlist(f.tail(2)[['requests', 'from_journal']].itertuples(index=False, name=None))"
    assert deployed.run(last).value == "[(2, 0), (2, 2)]"
    deployed.run("%byzer journal off\nos.chdir(home)")
    assert received(provider) == before + 4
    assert "from the journal" not in str(deployed.run("%%chat m\nhello, once").shown)


def test_purse_that_is_empty_asks_in_the_cell_and_fails_where_nobody_is_there(
    deployed: Kernel, provider: Process, tmp_path: Path
) -> None:
    deployed.run(f"import os; home = os.getcwd(); os.chdir({str(tmp_path)!r})")
    assert "has no purse" in deployed.run("%byzer purse").everything
    shown = deployed.run("%byzer purse 0.0001").shown[-1]["text/plain"]
    assert "$0.0001" in shown
    before = received(provider)
    cell = deployed.run("%%chat m --max_tokens 100\nhello")
    assert cell.status == "error"
    assert "The purse has $0.0001 left, and this request to m may cost up to $0.001" in cell.everything
    assert "%byzer purse +0.002" in cell.everything
    assert received(provider) == before, "it was not sent"
    deployed.run("import byzer_magic.widgets.question as question; question.READY_SECONDS = 0.1")  # there is no page
    cell = deployed.run("%%chat m --max_tokens 100\nhello", typed="0.01")
    assert deployed.asked["prompt"].startswith("Purse: $0.0001 left; this request to m may cost up to $0.001")
    assert cell.status == "ok", cell.everything
    deployed.run("model = __import__('byzer_magic').model('m')")
    assert "PurseEmpty" in deployed.run("await model.achat('hi', max_tokens=4000)", typed=None).everything
    assert deployed.run("print(model.chat('hi', max_tokens=100).text != '')").text == "True\n"
    deployed.run("%byzer purse 0.01 --reset")
    cell = deployed.run("%%chat m\ntokens:3000")
    assert cell.status == "error"
    assert "The answer of m was cut at" in cell.everything
    assert "t0 t1 t2 t3" in cell.everything, "what has arrived is shown"
    assert deployed.run("print(_chat.interrupted, len(_chat.text) > 2_000)").text == "True True\n"
    assert "The purse is gone" in deployed.run("%byzer purse off").everything
    deployed.run("os.chdir(home)")

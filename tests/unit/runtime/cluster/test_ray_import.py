"""The stand-in for rfc3987_syntax changes nothing for other code of the process, except when the grammar is read."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from byzer_magic.runtime.cluster.ray_import import FOLDER, child_environment

pytest.importorskip("rfc3987_syntax", reason="JupyterLab brings it")

CHECK = """
import jsonschema, sys
assert "lark" not in sys.modules, "the grammar was compiled by an import"
formats = jsonschema.FormatChecker()
assert formats.conforms("http://example.com/\\u00fc", "iri") and not formats.conforms("not an iri", "iri")
assert "lark" in sys.modules
from rfc3987_syntax import RFC3987_SYNTAX_TERMS, is_valid_syntax_iri
import rfc3987_syntax.utils
print(rfc3987_syntax.__file__)
"""


def run(code: str, env: dict[str, str] | None = None) -> str:
    """Run Python code in a new process; return the last line that it printed."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=env)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


LOADED = """
before = sys.modules["rfc3987_syntax"]
with deferred():
    import rfc3987_syntax
assert rfc3987_syntax is before and sys.modules["rfc3987_syntax"] is before, "it was loaded before"
"""


def test_deferred_import_keeps_the_format_and_leaves_the_package_to_others() -> None:
    block = "from byzer_magic.runtime.cluster.ray_import import deferred\nwith deferred():\n    import jsonschema\n"
    path = run(block + CHECK + LOADED)
    assert path.endswith("__init__.py")
    assert not path.startswith(FOLDER)


def test_child_environment_defers_in_child_processes() -> None:
    path = run(CHECK, child_environment(os.environ))
    assert path.startswith(FOLDER)


def test_stand_in_is_not_found_where_the_package_is_not_installed() -> None:
    run(
        "import sys\n"
        "sys.path = [entry for entry in sys.path if 'site-packages' not in entry]\n"
        f"sys.path.insert(0, {FOLDER!r})\n"
        "try:\n    import rfc3987_syntax\n"
        "except ModuleNotFoundError as err:\n    assert err.name == 'rfc3987_syntax'\n"
        "else:\n    raise AssertionError('found')"
    )


UNUSED = """
from byzer_magic.runtime.cluster.ray_import import import_ray
import sys
ray = import_ray()
assert not {"jsonschema", "requests"} & {*sys.modules}
from ray._private.accelerators import tpu
from ray._private.runtime_env.plugin_schema_manager import jsonschema as theirs
import jsonschema, requests.adapters
assert tpu.requests.get is requests.get and tpu.requests.adapters is requests.adapters
assert theirs.validate is jsonschema.validate
assert ray.runtime_env.RuntimeEnv(env_vars={"A": "b"})
print("the same")
"""


def test_ray_has_what_it_imports_once_it_uses_it() -> None:
    assert run(UNUSED) == "the same"


SERIALIZERS = """
import sys
{ray}
from ray.util import serialization_addons

class Context:
    def __getattr__(self, name):
        assert name.startswith("_register_cloudpickle_")
        return lambda cls, *_, **__: found.append(f"{cls.__module__}.{cls.__qualname__}")

found = []
serialization_addons.apply(Context())
serialization_addons.apply(Context())
before = len(found)
import pyarrow.json, pydantic.v1.fields, starlette.datastructures
finders = {type(finder).__name__ for finder in sys.meta_path}
print(before, *sorted({*found}), *finders & {"WhenImported"})
"""


def test_serializers_of_ray_come_with_their_packages() -> None:
    plain = run(SERIALIZERS.replace("{ray}", "import ray"), child_environment(os.environ)).split()
    own = "from byzer_magic.runtime.cluster.ray_import import import_ray\nray = import_ray()"
    ours = run(SERIALIZERS.replace("{ray}", own)).split()
    assert int(plain[0]) > len(plain)
    assert ours[0] == "0"
    assert ours[1:] == plain[1:], "the same ones, and nothing waits any longer"

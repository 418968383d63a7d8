"""SmolLM2's GGUF rewritten by gguf-py: in parts, and with a chat template that has a place for tools."""

from __future__ import annotations

from pathlib import Path

from tests.models import cached
from tests.models.smollm2 import smollm2_gguf

PARTS = 3
TEMPLATE = """\
{%- if tools %}<|im_start|>system
You can call functions. They are:
<tools>
{%- for tool in tools %}
{{ tool | tojson }}
{%- endfor %}
</tools>
To call one, answer:
<tool_call>
{"name": NAME, "arguments": OBJECT}
</tool_call><|im_end|>
{% endif %}
{%- for message in messages %}
{%- if message.role == 'tool' %}<|im_start|>user
<tool_response>
{{ message.content }}
</tool_response><|im_end|>
{% elif message.tool_calls %}<|im_start|>assistant
{%- for call in message.tool_calls %}
<tool_call>
{"name": "{{ call.function.name }}", "arguments": {{ call.function.arguments | tojson }}}
</tool_call>
{%- endfor %}<|im_end|>
{% else %}<|im_start|>{{ message.role }}
{{ message.content }}<|im_end|>
{% endif %}
{%- endfor %}
{%- if add_generation_prompt %}<|im_start|>assistant
{% endif %}"""


def split() -> Path:
    """Return the first of the files, which describes the model and holds none of it."""
    return cached("gguf-split", _make_split) / f"model-00001-of-{PARTS:05}.gguf"


def with_tools() -> Path:
    """Return the same model with a template that shows tools."""
    return cached("gguf-tools", _make_tools) / "model.gguf"


def base() -> Path:
    """Return the same model without a template, as base models come."""
    return cached("gguf-base", _make_base) / "model.gguf"


def _make_base(folder: Path) -> None:
    _copy(folder / "model.gguf", template=None)


def _make_split(folder: Path) -> None:
    import gguf

    count = len(gguf.GGUFReader(smollm2_gguf()).tensors)
    _copy(folder / "model.gguf", most=-(-count // (PARTS - 1)))


def _make_tools(folder: Path) -> None:
    _copy(folder / "model.gguf", template=TEMPLATE)


def _copy(target: Path, most: int = 0, template: str | None = "") -> None:
    """Write the model to `target`, at most `most` tensors in a file, with another template or, for None, with none."""
    import gguf

    reader = gguf.GGUFReader(smollm2_gguf())
    writer = gguf.GGUFWriter(target, "llama", split_max_tensors=most, small_first_shard=bool(most))
    for field in reader.fields.values():
        if field.name == "tokenizer.chat_template" and template != "":
            if template is not None:
                writer.add_chat_template(template)
        elif not field.name.startswith(("GGUF.", "general.architecture")):
            inner = field.types[-1] if field.types[0] == gguf.GGUFValueType.ARRAY else None
            writer.add_key_value(field.name, field.contents(), field.types[0], sub_type=inner)
    for tensor in reader.tensors:
        writer.add_tensor(tensor.name, tensor.data, raw_dtype=tensor.tensor_type)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()

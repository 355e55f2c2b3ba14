"""Chat templates: rendered as transformers renders them, and stopped when they ask for too much."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from foresight.checkpoint.template import ChatTemplate, load_chat_template
from foresight.errors import CheckpointError
from support.tiny import tiny_tokenizer

pytest.importorskip("jinja2")

SPECIAL = {"bos_token": "<s>", "eos_token": "</s>"}
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "weather",
            "description": 'The <weather> & "more"',
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
        },
    }
]
MESSAGES: list[dict[str, Any]] = [
    {"role": "system", "content": "Be brief.  "},
    {"role": "user", "content": "Hi <there> é"},
    {"role": "assistant", "content": "<think>\nhm\n</think>\n\nHello", "tool_calls": [{"name": "weather", "arguments": {"city": "Zürich"}}]},
    {"role": "tool", "content": "sunny"},
    {"role": "user", "content": "Thanks"},
]  # fmt: skip

# Constructs that published templates use, each rendered by both environments.
TEMPLATES = {
    "plain": "{{ bos_token }}{% for m in messages %}[{{ m['role'] }}] {{ m.content | trim }}{{ eos_token }}\n{% endfor %}",
    "loop": "{% for m in messages %}{{ loop.index }}/{{ loop.length }}{{ loop.first }}{{ loop.last }}"
    "{{ loop.revindex0 }}{{ loop.cycle('a', 'b') }}{% if loop.previtem is defined %}{{ loop.previtem.role }}{% endif %}"
    "{% if not loop.last %}{{ loop.nextitem.role }}{% endif %}{% else %}none{% endfor %}",
    "namespace": "{% set ns = namespace(last=0, text='') %}{% for m in messages %}{% if m.role == 'user' %}"
    "{% set ns.last = loop.index0 %}{% set ns.text = ns.text + m.content ~ ns.last %}{% endif %}{% endfor %}{{ ns.text }}{{ ns.last }}",
    "tools": "{% if tools %}{% for t in tools %}{{ t | tojson }}|{{ t | tojson(indent=2) }}|{{ t.function.name | upper }}"
    "{% endfor %}{% endif %}{{ tools | map(attribute='function') | map(attribute='name') | list }}",
    "macro": "{%- macro show(m, deep=false) -%}<{{ m.role }}{% if deep %}!{% endif %}>{%- endmacro -%}"
    "{% for m in messages %}{{ show(m, deep=loop.last) }}{% endfor %}"
    "{%- macro wrap() -%}({{ caller('y') }}){%- endmacro -%}{% call(x) wrap() %}{{ x }}{% endcall %}",
    "slices": "{% for m in messages[1:] %}{{ m.content[:3] }}{{ m.content[::-1] }}{% endfor %}{{ messages[-1].content }}"
    "{% for m in messages[::-1] %}{{ m.role[0] }}{% endfor %}",
    "strings": "{% for m in messages %}{{ m.content.split('</think>')[-1].lstrip('\\n') }}{{ m.content.strip().upper() }}"
    "{{ m.content.replace('e', 'E') }}{{ m.content.startswith('H') }}{{ '%s-%d' % (m.role, 3) }}{{ '{}:{}'.format(m.role, 2) }}"
    "{{ ', '.join(['a', m.role]) }}{{ m.content | replace('i', 'I') | length }}{% endfor %}",
    "filters": "{{ messages | length }}{{ messages | map(attribute='role') | join(', ') }}"
    "{{ messages | selectattr('role', 'equalto', 'user') | list | length }}{{ messages | rejectattr('tool_calls', 'defined') | map(attribute='role') | list }}"
    "{{ [3, 1, 2] | sort | first }}{{ [1, 2] | sum }}{{ 'x' | default('y') }}{{ nothing | default('y') }}{{ {'b': 1, 'a': 2} | dictsort }}"
    "{{ 'a b' | title }}{{ ['a', 'a'] | unique | list }}{{ 'text' | indent(2, true) }}{{ 3.7 | int }}{{ 3.14159 | round(2) }}{{ {'a': 1} | items | list }}"
    "{{ 'a-b' | e }}{{ '<' | e }}{{ [1, 2, 3] | reverse | list }}{{ [1, 5] | max }}{{ 'abcdefghijk' | truncate(5, leeway=0) }}",
    "lazy": "{% if messages | selectattr('role', 'equalto', 'nobody') %}always{% endif %}"
    "{% set users = messages | selectattr('role', 'equalto', 'user') %}{% for u in users %}{{ u.content }}{% endfor %}{% for u in users %}again{% endfor %}",
    "tests": "{{ messages is iterable }}{{ messages is mapping }}{{ messages[0] is mapping }}{{ x is defined }}{{ tools is none }}"
    "{{ 'a' is string }}{{ 3 is number }}{{ 4 is divisibleby 2 }}{{ 'a' in 'cat' }}{{ 'role' in messages[0] }}{{ 2 not in [1, 3] }}{{ true is sameas true }}{{ 1 < 2 < 3 }}",
    "control": "{% for m in messages %}{% if m.role == 'tool' %}{% continue %}{% endif %}{% if loop.index > 3 %}{% break %}{% endif %}{{ m.role }}{% endfor %}",
    "generation": "{% set a = 1 %}{% for m in messages %}{% generation %}{{ m.content }}{% set a = 2 %}{% endgeneration %}{{ a }}{% endfor %}",
    "whitespace": "  {% if true %}\n    x\n  {% endif %}\n{#- note -#}\n  y {%- if true %} z{% endif -%}  \n{% raw %}{{ raw }}{% endraw %}",
    "sets": "{% set x %}a{{ messages[0].role }}{% endset %}{{ x }}{{ x | upper }}{% filter upper %}b{{ x }}{% endfilter %}{% set a, b = 1, 2 %}{{ a + b }}{% set d = dict(a=1, b=[2]) %}{{ d }}",
    "arithmetic": "{{ (7 // 2) ~ (7 % 4) ~ (2 ** 5) ~ (1 - 3) ~ (3 / 2) ~ ('ab' * 2) ~ ([1] + [2]) ~ -3 }}{{ loop_count | default(range(4) | list) }}",
    "conditional": "{{ 'x' if add_generation_prompt else 'y' }}{{ messages[0]['nothing'] }}{{ messages[0].nothing is defined }}{{ (tools or []) | length }}{{ enable_thinking is defined and enable_thinking is false }}",
    "recursive": "{% for k in [[1, [2]], 3] recursive %}{% if k is iterable %}({{ loop(k) }}){% else %}{{ k }}{% endif %}{% endfor %}",
    "dict": "{% for k, v in tools[0].function.parameters.items() %}{{ k }}={{ v }};{% endfor %}{{ messages[0].get('role') }}{{ messages[0].get('x', 'none') }}{{ messages[0].keys() | list }}",
    "nested loops": "{% for a in range(3) %}{% for b in range(a) %}{{ a }}{{ b }}{{ loop.index }}{% endfor %}{{ loop.index }}{% endfor %}{{ joiner is defined }}",
    "joiner": "{% set comma = joiner(', ') %}{% for m in messages %}{{ comma() }}{{ m.role }}{% endfor %}{% set c = cycler('a', 'b') %}{{ c.next() }}{{ c.next() }}{{ c.current }}",
}  # fmt: skip


def render(template: str, messages: Any = None, **options: Any) -> str:
    chat = ChatTemplate({"default": template}, SPECIAL, "here")
    return chat.render(MESSAGES if messages is None else messages, **options)


@pytest.mark.hf
@pytest.mark.parametrize("name", TEMPLATES)
def test_rendering_is_that_of_transformers(name: str) -> None:
    pytest.importorskip("transformers")
    from transformers.utils.chat_template_utils import render_jinja_template

    for tools, prompt in ((TOOLS, True), (TOOLS, False)):
        expected, _ = render_jinja_template(
            [MESSAGES],
            tools=tools,
            chat_template=TEMPLATES[name],
            add_generation_prompt=prompt,
            enable_thinking=False,
            documents=None,
            **SPECIAL,
        )
        ours = render(TEMPLATES[name], tools=tools, add_generation_prompt=prompt, enable_thinking=False)
        assert ours == expected[0]


BOMBS = {
    "range": "{% for i in range(10**9) %}x{% endfor %}",
    "nested ranges": "{% for i in range(99999) %}{% for j in range(99999) %}{% for k in range(99999) %}{% endfor %}{% endfor %}{% endfor %}",
    "nested output": "{% for i in range(99999) %}{% for j in range(99999) %}xxxxxxxxxxxxxxxx{% endfor %}{% endfor %}",
    "string times": "{{ 'a' * 10**9 }}",
    "times string": "{{ 10**9 * 'a' }}",
    "list times": "{% set x = [0] * 10**9 %}",
    "power": "{{ 10**(10**10) }}",
    "powers": "{% set ns = namespace(x=3) %}{% for i in range(1000) %}{% set ns.x = ns.x * ns.x %}{% endfor %}",
    "round": "{{ 5 | round(-1000000000) }}{{ 5.5 | round(1000000000, 'floor') }}",
    "center": "{{ 'a' | center(10**9) }}",
    "center method": "{{ 'a'.center(10**9) }}",
    "ljust": "{{ 'a'.ljust(10**9) }}",
    "zfill": "{{ '1'.zfill(10**9) }}",
    "expandtabs": "{{ '\\t'.expandtabs(10**9) }}{{ '\\t\\t'.expandtabs(tabsize=10**8) }}",
    "indent": "{{ ('a\\n' * 1000) | indent(10**8) }}{{ 'a' | indent(width=10**9, first=true) }}",
    "indent text": "{% set x = 'a\\n' * 100000 %}{{ x | indent('b' * 100000) }}",
    "replace": "{% set x = 'a' * 100000 %}{{ x.replace('a', x) }}",
    "replace nothing": "{% set x = 'a' * 100000 %}{{ x | replace('', x) }}",
    "join": "{% set x = 'a' * 100000 %}{{ x | join(x) }}",
    "join method": "{% set x = 'a' * 100000 %}{{ x.join(range(99999) | map('string') | list) }}",
    "percent": "{{ '%1000000000d' % 3 }}",
    "percent star": "{{ '%*d' % (1000000000, 3) }}",
    "percent filter": "{{ '%1000000000d' | format(3) }}",
    "percent many": "{% set x = 'a' * 1000000 %}{{ ('%(x)s' * 100000) % {'x': x} }}",
    "format": "{{ '{:1000000000}'.format(3) }}",
    "format nested": "{{ '{:{}}'.format(3, 1000000000) }}",
    "format many": "{% set x = 'a' * 1000000 %}{{ ('{0}' * 100000).format(x) }}",
    "format map": "{{ '{a:1000000000}'.format_map({'a': 3}) }}",
    "concatenate": "{% set ns = namespace(x='aaaaaaaa') %}{% for i in range(60) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}",
    "add": "{% set ns = namespace(x='aaaaaaaa') %}{% for i in range(60) %}{% set ns.x = ns.x + ns.x %}{% endfor %}",
    "laughs": "{% set ns = namespace(x=[1]) %}{% for i in range(60) %}{% set ns.x = [ns.x, ns.x] %}{% endfor %}{{ ns.x }}",
    "laughing dicts": "{% set ns = namespace(x={}) %}{% for i in range(60) %}{% set ns.x = {'a': ns.x, 'b': ns.x} %}{% endfor %}{{ ns.x | tojson }}",
    "laughing tuples": "{% set ns = namespace(x=(1,)) %}{% for i in range(60) %}{% set ns.x = (ns.x, ns.x) %}{% endfor %}{{ {ns.x: 1} }}",
    "compare": "{% set ns = namespace(x=[1], y=[1]) %}{% for i in range(60) %}{% set ns.x = [ns.x, ns.x] %}{% set ns.y = [ns.y, ns.y] %}{% endfor %}{{ ns.x == ns.y }}",
    "tojson indent": "{{ [1, 2] | tojson(indent=10**9) }}",
    "tojson separators": "{{ [1, 2] | tojson(separators=('x' * 1000000, ':')) }}",
    "macro": "{% macro f(n) %}{{ f(n) }}{% endmacro %}{{ f(1) }}",
    "fanning macro": "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(60) }}",
    "recursive loop": "{% for x in [[1]] recursive %}{{ loop([[1], [1]]) }}{% endfor %}",
    "compares in loops": "{% set x = range(99999) | list %}{% for i in range(99999) %}{% if i + 0.5 in x %}{% endif %}{% endfor %}",
    "slices in loops": "{% set x = 'a' * 10000000 %}{% for i in range(99999) %}{% set y = x[1:] %}{% endfor %}",
    "sorts in loops": "{% set x = range(99999) | list %}{% for i in range(99999) %}{% set y = x | sort %}{% endfor %}",
    "maxima in loops": "{% for i in range(99999) %}{% set y = range(99999) | max %}{% endfor %}",
    "generators": "{% for i in range(99999) %}{% set y = range(99999) | map('abs') | map('abs') | select('none') | list %}{% endfor %}",
    "date": "{{ strftime_now('%1000000000Y') }}",
    "sum of lists": "{{ [[1] * 100000] * 100 | sum(start=[]) }}{{ ([[1] * 1000] * 1000) | sum(start=[]) }}",
    "filter block": "{% for i in range(99999) %}{% filter upper %}{{ 'a' * 1000000 }}{% endfilter %}{% endfor %}",
    "set block": "{% for i in range(99999) %}{% set x %}{{ 'a' * 1000000 }}{% endset %}{% endfor %}",
    "long text": "{% macro f() %}" + "x" * 100_000 + "{% endmacro %}{% for i in range(99999) %}{{ f() }}{% endfor %}",
    "import": "{% import 'x' as y %}",
    "include": "{% include '/etc/passwd' %}",
    "dunder": "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "dunder format": "{{ '{0.__class__.__mro__}'.format('') }}{{ ('' | attr('__class__')).__mro__ }}",
    "encode": "{{ 'a'.encode('utf-8') }}",
    "to bytes": "{{ (5).to_bytes(1000000000, 'big') }}",
    "lipsum": "{{ lipsum(n=1000000) }}",
    "mutation": "{{ messages.append(1) }}",
    "syntax": "{% for %}",
    "unknown filter": "{{ 1 | nosuchfilter }}",
    "deep blocks": "{% if true %}" * 3000 + "{% endif %}" * 3000,
    "deep brackets": "{{ " + "(" * 50_000 + ")" * 50_000 + " }}",
    "deep lists": "{{ " + "[" * 5000 + "]" * 5000 + " }}",
    "long sum": "{{ 1" + "+1" * 60_000 + " }}",
    "many loops": "{% for a in x %}" * 100 + "{% endfor %}" * 100,
    "huge number": "{{ " + "9" * 100_000 + " }}",
    "undefined": "{{ nothing.at.all }}",
    "none": "{% for x in none %}{% endfor %}",
    "private namespace": "{% set ns = namespace() %}{% set ns.__class__ = 3 %}{{ namespace(__init__=3) }}",
}  # fmt: skip


@pytest.mark.parametrize("name", BOMBS)
def test_bombs_are_stopped(name: str) -> None:
    begin = time.monotonic()
    with pytest.raises((CheckpointError, ValueError)) as caught:
        print(len(render(BOMBS[name])))
    assert "here" in str(caught.value)
    assert time.monotonic() - begin < 15


def test_a_namespace_inside_itself_can_be_written() -> None:
    text = "{% set ns = namespace() %}{% set ns.x = ns %}{{ ns }}"
    assert render(text) == "<Namespace>"


def test_large_conversations_are_no_bombs() -> None:
    messages = [{"role": "user", "content": "x" * 1000} for _ in range(3000)]
    padding = "{% if false %}" + "{{ messages }}x" * 5000 + "{% endif %}"
    long_macro = padding + TEMPLATES["macro"]
    assert len(render(long_macro, messages)) > 10
    for name in ("plain", "loop", "strings", "control", "filters"):
        begin = time.monotonic()
        assert len(render(TEMPLATES[name], messages)) > 10
        assert time.monotonic() - begin < 10
    assert render("{{ messages[0].content }}", [{"content": "y" * 20_000_000}]) == "y" * 20_000_000


def test_refusals_carry_the_message_of_the_template() -> None:
    with pytest.raises(ValueError, match="Roles must alternate"):
        render("{{ raise_exception('Roles must alternate') }}")
    with pytest.raises(TypeError, match="got object"):
        render("x", [{"role": object()}])
    deep: Any = "x"
    for _ in range(100):
        deep = [deep]
    with pytest.raises(ValueError, match="nested"):
        render("x", deep)


def test_today() -> None:
    assert render("{{ strftime_now('%Y') }}") == time.strftime("%Y")


def test_named_templates(tmp_path: Path) -> None:
    named = [{"name": "default", "template": "plain"}, {"name": "tool_use", "template": "{{ tools | length }}"}]
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"chat_template": named, "bos_token": "<s>"}))
    chat = load_chat_template(tmp_path)
    assert chat is not None
    assert chat.render(MESSAGES) == "plain"
    assert chat.render(MESSAGES, tools=TOOLS) == "1"
    assert chat.render(MESSAGES, tools=TOOLS, name="default") == "plain"
    with pytest.raises(ValueError, match="there are: default, tool_use"):
        chat.render(MESSAGES, name="other")


def test_files_in_their_order(tmp_path: Path) -> None:
    assert load_chat_template(tmp_path) is None
    tiny_tokenizer(tmp_path)
    (tmp_path / "chat_template.json").write_text(json.dumps({"chat_template": "third"}))
    chat = load_chat_template(tmp_path)
    assert chat is not None
    assert chat.render([{"role": "user", "content": "hi"}]) == "<s><|user|>hi</s>\n<|assistant|>"
    (tmp_path / "chat_template.jinja").write_text("first")
    assert getattr(load_chat_template(tmp_path), "templates", None) == {"default": "first"}
    (tmp_path / "chat_template.jinja").unlink()
    (tmp_path / "tokenizer_config.json").write_text("{}")
    assert getattr(load_chat_template(tmp_path), "templates", None) == {"default": "third"}


@pytest.mark.parametrize("value", [3, [], [3], [{"name": "x"}], {"default": "x"}, "x" * 300_000])
def test_templates_of_the_wrong_form(value: Any, tmp_path: Path) -> None:
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"chat_template": value}))
    with pytest.raises(CheckpointError, match="chat_template"):
        load_chat_template(tmp_path)

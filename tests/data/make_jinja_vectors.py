#!/usr/bin/python3
"""Writes jinja_vectors.json: templates, variables and what jinja2 makes of them, set up as
transformers' apply_chat_template sets it up. Needs python3-jinja2 (3.1.2 wrote the file).

    tests/data/make_jinja_vectors.py > tests/data/jinja_vectors.json

The chat templates are written for this test in the manner of the published ones."""
import datetime
import json

import jinja2
import jinja2.ext
import jinja2.nodes
import jinja2.sandbox

NOW = 1720000800  # 2024-07-03 10:00:00 UTC


class Generation(jinja2.ext.Extension):
    tags = {"generation"}

    def parse(self, parser):
        lineno = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        return jinja2.nodes.Scope(body).set_lineno(lineno)


class Refused(Exception):
    pass


def raise_exception(message):
    raise Refused(message)


def tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
    return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def strftime_now(form):
    return datetime.datetime.fromtimestamp(NOW, datetime.timezone.utc).strftime(form)


env = jinja2.sandbox.ImmutableSandboxedEnvironment(
    trim_blocks=True, lstrip_blocks=True, extensions=[Generation, jinja2.ext.loopcontrols])
env.filters["tojson"] = tojson
env.globals["raise_exception"] = raise_exception
env.globals["strftime_now"] = strftime_now

VALUES = {
    "s": "Hello, World", "zh": "你好，世界", "pad": "  \t hi \n", "n": 7, "neg": -7, "f": 2.5, "t": True,
    "no": False, "nil": None, "l": [3, 1, 2], "empty": [], "words": ["b", "A", "c", "a"],
    "d": {"z": 1, "a": "x", "m": [1, None, True, 2.0]}, "nested": [[1, 2], [3, 4]],
    "people": [{"name": "Bo", "age": 3, "in": {"x": 1}}, {"name": "al", "age": 1, "in": {"x": 0}},
               {"name": "Cy", "in": {}}],
    "quotes": "it's \"x\"\n\\", "mixed": [1, "two", None, 3.5, True, {"k": "v"}, "it's", "é\x07\u200b"],
    "e": "", "big": 12345678901234567, "emoji": "a😀b",
}

EXPRESSIONS = """
1 + 2 * 3 - 4
7 / 2
7 // 2
-7 // 2
-7 % 3
7 % -3
7.5 // 2
-7.5 % 2
2 ** 10
2 ** -1
2 ** 3 ** 2
-2 ** 2
1e3
1.5e-7
1e16
123456789012345680.0
0.1 + 0.2
1_000
100 * 1.0
1 / 3
-n | abs
'a' ~ 1 ~ none ~ true ~ 2.0 ~ missing
'a' + 'b' 'c'
'ab' * 3
3 * 'ab'
[1] * 3 + [2]
(1, 2) + (3,)
(1,)
()
[]
{}
{'a': 1, 'b': [1, 'x', None], 3: (1, 2)}
{'a': 1, 'a': 2}
[true, True, none, None, false]
1 == 1.0
true == 1
'1' == 1
[1, 2] == [1, 2]
[1, 2] == (1, 2)
{'a': 1} == {'a': 1.0}
1 < 2 < 3
1 < 3 < 2
1 < 2 == true
'a' < 'b'
'Z' < 'a'
'é' > 'z'
[1, 2] < [1, 3]
2 in l
5 not in l
'ell' in s
'a' in d
'q' in d
'x' in missing
not 1 in l
not true or true
none or 'x'
'' and 'x'
0 or none
'yes' if t else 'no'
'yes' if no
('yes' if no) is undefined
1 if no else 2 if no else 3
missing
missing is defined
d.a
d['a']
d.missing is defined
d.m[3]
d.items is defined
d['items'] is defined
l[0]
l[-1]
l[7] is undefined
l[1:]
l[:-1]
l[::-1]
l[::2]
l[-2:]
l[5:]
l[2:0:-1]
s[1:4]
s[::-1]
zh[1]
zh[-2:]
zh[::-1]
emoji[1]
emoji[::2]
s[-100:100]
s[100:]
nested[1][0]
nested.1.0
people[0].in.x
s.upper()
s.lower()
zh | length
emoji | length
s.split(',')
s.split()
pad.split()
'a b  c'.split(' ')
'a b c d'.split(None, 2)
'a b c d '.rsplit(None, 1)
'a-b-c'.rsplit('-', 1)
'a-b-c'.split('-', 1)
'a-b-c'.split('-')[-1]
pad.strip()
pad.lstrip()
pad.rstrip()
'xxhixx'.strip('x')
'xyhiyx'.lstrip('xy')
'你你好你'.strip('你')
s.startswith('Hello')
s.startswith(('x', 'He'))
s.endswith('x')
s.replace('l', 'L')
s.replace('l', 'L', 1)
'abc'.replace('', '-')
s.title()
"they're bill's friends".title()
"they're bill's friends-from (the) UK" | title
'hELLO wORLD'.capitalize()
'straße'.upper()
'ÀÉ'.lower()
'-'.join(['a', 'b'])
s.find('World')
s.find('q')
zh.find('界')
s.rfind('l')
s.count('l')
'abc'.isalpha()
'12'.isdigit()
'a1'.isalnum()
' '.isspace()
'AB'.isupper()
'ab1'.islower()
'prefix-x'.removeprefix('prefix-')
'x.txt'.removesuffix('.txt')
'a\\nb\\r\\nc'.splitlines()
d.keys() | list
d.values() | list
d.items() | list
d.get('a')
d.get('q')
d.get('q', 'dflt')
d | items | list
d | dictsort
d | length
d | list
d | tojson
d | tojson(indent=2)
d | tojson(indent=4)
d | tojson(sort_keys=true)
d | tojson(separators=(',', ':'))
d | tojson(separators=(',', ':'), indent=1)
mixed | tojson
mixed | tojson(ensure_ascii=true)
emoji | tojson(ensure_ascii=true)
quotes | tojson
[] | tojson(indent=2)
{} | tojson(indent=2)
[[], {}] | tojson(indent=2)
{'a': {'b': [1]}, 1: 2, none: 3, true: 4} | tojson
1e20 | tojson
mixed
mixed | string
[quotes]
["'", '"', "'\\""]
pad | trim
'xxhixx' | trim('x')
n | string
n | string ~ 'x'
missing | default('x')
nil | default('x')
nil | default('x', true)
e | default('x', true)
e or 'x'
missing | d
s | upper
s | lower
'hELLO' | capitalize
s | replace('o', '0')
s | replace('o', '0', 1)
s | first
s | last
l | first
empty | first is undefined
l | last
l | sort
l | sort(reverse=true)
words | sort
words | sort(case_sensitive=true)
people | sort(attribute='name') | map(attribute='name') | list
people | map(attribute='age', default=0) | list
people | map(attribute='in.x') | list
people | selectattr('age') | map(attribute='name') | list
people | selectattr('age', 'defined') | list | length
people | rejectattr('age', 'defined') | list | length
people | selectattr('name', 'equalto', 'al') | list
people[:2] | selectattr('age', '>', 2) | map(attribute='name') | list
people | selectattr('name', 'in', ['Bo', 'Cy']) | map(attribute='name') | join('/')
words | map('upper') | join(', ')
words | map('replace', 'a', 'X') | list
[1, 0, none, 'x'] | select | list
[1, 0, none, 'x'] | reject | list
[1, 2, 3, 4] | select('odd') | list
[1, 2, 3, 4] | reject('gt', 2) | list
words | unique | list
words | unique(case_sensitive=true) | list
[1, 1.0, 2, true] | unique | list
l | reverse | list
s | reverse
l | join
l | join('-')
people | join(', ', attribute='name')
l | sum
[0.5, 1] | sum
l | max
words | min
people | map(attribute='name') | max
l | length
l | count
'12' | int
' 12 ' | int
'x' | int
'x' | int(5)
'3.7' | int
3.99 | int
true | int
'2.5' | float
'x' | float
2.567 | round(2)
2.5 | round
7 | round(2)
missing is callable
3.5 | round
2.1 | round(0, 'ceil')
-3 | abs
'a\\nb\\n\\nc' | indent
'a\\nb' | indent(2, true)
'a\\n\\nb' | indent(2, blank=true)
'a\\nb' | indent('> ')
'<a href="x">' | e
s | safe
range(3) | list
range(1, 4) | list
range(5, 0, -2) | list
range(0) | list
dict(a=1, b=2)
dict({'x': 1}, y=2)
dict(**{'x': 1})
dict(d, **{'x': 1})
range(*[1, 4]) | list
namespace(a=1).a
n is number
f is float
n is integer
t is integer
t is number
t is boolean
s is string
d is mapping
l is mapping
l is iterable
s is iterable
n is iterable
l is sequence
nil is none
n is odd
n is even
n is divisibleby 7
n is divisibleby(3)
n is eq 7
n is ne(7)
n is gt 3 and n is lt 9
n is in [7, 8]
'a' is in 'abc'
t is true
t is false
no is false
t is sameas true
s is upper
'ab' is lower
n is not string
range is callable
missing is none
d.q is not defined and n == 7
l is defined and l
"\\x41\\u4f60\\n\\t\\'\\q\\101"
'a\\\\b'
"multi
line"
big
big + 1
f * 2
1.0
-0.0
100000000000000000000.0
0.0001
0.00001
(n, s)
[n, [s, (1,)]]
strftime_now('%d %b %Y')
strftime_now('%Y-%m-%d %H:%M:%S %A %B %j %I %p %y %-d %%')
s[:5] ~ s[5:]
s[n]
(l | length) - 1
l | length - 1
-l[0]
not s
not not s
n if n > 3 and s else f
zh in zh ~ s
[1, 2, 3][1]
{'a': {'b': 1}}.a.b
{'a': 1}['a']
'x' ~ ('y' if t else 'z') ~ 'w'
(1 if t else 2) + 3
words[0] ~ words[-1]
people[0]['name'][0]
people | length > 2
'%' ~ '}' ~ '}}'
{'}}': 1}
none is none
loop is defined
'A' 'B' ~ 'C'
[1, 2,]
{'a': 1,}
1 in [1] in [[true]]
"tab\\tq".split('\\t')
(s | lower).split(', ') | map('capitalize') | join(' ')
d | attr('a') is defined
""".strip("\n")

STATEMENTS = [
    "{% for x in l %}{{ x }}{% if not loop.last %}, {% endif %}{% endfor %}",
    "{% for x in l %}{{ loop.index }}{{ loop.index0 }}{{ loop.revindex }}{{ loop.revindex0 }}{{ loop.first }}{{ loop.last }}{{ loop.length }};{% endfor %}",
    "{% for x in l %}{{ loop.previtem }}<{{ x }}>{{ loop.nextitem }}|{% endfor %}",
    "{% for x in empty %}x{% else %}none{% endfor %}",
    "{% for x in missing %}x{% else %}none{% endfor %}",
    "{% for x in l if x > 1 %}{{ loop.index }}/{{ loop.length }}:{{ x }} {% else %}no{% endfor %}",
    "{% for x in l if x > 5 %}{{ x }}{% else %}no{% endfor %}",
    "{% for k, v in d.items() %}{{ k }}={{ v }};{% endfor %}",
    "{% for k, v in d | dictsort %}{{ k }}={{ v }};{% endfor %}",
    "{% for k in d %}{{ k }}{% endfor %}",
    "{% for c in zh %}[{{ c }}]{% endfor %}",
    "{% for a, b in nested %}{{ a }}-{{ b }} {% endfor %}",
    "{% for (a, b), c in [((1, 2), 3)] %}{{ a }}{{ b }}{{ c }}{% endfor %}",
    "{% for x in l %}{% if x == 1 %}{% continue %}{% endif %}{{ x }}{% endfor %}",
    "{% for x in l %}{% if x == 1 %}{% break %}{% endif %}{{ x }}{% endfor %}",
    "{% for x in l %}{% for y in l %}{{ x * y }}{{ loop.index }} {% endfor %}{{ loop.index }}\n{% endfor %}",
    "{% for x in 1, 2 %}{{ x }}{% endfor %}",
    "{% for x in l[::-1] %}{{ x }}{% endfor %}",
    "{% set x = 0 %}{% for i in l %}{{ x }}{% set x = i %}{{ x }} {% endfor %}{{ x }}",
    "{% set ns = namespace(x=0, found=false) %}{% for i in l %}{% set ns.x = ns.x + i %}{% endfor %}{{ ns.x }}{{ ns.found }}{{ ns.other is defined }}",
    "{% set ns = namespace(stop=false) %}{% for i in l if not ns.stop %}{{ i }}{% if i == 1 %}{% set ns.stop = true %}{% endif %}{% endfor %}",
    "{% if t: %}a{% else: %}b{% endif %}{% for x in l: %}{{ x }}{% endfor %}",
    "{% if no %}a{% elif n == 7 %}b{% else %}c{% endif %}",
    "{% if missing %}a{% else %}b{% endif %}",
    "{% if t %}{% set q = 1 %}{% endif %}{{ q }}",
    "{% set a, b = 1, 2 %}{{ a }}{{ b }}",
    "{% set a = 1, 2 %}{{ a }}",
    "{% set x %}  block {{ n }} {% endset %}[{{ x }}]",
    "{% set x | trim | upper %}  block {{ n }} {% endset %}[{{ x }}]",
    "{% filter upper %}abc {{ s }}{% endfilter %}",
    "{% with a = 1, b = n %}{{ a }}{{ b }}{% endwith %}{{ a is defined }}",
    "{% macro m(a, b='x', c=none) %}<{{ a }}|{{ b }}|{{ c }}>{% endmacro %}{{ m(1) }}{{ m(1, 2, 3) }}{{ m(c=5, a=4) }}{{ m() }}",
    "{% macro m(a, b='x') %}<{{ a }}|{{ b }}>{% endmacro %}{{ m(*[1, 2]) }}{{ m(**{'b': 3}) }}{{ m(1, **{'b': 3}) }}",
    "{% macro rec(n) %}{{ n }}{% if n > 0 %}{{ rec(n - 1) }}{% endif %}{% endmacro %}{{ rec(4) }}",
    "{% macro uses() %}{{ later }}{% endmacro %}{% set later = 5 %}{{ uses() }}",
    "{% macro box(title) %}[{{ title }}: {{ caller() }}]{% endmacro %}{% call box('T') %}body {{ n }}{% endcall %}",
    "{% macro each(xs) %}{% for x in xs %}{{ caller(x) }},{% endfor %}{% endmacro %}{% call(v) each(l) %}<{{ v }}>{% endcall %}",
    "{% macro t(x) %}{{ x | trim }}{% endmacro %}{% set y = t('  a ') %}{{ y | length }}{{ y ~ 'b' }}",
    "{% macro d(a, b=a) %}{{ a }}{{ b }}{% endmacro %}{{ d(1) }}{{ d(1, 2) }}",
    "{% raw %}{{ not }} {% parsed %}{% endraw %}!",
    "a {%- raw -%}  x {{ y }}  {%- endraw %} b",
    "a{# comment #}b{#- c -#} c",
    "{% generation %}said {{ n }}{% endgeneration %}.",
    "{{ '{{' }}{{ '%}' }}",
    "line\n",
    "line\n\n",
    "\n\nline",
    "a\r\nb\rc\r\n",
    "{% if t %}\nx\n{% endif %}\ny\n",
    "  {% if t %}\n  x\n  {% endif %}\n  y",
    "a  {% if t %}  \n b{% endif %}",
    "a\n  {{ n }}\n  {# c #}\nb",
    "a\n  {%+ if t %}x{% endif +%}\nb",
    "a \n {%- if t -%} \n x \n {%- endif -%} \n b",
    "a \n {{- n -}} \n b",
    "{%- for x in l %}\n{{ x }}\n{%- endfor %}\nend",
    "{% for x in l -%}\n  {{ x }}\n{% endfor -%}\n\n  end",
    "x{% if t %}\n\n  {% if t %}y{% endif %}\n{% endif %}z",
    "{% if t %}  {% if t %} a{% endif %}{% endif %}",
    "{% for m in people %}{{ '<' + m.name + '>' }}{{ m['age'] if m.age is defined else '?' }}\n{% endfor %}",
    "{% set l2 = l + [9] %}{{ l2 }}{% set l2 = l2[1:] %}{{ l2 }}",
    "{% for i in range(n) %}{{ i }}{% endfor %}",
    "{% set m = {'a': [1, {'b': 2}]} %}{{ m.a[1].b }}{{ m }}",
    "{% for x in l %}{% set outer = loop %}{% for y in [1] %}{{ outer.index }}.{{ loop.index }} {% endfor %}{% endfor %}",
    "{% for k in ['a', 'q'] %}{{ d[k] }}|{{ d[k] is defined }}{% endfor %}",
    "{{ people[1:] | map(attribute='name') | list }}{{ people[::-1][0].name }}",
    "{% set x = 'outer' %}{% macro f() %}{% set x = 'inner' %}{{ x }}{% endmacro %}{{ f() }}{{ x }}",
    "{% for x in l %}{{ x }}{% if loop.index is divisibleby 2 %}|{% endif %}{% endfor %}",
    "{%if t%}x{%endif%}{{n}}{{-n}}",
    "{{ n -}}  \n {{ n }}",
    "{% set ns = namespace() %}{% set ns.list = [] %}{% for x in l %}{% set ns.list = ns.list + [x] %}{% endfor %}{{ ns.list | join(',') }}",
]

TOOLS = [{"type": "function", "function": {
    "name": "get_weather", "description": "Gets the weather of a city. 查询天气",
    "parameters": {"type": "object", "properties": {
        "city": {"type": "string", "description": "The city's name, e.g. 北京 <or> 'Paris'"},
        "days": {"type": "integer", "enum": [1, 3, 7]}, "when": {"type": ["string", "null"]}},
        "required": ["city"]}}}]

CHATS = {
    "one": {"messages": [{"role": "user", "content": " Hi there \n"}]},
    "system": {"messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "你好"}]},
    "turns": {"messages": [{"role": "user", "content": "1+1?"}, {"role": "assistant", "content": " 2 "},
                           {"role": "user", "content": "<|im_end|> again"}]},
    "tools": {"tools": TOOLS, "messages": [
        {"role": "system", "content": "Use tools."}, {"role": "user", "content": "Weather in 北京?"},
        {"role": "assistant", "content": "", "tool_calls": [
            {"type": "function", "function": {"name": "get_weather", "arguments": {"city": "北京", "days": 1}}}]},
        {"role": "tool", "content": "{\"t\": 21.5}", "name": "get_weather"},
        {"role": "tool", "content": "sunny"},
        {"role": "assistant", "content": "<think>\nhm\n</think>\n\nIt is 21.5."},
        {"role": "user", "content": "Thanks"}]},
    "wrong": {"messages": [{"role": "assistant", "content": "x"}, {"role": "assistant", "content": "y"}]},
    "unknown": {"messages": [{"role": "alien", "content": "x"}]},
}

TEMPLATES = {
    "im_start with a default system message": """
{%- for message in messages %}
    {%- if loop.first and message.role != 'system' %}
        {{- '<|im_start|>system\\nYou help.<|im_end|>\\n' }}
    {%- endif %}
    {{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>' + '\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
{%- endif %}
""",
    "inst brackets with strict turns": """
{% if messages[0]['role'] == 'system' %}{% set rest = messages[1:] %}{% set sys = messages[0]['content'] %}
{% else %}{% set rest = messages %}{% set sys = false %}{% endif %}
{% for m in rest %}
{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}
{{ raise_exception('Roles must alternate user/assistant/user/assistant') }}
{% endif %}
{% if loop.index0 == 0 and sys != false %}{% set text = '<<SYS>>\\n' + sys + '\\n<</SYS>>\\n\\n' + m['content'] %}
{% else %}{% set text = m['content'] %}{% endif %}
{% if m['role'] == 'user' %}{{ bos_token + '[INST] ' + text.strip() + ' [/INST]' }}
{% elif m['role'] == 'assistant' %}{{ ' ' + text.strip() + ' ' + eos_token }}
{% endif %}{% endfor %}""",
    "headers with tools, dates and ipython": """
{{- bos_token }}
{%- if custom_tools is defined %}{%- set tools = custom_tools %}{%- endif %}
{%- if not date_string is defined %}
    {%- if strftime_now is defined %}{%- set date_string = strftime_now("%d %b %Y") %}
    {%- else %}{%- set date_string = "26 Jul 2024" %}{%- endif %}
{%- endif %}
{%- if not tools is defined %}{%- set tools = none %}{%- endif %}
{#- the system message goes apart #}
{%- if messages[0]['role'] == 'system' %}
    {%- set system_message = messages[0]['content']|trim %}
    {%- set messages = messages[1:] %}
{%- else %}
    {%- set system_message = "" %}
{%- endif %}
{{- "<|start_header_id|>system<|end_header_id|>\\n\\n" }}
{%- if tools is not none %}{{- "Environment: ipython\\n" }}{%- endif %}
{{- "Today Date: " + date_string + "\\n\\n" }}
{%- if tools is not none %}
    {{- "You have these functions:\\n\\n" }}
    {%- for t in tools %}
        {{- t | tojson(indent=4) }}
        {{- "\\n\\n" }}
    {%- endfor %}
{%- endif %}
{{- system_message }}{{- "<|eot_id|>" }}
{%- for message in messages %}
    {%- if not (message.role == 'ipython' or message.role == 'tool' or 'tool_calls' in message) %}
        {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n'+ message['content'] | trim + '<|eot_id|>' }}
    {%- elif 'tool_calls' in message %}
        {%- if not message.tool_calls|length == 1 %}
            {{- raise_exception("This model only supports single tool-calls at once!") }}
        {%- endif %}
        {%- set tool_call = message.tool_calls[0].function %}
        {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' -}}
        {{- '{"name": "' + tool_call.name + '", ' }}
        {{- '"parameters": ' }}
        {{- tool_call.arguments | tojson }}
        {{- "}" }}{{- "<|eot_id|>" }}
    {%- elif message.role == "tool" or message.role == "ipython" %}
        {{- "<|start_header_id|>ipython<|end_header_id|>\\n\\n" }}
        {%- if message.content is mapping or message.content is iterable %}
            {{- message.content | tojson }}
        {%- else %}
            {{- message.content }}
        {%- endif %}
        {{- "<|eot_id|>" }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}
{%- endif %}
""",
    "im_start with tools in xml tags": """
{%- if tools %}
    {{- '<|im_start|>system\\n' }}
    {%- if messages[0]['role'] == 'system' %}{{- messages[0]['content'] }}{%- else %}{{- 'You help.' }}{%- endif %}
    {{- "\\n\\n# Tools\\n\\n<tools>" }}
    {%- for tool in tools %}
        {{- "\\n" }}
        {{- tool | tojson }}
    {%- endfor %}
    {{- "\\n</tools>\\n\\n{\\"name\\": <function-name>}<|im_end|>\\n" }}
{%- else %}
    {%- if messages[0]['role'] == 'system' %}
        {{- '<|im_start|>system\\n' + messages[0]['content'] + '<|im_end|>\\n' }}
    {%- endif %}
{%- endif %}
{%- for message in messages %}
    {%- if (message.role == "user") or (message.role == "system" and not loop.first) or (message.role == "assistant" and not message.tool_calls) %}
        {{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>' + '\\n' }}
    {%- elif message.role == "assistant" %}
        {{- '<|im_start|>' + message.role }}
        {%- if message.content %}{{- '\\n' + message.content }}{%- endif %}
        {%- for tool_call in message.tool_calls %}
            {%- if tool_call.function is defined %}{%- set tool_call = tool_call.function %}{%- endif %}
            {{- '\\n<tool_call>\\n{"name": "' }}
            {{- tool_call.name }}
            {{- '", "arguments": ' }}
            {{- tool_call.arguments | tojson }}
            {{- '}\\n</tool_call>' }}
        {%- endfor %}
        {{- '<|im_end|>\\n' }}
    {%- elif message.role == "tool" %}
        {%- if (loop.index0 == 0) or (messages[loop.index0 - 1].role != "tool") %}{{- '<|im_start|>user' }}{%- endif %}
        {{- '\\n<tool_response>\\n' }}
        {{- message.content }}
        {{- '\\n</tool_response>' }}
        {%- if loop.last or (messages[loop.index0 + 1].role != "tool") %}{{- '<|im_end|>\\n' }}{%- endif %}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}
""",
    "thinking, found backwards": """
{%- set ns = namespace(multi_step_tool=true, last_query_index=messages|length - 1) %}
{%- for message in messages[::-1] %}
    {%- set index = (messages|length - 1) - loop.index0 %}
    {%- if ns.multi_step_tool and message.role == "user" and message.content is string and not(message.content.startswith('<tool_response>') and message.content.endswith('</tool_response>')) %}
        {%- set ns.multi_step_tool = false %}
        {%- set ns.last_query_index = index %}
    {%- endif %}
{%- endfor %}
{%- for message in messages %}
    {%- if message.content is string %}{%- set content = message.content %}{%- else %}{%- set content = '' %}{%- endif %}
    {%- if message.role == "assistant" %}
        {%- set reasoning_content = '' %}
        {%- if message.reasoning_content is string %}
            {%- set reasoning_content = message.reasoning_content %}
        {%- else %}
            {%- if '</think>' in content %}
                {%- set reasoning_content = content.split('</think>')[0].rstrip('\\n').split('<think>')[-1].lstrip('\\n') %}
                {%- set content = content.split('</think>')[-1].lstrip('\\n') %}
            {%- endif %}
        {%- endif %}
        {%- if loop.index0 > ns.last_query_index %}
            {%- if loop.last or (not loop.last and reasoning_content) %}
                {{- '<|im_start|>' + message.role + '\\n<think>\\n' + reasoning_content.strip('\\n') + '\\n</think>\\n\\n' + content.lstrip('\\n') }}
            {%- else %}
                {{- '<|im_start|>' + message.role + '\\n' + content }}
            {%- endif %}
        {%- else %}
            {{- '<|im_start|>' + message.role + '\\n' + content }}
        {%- endif %}
        {{- '<|im_end|>\\n' }}
    {%- else %}
        {{- '<|im_start|>' + message.role + '\\n' + content + '<|im_end|>\\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
    {%- if enable_thinking is defined and enable_thinking is false %}{{- '<think>\\n\\n</think>\\n\\n' }}{%- endif %}
{%- endif %}
""",
    "role tags with end": """{{ bos_token }}{% for message in messages %}{% if message['role'] == 'system' and message['content'] %}{{'<|system|>\\n' + message['content'] + '<|end|>\\n'}}{% elif message['role'] == 'user' %}{{'<|user|>\\n' + message['content'] + '<|end|>\\n'}}{% elif message['role'] == 'assistant' %}{{'<|assistant|>\\n' + message['content'] + '<|end|>\\n'}}{% endif %}{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>\\n' }}{% else %}{{ eos_token }}{% endif %}""",
    "start of turn, no system": """{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}{% for message in messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}{% if (message['role'] == 'assistant') %}{% set role = 'model' %}{% else %}{% set role = message['role'] %}{% endif %}{{ '<start_of_turn>' + role + '\\n' + message['content'] | trim + '<end_of_turn>\\n' }}{% endfor %}{% if add_generation_prompt %}{{'<start_of_turn>model\\n'}}{% endif %}""",
    "gmask and role tags": """[gMASK]<sop>{% for item in messages %}{% if item['tools'] is defined %}<|system|>
# 可用工具{% set tools = item['tools'] %}{% for tool in tools %}{% if tool['type'] == 'function' %}

## {{ tool['function']['name'] }}

{{ tool['function'] | tojson(indent=4) }}
请使用 Json 格式。{% endif %}{% endfor %}{% endif %}{% if item['content'] %}<|{{ item['role'] }}|>{{ item['metadata'] }}
{{ item['content'] }}{% endif %}{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}""",
    "spaced lines, for trim_blocks": """
{% for message in messages %}
  {% if message.role not in ['system', 'user', 'assistant', 'tool'] %}
    {{ raise_exception('Unknown role: ' ~ message.role) }}
  {% endif %}
  {# every message is a line #}
  {{ message.role | capitalize }}: {{ message.content }}
{% endfor %}
{% if add_generation_prompt %}
Assistant:
{% endif %}
""",
    "namespace state and tool outputs": """{% if not add_generation_prompt is defined %}{% set add_generation_prompt = false %}{% endif %}{% set ns = namespace(is_first=false, is_tool=false, is_output_first=true, system_prompt='') %}{%- for message in messages %}{%- if message['role'] == 'system' %}{% set ns.system_prompt = message['content'] %}{%- endif %}{%- endfor %}{{bos_token}}{{ns.system_prompt}}{%- for message in messages %}{%- if message['role'] == 'user' %}{%- set ns.is_tool = false -%}{{'<|User|>' + message['content']}}{%- endif %}{%- if message['role'] == 'assistant' and message['content'] is none %}{%- set ns.is_tool = false -%}{%- for tool in message['tool_calls']%}{%- if not ns.is_first %}{{'<|Assistant|>' + tool['type']}}{%- set ns.is_first = true -%}{%- endif %}{%- endfor %}{%- endif %}{%- if message['role'] == 'assistant' and message['content'] is not none %}{%- if ns.is_tool %}{{'<|tool_outputs_end|>' + message['content'] + eos_token}}{%- set ns.is_tool = false -%}{%- else %}{% set content = message['content'] %}{% if '</think>' in content %}{% set content = content.split('</think>')[-1] %}{% endif %}{{'<|Assistant|>' + content + eos_token}}{%- endif %}{%- endif %}{%- if message['role'] == 'tool' %}{%- set ns.is_tool = true -%}{%- if ns.is_output_first %}{{'<|tool_outputs_begin|><|tool_output_begin|>' + message['content'] + '<|tool_output_end|>'}}{%- set ns.is_output_first = false %}{%- else %}{{'\\n<|tool_output_begin|>' + message['content'] + '<|tool_output_end|>'}}{%- endif %}{%- endif %}{%- endfor -%}{% if ns.is_tool %}{{'<|tool_outputs_end|>'}}{% endif %}{% if add_generation_prompt and not ns.is_tool %}{{'<|Assistant|>'}}{% endif %}""",
    "macros that describe types": """
{%- macro type_of(spec) %}
    {%- if spec.enum %}{{- spec.enum | map('string') | join(' | ') }}
    {%- elif spec.type is string %}{{- spec.type }}
    {%- elif spec.type is iterable %}{{- spec.type | join(' or ') }}
    {%- else %}any{%- endif %}
{%- endmacro -%}
{%- macro describe(function, required=[]) -%}
{{ function.name }}(
{%- for name, spec in function.parameters.properties.items() -%}
    {%- if not loop.first %}, {% endif -%}
    {{ name }}{% if name not in function.parameters.required %}?{% endif %}: {{ type_of(spec) }}
{%- endfor -%}
)
{%- endmacro -%}
{%- if tools -%}
namespace functions {
{% for tool in tools %}
// {{ tool.function.description }}
type {{ describe(tool.function) }};
{% endfor %}
}
{% endif -%}
{%- for message in messages if message.content -%}
<|{{ message.role }}|>{{ message.content | trim }}{{ "\\n" if not loop.last }}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- "<|assistant|>" -}}{%- endif -%}
""",
    "blocks of generation": """{% for message in messages %}{% if message.role == 'assistant' %}{% generation %}{{ message.content + eos_token }}{% endgeneration %}{% else %}{{ '[' ~ message.role | upper ~ '] ' ~ message.content }}{% endif %}
{% endfor %}""",
}

ERRORS = [
    # template, a part of glint's message
    ("{{ missing.x }}", "'missing' is undefined"),
    ("{{ d.q.r }}", "has no attribute 'q'"),
    ("{{ missing + 1 }}", "'missing' is undefined"),
    ("{{ 'a' + 1 }}", "'str' and 'int'"),
    ("{{ 1 / 0 }}", "division by zero"),
    ("{{ 1 < 'a' }}", "not supported between"),
    ("{{ nil.upper() }}", "has no attribute 'upper'"),
    ("{{ s() }}", "not callable"),
    ("{{ missing() }}", "'missing' is undefined"),
    ("{% for x in nil %}{% endfor %}", "not iterable"),
    ("{% for x in n %}{% endfor %}", "not iterable"),
    ("{% for a, b in l %}{% endfor %}", "not iterable"),
    ("{% for a, b in [(1, 2, 3)] %}{% endfor %}", "unpack"),
    ("{{ l[::0] }}", "step cannot be zero"),
    ("{% set x = 1 %}{% set x.y = 2 %}", "non-namespace"),
    ("{{ {[1]: 2} }}", "unhashable"),
    ("{{ raise_exception('no way: ' ~ n) }}", "no way: 7"),
    ("{{ range(1000000) }}", "range of more than"),
    ("{{ s.upper(1) }}", "upper()"),
    ("{% macro m(a) %}{% endmacro %}{{ m(1, 2) }}", "arguments"),
    ("{{ s | frobnicate }}", "unknown filter 'frobnicate'"),
    ("{{ s is frobnicated }}", "unknown test 'frobnicated'"),
    ("{{ missing | int }}", "'missing' is undefined"),
    ("{{ nil | length }}", "no length"),
]


def outcome(template, variables):
    try:
        return {"output": env.from_string(template).render(**variables)}
    except Refused as refused:
        return {"refused": str(refused)}


def main():
    cases = [{"name": e, "template": "{{ " + e + " }}"} for e in EXPRESSIONS.replace("\nline", "\x00line").split("\n")]
    for case in cases:
        case["name"] = case["name"].replace("\x00", "\n")
        case["template"] = case["template"].replace("\x00", "\n")
    cases += [{"name": s, "template": s} for s in STATEMENTS]
    for case in cases:
        case.update(outcome(case["template"], VALUES))
        if "output" not in case:
            raise SystemExit("refused: " + case["name"])
    chats = []
    for name, template in TEMPLATES.items():
        runs = []
        for chat, variables in CHATS.items():
            for generation in (True, False):
                given = dict(variables, bos_token="<s>", eos_token="</s>", add_generation_prompt=generation)
                try:
                    runs.append(dict(chat=chat, add_generation_prompt=generation, **outcome(template, given)))
                except (jinja2.TemplateError, TypeError) as error:
                    runs.append(dict(chat=chat, add_generation_prompt=generation, fails=str(error)))
        chats.append({"name": name, "template": template, "runs": runs})
    errors = []
    for template, part in ERRORS:
        try:
            env.from_string(template).render(**VALUES)
            raise SystemExit("no error: " + template)
        except (Refused, jinja2.TemplateError, TypeError, ValueError, ZeroDivisionError, OverflowError):
            errors.append({"template": template, "part": part})
    print(json.dumps({"now": NOW, "values": VALUES, "cases": cases, "chats": CHATS, "templates": chats,
                      "errors": errors}, ensure_ascii=False, indent=1))


main()

# SPDX-License-Identifier: BSD-2-Clause
"""Just enough reading of C for the rules: text without comments and strings, function heads and their bodies. Knows the project's layout: a
function's head starts in column one and its body ends with a brace in column one."""
import collections
import re

Function = collections.namedtuple("Function", "name line lines static params")

_SKIP = re.compile(r"//[^\n]*|/\*.*?\*/|\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*'", re.DOTALL)
_HEAD = re.compile(r"^(?P<type>[A-Za-z_][^;{}()=#\n]*?[\s*])(?P<name>[A-Za-z_]\w*)\((?P<rest>[^;{}]*)\)\s*(?:__attribute__[^;{}]*)?\n\{",
                   re.MULTILINE)


def code(text):
    """The text with comments blanked and strings emptied; lines stay where they are."""
    def blank(match):
        token = match[0]
        if token[0] in "\"'":
            return token[0] * 2
        return re.sub(r"[^\n]", " ", token)
    return _SKIP.sub(blank, text)


def split_params(text):
    """The parameters between the outermost commas; "void" is none."""
    depth, params, current = 0, [], ""
    for char in text:
        depth += (char in "([{") - (char in ")]}")
        if char == "," and depth == 0:
            params.append(current)
            current = ""
        else:
            current += char
    params = [param.strip() for param in params + [current] if param.strip()]
    return [] if params == ["void"] else params


def functions(text):
    """The functions that a source defines."""
    source = code(text)
    found = []
    for match in _HEAD.finditer(source):
        if match["name"] in ("if", "for", "while", "switch", "return", "sizeof"):
            continue
        end = source.find("\n}", match.end())
        found.append(Function(match["name"], source.count("\n", 0, match.start()) + 1, source.count("\n", match.start(), end) + 2,
                              re.search(r"\bstatic\b", match["type"]) is not None, split_params(match["rest"])))
    return found


def includes(text):
    """(line, bracket, header) of each #include."""
    return [(number, match[1], match[2]) for number, line in enumerate(text.splitlines(), 1)
            if (match := re.match(r"\s*#\s*include\s*([<\"])([^>\"]+)[>\"]", line))]

# SPDX-License-Identifier: BSD-2-Clause
"""Proves that the repository keeps each house rule of rules.py, and that each rule refuses its own bad sample, so that none passes because
it is blind."""
import pathlib

import pytest

import csource
import rules

ROOT = pathlib.Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def tree():
    return rules.Tree(ROOT)


@pytest.mark.parametrize("name", rules.RULES)
def test_rule(tree, name):
    function, sample = rules.RULES[name]
    with rules.sample_tree(sample) as folder:
        try:
            assert rules.complaints(function, rules.Tree(folder)), f"{name} does not see what is wrong in its own sample"
        except NotImplementedError as reason:
            pytest.skip(str(reason))
    found = rules.complaints(function, tree)
    if found:
        pytest.fail(f"{function.__doc__ or name}\n" + "\n".join(found), pytrace=False)


def test_tree_sees_the_repository(tree):
    """A rule over no files would hold for ever."""
    assert len(tree.select(".c")) > 10 and "scripts/test" in tree.shells() and "README.md" in tree.files


def test_functions_are_found():
    source = ("/* int no(void)\n{ */\nstatic int one(int a, void (*f)(int, int))\n{\n\tif (a) {\n\t}\n\treturn 0;\n}\n\n"
              "struct x *two(char *s,\n\t      size_t n)\n{\n\treturn \"}\\n}\";\n}\n\nint declared(void);\n")
    found = csource.functions(source)
    assert [(f.name, f.static, len(f.params), f.line, f.lines) for f in found] == [("one", True, 2, 3, 6), ("two", False, 2, 10, 5)]


def test_comments_and_strings_are_no_code():
    assert "atoi" not in csource.code('x("atoi(\\"1\\")"); /* atoi(1)\n */ // atoi(2)\n')
    assert csource.code("a\n/* b\nc */\nd").count("\n") == 3

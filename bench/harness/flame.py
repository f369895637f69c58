# SPDX-License-Identifier: BSD-2-Clause
"""Folds what `perf script` prints into stacks with counts, which svg.py draws."""
import collections
import re

# "ffffffff8107 name+0x12 (file)": what lies behind the name is not part of it
FRAME = re.compile(r"^\s+[0-9a-f]+\s+(.*?)(?:\+0x[0-9a-f]+)?\s+\((.*)\)$")


def fold(text):
    """{(outermost, …, innermost): samples}. Samples are separated by blank lines; the first line of each names the thread."""
    stacks = collections.Counter()
    thread, frames = None, []
    for line in text.splitlines() + [""]:
        found = FRAME.match(line) if thread else None
        if found:
            kernel = found[2].startswith(("[kernel", "[guest.kernel")) or found[2].endswith(".ko")
            frames.append(found[1] + ("_[k]" if kernel else ""))
        elif not line.strip():
            if thread and frames:
                stacks[(thread, *reversed(frames))] += 1
            thread, frames = None, []
        elif not line.startswith((" ", "\t")):
            # "comm  pid/tid time: event:"; a comm may hold blanks
            thread = re.split(r"\s+\d+(?:/\d+)?\s", line, maxsplit=1)[0].strip()
    return stacks

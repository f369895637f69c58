# SPDX-License-Identifier: BSD-2-Clause
"""What a run has measured so far, line by line on disk, so that a run that is killed or out of time loses nothing and can go on.

The first line says what the run is; a run goes on only from a journal of the same mode, machine and sources. Rows are known again by what
was asked for and the round; scenarios that are more than rows by a line that says that they are done.
"""
import json

from .rig import BenchError

ASKED = ("scenario", "tool", "size", "payload", "rate", "level", "sink", "flows", "filter", "count")
HEAD = ("version", "mode", "fingerprint", "sources", "changed")


def key_of(asked, turn):
    return tuple(asked[name] for name in ASKED) + (turn,)


class Journal:
    def __init__(self, path, head, resume):
        self.path = path
        self.head = {name: head[name] for name in HEAD}
        self.rows, self.limits, self.figures = [], [], []
        self.have, self.done = set(), set()
        self.spent_s = 0.0
        if resume:
            self._read()
        path.parent.mkdir(parents=True, exist_ok=True)
        self.file = open(path, "a" if resume else "w", encoding="utf-8")
        if resume:
            self.file.write("\n")  # behind a line that a killed run may have begun
        if not resume:
            self._put("head", self.head)

    def _read(self):
        try:
            lines = self.path.read_text().splitlines()
        except OSError as error:
            raise BenchError(f"--resume: {self.path}: {error.strerror}; there is nothing to go on from") from None
        entries = []
        for line in lines:
            try:
                entries.append(json.loads(line))
            except ValueError:
                continue  # the line that was being written when the run was killed
        head = entries[0].get("head") if entries else None
        if head != self.head:
            other = [name for name in HEAD if not head or head.get(name) != self.head[name]]
            raise BenchError(f"--resume: {self.path} is of another run ({', '.join(other)} differ); begin anew without --resume")
        for entry in entries[1:]:
            (kind, value), = entry.items()
            if kind == "row":
                self.rows.append(value)
                self.have.add(key_of(value, value["round"]))
            elif kind == "limit":
                self.limits.append(value)
            elif kind == "figure":
                self.figures.append(value)
            elif kind == "done":
                self.done.add(value)
            elif kind == "spent_s":
                self.spent_s += value

    def _put(self, kind, value):
        self.file.write(json.dumps({kind: value}) + "\n")
        self.file.flush()

    def has(self, spec, turn):
        return key_of(vars(spec), turn) in self.have

    def add_row(self, row):
        self.rows.append(row)
        self.have.add(key_of(row, row["round"]))
        self._put("row", row)

    def add_scenario(self, name, rows, limits, figures):
        """The whole of a scenario whose parts mean nothing alone."""
        for kind, found in (("row", rows), ("limit", limits), ("figure", figures)):
            for value in found:
                self._put(kind, value)
        self.rows += rows
        self.limits += limits
        self.figures += figures
        self.done.add(name)
        self._put("done", name)

    def add_spent(self, seconds):
        self.spent_s += seconds
        self._put("spent_s", seconds)

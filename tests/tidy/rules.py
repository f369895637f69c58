# SPDX-License-Identifier: BSD-2-Clause
"""The house rules that a program can check. A rule gets a Tree and returns complaints ("path:line: what"). Each has a sample that it must
refuse; a rule without one is refused itself (test_tidy.py)."""
import os
import pathlib
import re
import shutil
import subprocess
import tempfile

import csource

RULES = {}
C_COLUMNS = 110
TEXT_COLUMNS = 140
FILE_LINES = 700  # "about 600"
TEST_LINES = 900  # a list of cases reads well when it is long
FUNCTION_LINES = 100  # a tall screen
PARAMS = 6
FILE_BYTES = 200_000


class Tree:
    """The files of a repository: what git knows and what it would add, or everything where there is no git."""

    def __init__(self, root):
        self.root = pathlib.Path(root)
        listed = subprocess.run(["git", "-C", str(root), "ls-files", "-coz", "--exclude-standard"], capture_output=True, check=False)
        if (self.root / ".git").exists() and listed.returncode == 0:
            names = listed.stdout.decode().split("\0")
        else:
            names = [str(path.relative_to(self.root)) for path in self.root.rglob("*")]
        self.files = sorted(name for name in names if name and not re.match(r"(build[^/]*|\.git)/", name)
                            and (self.root / name).is_file() and not (self.root / name).is_symlink())

    def text(self, name):
        return (self.root / name).read_bytes().decode("utf-8", errors="replace")

    def select(self, *suffixes, under=""):
        return [name for name in self.files if name.startswith(under) and name.endswith(suffixes)]

    def texts(self):
        """What people write: everything but inputs of fuzz targets and expected outputs."""
        return [name for name in self.files if "/corpus/" not in name and "/golden/" not in name and name != "LICENSE"]

    def shells(self):
        return [name for name in self.texts() if name.endswith(".sh") or re.match(r"#!/bin/(ba)?sh\b", self.text(name)[:20])]


def rule(sample):
    """Registers a rule with a sample {path: text} in which it must find something."""
    def register(function):
        RULES[function.__name__] = (function, sample)
        return function
    return register


def lines(tree, names):
    for name in names:
        for number, line in enumerate(tree.text(name).split("\n"), 1):
            yield name, number, line


ESSAY = "/* SPDX-License-Identifier: BSD-2-Clause */\n/*\n * What it does, what it never does,\n * and its thread.\n */\n"

# unit -> folders of ours that it may include, and libraries; DESIGN.md's table. The longest prefix of the path decides.
BORDERS = {
    "bpf": ({"bpf"}, {"linux", "bpf"}),
    "bpf/abi": ({"bpf/abi"}, {"linux"}),
    "common": ({"common"}, {"jansson", "microhttpd", "curl", "sodium"}),
    "capture": ({"capture", "common", "bpf"}, {"linux", "bpf", "xdp", "liburing", "zstd", "pcap", "numa", "seccomp", "nettle", "sodium",
                "jansson"}),
    "bench": ({"bench", "common", "bpf", "capture/filter"}, {"linux", "bpf", "xdp", "liburing", "zstd", "pcap", "jansson"}),
    "control": ({"control", "common"}, {"jansson", "microhttpd", "curl", "sodium"}),
    "hive/http": ({"hive/http", "hive/svc", "hive/auth", "common"}, {"microhttpd", "jansson"}),
    "hive/svc": ({"hive/svc", "hive/db", "hive/export", "hive/store", "hive/sandbox", "hive/probe", "hive/auth", "common"}, set()),
    "hive/db": ({"hive/db", "common"}, {"sqlite3"}),
    "hive/export": ({"hive/export", "common"}, {"jansson", "sodium", "zstd", "curl"}),
    "hive/auth": ({"hive/auth", "common"}, {"ldap", "sodium"}),
    "hive/store": ({"hive/store", "common"}, set()),
    "hive/probe": ({"hive/probe", "common"}, {"curl", "jansson"}),
    "hive/sandbox": ({"hive/sandbox", "common"}, {"seccomp"}),
}
# first word of a system header -> library; linux/ headers are the kernel's own and free wherever C runs
LIBRARIES = {"jansson.h": "jansson", "microhttpd.h": "microhttpd", "curl": "curl", "nettle": "nettle", "sodium.h": "sodium",
             "sodium": "sodium", "bpf": "bpf", "xdp": "xdp", "liburing.h": "liburing", "zstd.h": "zstd", "zstd_errors.h": "zstd",
             "pcap.h": "pcap", "pcap": "pcap", "numa.h": "numa", "numaif.h": "numa", "seccomp.h": "seccomp",
             "sqlite3.h": "sqlite3", "ldap.h": "ldap"}


def border_of(name):
    parts = os.path.dirname(name).split("/")
    for n in range(len(parts), 0, -1):
        if "/".join(parts[:n]) in BORDERS:
            return "/".join(parts[:n])
    return None


@rule({"common/bad.c": ESSAY + '#include "capture/limits.h"\n'})
def includes_stay_inside_the_borders(tree):
    """DESIGN.md, "Layers and who may include whom"."""
    for name in tree.select(".c", ".h"):
        unit = border_of(name)
        if not unit:
            continue
        folders, libraries = BORDERS[unit]
        for number, bracket, header in csource.includes(tree.text(name)):
            if bracket == '"':
                allowed = {header} if any(header.startswith(folder + "/") for folder in folders) else set()
                if header not in allowed:
                    yield f"{name}:{number}: {unit}/ may not include \"{header}\""
                if unit in ("capture", "bench") and header.startswith("bpf/") and not (
                        header.startswith("bpf/abi/") or header.endswith(".skel.h")):
                    yield f"{name}:{number}: only bpf/abi/ and skeletons cross the border of bpf/, not \"{header}\""
            else:
                library = LIBRARIES.get(header.split("/")[0])
                if library and library not in libraries:
                    yield f"{name}:{number}: {unit}/ may not use {library} (<{header}>)"


@rule({"common/bad.c": ESSAY + '#include "err.h"\n', "common/err.h": ""})
def includes_are_written_from_the_root(tree):
    folders = {name.split("/")[0] for name in tree.files}
    for name in tree.select(".c", ".h"):
        for number, bracket, header in csource.includes(tree.text(name)):
            if bracket != '"' or header.endswith(".skel.h"):
                continue
            if name.startswith("tests/") and f"{os.path.dirname(name)}/{header}" in tree.files:
                continue  # a test's own helper
            if header.split("/")[0] not in folders or header not in tree.files:
                yield f"{name}:{number}: \"{header}\" is no path from the repository's root"


# Outside tests/. Few files each, so that a library can be replaced or wrapped in one place.
@rule({f"capture/{n}.c": ESSAY + "#include <zstd.h>\n" for n in range(4)})
def libraries_are_known_to_few_files(tree):
    limits = {"zstd": 3, "liburing": 3, "pcap": 3, "numa": 3, "seccomp": 2, "xdp": 3, "sqlite3": 2, "microhttpd": 2, "ldap": 2, "curl": 3}
    users = {}
    for name in tree.select(".c", ".h"):
        if name.startswith("tests/") or "/fuzz" in name:
            continue
        for _, bracket, header in csource.includes(tree.text(name)):
            library = LIBRARIES.get(header.split("/")[0]) if bracket == "<" else None
            if library in limits:
                users.setdefault((name.split("/")[0], library), set()).add(name)
    for (_, library), names in users.items():
        if len(names) > limits[library]:
            yield f"{library} is included by {len(names)} files, at most {limits[library]} may: {', '.join(sorted(names))}"


PREFIXES = {"common/": "skep_", "capture/filter/": "flt_", "capture/": "cap_", "bench/": "bench_", "control/": "ctl_", "hive/": "hive_"}


@rule({"capture/bad.c": ESSAY + "int link_open(void)\n{\n\treturn 0;\n}\n"})
def functions_carry_their_folder_in_the_name(tree):
    for name in tree.select(".c"):
        prefix = next((PREFIXES[folder] for folder in sorted(PREFIXES, key=len, reverse=True) if name.startswith(folder)), None)
        for function in csource.functions(tree.text(name)) if prefix else ():
            if not function.static and not function.name.startswith((prefix, "LLVMFuzzer")) and function.name != "main":
                yield f"{name}:{function.line}: {function.name}() is not static and does not start with {prefix}"


@rule({"capture/bad.c": ESSAY + "int cap_bad_one(int a, int b, int c, int d, int e, int f, int g)\n{\n\treturn 0;\n}\n"})
def functions_have_few_parameters(tree):
    """But for callbacks whose shape a library imposes."""
    imposed = {("common/http.c", "on_request")}
    for name in tree.select(".c"):
        for function in csource.functions(tree.text(name)) if not name.startswith("tests/") else ():
            if len(function.params) > PARAMS and (name, function.name) not in imposed:
                yield f"{name}:{function.line}: {function.name}() has {len(function.params)} parameters; more than {PARAMS} become a struct"


@rule({"capture/bad.c": ESSAY + "int cap_bad_one(void)\n{\n" + "\t;\n" * FUNCTION_LINES + "}\n"})
def functions_fit_a_screen(tree):
    for name in tree.select(".c"):
        for function in csource.functions(tree.text(name)):
            if function.lines > FUNCTION_LINES:
                yield f"{name}:{function.line}: {function.name}() has {function.lines} lines, at most {FUNCTION_LINES} fit"


@rule({"capture/bad.c": ESSAY + "\n" * FILE_LINES})
def files_have_one_subject(tree):
    for name in tree.select(".c", ".h", ".py"):
        count = tree.text(name).count("\n")
        limit = TEST_LINES if name.startswith("tests/") else FILE_LINES
        if count > limit:
            yield f"{name}: {count} lines, at most {limit}: it has more than one subject"


BANNED = re.compile(r"(?<![\w.>])(strcpy|stpcpy|sprintf|vsprintf|strcat|atoi|atol|atoll|atof|gets|system|strtok|alloca)\s*\(")


@rule({"capture/bad.c": ESSAY + "int cap_bad(char *a)\n{\n\treturn atoi(a);\n}\n"})
def banned_calls(tree):
    for name in tree.select(".c", ".h"):
        for number, line in enumerate(csource.code(tree.text(name)).split("\n"), 1):
            for match in BANNED.finditer(line):
                yield f"{name}:{number}: {match[1]}() is banned"


@rule({"capture/bad.c": "/* SPDX-License-Identifier: BSD-2-Clause */\n#include <stdio.h>\n"})
def sources_open_with_an_essay(tree):
    for name in tree.select(".c"):
        match = re.match(r"/\* SPDX[^\n]*\*/\n/\*\n(.*?)\*/", tree.text(name), re.DOTALL)
        if not match or len(re.sub(r"[\s*]+", " ", match[1])) < 60:
            yield f"{name}:2: no head comment that says what it does and what it never does"


@rule({"capture/bad.h": "#ifndef X\n#endif\n", "tests/bad.py": "import os\n"})
def licence_line_comes_first(tree):
    kinds = (".c", ".h", ".py", ".sh", "meson.build", "meson.options")
    for name in sorted(set(tree.select(*kinds)) | set(tree.shells())):
        text = tree.text(name)
        head = text.split("\n")[1 if text.startswith("#!") else 0]
        if text and "SPDX-License-Identifier: " not in head:
            yield f"{name}:1: no SPDX-License-Identifier in the first line"


@rule({"capture/lost.c": ESSAY, "capture/meson.build": "files('found.c')\n"})
def sources_are_in_a_meson_list(tree):
    """By file name, or by stem where a list builds names (test_NAME.c, fuzz_NAME.c, NAME.bpf.c)."""
    listed = {}
    for name in tree.select("meson.build"):
        listed[os.path.dirname(name)] = set(re.findall(r"'([^'\n]+)'", re.sub(r"#[^\n]*", "", tree.text(name))))
    for name in tree.select(".c"):
        folder, base = os.path.split(name)
        stem = base.split(".")[0]
        wanted = {base, stem, re.sub(r"^(test|fuzz|replay)_", "", stem)}
        above = folder
        while not any(listed.get(above, set()) & ({f"{folder[len(above):].lstrip('/')}/{base}".lstrip("/")} | wanted) for _ in [0]):
            if not above:
                yield f"{name}: is in no meson.build"
                break
            above = os.path.dirname(above)


def columns(line):
    return len(line.expandtabs(8))


@rule({"capture/bad.c": ESSAY + "/* " + "x" * C_COLUMNS + " */\n"})
def lines_are_short(tree):
    """C within 110 columns, tabs are 8; a string that people read is not broken for it. Scripts within 140; pages are free."""
    for name, number, line in lines(tree, [name for name in tree.texts() if not name.endswith(".md")]):
        c_source = name.endswith((".c", ".h"))
        limit = C_COLUMNS if c_source else TEXT_COLUMNS
        if columns(line) > limit and not (c_source and '"' in line) and "://" not in line:
            yield f"{name}:{number}: {columns(line)} columns, at most {limit}"


@rule({"docs/bad.md": "see /wo" "rk/shared/x\n"})
def no_paths_of_one_machine(tree):
    pattern = re.compile(r"(?<![\w.])/(wo" r"rk|root|home)/|/tmp/w" r"t/|\bthe iss" r"ue\b|\bissue #?\d", re.IGNORECASE)
    for name, number, line in lines(tree, tree.texts()):
        match = pattern.search(line)
        if match:
            yield f"{name}:{number}: \"{match[0]}\" means nothing to somebody else"


@rule({"capture/bad.c": ESSAY + "/* TO" "DO: later */\n"})
def no_promises_in_comments(tree):
    pattern = re.compile(r"\b(TO" r"DO|FIX" r"ME|X" r"XX)\b")
    for name, number, line in lines(tree, tree.texts()):
        if pattern.search(line):
            yield f"{name}:{number}: do it, or write down why not"


@rule({"docs/bad.md": "a line \n"})
def no_trailing_blanks(tree):
    for name, number, line in lines(tree, tree.texts()):
        if line != line.rstrip():
            yield f"{name}:{number}: ends in blanks"


@rule({"docs/bad.md": "no newline at the end"})
def files_end_with_one_newline(tree):
    for name in tree.texts():
        text = tree.text(name)
        if text and (not text.endswith("\n") or text.endswith("\n\n")):
            yield f"{name}: must end with one newline"


@rule({"capture/bad.c": ESSAY + "int cap_x(void)\n{\n        return 0;\n}\n"})
def c_is_indented_with_tabs(tree):
    for name in tree.select(".c", ".h"):
        for number, line in enumerate(csource.code(tree.text(name)).split("\n"), 1):
            if line.startswith(" " * 8) and line.strip():
                yield f"{name}:{number}: indented with blanks"


@rule({"capture/prog": "\x7fELF\0\0"})
def no_binaries_and_nothing_huge(tree):
    for name in tree.files:
        data = (tree.root / name).read_bytes()
        if len(data) > FILE_BYTES or (b"\0" in data and "/corpus/" not in name):
            yield f"{name}: binary or larger than {FILE_BYTES} bytes; make it where it is needed"


@rule({"scripts/bad": "#!/bin/bash\n# SPDX-License-Identifier: BSD-2-Clause\nif true; then\n"})
def shell_scripts_parse(tree):
    for name in tree.shells():
        done = subprocess.run(["bash", "-n", str(tree.root / name)], capture_output=True, text=True, check=False)
        if done.returncode:
            yield f"{name}: {done.stderr.strip()}"


@rule({"scripts/bad": "#!/bin/bash\n# SPDX-License-Identifier: BSD-2-Clause\nrm -rf $1\n"})
def shell_scripts_pass_shellcheck(tree):
    if not shutil.which("shellcheck"):
        raise NotImplementedError("shellcheck is not installed")
    names = [str(tree.root / name) for name in tree.shells()]
    done = subprocess.run(["shellcheck", "-x", "-S", "info", "-e", "SC1091", "-f", "gcc", *names],
                          capture_output=True, text=True, check=False)
    for line in done.stdout.splitlines():
        yield line.replace(f"{tree.root}/", "")


@rule({"scripts/bad.py": "# SPDX-License-Identifier: BSD-2-Clause\ndef x(:\n"})
def python_compiles(tree):
    for name in tree.select(".py"):
        try:
            compile(tree.text(name), name, "exec")
        except SyntaxError as error:
            yield f"{name}:{error.lineno}: {error.msg}"


def commands(text):
    """The commands of a page: lines of ```sh blocks, without sudo and comment."""
    for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL):
        for line in block.replace("\\\n", " ").splitlines():
            line = re.sub(r"\s+#.*", "", line).strip()
            if line and not line.startswith("#"):
                yield re.sub(r"^sudo\s+", "", line).removeprefix("./")


@rule({"README.md": "```sh\nsudo ./scripts/nobody-runs-this --fast\n```\n"})
def commands_in_the_readme_are_run_by_ci(tree):
    """Each command of README.md stands, word for word, in something that CI runs: .ci/, scripts/test or a test."""
    run = [tree.text(name) for name in tree.texts() if name.startswith((".ci/", "tests/")) and not name.startswith("tests/tidy/")]
    for command in commands(tree.text("README.md")) if "README.md" in tree.files else ():
        if not any(command in text for text in run):
            yield f"README.md: \"{command}\" is run by nothing in .ci/ or tests/"


@rule({"docs/bad.md": "[there](nowhere.md)\n"})
def links_between_pages_lead_somewhere(tree):
    for name in tree.select(".md"):
        for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", tree.text(name)):
            if "://" not in target and not (tree.root / os.path.dirname(name) / target).exists():
                yield f"{name}: the link to {target} leads nowhere"


def complaints(function, tree):
    return list(function(tree) or ())


def sample_tree(sample):
    """A folder with the sample in it; the caller keeps the object until it is done."""
    folder = tempfile.TemporaryDirectory(prefix="skep-tidy-")
    for name, text in sample.items():
        path = pathlib.Path(folder.name) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return folder

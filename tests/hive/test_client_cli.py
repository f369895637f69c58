# SPDX-License-Identifier: BSD-2-Clause
"""Proves that the command `skep` does what the API does: every call of the client has a command; login leaves a token in a file that
nobody else can read, and a token or password is never taken from the command line; tables, JSON and CSV; exit codes mean what the help
says."""
import argparse
import csv
import fcntl
import io
import json
import os
import pty
import re
import stat
import struct
import subprocess
import termios

import pytest

from client import Command, connect, skep
from hive import BIN, PASSWORD

import frames
import pcapfile
import skep.cli  # noqa: E402


@pytest.fixture
def command(hive, tmp_path):
    """`skep`, logged in as the first administrator."""
    run = Command(tmp_path)
    done = run("login", f"http://127.0.0.1:{hive.port}", "--user", "root", "--password-file", "-", stdin=f"{PASSWORD}\n")
    assert done.returncode == 0, done.stderr
    return run


def parsers(parser, words=()):
    """Every command of the parser: its words, and its parser."""
    below = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    if not below:
        yield words, parser
    for action in below:
        for name, one in action.choices.items():
            yield from parsers(one, (*words, name))


def test_every_call_has_a_command():
    methods = {method for _, verbs in skep.cli.NOUNS.values() for method in verbs.values()}
    elsewhere = {skep.Hive.login: ("login",), skep.Hive.claim: ("login",), skep.Hive.logout: ("logout",),
                 skep.Hive.create_job: ("job", "create"), skep.Hive.download_file: ("dataset", "download"),
                 skep.Hive.download: ("dataset", "download"), skep.Hive.iter_events: ("watch",),
                 skep.Hive.import_pcap: ("import", "create"), skep.Hive.create_share: ("share", "create"),
                 skep.Hive.download_shared: ("share", "download")}
    commands = {words for words, _ in parsers(skep.cli.make_parser())}
    missing = {name for name in dir(skep.Hive) if hasattr(method := getattr(skep.Hive, name), "operations") and method not in methods
               and elsewhere.get(method) not in commands}
    assert not missing, f"no command for {missing}"


def test_no_secret_is_an_argument():
    for words, parser in parsers(skep.cli.make_parser()):
        options = {option for action in parser._actions for option in action.option_strings}
        assert not options & {"--token", "--password", "--secret"}, words
        assert parser.description or words == ("extcap",), f"{words} does not say what it does"


def test_login_keeps_a_token_that_nobody_else_can_read(command, hive):
    assert stat.S_IMODE(os.stat(command.config).st_mode) == 0o600
    assert PASSWORD not in command.config.read_text()
    assert command("whoami", "-o", "json").returncode == 0
    assert [one["revoked"] for one in hive.admin.get("/tokens").json["items"]] == [None]
    os.chmod(command.config, 0o644)
    done = command("whoami")
    assert done.returncode == 2 and "chmod 600" in done.stderr and not done.stdout
    os.chmod(command.config, 0o600)
    assert command("logout").returncode == 0
    assert "token" not in command.config.read_text()
    assert all(one["revoked"] for one in hive.admin.get("/tokens").json["items"])
    done = command("whoami")
    assert done.returncode == 2 and "skep login" in done.stderr


def test_the_first_administrator_can_be_made_by_command(make_hive, tmp_path):
    hive = make_hive(claim=False)
    line = hive.process.stdout.readline()
    (tmp_path / "claim").write_text(line[line.index("http"):])
    run = Command(tmp_path)
    done = run("login", f"http://127.0.0.1:{hive.port}", "--user", "boss", "--claim-file", tmp_path / "claim", "--password-file", "-",
               stdin=f"{PASSWORD}\n")
    assert done.returncode == 0, done.stderr
    assert json.loads(run("whoami", "-o", "json").stdout)["name"] == "boss"


def test_the_environment_says_which_hive(hive, tmp_path):
    token = connect(hive)._http.token
    url = f"http://127.0.0.1:{hive.port}"
    assert json.loads(Command(tmp_path, SKEP_URL=url, SKEP_TOKEN=token)("session", "show", "-o", "json").stdout)["name"] == "root"
    done = Command(tmp_path, SKEP_URL=url, SKEP_TOKEN="skep_wrong")("whoami")
    assert done.returncode == 4 and "skep_wrong" not in done.stderr
    done = Command(tmp_path, SKEP_URL="http://127.0.0.1:9", SKEP_TOKEN=token)("hive", "health")
    assert done.returncode == 6 and "127.0.0.1:9" in done.stderr


def test_a_token_is_never_sent_to_another_hive(command, tmp_path):
    """SKEP_URL names another one than the settings: what is in the settings belongs to that one."""
    done = command("whoami", SKEP_URL="http://localhost:1")
    assert done.returncode in (4, 6)
    from skep.cli import config
    os.environ.update(SKEP_CONFIG=str(command.config), SKEP_URL="http://localhost:1")
    try:
        assert config.load("default").token == ""
    finally:
        del os.environ["SKEP_CONFIG"], os.environ["SKEP_URL"]


def test_tables_json_and_csv(command, hive):
    hive.link("A")
    hive.link("B", description="tab\there, \u202eright to left")
    table = command("link", "list", "--sort", "name").stdout.splitlines()
    assert table[0].split()[:3] == ["ID", "NAME", "PROBE_ID"] and [line.split()[1] for line in table[1:]] == ["A", "B"]
    assert "\u202e" not in "".join(table) and "\t" not in "".join(table)
    rows = json.loads(command("-o", "json", "link", "list").stdout)
    assert [row["name"] for row in rows] == ["A", "B"]
    rows = list(csv.DictReader(io.StringIO(command("link", "list", "-o", "csv", "name=B").stdout)))
    assert len(rows) == 1 and rows[0]["interface"] == "B" and rows[0]["description"].startswith("tab\there")
    assert command("link", "list", "name=nothing").stdout == "" and command("link", "list", "name=nothing", "-o", "json").stdout == "[]\n"
    assert command("link", "list", "--columns", "name", "--limit", "1").stdout.split() == ["NAME", "A"]
    shown = command("link", "show", "B").stdout
    assert "interface" in shown and json.loads(command("link", "show", "B", "-o", "json").stdout)["name"] == "B"
    assert command("link", "change", "B", "--max-jobs", 3, "-q").returncode == 0
    assert json.loads(command("link", "show", "B", "-o", "json").stdout)["max_jobs"] == 3


def test_a_job_from_the_command_line(command, hive):
    hive.link("A")
    hive.link("B")
    done = command("job", "create", "--link", "A", "--link", "B", "--filter", "quic", "--max-size", "10GB", "--duration", "1d",
                   "--start", "2038-01-01T00:00:00Z", "-o", "json")
    assert done.returncode == 0, done.stderr
    job = json.loads(done.stdout)
    assert (job["filter"], job["limit_bytes"], job["limit_duration_s"], sorted(one["link_name"] for one in job["links"])) == \
        ("quic", 10**10, 86400, ["A", "B"])
    assert job["name"].startswith("quic 20")
    assert command("job", "list", "state=scheduled", "--columns", "id").stdout.split() == ["ID", str(job["id"])]
    done = command("job", "wait", job["id"], "--timeout", "1s")
    assert done.returncode == 7 and "scheduled" in done.stderr
    assert command("job", "cancel", job["id"]).returncode == 0
    done = command("job", "wait", job["id"])
    assert done.returncode == 1 and "cancelled" in done.stderr and done.stdout
    done = command("job", "events", job["id"])
    assert done.returncode == 0 and len(done.stdout.splitlines()) > 1


def test_exit_codes_and_words(command, hive):
    assert command().returncode == 2 and command("job", "frobnicate").returncode == 2
    done = command("job", "show", 10**6)
    assert done.returncode == 5 and done.stderr.startswith("skep: ")
    done = command("job", "create", "--link", "nowhere", "--snaplen", "-1", "--duration", "1h")
    assert done.returncode == 1 and "/links" in done.stderr and "/snaplen" in done.stderr
    done = command("job", "create", "--link", "A", "--duration", "1 fortnight")
    assert done.returncode == 2 and "limit_duration_s" in done.stderr
    done = command("user", "create", "ann")
    assert done.returncode == 0, done.stderr
    hive.person("bob", ["jobs"])
    run = Command(command.config.parent / "..", SKEP_CONFIG=str(command.config.with_name("bob")))
    assert run("login", f"http://127.0.0.1:{hive.port}", "--user", "bob", "--password-file", "-", stdin=PASSWORD).returncode == 0
    assert run("user", "create", "eve").returncode == 4
    assert "exit codes" in command("--help").stdout
    done = command("api", "get", "/api/v1/session")
    assert json.loads(done.stdout)["name"] == "root"


def test_a_password_is_read_from_a_file_or_not_at_all(command, hive):
    sessions = len(hive.admin.get("/sessions").json["items"])
    done = command("probe", "create", "p1", "http://127.0.0.1:9")
    assert done.returncode == 2 and "--token-file" in done.stderr
    assert command("probe", "create", "p1", "http://127.0.0.1:9", "--token-file", "-", stdin="x" * 32).returncode == 0
    mine = ("--as", "root", "--as-password-file", command.config.with_name("mine"))
    command.config.with_name("mine").write_text(PASSWORD)
    done = command("user", "create", "ann", "--password-file", "-", stdin=PASSWORD + "\n")
    assert done.returncode == 4 and "log in" in done.stderr
    assert command(*mine, "user", "create", "ann", "--password-file", "-", stdin=PASSWORD + "\n").returncode == 0
    assert len(hive.admin.get("/sessions").json["items"]) == sessions


def test_captures_come_in_and_go_out(command, hive, tmp_path):
    """import, download (whole, a part, the files themselves), share and what the other end does with the link."""
    sent = frames.mixed(200)
    pcapfile.write(tmp_path / "web.pcap", sent)
    done = command("import", "create", tmp_path / "web.pcap", "--name", "web", "-o", "json")
    assert done.returncode == 0, done.stderr
    dataset = json.loads(done.stdout)
    assert (dataset["pkts"], dataset["name"]) == (200, "web")
    done = command("dataset", "download", dataset["id"], tmp_path / "all.pcapng")
    assert done.returncode == 0 and "all.pcapng" in done.stderr and len(pcapfile.read(tmp_path / "all.pcapng")[1]) == 200
    assert command("dataset", "download", dataset["id"], tmp_path / "udp.pcap", "--filter", "udp", "-q").stderr == ""
    assert 0 < len(pcapfile.read(tmp_path / "udp.pcap")[1]) < 200
    (tmp_path / "files").mkdir()
    assert command("dataset", "download", dataset["id"], tmp_path / "files", "--files").returncode == 0
    assert len(list((tmp_path / "files").iterdir())) == 1
    done = command("dataset", "download", dataset["id"], tmp_path, "--files", "--filter", "udp")
    assert done.returncode == 2 and "--files" in done.stderr
    assert command("dataset", "download", 10**6, tmp_path / "no.pcap").returncode == 5 and not (tmp_path / "no.pcap").exists()
    done = command("share", "create", dataset["id"], "for Ann", "--expires", "+1h")
    assert done.returncode == 0 and done.stdout.startswith(f"http://127.0.0.1:{hive.port}/api/v1/shared/"), done
    nobody = Command(tmp_path / "ann")
    done = nobody("share", "download", tmp_path / "ann.pcap", "--secret-file", "-", stdin=done.stdout)
    assert done.returncode == 0 and len(pcapfile.read(tmp_path / "ann.pcap")[1]) == 200, done.stderr
    assert "GB" in command("hive", "store").stdout or "TB" in command("hive", "store").stdout


def on_a_terminal(command, *words):
    """What the command writes to a terminal of 80 columns, and its exit code."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    process = subprocess.Popen([BIN / "skep", *map(str, words)], env=command.environment, stdin=theirs, stdout=subprocess.DEVNULL,
                               stderr=theirs)
    os.close(theirs)
    text = b""
    try:
        while chunk := os.read(ours, 65536):
            text += chunk
    except OSError:
        pass  # the other end is closed
    os.close(ours)
    return text.decode(), process.wait(60)


def test_progress_where_somebody_looks(command, hive, tmp_path):
    pcapfile.write(tmp_path / "big.pcap", frames.mixed(20_000))
    text, code = on_a_terminal(command, "import", "create", tmp_path / "big.pcap")
    assert code == 0 and "big.pcap" in text and "100 %" in text and "\r" in text, text
    text, code = on_a_terminal(command, "dataset", "download", 1, tmp_path / "out.pcap")
    assert code == 0 and "out.pcap" in text and "100 %" in text, text
    bars = [line for line in re.split(r"[\r\n]", text.replace("\x1b[K", "")) if "%" in line]
    assert bars and all(len(bar) < 80 for bar in bars), text
    hive.link("A")
    assert command("job", "create", "later", "--link", "A", "--duration", "1h", "--start", "2038-01-01T00:00:00Z").returncode == 0
    text, code = on_a_terminal(command, "job", "wait", 1, "--timeout", "1s")
    assert code == 7 and "job 1 scheduled" in text and "0 %" in text, text
    assert on_a_terminal(command, "-q", "dataset", "download", 1, tmp_path / "again.pcap") == ("", 0)


def complete(command, line):
    environment = {**command.environment, "_ARGCOMPLETE": "1", "_ARGCOMPLETE_IFS": "\n", "COMP_LINE": line, "COMP_POINT": str(len(line)),
                   "COMP_TYPE": "9", "_ARGCOMPLETE_SUPPRESS_SPACE": "1"}
    done = subprocess.run(["bash", "-c", f"exec {BIN}/skep 8>&1 9>/dev/null >/dev/null 2>&1"], env=environment, capture_output=True,
                          text=True, timeout=60, check=False)
    return done.stdout.split("\n")


def test_completion(command, hive):
    hive.link("uplink-a")
    hive.link("uplink-b")
    assert "_python_argcomplete" in command("completion").stdout
    assert "job" in [word.strip() for word in complete(command, "skep jo")]
    assert "create" in [word.strip() for word in complete(command, "skep job cre")]
    assert {word.strip() for word in complete(command, "skep job create --link upl")} >= {"uplink-a", "uplink-b"}

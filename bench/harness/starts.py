# SPDX-License-Identifier: BSD-2-Clause
"""How long a peer takes from its start to its first packet: what the start of a job is compared with."""
import shutil
import time

from .control_probe import Traffic
from .jobs import fresh, percentile
from .measure import RUN_NAME
from .rig import RX_LINK, BenchError
from .tools import PCAP_HEADER_BYTES

FIGURE = "from the start of the program to its first packet, p99"


def commands(tools, path):
    """{peer: words} that store one packet and end."""
    found = {"tcpdump": ["-n", "-i", RX_LINK, "-Z", "root", "-c", "1", "-w", str(path)],
             "dumpcap": ["-q", "-P", "-i", RX_LINK, "-c", "1", "-w", str(path)]}
    return {name: [tools[name].path(), *words] for name, words in found.items() if name in tools}


def stamp_ns(path):
    with open(path, "rb") as file:
        head = file.read(PCAP_HEADER_BYTES + 8)
    unit = 1 if head[:4] == b"\x4d\x3c\xb2\xa1" else 1000
    return int.from_bytes(head[24:28], "little") * 10**9 + int.from_bytes(head[28:32], "little") * unit


def peers(bench, plan):
    """A capture of one packet, again and again: the kernel's stamp of that packet less the moment before the program was started."""
    work = fresh(bench)
    path = work / "one.pcap"
    with Traffic(bench, "64", rate=plan.rate):
        for name, words in commands(bench.tools, path).items():
            found = []
            for _ in range(plan.starts):
                bench.check_time()
                path.unlink(missing_ok=True)
                asked_ns = time.clock_gettime_ns(time.CLOCK_REALTIME)
                process = bench.rig.start(words, work / "peer.log")
                process.popen.wait(30)
                bench.rig.forget([process])
                if not path.exists():
                    raise BenchError(f"{name} stored nothing: {process.log().strip()[-300:]}")
                found.append((stamp_ns(path) - asked_ns) / 1e6)
            bench.figure(plan.name, FIGURE, percentile(found, 0.99), "ms", series=name)
    shutil.rmtree(bench.work_dir / RUN_NAME, ignore_errors=True)
    return [], []

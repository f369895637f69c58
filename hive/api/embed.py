# SPDX-License-Identifier: BSD-2-Clause
"""Usage: embed.py openapi.yaml OUT: the API's description as JSON, as the bytes of a C array."""
import json
import sys

import yaml

with open(sys.argv[1], encoding="utf-8") as source:
    text = json.dumps(yaml.safe_load(source), ensure_ascii=False, separators=(",", ":"))
with open(sys.argv[2], "w", encoding="ascii") as out:
    data = text.encode()
    for at in range(0, len(data), 16):
        out.write(" ".join(f"0x{byte:02x}," for byte in data[at:at + 16]) + "\n")

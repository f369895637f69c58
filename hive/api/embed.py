# SPDX-License-Identifier: BSD-2-Clause
"""Usage: embed.py openapi.yaml OUT.c: the API's description as JSON, as hive_openapi[] and hive_openapi_bytes."""
import json
import sys

import yaml

with open(sys.argv[1], encoding="utf-8") as source:
    text = json.dumps(yaml.safe_load(source), ensure_ascii=False, separators=(",", ":"))
with open(sys.argv[2], "w", encoding="ascii") as out:
    data = text.encode()
    out.write("#include <stddef.h>\n"
              "extern const unsigned char hive_openapi[];\nextern const size_t hive_openapi_bytes;\n"
              "const unsigned char hive_openapi[] = {\n")
    for at in range(0, len(data), 16):
        out.write(" ".join(f"0x{byte:02x}," for byte in data[at:at + 16]) + "\n")
    out.write("};\nconst size_t hive_openapi_bytes = sizeof(hive_openapi);\n")

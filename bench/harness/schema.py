# SPDX-License-Identifier: BSD-2-Clause
"""Checks a result against schema.json: the part of JSON Schema that the file uses (type, required, properties, items, enum)."""
import json

from .rig import BenchError

TYPES = {"object": dict, "array": list, "string": str, "boolean": bool, "null": type(None), "integer": int, "number": (int, float)}


def is_type(value, name):
    if isinstance(value, bool):
        return name == "boolean"
    return isinstance(value, TYPES[name])


def walk(value, rule, where):
    wanted = rule.get("type")
    if wanted and not any(is_type(value, t) for t in ([wanted] if isinstance(wanted, str) else wanted)):
        raise BenchError(f"result{where}: {json.dumps(value)[:60]} is not of type {wanted}")
    if "enum" in rule and value not in rule["enum"]:
        raise BenchError(f"result{where}: {value!r} is none of {rule['enum']}")
    if isinstance(value, dict):
        missing = [k for k in rule.get("required", []) if k not in value]
        if missing:
            raise BenchError(f"result{where}: {', '.join(missing)} missing")
        for key, sub in rule.get("properties", {}).items():
            if key in value:
                walk(value[key], sub, f"{where}.{key}")
    if isinstance(value, list) and "items" in rule:
        for i, item in enumerate(value):
            walk(item, rule["items"], f"{where}[{i}]")


def check(result, path):
    walk(result, json.loads(path.read_text()), "")

# SPDX-License-Identifier: BSD-2-Clause
"""Checks answers against control/api/openapi.yaml: route, status and media type must be described, and JSON must fit its schema."""
import re
import urllib.parse

import jsonschema
import yaml


class Description:
    def __init__(self, text):
        self.document = yaml.safe_load(text)
        self.seen = set()  # (method, route, status) that were checked

    def resolve(self, node):
        while "$ref" in node:
            target = self.document
            for part in node["$ref"].removeprefix("#/").split("/"):
                target = target[part]
            node = target
        return node

    def route_of(self, path):
        for route in sorted(self.document["paths"], key=lambda name: name.count("{")):
            if re.fullmatch(re.sub(r"\{[^}]*\}", "[^/]+", re.escape(route).replace(r"\{", "{").replace(r"\}", "}")), path):
                return route
        return None

    def check(self, method, path, answer):
        """An answer to a request that came through as it is written. Where nothing is described, 404, 405 or 400 must be the answer."""
        route = self.route_of(urllib.parse.unquote(path.split("?")[0]))
        operation = self.document["paths"][route].get({"HEAD": "get"}.get(method, method.lower())) if route else None
        if not operation:
            assert answer.status in (400, 404, 405), f"{method} {path} is not described, and answered with {answer.status}"
            return
        assert str(answer.status) in operation["responses"], f"{method} {route}: status {answer.status} is not described: {answer.body}"
        described = self.resolve(operation["responses"][str(answer.status)])
        self.seen.add((method, route, answer.status))
        content = described.get("content")
        if method == "HEAD":
            return
        if not content:
            assert not answer.body, f"{method} {route}: {answer.status} has a body"
            return
        assert answer.type in content, f"{method} {route}: {answer.type} is not described"
        if answer.type.endswith("json"):
            schema = {**content[answer.type]["schema"], "components": self.document["components"]}
            jsonschema.Draft202012Validator(schema).validate(answer.json())

# SPDX-License-Identifier: BSD-2-Clause
"""A store that speaks as much of S3 as a copy needs, for there is no such server in Debian: it keeps objects in memory, and refuses every
request whose signature (AWS Signature Version 4, written here from its description) or whose body's SHA-256 is not right."""
import hashlib
import hmac
import http.server
import re
import threading

KEY, SECRET, REGION = "AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "eu-test-1"


def mac(key, text):
    return hmac.new(key, text.encode(), hashlib.sha256).digest()


def signature(request, body_sha256):
    """What Authorization must say of this request."""
    said = re.fullmatch(r"AWS4-HMAC-SHA256 Credential=([^,]+), ?SignedHeaders=([^,]+), ?Signature=([0-9a-f]{64})",
                        request.headers.get("Authorization", ""))
    if not said:
        return None, None
    credential, names, given = said.groups()
    key_id, day, region, service, ending = credential.split("/")
    stamp = request.headers["X-Amz-Date"]
    if (key_id, region, service, ending) != (KEY, REGION, "s3", "aws4_request") or not stamp.startswith(day):
        return None, None
    if not {"host", "x-amz-content-sha256", "x-amz-date"} <= set(names.split(";")):
        return None, None
    lines = "".join(f"{name}:{request.headers[name].strip()}\n" for name in names.split(";"))
    canonical = "\n".join([request.command, request.path, "", lines, names, body_sha256])
    scope = f"{day}/{region}/s3/aws4_request"
    text = "\n".join(["AWS4-HMAC-SHA256", stamp, scope, hashlib.sha256(canonical.encode()).hexdigest()])
    signing = mac(mac(mac(mac(("AWS4" + SECRET).encode(), day), region), "s3"), "aws4_request")
    return given, hmac.new(signing, text.encode(), hashlib.sha256).hexdigest()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, status, body=b"", kind="application/xml"):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def refused(self, body):
        announced = self.headers.get("x-amz-content-sha256", "")
        given, right = signature(self, announced)
        if not given or not hmac.compare_digest(given, right):
            self.answer(403, b"<Error><Code>SignatureDoesNotMatch</Code><Message>the signature is wrong</Message></Error>")
            return True
        if announced != "UNSIGNED-PAYLOAD" and hashlib.sha256(body).hexdigest() != announced:
            self.answer(400, b"<Error><Message>the body is another one</Message></Error>")
            return True
        return False

    def do_PUT(self):  # noqa: N802
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if not self.refused(body):
            self.server.objects[self.path] = body
            self.answer(200)

    def do_GET(self):  # noqa: N802
        if self.refused(b""):
            return
        if self.path in self.server.objects:
            self.answer(200, self.server.objects[self.path], "application/octet-stream")
        else:
            self.answer(404, b"<Error><Code>NoSuchKey</Code><Message>there is no such key</Message></Error>")


class Store:
    def __init__(self):
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.objects = self.objects = {}
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/bucket/archive"
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join(5)

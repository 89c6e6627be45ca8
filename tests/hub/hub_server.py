"""A small server that speaks the part of the Hub's interface that a download needs."""

import hashlib
import json
import re
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

REVISION = "0123456789abcdef0123456789abcdef01234567"
LARGE = bytes(range(256)) * 4096 * 24  # 24 MiB: the client writes 10 at a time


class HubServer:
    """Serves files of the repository `owner/model`; a context. What goes wrong is set by hand."""

    def __init__(self):
        self.files = {
            "model_index.json": b'{"_class_name": "StableDiffusionPipeline"}',
            "unet/config.json": b"{}",
            "unet/diffusion_pytorch_model.safetensors": LARGE,
            "unet/diffusion_pytorch_model.bin": b"pickle",
        }
        self.token = None  # what a client must send
        self.gated = False
        self.cut_after = None  # bytes of a large file after which the line is cut
        self.pause = 0.0  # between pieces
        self.served = {}  # other bytes than the promised ones
        self.requests = []

    def __enter__(self):
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_HEAD(self):
                self.answer(body=False)

            def do_GET(self):
                self.answer(body=True)

            def answer(self, body):
                hub.requests.append((self.command, self.path, self.headers.get("Range")))
                hub.answer(self, body)

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()

    def refuse(self, request, status, code, message):
        data = json.dumps({"error": message}).encode()
        request.send_response(status)
        for name, value in {
            "X-Error-Code": code, "X-Error-Message": message, "Content-Length": len(data),
            "Content-Type": "application/json",
        }.items():  # fmt: skip
            request.send_header(name, str(value))
        request.end_headers()
        if request.command == "GET":
            request.wfile.write(data)

    def answer(self, request, body):
        path = request.path.partition("?")[0]
        if not re.match(r"(/api/models)?/owner/model(/|$)", path):
            return self.refuse(request, 404, "RepoNotFound", "Repository not found")
        if self.gated:
            return self.refuse(request, 403, "GatedRepo", "Access is restricted")
        if self.token and request.headers.get("Authorization") != f"Bearer {self.token}":
            return self.refuse(request, 401, "RepoNotFound", "Repository not found")
        if path.startswith("/api/models/owner/model"):
            revision = path.removeprefix("/api/models/owner/model").strip("/").split("/")
            if revision != [""] and revision[1] not in (REVISION, "main"):
                return self.refuse(request, 404, "RevisionNotFound", "Invalid rev id")
            value = self.tree() if revision[0] == "tree" else self.info()
            data = json.dumps(value).encode()
            request.send_response(200)
            request.send_header("Content-Type", "application/json")
            request.send_header("Content-Length", str(len(data)))
            request.end_headers()
            return request.wfile.write(data) if body else None
        return self.send_file(request, path.split(f"/resolve/{REVISION}/")[1], body)

    def described(self):
        for name, data in self.files.items():
            blob = hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
            large = name.endswith((".safetensors", ".bin"))
            lfs = {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}
            yield name, len(data), blob, lfs if large else None

    def info(self):
        siblings = [
            {"rfilename": name, "size": size, "blobId": blob}
            | ({"lfs": {**lfs, "pointerSize": 130}} if lfs else {})
            for name, size, blob, lfs in self.described()
        ]
        return {"id": "owner/model", "modelId": "owner/model", "sha": REVISION} | {
            "siblings": siblings, "tags": [], "private": False, "downloads": 0, "likes": 0,
        }  # fmt: skip

    def tree(self):
        return [
            {"type": "file", "path": name, "size": size, "oid": blob}
            | ({"lfs": {"oid": lfs["sha256"], "size": size, "pointerSize": 130}} if lfs else {})
            for name, size, blob, lfs in self.described()
        ]

    def send_file(self, request, name, body):
        promised = {one: (size, blob, lfs) for one, size, blob, lfs in self.described()}
        if name not in promised:
            return self.refuse(request, 404, "EntryNotFound", "Entry not found")
        size, blob, lfs = promised[name]
        data = self.served.get(name, self.files[name])
        etag = lfs["sha256"] if lfs else blob
        start = int(re.match(r"bytes=(\d+)-", request.headers.get("Range") or "bytes=0-")[1])
        request.send_response(206 if start else 200)
        headers = {"ETag": f'"{etag}"', "X-Repo-Commit": REVISION, "Accept-Ranges": "bytes"}
        headers |= {"Content-Length": size - start, "X-Linked-Size": size}
        headers |= {"X-Linked-ETag": f'"{etag}"'}
        if start:
            headers["Content-Range"] = f"bytes {start}-{size - 1}/{size}"
        for key, value in headers.items():
            request.send_header(key, str(value))
        request.end_headers()
        if not body:
            return None
        end = len(data) if self.cut_after is None or not lfs else self.cut_after
        for at in range(start, end, 2**16):
            request.wfile.write(data[at : min(at + 2**16, end)])
            request.wfile.flush()
            time.sleep(self.pause)
        if end < len(data):
            request.close_connection = True
            request.connection.close()
        return None

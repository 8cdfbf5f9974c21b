"""A stand-in for the Hugging Face hub on loopback: repositories, revisions, large files, as `huggingface_hub` asks."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections import defaultdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import unquote, urlsplit

LARGE = (".safetensors", ".parquet", ".npy", ".model", ".bin")


class Hub:
    """``repositories``: by name and revision, the files; ``private``: whether each was asked to be. ``spoils``: a file
    that is kept with other bytes than were sent.
    """

    def __init__(self) -> None:
        self.repositories: dict[str, dict[str, dict[str, bytes]]] = defaultdict(lambda: {"main": {}})
        self.private: dict[str, bool] = {}
        self.objects: dict[str, bytes] = {}
        self.tokens: set[str] = set()
        self.uploads = 0
        self.spoils = ""
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *told: object) -> None: ...

            def _answer(self, body: object, status: int = 200) -> None:
                text = json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def _body(self) -> bytes:
                return self.rfile.read(int(self.headers.get("Content-Length") or 0))

            def do_PUT(self) -> None:
                data = self._body()
                hub.objects[hashlib.sha256(data).hexdigest()] = data
                hub.uploads += 1
                self._answer({})

            def do_GET(self) -> None:
                path = urlsplit(self.path).path
                if match := re.fullmatch(r"/api/models/([^/]+/[^/]+)/tree/([^/]+)/?", path):
                    files = hub.repositories[match[1]].get(unquote(match[2]))
                    self._answer([hub.told(name, data) for name, data in sorted((files or {}).items())])
                elif match := re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/revision/([^/]+))?", path):
                    files = hub.repositories[match[1]][unquote(match[2] or "main")]
                    self._answer({"id": match[1], "sha": "0" * 40, "siblings": [{"rfilename": n} for n in files]})
                else:
                    self._answer({"error": path}, 404)

            def do_POST(self) -> None:
                body, path = self._body(), urlsplit(self.path).path
                hub.tokens.add(self.headers.get("Authorization") or "")
                if path == "/api/repos/create":
                    told = json.loads(body)
                    name = f"{told['organization']}/{told['name']}"
                    hub.private.setdefault(name, told.get("visibility") == "private")
                    self._answer({"url": f"{hub.address}/{name}"})
                elif path == "/api/validate-yaml":
                    self._answer({"errors": [], "warnings": []})
                elif path.endswith("/info/lfs/objects/batch"):
                    self._answer({"transfer": "basic", "objects": [hub.action(o) for o in json.loads(body)["objects"]]})
                elif match := re.fullmatch(r"/api/models/([^/]+/[^/]+)/preupload/([^/]+)", path):
                    self._answer({"files": [hub.mode(file["path"]) for file in json.loads(body)["files"]]})
                elif match := re.fullmatch(r"/api/models/([^/]+/[^/]+)/branch/([^/]+)", path):
                    there = hub.repositories[match[1]]
                    there.setdefault(unquote(match[2]), dict(there["main"]))
                    self._answer({})
                elif match := re.fullmatch(r"/api/models/([^/]+/[^/]+)/commit/([^/]+)", path):
                    hub.commit(hub.repositories[match[1]][unquote(match[2])], body)
                    self._answer({"commitUrl": f"{hub.address}/{match[1]}/commit/0", "commitOid": "0" * 40})
                else:
                    self._answer({"error": path}, 404)

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server.server_port}"
        Thread(target=self.server.serve_forever, daemon=True).start()

    def mode(self, path: str) -> dict[str, Any]:
        return {"path": path, "uploadMode": "lfs" if path.endswith(LARGE) else "regular", "shouldIgnore": False}

    def action(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Where a large file is put; nothing of one that is there already."""
        put = {"upload": {"href": f"{self.address}/put/{asked['oid']}"}}
        return {"oid": asked["oid"], "size": asked["size"]} | ({} if asked["oid"] in self.objects else {"actions": put})

    def commit(self, files: dict[str, bytes], body: bytes) -> None:
        for line in body.splitlines():
            told = json.loads(line)
            value = told["value"]
            if told["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif told["key"] == "lfsFile":
                files[value["path"]] = self.objects[value["oid"]]
            elif told["key"] == "deletedFile":
                del files[value["path"]]
        if self.spoils in files:
            files[self.spoils] += b" "

    def told(self, name: str, data: bytes) -> dict[str, Any]:
        blob = hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()
        large = {"lfs": {"oid": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 130}}
        return {"type": "file", "path": name, "size": len(data), "oid": blob} | (large if name.endswith(LARGE) else {})

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()

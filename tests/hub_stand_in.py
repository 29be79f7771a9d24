"""A stand-in for the Hugging Face hub: the calls that its client makes to make a repository and commit to it, on this machine.

Large files go as in git LFS. Commits are kept as they were sent.
"""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote

TOKEN = "hf_right"


@dataclass
class Hub:
    """Who may write, what is there, and what to answer instead."""

    owners: tuple[str, ...] = ("me",)
    repositories: dict[str, dict[str, bytes]] = field(default_factory=dict)
    private: dict[str, bool] = field(default_factory=dict)
    commits: list[tuple[str, str]] = field(default_factory=list)
    """Repository and message."""
    asked: list[str] = field(default_factory=list)
    refusals: dict[str, tuple[int, str]] = field(default_factory=dict)
    """End of a path -> the status and the sentence that it is answered with."""
    blobs: dict[str, bytes] = field(default_factory=dict)
    address: str = ""


def serve(hub: Hub) -> ThreadingHTTPServer:
    """Answers in a thread; `shutdown` ends it."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": hub}))
    hub.address = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    return server


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        self._route("GET")

    def do_POST(self) -> None:
        self._route("POST")

    def do_PUT(self) -> None:
        self._route("PUT")

    def _route(self, method: str) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if "chunked" in self.headers.get("Transfer-Encoding", ""):
            body = b"".join(iter(self._chunk, b""))
        path = unquote(self.path.partition("?")[0])
        self.hub.asked.append(f"{method} {path}")
        for end, (status, sentence) in self.hub.refusals.items():
            if path.endswith(end):
                return self._answer({"error": sentence}, status)
        if path.startswith("/blobs/"):
            self.hub.blobs[path.rpartition("/")[2]] = body
            return self._answer({})
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            return self._answer({"error": "Invalid credentials in Authorization header"}, 401)
        return self._answer(*self._known(method, path, body))

    def _chunk(self) -> bytes:
        size = int(self.rfile.readline(), 16)
        data = self.rfile.read(size)
        self.rfile.readline()
        return data

    def _known(self, method: str, path: str, body: bytes) -> tuple[Any, int]:
        hub, parts = self.hub, path.strip("/").split("/")
        if path == "/api/whoami-v2":
            return {"type": "user", "name": "me", "orgs": []}, 200
        if path == "/api/validate-yaml":
            return {"errors": [], "warnings": []}, 200
        if path == "/api/repos/create":
            return self._create(json.loads(body))
        name = "/".join(parts[2:4]) if parts[0] == "api" else "/".join(parts[:2]).removesuffix(".git")
        if name not in hub.repositories:
            return {"error": "Repository not found"}, 404
        if path.endswith("/preupload/main"):
            files = json.loads(body)["files"]
            return {"files": [_mode(file["path"]) for file in files]}, 200
        if path.endswith("/info/lfs/objects/batch"):
            objects = json.loads(body)["objects"]
            return {"transfer": "basic", "objects": [self._upload(o) for o in objects]}, 200
        if path.endswith("/commit/main"):
            return self._commit(name, [json.loads(line) for line in body.splitlines()])
        if "/tree/" in path:
            return [
                {"type": "file", "path": p, "size": len(b), "oid": hashlib.sha1(b).hexdigest()}
                for p, b in hub.repositories[name].items()
            ], 200
        return {"id": name, "sha": "0" * 40, "siblings": [{"rfilename": p} for p in hub.repositories[name]]}, 200

    def _create(self, asked: dict[str, Any]) -> tuple[Any, int]:
        name = f"{asked['organization']}/{asked['name']}"
        if asked["organization"] not in self.hub.owners:
            return {"error": "You don't have the rights to create a model under this namespace"}, 403
        if name in self.hub.repositories:
            return {"error": "You already created this model repo"}, 409
        self.hub.repositories[name] = {".gitattributes": b"*.safetensors filter=lfs\n"}
        self.hub.private[name] = asked.get("private") is True or asked.get("visibility") == "private"
        return {"url": f"{self.hub.address}/{name}", "name": name}, 200

    def _upload(self, asked: dict[str, Any]) -> dict[str, Any]:
        href = f"{self.hub.address}/blobs/{asked['oid']}"
        return {**asked, "actions": {"upload": {"href": href}}}

    def _commit(self, name: str, lines: list[dict[str, Any]]) -> tuple[Any, int]:
        files = self.hub.repositories[name]
        for line in lines:
            value = line["value"]
            match line["key"]:
                case "header":
                    self.hub.commits.append((name, value["summary"]))
                case "file":
                    files[value["path"]] = base64.b64decode(value["content"])
                case "lfsFile":
                    files[value["path"]] = self.hub.blobs[value["oid"]]
                case "deletedFile":
                    del files[value["path"]]
        number = f"{len(self.hub.commits):040d}"
        return {"success": True, "commitOid": number, "commitUrl": f"{self.hub.address}/{name}/commit/{number}"}, 200

    def _answer(self, what: Any, status: int = 200) -> None:
        text = json.dumps(what).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        if status == 404:
            self.send_header("X-Error-Code", "RepoNotFound")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)


def _mode(path: str) -> dict[str, Any]:
    large = path.endswith((".safetensors", "tokenizer.json"))
    return {"path": path, "uploadMode": "lfs" if large else "regular", "shouldIgnore": False}

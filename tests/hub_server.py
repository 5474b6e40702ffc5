"""A hub on this machine: as much of the Hugging Face Hub as fetching one repository needs.

    with serve(folder, "owner/name") as (address, asked): ...

`asked` collects the requests. The commit of the folder's state is `COMMIT`, its branch `main`.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@contextmanager
def serve(folder: Path, repo: str) -> Iterator[tuple[str, list[str]]]:
    asked: list[str] = []

    class Hub(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.answer(body=True)

        def do_HEAD(self) -> None:
            self.answer(body=False)

        def answer(self, body: bool) -> None:
            asked.append(f"{self.command} {self.path}")
            path = self.path.partition("?")[0]
            model = f"/api/models/{repo}"
            if path in (f"{model}/revision/main", f"{model}/revision/{COMMIT}", model):
                files = [{"rfilename": file.name} for file in sorted(folder.iterdir())]
                self.give(json.dumps({"id": repo, "sha": COMMIT, "siblings": files}).encode())
            elif path == f"{model}/tree/{COMMIT}":
                self.give(json.dumps([entry(file) for file in sorted(folder.iterdir())]).encode())
            elif path.startswith(f"/{repo}/resolve/{COMMIT}/"):
                file = folder / path.rpartition("/")[2]
                if file.is_file():
                    self.give(file.read_bytes() if body else b"", file)
                else:
                    self.give(b"", status=404, error="EntryNotFound")
            elif path.startswith(model) and "/revision/" in path:
                self.give(b"{}", status=404, error="RevisionNotFound")
            else:
                self.give(b"{}", status=404, error="RepoNotFound")

        def give(
            self, data: bytes, file: Path | None = None, status: int = 200, error: str = ""
        ) -> None:
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            size = len(data) if file is None else file.stat().st_size
            self.send_header("Content-Length", str(size))
            self.send_header("X-Repo-Commit", COMMIT)
            if error:
                self.send_header("X-Error-Code", error)
            if file is not None:
                self.send_header("ETag", f'"{etag(file)}"')
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", asked
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def entry(file: Path) -> dict[str, object]:
    return {"type": "file", "path": file.name, "size": file.stat().st_size, "oid": etag(file)}


def etag(file: Path) -> str:
    return hashlib.sha1(file.read_bytes()).hexdigest()

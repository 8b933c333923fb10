"""Stand-ins on localhost for Dataflow and an image registry, and what a job for them needs."""

import hashlib
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import apache_beam as beam

from singsong.runners.dataflow import DataflowOptions
from singsong.runners.job import Job


class StubServer:
    """Answers HTTP on localhost; `answer` returns status, JSON value and headers."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, str]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *arguments: object) -> None:
                pass

            def go(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                body = self.rfile.read(length)
                outer.requests.append((self.command, self.path))
                status, value, headers = outer.answer(self.command, self.path, body, self.headers)
                data = value if isinstance(value, bytes) else json.dumps(value).encode()
                self.send_response(status)
                headers = {"Content-Type": "application/json", **headers}
                for name, text in {**headers, "Content-Length": str(len(data))}.items():
                    self.send_header(name, text)
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_POST = do_PUT = go

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def answer(self, method: str, path: str, body: bytes, headers) -> tuple[int, object, dict]:
        raise NotImplementedError

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class StubDataflow(StubServer):
    """Takes jobs, and says of each what it is told to.

    Attributes:
        jobs: The bodies of the requests that created jobs.
        states: The states that a job goes through, one a look; the last one stays.
        messages: What the job says.
        metrics: Its counters.
        on_create: Called with each body, before it is answered.
        refusal: Status and message with which jobs are refused, or None.
    """

    def __init__(self) -> None:
        self.jobs: list[dict] = []
        self.states = ["JOB_STATE_RUNNING", "JOB_STATE_DONE"]
        self.messages: list[tuple[str, str]] = []
        self.metrics: dict[str, int] = {}
        self.on_create = lambda job: None
        self.refusal: tuple[int, str] | None = None
        super().__init__()

    @property
    def flags(self) -> list[str]:
        return [f"--dataflow_endpoint=http://localhost:{self.port}", "--no_auth"]

    def answer(self, method, path, body, headers):
        path = path.split("?")[0]
        if method == "POST" and re.fullmatch(r"/v1b3/projects/[^/]+/locations/[^/]+/jobs", path):
            return self._create(json.loads(body))
        if path.endswith("/messages"):
            return 200, {"jobMessages": [self._message(*item) for item in self._numbered()]}, {}
        if path.endswith("/metrics"):
            return 200, {"metrics": [self._metric(name, kind) for name, kind in self._both()]}, {}
        if re.search(r"/jobs/[^/]+$", path):
            state = self.states.pop(0) if len(self.states) > 1 else self.states[0]
            return 200, {"id": "stub-job-1", "currentState": state}, {}
        return 404, {"error": {"code": 404, "message": path}}, {}

    def _create(self, job):
        if self.refusal is not None:
            status, message = self.refusal
            return status, {"error": {"code": status, "message": message}}, {}
        self.jobs.append(job)
        self.on_create(job)
        known = {"clientRequestId": job["clientRequestId"], "name": job["name"]}
        return 200, {"id": "stub-job-1", "currentState": "JOB_STATE_PENDING", **known}, {}

    def _numbered(self):
        return [(number, *item) for number, item in enumerate(self.messages)]

    @staticmethod
    def _message(number, importance, text):
        time = f"2026-01-01T00:00:{number:02d}Z"
        return {
            "id": str(number),
            "time": time,
            "messageText": text,
            "messageImportance": f"JOB_MESSAGE_{importance}",
        }

    def _both(self):
        return [(name, kind) for name in self.metrics for kind in ("tentative", "committed")]

    def _metric(self, name, kind):
        context = {"namespace": "singsong", "step": "s1"}
        if kind == "tentative":
            context["tentative"] = "true"
        return {
            "name": {"origin": "user", "name": name, "context": context},
            "scalar": self.metrics[name],
        }


class StubRegistry(StubServer):
    """Holds images, and hands them out to whoever fetched a token."""

    TOKEN = "let me in"

    def __init__(self) -> None:
        self._content: dict[str, bytes] = {}
        super().__init__()

    @property
    def host(self) -> str:
        return f"localhost:{self.port}"

    def push(
        self, labels: dict, *, name: str = "singsong:1", platforms: tuple = ("amd64",), index=False
    ) -> str:
        """Puts an image with these labels, of one or more platforms, and returns its full name."""
        entries = []
        for architecture in platforms:
            config = {"os": "linux", "architecture": architecture, "config": {"Labels": labels}}
            manifest = {"schemaVersion": 2, "config": {"digest": self._put("blobs", config)}}
            platform = {"os": "linux", "architecture": architecture}
            entries.append({"digest": self._put("manifests", manifest), "platform": platform})
        repository, _, tag = name.partition(":")
        top = {"manifests": entries} if index or len(entries) > 1 else None
        if top is None:
            self._content[f"manifests/{tag}"] = self._content[f"manifests/{entries[0]['digest']}"]
        else:
            self._content[f"manifests/{tag}"] = json.dumps(top).encode()
        return f"{self.host}/{repository}:{tag}"

    def _put(self, kind: str, value: dict) -> str:
        data = json.dumps(value).encode()
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        self._content[f"{kind}/{digest}"] = data
        return digest

    def answer(self, method, path, body, headers):
        if path.startswith("/token?"):
            assert "service=stub" in path
            assert "scope=repository" in path
            return 200, {"token": self.TOKEN}, {}
        if headers.get("Authorization") != f"Bearer {self.TOKEN}":
            realm = f'realm="http://{self.host}/token",service="stub",scope="repository:x:pull"'
            return 401, {}, {"WWW-Authenticate": f"Bearer {realm}"}
        key = "/".join(path.split("/")[-2:])
        if key not in self._content:
            return 404, {}, {}
        return 200, self._content[key], {}


MINIMUM = {
    "project": "my-project",
    "region": "us-central1",
    "temp": "gs://near/temp",
    "image": "localhost/x:1",
}


def flags(image: str, *more: str) -> list[str]:
    """The flags that every command needs, after those that say what to do."""
    place = ("--project", "my-project", "--region", "us-central1", "--temp", "gs://near/temp")
    return ["--runner", "dataflow", *place, "--image", image, *more]


def options(stub: StubDataflow, **more: object) -> DataflowOptions:
    return DataflowOptions(
        **{**MINIMUM, "skip_image_check": True, "beam_args": tuple(stub.flags), **more}
    )


def add_one(pipeline: beam.Pipeline, progress: str | None) -> object:
    return pipeline | beam.Create([1])


JOB = Job(name="test", build=add_one, total_tracks=0, total_bytes=0)

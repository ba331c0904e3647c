"""The server as an ASGI application: addresses, limits, and who waits for whom."""

import asyncio
import concurrent.futures
import contextlib
import dataclasses
import json
import pathlib
import sys
import time
import traceback
from collections.abc import Callable

from tf_deblur import page
from tf_deblur.serving import (
    batching,
    documents,
    http,
    metrics,
    openapi,
    pictures,
    replies,
    requests,
)
from tf_deblur.serving.http import HTML, Reply
from tf_deblur.serving.status import Failure, invalid

CORS = [
    ("access-control-allow-origin", "*"),
    ("access-control-allow-methods", "POST, GET"),
    ("access-control-allow-headers", "Content-Type"),
]
KNOWN = {"GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS"}
KINDS = {".html": HTML, ".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8"}
PAGE_HEADERS = [
    (
        "content-security-policy",
        "default-src 'self'; img-src 'self' blob: data:; frame-ancestors 'none'",
    ),
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "no-referrer"),
]


@dataclasses.dataclass
class Options:
    """How the server treats requests; `serve.py` says what each is for."""

    timeout: float = 30.0
    threads: int = 2
    queue_size: int = 64
    queue_mb: float = 512
    max_request_mb: float = 128
    max_megapixels: float = 64
    cors: bool = False
    metrics_path: str = metrics.PATH
    batches: batching.Limits | None = None
    access_log: Callable | None = None  # called with a line


class App:
    """Answers requests for `models`; `page_model` is the model that the page at / uses."""

    def __init__(self, models, options, page_model=None):
        self._models, self._options = models, options
        self._metrics = metrics.Metrics()
        self._waiting, self._held = 0, 0  # requests under way, and bytes of their bodies
        self._graphs = concurrent.futures.ThreadPoolExecutor(options.threads, "graph")
        self._texts = concurrent.futures.ThreadPoolExecutor(2, "json")
        self._run = self._run_graph
        if options.batches:
            self._run = batching.Batcher(self._run_graph, options.batches)
        self._page = _page(page_model, options.metrics_path) if page_model else {}
        self._draining = False

    async def __call__(self, scope, receive, send):
        if scope["type"] == "lifespan":
            return await _lifespan(receive, send)
        request = http.Request(scope, receive)
        reply, code = await self._answer(request)
        await request.let_end()
        if self._draining:
            reply.close = True
        cors = CORS if self._options.cors and self._is_api(request) else ()
        await http.send(reply, request, send, cors)
        self._tell(request, reply, code)

    async def drain(self, seconds):
        """Refuses new requests, and returns when those under way are done, or after a time."""
        self._draining = True
        until = time.monotonic() + seconds
        while self._waiting and time.monotonic() < until:
            await asyncio.sleep(0.02)

    async def _answer(self, request):
        """(reply, status code's name); errors of ours are told as 500 and printed."""
        try:
            return await self._route(request), "OK"
        except Failure as failure:
            close = failure.http in (408, 413)
            headers = [("retry-after", "1")] if failure.http in (429, 503) else []
            body = replies.error(failure.message)
            return Reply(failure.http, body, headers=headers, close=close), failure.code
        except Exception:
            traceback.print_exc()
            return Reply(
                500, replies.error("Internal error; the server's log has more")
            ), "INTERNAL"

    async def _route(self, request):
        path = request.address
        if path.partition("?")[0] == self._options.metrics_path:
            return self._metrics_reply(path)
        if request.method not in KNOWN:
            return _html(501, "Not Implemented")
        if http.BAD_ESCAPE.search(path.partition("?")[0]):
            return _html(400, "Bad Request")
        if path in self._page and request.method in ("GET", "HEAD"):
            return self._page[path]
        if not self._is_api(request):
            return _html(404, "Not Found")
        if request.method == "OPTIONS":
            origin = request.header("origin")
            allowed = "http://" in origin or "https://" in origin
            return Reply(200 if allowed else 400, kind=http.EMPTY)
        route = request.route()
        if not route:
            raise invalid(f"Malformed request: {request.method} {path}")
        if route.version == -1:
            return Reply(400)
        if not route.model:
            raise invalid("Missing model name in request.")
        request.model = route.model
        if route.action == "status":
            return Reply(body=self._models.status(route.model, route.version))
        if route.action == "metadata":
            number, loaded = self._models.serving(route.model, route.version, route.label)
            return Reply(body=loaded.metadata(route.model, number))
        with self._place() as hold:
            body = await request.body(self._options.max_request_mb * 1e6, hold)
            return await self._in_time(self._predict(route, body))

    def _is_api(self, request):
        return request.address[:4].lower() == "/v1/"

    @contextlib.contextmanager
    def _place(self):
        """A place among the requests under way; what is beyond the limits is refused."""
        if self._draining:
            raise Failure("UNAVAILABLE", "The server is shutting down")
        if self._waiting >= self._options.queue_size:
            text = f"Too many requests: {self._waiting} are under way, see --queue_size"
            raise Failure("RESOURCE_EXHAUSTED", text)
        held = 0

        def hold(size):
            nonlocal held
            if self._held + size > self._options.queue_mb * 1e6:
                text = "Too many requests: those under way are too large together, see --queue_mb"
                raise Failure("RESOURCE_EXHAUSTED", text)
            held += size
            self._held += size

        self._waiting += 1
        try:
            yield hold
        finally:
            self._waiting -= 1
            self._held -= held

    async def _in_time(self, work):
        seconds = self._options.timeout
        try:
            return await asyncio.wait_for(work, seconds if seconds > 0 else None)
        except (asyncio.TimeoutError, TimeoutError) as error:
            raise Failure("DEADLINE_EXCEEDED", "Timed out waiting for notification") from error

    async def _predict(self, route, body):
        """Text to tensors, the graph, tensors to text: each in a thread that suits it."""
        begin = time.monotonic()
        form, tensors, loaded, name = await self._thread(self._texts, self._read, route, body)
        outputs = await self._run(loaded, name, tensors)
        del tensors
        text = await self._thread(self._texts, replies.reply, form, outputs)
        labels = {"model_name": route.model, "API": "predict", "entrypoint": "REST"}
        self._metrics.observe(metrics.LATENCY, time.monotonic() - begin, **labels)
        return Reply(body=text)

    def _read(self, route, body):
        """A request's body -> (form, tensors, Loaded, signature's name)."""
        document = documents.parse(body)
        requests.check_object(document)
        if route.action != "predict":
            requests.check_examples(document)
        _, loaded = self._models.serving(route.model, route.version, route.label)
        name = document.get("signature_name", "")
        if route.action != "predict":
            raise requests.no_examples(name, loaded.signatures, route.action)
        form, tensors = requests.tensors(document, loaded.inputs(name))
        pictures.check(tensors, self._options.max_megapixels)
        return form, tensors, loaded, name

    async def _run_graph(self, loaded, name, tensors):
        begin = time.monotonic()
        outputs = await self._thread(self._graphs, loaded.run, name, tensors)
        labels = {"model_name": "", "API": "Predict", "runtime": "TF1"}
        self._metrics.observe(metrics.RUNTIME, time.monotonic() - begin, **labels)
        return outputs

    async def _thread(self, pool, work, *arguments):
        return await asyncio.get_running_loop().run_in_executor(pool, work, *arguments)

    def _metrics_reply(self, path):
        own = self._options.metrics_path
        plain = "text/plain"
        if path != own:
            text = f"Unexpected path: {path}. Should be {own}"
            return Reply(400, replies.encode(text), plain)
        gauges = [(":tf_deblur:serving:requests_under_way", self._waiting)]
        gauges.append((":tf_deblur:serving:bytes_under_way", self._held))
        return Reply(body=self._metrics.text(gauges).encode(), kind=plain)

    def _tell(self, request, reply, code):
        """Counts a request, and writes its line."""
        if request.model:
            # a name that nobody serves is the client's to choose: it must not fill the memory
            known = request.model if request.model in self._models.names() else ""
            self._metrics.count(metrics.REQUESTS, model_name=known, status=code)
        if self._options.access_log:
            line = {
                "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
                "client": request.client,
                "method": request.method,
                "path": request.address[:500].encode("utf-8", "replace").decode(),
                "status": reply.status,
                "code": code,
                "bytes_in": request.size,
                "bytes_out": len(reply.body),
                "ms": round((time.monotonic() - request.begin) * 1000, 1),
            }
            self._options.access_log(json.dumps(line))


async def _lifespan(receive, send):
    while True:
        message = await receive()
        await send({"type": message["type"] + ".complete"})
        if message["type"] == "lifespan.shutdown":
            return


def _html(status, words):
    """What libevent answers by itself, in content."""
    body = f"<HTML><HEAD>\n<TITLE>{status} {words}</TITLE>\n</HEAD><BODY>\n<H1>{words}</H1>\n"
    return Reply(status, f"{body}</BODY></HTML>\n".encode(), "text/html", close=True)


def _page(model, metrics_path):
    """Address -> Reply of the page's files, and of the API's terms."""
    replies_by_path = {}
    for name, text in page.read_files("server.js", model).items():
        path = "/" if name == "index.html" else f"/{name}"
        kind = KINDS[pathlib.PurePath(name).suffix]
        replies_by_path[path] = Reply(body=text.encode(), kind=kind, headers=PAGE_HEADERS)
    told = json.dumps(openapi.describe(model, metrics_path), indent=1)
    return replies_by_path | {"/openapi.json": Reply(body=told.encode())}


def log(line):
    with contextlib.suppress(BrokenPipeError):  # whoever read it has gone; the server stays
        print(line, file=sys.stderr, flush=True)

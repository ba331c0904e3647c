"""The server as an ASGI application: Starlette's routes, and what is checked before and after."""

import dataclasses
import functools
import json
import mimetypes
import re
import time
import traceback
from collections.abc import Callable, Collection

import orjson
import prometheus_client
from starlette.applications import Starlette
from starlette.convertors import IntegerConvertor, StringConvertor, register_url_convertor
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Message, Receive, Scope, Send

from tf_deblur import page
from tf_deblur.serving import limits, openapi, pictures, replies, requests
from tf_deblur.serving.models import Models
from tf_deblur.serving.status import Failure, invalid, not_found

METRICS = "/monitoring/prometheus/metrics"
BOUNDS = [10 * 1.8**power for power in range(33)]  # microseconds, as TensorFlow Serving has them
PIECE = 1 << 18  # bytes of a reply that a client reads, or is cut off
LOOPBACK = ("localhost", "127.0.0.1", "::1")
PAGE_HEADERS = {
    "content-security-policy": (
        "default-src 'self'; img-src 'self' blob: data:; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
}


class _Name(StringConvertor):
    regex = "[^/:]+"


class _Version(IntegerConvertor):
    regex = "[0-9]{1,99}"  # Python takes its time for longer ones, or refuses


register_url_convertor("name", _Name())
register_url_convertor("version", _Version())


@dataclasses.dataclass
class Options:
    """How the server treats requests; `serve.py` says what each is for."""

    timeout: float = 300.0
    threads: int = 2
    queue_size: int = 64
    queue_mb: float = 512
    max_request_mb: float = 128
    max_megapixels: float = 64
    allowed_hosts: Collection[str] = LOOPBACK  # "*" for any
    cors: Collection[str] = ()
    metrics_path: str = METRICS
    access_log: Callable | None = None  # called with a line


class App:
    """Answers requests for `models`; `page_model` is the model that the page at / uses."""

    def __init__(self, models: Models, options: Options, page_model: str | None = None):
        self._models, self._options = models, options
        self._workers = limits.Workers(options.threads, options.queue_size, options.queue_mb * 1e6)
        self._transfers = limits.Transfers(options.queue_mb * 1e6)
        self._make_metrics()
        cors = Middleware(
            CORSMiddleware,
            allow_origins=options.cors,
            allow_methods=["GET", "POST"],
            allow_headers=["Content-Type", "Content-Encoding"],
        )
        self._routes = Starlette(
            routes=self._list_routes(page_model),
            middleware=[cors] if options.cors else [],
            exception_handlers={
                Failure: _tell_failure,
                HTTPException: _refuse_call,
                Exception: _tell_fault,
            },
        )

        self._routes.router.redirect_slashes = False

    def _list_routes(self, page_model):
        routes = []
        for version in ("", "/versions/{version:version}"):
            place = f"/v1/models/{{model:name}}{version}"
            routes.append(Route(f"{place}:predict", self._predict, methods=["POST"]))
            routes.append(Route(f"{place}/metadata", self._tell_metadata))
            routes.append(Route(place, self._tell_status))
        routes.append(Route("/healthz", self._tell_health))
        if self._options.metrics_path:
            routes.append(Route(self._options.metrics_path, self._tell_metrics))
        if page_model:
            files = {
                f"/{name}": text for name, text in page.read_files("server.js", page_model).items()
            }
            files["/"] = files.pop("/index.html")
            described = openapi.describe(self._models.list_names(), self._options.metrics_path)
            files["/openapi.json"] = json.dumps(described, indent=1)
            routes += [Route(path, _give(path, text)) for path, text in files.items()]
        return routes

    def _make_metrics(self):
        self._registry = prometheus_client.CollectorRegistry()
        own = {"registry": self._registry}
        self._requests = prometheus_client.Counter(
            ":tensorflow:serving:request_count", "Requests", ["model_name", "status"], **own
        )
        self._latency, self._runtime = (
            prometheus_client.Histogram(
                f":tensorflow:serving:{name}",
                f"{told}, in microseconds",
                ["model_name"],
                buckets=BOUNDS,
                **own,
            )
            for name, told in [
                ("request_latency", "From a request's body to its reply"),
                ("runtime_latency", "The graph and its pictures"),
            ]
        )
        for name, told, get in [
            ("requests", "Requests that wait or are worked on", lambda: self._workers.count),
            ("bytes", "Their bodies", lambda: self._workers.held),
        ]:
            gauge = prometheus_client.Gauge(f":tf_deblur:serving:{name}_under_way", told, **own)
            gauge.set_function(get)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        begin = time.monotonic()
        told: dict = {"status": 0, "code": "CANCELLED", "bytes_in": 0, "bytes_out": 0}
        scope["told"] = told

        async def send_slowly(message: Message) -> None:
            if message["type"] == "http.response.start":
                told["status"] = message["status"]
                if message["status"] < 400:
                    told["code"] = "OK"
                return await send(message)
            told["bytes_out"] += len(message.get("body", b""))
            await self._send_pieces(message, send)

        request = Request(scope)
        try:
            refused = self._check_source(request)
            reply = await _tell_failure(request, refused) if refused else self._routes
            await reply(scope, receive, send_slowly)
        finally:
            self._tell(request, told, time.monotonic() - begin)

    async def _send_pieces(self, message, send):
        body, more = message.get("body", b""), message.get("more_body", False)
        async with self._transfers.open() as transfer:
            transfer.add(len(body))
            for start in range(0, len(body), PIECE):
                piece, last = body[start : start + PIECE], start + PIECE >= len(body)
                await send({**message, "body": piece, "more_body": more or not last})
            if not body:
                await send(message)

    def _check_source(self, request):
        """A refusal where a page of elsewhere may be asking through somebody's browser."""
        hosts, origin = self._options.allowed_hosts, request.headers.get("origin")
        host = request.headers.get("host", "")
        name = re.sub(r":\d*$", "", host).strip("[]").lower()
        if "*" not in hosts and host and name not in hosts:
            text = f"{host}: not a name of this server; see --allowed_hosts"
            return Failure("PERMISSION_DENIED", text)
        foreign = origin and origin not in (f"http://{host}", f"https://{host}")
        safe = request.method in ("GET", "HEAD", "OPTIONS")  # CORS keeps their replies back
        if foreign and not safe and not {"*", origin} & {*self._options.cors}:
            text = f"Pages of {origin} may not use this server; see --cors"
            return Failure("PERMISSION_DENIED", text)
        return None

    async def drain(self) -> None:
        """Ends what comes, goes and waits; what is worked on may end by itself."""
        self._transfers.end_all()
        self._workers.stop()

    @property
    def busy(self) -> int:
        """How many requests wait or are worked on."""
        return self._workers.count

    # ------------------------------------------------------------ what is answered

    async def _predict(self, request):
        begin = time.monotonic()
        gzip = "gzip" in request.headers.get("content-encoding", "")
        place = request.path_params["model"], _get_version(request)
        body = await self._receive(request)
        work = functools.partial(self._work, *place, gzip)
        # what gzip unpacks to is not known
        receive, seconds = request.receive, self._options.timeout
        reply = await self._workers.run(seconds, work, body, gzip, receive)
        self._latency.labels(place[0]).observe((time.monotonic() - begin) * 1e6)
        return _give_json(reply)

    async def _receive(self, request):
        """A request's whole body."""
        most, parts, told = self._options.max_request_mb * 1e6, [], request.scope["told"]
        declared = request.headers.get("content-length", "0")
        try:
            async with self._transfers.open() as transfer:
                if int(declared) <= most:
                    async for part in request.stream():
                        parts.append(part)
                        transfer.add(len(part))
                        told["bytes_in"] += len(part)
                        if transfer.size > most:
                            break
                    else:
                        return b"".join(parts)
        except TimeoutError as error:
            text = "The body came too slowly, or others needed the room"
            raise Failure("DEADLINE_EXCEEDED", text, http=408) from error
        except ClientDisconnect as error:
            raise Failure("CANCELLED", "The client has gone") from error
        text = f"The request is larger than {most / 1e6:g} MB, see --max_request_mb"
        raise Failure("INVALID_ARGUMENT", text, http=413)

    def _work(self, model, version, gzip, body):
        """In a thread: text to tensors, the graph, tensors to text; bounded before it begins."""
        until = time.monotonic() + (self._options.timeout or float("inf"))
        if gzip:
            body = requests.unpack(body, self._options.max_request_mb * 1e6)
        document = requests.parse(body)
        _, loaded = self._models.get(model).find(version)
        name = document.get("signature_name") or requests.SIGNATURE
        rows, tensors = requests.make_tensors(document, loaded.list_inputs(name))
        del body, document
        begin = time.monotonic()
        outputs = pictures.run(loaded, name, tensors, self._options.max_megapixels, until)
        self._runtime.labels(model).observe((time.monotonic() - begin) * 1e6)
        return replies.encode(rows, outputs)

    async def _tell_status(self, request):
        model = self._models.get(request.path_params["model"])
        return _give_json(orjson.dumps(model.describe(_get_version(request))))

    async def _tell_metadata(self, request):
        name = request.path_params["model"]
        number, loaded = self._models.get(name).find(_get_version(request))
        return _give_json(orjson.dumps(loaded.describe(name, number)))

    async def _tell_health(self, request):
        ready = self._models.are_ready()
        return _give_json(orjson.dumps({"ready": ready}), 200 if ready else 503)

    async def _tell_metrics(self, request):
        text = prometheus_client.generate_latest(self._registry)
        return Response(text, media_type="text/plain; version=0.0.4")

    def _tell(self, request, told, seconds):
        """Counts a request, and writes its line."""
        path = request.scope["path"]
        if path.startswith("/v1/"):
            # a name that nobody serves is the client's to choose: it must not fill the memory
            name = request.path_params.get("model")
            known = name if name in self._models.list_names() else ""
            self._requests.labels(known, told["code"]).inc()
        if self._options.access_log:
            client = request.client.host if request.client else ""
            line = {
                "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
                "client": client,
                "method": request.method,
                "path": path[:500],
                **told,
                "ms": round(seconds * 1000, 1),
            }
            self._options.access_log(json.dumps(line))


def _get_version(request):
    version = request.path_params.get("version")
    if version is not None and version >= 1 << 63:
        raise invalid("The version is no number of 63 bits")
    return version


def _give(path, text):
    kind = mimetypes.guess_type(path)[0] or "text/html"

    async def give(request):
        return Response(text, media_type=kind, headers=PAGE_HEADERS)

    return give


def _give_json(body, status=200, headers=None):
    return Response(body, status, headers, media_type="application/json")


async def _tell_failure(request, failure):
    request.scope["told"]["code"] = failure.code
    headers = {"retry-after": "1"} if failure.http in (429, 503) else {}
    body = orjson.dumps({"error": failure.message or "Failed"})
    return _give_json(body, failure.http, headers)


async def _refuse_call(request, error):
    path = request.url.path
    call = f"{request.method} {path[:200]}"
    failure = not_found(f"{call}: no such call; /openapi.json says which there are")
    failure.http = 400 if path.startswith("/v1/") else error.status_code  # as TensorFlow Serving
    return await _tell_failure(request, failure)


async def _tell_fault(request, error):
    if not isinstance(error, TimeoutError):  # of a reply that nobody read
        traceback.print_exception(error)
    failure = Failure("INTERNAL", "Internal error; the server's log has more")
    return await _tell_failure(request, failure)

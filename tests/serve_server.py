"""Our server inside the test's own process, and a client without comforts."""

import asyncio
import http.client
import threading


class Server:
    """Our application on a free port, inside the test's process."""

    def __init__(self, settings, page_model=None, poll_seconds=0, **options):
        from tf_deblur.serving import app, listening
        from tf_deblur.serving.models import Models

        self.models = Models(settings, poll_seconds)
        self.models.start()
        self.app = app.App(self.models, app.Options(**options), page_model)
        bound = listening.bind("127.0.0.1", 0)
        self.port = bound.getsockname()[1]
        ready = threading.Event()

        async def serve():
            self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
            async with listening.serve(self.app, bound, drain_seconds=1):
                ready.set()
                await self._stop.wait()
                await self.app.drain()

        self._thread = threading.Thread(target=asyncio.run, args=(serve(),), daemon=True)
        self._thread.start()
        assert ready.wait(20)

    def stop(self):
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)
        self.models.stop()

    def ask(self, method, path, body=None, headers=(), timeout=30):
        """(status, body, headers) of a plain exchange."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            connection.request(method, path, body, dict(headers))
            reply = connection.getresponse()
            return reply.status, reply.read(), dict(reply.getheaders())
        finally:
            connection.close()

    def predict(self, model, body):
        return self.ask("POST", f"/v1/models/{model}:predict", body)


def settings(folder, *names, **more):
    from tf_deblur.serving.loaded import Loaded
    from tf_deblur.serving.models import Settings

    timeout, warmed = more.pop("timeout", 30), more.pop("warmed", True)

    def load(path):
        return Loaded(path, timeout=timeout, warm_up=warmed)

    return [Settings(name, folder / name, load=load, **more) for name in names]

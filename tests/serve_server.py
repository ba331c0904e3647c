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
        self.port = listening.listen("127.0.0.1", 0)
        ready = threading.Event()

        async def serve():
            self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
            async with listening.serving(self.app, "127.0.0.1", self.port):
                ready.set()
                await self._stop.wait()

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


def judge(outcomes, different):
    """Compares the records that differ with those that may: {id: why}."""
    wrong = {name: told for name, told in outcomes.items() if told and name not in different}
    right = {name for name, told in outcomes.items() if not told and name in different}
    assert not wrong, f"{len(wrong)} of {len(outcomes)} differ: " + "\n".join(
        f"{name}: {told}" for name, told in list(wrong.items())[:10]
    )
    assert not right, f"these agree now, so take them from the list: {sorted(right)}"

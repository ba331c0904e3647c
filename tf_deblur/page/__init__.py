"""The page for photographs: before and after under one border. A script says what restores them."""

import html
import importlib.resources

PROMISES = {  # the script -> what becomes of a photograph
    "server.js": "The photograph goes to this server only, and is not kept.",
    "device.js": "The photograph does not leave this device.",
}
SCRIPTS = {"server.js": ["server.js"], "device.js": ["device.js", "worker.js"]}


def files(script: str, model: str) -> dict[str, str]:
    """Name -> text of the page's own files, `index.html` the last.

    Args:
      script: "server.js": the server behind the page restores; "device.js": the browser does.
      model: what that script calls the network.
    """
    folder = importlib.resources.files(__name__)
    names = ["page.css", "page.js", *SCRIPTS[script], "index.html"]
    texts = {name: (folder / name).read_text(encoding="utf-8") for name in names}
    for mark, words in [("script", script), ("promise", PROMISES[script]), ("model", model)]:
        texts["index.html"] = texts["index.html"].replace(f"{{{{{mark}}}}}", html.escape(words))
    return texts

"""The page for photographs: before and after under one border. A script says what restores them."""

import html
import importlib.resources

PROMISES = {  # the script -> what becomes of photographs
    "server.js": "Photographs go to this server only, and are not kept.",
    "device.js": "Photographs do not leave this device.",
}
SCRIPTS = {"server.js": ["server.js"], "device.js": ["device.js", "worker.js"]}


def read_files(script: str, model: str) -> dict[str, str]:
    """Name -> text of the page's own files, `index.html` the last.

    Args:
      script: "server.js": the server behind the page restores; "device.js": the browser does.
      model: what that script calls the network.
    """
    folder = importlib.resources.files(__name__)
    names = ["page.css", "page.js", "stage.js", "zip.js", *SCRIPTS[script], "index.html"]
    texts = {name: (folder / name).read_text(encoding="utf-8") for name in names}
    for mark, words in [("script", script), ("promise", PROMISES[script]), ("model", model)]:
        texts["index.html"] = texts["index.html"].replace(f"{{{{{mark}}}}}", html.escape(words))
    return texts

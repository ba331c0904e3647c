"""A folder for any web server, whose page restores photographs in the visitor's own browser.

page.css page.js device.js worker.js index.html    our page, shared with `tf-deblur serve`
NAME.tflite NAME.json                              the network, of one size
litert/                                            LiteRT.js, which runs it, from npm
"""

import json
import pathlib
from importlib import metadata

from tf_deblur import page
from tf_deblur.errors import UserError
from tf_deblur.files import whole

LITERT_JS = "@litertjs/core@2.5.3"  # what the page was tried with
# where its script looks for the other package; a browser wants an address
OTHER_PACKAGE, BESIDE = '"@litertjs/wasm-utils"', '"./wasm-utils.js"'
KINDS_OF_WASM = ("", "_threaded", "_compat")  # relaxed SIMD, with threads too, without either


def write(network: pathlib.Path, output: pathlib.Path, runtime: dict[str, bytes]) -> pathlib.Path:
    """Writes the page, the network and what runs it into a folder; each file appears whole.

    Args:
      network: a `.tflite` file of one size, its JSON beside it.
      output: a `pathlib.Path`; other files in it stay.
      runtime: what `read_runtime` gives.

    Returns:
      The folder.

    Raises:
      UserError: its tiles are margins alone.
    """
    facts = json.loads(network.with_suffix(".json").read_text())
    if min(facts["fixed_size"]) <= 2 * facts["margin"]:
        height, width = facts["fixed_size"]
        raise UserError(
            f"--sizes={width}x{height}: larger photographs are restored by tiles of that size, "
            f"of which {facts['margin']} pixels at each border are margins; use a larger one"
        )
    files = {f"litert/{name}": data for name, data in runtime.items()}
    files |= {path.name: path.read_bytes() for path in (network, network.with_suffix(".json"))}
    pages = page.read_files("device.js", network.stem)
    files |= {name: text.encode() for name, text in pages.items()}
    for name, data in files.items():  # index.html is the last
        with whole(output / name) as part:
            part.write_bytes(data)
    return output


def read_runtime(package: str) -> dict[str, bytes]:
    """Name -> bytes of the files of LiteRT.js that the page uses, and their licence."""
    core = pathlib.Path(package).resolve()  # some installers link it to where its neighbour is
    wasm = [f"wasm/litert_wasm{kind}_internal" for kind in KINDS_OF_WASM]
    try:
        about = json.loads((core / "package.json").read_text())
        script = (core / "dist/index.js").read_text(encoding="utf-8")
        files = {"wasm-utils.js": (core.parent / "wasm-utils/dist/index.js").read_bytes()}
        for name in [f"{stem}.{suffix}" for stem in wasm for suffix in ("js", "wasm")]:
            files[name] = (core / name).read_bytes()
    except OSError as error:
        raise UserError(
            f"{error.filename}: no such file of LiteRT.js, which runs the network in the browser; "
            f"say `npm install --prefix=. --no-save {LITERT_JS}`, or --litert_js=FOLDER"
        ) from error
    if OTHER_PACKAGE not in script:
        raise UserError(f"{package}: version {about['version']} is not known; use {LITERT_JS}")
    notice = (
        f"// LiteRT.js {about['version']}, npm's @litertjs/core, licence {about['license']}. "
        "Changed by tf-deblur: where wasm-utils.js lies.\n"
    )
    files["index.js"] = (notice + script.replace(OTHER_PACKAGE, BESIDE)).encode()
    files["LICENSE"] = read_licence().encode()
    return files


def read_licence() -> str:
    """The Apache licence's text, ours and that of LiteRT.js, whose package comes without it."""
    [file] = [file for file in metadata.files("tf-deblur") or () if file.name == "LICENSE"]
    return file.read_text(encoding="utf-8")

"""A folder for any web server, whose page restores photographs in the visitor's own browser.

page.css page.js device.js worker.js index.html    our page, shared with `tf-deblur serve`
NAME.tflite NAME.json                              the network, at a fixed size
litert/                                            LiteRT.js, which runs it, from npm
"""

import hashlib
import json
import pathlib
import tempfile
from importlib import metadata

import tensorflow as tf

from tf_deblur import errors, page
from tf_deblur.errors import UserError
from tf_deblur.export import saved_model
from tf_deblur.files import whole

LITERT_JS = "@litertjs/core@2.5.3"  # what the page was tried with
# where its script looks for the other package; a browser wants an address
OTHER_PACKAGE, BESIDE = '"@litertjs/wasm-utils"', '"./wasm-utils.js"'
KINDS_OF_WASM = ("", "_threaded", "_compat")  # relaxed SIMD, with threads too, without either


def write(model, facts, output, package, variant="int8", side=1024):
    """Writes the page, the network and what runs it into a folder; each file appears whole.

    Args:
      model: a generator of `networks.build_generator`, made in float32.
      facts: dict for the network's JSON; its preset names the file.
      output: a `pathlib.Path`; other files in it stay.
      package: folder of npm's @litertjs/core, with @litertjs/wasm-utils beside it.
      variant: "float32", or "int8": weights of a byte, sums in float32.
      side: height and width of a tile, in pixels.

    Returns:
      The folder.

    Raises:
      UserError: the package is not there, or such tiles cannot be.
    """
    files = {f"litert/{name}": data for name, data in runtime(package).items()}
    files |= network(model, facts, variant, side)
    name = f"{facts['preset']}_{variant}_{side}"
    files |= {name: text.encode() for name, text in page.files("device.js", name).items()}
    for name, data in files.items():  # index.html is the last
        with whole(output / name) as part:
            part.write_bytes(data)
    return output


def network(model, facts, variant, side):
    """Name -> bytes of the `.tflite` file for tiles of one size, and of its JSON."""
    multiple = facts["size_multiple"]
    margin = -(-facts["radius"] // multiple) * multiple
    if side % multiple or side <= 2 * margin:
        raise UserError(
            f"--tile={side}: use a multiple of {multiple} above {2 * margin}, "
            "as a tile's margins alone take so many"
        )
    name = f"{facts['preset']}_{variant}_{side}"
    data = convert(model, variant, side)
    shape = [1, side, side, 3]
    facts = facts | {
        "name": name,
        "sha256": hashlib.sha256(data).hexdigest(),
        "signature": "float32",
        "inputs": [{"name": "image", "shape": shape, "dtype": "float32", "range": [0, 1]}],
        "outputs": [{"name": "restored", "shape": shape, "dtype": "float32", "range": [0, 1]}],
        "margin": margin,
        "fixed_size": [side, side],
    }
    return {f"{name}.tflite": data, f"{name}.json": json.dumps(facts, indent=1).encode()}


def convert(model, variant, side):
    """A `.tflite` file's bytes, without any padding inside."""

    @tf.function(input_signature=[tf.TensorSpec([1, side, side, 3], tf.float32, name="image")])
    def float32(image):
        return {"restored": tf.minimum(tf.maximum(model(image, training=False), 0.0), 1.0)}

    with tempfile.TemporaryDirectory() as folder, errors.quiet():
        saved_model.write_signatures(folder, float32)
        converter = tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=["float32"])
        converter.optimizations = [tf.lite.Optimize.DEFAULT] if variant == "int8" else []
        return converter.convert()


def runtime(package):
    """Name -> bytes of the files of LiteRT.js that the page uses, and their licence."""
    core = pathlib.Path(package).resolve()  # some installers link it to where its neighbour is
    wasm = [f"wasm/litert_wasm{kind}_internal" for kind in KINDS_OF_WASM]
    try:
        about = json.loads((core / "package.json").read_text())
        script = (core / "dist/index.js").read_text()
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
    files["LICENSE"] = licence().encode()
    return files


def licence():
    """The Apache licence's text, ours and that of LiteRT.js, whose package comes without it."""
    [file] = [file for file in metadata.files("tf-deblur") if file.name == "LICENSE"]
    return file.read_text()

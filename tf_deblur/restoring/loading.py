"""Which engine a network runs on is told by what it is kept in, and by what is installed."""

import contextlib
import dataclasses
import importlib
import importlib.util
import os
import pathlib
from collections.abc import Callable
from typing import TYPE_CHECKING

from tf_deblur import devices
from tf_deblur.errors import UserError

if TYPE_CHECKING:
    from tf_deblur.restoring.restorer import Restorer


OURS = "assets.extra/model.json"  # in each SavedModel that `export` writes


def _ends_in(*suffixes):
    return lambda name: str(name).lower().endswith(suffixes)


def _is_our_tflite(path):
    """Whether its JSON says so; or, where that is missing, what it calls its picture."""
    beside = path.with_suffix(".json")
    if beside.is_file():
        return b'"sha256"' in beside.read_bytes()
    return path.is_file() and b"restored" in path.read_bytes()


def _is_graph_model(name):
    """Of TensorFlow.js: model.json, its folder, or npm's package."""
    path = pathlib.Path(name)
    return _ends_in(".tgz", ".tar.gz", "model.json")(name) or (path / "model.json").is_file()


def _is_saved_model(name):
    from tf_deblur.models import weights

    return bool(weights.find_saved_model(name))


def _is_ours(name):
    from tf_deblur.models import weights

    folder = weights.find_saved_model(name)
    return folder and (folder / OURS).exists()


@dataclasses.dataclass(frozen=True)
class Row:
    """An engine. It stands here, since reading its file would import its library.

    Attributes:
      module, maker: of restoring/; called with a name and a precision, it gives an `Engine`, or
        a `Restorer` of its own.
      needs: the package that it is on; None where it finds one itself.
      extra: of tf-deblur, which brings that; None if it comes along.
      takes: whether it alone runs what has this name; None for one that runs weights of ours.
      on_gpu: whether it uses a GPU where one is.
      threads: whether it is told how many.
      int8: whether it multiplies in that, where it is asked to.
      foreign: whether it runs what others trained, and is told what the file does not say.
    """

    module: str
    maker: str
    needs: str | None = None
    extra: str | None = None
    takes: Callable | None = None
    on_gpu: bool = False
    threads: bool = False
    int8: bool = False
    foreign: bool = False


ENGINES = {
    "tensorflow": Row("tensorflow_backend", "TensorFlowEngine", "tensorflow", on_gpu=True),
    "openvino": Row(
        *("openvino_backend", "OpenVINOEngine", "openvino"),
        extra="openvino",
        int8=True,
    ),
    "serving": Row(
        *("serving_backend", "ServingRestorer", "tensorflow"),
        takes=lambda name: str(name).startswith(("http://", "https://")),
    ),
    "tflite": Row(
        *("tflite_backend", "TFLiteEngine"),
        takes=lambda name: _ends_in(".tflite")(name) and _is_our_tflite(pathlib.Path(name)),
        threads=True,
    ),
    "foreign_tflite": Row(
        *("tflite_backend", "ForeignTFLiteEngine"),
        takes=_ends_in(".tflite"),
        threads=True,
        foreign=True,
    ),
    "onnx": Row(*("onnx_backend", "ONNXEngine"), takes=_ends_in(".onnx"), foreign=True),
    "saved_model": Row(*("saved_model_backend", "SavedModelEngine", "tensorflow"), takes=_is_ours),
    "foreign_saved_model": Row(
        *("saved_model_backend", "ForeignSavedModelEngine", "tensorflow"),
        takes=lambda name: _ends_in(".keras")(name) or _is_saved_model(name),
        foreign=True,
    ),
    "tfjs": Row(
        *("tfjs_backend", "TFJSEngine", "tensorflow"),
        takes=_is_graph_model,
        foreign=True,
    ),
}
OWN = tuple(name for name, row in ENGINES.items() if not row.takes)  # the later the faster
CHOICES = ("auto", *OWN)


def load(
    name: str | os.PathLike,
    precision: str = "auto",
    memory_gb: float | None = None,
    backend: str = "auto",
    threads: int | None = None,
    model_facts: str | dict | None = None,
) -> "Restorer":
    """Opens a trained network for restoring; `tf_deblur.load` says what with."""
    from tf_deblur.restoring import restorer

    if precision not in devices.RESTORING:
        raise UserError(f"{precision}: no such precision; use {', '.join(devices.RESTORING)}")
    row = ENGINES[choose(name, backend)]
    if precision == "int8" and not row.int8:
        raise UserError(
            f"{name}: int8 is for weights of ours on OpenVINO (pip install 'tf-deblur[openvino]'); "
            "`tf-deblur export` writes an int8 .tflite file for elsewhere"
        )
    with _explain_what_lacks(name):
        module = importlib.import_module(f"tf_deblur.restoring.{row.module}")
    if threads and not row.threads:
        raise UserError(f"{name}: the number of threads is for .tflite files")
    if model_facts and not row.foreign:
        raise UserError(f"{name}: says all itself; --model_facts is for networks of others")
    more = {"threads": threads, "model_facts": model_facts}
    opened = getattr(module, row.maker)(name, precision, **{k: v for k, v in more.items() if v})
    if isinstance(opened, restorer.Restorer):
        return opened
    restore = restorer.TiledRestorer(name, opened)
    if memory_gb is not None:
        restore.memory = memory_gb * restorer.GIGABYTE
    return restore


def choose(name: str | os.PathLike, backend: str = "auto") -> str:
    """Which of ENGINES `name` is for; arguments and errors as of `tf_deblur.load`."""
    if backend not in CHOICES:
        raise UserError(f"{backend}: no such backend; use {', '.join(CHOICES)}")
    with _explain_what_lacks(name):
        only = next((e for e, row in ENGINES.items() if row.takes and row.takes(name)), None)
    if only and backend != "auto":
        raise UserError(f"{name}: has an engine of its own; leave off --backend={backend}")
    if only or backend == "auto":
        return only or _choose_fastest()
    row = ENGINES[backend]
    if row.extra and not _is_installed(row):
        raise UserError(f"--backend={backend}: is not there; pip install 'tf-deblur[{row.extra}]'")
    return backend


def _choose_fastest():
    """The engine for weights of ours on this machine."""
    fit = (name for name in OWN if ENGINES[name].on_gpu or not devices.has_gpu())
    return next((name for name in reversed([*fit]) if _is_installed(ENGINES[name])), OWN[0])


def _is_installed(row):
    return importlib.util.find_spec(row.needs) is not None


@contextlib.contextmanager
def _explain_what_lacks(name):
    """Devices that run `.tflite` files alone lack what other engines import."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise UserError(
            f"{name}: wants {error.name}, which is not installed; pip install tf-deblur brings it "
            "(.tflite files do without it)"
        ) from error

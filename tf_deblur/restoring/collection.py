"""Restores a collection as an Apache Beam pipeline: here, or on Dataflow, Flink or Spark.

Beam reads and writes the files, on every file system that it knows (gs://, s3://, hdfs://),
hands them to workers and loads the network once in each of them.
"""

import collections
import contextlib
import functools
import logging
import pathlib
import posixpath
import uuid
from collections.abc import Iterable, Iterator

import apache_beam as beam
from apache_beam.io.filesystem import BeamIOError
from apache_beam.io.filesystems import FileSystems
from apache_beam.metrics import Metrics
from apache_beam.ml.inference import base
from apache_beam.options.pipeline_options import PipelineOptions

from tf_deblur import errors, files
from tf_deblur.restoring import jobs, loading, naming, pipeline

COUNTS = ("restored", "failed")


class Handler(base.ModelHandler):
    """A network in a Beam worker: (path, target, bytes) -> (path, target, restored bytes)."""

    def __init__(self, network, settings):
        self.network, self.settings = network, settings

    def load_model(self) -> pipeline.Pipeline:
        with errors.quiet():
            return pipeline.Pipeline(loading.load(*self.network), self.settings)

    def batch_elements_kwargs(self) -> dict:
        return {"max_batch_size": 1}  # pictures are large already

    def run_inference(
        self, batch: Iterable, model: pipeline.Pipeline, inference_args: dict | None = None
    ) -> Iterator[tuple]:
        for path, target, data in batch:
            with _go_on(path):
                yield path, target, model.restore_bytes(data, path, pathlib.Path(target))


def restore(
    patterns: list[str],
    output: str,
    network: tuple,
    settings: pipeline.Settings,
    runner: str,
    options: Iterable[str] = (),
) -> dict[str, int]:
    """Restores every file that matches, and writes the results into one folder.

    Args:
      patterns: paths with * and ?, on any file system that Beam knows.
      output: the folder for the results, on any such file system.
      network: arguments of `loading.load`.
      settings: the `pipeline.Settings`.
      runner: the name of a Beam runner: DirectRunner, DataflowRunner, FlinkRunner, SparkRunner.
      options: more of Beam's own flags, as strings.

    Returns:
      How many files were "restored" and "failed", a dict.
    """
    jobs.refuse_empty(patterns, output)
    planned, refused = plan(patterns, output, settings.format)
    for line in refused:
        logging.error("%s", line)
    FileSystems.exists(output) or FileSystems.mkdirs(output)
    graph = beam.Pipeline(options=PipelineOptions([f"--runner={runner}", *options]))
    _ = (
        graph
        | beam.Create(planned)
        | beam.Reshuffle()
        | beam.FlatMap(_read)
        | base.RunInference(Handler(network, settings))
        | beam.Map(lambda restored: _write(*restored))
    )
    result = graph.run()
    result.wait_until_finish()
    counters = result.metrics().query()["counters"]
    counted = {c.key.metric.name: c.result for c in counters if c.key.metric.name in COUNTS}
    counted["failed"] = counted.get("failed", 0) + len(refused)
    return {name: counted.get(name, 0) for name in COUNTS}


def plan(patterns: list[str], output: str, format: str | None) -> tuple[list, list[str]]:
    """([(path, the path of its result), ...], a line for each that cannot be done)."""
    found: dict[pathlib.Path, str] = {}
    refused = []
    for pattern, matches in zip(patterns, FileSystems.match(patterns)):
        paths = [match.path for match in matches.metadata_list]
        found |= {pathlib.Path(path): path for path in paths}
        refused += [] if paths else [f"{pattern}: no file is named so"]
    folders = collections.defaultdict(list)
    for path in found:
        folders[path.parent].append(path)
    look = functools.cache(lambda folder: naming.group(folders[folder]))
    become = functools.partial(naming.name_restored, format=format)
    named = naming.choose_names({path: path.parent for path in found}, become, ".", look)
    planned, taken = {}, set(found.values())
    for path, (name,) in named.items():
        target = FileSystems.join(output, str(name))
        problem = naming.find_fault(path) or (files.TAKEN if target in taken else None)
        if problem:
            refused.append(f"{found[path]}: {problem}")
        else:
            planned[found[path]] = target
            taken.add(target)
    return list(planned.items()), refused


@contextlib.contextmanager
def _go_on(path):
    """Says and counts what fails with one file; the others go on."""
    try:
        yield
    except (*pipeline.PROBLEMS, BeamIOError) as error:
        logging.error("%s", pipeline.explain(error, path))
        Metrics.counter("tf_deblur", "failed").inc()


def _read(planned):
    path, target = planned
    with _go_on(path), FileSystems.open(path) as file:
        yield path, target, file.read()


def _write(path, target, data):
    """Writes a result under a name that nobody else has, and renames it."""
    folder, name = FileSystems.split(target)
    part = FileSystems.join(folder, f".{uuid.uuid4().hex}.part{posixpath.splitext(name)[1]}")
    with _go_on(path):
        try:
            with FileSystems.create(part) as file:
                file.write(data)
            if FileSystems.exists(target):
                FileSystems.delete([target])
            FileSystems.rename([part], [target])
        except BaseException:
            with contextlib.suppress(Exception):
                FileSystems.delete([part])
            raise
        Metrics.counter("tf_deblur", "restored").inc()

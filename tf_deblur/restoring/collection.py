"""Restores a collection as an Apache Beam pipeline: here, or on Dataflow, Flink or Spark.

Beam reads and writes the files, on every file system that it knows (gs://, s3://, hdfs://),
hands them to workers and loads the network once in each of them.
"""

import logging
import posixpath
from collections.abc import Iterable, Iterator

import apache_beam as beam
from apache_beam.io import fileio
from apache_beam.io.filesystems import FileSystems
from apache_beam.metrics import Metrics
from apache_beam.ml.inference import base
from apache_beam.options.pipeline_options import PipelineOptions

from tf_deblur import errors
from tf_deblur.restoring import loading, pipeline
from tf_deblur.restoring.jobs import ENDING

COUNTS = ("restored", "failed")


class Handler(base.ModelHandler):
    """A network in a Beam worker: (path, bytes) -> (path, suffix, bytes of the restored file)."""

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
        for path, data in batch:
            try:
                yield path, *model.restore_bytes(data, path)
            except pipeline.PROBLEMS as error:
                logging.error("%s", pipeline.explain(error, path))
                Metrics.counter("tf_deblur", "failed").inc()


def restore(
    patterns: Iterable[str],
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
    FileSystems.exists(output) or FileSystems.mkdirs(output)
    graph = beam.Pipeline(options=PipelineOptions([f"--runner={runner}", *options]))
    _ = (
        graph
        | beam.Create(list(patterns))
        | fileio.MatchAll()
        | fileio.ReadMatches()
        | beam.Map(lambda file: (file.metadata.path, file.read()))
        | base.RunInference(Handler(network, settings))
        | beam.Map(lambda restored: _write(restored, output))
    )
    result = graph.run()
    result.wait_until_finish()
    counters = result.metrics().query()["counters"]
    counted = {c.key.metric.name: c.result for c in counters if c.key.metric.name in COUNTS}
    return {name: counted.get(name, 0) for name in COUNTS}


def _write(restored, output):
    """Writes a result under another name, and renames it."""
    path, suffix, data = restored
    stem = posixpath.splitext(posixpath.basename(path))[0]
    target = FileSystems.join(output, f"{stem}{ENDING}{suffix}")
    part = FileSystems.join(output, f".{stem}{ENDING}.part{suffix}")
    with FileSystems.create(part) as file:
        file.write(data)
    if FileSystems.exists(target):
        FileSystems.delete([target])
    FileSystems.rename([part], [target])
    Metrics.counter("tf_deblur", "restored").inc()

"""Restores a collection as an Apache Beam pipeline: here, or on Dataflow, Flink or Spark.

Beam reads and writes the files, on every file system that it knows (gs://, s3://, hdfs://),
hands them to workers and loads the network once in each of them.
"""

import dataclasses
import logging
import posixpath

import apache_beam as beam
from apache_beam.io import fileio
from apache_beam.io.filesystems import FileSystems
from apache_beam.metrics import Metrics
from apache_beam.ml.inference import base
from apache_beam.options.pipeline_options import PipelineOptions

from tf_deblur import errors

COUNTS = ("restored", "failed")


@dataclasses.dataclass(frozen=True)
class Settings:
    """What a worker needs to know; as the flags of `tf_deblur.deblur` of the same names."""

    model: str
    precision: str = "auto"
    memory_gb: float | None = None
    check: bool = True
    strength: float = 1.0
    format: str | None = None
    quality: int = 95
    strip_metadata: bool = False
    max_megapixels: float = 150


class Handler(base.ModelHandler):
    """A network in a Beam worker: (path, bytes) -> (path, suffix, bytes of the restored file)."""

    def __init__(self, settings):
        self.settings = settings

    def load_model(self):
        told = self.settings
        with errors.quiet():
            from tf_deblur.restoring import loading

            return loading.load(told.model, told.precision, told.memory_gb)

    def batch_elements_kwargs(self):
        return {"max_batch_size": 1}  # pictures are large already

    def run_inference(self, batch, model, inference_args=None):
        return [result for path, data in batch if (result := self._restored(model, path, data))]

    def _restored(self, restore, path, data):
        from tf_deblur.pictures import photographs
        from tf_deblur.restoring import guard

        told = self.settings
        try:
            photograph = photographs.open_photograph(data, path, told.max_megapixels)
            suffix = f".{told.format}" if told.format else photograph.suffix
            result, _ = guard.restored(restore, photograph.pixels, told.check, told.strength)
            like = photographs.strip_metadata(photograph) if told.strip_metadata else photograph
            return path, suffix, photographs.encode(suffix, result, like, told.quality)
        except errors.UserError as error:  # the others go on
            logging.error("%s", error)
            Metrics.counter("tf_deblur", "failed").inc()
            return None


def restore(patterns, output, ending, settings, runner, options=()):
    """Restores every file that matches, and writes the results into one folder.

    Args:
      patterns: paths with * and ?, on any file system that Beam knows.
      output: the folder for the results, on any such file system.
      ending: what a result's name has after the original's, before its suffix.
      settings: a `Settings`.
      runner: the name of a Beam runner: DirectRunner, DataflowRunner, FlinkRunner, SparkRunner.
      options: more of Beam's own flags, as strings.

    Returns:
      How many files were "restored" and "failed", a dict.
    """
    FileSystems.exists(output) or FileSystems.mkdirs(output)
    pipeline = beam.Pipeline(options=PipelineOptions([f"--runner={runner}", *options]))
    _ = (
        pipeline
        | beam.Create(list(patterns))
        | fileio.MatchAll()
        | fileio.ReadMatches()
        | beam.Map(lambda file: (file.metadata.path, file.read()))
        | base.RunInference(Handler(settings))
        | beam.Map(lambda restored: _write(*restored, output, ending))
    )
    result = pipeline.run()
    result.wait_until_finish()
    counters = result.metrics().query()["counters"]
    counted = {c.key.metric.name: c.result for c in counters if c.key.metric.name in COUNTS}
    return {name: counted.get(name, 0) for name in COUNTS}


def _write(path, suffix, data, output, ending):
    """Writes a result under another name, and renames it."""
    stem = posixpath.splitext(posixpath.basename(path))[0]
    target = FileSystems.join(output, f"{stem}{ending}{suffix}")
    part = FileSystems.join(output, f".{stem}{ending}.part{suffix}")
    with FileSystems.create(part) as file:
        file.write(data)
    if FileSystems.exists(target):
        FileSystems.delete([target])
    FileSystems.rename([part], [target])
    Metrics.counter("tf_deblur", "restored").inc()

"""Motion deblurring with a generative adversarial network (Sang, Gao and Yin 2018)."""

__version__ = "0.1.0"


def load(name, **options):
    """Opens a trained network for restoring photographs.

    Args:
      name: a preset ("compact"), a training's working directory, a
        `.safetensors` file, a SavedModel's folder or a `.tflite` file.
      **options: passed on to `tf_deblur.restoring.loading.load`.

    Returns:
      A `tf_deblur.restoring.restorer.Restorer`: call it with an (H, W, 3) image.

    Raises:
      UserError: `name` is none of these, or cannot be read.
    """
    from tf_deblur.restoring import loading  # TensorFlow loads here, not with the package

    return loading.load(name, **options)

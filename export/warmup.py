"""assets.extra/tf_serving_warmup_requests: what TensorFlow Serving runs before a version answers.

A TFRecord file of `PredictionLog` messages of tensorflow_serving/apis/prediction_log.proto,
written without that package: a message is its fields, each a number and bytes. A server that
fails at one record does not load the model, so each is run before it is written.
"""

import pathlib

import tensorflow as tf

SIDE = 128  # pixels: large enough that every layer and kernel is made, and quick for `paper`


def write(path: pathlib.Path, saved_model: pathlib.Path) -> None:
    """Runs a request for each signature of the SavedModel, and writes them down as records."""
    signatures = tf.saved_model.load(str(saved_model)).signatures
    with tf.io.TFRecordWriter(str(path)) as records:
        for name, inputs in make_requests().items():
            protos = {key: tf.make_tensor_proto(value) for key, value in inputs.items()}
            signatures[name](**{k: tf.constant(tf.make_ndarray(p)) for k, p in protos.items()})
            records.write(encode_log(name, protos))


def make_requests() -> dict[str, dict]:
    """Signature -> (input -> what it is given)."""
    wave = 128 + 127 * tf.sin(tf.range(SIDE * SIDE * 3, dtype=tf.float32) / 7)
    picture = tf.cast(tf.reshape(wave, [SIDE, SIDE, 3]), tf.uint8)
    files = [tf.io.encode_png(picture), tf.io.encode_jpeg(picture[: SIDE // 2])]
    return {
        "serving_default": {"image_bytes": [file.numpy() for file in files]},
        "float32": {"image": (picture[None] / 255).numpy().astype("float32")},
        "uint8": {"image": picture[None].numpy()},
    }


def encode_log(signature: str, inputs: dict) -> bytes:
    """A serialised PredictionLog of one predict request.

    Args:
      signature: its name.
      inputs: name -> TensorProto.
    """
    # ModelSpec.signature_name; the server knows its model
    request = encode_field(1, encode_field(3, signature.encode()))
    for name, tensor in inputs.items():  # an entry of a map is a message of key and value
        entry = encode_field(1, name.encode()) + encode_field(2, tensor.SerializeToString())
        request += encode_field(2, entry)
    # PredictionLog.predict_log, PredictLog.request
    return encode_field(6, encode_field(1, request))


def encode_field(number: int, value: bytes) -> bytes:
    """A field of bytes on the wire: number and type, length, value."""
    return encode_varint(number << 3 | 2) + encode_varint(len(value)) + value


def encode_varint(number: int) -> bytes:
    """Seven bits a byte, the lowest first, and a bit that says that more follow."""
    more, last = number >> 7, number & 127
    return bytes([last | 128]) + encode_varint(more) if more else bytes([last])

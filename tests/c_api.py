"""Runs a SavedModel through TensorFlow's C API, as a program in another language would.

python c_api.py LIBRARY SAVED_MODEL INPUT OUTPUT picture.npy…   (INPUT, OUTPUT: tensor names)

Float pictures only. Each result is written as picture.npy.out.npy; prints "ok", or the
error's text, for each. TensorFlow's Python is not loaded.
"""

import ctypes
import sys

import numpy as np

FLOAT = 1  # TF_FLOAT
POINTER = ctypes.c_void_p


class Output(ctypes.Structure):
    _fields_ = [("operation", POINTER), ("index", ctypes.c_int)]


class Session:
    def __init__(self, library, saved_model):
        self.tf = ctypes.CDLL(library)
        for name in (
            "TF_NewStatus TF_NewSessionOptions TF_NewGraph TF_LoadSessionFromSavedModel "
            "TF_GraphOperationByName TF_AllocateTensor TF_TensorData"
        ).split():
            getattr(self.tf, name).restype = POINTER
        self.tf.TF_Message.restype = ctypes.c_char_p
        self.tf.TF_Dim.restype = ctypes.c_int64
        self.status = POINTER(self.tf.TF_NewStatus())
        self.graph = POINTER(self.tf.TF_NewGraph())
        options = POINTER(self.tf.TF_NewSessionOptions())
        tags = (ctypes.c_char_p * 1)(b"serve")
        arguments = [saved_model.encode(), tags, 1, self.graph, None, self.status]
        self.session = POINTER(self.tf.TF_LoadSessionFromSavedModel(options, None, *arguments))
        self.check()

    def check(self):
        if self.tf.TF_GetCode(self.status):
            raise RuntimeError(self.tf.TF_Message(self.status).decode())

    def output(self, tensor_name):
        operation, index = tensor_name.split(":")
        found = self.tf.TF_GraphOperationByName(self.graph, operation.encode())
        return Output(found, int(index))

    def run(self, input_name, output_name, array):
        dims = (ctypes.c_int64 * array.ndim)(*array.shape)
        size = ctypes.c_size_t(array.nbytes)
        tensor = POINTER(self.tf.TF_AllocateTensor(FLOAT, dims, array.ndim, size))
        ctypes.memmove(self.tf.TF_TensorData(tensor), array.ctypes.data, array.nbytes)
        feeds, fetches = (
            (Output * 1)(self.output(input_name)),
            (Output * 1)(self.output(output_name)),
        )
        values, results = (POINTER * 1)(tensor), (POINTER * 1)()
        self.tf.TF_SessionRun(
            *(self.session, None, feeds, values, 1, fetches, results, 1, None, 0, None, self.status)
        )
        self.check()
        result = POINTER(results[0])
        shape = [self.tf.TF_Dim(result, axis) for axis in range(self.tf.TF_NumDims(result))]
        data = ctypes.cast(self.tf.TF_TensorData(result), ctypes.POINTER(ctypes.c_float))
        return np.ctypeslib.as_array(data, shape).copy()


if __name__ == "__main__":
    library, saved_model, input_name, output_name, *pictures = sys.argv[1:]
    session = Session(library, saved_model)
    for picture in pictures:
        try:
            array = np.ascontiguousarray(np.load(picture), np.float32)
            np.save(f"{picture}.out.npy", session.run(input_name, output_name, array))
            print("ok")
        except RuntimeError as error:
            print(str(error).splitlines()[0])

"""What a patch goes through, whichever source it comes from, and what the sources share."""

import dataclasses

from tf_deblur import devices, memory
from tf_deblur.errors import UserError

ROTATIONS = ("any", "right_angles")
CANDIDATES = 4  # places looked at for a crop with texture
MEMORY_SHARE = 0.8  # of what is free; the training itself needs some


@dataclasses.dataclass(frozen=True)
class PatchSettings:
    """What a patch goes through; each field is a flag of the training, its default the paper's.

    Attributes:
      patch_size: side of a patch, in pixels.
      rotation: how a patch is turned: by "any" angle, or by "right_angles", which keep every
        pixel as it is.
      noise_stddev: spread of the patches' noise levels, for pictures in [0, 1].
      identity_fraction: share of patches whose blurred half is the sharp one.
      min_texture: a crop whose sharp grey values spread less than this standard deviation (in
        levels of 255) is exchanged for another one, where a few tries find it.
    """

    patch_size: int = 128
    rotation: str = "any"
    noise_stddev: float = 2 / 255
    identity_fraction: float = 0.0
    min_texture: float = 0.0


def share_batch(batch_size: int, workers: int) -> int:
    """Patches of a batch that each of several workers, or replicas, gets; UserError if uneven."""
    if batch_size % workers:
        raise UserError(
            f"a batch of {batch_size} patches cannot be shared evenly by {workers}; "
            f"use a multiple of {workers}"
        )
    return batch_size // workers


def check_memory(what: str, wanted: float, instead: str, gpu: bool = False) -> None:
    """UserError if so many bytes are more than a source of patches may take, here or on a GPU."""
    free = devices.measure_gpu_free() if gpu else memory.measure_free()
    if wanted > MEMORY_SHARE * free:
        raise UserError(
            f"{what} take {wanted / 1e9:.1f} GB, and may have {MEMORY_SHARE * free / 1e9:.1f} of "
            f"the {free / 1e9:.1f} GB that are free{' on the GPU' if gpu else ''}; {instead}"
        )

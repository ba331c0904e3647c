"""Trains `compact` from nothing on one GPU, with PyTorch alone; blur is made on the GPU as it goes.

    python examples/pretrain.py --photographs=DIR --more=DIR --gopro=GOPRO_Large/train --output=OUT

For a machine with a GPU and PyTorch, where TensorFlow need not be: this file, torch, numpy, pillow
and safetensors. The network has the layer names and the channel order of
`tf_deblur/models/networks.py`, so OUT/compact.safetensors is a `--model` of every command here.

Pairs are made from crops of sharp photographs, and of GoPro's own pairs some are cut; they go into
a ring on the GPU, from which batches are drawn. The learning rate follows the clock: a warm-up,
then a cosine over `--minutes`. Started again with the same `--output`, a run goes on where it was.
"""

import argparse
import concurrent.futures
import hashlib
import io
import math
import pathlib
import time

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import nn
from torch.optim import swa_utils

VALIDATION = ("GOPR0374_11_00", "GOPR0384_11_02")  # never trained on, as in datasets/gopro
MARGIN = 48  # pixels round a crop that blur may reach into: the largest extent
FINE = 64  # moments at which a path is drawn
MOST_POSES = 48
GAMMA = 2.2
PAIRS_SHARE = 0.12  # of GoPro's own pairs
# Share of the made ones, and their extents in pixels: a tenth is sharp, and half of the rest moves
# less than 10, since most photographs that people bring are blurred lightly or not at all.
KINDS = (0.1, 0, 0), (0.45, 1, 10), (0.25, 10, 28), (0.2, 20, 48)


# The network: generators.compact, layer for layer.


def space_to_depth(x):
    """(n, c, h, w) -> (n, 4 c, h / 2, w / 2), channels in TensorFlow's order."""
    n, c, h, w = x.shape
    x = x.reshape(n, c, h // 2, 2, w // 2, 2).permute(0, 3, 5, 1, 2, 4)
    return x.reshape(n, 4 * c, h // 2, w // 2)


def depth_to_space(x):
    n, c, h, w = x.shape
    x = x.reshape(n, 2, 2, c // 4, h, w).permute(0, 3, 4, 1, 5, 2)
    return x.reshape(n, c // 4, 2 * h, 2 * w)


class Compact(nn.ModuleDict):
    """(n, 3, h, w) in [0, 1] -> the same, unclipped; its layers have Keras's names."""

    def __init__(self, filters=(32, 64, 128), down=(2, 2), middle=8, up=(2, 2)):
        super().__init__()
        self.counts = {"middle": middle}
        self.levels = range(len(down))
        self.conv("head", 12, filters[0], 3)
        self.conv("tail", filters[0], 12, 3, scale=1e-3)
        self.conv_blocks("middle", filters[-1], middle)
        for level, (here, below) in enumerate(zip(filters, filters[1:])):
            self.conv_blocks(f"down{level}", here, down[level])
            self.conv(f"down{level}", 4 * here, below, 1)
            self.conv(f"up{level}", below, 4 * here, 1)
            self.conv_blocks(f"up{level}", here, up[level])

    def conv(self, name, inputs, outputs, kernel, scale=1.0):
        self[name] = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2)
        nn.init.kaiming_normal_(self[name].weight)
        self[name].weight.data *= scale
        nn.init.zeros_(self[name].bias)

    def conv_blocks(self, name, filters, count):
        self.counts[name] = count
        for index in range(count):
            self.conv(f"{name}_block{index}_conv0", filters, filters, 3)
            self.conv(f"{name}_block{index}_conv1", filters, filters, 3, scale=0.1**0.5)

    def blocks(self, x, name):
        for index in range(self.counts[name]):
            y = F.relu(self[f"{name}_block{index}_conv0"](x))
            x = x + self[f"{name}_block{index}_conv1"](y)
        return x

    def forward(self, blurred):
        x, skips = self["head"](space_to_depth(blurred)), []
        for level in self.levels:
            x = self.blocks(x, f"down{level}")
            skips.append(x)
            x = self[f"down{level}"](space_to_depth(x))
        x = self.blocks(x, "middle")
        for level in reversed(self.levels):
            x = depth_to_space(self[f"up{level}"](x)) + skips[level]
            x = self.blocks(x, f"up{level}")
        return blurred + depth_to_space(self["tail"](x)).float()


def save(path, net, **notes):
    """Writes weights as `tf_deblur.models.weights` reads them, float16 as those that ship."""
    tensors = {}
    for name, layer in net.items():
        kernel = layer.weight.permute(2, 3, 1, 0)  # rows, columns, inputs, outputs
        for key, value in (("kernel", kernel), ("bias", layer.bias)):
            tensors[f"{name}/{key}"] = value.detach().half().cpu().contiguous()
    metadata = {"preset": "compact", "arguments": "{}", "licence": "Apache-2.0", **notes}
    save_file(tensors, f"{path}.part", metadata=metadata)
    pathlib.Path(f"{path}.part").replace(path)


def load(path, net):
    """Gives `net` the weights in a `.safetensors` file of this project."""
    tensors = load_file(path)
    for name, layer in net.items():
        layer.weight.data.copy_(tensors[f"{name}/kernel"].permute(3, 2, 0, 1))
        layer.bias.data.copy_(tensors[f"{name}/bias"])


# Blur, as in tf_deblur/blurring/motion.py, of a batch at once. A path is (n, poses, 2, 3): from
# where a point is in the sharp picture, in pixels round the centre, to where it is seen.


def warp(image, pose):
    """Samples (n, c, s, s) images at `pose` (n, 2, 3) of each point, bilinear."""
    offset = pose[:, :, 2:] * 2 / image.shape[-1]
    grid = F.affine_grid(torch.cat([pose[:, :, :2], offset], 2), image.shape, align_corners=False)
    return F.grid_sample(image, grid, padding_mode="reflection", align_corners=False)


def blur(light, path, region=None, own=None):
    """The mean of what is seen on a path.

    Args:
      light: (n, 3, s, s), linear or encoded.
      path: (n, poses, 2, 3), the camera's.
      region, own: None, or an (n, 1, s, s) mask in [0, 1] and the path that what is below
        it follows over the background.
    """
    total = torch.zeros_like(light)
    for pose in range(path.shape[1]):
        frame = warp(light, path[:, pose])
        if region is not None:
            front = warp(torch.cat([light, region], 1), own[:, pose])
            frame = torch.lerp(frame, front[:, :3], front[:, 3:])
        total += frame
    return total / path.shape[1]


def walks(n, device):
    """(n, FINE, 2) smooth random walks with inertia, now and then thrown back, in a box of 1."""
    kicks = torch.randn(n, FINE, 2, device=device) * uniform(n, 0, 0.6, device) ** 2
    kicks[:, 0] = torch.randn(n, 2, device=device)
    turns = 1 - 2 * chance(n * FINE, 0.005, device).view(n, FINE, 1).float()
    speed, speeds = torch.zeros(n, 2, device=device), []
    for moment in range(FINE):
        speed = speed * 0.985 * turns[:, moment] + kicks[:, moment]
        speeds.append(speed)
    walk = torch.cumsum(torch.stack(speeds, 1), 1)
    return walk / (walk.amax(1) - walk.amin(1)).amax(1).clamp_min(1e-6).view(n, 1, 1)


def motions(n, least, most, device):
    """Paths of a camera and of a thing before it: (n, FINE, 2, 3) each."""
    middle = chance(n, 0.75, device)  # the sharp picture is the middle moment's, else the mean's

    def path(shift, roll, zoom):
        tracks = torch.cat([shift, roll, zoom], 2)
        mean = tracks.mean(1, keepdim=True)
        tracks = tracks - torch.where(middle, tracks[:, FINE // 2, None], mean)
        x, y, roll, zoom = tracks.unbind(2)
        cos, sin = (1 + zoom) * roll.cos(), (1 + zoom) * roll.sin()
        return torch.stack([cos, -sin, x, sin, cos, y], 2).view(n, FINE, 2, 3)

    extent, own_extent = uniform(n, least, most, device), uniform(n, least, most, device)
    shift, turn = walks(n, device) * extent, walks(n, device)
    roll = turn[..., :1] * uniform(n, 0, math.radians(2), device) * (extent / 20).clamp(max=1)
    zoom = turn[..., 1:] * uniform(n, 0, 8e-4, device) * extent
    angle = uniform(n, 0, 2 * math.pi, device)
    line = torch.linspace(-0.5, 0.5, FINE, device=device).view(1, FINE, 1)
    line = line * torch.cat([angle.cos(), angle.sin()], 2)
    own = torch.where(chance(n, 0.6, device), line, walks(n, device)) * own_extent
    own = own + shift * chance(n, 0.5, device)  # it moves while the camera shakes
    return path(shift, roll, zoom), path(own, 0 * roll, 0 * zoom)


def interpolate(path, times):
    """A path at times (n, poses) in [0, 1] of the exposure."""
    place = times * (FINE - 1)
    before = place.long().clamp(max=FINE - 2)
    row = torch.arange(len(path), device=path.device)[:, None]
    return torch.lerp(path[row, before], path[row, before + 1], (place - before)[..., None, None])


def length(path, side):
    """How far the corner that moves most goes on the longest of some paths, in pixels."""
    corners = [[x * side / 2, y * side / 2, 1] for x in (-1, 1) for y in (-1, 1)]
    moved = path @ torch.tensor(corners, device=path.device).T
    return moved.diff(dim=1).norm(dim=2).sum(1).max().item()


def make_pairs(crops, rng):
    """Blurs (n, 3, s, s) uint8 crops by paths of one kind, each by its own.

    Paths of like lengths need like numbers of poses, so those that are made together are: where
    all are short, few will do. Half of the batches that are not sharp have moving regions.

    Returns:
      blurred, sharp: (n, 3, s - 2 MARGIN, s - 2 MARGIN) uint8.
    """
    n, _, side, _ = crops.shape
    device = crops.device
    _, *extents = KINDS[rng.choice(len(KINDS), p=[share for share, _, _ in KINDS])]
    moving = max(extents) > 0 and rng.random() < 0.5
    encoded = change_tones(crops.float() / 255)
    linear = chance(n, 0.55, device)[..., None]
    light = torch.where(linear, encoded**GAMMA, encoded)
    beyond = (light - 0.75).clamp_min(0) * uniform(n, 0, 6, device)[..., None]
    light = light + beyond * (linear & chance(n, 0.25, device)[..., None])  # lamps, past white

    camera, thing = motions(n, *extents, device)
    farthest = max(length(camera, side), length(thing, side) if moving else 0)
    poses = min(MOST_POSES, 1 + math.ceil(farthest))
    # GoPro's blur is of 7 to 13 frames: a third stand still that often, the others never
    stops = torch.where(
        chance(n, 0.3, device)[..., 0], torch.randint(7, 14, (n, 1), device=device), poses
    ).clamp(max=poses)
    times = (torch.arange(poses, device=device) * stops // poses + 0.5) / stops
    region = None
    if moving:
        noise = torch.randn(n, 1, 5, 5, device=device)
        smooth = F.interpolate(noise, (side, side), mode="bicubic", align_corners=False)
        region = ((smooth - uniform(n, 0, 0.8, device)[..., None]) * 15 + 0.5).clamp(0, 1)
    blurred = blur(light, interpolate(camera, times), region, interpolate(thing, times))
    inner = slice(MARGIN, side - MARGIN)
    pair = (x[:, :, inner, inner].clamp(0, 1) for x in (blurred, light))
    return [eight_bits(torch.where(linear, x ** (1 / GAMMA), x)) for x in pair]


def change_tones(sharp):
    """Some photographs more or less colourful, some brighter or darker, in 8 bits still."""
    n, device = len(sharp), sharp.device
    gain = torch.where(chance(n, 0.3, device), uniform(n, 0.5, 1.5, device), 1.0)[..., None]
    exposure = torch.where(chance(n, 0.3, device), uniform(n, 0.4, 1.25, device), 1.0)[..., None]
    toned = torch.lerp(sharp.mean(1, keepdim=True), sharp, gain).clamp(0, 1) * exposure
    return eight_bits(toned).float() / 255


def uniform(n, low, high, device):
    """(n, 1, 1) random numbers: one for each of a batch."""
    return torch.empty(n, 1, 1, device=device).uniform_(low, high)


def chance(n, share, device):
    return torch.rand(n, 1, 1, device=device) < share


def eight_bits(x):
    return (x.clamp(0, 1) * 255).round().byte()


# From files to batches.


def degrade(blurred, rng):
    """Noise on seven of ten, JPEG of quality 60 to 98 on a third: (n, 3, h, w) uint8."""
    n, device = len(blurred), blurred.device
    sigma = torch.randn(n, 1, 1, 1, device=device) * 2 * chance(n, 0.7, device)[..., None]
    noisy = eight_bits((blurred + sigma * torch.randn(blurred.shape, device=device)) / 255)
    for index in np.flatnonzero(rng.random(n) < 1 / 3):
        pixels, file = noisy[index].permute(1, 2, 0).cpu().numpy(), io.BytesIO()
        Image.fromarray(pixels).save(file, "JPEG", quality=int(rng.integers(60, 99)))
        noisy[index] = read(file, device)
    return noisy


def read(path, device):
    pixels = torch.from_numpy(np.array(Image.open(path).convert("RGB")))
    return pixels.permute(2, 0, 1).contiguous().to(device)  # (3, h, w) uint8


def read_all(folder, device):
    """Every picture below a folder, by its name: the path in it, without suffix."""
    kinds = (".jpg", ".jpeg", ".png", ".webp")
    files = sorted(p for p in pathlib.Path(folder).glob("**/*") if p.suffix.lower() in kinds)
    if not files:
        raise SystemExit(f"error: {folder}: no JPEG, PNG or WebP files in it")
    names = [path.relative_to(folder).with_suffix("").as_posix() for path in files]
    with concurrent.futures.ThreadPoolExecutor() as pool:
        return dict(zip(names, pool.map(lambda path: read(path, device), files)))


def choose_held_out(names):
    """One in eight, by hashes of the names: `tf_deblur.datasets.choose_held_out`, here alone."""
    hashes = {n: int(hashlib.sha256(n.encode()).hexdigest(), 16) for n in names}
    least = sorted(hashes, key=lambda name: hashes[name])[:1]
    held = [name for name, number in hashes.items() if number % 8 == 0] or least
    return set(sorted(held)[: len(hashes) - 1])


def read_gopro(folder, device):
    """(6, h, w) uint8 pairs, blurred above sharp: those to train on, those to validate on."""
    train, validation = [], []
    for blurred in sorted(pathlib.Path(folder).glob("*/blur/*.*")):
        sequence = blurred.parents[1]
        both = blurred, sequence / "sharp" / blurred.name
        pair = torch.cat([read(path, device) for path in both])
        (validation if sequence.name in VALIDATION else train).append(pair)
    return train, validation


def scale(photograph, factor):
    size = [int(side * factor) for side in photograph.shape[1:]]
    how = {"mode": "area"} if factor < 1 else {"mode": "bicubic", "align_corners": False}
    return eight_bits(F.interpolate(photograph[None] / 255, size, **how)[0])


class Bank:
    """Pictures (c, h, w) from which square crops are cut, more where there is more texture."""

    STRIDE = 16

    def __init__(self, pictures, side, least=12.0):
        self.side, self.items = side, []
        for picture in pictures:
            grey = picture.float().mean(0)[None, None]
            if min(grey.shape[2:]) < side:
                continue
            mean, square = (F.avg_pool2d(x, side, self.STRIDE)[0, 0] for x in (grey, grey**2))
            corners = ((square - mean**2).clamp_min(0).sqrt() > least).nonzero() * self.STRIDE
            if len(corners):
                self.items.append((picture, corners.cpu().numpy()))
        if pictures and not self.items:
            raise SystemExit(f"error: no picture with texture of at least {side}x{side} pixels")
        self.counts = np.array([len(corners) for _, corners in self.items], float)

    def crops(self, count, rng):
        crops = []
        for index in rng.choice(len(self.items), count, p=self.counts / self.counts.sum()):
            picture, corners = self.items[index]
            corner = rng.choice(corners) + rng.integers(self.STRIDE, size=2)
            y, x = np.minimum(corner, np.array(picture.shape[1:]) - self.side)
            crops.append(picture[:, y : y + self.side, x : x + self.side])
        return torch.stack(crops)


class Ring:
    """The newest pairs on the device, (size, 6, side, side) uint8."""

    def __init__(self, size, side, device):
        self.pairs = torch.empty(size, 6, side, side, dtype=torch.uint8, device=device)
        self.put = self.filled = 0

    def add(self, blurred, sharp):
        places = (torch.arange(len(blurred), device=blurred.device) + self.put) % len(self.pairs)
        self.pairs[places] = torch.cat([blurred, sharp], 1)
        self.put = (self.put + len(blurred)) % len(self.pairs)
        self.filled = min(len(self.pairs), self.filled + len(blurred))

    def batch(self, count, patch, rng):
        """Patches from random places, an eighth turned and mirrored in each of the eight ways."""
        which = rng.integers(self.filled, size=count)
        corners = rng.integers(self.pairs.shape[-1] - patch + 1, size=(count, 2))
        patches = [
            self.pairs[i, :, y : y + patch, x : x + patch] for i, (y, x) in zip(which, corners)
        ]
        turned = []
        for way, part in enumerate(torch.stack(patches).chunk(8)):
            order = rng.permutation(3) if rng.random() < 0.3 else np.arange(3)  # of the colours
            part = torch.rot90(part[:, [*order, *(order + 3)]], way, (2, 3))
            turned.append(part.flip(2) if way > 3 else part)
        return (torch.cat(turned).float() / 255).chunk(2, 1)


# Training.


def loss_of(restored, sharp):
    """Charbonnier's, and a twentieth of the difference of the spectra."""
    difference = restored - sharp
    waves = torch.fft.rfft2(difference, norm="ortho")
    return (difference**2 + 1e-6).sqrt().mean() + 0.05 * torch.view_as_real(waves).abs().mean()


def psnr(picture, sharp):
    error = (eight_bits(picture).float() - sharp) / 255
    return -10 * error.square().mean().clamp_min(1e-6).log10().item()


@torch.no_grad()
def score(net, pairs):
    """Mean PSNR of (6, h, w) pairs, blurred and restored, in 8 bits."""
    results = []
    for pair in pairs:
        blurred, sharp = pair[None].float().chunk(2, 1)
        results.append([psnr(x, sharp) for x in (blurred / 255, net(blurred / 255))])
    return "{:.2f} -> {:.3f} dB".format(*np.mean(results, 0))


class Run:
    """A network in training, the average of its weights, and what it goes on from."""

    def __init__(self, told):
        self.told, self.step, self.seconds = told, 0, 0.0
        self.net = Compact().to(told.device, memory_format=torch.channels_last)
        if told.init_from:
            load(told.init_from, self.net)
        mean = swa_utils.get_ema_multi_avg_fn(0.999)
        self.average = swa_utils.AveragedModel(self.net, multi_avg_fn=mean)
        self.optimizer = torch.optim.AdamW(
            self.net.parameters(), betas=(0.9, 0.99), weight_decay=1e-4
        )
        self.parts = {"net": self.net, "average": self.average, "optimizer": self.optimizer}
        self.path = pathlib.Path(told.output) / "state.pt"
        if self.path.exists():
            state = torch.load(self.path, map_location=told.device)
            self.step, self.seconds = state["step"], state["seconds"]
            for name, part in self.parts.items():
                part.load_state_dict(state[name])
        self.fast = torch.compile(self.net) if told.device == "cuda" else self.net

    def gradients(self, blurred, sharp):
        with torch.autocast(self.told.device, torch.bfloat16):
            restored = self.fast(blurred.contiguous(memory_format=torch.channels_last))
        loss = loss_of(restored.float(), sharp)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        return loss.detach()

    def train_step(self, blurred, sharp):
        share = min(1, self.seconds / (60 * self.told.minutes))
        rate = 0.002 + 0.998 * (1 + math.cos(math.pi * share)) / 2
        for group in self.optimizer.param_groups:
            group["lr"] = self.told.learning_rate * rate * min(1, (self.step + 1) / 300)
        loss = self.gradients(blurred, sharp)
        nn.utils.clip_grad_norm_(self.net.parameters(), 1.0)
        self.optimizer.step()
        self.average.update_parameters(self.net)
        self.step += 1
        return loss

    def check(self, loss):
        if not math.isfinite(loss):
            raise SystemExit(f"error: loss {loss} at step {self.step}; {self.path} is from before")

    def save(self, made_from):
        state = {name: part.state_dict() for name, part in self.parts.items()}
        part = self.path.with_suffix(".part")
        torch.save({**state, "step": self.step, "seconds": self.seconds}, part)
        part.replace(self.path)
        told = self.told
        device = torch.cuda.get_device_name() if told.device == "cuda" else "a processor"
        trained = (
            f"{self.step:,} steps of {told.batch} patches of {told.patch}x{told.patch}, "
            f"content loss, {self.seconds / 60:.1f} minutes on {device}, by examples/pretrain.py"
        )
        path = self.path.parent / "compact.safetensors"
        save(path, self.average.module, trained=trained, data=made_from)


def flags():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--photographs", required=True, help="sharp ones; one in eight is held out")
    parser.add_argument("--more", help="sharp photographs of which none is held out")
    parser.add_argument("--gopro", help="GoPro's train/: SEQUENCE/blur and SEQUENCE/sharp")
    parser.add_argument("--output", required=True, help="folder for weights and the run's state")
    parser.add_argument("--init_from", help="a .safetensors file of `compact` to start from")
    parser.add_argument("--minutes", type=float, default=11)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--patch", type=int, default=256, help="a multiple of 16")
    parser.add_argument("--ring", type=int, default=24000, help="pairs kept on the device")
    parser.add_argument("--made", type=int, default=32, help="pairs made at once")
    parser.add_argument("--every", type=int, default=4, help="steps from making to making")
    parser.add_argument("--learning_rate", type=float, default=1e-3)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    return parser.parse_args()


def main():
    told, rng = flags(), np.random.default_rng()
    torch.backends.cudnn.benchmark = True
    torch.set_float32_matmul_precision("high")
    pathlib.Path(told.output).mkdir(parents=True, exist_ok=True)

    side = told.patch + 64  # of a pair: a patch is cut from a random place in it
    photographs = read_all(told.photographs, told.device)
    held = [photographs.pop(name) for name in sorted(choose_held_out(photographs))]
    train = [*photographs.values()]
    train += read_all(told.more, told.device).values() if told.more else []
    pairs, frames = read_gopro(told.gopro, told.device) if told.gopro else ([], [])
    made_from = f"blur made from {len(train)} photographs, {len(pairs)} pairs of GoPro"
    sizes = [scale(p, by) for p in train for by in (1, 0.7, 0.5, 1.35)]
    bank, held_out = (Bank(p, side + 2 * MARGIN) for p in (sizes, held))
    bank_of_pairs = Bank(pairs, side)
    ring, run = Ring(told.ring, side, told.device), Run(told)

    def fill():
        if pairs and rng.random() < PAIRS_SHARE:
            blurred, sharp = bank_of_pairs.crops(told.made, rng).chunk(2, 1)
        else:
            blurred, sharp = make_pairs(bank.crops(told.made, rng), rng)
        ring.add(degrade(blurred, rng), sharp)

    judged = {"GoPro": frames} if frames else {}
    made = [torch.cat(make_pairs(held_out.crops(8, rng), rng), 1) for _ in range(4)]
    judged["held-out photographs"] = torch.cat(made)
    while ring.filled < told.ring // 2:
        fill()
    run.gradients(*ring.batch(told.batch, told.patch, rng))  # compiles, before the clock starts
    print(f"{made_from}; {ring.filled} of them to begin with; step {run.step}", flush=True)

    before, began = run.seconds, time.time()
    shown = began
    while run.seconds < 60 * told.minutes:
        if run.step % told.every == 0:
            fill()
        loss = run.train_step(*ring.batch(told.batch, told.patch, rng))
        if run.step % 10 == 0:  # waits for the device, so that the clock is right
            run.check(loss.item())
        run.seconds = before + time.time() - began
        if time.time() - shown > 60 or run.seconds >= 60 * told.minutes:
            run.check(loss.item())
            run.save(made_from)
            scores = [f"{name} {score(run.average, on)}" for name, on in judged.items()]
            print(f"{run.seconds / 60:.1f} min, step {run.step}:", "; ".join(scores), flush=True)
            shown = time.time()


if __name__ == "__main__":
    main()

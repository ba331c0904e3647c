// Runs a `.tflite` file on a photograph, tile by tile, beside the page. A classic worker: LiteRT.js
// loads its WebAssembly by importScripts, which a module worker does not have.
"use strict";

const RUNTIME = new URL("litert/", self.location);
let network; // once it was asked for, a promise
let wanted; // the photograph that was asked for last, if it is not cancelled

class Told extends Error {} // its message is for the user

self.onmessage = async ({ data: { id, bitmap, model } }) => {
  wanted = id;
  if (!bitmap) return;
  try {
    self.postMessage({ id });
    network ??= load(model);
    const restored = await restore(bitmap, await network, id);
    if (restored) self.postMessage({ id, restored });
  } catch (error) {
    const why = `This device could not do it: ${error.message || error}. Try a smaller photograph.`;
    self.postMessage({ id, failed: error instanceof Told ? error.message : why });
  }
};

async function load(name) {
  const litert = await import(new URL("index.js", RUNTIME)).catch(() => { throw missing("litert/index.js"); });
  const facts = await fetched(`${name}.json`, (reply) => reply.json());
  const bytes = await fetched(`${name}.tflite`, (reply) => reply.arrayBuffer());
  // threads share memory, which browsers allow to isolated pages only, and want relaxed SIMD too
  const threads = self.crossOriginIsolated && (await litert.supportsFeature("relaxedSimd"));
  self.Module = {
    locateFile: (file) => new URL(`wasm/${file}`, RUNTIME).href,
    // what each thread begins with; without it they wait for ever
    mainScriptUrlOrBlob: new URL("wasm/litert_wasm_threaded_internal.js", RUNTIME).href,
  };
  await litert.loadLiteRt(new URL("wasm/", RUNTIME).href, { threads });
  const compiled = await litert.loadAndCompile(new Uint8Array(bytes), { accelerator: "wasm" })
    .catch(() => { throw new Told(`“${name}.tflite” does not open: it is damaged.`); });
  const [{ name: input, shape, dtype, range }] = facts.inputs;
  const [{ name: output }] = facts.outputs;
  const run = async () => {
    const tensor = new litert.Tensor(blurred, shape);
    const results = await compiled.run(facts.signature, { [input]: tensor });
    const restored = results[output].toTypedArray();
    tensor.delete();
    results[output].delete();
    return restored;
  };
  const blurred = new (dtype === "uint8" ? Uint8Array : Float32Array)(shape[1] * shape[2] * 3);
  return {
    run, blurred, scale: 255 / range[1], height: shape[1], width: shape[2],
    margin: facts.margin, multiple: facts.size_multiple,
  };
}

async function fetched(file, read) {
  const reply = await fetch(file, { cache: "no-cache" }).catch(() => null); // asks for what is new
  if (!reply?.ok) throw missing(file);
  return read(reply);
}

function missing(file) {
  return new Told(`“${file}” did not load. Is the server still there?`);
}

// The restored photograph as a PNG; nothing where it is cancelled meanwhile.
async function restore(bitmap, network, id) {
  const { width, height } = bitmap;
  const before = canvas(width, height);
  before.drawImage(bitmap, 0, 0);
  bitmap.close();
  const after = canvas(width, height);
  const rows = spans(height, network.height, network);
  const columns = spans(width, network.width, network);
  let done = 0;
  for (const row of rows) {
    for (const column of columns) {
      self.postMessage({ id, done: done++ / (rows.length * columns.length) });
      await new Promise((next) => setTimeout(next)); // hears of its cancelling
      if (wanted !== id) return null;
      const seen = before.getImageData(column.start, row.start, column.seen, row.seen);
      fill(network, seen);
      put(await network.run(), seen, network);
      after.putImageData(
        seen, column.start, row.start, column.from - column.start, row.from - row.start,
        column.to - column.from, row.to - row.from,
      );
    }
  }
  return after.canvas.convertToBlob({ type: "image/png" });
}

function canvas(width, height) {
  const context = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
  if (!context) throw new Told("The photograph is too large for this browser.");
  return context;
}

// Where tiles of one size lie along an axis, by the rule of `restoring/tiling.py`: what is kept of a
// tile lies the margin away from each end where the photograph goes on. The last one is shifted
// inward, and ends where the photograph does when its side is filled up to the multiple.
function spans(length, tile, { margin, multiple }) {
  const last = Math.max(0, Math.ceil(length / multiple) * multiple - tile);
  const step = tile - 2 * margin;
  const found = [];
  for (let start = 0, from = 0; from < length; start = Math.min(start + step, last)) {
    const to = start === last ? length : start + tile - margin;
    found.push({ start, from, to, seen: Math.min(tile, length - start) });
    from = to;
  }
  return found;
}

// RGBA bytes -> RGB as the network takes it; beyond the lower and right border it is mirrored.
function fill({ blurred, scale, ...tile }, { data, width, height }) {
  let place = 0;
  for (let y = 0; y < tile.height; y++) {
    const row = mirrored(y, height) * width;
    for (let x = 0; x < tile.width; x++) {
      const pixel = 4 * (row + mirrored(x, width));
      blurred[place++] = data[pixel] / scale;
      blurred[place++] = data[pixel + 1] / scale;
      blurred[place++] = data[pixel + 2] / scale;
    }
  }
}

// 0 1 2 1 0 1 …: the border itself is not repeated.
function mirrored(index, length) {
  if (index < length) return index;
  const period = Math.max(2 * (length - 1), 1);
  return Math.min(index % period, period - (index % period));
}

// The other way: such bytes round to the nearest by themselves. Transparency stays.
function put(restored, { data, width, height }, { scale, ...tile }) {
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const pixel = 4 * (y * width + x);
      const place = 3 * (y * tile.width + x);
      for (let channel = 0; channel < 3; channel++) data[pixel + channel] = scale * restored[place + channel];
    }
  }
}

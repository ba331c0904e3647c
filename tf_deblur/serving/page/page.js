// A photograph goes to the server as it is seen (turned by its EXIF), comes back restored, and both
// lie on each other under one border.
"use strict";

const MOST_ZOOM = 16;
const STEP = 1.5;
const MOST_MEGAPIXELS = 100; // more than a canvas of some browsers holds
const WORDS = {
  413: "The photograph is too large for this server.",
  429: "The server has too much to do just now. Try again in a moment.",
  503: "The server is busy or stopping. Try again in a moment.",
  504: "It took too long, so the server gave up. Try a smaller photograph.",
};

const $ = (id) => document.getElementById(id);
const model = document.documentElement.dataset.model;
const view = { split: 50, zoom: 1, x: 0, y: 0, width: 1, height: 1 };
let busy = false;
let urls = [];

class Told extends Error {} // its message is for the user

// ---------------------------------------------------------------- restoring

async function restore(file) {
  if (busy) return;
  begin();
  const started = performance.now();
  const clock = setInterval(() => {
    $("seconds").textContent = `${Math.round((performance.now() - started) / 1000)} s`;
  }, 1000);
  try {
    const { blob, width, height } = await upright(file);
    $("doing").textContent = `Restoring ${width} × ${height} pixels …`;
    const restored = await ask(blob);
    const seconds = ((performance.now() - started) / 1000).toFixed(1);
    await show(blob, restored, file.name);
    $("facts").textContent = `${width} × ${height} pixels, ${seconds} s`;
  } catch (error) {
    fail(error instanceof Told ? error.message : "Something went wrong on this page: " + error.message);
  } finally {
    clearInterval(clock);
    end();
  }
}

// The file's pixels as a PNG, the right way up.
async function upright(file) {
  let bitmap;
  try {
    bitmap = await createImageBitmap(file, { imageOrientation: "from-image" });
  } catch {
    throw new Told(`“${file.name}” is not a picture that this browser can read. Use JPEG, PNG or WebP.`);
  }
  const { width, height } = bitmap;
  if (width * height > MOST_MEGAPIXELS * 1e6) {
    throw new Told(`${width} × ${height} pixels are too many for this page. Use “tf-deblur deblur”.`);
  }
  const canvas = document.createElement("canvas");
  canvas.width = width;
  canvas.height = height;
  canvas.getContext("2d").drawImage(bitmap, 0, 0);
  bitmap.close();
  const blob = await new Promise((done) => canvas.toBlob(done, "image/png"));
  if (!blob) throw new Told("The photograph is too large for this browser.");
  return { blob, width, height };
}

async function ask(blob) {
  const body = JSON.stringify({ instances: [{ b64: await base64(blob) }] });
  let reply;
  try {
    reply = await fetch(`v1/models/${encodeURIComponent(model)}:predict`, { method: "POST", body });
  } catch {
    throw new Told("The server does not answer. Is it still running?");
  }
  const told = await reply.json().catch(() => ({}));
  if (!reply.ok) {
    const own = (told.error || `The server answered ${reply.status}.`).split("\n")[0];
    throw new Told(WORDS[reply.status] || `The server could not restore it: ${own}`);
  }
  const restored = told.predictions?.[0]?.b64;
  if (!restored) throw new Told(`The model “${model}” does not give pictures back.`);
  const bytes = Uint8Array.from(atob(restored), (letter) => letter.charCodeAt(0));
  return new Blob([bytes], { type: "image/png" });
}

async function base64(blob) {
  const reader = new FileReader();
  reader.readAsDataURL(blob);
  await new Promise((done) => { reader.onloadend = done; });
  return reader.result.slice(reader.result.indexOf(",") + 1);
}

function begin() {
  busy = true;
  $("drop").classList.add("busy");
  $("error").hidden = true;
  $("working").hidden = false;
  $("doing").textContent = "Reading the photograph …";
  $("seconds").textContent = "";
}

function end() {
  busy = false;
  $("drop").classList.remove("busy");
  $("working").hidden = true;
  $("file").value = ""; // the same file may be chosen again
}

function fail(words) {
  $("error").textContent = words;
  $("error").hidden = false;
}

// ---------------------------------------------------------------- before and after

async function show(before, after, name) {
  urls.forEach(URL.revokeObjectURL);
  urls = [before, after].map((blob) => URL.createObjectURL(blob));
  [$("before").src, $("after").src] = urls;
  await Promise.all([$("before").decode(), $("after").decode()]);
  view.width = $("after").naturalWidth;
  view.height = $("after").naturalHeight;
  $("download").href = urls[1];
  $("download").download = name.replace(/\.[^.]*$/, "") + "_restored.png";
  $("drop").classList.add("small");
  $("invitation").innerHTML = "<strong>Another photograph</strong>";
  $("result").hidden = false;
  Object.assign(view, { split: 50, zoom: 1, x: 0, y: 0 });
  fitStage();
  $("handle").focus({ preventScroll: true });
  $("result").scrollIntoView({ block: "nearest" });
}

// As wide as the page, but never higher than most of the window.
function fitStage() {
  const most = Math.max(240, window.innerHeight * 0.72);
  const room = $("result").clientWidth;
  const width = Math.min(room, (most * view.width) / view.height);
  $("stage").style.width = `${width}px`;
  $("stage").style.height = `${(width * view.height) / view.width}px`;
  draw();
}

function draw() {
  const { clientWidth: width, clientHeight: height } = $("stage");
  view.x = Math.min(0, Math.max(view.x, width * (1 - view.zoom)));
  view.y = Math.min(0, Math.max(view.y, height * (1 - view.zoom)));
  const move = `translate(${view.x}px, ${view.y}px) scale(${view.zoom})`;
  $("before").style.transform = $("after").style.transform = move;
  const shown = (width * view.zoom) / view.width; // screen pixels for one of the picture
  $("stage").classList.toggle("close", shown > 3);
  $("stage").style.setProperty("--split", `${view.split}%`);
  $("handle").setAttribute("aria-valuenow", Math.round(view.split));
  $("handle").setAttribute("aria-valuetext", `${Math.round(view.split)} % before`);
  $("tag-before").style.opacity = view.split > 12 ? 1 : 0;
  $("tag-after").style.opacity = view.split < 88 ? 1 : 0;
  $("scale").textContent = `${Math.round(view.zoom * 100)} %`;
  $("out").disabled = view.zoom <= 1;
  $("in").disabled = view.zoom >= MOST_ZOOM;
}

function split(percent) {
  view.split = Math.min(100, Math.max(0, percent));
  draw();
}

// Zooms so that the picture's point under (x, y) of the stage stays there.
function zoom(factor, x = $("stage").clientWidth / 2, y = $("stage").clientHeight / 2) {
  const to = Math.min(MOST_ZOOM, Math.max(1, view.zoom * factor));
  view.x = x - ((x - view.x) * to) / view.zoom;
  view.y = y - ((y - view.y) * to) / view.zoom;
  view.zoom = to;
  draw();
}

// ---------------------------------------------------------------- pointer and keys

const pointers = new Map(); // those that touch the stage
let dragsBorder = false;

function place(event) {
  const box = $("stage").getBoundingClientRect();
  return { x: event.clientX - box.left, y: event.clientY - box.top };
}

function spread() {
  const [a, b] = [...pointers.values()];
  return { distance: Math.hypot(a.x - b.x, a.y - b.y), x: (a.x + b.x) / 2, y: (a.y + b.y) / 2 };
}

$("stage").addEventListener("pointerdown", (event) => {
  if (event.button) return;
  $("stage").setPointerCapture(event.pointerId);
  pointers.set(event.pointerId, place(event));
  // unzoomed there is nothing to move, so the whole picture drags the border
  dragsBorder = pointers.size === 1 && (view.zoom === 1 || $("handle").contains(event.target));
  $("stage").classList.toggle("moving", !dragsBorder);
  if (dragsBorder) split((place(event).x / $("stage").clientWidth) * 100);
});

$("stage").addEventListener("pointermove", (event) => {
  const before = pointers.get(event.pointerId);
  if (!before) return;
  const now = place(event);
  if (pointers.size === 2) {
    const old = spread();
    pointers.set(event.pointerId, now);
    const fresh = spread();
    view.x += fresh.x - old.x;
    view.y += fresh.y - old.y;
    return zoom(fresh.distance / Math.max(old.distance, 1), fresh.x, fresh.y);
  }
  pointers.set(event.pointerId, now);
  if (dragsBorder) return split((now.x / $("stage").clientWidth) * 100);
  view.x += now.x - before.x;
  view.y += now.y - before.y;
  draw();
});

for (const kind of ["pointerup", "pointercancel"]) {
  $("stage").addEventListener(kind, (event) => {
    pointers.delete(event.pointerId);
    dragsBorder = false;
    $("stage").classList.remove("moving");
  });
}

$("stage").addEventListener("wheel", (event) => {
  event.preventDefault();
  const { x, y } = place(event);
  zoom(Math.exp(-event.deltaY / (event.deltaMode ? 20 : 400)), x, y);
}, { passive: false });

$("handle").addEventListener("keydown", (event) => {
  const step = event.shiftKey ? 10 : 2;
  const to = {
    ArrowLeft: view.split - step, ArrowDown: view.split - step,
    ArrowRight: view.split + step, ArrowUp: view.split + step,
    PageDown: view.split - 10, PageUp: view.split + 10, Home: 0, End: 100,
  }[event.key];
  if (to === undefined) return;
  event.preventDefault();
  split(to);
});

document.addEventListener("keydown", (event) => {
  if ($("result").hidden || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "+" || event.key === "=") zoom(STEP);
  if (event.key === "-") zoom(1 / STEP);
  if (event.key === "0") zoom(0);
});

$("in").addEventListener("click", () => zoom(STEP));
$("out").addEventListener("click", () => zoom(1 / STEP));
$("fit").addEventListener("click", () => zoom(0));
window.addEventListener("resize", () => { if (!$("result").hidden) fitStage(); });

// ---------------------------------------------------------------- choosing

$("file").addEventListener("change", () => { if ($("file").files[0]) restore($("file").files[0]); });

document.addEventListener("dragover", (event) => {
  event.preventDefault();
  $("drop").classList.add("over");
});
document.addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) $("drop").classList.remove("over");
});
document.addEventListener("drop", (event) => {
  event.preventDefault();
  $("drop").classList.remove("over");
  const file = event.dataTransfer.files[0];
  if (file) restore(file);
});
document.addEventListener("paste", (event) => {
  const file = [...(event.clipboardData?.files || [])][0];
  if (file) restore(file);
});

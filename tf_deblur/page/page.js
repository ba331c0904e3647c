// A photograph is chosen here and restored elsewhere; both lie on each other under one border. Who
// restores it says so by `start`: the server behind the page, or the network in the browser.

const MOST_ZOOM = 16;
const STEP = 1.5;
const MOST_MEGAPIXELS = 100; // more than a canvas of some browsers holds

const $ = (id) => document.getElementById(id);
const view = { split: 50, zoom: 1, x: 0, y: 0, width: 1, height: 1 };
let restoring; // stops the photograph under way
let clock;
let urls = [];
let restore;

export const model = document.documentElement.dataset.model;

export class Told extends Error {} // its message is for the user

// restore(bitmap, tell, signal) -> the restored photograph as a Blob. It closes the bitmap, may
// tell(words, part done) what it is at, and is stopped by the signal when another one is chosen.
export function start(restorePhotograph) {
  restore = restorePhotograph;
}

// For a browser that cannot do it.
export function refuse(words) {
  fail(words);
  $("drop").hidden = true;
}

// ---------------------------------------------------------------- one photograph

async function take(file) {
  if (!restore) return;
  restoring?.abort();
  const own = (restoring = new AbortController());
  begin();
  const started = performance.now();
  clock = setInterval(() => {
    $("seconds").textContent = `${Math.round((performance.now() - started) / 1000)} s`;
  }, 1000);
  try {
    const bitmap = await open(file);
    if (own.signal.aborted) return bitmap.close(); // a smaller one was read sooner
    const { width, height } = bitmap;
    const tell = (words, done) => own.signal.aborted || say(words, done);
    tell(`Restoring ${width} × ${height} pixels …`);
    const restored = await restore(bitmap, tell, own.signal);
    const seconds = ((performance.now() - started) / 1000).toFixed(1);
    if (own.signal.aborted) return;
    await show(file, restored);
    $("facts").textContent = `${width} × ${height} pixels, ${seconds} s`;
  } catch (error) {
    if (own.signal.aborted) return;
    fail(error instanceof Told ? error.message : "Something went wrong on this page: " + error.message);
  } finally {
    if (restoring === own) end();
  }
}

// The file's pixels, turned by its EXIF.
async function open(file) {
  let bitmap;
  try {
    bitmap = await createImageBitmap(file, { imageOrientation: "from-image" });
  } catch {
    throw new Told(`“${file.name}” is not a picture that this browser can read. Use JPEG, PNG or WebP.`);
  }
  const { width, height } = bitmap;
  if (width * height > MOST_MEGAPIXELS * 1e6) {
    bitmap.close();
    throw new Told(`${width} × ${height} pixels are too many for this page. Use “tf-deblur deblur”.`);
  }
  return bitmap;
}

function begin() {
  clearInterval(clock);
  $("error").hidden = true;
  $("working").hidden = false;
  $("seconds").textContent = "";
  say("Reading the photograph …");
}

function say(words, done) {
  if ($("doing").textContent !== words) $("doing").textContent = words; // it is read aloud
  if (done === undefined) $("progress").removeAttribute("value"); // goes to and fro
  else $("progress").value = done;
}

function end() {
  clearInterval(clock);
  $("working").hidden = true;
  $("file").value = ""; // the same file may be chosen again
}

function fail(words) {
  $("error").textContent = words;
  $("error").hidden = false;
}

// ---------------------------------------------------------------- before and after

async function show(before, after) {
  urls.forEach(URL.revokeObjectURL);
  urls = [before, after].map((blob) => URL.createObjectURL(blob));
  [$("before").src, $("after").src] = urls;
  await Promise.all([$("before").decode(), $("after").decode()]);
  view.width = $("after").naturalWidth;
  view.height = $("after").naturalHeight;
  $("download").href = urls[1];
  $("download").download = before.name.replace(/\.[^.]*$/, "") + "_restored.png";
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

$("file").addEventListener("change", () => { if ($("file").files[0]) take($("file").files[0]); });

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
  if (file) take(file);
});
document.addEventListener("paste", (event) => {
  const file = [...(event.clipboardData?.files || [])][0];
  if (file) take(file);
});

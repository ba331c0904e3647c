// A photograph before and after, on each other under one border. The restored one lies above, as
// opaque as it is strong.

const MOST_ZOOM = 16;
const STEP = 1.5;

const $ = (id) => document.getElementById(id);
const view = { split: 50, zoom: 1, x: 0, y: 0, width: 1, height: 1 };
let urls = [];

export async function show(before, after) {
  urls.forEach(URL.revokeObjectURL);
  const own = (urls = [before, after].map((blob) => URL.createObjectURL(blob)));
  [$("before").src, $("after").src] = urls;
  await Promise.allSettled([$("before").decode(), $("after").decode()]);
  if (own !== urls) return; // others are shown, or none
  view.width = $("after").naturalWidth;
  view.height = $("after").naturalHeight;
  $("result").hidden = false;
  Object.assign(view, { split: 50, zoom: 1, x: 0, y: 0 });
  fitStage();
}

export function hide() {
  $("result").hidden = true;
  urls.forEach(URL.revokeObjectURL);
  urls = [];
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

// Photographs are chosen here, a row each, and restored elsewhere. Who restores them says so by
// `start`: the server behind the page, or the network in the browser.
import { hide, show } from "./stage.js";
import { zip } from "./zip.js";

const MOST_MEGAPIXELS = 100; // more than a canvas of some browsers holds
const THUMBNAIL = 96;

const $ = (id) => document.getElementById(id);
const photographs = new Set(); // each waits, works, is done or failed
let restore;
let atOnce;
let shown;

export const model = document.documentElement.dataset.model;

export class Told extends Error {} // its message is for the user

// restore(bitmap, tell, signal) -> the restored photograph as a Blob, of so many at once. It closes
// the bitmap, may tell(words, part done) what it is at, and is stopped by the signal.
export function start(restorePhotograph, most) {
  [restore, atOnce] = [restorePhotograph, most];
}

// For a browser that cannot do it.
export function refuse(words) {
  fail(words);
  $("drop").hidden = true;
}

function fail(words) {
  $("error").textContent = words;
  $("error").hidden = !words;
}

// ---------------------------------------------------------------- photographs and their rows

function take(files) {
  if (!restore || !files.length) return;
  fail("");
  const batch = { shown: false }; // the first of it that is done is shown
  for (const file of files) add(file, batch);
  $("file").value = ""; // the same file may be chosen again
  $("drop").classList.add("small");
  $("invitation").innerHTML = "<strong>More photographs</strong>";
  next();
}

function add(file, batch) {
  const row = $("row").content.firstElementChild.cloneNode(true);
  const find = (name) => row.querySelector(`.${name}`);
  const photograph = { file, batch, row, find };
  find("name").textContent = find("name").title = file.name;
  find("progress").setAttribute("aria-label", file.name);
  for (const [name, words, act] of [
    ["show", "Show", () => look(photograph).then(() => $("result").scrollIntoView({ block: "nearest" }))],
    ["again", "Try again", () => { wait(photograph); next(); }],
    ["save", "Download", () => download(photograph)],
    ["remove", "Cancel", () => { remove(photograph); next(); }],
  ]) {
    find(name).setAttribute("aria-label", `${words}: ${file.name}`);
    find(name).title ||= words;
    find(name).addEventListener("click", act);
  }
  photographs.add(photograph);
  $("list").append(row);
  wait(photograph);
}

function wait(photograph) {
  photograph.stop = new AbortController();
  enter(photograph, "waits", "Waiting …");
}

function enter(photograph, state, words, done) {
  photograph.state = photograph.row.dataset.state = state;
  photograph.find("show").disabled = state !== "done";
  photograph.find("words").textContent = words;
  photograph.find("words").role = state === "failed" ? "alert" : null; // is read aloud
  if (done === undefined) photograph.find("progress").removeAttribute("value"); // goes to and fro
  else photograph.find("progress").value = done;
}

// Lets the next ones begin, and says how far all are.
function next() {
  for (const photograph of photographs) {
    if (count("works") >= atOnce) break;
    if (photograph.state === "waits") work(photograph);
  }
  const [done, failed, all] = [count("done"), count("failed"), photographs.size];
  const busy = done + failed < all;
  $("all").hidden = !all;
  $("told").textContent = (busy ? `${done} of ${all} restored` : `${done} restored`) + (failed ? `, ${failed} failed` : "");
  $("download-all").hidden = done < 2;
  $("cancel-all").textContent = busy ? "Cancel all" : "Clear";
}

function count(state) {
  return [...photographs].filter((photograph) => photograph.state === state).length;
}

async function work(photograph) {
  const { file, batch, stop: { signal } } = photograph;
  const started = performance.now();
  const seconds = () => (performance.now() - started) / 1000;
  let said = ["Reading …"];
  const tell = (...more) => {
    if (more.length) said = more;
    if (!signal.aborted) enter(photograph, "works", `${said[0]} ${seconds().toFixed(0)} s`, said[1]);
  };
  tell();
  const clock = setInterval(tell, 1000);
  try {
    const bitmap = await open(file);
    if (signal.aborted) return bitmap.close();
    const size = `${bitmap.width} × ${bitmap.height} pixels`;
    draw(photograph, bitmap);
    tell(`Restoring ${size} …`);
    photograph.restored = await restore(bitmap, tell, signal);
    if (signal.aborted) return;
    enter(photograph, "done", `${size}, ${seconds().toFixed(1)} s`);
    photograph.find("remove").setAttribute("aria-label", `Remove: ${file.name}`);
    photograph.find("remove").title = "Remove";
  } catch (error) {
    if (signal.aborted) return;
    enter(photograph, "failed", error instanceof Told ? error.message : `Something went wrong on this page: ${error.message}`);
  } finally {
    clearInterval(clock);
    next();
  }
  if (photograph.state === "done" && !batch.shown) {
    batch.shown = true;
    await look(photograph);
    // whoever waits for it has it under the keys; whoever does something else is left alone
    if ([document.body, $("file")].includes(document.activeElement)) $("handle").focus({ preventScroll: true });
  }
}

// The file's pixels, turned by its EXIF.
async function open(file) {
  let bitmap;
  try {
    bitmap = await createImageBitmap(file, { imageOrientation: "from-image" });
  } catch {
    throw new Told("Not a picture that this browser can read. Use JPEG, PNG or WebP.");
  }
  const { width, height } = bitmap;
  if (width * height > MOST_MEGAPIXELS * 1e6) {
    bitmap.close();
    throw new Told(`${width} × ${height} pixels are too many for this page. Use “tf-deblur deblur”.`);
  }
  return bitmap;
}

function draw(photograph, bitmap) {
  const canvas = photograph.find("thumbnail");
  const scale = Math.max(THUMBNAIL / bitmap.width, THUMBNAIL / bitmap.height);
  const [width, height] = [bitmap.width * scale, bitmap.height * scale];
  canvas.width = canvas.height = THUMBNAIL;
  canvas.getContext("2d").drawImage(bitmap, (THUMBNAIL - width) / 2, (THUMBNAIL - height) / 2, width, height);
}

async function look(photograph) {
  shown?.find("show").removeAttribute("aria-current");
  shown = photograph;
  photograph.find("show").setAttribute("aria-current", "true");
  $("shown").textContent = photograph.file.name;
  await show(photograph.file, photograph.restored);
}

// What is under way is stopped; what is shown gives way to another one.
function remove(photograph) {
  photograph.stop.abort();
  photographs.delete(photograph);
  const beside = photograph.row.nextElementSibling || photograph.row.previousElementSibling;
  if (photograph.row.contains(document.activeElement)) (beside?.querySelector(".remove") || $("file")).focus();
  photograph.row.remove();
  if (shown !== photograph) return;
  shown = undefined;
  const other = [...photographs].find(({ state }) => state === "done");
  if (other) look(other);
  else hide();
}

// ---------------------------------------------------------------- downloads

const strength = () => $("strength").value / 100;

// Between the photograph and what was restored of it, in encoded values.
async function mix({ file, restored }) {
  if (strength() === 1) return restored;
  const [before, after] = await Promise.all([open(file), open(restored)]);
  const canvas = new OffscreenCanvas(before.width, before.height);
  const context = canvas.getContext("2d");
  context.globalAlpha = 1 - strength();
  context.drawImage(before, 0, 0);
  context.globalCompositeOperation = "lighter"; // the sum
  context.globalAlpha = strength();
  context.drawImage(after, 0, 0);
  before.close();
  after.close();
  return canvas.convertToBlob({ type: "image/png" });
}

const rename = ({ file }) => file.name.replace(/\.[^.]*$/, "");

function save(blob, name) {
  const url = URL.createObjectURL(blob);
  Object.assign(document.createElement("a"), { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000); // some browsers ask first where to put it
}

async function download(photograph) {
  save(await mix(photograph), `${rename(photograph)}_restored.png`);
}

async function downloadAll() {
  const files = new Map();
  $("download-all").disabled = true;
  fail("");
  try {
    for (const photograph of photographs) {
      if (photograph.state !== "done") continue;
      const stem = rename(photograph);
      let name = `${stem}_restored.png`;
      for (let other = 2; files.has(name); other++) name = `${stem}_restored_${other}.png`;
      files.set(name, await mix(photograph));
    }
    save(await zip(files), "restored.zip");
  } catch (error) {
    fail(`They cannot be downloaded together: ${error.message}`);
  } finally {
    $("download-all").disabled = false;
  }
}

// ---------------------------------------------------------------- choosing

$("file").addEventListener("change", () => take([...$("file").files]));
$("download").addEventListener("click", () => download(shown));
$("download-all").addEventListener("click", downloadAll);
$("cancel-all").addEventListener("click", () => {
  const busy = count("waits") + count("works");
  for (const photograph of [...photographs]) {
    if (!busy || ["waits", "works"].includes(photograph.state)) remove(photograph);
  }
  next();
  $("file").focus();
});
$("strength").addEventListener("input", () => {
  $("after").style.opacity = strength();
  $("percent").textContent = `${$("strength").value} %`;
});

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
  take([...event.dataTransfer.files]);
});
document.addEventListener("paste", (event) => take([...(event.clipboardData?.files || [])]));

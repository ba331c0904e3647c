// The server behind this page restores photographs, two at a time as it does if not told otherwise.
import { Told, model, start } from "./page.js";

const WORDS = {
  413: "The photograph is too large for this server.",
  429: "The server has too much to do just now. Try again in a moment.",
  503: "The server is busy or stopping. Try again in a moment.",
  504: "It took too long, so the server gave up. Try a smaller photograph.",
};

start(async (bitmap, tell, signal) => {
  const body = JSON.stringify({ instances: [{ b64: await base64(await png(bitmap)) }] });
  let reply;
  try {
    reply = await fetch(`v1/models/${encodeURIComponent(model)}:predict`, { method: "POST", body, signal });
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
}, 2);

async function png(bitmap) {
  const canvas = document.createElement("canvas");
  canvas.width = bitmap.width;
  canvas.height = bitmap.height;
  canvas.getContext("2d").drawImage(bitmap, 0, 0);
  bitmap.close();
  const blob = await new Promise((done) => canvas.toBlob(done, "image/png"));
  if (!blob) throw new Told("The photograph is too large for this browser.");
  return blob;
}

async function base64(blob) {
  const reader = new FileReader();
  reader.readAsDataURL(blob);
  await new Promise((done) => { reader.onloadend = done; });
  return reader.result.slice(reader.result.indexOf(",") + 1);
}

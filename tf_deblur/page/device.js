// The visitor's own device restores photographs, one after another: `worker.js` runs the network
// beside this page.
import { Told, model, refuse, start } from "./page.js";

let worker;
let asked = 0;

if (typeof WebAssembly === "undefined" || typeof OffscreenCanvas === "undefined") {
  refuse("This browser cannot do it: it has no WebAssembly, or cannot draw beside the page. A current one can.");
} else {
  start((bitmap, tell, signal) => new Promise((resolve, reject) => {
    const words = `Restoring ${bitmap.width} × ${bitmap.height} pixels …`;
    const id = ++asked;
    const fail = (message) => {
      worker?.terminate(); // whatever is wrong with it, the next photograph gets a new one
      worker = undefined;
      reject(new Told(message));
    };
    worker ??= new Worker("worker.js");
    worker.onerror = () => fail("A part of this page did not load. Is the server still there?");
    worker.onmessage = ({ data }) => {
      if (data.id !== id) return;
      if (data.failed) fail(data.failed);
      else if (data.restored) resolve(data.restored);
      else tell(data.done === undefined ? "Loading the network …" : words, data.done);
    };
    signal.addEventListener("abort", () => {
      worker?.postMessage({}); // it drops what it is at
      reject(signal.reason);
    });
    worker.postMessage({ id, bitmap, model }, [bitmap]);
  }), 1);
}

"use strict";
// Every row fetches through the proxy. A fresh `_` keeps the browser's own cache out of it; the demo's configuration takes
// that parameter out of the cache key.
const TRIES = [
  ["A page", "/pages/1", "max-age=60: a miss, then hits for a minute, with Age."],
  ["A slow page", "/slow", "The origin takes 2 s. Ask twice: the second answer is there at once."],
  ["The time", "/api/time", "no-store: always from the origin."],
  ["A range of 20 MB", "/large", "Bytes 0 to 99: 206. When the whole is stored, ranges come from there.", {Range: "bytes=0-99"}],
  ["The whole 20 MB", "/large", "Streams through and is stored on the way."],
  ["Something private", "/private", "private and Set-Cookie: passed on, never stored."],
  ["Stale while revalidate", "/swr", "Fresh for 2 s; after that served at once and refreshed in the background."],
  ["A flaky origin", "/flaky", "Every second answer of the origin is a 500; stale-if-error hides it."],
  ["Checked each time", "/check", "no-cache: stored, but validated with the origin before each use (304 between the two)."],
  ["Not modified", "/styles.css", "The client has it already: a 304 from the store.", "conditional"],
  ["In German", "/language", "Vary: one stored answer for each language.", {"Accept-Language": "de"}],
  ["In English", "/language", "The other one.", {"Accept-Language": "en"}],
];
const seed = Date.now().toString(36);
let asked = 0;

function outcome(status) {
  if (/detail=stale-/.test(status)) return "stale";
  if (/fwd-status=304/.test(status)) return "revalidated";
  if (/;\s*hit/.test(status)) return "hit";
  const forward = /fwd=([\w-]+)/.exec(status);
  return forward ? (forward[1] === "uri-miss" || forward[1] === "vary-miss" ? "miss" : forward[1]) : "?";
}
async function ask(path, extra) {
  const headers = {};
  if (extra === "conditional") {
    const first = await fetch(path + "?_=" + seed + asked++);
    headers["If-None-Match"] = first.headers.get("ETag") || "*";
    headers["Cache-Control"] = "max-age=31536000";  // else the browser adds no-cache to a conditional request
    await first.arrayBuffer();
  } else Object.assign(headers, extra || {});
  const began = performance.now();
  const answer = await fetch(path + "?_=" + seed + asked++, {headers});
  const body = await answer.arrayBuffer();
  return {answer, size: body.byteLength, took: performance.now() - began};
}
function show(list, text, kind, rest) {
  const row = document.createElement("li"), badge = document.createElement("span");
  badge.className = "badge " + kind;
  badge.textContent = text;
  row.append(badge, rest);
  list.prepend(row);
  while (list.children.length > 4) list.lastChild.remove();
}
async function run(button, list, path, extra) {
  button.disabled = true;
  try {
    const {answer, size, took} = await ask(path, extra);
    const status = answer.headers.get("Cache-Status") || "no Cache-Status";
    const name = outcome(status), age = answer.headers.get("Age");
    const rest = `${answer.status}  ${took.toFixed(1).padStart(7)} ms  ${size} bytes  Age ${age ?? "-"}   ${status}`;
    show(list, name, answer.status >= 500 ? "bad" : name, rest);
  } catch (error) {
    show(list, "failed", "bad", String(error));
  }
  button.disabled = false;
}
for (const [title, path, text, extra] of TRIES) {
  const item = document.createElement("li"), words = document.createElement("div");
  const head = document.createElement("div"), note = document.createElement("p"), button = document.createElement("button");
  head.className = "title";
  head.textContent = title + " ";
  const code = document.createElement("code");
  code.textContent = path;
  head.append(code);
  note.textContent = text;
  words.append(head, note);
  button.textContent = "Ask";
  const list = document.createElement("ol");
  list.className = "answers";
  button.addEventListener("click", () => run(button, list, path, extra));
  item.append(words, button, list);
  document.getElementById("tries").append(item);
}
if (location.hash === "#all") for (const button of document.querySelectorAll("button")) button.click();

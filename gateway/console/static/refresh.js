// Reads a part of a page again and again while it is visible and nobody uses it, and replaces it.
import { fetchPart } from "./parts.js";

const WAIT_MS = 10000;
const MAX_WAIT_MS = 60000;
const part = document.querySelector("[data-refresh]");
const paused = document.getElementById("paused");
const isInUse = () => part.contains(document.activeElement) || part.querySelector("details[open]") || String(getSelection());

let timer, wait = WAIT_MS;

function schedule() {
  clearTimeout(timer);
  if (!document.hidden) timer = setTimeout(update, wait);
}

function showPaused() {
  const text = isInUse() ? "Paused while you read" : "";
  if (paused.textContent !== text) paused.textContent = text;
}

function reasonOf(error) {
  if (error.status === 401) return "You are signed out: reload the page to sign in.";
  return error.status ? `The gateway answered with an error (${error.status}).` : "The gateway can't be reached.";
}

async function update() {
  if (isInUse()) return schedule();
  const trouble = document.getElementById("trouble");
  try {
    const { part: found } = await fetchPart(part.dataset.refresh);
    if (!isInUse()) part.replaceChildren(found); // it may be in use since the request began
    trouble.hidden = true;
    wait = WAIT_MS;
  } catch (error) {
    trouble.textContent = `${reasonOf(error)} This page may be out of date.`;
    trouble.hidden = false;
    wait = Math.min(MAX_WAIT_MS, wait * 2);
    if (error.status === 401) return undefined;
  }
  return schedule();
}

export function start() {
  if (!part) return;
  for (const name of ["focusin", "focusout", "toggle", "selectionchange"]) {
    document.addEventListener(name, () => setTimeout(showPaused), true); // while `focusout` runs, nothing has the focus yet
  }
  document.addEventListener("visibilitychange", () => (document.hidden ? clearTimeout(timer) : schedule()));
  schedule();
}

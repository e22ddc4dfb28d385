// Polls the log: changed rows are replaced in place, and new rows are shown after a click, so that no row moves.
import { announce, fetchPart } from "./parts.js";
import { listUrl, show, showError } from "./log.js";

const MIN_WAIT_MS = 5000;
const MAX_WAIT_MS = 60000;
const button = document.getElementById("live");
let timer, wait = MIN_WAIT_MS, paused = false, failingSince = null, known = new Map();

const rows = (root) => [...root.querySelectorAll("table.log tbody tr")];
const isBusy = (tr) => tr.contains(document.activeElement) || tr.querySelector("details[open]");

function remember() {
  known = new Map(rows(document).map((tr) => [tr.id, fingerprint(tr)]));
  document.getElementById("new")?.remove();
}

// The texts of a row, without the menu of its actions.
const fingerprint = (tr) => [...tr.cells].slice(0, 8).map((cell) => cell.textContent.trim()).join("\n");

function schedule() {
  clearTimeout(timer);
  if (!paused && !document.hidden) timer = setTimeout(poll, wait);
}

async function poll() {
  const began = performance.now();
  const url = listUrl();
  try {
    const { part } = await fetchPart(url);
    if (url === listUrl()) merge(part);
    failingSince = null;
  } catch (error) {
    if (error.status === 401) {
      paused = true;
      showError(error);
    }
    failingSince ??= new Date();
  }
  const took = performance.now() - began;
  // A slow log is polled less often.
  wait = Math.min(MAX_WAIT_MS, failingSince ? wait * 2 : Math.max(MIN_WAIT_MS, took * 10));
  showState();
  schedule();
}

function merge(part) {
  const isFirst = !new URL(listUrl()).searchParams.has("cursor");
  let newRows = 0;
  for (const tr of rows(part)) {
    const before = document.getElementById(tr.id);
    if (!before) newRows += 1;
    else if (known.get(tr.id) !== fingerprint(tr) && !isBusy(before)) {
      tr.classList.toggle("chosen", before.classList.contains("chosen"));
      known.set(tr.id, fingerprint(tr));
      before.replaceWith(tr);
    }
  }
  if (isFirst && newRows) offerNewRows(newRows, newRows >= known.size);
}

function offerNewRows(number, isAll) {
  const label = `${number}${isAll && number > 1 ? " or more" : ""} new, show`;
  let pill = document.getElementById("new");
  if (!pill) {
    pill = Object.assign(document.createElement("button"), { id: "new", className: "button primary" });
    pill.addEventListener("click", () => {
      document.getElementById("counts")?.removeAttribute("data-counted");
      show(listUrl(), { push: false });
    });
    document.querySelector(".scroll, .empty")?.before(pill);
    announce(label);
  }
  pill.textContent = label;
}

function showState() {
  const time = failingSince?.toLocaleTimeString();
  button.textContent = paused ? "Paused" : failingSince ? `Can't reach the log since ${time}` : "Live";
  button.className = paused ? "live paused" : failingSince ? "live away" : "live";
  button.setAttribute("aria-pressed", String(!paused));
}

export function start() {
  button.hidden = false;
  button.addEventListener("click", () => {
    paused = !paused;
    wait = MIN_WAIT_MS;
    showState();
    if (paused) clearTimeout(timer);
    else poll();
  });
  document.addEventListener("log:shown", () => {
    remember();
    schedule();
  });
  document.addEventListener("visibilitychange", () => (document.hidden ? clearTimeout(timer) : schedule()));
  remember();
  showState();
  schedule();
}

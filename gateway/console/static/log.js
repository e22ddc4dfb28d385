// The list: applies filters and turns pages without loading a whole page, and requests the counts after the rows.
import { RequestFailed, announce, fetchPart, latestRequest, swap } from "./parts.js";

const log = document.getElementById("log");
const nextList = latestRequest();
const nextCounts = latestRequest();

const UNREACHABLE = "The log can't be reached. The rows below may be out of date.";

export const isLogPage = log !== null;
export const listUrl = () => log.dataset.url;

// Returns true if the list is now that of the URL.
export async function show(url, { push = true } = {}) {
  log.setAttribute("aria-busy", "true");
  const counts = document.getElementById("counts");
  try {
    const { part, url: at } = await fetchPart(url, nextList());
    keepCounts(part, counts);
    swap(log, part);
    fillTypes();
    log.dataset.url = at;
    showAccount(at);
    if (push) history.pushState(null, "", at);
    announce(document.getElementById("shown")?.textContent ?? "");
    count();
    document.dispatchEvent(new Event("log:shown"));
    return true;
  } catch (error) {
    if (error.name !== "AbortError") showError(error);
    return false;
  } finally {
    log.removeAttribute("aria-busy");
  }
}

// The account picker is in the header, which stays when the list changes.
function showAccount(url) {
  const picker = document.getElementById("account");
  if (!picker) return;
  const account = new URL(url).searchParams.get("account") ?? "*";
  picker.value = picker.matches("input") && account === "*" ? "" : account;
}

// The types of the choice come with the counts.
function fillTypes() {
  const choice = document.getElementById("type");
  const found = document.querySelectorAll("#types option");
  if (!choice || !found.length) return;
  const chosen = choice.value;
  const options = [...found].map((one) => new Option(one.textContent, one.value, false, one.value === chosen));
  const kept = chosen && !options.some((one) => one.selected) ? [new Option(chosen, chosen, false, true)] : [];
  choice.replaceChildren(new Option("Any type", ""), ...kept, ...options);
}

// Shows an error above the rows, which stay.
export function showError(error) {
  document.getElementById("trouble")?.remove();
  const box = document.createElement("div");
  box.id = "trouble";
  if (error instanceof RequestFailed && error.part) box.append(error.part);
  else box.append(Object.assign(document.createElement("p"), { className: "problem", textContent: UNREACHABLE }));
  const signIn = box.querySelector("[data-sign-in]");
  const path = location.pathname.slice(document.body.dataset.base.length);
  if (signIn) signIn.href += `?next=${encodeURIComponent(path + location.search)}`;
  log.prepend(box);
  announce(box.textContent.trim().replace(/\s+/g, " "));
}

// Keeps the counts if the filters are the same: another page of the list does not request them again.
function keepCounts(part, before) {
  const after = part.getElementById?.("counts") ?? part.querySelector("#counts");
  if (!before || !after || !("counted" in before.dataset)) return;
  if (before.dataset.load === after.dataset.load) after.replaceWith(before);
}

export async function count() {
  const counts = document.getElementById("counts");
  if (!counts || "counted" in counts.dataset) return;
  try {
    const { part } = await fetchPart(counts.dataset.load, nextCounts());
    swap(counts, part);
    counts.dataset.counted = "";
    fillTypes();
  } catch (error) {
    if (error.name === "AbortError") return;
    const waiting = counts.querySelector(".waiting .with-script");
    if (waiting) waiting.textContent = "The counts can't be loaded. The rows below are complete.";
  }
}

export function start() {
  log.dataset.url = new URL(log.dataset.list, location.href).href;
  document.addEventListener("submit", (event) => {
    if (event.target.id !== "filters") return;
    event.preventDefault();
    show(formUrl(event.target));
  });
  count();
}

function formUrl(form) {
  const fields = [...new FormData(form)].filter(([, value]) => value !== "");
  return `${form.action}?${new URLSearchParams(fields)}`;
}

// One message beside the list: opened by a click, a link or the keys, closed by Esc or Back.
import { announce, fetchPart, latestRequest, swap } from "./parts.js";
import { isLogPage, listUrl, show, showError } from "./log.js";

const drawer = document.getElementById("drawer");
const body = document.getElementById("drawer-body");
const nextMessage = latestRequest();

export const isOpen = () => Boolean(drawer?.open);
export const messageId = () => body?.querySelector("[data-message]")?.dataset.message;
const links = () => [...document.querySelectorAll("td.to a[data-drawer]")];
const row = (link) => link?.closest("tr");
const isChosen = (link) => row(link).classList.contains("chosen");

export async function open(url, { push = true, replace = false, focus = true } = {}) {
  try {
    const { part } = await fetchPart(url.replace(/#.*/, ""), nextMessage());
    swap(body, part);
  } catch (error) {
    if (error.name === "AbortError") return;
    showError(error);
    mark();
    return;
  }
  if (!drawer.open) drawer.show();
  drawer.scrollTop = 0;
  if (push) history[replace ? "replaceState" : "pushState"](null, "", url);
  mark();
  const place = url.includes("#") && document.getElementById(url.split("#")[1]);
  if (place) place.scrollIntoView();
  if (focus) drawer.querySelector("[data-close]")?.focus({ preventScroll: true });
  announce(drawer.querySelector("h2")?.textContent ?? "");
}

export function close({ push = true } = {}) {
  nextMessage(); // aborts a request that still loads
  if (!isOpen()) return;
  const link = links().find(isChosen);
  drawer.close();
  body.replaceChildren();
  mark();
  link?.focus({ preventScroll: true });
  if (push) history.pushState(null, "", listUrl());
}

// Highlights the row of the open message.
function mark() {
  const id = messageId();
  choose(id && document.getElementById(`m-${id}`));
}

function choose(tr) {
  for (const one of document.querySelectorAll("tr.chosen")) one.classList.remove("chosen");
  tr?.classList.add("chosen");
}

// Moves to the next (1) or the previous (-1) row of the list; after the last row, to the next page of the list.
export async function step(by) {
  let all = links();
  const isCurrent = isOpen() ? isChosen : (link) => row(link).contains(document.activeElement);
  const at = all.findIndex(isCurrent);
  let to = all[at < 0 ? 0 : at + by];
  const wasOpen = isOpen();
  const page = !to && at >= 0 && document.querySelector(`.pager a[rel=${by > 0 ? "next" : "prev"}]`);
  if (page) {
    if (!(await show(page.href))) return;
    all = links();
    to = all.at(by > 0 ? 0 : -1);
  }
  if (!to) {
    announce(by > 0 ? "This is the last message" : "This is the first message");
    return;
  }
  to.scrollIntoView({ block: "nearest" });
  if (wasOpen) choose(row(to)); // at once: a second step, before the answer, goes on from there
  // The entry of the page that was turned: one Back leads to the message before.
  if (wasOpen) await open(to.href, { focus: false, replace: Boolean(page) });
  else to.focus({ preventScroll: true });
}

export function start() {
  if (!isLogPage || !drawer) return;
  drawer.addEventListener("click", async (event) => {
    const name = event.target.closest("[data-step]")?.dataset.step;
    if (!name) return;
    event.preventDefault();
    await step(Number(name));
    drawer.querySelector(`[data-step="${name}"]`)?.focus({ preventScroll: true });
  });
  document.addEventListener("log:shown", () => (isOpen() ? close({ push: false }) : mark()));
  row(document.querySelector("tr.chosen a"))?.scrollIntoView({ block: "nearest" });
}

// Parts of pages: requests them from our own server, parses them, and replaces elements without losing the focus.

// The only way into innerHTML. The text comes from our own origin, whose templates escape every value.
const rules = { createHTML: (text) => text };
const policy = window.trustedTypes?.createPolicy("console", rules) ?? rules;

export class RequestFailed extends Error {
  constructor(status, part) {
    super(String(status));
    this.status = status;
    this.part = part;
  }
}

export async function fetchPart(url, signal) {
  const answer = await fetch(url, { headers: { "x-partial": "1" }, signal });
  const text = await answer.text();
  const isHtml = answer.headers.get("content-type")?.startsWith("text/html");
  if (!answer.ok) throw new RequestFailed(answer.status, isHtml ? parse(text) : null);
  return { part: parse(text), url: answer.url };
}

// Returns a function that aborts the request before, and returns the signal of the next one.
export function latestRequest() {
  let controller;
  return () => {
    controller?.abort();
    controller = new AbortController();
    return controller.signal;
  };
}

function parse(text) {
  const template = document.createElement("template");
  template.innerHTML = policy.createHTML(text);
  formatTimes(template.content);
  return template.content;
}

// Replaces the content. Focus and selection move to the element of the new content that has the same id.
export function swap(into, part) {
  const { id, selectionStart, selectionEnd } = document.activeElement ?? {};
  const hadFocus = id && into.contains(document.activeElement);
  into.replaceChildren(part);
  const element = hadFocus && document.getElementById(id);
  if (!element) return;
  element.focus({ preventScroll: true });
  if (selectionStart != null && element.setSelectionRange) element.setSelectionRange(selectionStart, selectionEnd);
}

// For screen readers.
export function announce(text) {
  document.getElementById("status").textContent = text;
}

export function closeMenus(except = null) {
  for (const menu of document.querySelectorAll("details[name=menu][open]")) {
    if (!menu.contains(except)) menu.open = false;
  }
}

// Times in the user's own time zone; the tooltip has UTC.
const format = (options) => new Intl.DateTimeFormat(undefined, { hourCycle: "h23", ...options });
const clock = format({ hour: "2-digit", minute: "2-digit", second: "2-digit" });
const minute = format({ day: "2-digit", month: "short", hour: "2-digit", minute: "2-digit" });
const dated = format({ day: "2-digit", month: "short", hour: "2-digit", minute: "2-digit", second: "2-digit" });
const long = format({ dateStyle: "full", timeStyle: "long" });

export function formatTimes(root) {
  for (const zone of root.querySelectorAll("[data-zone]")) zone.textContent = `, ${shortZone()}`;
  const today = new Date().toDateString();
  for (const time of root.querySelectorAll("time[datetime]")) {
    const at = new Date(time.dateTime);
    if (Number.isNaN(at.valueOf())) continue;
    const of = time.dataset;
    const usual = "clock" in of || at.toDateString() === today ? clock : minute;
    time.textContent = ("long" in of ? long : "dated" in of ? dated : usual).format(at);
    time.title = `${at.toISOString().replace("T", " ").slice(0, 19)} UTC, ${ago(at)}`;
  }
}

function shortZone() {
  const parts = format({ timeZoneName: "short" }).formatToParts(new Date());
  return parts.find(({ type }) => type === "timeZoneName").value;
}

function ago(at) {
  const seconds = (at - Date.now()) / 1000;
  const units = [["day", 86400], ["hour", 3600], ["minute", 60]];
  const [unit, size] = units.find(([, size]) => Math.abs(seconds) >= size) ?? ["second", 1];
  return new Intl.RelativeTimeFormat("en", { numeric: "auto" }).format(Math.round(seconds / size), unit);
}

// The keys: they move through the list and do not change scrolling. A user can switch them off.
import { close, isOpen, step } from "./drawer.js";
import { closeMenus } from "./parts.js";

const OFF = "sendledger.keys";
const help = document.getElementById("keys");
const isOff = () => localStorage.getItem(OFF) === "off";

export function start({ copy }) {
  const choice = document.getElementById("keys-on");
  choice.checked = !isOff();
  choice.addEventListener("change", () => localStorage.setItem(OFF, choice.checked ? "on" : "off"));
  for (const opener of document.querySelectorAll("[data-keys]")) {
    opener.hidden = false;
    opener.addEventListener("click", () => help.showModal());
  }
  const actions = {
    "/": () => document.getElementById("find")?.focus(),
    j: () => step(1),
    k: () => step(-1),
    c: copy,
    "?": () => help.showModal(),
  };
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && !help.open && isOpen()) return close();
    if (event.key === "Escape") return closeMenus();
    const isTyping = event.target.closest("input, select, textarea, [contenteditable]");
    if (isOff() || isTyping || event.metaKey || event.ctrlKey || event.altKey || help.open) return undefined;
    const action = Object.hasOwn(actions, event.key) && actions[event.key];
    if (!action) return undefined;
    event.preventDefault();
    return action();
  });
}

// Small helps of forms: suggestions of accounts, filters that apply when they are chosen, and "select all".
import { fetchPart, latestRequest } from "./parts.js";

function suggestAccounts(picker) {
  let timer;
  const list = picker.list;
  const nextSuggestions = latestRequest();
  const load = async () => {
    try {
      const url = `${picker.dataset.suggest}?${new URLSearchParams({ q: picker.value })}`;
      const { part } = await fetchPart(url, nextSuggestions());
      list.replaceChildren(part);
    } catch (error) {
      if (error.name === "AbortError") return; // for an earlier text
      list.replaceChildren(); // suggestions only: an id can be typed without them
    }
  };
  picker.addEventListener("focus", load, { once: true });
  picker.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(load, 200);
  });
}

function chooseAll(box) {
  box.hidden = false;
  const others = () => [...document.querySelectorAll("input[name=which]")];
  box.addEventListener("change", () => others().forEach((one) => (one.checked = box.checked)));
}

export function start() {
  const picker = document.getElementById("account");
  if (picker?.dataset.suggest) suggestAccounts(picker);
  picker?.addEventListener("change", () => picker.form?.requestSubmit());
  document.addEventListener("change", (event) => {
    if (event.target.matches("#filters > label select")) event.target.form.requestSubmit();
  });
  const box = document.getElementById("choose-all");
  if (box) chooseAll(box);
}

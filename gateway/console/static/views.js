// What the browser of a user stores: the colours, and named views of the log.
const THEME = "sendledger.theme";
const VIEWS = "sendledger.views";

export function startTheme() {
  const root = document.documentElement;
  const stored = localStorage.getItem(THEME);
  if (stored) root.dataset.theme = stored;
  const button = document.getElementById("theme");
  if (!button) return;
  button.hidden = false;
  button.addEventListener("click", () => {
    const prefersDark = matchMedia("(prefers-color-scheme: dark)").matches;
    const isDark = root.dataset.theme ? root.dataset.theme === "dark" : prefersDark;
    root.dataset.theme = isDark ? "light" : "dark";
    localStorage.setItem(THEME, root.dataset.theme);
  });
}

const isView = (view) => typeof view?.name === "string" && typeof view?.query === "string";
const read = () => {
  try {
    const found = JSON.parse(localStorage.getItem(VIEWS) ?? "[]");
    return Array.isArray(found) ? found.filter(isView) : [];
  } catch {
    return [];
  }
};

export function startViews(show) {
  const menu = document.getElementById("views");
  menu.hidden = false;
  const list = menu.querySelector("ul");
  const path = `${document.body.dataset.base}/logs`;
  const write = (views) => {
    localStorage.setItem(VIEWS, JSON.stringify(views));
    draw();
  };
  const draw = () => list.replaceChildren(...read().map((view) => item(view)));
  const item = (view) => {
    const link = Object.assign(document.createElement("a"), { href: path + view.query, textContent: view.name });
    const remove = document.createElement("button");
    Object.assign(remove, { type: "button", className: "round", textContent: "×" });
    remove.setAttribute("aria-label", `Remove ${view.name}`);
    remove.addEventListener("click", () => write(read().filter((other) => other.name !== view.name)));
    link.addEventListener("click", (event) => {
      event.preventDefault();
      menu.removeAttribute("open");
      show(link.href);
    });
    const li = document.createElement("li");
    li.append(link, remove);
    return li;
  };
  menu.querySelector("form").addEventListener("submit", (event) => {
    event.preventDefault();
    const name = event.target.elements.view.value.trim().slice(0, 60);
    if (name) write([...read().filter((view) => view.name !== name), { name, query: new URL(location.href).search }]);
    event.target.reset();
  });
  draw();
}

// The script of all pages: it makes links and forms faster. All of them work without it.
import * as drawer from "./drawer.js";
import * as forms from "./forms.js";
import * as keys from "./keys.js";
import * as live from "./live.js";
import * as log from "./log.js";
import * as refresh from "./refresh.js";
import { announce, closeMenus, formatTimes } from "./parts.js";
import { startTheme, startViews } from "./views.js";

async function copyLink(url) {
  const link = new URL(url, location.href).href;
  try {
    await navigator.clipboard.writeText(link);
    announce("Link copied");
    document.body.dataset.notice = "Link copied";
  } catch {
    document.body.dataset.notice = link; // no permission for the clipboard: the user copies the text
  }
  setTimeout(() => delete document.body.dataset.notice, 4000);
}

const address = (link) => link.href?.baseVal ?? link.href;

function onClick(event) {
  closeMenus(event.target);
  const hasModifier = event.metaKey || event.ctrlKey || event.shiftKey || event.altKey;
  if (event.defaultPrevented || event.button || hasModifier) return;
  const link = event.target.closest("a");
  const row = event.target.closest("table.log tbody tr");
  if (!link) {
    const opensMessage = row && !event.target.closest("details") && !String(getSelection());
    if (opensMessage) drawer.open(row.querySelector("td.to a").href);
    return;
  }
  const actions = {
    copy: () => copyLink(address(link)),
    drawer: () => drawer.open(address(link)),
    close: () => drawer.close(),
    partial: () => log.show(address(link)),
  };
  const name = Object.keys(actions).find((one) => one in link.dataset);
  if (!name || (name !== "copy" && !log.isLogPage)) return;
  event.preventDefault();
  closeMenus();
  actions[name]();
}

// Back and Forward: shows the list, and the message beside it, as the URL says.
async function onHistoryMove() {
  const { href, pathname, search } = location;
  const list = `${document.body.dataset.base}/logs${search}`;
  if (new URL(log.listUrl()).search !== search && !(await log.show(list, { push: false }))) return undefined;
  if (href !== location.href) return onHistoryMove(); // moved on while the list loaded
  const message = pathname.match(/\/logs\/([0-9a-f-]{36})$/)?.[1];
  if (message === drawer.messageId()) return undefined; // only the hash changed
  return message ? drawer.open(href, { push: false }) : drawer.close({ push: false });
}

startTheme();
formatTimes(document);
document.querySelector(".top nav [aria-current]")?.scrollIntoView({ block: "nearest", inline: "center" }); // on a phone
document.addEventListener("click", onClick);
refresh.start();
forms.start();
keys.start({ copy: () => copyLink(location.href) });
if (log.isLogPage) {
  log.start();
  drawer.start();
  live.start();
  startViews(log.show);
  addEventListener("popstate", onHistoryMove);
}

"use strict";
// The server renders the page. This replaces its content by that of a newer one.
const INTERVAL = 2000;
async function update() {
  try {
    const answer = await fetch(location.pathname, { cache: "no-store", signal: AbortSignal.timeout(5000) });
    if (!answer.ok) throw new Error(answer.statusText);
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    // A reader who copies text keeps the selection.
    if (getSelection().isCollapsed) document.querySelector("main").replaceWith(page.querySelector("main"));
    document.title = page.title;
    document.body.classList.remove("stale");
  } catch {
    document.body.classList.add("stale");
  }
  setTimeout(update, INTERVAL);
}
setTimeout(update, INTERVAL);

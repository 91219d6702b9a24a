// Files the rows that the stream brings: in place, at their place, or nowhere, by the same
// filters as the server's. The rows are made by the server; htmx puts them into #inbox.
(() => {
  "use strict";
  const inbox = document.getElementById("inbox");
  if (!inbox) return;
  const mostRows = Number(inbox.dataset.mostRows);
  const FRESH_MS = 2500;

  const feed = () => document.getElementById("feed");
  const rows = () => feed().querySelectorAll(".rows > .pattern");

  function passes(row, filters) {
    return (!filters.type || row.dataset.type === filters.type)
      && (!filters.severity || row.dataset.severity === filters.severity)
      && row.dataset.search.includes(filters.q);
  }

  // Newest first; of the same moment, the greater id first, as the server sorts.
  function comesBefore(a, b) {
    const difference = Number(a.dataset.detected) - Number(b.dataset.detected);
    return difference ? difference > 0 : a.dataset.patternId > b.dataset.patternId;
  }

  function replace(old, row) {
    const focused = old.contains(document.activeElement) ? document.activeElement.id : "";
    const details = row.querySelector("details");
    if (details) details.open = old.querySelector("details").open;
    if (old.dataset.severity !== row.dataset.severity) highlight(row);
    old.replaceWith(row);
    if (focused) document.getElementById(focused)?.focus({ preventScroll: true });
  }

  function highlight(row) {
    row.classList.add("is-new");
    setTimeout(() => row.classList.remove("is-new"), FRESH_MS);
  }

  function insert(row) {
    const more = feed().querySelector(".more");
    const next = [...rows()].find((other) => comesBefore(row, other));
    // Older than all that is shown: it has its place on a page not loaded yet.
    if (!next && !more.hidden) return;
    (next ?? more).before(row);
    highlight(row);
    if (rows().length > mostRows) dropLast(more);
  }

  function dropLast(more) {
    [...rows()].at(-1).remove();
    more.hidden = false;
    more.querySelector("[name=before]").value = [...rows()].at(-1).dataset.cursor;
  }

  function file(row) {
    const shown = feed().querySelector(`#${CSS.escape(row.id)}`);
    if (!passes(row, feed().dataset)) shown?.remove();
    else if (shown) replace(shown, row);
    else insert(row);
    window.htmx.process(row);
    feed().querySelector(".empty").hidden = rows().length > 0;
  }

  // A response that is under way may be older than a row that arrives meanwhile, and would
  // undo it. So such rows are filed once more when the response is in.
  let underWay = 0;
  let meanwhile = [];
  const concernsFeed = (event) => event.detail.target?.closest?.("#feed") != null;
  const begun = new WeakSet();

  document.addEventListener("htmx:beforeSend", (event) => {
    if (!concernsFeed(event)) return;
    begun.add(event.detail.xhr);
    underWay += 1;
  });
  document.addEventListener("htmx:afterRequest", (event) => {
    if (!begun.delete(event.detail.xhr)) return;
    underWay -= 1;
    for (const row of meanwhile) file(row.cloneNode(true));
    if (underWay === 0) meanwhile = [];
  });
  inbox.addEventListener("htmx:sseMessage", () => {
    const arrived = [...inbox.querySelectorAll(".pattern")];
    if (underWay) meanwhile.push(...arrived.map((row) => row.cloneNode(true)));
    for (const row of arrived) file(row);
    inbox.replaceChildren();
  });
})();

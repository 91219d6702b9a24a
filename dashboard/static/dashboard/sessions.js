// Keeps the list of sessions and the visitor's panel usable while they change by the second.
(() => {
  "use strict";
  const sessions = document.getElementById("sessions");
  const panel = document.getElementById("visitor");
  if (!sessions || !panel) return;

  function markChosen() {
    const chosen = panel.querySelector(".panel")?.dataset.visitor;
    for (const link of sessions.querySelectorAll(".session")) {
      if (link.dataset.visitor === chosen) link.setAttribute("aria-current", "true");
      else link.removeAttribute("aria-current");
    }
  }

  // A list that is replaced between press and release would swallow the click.
  sessions.addEventListener("htmx:sseBeforeMessage", (event) => {
    if (sessions.matches(":active")) event.preventDefault();
  });
  sessions.addEventListener("htmx:sseMessage", markChosen);

  // With a modifier a link opens elsewhere, as everywhere.
  document.addEventListener("click", (event) => {
    const modified = event.ctrlKey || event.metaKey || event.shiftKey || event.altKey;
    if (modified && event.target.closest?.("a[hx-get]")) event.stopPropagation();
  }, true);

  let opener = null;
  document.addEventListener("htmx:afterSwap", (event) => {
    if (event.target.id === "sessions") markChosen();
    if (event.target !== panel) return;
    markChosen();
    const asked = event.detail.requestConfig?.elt;
    if (!asked || asked.matches(".panel")) return;
    const title = document.getElementById("visitor-title");
    if (title) {
      opener = asked.id;
      panel.scrollIntoView({ block: "nearest" });
      title.focus({ preventScroll: true });
    } else if (opener) {
      document.getElementById(opener)?.focus({ preventScroll: true });
    }
  });
  markChosen();
})();

// Says what happened when something a person asked for went wrong. The words are the server's.
(() => {
  "use strict";
  const notices = document.getElementById("notices");
  if (!notices) return;
  const SHOWN_MS = 8000;

  function tell(what) {
    const template = document.querySelector(`template[data-notice="${what}"]`)
      ?? document.querySelector('template[data-notice="other"]');
    const notice = template.content.firstElementChild.cloneNode(true);
    notices.replaceChildren(notice);
    setTimeout(() => notice.remove(), SHOWN_MS);
  }

  const quiet = (event) => event.detail.elt?.closest?.("[data-quiet]") === event.detail.elt;

  document.addEventListener("htmx:responseError", (event) => {
    if (!quiet(event)) tell(event.detail.xhr.status);
  });
  for (const name of ["htmx:sendError", "htmx:timeout"]) {
    document.addEventListener(name, (event) => quiet(event) || tell("offline"));
  }
})();

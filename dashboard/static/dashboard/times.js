// Says every <time data-time> in the viewer's own zone: how long ago, or to the second.
// The server writes exact times only, so that one page serves everyone.
(() => {
  "use strict";
  const ago = new Intl.RelativeTimeFormat("en", { numeric: "auto", style: "narrow" });
  const day = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" });
  const clock = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
  const exact = new Intl.DateTimeFormat("en-GB", { dateStyle: "full", timeStyle: "long" });
  const MINUTE = 60;
  const HOUR = 60 * MINUTE;
  const DAY = 24 * HOUR;

  // The server's clock minus ours, from the figures' own time.
  let ahead = 0;
  function readServerClock() {
    const asOf = document.querySelector("[data-as-of]");
    if (asOf) ahead = Number(asOf.dataset.asOf) - Date.now();
  }

  function words(time, when) {
    if (time.dataset.time === "clock") return clock.format(when);
    const seconds = Math.max(0, Math.round((Date.now() + ahead - when) / 1000));
    if (seconds < 3) return "now";
    if (seconds < MINUTE) return ago.format(-seconds, "second");
    if (seconds < HOUR) return ago.format(-Math.floor(seconds / MINUTE), "minute");
    if (seconds < DAY) return ago.format(-Math.floor(seconds / HOUR), "hour");
    return day.format(when);
  }

  function say(time) {
    const when = new Date(time.dateTime);
    const text = words(time, when);
    if (time.textContent !== text) time.textContent = text;
    if (!time.title) time.title = exact.format(when);
  }

  function sayAll(root) {
    root.querySelectorAll("time[data-time]").forEach(say);
  }

  function sayAdded(mutations) {
    for (const mutation of mutations) {
      for (const node of mutation.addedNodes) {
        if (node.nodeType === Node.ELEMENT_NODE) sayAll(node);
      }
    }
  }

  document.addEventListener("htmx:sseMessage", (event) => {
    if (event.target.id === "metrics") readServerClock();
  });
  readServerClock();
  sayAll(document);
  new MutationObserver(sayAdded).observe(document.body, { childList: true, subtree: true });
  setInterval(() => document.hidden || sayAll(document), 1000);
  document.addEventListener("visibilitychange", () => document.hidden || sayAll(document));
})();

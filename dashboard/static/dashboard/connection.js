// Shows how the page's stream is doing, and brings the page up to date after each break.
(() => {
  "use strict";
  const main = document.getElementById("main");
  const badge = document.querySelector(".connection");
  const resync = document.getElementById("resync");
  if (!main || !badge || !resync) return;
  // The server says something at least every 20 s; silence for longer is a dead connection.
  const SILENCE_MS = 45_000;
  const EVENTS = ["stream-open", "keep-alive", "rows", "metrics", "sessions"];

  let source = null;
  let heardAt = Date.now();
  let openedBefore = false;
  let lastId = "";
  const known = new WeakSet();

  function show(state) {
    if (badge.dataset.state === "ended") return;
    badge.dataset.state = state;
    document.body.dataset.connection = state;
  }

  function catchUp() {
    const rows = document.querySelectorAll("#feed .rows > .pattern").length;
    resync.elements.rows.value = rows;
    window.htmx.trigger(resync, "resync");
  }

  // The extension is about to open another, which knows no Last-Event-ID: the address must say
  // where this one has come to, or all would be told again that the page has ever heard.
  function goOnFromHere() {
    const url = new URL(main.getAttribute("sse-connect"), window.location.href);
    if (lastId) url.searchParams.set("lastEventId", lastId);
    main.setAttribute("sse-connect", url.pathname + url.search);
  }

  function end() {
    show("ended");
    main.removeAttribute("sse-connect");
    source?.close();
  }

  function listen(to) {
    source = to;
    heardAt = Date.now();
    if (known.has(to)) return;
    known.add(to);
    for (const name of EVENTS) {
      to.addEventListener(name, (event) => {
        heardAt = Date.now();
        lastId = event.lastEventId || lastId;
        show("live");
      });
    }
    to.addEventListener("stream-reset", catchUp);
    to.addEventListener("stream-error", end);
  }

  main.addEventListener("htmx:sseOpen", (event) => {
    listen(event.detail.source);
    show("live");
    if (openedBefore) catchUp();
    openedBefore = true;
  });
  main.addEventListener("htmx:sseError", (event) => {
    if (event.detail.source !== source && openedBefore && source?.readyState === EventSource.OPEN) return;
    show("lost");
    // Closed for good by an answer that is no stream. Asking for the feed tells which.
    if (event.detail.source.readyState === EventSource.CLOSED) {
      goOnFromHere();
      catchUp();
    }
  });
  resync.addEventListener("htmx:responseError", (event) => {
    if (event.detail.xhr.status === 403) end();
  });

  // To an EventSource closed here, an error is what makes the extension open another.
  function reopen() {
    if (source?.readyState !== EventSource.OPEN || badge.dataset.state === "ended") return;
    show("lost");
    source.close();
    source.dispatchEvent(new Event("error"));
  }
  setInterval(() => Date.now() - heardAt > SILENCE_MS && reopen(), 5000);
  window.addEventListener("offline", () => show("lost"));
  window.addEventListener("pageshow", (event) => event.persisted && window.location.reload());
})();

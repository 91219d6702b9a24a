/* The bar at the foot of Verse: says what the tracker sees, and whether it arrived.
   It only listens (window.lens, and lens:… events on document); it sends nothing. */
(() => {
  "use strict";

  const bar = document.getElementById("lens-bar");
  if (!bar) return;

  const part = (name) => bar.querySelector(`[data-bar="${name}"]`);
  const say = (name, text) => {
    part(name).textContent = text;
  };
  const state = (name, text) => {
    bar.dataset.state = name;
    say("state", text);
  };
  const clock = (time) =>
    new Date(time).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit" });

  const link = part("dashboard");
  const who = () => {
    const lens = window.lens;
    if (!lens) return;
    if (lens.visitor) {
      say("visitor", lens.visitor);
      const address = new URL(link.href);
      address.searchParams.set("visitor", lens.visitor);
      link.href = address.href;
    }
    if (lens.page) say("page", lens.page);
  };

  document.addEventListener("lens:event", ({ detail }) => {
    who();
    if (detail.page) say("page", detail.page);
    say("event", `${detail.action}, ${clock(detail.timestamp || Date.now())}`);
    state("sending", "Sending");
  });
  document.addEventListener("lens:sent", () => state("sent", "Arrived"));
  document.addEventListener("lens:failed", ({ detail }) => {
    const reason = (detail && detail.reason) || "no answer";
    const retrying = detail && detail.retrying;
    state("failed", retrying ? `Not arrived (${reason}), trying again` : `Not sent: ${reason}`);
  });

  document.addEventListener("DOMContentLoaded", () => {
    who();
    if (!window.lens) state("off", "The tracker did not load");
  });
})();

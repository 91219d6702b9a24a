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
  const link = part("dashboard");

  // Says who the visitor is, and true where what they do counts.
  const look = () => {
    const lens = window.lens;
    if (!lens) {
      state("off", "The tracker did not load");
      return false;
    }
    if (lens.visitor) {
      say("visitor", lens.visitor);
      const address = new URL(link.href);
      address.searchParams.set("visitor", lens.visitor);
      link.href = address.href;
    }
    if (lens.page) say("page", lens.page);
    const now = lens.status().state;
    if (now === "excluded") state("off", "Switched off in this browser");
    if (now === "bot") state("off", "Automated browser, not counted");
    return now !== "excluded" && now !== "bot";
  };

  document.addEventListener("lens:event", ({ detail }) => {
    say("page", detail.page);
    say("event", detail.action);
    say("time", new Date(detail.timestamp).toLocaleTimeString("en-GB"));
    // The first event comes while the tracker starts, before window.lens can be asked.
    if (!window.lens || look()) state("sending", "Sending");
  });
  document.addEventListener("lens:sent", () => {
    if (look()) state("sent", "Arrived");
  });
  document.addEventListener("lens:failed", ({ detail }) => {
    state("failed", detail.retrying ? "Not arrived, trying again" : "Refused");
    part("state").title = detail.reason;
  });
  // Defer: the tracker's script has run by then. A click later shows that it was switched off.
  document.addEventListener("DOMContentLoaded", look);
  document.addEventListener("click", look);
})();

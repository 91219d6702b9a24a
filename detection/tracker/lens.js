// BehaviourLens: tells what a visitor does, never what they type. See README.md beside this file.
// <script src="/lens.js" data-site="KEY" defer></script>
(() => {
  "use strict";

  const KEY = "behaviourlens";
  const EXCLUDED = "excluded in this browser; lens.include() undoes it";
  const ACTIONS =
    "click scroll idle navigate abandon tab_hidden tab_visible leave confirm purchase identify";
  const CAN_WAIT = /click|scroll|visible/;
  const script = document.currentScript || document.querySelector('script[src$="/lens.js"]');
  if (!script || (window.lens && window.lens.track)) return;

  const options = script.dataset;
  const base = (options.base || "").replace(/\/+$/, "");
  const url = options.endpoint || new URL("/events", script.src || location).href;
  const bot = navigator.webdriver || undefined;
  const framed = self !== top;

  let excluded, gone, visitor, view, page, depth;
  let since, due, mark, idleTimer, scrollTimer, sendTimer, retryTimer;
  let queue = [];
  let batch, busy;
  let failures = 0;
  let dropped = 0;
  let lastError = "";

  // Never throws into the page.
  const safe = (work) => (...args) => {
    try {
      return work(...args);
    } catch (error) {
      lastError = String(error);
    }
  };
  const on = (names, work) =>
    names.split(" ").forEach((name) => {
      addEventListener(name, safe(work), { capture: true, passive: true });
    });
  const emit = (name, detail) => document.dispatchEvent(new CustomEvent("lens:" + name, { detail }));
  const told = {};
  const tell = safe((text, how = "info") => {
    if (!told[text]) console[how]("BehaviourLens: " + text);
    told[text] = 1;
  });

  const clock = () => Math.floor(Date.now());
  const newId = () =>
    crypto.randomUUID ? crypto.randomUUID() : crypto.getRandomValues(new Uint32Array(4)).join("-");
  const text = (value, length) => String(value).slice(0, length).replace(/[\p{Cc}\p{Cs}]/gu, " ");
  const held = () => queue.length + (batch ? batch.events.length : 0);

  // Storage may be blocked.
  const load = safe((area) => window[area].getItem(KEY));
  const save = safe((area, value) => {
    window[area].setItem(KEY, value);
    return true;
  });

  // {v: visitor}, with q and b (queue, batch) only while hidden or gone: a tab copied from a live
  // one finds no q and becomes a visitor of its own.
  const park = (q, b) => save("sessionStorage", JSON.stringify({ v: visitor, q, b }));
  const claim = () => {
    const saved = safe(JSON.parse)(load("sessionStorage") || "{}") || {};
    const mine = saved.v && (framed || saved.q);
    visitor = visitor || (mine ? saved.v : newId());
    if (framed) return mine || park([]);
    if (mine) {
      queue = saved.q.concat(queue);
      batch = batch || saved.b;
    }
    park();
  };

  const nextBatch = () => {
    let count = 0;
    // Well below the 64 kB of a beacon.
    for (let size = 0; count < 50 && queue[count] && size < 1e4; count++) {
      size += JSON.stringify(queue[count]).length;
    }
    batch = count && { id: newId(), events: queue.splice(0, count) };
    return batch;
  };
  const envelope = () =>
    JSON.stringify({
      site: options.site,
      batch: batch.id,
      sent_at: clock(),
      events: batch.events,
      bot,
    });
  const post = () =>
    fetch(url, {
      method: "POST",
      body: envelope(),
      keepalive: true,
      credentials: "omit",
      signal: AbortSignal.timeout && AbortSignal.timeout(2e4),
    });
  const send = async () => {
    sendTimer = 0;
    if (busy || retryTimer || excluded || !(batch || nextBatch())) return;
    const { id, events } = batch;
    let reason = "";
    let retrying = true;
    let delay = 0;
    busy = true;
    try {
      const answer = await post();
      const words = await answer.text(); // frees its quota
      if (!answer.ok) {
        reason = answer.status + " " + words.slice(0, 200);
        retrying = answer.status === 429 || answer.status > 499;
        delay = answer.headers.get("Retry-After") * 1e3 || 0;
      }
    } catch (error) {
      reason = String(error);
    }
    busy = false;
    if (reason && retrying) {
      const backoff = (Math.min(6e4, 1e3 * 2 ** ++failures) * (1 + Math.random())) / 2;
      retryTimer = setTimeout(() => {
        retryTimer = 0;
        send();
      }, Math.min(36e5, Math.max(delay, backoff)));
    } else {
      failures = 0;
      if (batch && batch.id === id) batch = 0;
      if (reason) dropped += events.length;
      else emit("sent", { count: events.length });
      if (!sendTimer) send();
    }
    if (reason) {
      lastError = reason;
      tell((retrying ? "will try again: " : "not accepted: ") + reason, "warn");
      emit("failed", { reason, retrying });
    }
  };
  // What is in flight outlives the page (keepalive); the rest goes by beacon.
  const beacon = () => {
    const flying = busy && batch;
    if (flying) batch = 0;
    while (batch || nextBatch()) {
      if (!navigator.sendBeacon || !navigator.sendBeacon(url, envelope())) post().catch(() => {});
      batch = 0;
    }
    batch = flying;
  };

  const record = (action, metadata = {}) => {
    if (action !== "navigate") look();
    if (excluded || !visitor) return;
    const timestamp = clock();
    queue.push({ user_id: visitor, action, page, timestamp, view, metadata });
    while (held() > 200) {
      queue.shift();
      dropped++;
    }
    emit("event", { action, page, timestamp, metadata });
    if (!CAN_WAIT.test(action)) Promise.resolve().then(send);
    else sendTimer = sendTimer || setTimeout(send, 400);
  };

  const look = (anew) => {
    let path = location.pathname;
    if ((path + "/").startsWith(base + "/")) path = path.slice(base.length);
    if ("hashRouting" in options) path += "/" + location.hash.replace(/^#!?/, "").split("?")[0];
    path = text(path.replace(/\/+$/, "").replace(/\/\/+/g, "/") || "/", 2048);
    if (excluded || !visitor || (path === page && !anew)) return;
    page = path;
    view = newId().slice(0, 8);
    depth = 0;
    restart();
    record("navigate");
  };

  const wait = () => {
    clearTimeout(idleTimer);
    due = since + mark;
    if (mark < 5e4) idleTimer = setTimeout(safe(idle), due - clock());
  };
  const restart = () => {
    since = clock();
    mark = 1e4; // then 2e4 and 4e4
    wait();
  };
  const active = () => {
    if (mark > 1e4) restart();
    else since = clock();
  };
  const idle = () => {
    look();
    const now = clock();
    if (now < since || now > due + 5e3) return restart(); // slept
    if (now >= since + mark) {
      mark *= 2;
      record("idle", { duration_ms: now - since });
    }
    wait();
  };

  const click = (event) => {
    const trail = event.composedPath().filter((node) => node.matches);
    const hit = (selector) => trail.find((node) => node.matches(selector));
    if (!event.isTrusted || hit("[data-ignore],[data-lens-ignore]")) return;
    const node = hit("[data-lens],a,button,input,select,textarea,label,summary") || trail[0];
    const get = (name) => node.getAttribute(name) || "";
    const name = get("id") ? "#" + get("id") : node.classList[0] ? "." + node.classList[0] : "";
    let label = get("aria-label") || get("name");
    // Never what can be typed into.
    if (
      !label &&
      node.matches("a,button") &&
      !node.isContentEditable &&
      !node.querySelector("[contenteditable],input,select,textarea")
    ) {
      label = node.textContent.trim().replace(/\s+/g, " ");
    }
    record("click", {
      target: text(get("data-lens") || node.localName + name, 80),
      label: text(label, 40),
    });
  };
  const scrolled = () => {
    scrollTimer = 0;
    look();
    const seen = ((scrollY + innerHeight + 1) / document.documentElement.scrollHeight) * 100;
    while (depth < 100 && seen >= depth + 25) record("scroll", { depth: (depth += 25) });
  };
  const visibility = () => {
    if (gone) return;
    if (document.hidden) {
      clearTimeout(idleTimer);
      record("tab_hidden");
      if (!framed) park([]);
      if (busy && !failures) beacon();
    } else {
      if (!framed) park();
      restart();
      record("tab_visible");
    }
  };

  const start = () => {
    excluded = load("localStorage") === "staff";
    if (excluded) tell(EXCLUDED);
    if (bot) tell("this browser is automated; its events do not count");
    claim();
    on("pointermove pointerdown keydown wheel touchstart touchmove click", active);
    on("click", click);
    on("scroll", (event) => {
      if (event.target !== document) return;
      active();
      scrollTimer = scrollTimer || setTimeout(safe(scrolled), 200);
    });
    on("visibilitychange", visibility);
    on("popstate hashchange", () => look());
    on("pagehide", () => {
      record("leave");
      gone = true;
      clearTimeout(idleTimer);
      // Server away: the tab's next page sends it.
      if (framed || !park(failures ? queue : [], failures && batch) || !failures) {
        return excluded || beacon();
      }
      queue = [];
      batch = 0;
    });
    on("pageshow", (event) => {
      if (!event.persisted) return;
      gone = false;
      claim();
      look(true);
    });
    ["pushState", "replaceState"].forEach(
      safe((name) => {
        const original = history[name];
        history[name] = function (...args) {
          original.apply(this, args);
          safe(look)();
        };
      }),
    );
    look(true);
    if (document.hidden) visibility();
  };

  window.lens = {
    get visitor() {
      return visitor;
    },
    get page() {
      return page;
    },
    track: safe((action, metadata) => {
      if (!ACTIONS.split(" ").includes(action)) {
        return tell(`no action "${action}"; there are: ${ACTIONS}`, "warn");
      }
      const kept = {};
      Object.entries(metadata || {})
        .filter(([, value]) => /^(st|nu|bo)/.test(typeof value))
        .slice(0, 16)
        .forEach(([key, value]) => {
          kept[text(key, 64)] = text(value, 512);
        });
      record(action, kept);
    }),
    identify: safe((id) => {
      if (!id) return tell("identify() needs an id", "warn");
      record("identify", { id: text(id, 128) });
    }),
    exclude: safe(() => {
      excluded = true;
      queue = [];
      batch = 0;
      save("localStorage", "staff");
      tell(EXCLUDED);
    }),
    include: safe(() => {
      excluded = false;
      save("localStorage", "");
      look(true);
    }),
    status: () => ({
      state: excluded ? "excluded" : failures ? "retrying" : bot ? "bot" : "sending",
      queued: held(),
      dropped,
      lastError,
    }),
  };
  if (document.prerendering) on("prerenderingchange", start);
  else safe(start)();
})();

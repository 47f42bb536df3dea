// What moves by itself. Without this file every page still does its work by links and forms.
"use strict";

const each = (where, selector, act) => where.querySelectorAll(selector).forEach(act);

// On a phone not all tabs fit: the one that is open is in sight.
const showTab = () =>
  document.querySelector(".tabs [aria-current]")?.scrollIntoView({ inline: "center", block: "nearest" });
showTab();
addEventListener("resize", showTab);

// Steppers: a button beside a number.
each(document, "[data-step]", (button) => {
  button.hidden = false;
  button.addEventListener("click", () => {
    const input = button.parentElement.querySelector("input");
    const next = Number(input.value || 0) + Number(button.dataset.step);
    input.value = Math.min(Number(input.max), Math.max(Number(input.min), next));
  });
});

// The page is on its way to another one, which loading it again would keep from coming.
let leaves = false;
for (const sign of ["submit", "beforeunload"]) addEventListener(sign, () => { leaves = true; });
addEventListener("pageshow", () => { leaves = false; });

// Events of the server, while the page is in sight: browsers have few connections for all the pages
// of a place. Where none come any more `says` hears so, and the page is loaded again if the server
// has no such page now, for its reader.
const listen = (address, events, says) => {
  const page = address.replace(/\/[^/]*$/, "");
  const load = () => {
    if (!leaves) location.pathname === page ? location.reload() : location.replace(page);
  };
  let source = null;
  let later = 0;
  const open = () => {
    if (source || document.hidden) return;
    const now = new EventSource(address);
    source = now;
    now.addEventListener("open", () => says(true));
    now.addEventListener("error", async () => {
      if (now !== source) return;
      says(false);
      if (now.readyState !== EventSource.CLOSED) return;
      // Refused. A server that is away for a moment does that too.
      source = null;
      const answer = await fetch(page).catch(() => null);
      if (answer && answer.status < 500 && (answer.redirected || !answer.ok)) return load();
      later = setTimeout(open, 3000);
    });
    for (const [name, act] of Object.entries(events)) now.addEventListener(name, act);
  };
  const close = () => {
    clearTimeout(later);
    source?.close();
    source = null;
  };
  document.addEventListener("visibilitychange", () => (document.hidden ? close() : open()));
  addEventListener("pagehide", close);
  addEventListener("pageshow", open);
  open();
  return { close, load };
};

// What a page says of its connection, beside what is on it.
const connection = document.querySelector("[data-connection]");
const lost = "The connection is lost: this is as it was. Connecting again…";
const says = (isThere) => {
  if (!isThere) connection.textContent = lost;
  else if (connection.textContent === lost) connection.textContent = "";
};

// A part of the page that the server sends again whenever it has changed. What has the focus
// keeps it. Where the rest of the page would be another one it is loaded again, once nobody is
// filling it in.
const live = document.querySelector("[data-stream]");
if (live) {
  const shape = () => live.querySelector("[data-shape]").dataset.shape;
  const drawn = shape();
  const isFilledIn = () => [...document.querySelectorAll("main input, main select")].some((field) =>
    field === document.activeElement
      || (field.options ? [...field.options].some((one) => one.selected !== one.defaultSelected)
        : field.value !== field.defaultValue));
  const fit = () => {
    if (shape() === drawn) return;
    if (!isFilledIn()) return stream.load();
    connection.textContent = "The app has changed meanwhile: load the page again to see how.";
  };
  const stream = listen(live.dataset.stream, { message: (event) => {
    const focused = document.activeElement?.id;
    const inside = live.contains(document.activeElement);
    live.innerHTML = event.data;
    each(live, "[data-of]", (piece) => {
      const place = document.querySelector(`[data-live="${CSS.escape(piece.dataset.of)}"]`);
      if (place) {
        place.className = piece.className;
        place.innerHTML = piece.innerHTML;
      }
      piece.remove();
    });
    if (inside && focused) document.getElementById(focused)?.focus();
    fit();
  } }, says);
  document.addEventListener("focusout", () => setTimeout(fit));
}

const atEnd = (box) => box.scrollHeight - box.scrollTop - box.clientHeight < 40;

// The output of a build that runs: from its start, then on; when it ends, the page as it is then.
// A connection that is made again brings all of it again, of which only what is new is added.
const output = document.querySelector("[data-output]");
if (output) {
  let known = 0;
  let come = 0;
  const stream = listen(output.dataset.output, {
    open: () => {
      if (!known) output.textContent = "";
      come = 0;
    },
    message: (event) => {
      const text = JSON.parse(event.data);
      const fresh = text.slice(Math.max(0, known - come));
      come += text.length;
      if (!fresh) return;
      known = come;
      const follow = atEnd(output);
      output.append(fresh);
      if (follow) output.scrollTop = output.scrollHeight;
    },
    end: () => {
      stream.close();
      setTimeout(() => location.reload(), 500);
    },
  }, says);
}

// The log: lines are drawn once a frame, however fast they come, and the oldest go.
const log = document.querySelector("[data-log]");
if (log) {
  const most = Number(log.dataset.most);
  const button = document.querySelector("[data-log-pause]");
  const state = document.querySelector("[data-log-state]");
  let waiting = [];
  let paused = false;
  let missed = 0;
  let planned = false;
  const draw = () => {
    planned = false;
    const follow = atEnd(log);
    const piece = document.createDocumentFragment();
    for (const line of waiting.splice(0)) {
      const span = document.createElement("span");
      span.textContent = line + "\n";
      piece.append(span);
    }
    log.append(piece);
    while (log.childElementCount > most) log.firstElementChild.remove();
    document.querySelector("[data-log-none]")?.remove();
    if (follow) log.scrollTop = log.scrollHeight;
  };
  const take = (lines) => {
    if (!lines.length) return;
    waiting.push(...lines);
    if (waiting.length > most) {
      missed += paused ? waiting.length - most : 0;
      waiting = waiting.slice(-most);
    }
    if (paused) {
      state.textContent = `paused, ${missed + waiting.length} new`;
    } else if (!planned) {
      planned = true;
      requestAnimationFrame(draw);
    }
  };
  log.scrollTop = log.scrollHeight;
  // The same lines again, and so instead of those that are there; after a loss of connection too.
  const begin = (lines) => {
    log.replaceChildren();
    waiting = [];
    take(lines);
    log.scrollTop = log.scrollHeight;
  };
  let anew = null;
  listen(log.dataset.log, {
    begin: (event) => {
      const lines = JSON.parse(event.data);
      if (!paused) return begin(lines);
      [anew, waiting, missed] = [lines, [], 0];
    },
    message: (event) => take(JSON.parse(event.data)),
  }, (isThere) => {
    if (!paused) state.textContent = isThere ? "live" : "connecting again…";
  });
  button.hidden = false;
  button.addEventListener("click", () => {
    paused = !paused;
    button.textContent = paused ? "Resume" : "Pause";
    state.textContent = paused ? "paused" : "live";
    missed = 0;
    if (paused) return;
    const since = waiting.splice(0);
    if (anew) begin(anew);
    anew = null;
    take(since);
  });
}

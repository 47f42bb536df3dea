// What moves by itself. Without this file every page still does its work by links and forms.
"use strict";

const each = (where, selector, act) => where.querySelectorAll(selector).forEach(act);

// On a phone not all tabs fit: the one that is open is in sight.
document.querySelector(".tabs [aria-current]")?.scrollIntoView({ inline: "center", block: "nearest" });

// Steppers: a button beside a number.
each(document, "[data-step]", (button) => {
  button.hidden = false;
  button.addEventListener("click", () => {
    const input = button.parentElement.querySelector("input");
    const next = Number(input.value || 0) + Number(button.dataset.step);
    input.value = Math.min(Number(input.max), Math.max(Number(input.min), next));
  });
});

// A part of the page that the server sends again whenever it has changed. What has the focus
// keeps it.
const live = document.querySelector("[data-stream]");
if (live) {
  const source = new EventSource(live.dataset.stream);
  source.addEventListener("message", (event) => {
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
  });
  addEventListener("pagehide", () => source.close());
}

const atEnd = (box) => box.scrollHeight - box.scrollTop - box.clientHeight < 40;

// The output of a build that runs: from its start, then on; when it ends, the page as it is then.
const output = document.querySelector("[data-output]");
if (output) {
  const source = new EventSource(output.dataset.output);
  source.addEventListener("open", () => { output.textContent = ""; });
  source.addEventListener("message", (event) => {
    const follow = atEnd(output);
    output.append(JSON.parse(event.data));
    if (follow) output.scrollTop = output.scrollHeight;
  });
  source.addEventListener("end", () => {
    source.close();
    setTimeout(() => location.reload(), 500);
  });
  addEventListener("pagehide", () => source.close());
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
  const source = new EventSource(log.dataset.log);
  source.addEventListener("open", () => { if (!paused) state.textContent = "live"; });
  source.addEventListener("error", () => { state.textContent = "connecting again…"; });
  // The same lines again, and so instead of those that are there; after a loss of connection too.
  source.addEventListener("begin", (event) => {
    if (paused) return;
    log.replaceChildren();
    take(JSON.parse(event.data));
    log.scrollTop = log.scrollHeight;
  });
  source.addEventListener("message", (event) => take(JSON.parse(event.data)));
  button.hidden = false;
  button.addEventListener("click", () => {
    paused = !paused;
    button.textContent = paused ? "Resume" : "Pause";
    state.textContent = paused ? "paused" : "live";
    missed = 0;
    if (!paused) take([...waiting.splice(0)]);
  });
  addEventListener("pagehide", () => source.close());
}

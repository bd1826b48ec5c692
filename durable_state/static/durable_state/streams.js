// Keeps a page of streams current while it is visible: fetches its parts from the server again and
// again, and replaces those that have changed. Without scripts the page stays as it was served.
"use strict";
{
  const POLL = 2000; // milliseconds between two fetches, unless the page says otherwise
  const WHOLE = 5; // every so many fetches, one includes what is costly with many streams
  const PATIENCE = 8000; // milliseconds until a server that does not answer counts as away

  const start = () => {
    const root = document.querySelector("[data-live-url]");
    if (!root) return;
    const texts = JSON.parse(document.getElementById("durable-state-texts").textContent);
    const say = (name, values = {}) => texts[name].replace(/%\((\w+)\)s/g, (_, key) => values[key]);
    // The last HTML of each part as the server sent it; the document serializes it differently.
    const shown = new Map();
    const named = (within) =>
      new Map([...within.querySelectorAll("[data-part]")].map((part) => [part.dataset.part, part]));
    const focusable = (part) => [...part.querySelectorAll("a[href],button,summary")];

    const isUsed = (part) => {
      const selection = document.getSelection();
      return selection && !selection.isCollapsed && part.contains(selection.anchorNode);
    };

    const replace = (part, fresh) => {
      const html = fresh.innerHTML;
      if (shown.get(part.dataset.part) === html || isUsed(part)) return;
      shown.set(part.dataset.part, html);
      if (part.innerHTML === html) return;
      const place = focusable(part).indexOf(document.activeElement);
      const open = [...part.querySelectorAll("details")].map((each) => each.open);
      part.innerHTML = html;
      part.querySelectorAll("details").forEach((each, index) => {
        each.open = open[index] ?? false;
      });
      if (place >= 0) focusable(part)[place]?.focus({ preventScroll: true });
    };

    const show = (html) => {
      const fresh = named(new DOMParser().parseFromString(html, "text/html"));
      for (const [name, part] of named(document)) {
        if (fresh.has(name)) replace(part, fresh.get(name));
      }
    };

    // The page says from when it is while it is not current.
    const note = document.createElement("p");
    note.className = "ds-bar ds-stale-note";
    note.dataset.tone = "warn";
    note.setAttribute("role", "status");
    note.hidden = true;
    root.before(note);
    let lookedAt = new Date();
    const stale = (why) => {
      document.body.classList.toggle("ds-stale", why !== "");
      note.hidden = why === "";
      note.textContent = say("stale", { time: lookedAt.toLocaleTimeString("en-GB"), why });
    };

    let looks = 0;
    const address = () => {
      const url = new URL(root.dataset.liveUrl, location.href);
      if (looks++ % WHOLE === 0) url.searchParams.set("whole", "1");
      return url;
    };

    const look = async () => {
      if (!document.hidden) {
        try {
          const answer = await fetch(address(), {
            headers: { Accept: "text/html" },
            signal: AbortSignal.timeout(PATIENCE),
          });
          if (answer.redirected || answer.status === 403) stale(say("signed_out"));
          else if (answer.status === 404) stale(say("removed"));
          else if (!answer.ok) stale(say("answers", { status: answer.status }));
          else {
            show(await answer.text());
            lookedAt = new Date();
            stale("");
          }
        } catch {
          stale(say("away"));
        }
      }
      setTimeout(look, Number(root.dataset.every ?? POLL));
    };
    look();
  };

  document.readyState === "loading"
    ? document.addEventListener("DOMContentLoaded", start)
    : start();
}

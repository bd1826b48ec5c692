// Follows the rows of a page by websocket. After a change it fetches the page again and shows what
// the server has rendered, so that cells look as the admin makes them. Where nothing answers at the
// socket's address, the page stays as it was served. An open socket says nothing about the stream,
// so the server is asked about that now and then; the page is "Live" if both are well.
"use strict";
{
  const GENTLE = 1500; // milliseconds at least between two fetches of the page
  const AGAIN = 5000; // milliseconds until a failed fetch is tried again
  const ANSWER = 30_000; // milliseconds that the server has to render the page
  const LOOK = 5000; // milliseconds between two questions about the state of the streams
  const PATIENCE = 8000; // milliseconds until a server that does not answer them counts as away

  const start = () => {
    const source = document.getElementById("durable-state-live");
    if (!source) return;
    const config = JSON.parse(source.textContent);
    const bar = document.getElementById("durable-state-bar");
    const say = (name, values = {}) =>
      config.texts[name].replace(/%\((\w+)\)s/g, (_, key) => values[key]);
    const page = config.keys ? formPage(config, bar, say) : listPage(bar, say);
    let timer = null;
    let fetched = -Infinity;

    const changed = (pause = GENTLE) => {
      if (timer !== null) return;
      timer = setTimeout(
        async () => {
          if (document.hidden) {
            document.addEventListener(
              "visibilitychange",
              () => {
                timer = null;
                changed();
              },
              { once: true },
            );
            return;
          }
          fetched = performance.now();
          let failed = false;
          try {
            const answer = await fetch(location.href, {
              headers: { Accept: "text/html" },
              signal: AbortSignal.timeout(ANSWER),
            });
            if (answer.status === 404 || answer.redirected) page.gone();
            else if (answer.ok)
              page.show(new DOMParser().parseFromString(await answer.text(), "text/html"));
            else failed = answer.status >= 500 || answer.status === 429;
          } catch {
            failed = true;
          }
          timer = null;
          if (failed) changed(AGAIN);
        },
        Math.max(100, pause - (performance.now() - fetched)),
      );
    };

    const open = new Set();
    let everOpen = false;
    let liveness = config.liveness;
    let lookedAt = new Date();
    let away = "";
    const connected = () => {
      everOpen ||= open.size > 0;
      if (!everOpen) return;
      const told = away
        ? {
            tone: "warn",
            text: say("stale", { time: lookedAt.toLocaleTimeString("en-GB"), why: away }),
          }
        : open.size < config.feeds.length
          ? { tone: "warn", text: say("reconnecting") }
          : liveness;
      bar.dataset.tone = told.tone;
      page.say(told.text);
    };
    const look = async () => {
      if (!document.hidden && everOpen) {
        try {
          const answer = await fetch(config.liveness_url, {
            headers: { Accept: "application/json" },
            signal: AbortSignal.timeout(PATIENCE),
          });
          if (answer.redirected || answer.status === 403) away = say("signed_out");
          else if (!answer.ok) away = say("answers", { status: answer.status });
          else {
            liveness = await answer.json();
            lookedAt = new Date();
            away = "";
          }
        } catch {
          away = say("away");
        }
        connected();
      }
      setTimeout(look, LOOK);
    };
    setTimeout(look, LOOK);
    import(config.client).then(({ subscribe }) => {
      for (const feed of config.feeds) {
        follow(subscribe, feed, {
          config,
          changed,
          opened: () => {
            open.add(feed);
            connected();
          },
          closed: () => {
            if (open.delete(feed)) connected();
          },
        });
      }
    });
  };

  // One feed, for as long as the page lives.
  const follow = (
    subscribe,
    { stream, type, keys, offset },
    { config, changed, opened, closed },
  ) => {
    let snapshot = false;
    subscribe(stream, {
      types: [type],
      keys,
      offset,
      url: config.socket,
      onFrame: ({ items }) => {
        for (const { headers } of items) {
          if (headers.control === "snapshot-start") snapshot = true;
          else if (headers.control === "snapshot-end") {
            snapshot = false;
            changed();
          } else if (!snapshot) changed();
        }
      },
      onStatus: ({ state }) => {
        if (state === "open" || state === "catching-up") opened();
        else {
          snapshot = false;
          closed();
        }
      },
    });
  };

  const replace = (target, fresh) => {
    if (target.innerHTML === fresh.innerHTML) return;
    target.innerHTML = fresh.innerHTML;
    target.classList.remove("ds-changed");
    void target.offsetWidth; // restarts the animation
    target.classList.add("ds-changed");
  };

  const pks = (root) =>
    JSON.parse(root.getElementById("durable-state-live")?.textContent ?? "{}").rows ?? [];
  const rows = (root) =>
    [...root.querySelectorAll("#result_list > tbody > tr")].filter(
      (row) => !row.querySelector(":scope > td > .errorlist"),
    );

  const listPage = (bar, say) => {
    const known = new Map(pks(document).map((pk, place) => [pk, rows(document)[place]]));
    let later = 0;
    const touched = (row) =>
      (row.contains(document.activeElement) && document.activeElement !== document.body) ||
      [...row.querySelectorAll("input,select,textarea")].some((input) =>
        input.type === "checkbox" || input.type === "radio"
          ? input.checked !== input.defaultChecked
          : input.type !== "hidden" &&
            "defaultValue" in input &&
            input.value !== input.defaultValue,
      );
    const self = {
      text: "",
      say(text) {
        self.text = text;
        self.draw();
      },
      draw() {
        bar.hidden = false;
        bar.replaceChildren(self.text);
        if (!later) return;
        const button = document.createElement("button");
        button.type = "button";
        button.textContent = later === 1 ? say("one_new_row") : say("new_rows", { count: later });
        button.onclick = () => {
          location.reload();
        };
        bar.append(button);
      },
      show(fresh) {
        const order = pks(fresh);
        const there = new Map(order.map((pk, place) => [pk, rows(fresh)[place]]));
        for (const [pk, row] of known) {
          if (!row) continue;
          const now = there.get(pk);
          row.classList.toggle("ds-gone", !now);
          if (now && !touched(row)) replace(row, now);
        }
        const counter = document.querySelector(".paginator");
        const counted = fresh.querySelector(".paginator");
        if (counter && counted) counter.innerHTML = counted.innerHTML;
        later = order.filter((pk) => !known.has(pk)).length;
        self.draw();
      },
      gone() {
        bar.dataset.tone = "warn";
        self.say(say("unreadable"));
        self.say = () => {};
      },
    };
    return self;
  };

  const formPage = (config, bar, say) => {
    const shown = () => [...document.querySelectorAll(".form-row .readonly")];
    const self = {
      say(text) {
        bar.hidden = false;
        bar.textContent = text;
      },
      show(fresh) {
        const now = [...fresh.querySelectorAll(".form-row .readonly")];
        const here = shown();
        if (now.length === here.length) here.forEach((field, place) => replace(field, now[place]));
      },
      gone() {
        bar.dataset.tone = "warn";
        self.say(say("deleted"));
        self.say = () => {}; // nothing that is said of the stream matters any more
      },
    };
    return self;
  };

  document.readyState === "loading"
    ? document.addEventListener("DOMContentLoaded", start)
    : start();
}

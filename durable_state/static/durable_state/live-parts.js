// Keeps the parts of a page between {% live %} and {% endlive %} current: follows their streams,
// and fetches a part again when one of them changes.
//
// Parts that are added later (by htmx, say) are found too. A part's element tells its state by
// `data-live-state`, and by the events `durable-state:update` (before; may be prevented),
// `durable-state:updated` and `durable-state:state`.

const { client, morph: morphing } = document.querySelector(
  "script[data-client][data-morph]",
).dataset;
const [{ subscribe }, { adopt, isRemembered, morph, outdate, remember }] = await Promise.all([
  import(client),
  import(morphing),
]);

const HEADER = "Durable-State-Part";
const PACE = 450; // milliseconds at least between two fetches of a page's parts
// Milliseconds over which the browsers of many people fetch what one commit has changed.
const SPREAD = 100;
const ANSWER = 30_000; // milliseconds that the server has to answer
// Milliseconds until a failed fetch is tried again.
const PATIENCE = { first: 1_000, most: 60_000 };
const CHANGED = 1_600; // milliseconds for which changes are marked by `data-live-changed`
const OFF = {
  "no-request": 'its template has no "request": add django.template.context_processors.request.',
  "not-by-get": "the page answers a POST, which cannot be repeated. Redirect after it.",
  "not-readable": "you may not read its streams, or they do not exist.",
};
const GONE = {
  401: "you are signed out.",
  403: "you are no longer allowed to see it.",
  404: "its page is gone.",
  405: "its page does not answer GET.",
  410: "its page is gone.",
};

/** @type {Map<Element, Part>} */
const parts = new Map();
/** The subscriptions that parts share, by what they follow. */
const followed = new Map();
/** The pages that parts are fetched from, by URL. */
const pages = new Map();
/** For pages that let only named policies of Trusted Types write HTML. */
const trusted = globalThis.trustedTypes?.createPolicy("durable-state", {
  createHTML: (html) => html,
});

class Part {
  constructor(element) {
    this.element = element;
    this.stopped = false;
    this.refused = false;
    this.joined = [];
    this.read();
    if (!isRemembered(element)) remember(element);
    if (!pages.has(this.url)) pages.set(this.url, new Page(this.url));
    this.page = pages.get(this.url);
    this.follow();
    if (this.unreadable)
      console.info(
        `durable_state: ${this.unreadable} of the streams of the part ${this.name} cannot be read.`,
      );
  }

  read() {
    const { part, url, follow, version, unreadable } = JSON.parse(this.element.dataset.live);
    Object.assign(this, {
      name: part,
      url: location.origin + url, // also where it begins with "//", as the path of a URL may
      follows: follow,
      version,
      unreadable,
    });
  }

  // Follows what the server has named last, which may be something else than before.
  follow() {
    const joined = this.follows.map((each) => join(each, this));
    for (const shared of this.joined) if (!joined.includes(shared)) shared.leave(this);
    this.joined = joined;
    this.look();
  }

  ring() {
    if (this.stopped) return;
    this.due = true;
    this.page.schedule();
  }

  tell(state, text = "") {
    if (this.element.dataset.liveState === state) return;
    this.element.dataset.liveState = state;
    this.element.dispatchEvent(
      new CustomEvent("durable-state:state", { bubbles: true, detail: { state, text } }),
    );
  }

  // Tells the state of its streams: open only if all of them are.
  look() {
    if (this.stopped) return;
    const states = this.joined.map((shared) => shared.state);
    const refused = this.joined.find((shared) => shared.state === "refused");
    if (!refused)
      this.tell(
        ["waiting", "connecting", "catching-up"].find((state) => states.includes(state)) ?? "open",
      );
    else if (this.refused) this.stop(refused.text);
    else {
      // The page knows which of its streams are left; it is asked once, for a version of its own.
      this.refused = true;
      this.version = "";
      this.ring();
    }
  }

  show(fresh) {
    const event = new CustomEvent("durable-state:update", {
      bubbles: true,
      cancelable: true,
      detail: { fresh },
    });
    if (!this.element.dispatchEvent(event)) return;
    const changed = morph(this.element, fresh);
    outdate(this.element);
    this.read();
    this.follow();
    for (const each of changed) mark(each);
    globalThis.htmx?.process(this.element);
    this.element.dispatchEvent(
      new CustomEvent("durable-state:updated", { bubbles: true, detail: { changed } }),
    );
  }

  stop(text) {
    this.stopped = true;
    console.warn(`durable_state: the live part ${this.name} no longer updates: ${text}`);
    this.tell("off", text);
    this.leave();
  }

  leave() {
    for (const shared of this.joined) shared.leave(this);
  }
}

// ---- following --------------------------------------------------------------------------------

function join({ stream, types, keys, offset }, part) {
  const name = JSON.stringify([stream, types, keys]);
  if (!followed.has(name)) followed.set(name, new Shared(name, { stream, types, keys, offset }));
  const shared = followed.get(name);
  // What was committed between the part's rendering and now may have come for the others already.
  if (!shared.parts.has(part) && shared.subscription.offset !== offset) part.ring();
  shared.parts.add(part);
  return shared;
}

class Shared {
  constructor(name, { stream, ...options }) {
    this.name = name;
    this.parts = new Set();
    this.state = "connecting";
    this.staged = false;
    this.subscription = subscribe(stream, {
      ...options,
      onFrame: ({ items }) => {
        let changed = false;
        for (const { headers } of items) {
          if (headers.control === "snapshot-start") this.staged = true;
          else if (headers.control === "snapshot-end") [this.staged, changed] = [false, true];
          else if (!this.staged) changed = true;
        }
        if (changed) for (const each of this.parts) each.ring();
      },
      onStatus: ({ state, text }) => {
        if (state === "waiting") this.staged = false;
        Object.assign(this, { state, text });
        for (const each of [...this.parts]) each.look();
      },
    });
  }

  leave(part) {
    this.parts.delete(part);
    if (this.parts.size) return;
    followed.delete(this.name);
    this.subscription.close();
  }
}

// ---- fetching ---------------------------------------------------------------------------------

class Page {
  constructor(url) {
    this.url = url;
    this.timer = null;
    this.failures = 0;
    this.fetched = -Infinity;
    this.took = 0;
  }

  schedule() {
    if (this.timer !== null || document.hidden) return; // what is due is fetched on the return
    const pause = this.failures
      ? Math.min(PATIENCE.most, PATIENCE.first * 2 ** Math.min(this.failures - 1, 8)) *
        (0.5 + Math.random() / 2)
      : Math.max(Math.random() * SPREAD, PACE + this.took - (performance.now() - this.fetched));
    this.timer = setTimeout(async () => {
      if (!document.hidden) await this.fetch();
      this.timer = null;
      if (this.due().length) this.schedule();
    }, pause);
  }

  // A part inside another one that is due arrives with it.
  due() {
    const due = [...parts.values()].filter(
      (part) => part.page === this && part.due && !part.stopped,
    );
    return due.filter(
      (part) => !due.some((other) => other !== part && other.element.contains(part.element)),
    );
  }

  async fetch() {
    const due = this.due();
    if (!due.length) return;
    const inside = [...parts.values()].filter((part) =>
      due.some((other) => other.element.contains(part.element)),
    );
    for (const part of inside) part.due = false; // what rings from now on is due again
    this.fetched = performance.now();
    const names = due.map(({ name }) => encodeURIComponent(name));
    const held = due.map(({ version }, place) => `${names[place]}:${version}`);
    try {
      const answer = await fetch(this.url, {
        headers: {
          Accept: "text/html",
          [HEADER]: names.join(","),
          "If-None-Match": `"${held.join(",")}"`,
        },
        cache: "no-store",
        mode: "same-origin",
        redirect: "manual",
        signal: AbortSignal.timeout(ANSWER),
      });
      this.took = performance.now() - this.fetched;
      if (answer.type === "opaqueredirect")
        this.stop(due, "its page now redirects elsewhere; perhaps you are signed out.");
      else if (answer.status in GONE) this.stop(due, GONE[answer.status]);
      else if (answer.status === 200)
        this.show(due, await answer.text(), answer.headers.has(HEADER));
      else if (answer.status !== 304) throw new Error(`The server answers ${answer.status}.`);
      this.failures = 0;
    } catch (error) {
      console.warn(
        `durable_state: ${this.url} could not be fetched, trying again. ${error.message}`,
      );
      this.failures++;
      for (const part of due) part.due = true;
    }
  }

  show(due, html, apart) {
    const template = document.createElement("template");
    template.innerHTML = trusted?.createHTML(html) ?? html;
    // The middleware sends each part in a template: only there may a row stand beside a div.
    const roots = apart
      ? [...template.content.children].map(({ content }) => content)
      : [template.content];
    const fresh = new Map(
      roots
        .flatMap((root) => [...root.querySelectorAll("[data-live]")])
        .map((element) => [JSON.parse(element.dataset.live).part, element]),
    );
    for (const part of due) {
      if (!part.element.isConnected) continue;
      if (fresh.has(part.name)) part.show(fresh.get(part.name));
      else if (roots.some((root) => root.querySelector("[data-live-off]")))
        part.stop(OFF["not-readable"]);
      else
        console.info(
          `durable_state: the page has no live part ${part.name} just now; it stays as it is.`,
        );
    }
    find();
  }

  stop(due, text) {
    for (const part of due) part.stop(text);
  }
}

function mark(element) {
  element.removeAttribute("data-live-changed");
  void element.offsetWidth; // restarts an animation
  element.setAttribute("data-live-changed", "");
  setTimeout(() => element.removeAttribute("data-live-changed"), CHANGED);
}

// ---- finding ----------------------------------------------------------------------------------

const told = new WeakSet();

function find() {
  for (const [element, part] of parts) {
    if (element.isConnected) continue;
    parts.delete(element);
    part.leave();
  }
  const inUse = new Set([...parts.values()].map((part) => part.page));
  for (const [url, page] of pages) if (!inUse.has(page)) pages.delete(url);
  for (const element of document.querySelectorAll("[data-live]"))
    if (!parts.has(element)) parts.set(element, new Part(element));
  for (const element of document.querySelectorAll("[data-live-off]")) {
    if (told.has(element)) continue;
    told.add(element);
    console.info(`durable_state: a part of this page is not live: ${OFF[element.dataset.liveOff]}`);
  }
}

find();
let looking = false;
new MutationObserver(() => {
  if (looking) return;
  looking = true;
  setTimeout(() => {
    looking = false;
    find();
  }, 0);
}).observe(document.documentElement, { childList: true, subtree: true });
// What htmx has swapped in is the server's too. It is noted at once, before other scripts change it.
const swapped = (nodesOf) => (event) => {
  adopt(...nodesOf(event));
  find();
};
document.addEventListener(
  "htmx:load",
  swapped(({ target }) => [target]),
);
for (const name of ["htmx:afterSwap", "htmx:oobAfterSwap"])
  document.addEventListener(
    name,
    swapped(({ detail }) => detail.target?.childNodes ?? []),
  );
document.addEventListener(
  "htmx:before:settle",
  swapped(({ detail }) => detail.newContent),
); // htmx 4
document.addEventListener(
  "visibilitychange",
  () => document.hidden || pages.forEach((page) => page.due().length && page.schedule()),
);

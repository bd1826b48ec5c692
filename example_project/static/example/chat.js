import { drawRows, face, make, post, showStanding } from "./site.js";

const setup = JSON.parse(document.getElementById("setup").textContent);
const [log, typingLine, composer, text, trouble, people, me, introduce] = [
  "log",
  "typing",
  "composer",
  "text",
  "trouble",
  "people",
  "me",
  "introduce",
].map((id) => document.getElementById(id));
const visitor = setup.visitor;
const GROUP = 5 * 60 * 1000; // messages of one author within this time share one head
const TYPING = 6000; // someone whose browser went away stops typing after this
const REFRESH = 3000; // how often we say that we still type
const HERE = 20_000; // how often we say that we are here
const GONE = 2.5 * HERE; // someone whose browser went away without a word is gone after this
// One person may look through several windows.
const place = crypto.getRandomValues(new Uint32Array(1))[0].toString(16);

let rows = {
  user: new Map(),
  message: new Map(),
  reaction: new Map(),
  typing: new Map(),
  presence: new Map(),
};
const pending = new Map(); // what we sent and have not seen come back: key -> message
const seen = new Map(); // "type/key" -> [seenAt, when we saw it by our own clock]

// ---- what we say -------------------------------------------------------------------------------

// One after the other: "is typing" must not arrive after what was typed.
let before = Promise.resolve();
function act(action, options) {
  const answer = before.then(async () => {
    try {
      const { key } = await post("act/", JSON.stringify(action), options);
      trouble.hidden = true;
      return key;
    } catch (error) {
      trouble.textContent = error.message;
      trouble.hidden = false;
      return null;
    }
  });
  before = answer;
  return answer;
}

let saidTyping = 0;
function typing(on) {
  if (on ? Date.now() - saidTyping < REFRESH : !saidTyping) return;
  saidTyping = on ? Date.now() : 0;
  act({ do: "typing", on }, { keepalive: true });
}

async function say() {
  const said = text.value.trim();
  if (!said) return;
  text.value = "";
  saidTyping = 0; // the message itself ends the typing
  fit();
  const key = await act({ do: "say", text: said });
  if (key === null) {
    text.value ||= said;
    fit();
  } else if (!rows.message.has(key)) {
    pending.set(key, { userId: visitor.key, text: said, sentAt: new Date().toISOString() });
    draw();
  }
}

function fit() {
  text.style.height = "auto";
  text.style.height = `${Math.min(text.scrollHeight, 160)}px`;
}

composer.addEventListener("submit", (event) => {
  event.preventDefault();
  say();
});
text.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    say();
  }
});
text.addEventListener("input", () => {
  fit();
  typing(text.value.trim() !== "");
});
text.addEventListener("blur", () => typing(false));

// ---- that we are here --------------------------------------------------------------------------

let saidHere = 0;
function here(on) {
  if (!visitor.name || (on ? Date.now() - saidHere < HERE : !saidHere)) return;
  saidHere = on ? Date.now() : 0;
  const action = JSON.stringify({ do: "here", place, on });
  // Nobody is left to be told that it failed; the others find out after a while.
  post("act/", action, { keepalive: true }).catch(() => {
    saidHere = 0;
  });
}
setInterval(() => here(true), 1000);
addEventListener("pagehide", () => {
  typing(false);
  here(false);
});
addEventListener("pageshow", () => here(true));

// ---- who we are --------------------------------------------------------------------------------

introduce.querySelector("form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const form = event.target;
  try {
    Object.assign(visitor, await post(form.action, new FormData(form)));
    me.textContent = visitor.name;
    me.hidden = false;
    introduce.close();
    saidHere = 0;
    here(true);
    text.focus();
    draw();
  } catch (error) {
    form.querySelector(".wrong").textContent = error.message;
  }
});
// Without a name there is nothing to do here.
introduce.addEventListener("cancel", (event) => visitor.name || event.preventDefault());
me.addEventListener("click", () => introduce.showModal());
if (!visitor.name) introduce.showModal();

// ---- what we see -------------------------------------------------------------------------------

const nameOf = (key) =>
  rows.user.get(key)?.name ?? (key === visitor.key ? visitor.name : "someone");
const clock = new Intl.DateTimeFormat(undefined, { timeStyle: "short" });
const calendar = new Intl.DateTimeFormat(undefined, {
  weekday: "long",
  day: "numeric",
  month: "long",
});

function reactionsOf(message) {
  const given = new Map();
  for (const { messageId, userId, emoji } of rows.reaction.values()) {
    if (messageId === message) given.set(emoji, [...(given.get(emoji) ?? []), userId]);
  }
  return given;
}

function emojiButton(key, emoji, by, className) {
  const mine = by.includes(visitor.key);
  const names = by.map(nameOf).join(", ");
  const label = names ? `${emoji} by ${names}` : `React with ${emoji}`;
  const button = make(
    "button",
    className,
    { type: "button", "aria-pressed": mine, "aria-label": label, title: names || null },
    emoji,
  );
  button.addEventListener("click", () => act({ do: "react", message: key, emoji, on: !mine }));
  return button;
}

function reactionBar(key, given) {
  const bar = make("div", "reactions");
  for (const [emoji, by] of given) {
    const button = emojiButton(key, emoji, by, "given");
    button.append(make("span", "", {}, String(by.length)));
    bar.append(button);
  }
  return bar;
}

// What one can do with a message; it floats above, so that nothing moves when the pointer comes.
function tools(key, given, own) {
  const bar = make("div", "tools", { role: "group", "aria-label": "React or delete" });
  for (const emoji of setup.emoji)
    bar.append(emojiButton(key, emoji, given.get(emoji) ?? [], "offer"));
  if (own) {
    const remove = make(
      "button",
      "remove",
      { type: "button", "aria-label": "Delete this message", title: "Delete" },
      "×",
    );
    remove.addEventListener("click", () => act({ do: "delete", message: key }));
    bar.append(remove);
  }
  return bar;
}

function bubble(message, first) {
  const own = message.userId === visitor.key;
  const at = new Date(message.sentAt);
  const words = make("div", "words");
  if (first) {
    words.append(
      make(
        "p",
        "head",
        {},
        make("strong", "", {}, nameOf(message.userId)),
        make(
          "time",
          "",
          { datetime: message.sentAt, title: at.toLocaleString() },
          clock.format(at),
        ),
      ),
    );
  }
  words.append(make("p", "text", {}, message.text));
  const item = make(
    "article",
    `message${own ? " own" : ""}${first ? " first" : ""}${message.waiting ? " pending" : ""}`,
    { "data-key": message.key, tabindex: "-1" },
  );
  item.append(
    first
      ? face(message.userId, nameOf(message.userId))
      : make("span", "face none", { "aria-hidden": "true" }),
    words,
  );
  if (message.waiting) words.append(make("p", "waiting", {}, "on its way …"));
  else {
    const given = reactionsOf(message.key);
    if (given.size) words.append(reactionBar(message.key, given));
    item.append(tools(message.key, given, own));
  }
  return item;
}

function drawLog() {
  const atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 60;
  const focused = document.activeElement?.closest?.(".message")?.dataset.key;
  const label = document.activeElement?.getAttribute?.("aria-label");
  const messages = [...rows.message].map(([key, message]) => ({ key, ...message }));
  for (const [key, message] of pending) messages.push({ key, ...message, waiting: true });
  messages.sort((a, b) => Date.parse(a.sentAt) - Date.parse(b.sentAt));
  const drawn = [];
  let before = null;
  for (const message of messages) {
    const at = new Date(message.sentAt);
    const newDay = !before || new Date(before.sentAt).toDateString() !== at.toDateString();
    if (newDay) drawn.push(make("p", "day", {}, calendar.format(at)));
    drawn.push(
      bubble(
        message,
        newDay || before.userId !== message.userId || at - new Date(before.sentAt) > GROUP,
      ),
    );
    before = message;
  }
  log.replaceChildren(
    ...(drawn.length ? drawn : [make("p", "nothing", {}, "Nobody has said anything yet. Say hello!")]),
  );
  if (atEnd) log.scrollTop = log.scrollHeight;
  // Drawing anew must not take the keyboard's place away.
  if (focused)
    [...log.querySelectorAll(`[data-key="${CSS.escape(focused)}"] button`)]
      .find((button) => button.getAttribute("aria-label") === label)
      ?.focus();
}

// Clocks differ: what counts is when we saw it, and what was old already when we came does not
// count at all.
function isFresh(type, key, seenAt, lasts) {
  const now = Date.now();
  const name = `${type}/${key}`;
  if (seen.get(name)?.[0] !== seenAt) seen.set(name, [seenAt, now]);
  return now - seen.get(name)[1] < lasts && now - Date.parse(seenAt) < lasts + 30_000;
}

function drawTyping() {
  const names = [];
  for (const [key, { seenAt }] of rows.typing)
    if (isFresh("typing", key, seenAt, TYPING) && key !== visitor.key) names.push(nameOf(key));
  const line =
    names.length === 0
      ? ""
      : names.length === 1
        ? `${names[0]} is typing`
        : names.length < 4
          ? `${names.slice(0, -1).join(", ")} and ${names.at(-1)} are typing`
          : "Several people are typing";
  if (typingLine.textContent !== line) typingLine.textContent = line;
}

// Who is here now, not everybody who ever was.
function drawPeople() {
  const present = new Set();
  for (const [key, { userId, seenAt }] of rows.presence)
    if (isFresh("presence", key, seenAt, GONE)) present.add(userId);
  const all = [...present]
    .map((key) => ({ key, name: nameOf(key) }))
    .sort((a, b) => a.name.localeCompare(b.name));
  const shown = JSON.stringify(all);
  if (people.dataset.shown === shown) return;
  people.dataset.shown = shown;
  people.replaceChildren(
    ...all.map(({ key, name }) =>
      make(
        "li",
        "",
        { "data-key": key },
        face(key, name),
        make("span", "", {}, name + (key === visitor.key ? " (you)" : "")),
      ),
    ),
  );
  document.getElementById("present").textContent =
    all.length === 1 ? "1 person here" : `${all.length} people here`;
}

function draw(changed = null) {
  for (const key of pending.keys()) if (rows.message.has(key)) pending.delete(key);
  const concerns = (...types) =>
    changed === null || [...changed].some((name) => types.includes(name.split("/", 1)[0]));
  if (concerns("message", "reaction", "user")) drawLog();
  drawPeople();
  drawTyping();
}
setInterval(() => {
  drawTyping();
  drawPeople();
}, 1000);

const followed = drawRows(setup.stream, Object.keys(rows), (all, changed) => {
  rows = all;
  draw(changed);
});
showStanding(setup.stream, followed);

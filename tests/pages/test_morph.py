"""The morph alone, on pages made for it, in real Chromium."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page

from tests.admin.support.site import CHECKOUT
from tests.servers.chromium import launched

STATIC = CHECKOUT / "durable_state" / "static" / "durable_state"
TOOLS = """
  const { morph, remember } = await import("http://site.test/morph.js");
  document.body.innerHTML = "<main></main>";
  const main = document.querySelector("main");
  const inert = (html) => {
    const template = document.createElement("template");
    template.innerHTML = `<main>${html}</main>`;
    return template.content.firstChild;
  };
  const show = (html) => { main.innerHTML = html; remember(main); };
  const go = (html) => morph(main, inert(html));
  const find = (selector) => main.querySelector(selector);
"""


@pytest.fixture(scope="module")
def page(chromium_path: str) -> Iterator[Page]:
    """A page of a site that has the script and nothing else."""
    with launched(chromium_path) as browser:
        page = browser.new_page()
        page.route(
            "http://site.test/**",
            lambda route: (
                route.fulfill(path=STATIC / "morph.js", content_type="text/javascript")
                if Path(route.request.url).suffix == ".js"
                else route.fulfill(body="<!doctype html>", content_type="text/html")
            ),
        )
        page.goto("http://site.test/")
        yield page


def run(page: Page, script: str) -> Any:
    return page.evaluate(f"async () => {{ {TOOLS} {script} }}")


def test_random_pages_end_as_the_server_renders_them(page: Page) -> None:
    """Whatever was moved, added, removed or changed, keyed or not, three versions in a row; and
    keyed elements that stay are the same ones.
    """
    wrong = run(
        page,
        """
        let seed = 7;
        const random = (below) => (seed = (seed * 16807) % 2147483647) % below;
        const tree = (depth) => {
          const keys = [..."abcdefgh"].sort(() => random(3) - 1).slice(0, random(8));
          return Array.from({ length: random(6) }, () => {
            const inside = depth ? tree(depth - 1) : `text ${random(4)}`;
            switch (random(5)) {
              case 0: return `<q class="c${random(3)} d${random(2)}">${inside}</q>`;
              case 1: return `<b title="${random(3)}">${random(3)}</b>`;
              case 2: return ` text ${random(3)} `;
              case 3: return `<!--${random(2)}--><hr>`;
              default: return keys.length
                ? `<div data-key="${keys.pop()}">${inside}</div>` : "<i></i>";
            }
          }).join("");
        };
        for (let round = 0; round < 400; round++) {
          show(tree(2));
          for (let version = 0; version < 3; version++) {
            const html = tree(2);
            const top = (root) => [...root.children].filter((each) => each.dataset.key);
            const before = new Map(top(main).map((each) => [each.dataset.key, each]));
            go(html);
            if (main.innerHTML !== inert(html).innerHTML) return [html, main.innerHTML];
            for (const each of top(main)) {
              const old = before.get(each.dataset.key);
              if (old && old !== each) return ["another element", each.outerHTML];
            }
          }
        }
        return null;
        """,
    )
    assert wrong is None


def test_what_is_typed_stays_in_its_own_row(page: Page) -> None:
    """Also where rows have no key and one is inserted above them; the rest follows the server."""
    values = run(
        page,
        """
        const row = (text, value) => `<li>${text} <input value="${value}"></li>`;
        show(row("one", 1) + row("two", 2) + row("three", 3));
        find("li:nth-child(2) input").value = "typed";
        go(row("zero", 0) + row("one", 1) + row("two", 2) + row("three", 33));
        return [...main.querySelectorAll("input")].map((each) => each.value);
        """,
    )
    assert values == ["0", "1", "typed", "33"]


def test_fields_of_each_kind(page: Page) -> None:
    """Touched ones keep what they hold; untouched ones show what the server says, also after they
    were touched once.
    """
    held = run(
        page,
        """
        const form = (n) => `
          <textarea id=t>text ${n}</textarea><textarea id=u>text ${n}</textarea>
          <input type=checkbox id=c ${n > 1 ? "checked" : ""}><input type=checkbox id=d>
          <select id=s><option>a<option ${n > 1 ? "selected" : ""}>b</select>
          <select id=r><option>a<option>b<option ${n > 1 ? "selected" : ""}>c</select>
          <input type=radio name=q value=1 ${n > 1 ? "" : "checked"}>
          <input type=radio name=q value=2 ${n > 1 ? "checked" : ""}>
          <input type=radio name=q value=3>
          <input id=i value="${n}"><input type=hidden id=h value="${n}">`;
        show(form(1));
        find("#t").value = "typed";
        find("#d").checked = true;
        find("#r").value = "b";
        find("[name=q][value='3']").checked = true;
        find("#i").value = "typed";
        go(form(2));
        const first = [...main.querySelectorAll("textarea, select, #i, #h")]
          .map((each) => each.value);
        first.push(find("#c").checked, find("#d").checked, find("[name=q]:checked").value);
        find("#i").value = "2";  // what the server has: not touched any more
        go(form(3));
        return [first, find("#i").value];
        """,
    )
    assert held == [["typed", "text 2", "b", "b", "typed", "2", True, True, "3"], "3"]


def test_what_scripts_have_done_stays(page: Page) -> None:
    """Attributes, classes, texts and elements that the server never rendered; what is kept by
    ``data-live-keep`` is not touched at all.
    """
    html = run(
        page,
        """
        show('<p class="a" title="x"><b>1</b></p><div data-live-keep><i>chart</i></div>');
        const p = find("p");
        p.classList.add("mine");
        p.style.color = "red";
        p.append(Object.assign(document.createElement("em"), { textContent: "mine" }));
        find("i").textContent = "drawn";
        go('<p class="b"><b>2</b></p><div data-live-keep><i>other</i></div>');
        return main.innerHTML;
        """,
    )
    assert html == (
        '<p class="mine b" style="color: red;"><b>2</b><em>mine</em></p>'
        '<div data-live-keep=""><i>drawn</i></div>'
    )


STAYS = {
    "a choice, although another radio button comes checked": (
        """
        const radios = (keys, checked) => [...keys].map((key) => `<label data-key=${key}><input
          type=radio name=r value=${key} ${key === checked ? "checked" : ""}></label>`).join("");
        show(radios("ab", "a"));
        find("[value=b]").checked = true;
        go(radios("abc", "c"));
        return find(":checked").value;
        """,
        "b",
    ),
    "a choice, until its option goes": (
        """
        const select = (values) => `<select>${[...values].map((value) =>
          `<option value=${value} ${value === "b" ? "selected" : ""}>${value}</option>`)}</select>`;
        show(select("abc"));
        find("select").value = "c";
        go(select("zabc"));
        const before = find("select").value;
        go(select("zab"));
        return [before, find("select").value];
        """,
        ["c", "b"],
    ),
    "several choices": (
        """
        const select = (values) => `<select multiple>${[...values].map((value) =>
          `<option value=${value}>${value}</option>`)}</select>`;
        show(select("abcd"));
        for (const value of "bd") find(`[value=${value}]`).selected = true;
        go(select("zdcba"));
        return [...find("select").selectedOptions].map(({ value }) => value);
        """,
        ["d", "b"],
    ),
    "what is typed and ticked, with its own row, although all rows have changed": (
        """
        const row = (value, n) => `<li>${n} <input name=note-${value}></li><label>${n}
          <input type=checkbox id=${n}-${value} name=c value=${value}></label>`;
        const rows = (values, n) => [...values].map((value) => row(value, n)).join("");
        show(rows("123", 1));
        find("[name=note-2]").value = "for 2";
        find("[value='2']").checked = true;
        go(rows("0123", 2));
        return [...main.querySelectorAll("[name^=note]")].map(({ name, value }) => name + value)
          .concat(find(":checked").value);
        """,
        ["note-0", "note-1", "note-2for 2", "note-3", "2"],
    ),
    "a choice, although the ids of the choices are numbered anew": (
        """
        const choices = (values) => [...values].map((value, place) => `<div><label for=id_${place}>
          <input type=checkbox id=id_${place} name=c value=${value}> ${value}</label></div>`);
        show(choices("abc").join(""));
        find("[value=b]").checked = true;
        go(choices("0abc").join(""));
        return [...main.querySelectorAll(":checked")].map(({ id, value }) => [id, value]);
        """,
        [["id_2", "b"]],
    ),
    "the caret, where the server changes the text": (
        """
        const fields = (n) => `<textarea>text ${n}</textarea><input value="value ${n}">`;
        show(fields(1));
        const carets = ["textarea", "input"].map((name, version) => {
          find(name).focus();
          find(name).setSelectionRange(2, 4);
          go(fields(version + 2));
          return [find(name).value, find(name).selectionStart, find(name).selectionEnd];
        });
        return carets;
        """,
        [["text 2", 2, 4], ["value 3", 2, 4]],
    ),
    "a number that is half typed": (
        """
        show('<input type=number>');
        find("input").focus();
        document.execCommand("insertText", false, "-");
        go('<input type=number value=5>');
        return [find("input").value, find("input").validity.badInput];
        """,
        ["", True],
    ),
    "a selection around a text that changes": (
        """
        show("<p>some 12 words to select</p>");
        getSelection().setBaseAndExtent(find("p").firstChild, 8, find("p").firstChild, 13);
        go("<p>some 345 words to select</p>");
        return getSelection().toString();
        """,
        "words",
    ),
    "what was written in an editable element, until it is saved": (
        """
        const note = (text, n) => `<div contenteditable>${text}</div><b>${n}</b>`;
        show(note("<p>one</p>", 1));
        find("div").innerHTML = "<p>mine</p><p>two</p>";
        go(note("<p>one changed</p>", 2));
        const kept = main.innerHTML;
        go(note("<p>mine</p><p>two</p>", 3));
        go(note("<p>mine</p><p>two</p><p>three</p>", 4));
        return [kept, main.innerHTML].map((html) => html.replaceAll('=""', ""));
        """,
        [
            "<div contenteditable><p>mine</p><p>two</p></div><b>2</b>",
            "<div contenteditable><p>mine</p><p>two</p><p>three</p></div><b>4</b>",
        ],
    ),
    "a row in which somebody writes, in any way": (
        """
        customElements.define("a-field", class extends HTMLElement {
          connectedCallback() {
            this.attachShadow({ mode: "closed", delegatesFocus: true }).innerHTML = "<input>";
          }
        });
        show(`<p data-key=a><i contenteditable>one</i></p><p data-key=b><a-field></a-field></p>
          <p data-key=c><i contenteditable>one</i></p>`);
        find("[data-key=a] i").textContent = "mine";
        find("a-field").focus();
        go("");
        return [...main.children].map(({ dataset }) => dataset.key);
        """,
        ["a", "b"],
    ),
    "what a script has replaced or removed, while the server renders it as before": (
        """
        const row = (n) => `<span class=c${n}>fallback</span><p>notice</p><b>${n}</b><i>1</i>`;
        show(row(1));
        find("span").textContent = "by a script";
        find("p").remove();
        find("i").remove();
        go(row(2));
        const away = main.innerHTML;
        go(row(3).replace("<i>1", "<i>2"));
        return [away, main.innerHTML];
        """,
        [
            '<span class="c2">by a script</span><b>2</b>',
            '<span class="c3">by a script</span><b>3</b><i>2</i>',
        ],
    ),
    "what is played, opened, scrolled and focused, where it moves": (
        """
        const canvas = document.createElement("canvas");
        const drawing = setInterval(() => canvas.getContext("2d").fillRect(0, 0, 9, 9), 20);
        const parts = {
          a: "<p data-key=a>a</p>", b: "<p data-key=b>b</p>", c: "<p data-key=c>c</p>",
          v: "<video data-key=v muted></video>", d: "<dialog data-key=d>dialog</dialog>",
          e: "<details data-key=e><summary>s</summary>more</details>",
          p: "<div data-key=p popover>p</div>",
          s: `<div data-key=s style="height:20px;overflow:auto"><hr style="height:200px"></div>`,
          f: '<iframe data-key=f srcdoc="<p>framed"></iframe>',
        };
        const all = (keys) => [...keys].map((key) => parts[key]).join("");
        show(all("abcvdepsf"));
        find("video").srcObject = canvas.captureStream(10);
        await find("video").play();
        find("dialog").showModal();
        find("details").open = true;
        find("[popover]").showPopover();
        find("[data-key=s]").scrollTop = 50;
        while (!find("iframe").contentDocument?.querySelector("p"))
          await new Promise((resolve) => setTimeout(resolve, 20));
        find("iframe").contentWindow.mine = true;
        go(all("fspedvabc"));
        await new Promise((resolve) => setTimeout(resolve, 50));
        clearInterval(drawing);
        return [!find("video").paused, find("dialog").matches(":modal"), find("details").open,
          find("[popover]").matches(":popover-open"), find("[data-key=s]").scrollTop,
          find("iframe").contentWindow.mine];
        """,
        [True, True, True, True, 50, True],
    ),
}


@pytest.mark.parametrize("what", STAYS)
def test_it_stays(page: Page, what: str) -> None:
    """What a person or a script has done in the part."""
    script, expected = STAYS[what]
    assert run(page, script) == expected


def test_templates_are_compared_with_what_is_in_them(page: Page) -> None:
    """Although they have no child nodes."""
    html = run(
        page,
        """
        show("<template><p>1</p></template>");
        go("<template><p>2</p></template>");
        return find("template").innerHTML;
        """,
    )
    assert html == "<p>2</p>"


def test_what_is_remembered_is_inert(page: Page) -> None:
    """The copies construct no custom element, load no picture and play no sound."""
    made = run(
        page,
        """
        let made = 0;
        customElements.define("a-counter", class extends HTMLElement {
          constructor() { super(); made += 1; }
        });
        show("<a-counter></a-counter>");
        go("<a-counter></a-counter><b></b>");
        return made;
        """,
    )
    assert made == 1


def test_the_focused_element_is_never_moved(page: Page) -> None:
    """Others are moved around it; a button that has the focus goes with its row."""
    assert run(
        page,
        """
        const rows = (keys) => [...keys]
          .map((key) => `<div data-key=${key}><input><button></button></div>`).join("");
        show(rows("abcdef"));
        const input = find("[data-key=e] input");
        input.focus();
        let moved = 0;
        new MutationObserver((records) => {
          for (const { removedNodes } of records) {
            for (const each of removedNodes) moved += each.contains(input) ? 1 : 0;
          }
        }).observe(main, { childList: true });
        go(rows("feadbc"));
        await 0;
        const order = [...main.children].map((each) => each.dataset.key).join("");
        const kept = document.activeElement === input;
        find("[data-key=a] button").focus();
        go(rows("fedbc"));
        return [order, kept, moved, find("[data-key=a]")];
        """,
    ) == ["feadbc", True, 0, None]

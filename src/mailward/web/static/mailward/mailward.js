// Small comforts; every page works without them. No inline handlers: the Content-Security-Policy forbids them.
"use strict";

// <button data-copy="#id"> copies that element's text (or value), <button data-copy-text="..."> the text itself
document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy], [data-copy-text]");
  if (!button) return;
  const source = button.dataset.copy ? document.querySelector(button.dataset.copy) : null;
  const text = source ? (source.value ?? source.textContent.trim()) : button.dataset.copyText;
  const said = await copyText(text, source);
  const before = button.dataset.label ?? button.textContent;
  button.dataset.label = before;
  button.textContent = said;
  setTimeout(() => { button.textContent = before; }, 1600);
});

async function copyText(text, source) {
  try {
    await navigator.clipboard.writeText(text);
    return "Copied";
  } catch {
    // no clipboard on plain HTTP: select the text, so that one key copies it
    if (!source) return "Not allowed";
    const range = document.createRange();
    range.selectNodeContents(source);
    getSelection().removeAllRanges();
    getSelection().addRange(range);
    try { return document.execCommand("copy") ? "Copied" : "Press Ctrl+C"; } catch { return "Press Ctrl+C"; }
  }
}

// a menu closes when the person turns elsewhere
document.addEventListener("click", (event) => {
  for (const menu of document.querySelectorAll("details.menu[open]")) {
    if (!menu.contains(event.target)) menu.open = false;
  }
});
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  for (const menu of document.querySelectorAll("details.menu[open]")) {
    menu.open = false;
    menu.querySelector("summary").focus();
  }
});

// on a phone a row of tabs is wider than the screen: the one that is open is in sight
for (const tab of document.querySelectorAll(".tabs [aria-current]")) {
  const bar = tab.parentElement;
  const gap = tab.getBoundingClientRect().left - bar.getBoundingClientRect().left;
  bar.scrollLeft += gap - (bar.clientWidth - tab.offsetWidth) / 2;
}

// <form data-once>: a second click does not send it again
document.addEventListener("submit", (event) => {
  const form = event.target;
  if (!form.matches("form[data-once]")) return;
  if (form.dataset.sent) { event.preventDefault(); return; }
  form.dataset.sent = "yes";
  for (const button of form.querySelectorAll("button[type=submit]")) button.setAttribute("aria-busy", "true");
});
addEventListener("pageshow", () => {
  for (const form of document.querySelectorAll("form[data-sent]")) {
    delete form.dataset.sent;
    for (const button of form.querySelectorAll("[aria-busy]")) button.removeAttribute("aria-busy");
  }
});

// Several consoles on one page: which of them has the keys, by a click, by Alt with its number, on a phone by its tab.
(() => {
  "use strict";
  const split = document.querySelector(".split");
  const panes = [...split.querySelectorAll(".console")];
  const tabs = [...document.querySelectorAll(".split-tabs button")];

  const mark = (chosen) => {
    for (const [number, pane] of panes.entries()) {
      pane.classList.toggle("chosen", number === chosen);
      tabs[number].setAttribute("aria-selected", number === chosen);
    }
  };
  const choose = (number) => {
    mark(number);
    panes[number].querySelector(".xterm-helper-textarea").focus();
  };
  split.addEventListener("focusin", (event) => {
    const pane = event.target.closest(".console");
    if (pane) mark(panes.indexOf(pane));
  });
  for (const [number, tab] of tabs.entries()) tab.addEventListener("click", () => choose(number));
  document.addEventListener("keydown", (event) => {
    const number = /^Digit[1-4]$/.test(event.code) ? Number(event.code.at(-1)) - 1 : -1;
    if (!event.altKey || event.ctrlKey || event.metaKey || !panes[number]) return;
    event.preventDefault();
    event.stopPropagation();
    choose(number);
  }, true);
  choose(0);
})();

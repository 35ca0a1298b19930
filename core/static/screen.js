// A terminal that shows what devices say and does nothing that they ask for: used where people type and where a log is
// replayed.
(() => {
  "use strict";
  // xterm.js writes rules into <style> elements and colours into style attributes, which the content security policy
  // forbids; as a constructed sheet and as properties it allows them.
  const create = document.createElement.bind(document);
  document.createElement = (name, options) => {
    if (name !== "style") return create(name, options);
    const element = create("template");
    const sheet = new CSSStyleSheet();
    document.adoptedStyleSheets = [...document.adoptedStyleSheets, sheet];
    Object.defineProperty(element, "textContent", { set: (css) => sheet.replaceSync(css), get: () => "" });
    return element;
  };

  const setAttribute = Element.prototype.setAttribute;
  Element.prototype.setAttribute = function set(name, value) {
    if (name === "style") this.style.cssText = value;
    else setAttribute.call(this, name, value);
  };

  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const theme = () => ({
    background: colour("--screen"), foreground: colour("--screen-ink"), cursor: colour("--screen-ink"),
    cursorAccent: colour("--screen"), selectionBackground: colour("--screen-chosen"),
  });

  const openLink = (event, address) => {
    if (/^https?:\/\//i.test(address)) window.open(address, "_blank", "noopener,noreferrer");
  };
  const REPORTS = new Set([9, 1000, 1001, 1002, 1003, 1004, 1005, 1006, 1015, 1016]);

  // {terminal, fit, search} in `element`; `options` are those of xterm.js.
  window.netopsScreen = (element, options) => {
    const terminal = new Terminal({
      convertEol: false, cursorBlink: true, fontFamily: colour("--mono"), fontSize: 14, scrollback: 20_000,
      theme: theme(), screenReaderMode: false, windowOptions: {},
      linkHandler: { activate: openLink, allowNonHttpProtocols: false }, ...options,
    });
    const fit = new FitAddon.FitAddon();
    const search = new SearchAddon.SearchAddon();
    terminal.loadAddon(fit);
    terminal.loadAddon(search);
    terminal.loadAddon(new WebLinksAddon.WebLinksAddon(openLink));
    // What output could set in motion: the clipboard, and reports of the mouse and of the focus as if they were typed.
    terminal.parser.registerOscHandler(52, () => true);
    terminal.parser.registerCsiHandler({ prefix: "?", final: "h" }, (parameters) => parameters.flat().some((each) => REPORTS.has(each)));
    terminal.open(element);
    fit.fit();
    new ResizeObserver(() => fit.fit()).observe(element);
    new MutationObserver(() => { terminal.options.theme = theme(); })
      .observe(document.documentElement, { attributes: true, attributeFilter: ["data-bs-theme"] });
    return { terminal, fit, search };
  };
})();

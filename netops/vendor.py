"""Copies the front-end files that the pages use out of node_modules (`python -m netops.vendor`). Loads no Django."""

import shutil
from pathlib import Path

from netops import home

ROOT = Path(__file__).resolve().parent.parent
MODULES = ROOT / "node_modules"
TARGET = ROOT / "core" / "static" / "vendor"
FILES = (
    "@tabler/core/dist/css/tabler.min.css",
    "htmx.org/dist/htmx.min.js",
    "idiomorph/dist/idiomorph-ext.min.js",
    "cytoscape/dist/cytoscape.min.js",
    "@xterm/xterm/css/xterm.css",
    "@xterm/xterm/lib/xterm.js",
    "@xterm/addon-fit/lib/addon-fit.js",
    "@xterm/addon-search/lib/addon-search.js",
    "@xterm/addon-web-links/lib/addon-web-links.js",
)
# Every icon that a template or a view names (tests/core/test_pages.py).
ICONS = (
    "alert-circle", "alert-triangle", "antenna", "arrow-back-up", "arrow-right", "bolt", "broadcast",
    "building-community", "check", "chevron-down", "chevron-left", "chevron-right", "chevron-up", "circle-check",
    "circle-dashed", "circle-x", "clipboard-text", "clock", "columns-2",
    "copy", "cpu", "device-desktop", "device-laptop", "download", "eye",
    "hand-stop", "history", "key", "keyboard", "layout-dashboard", "link", "list-details", "lock", "lock-open",
    "login", "logout", "mail", "mail-forward", "maximize", "moon", "pencil", "player-pause", "player-play",
    "plug-connected", "plug-x", "plus", "refresh", "route", "router", "search", "selector", "settings", "sun",
    "terminal-2", "topology-star-3", "trash", "unlink", "user-circle", "users", "x", "zoom-in", "zoom-out",
)  # fmt: skip


def vendor(modules: Path = MODULES, target: Path = TARGET) -> None:
    """Fill `target` with FILES and ICONS. Ends with one sentence where `npm ci` has not run."""
    sources = [*FILES, *(f"@tabler/icons/icons/outline/{name}.svg" for name in ICONS)]
    if missing := [name for name in sources if not (modules / name).is_file()]:
        home.fail(f"{missing[0]} is not in {modules.name}: run npm ci.")
    draft = target.with_name(f".{target.name}")
    shutil.rmtree(draft, ignore_errors=True)
    for name in sources:
        copy = draft / ("icons" if name.endswith(".svg") else "") / Path(name).name
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(modules / name, copy)
    shutil.rmtree(target, ignore_errors=True)
    draft.rename(target)


if __name__ == "__main__":
    vendor()

"""The front end's files: locked, copied, none from elsewhere."""

import json
from pathlib import Path

import pytest

from netops import vendor


def test_only_what_is_used_is_copied(tmp_path: Path) -> None:
    modules, target = tmp_path / "node_modules", tmp_path / "vendor"
    for name in (
        *vendor.FILES,
        "htmx.org/dist/other.js",
        *(f"@tabler/icons/icons/outline/{i}.svg" for i in vendor.ICONS),
    ):
        (modules / name).parent.mkdir(parents=True, exist_ok=True)
        (modules / name).write_text(name)
    for _ in range(2):
        vendor.vendor(modules, target)
    copied = {str(path.relative_to(target)) for path in target.rglob("*") if path.is_file()}
    assert copied == {Path(name).name for name in vendor.FILES} | {f"icons/{name}.svg" for name in vendor.ICONS}


def test_without_npm_ci_it_says_what_to_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        vendor.vendor(tmp_path / "node_modules", tmp_path / "vendor")
    assert capsys.readouterr().err.strip().endswith("run npm ci.")
    assert not (tmp_path / "vendor").exists()


def test_the_lock_file_pins_every_package_and_names_no_registry() -> None:
    packages = json.loads((vendor.ROOT / "package-lock.json").read_text())["packages"]
    wanted = json.loads((vendor.ROOT / "package.json").read_text())["dependencies"]
    installed = {name.removeprefix("node_modules/"): package for name, package in packages.items() if name}
    assert set(wanted) <= set(installed)
    assert all(package["integrity"] and "resolved" not in package for package in installed.values())

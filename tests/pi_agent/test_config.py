from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import pytest

from pi_agent.config import NAMES, Config, ConfigError, load, parse_pin, parse_sshd
from pi_agent.ports import Wanted

EXAMPLE = Path(__file__).parents[2] / "pi_agent/config.example.toml"
PIN = "A" * 43


def write(folder: Path, text: str) -> Path:
    (folder / "config.toml").write_text(text)
    return folder / "config.toml"


def test_the_example_has_every_value_and_each_is_the_default() -> None:
    text = EXAMPLE.read_text()
    assert load(EXAMPLE, {}) == Config()
    for name in NAMES:
        assert f"\n{name.removeprefix('ports_').removeprefix('consoles_')} = " in text


def test_the_file_is_read_and_the_environment_wins(tmp_path: Path) -> None:
    file = write(
        tmp_path,
        f'link = "wss://a:1/link"\npin = "{PIN}="\nstate = "/srv"\n[ports]\nexclude = ["*AMA*"]\nextra = ["/dev/x"]\n',
    )
    config = load(file, {})
    assert (config.link, config.key_file, parse_pin(config.pin)) == (
        "wss://a:1/link",
        Path("/srv/agent.key"),
        bytes(32),
    )
    assert config.wanted == Wanted(("*",), ("*AMA*",), ("/dev/x",))
    environment = {
        "NETOPS_AGENT_LINK": "none",
        "NETOPS_AGENT_PIN": PIN,
        "NETOPS_AGENT_SERVER": "https://b",
        "NETOPS_AGENT_STATE": "/tmp/a",
        "NETOPS_AGENT_KEY": "/tmp/k",
        "NETOPS_AGENT_TUNNEL": "[::1]:22",
        "NETOPS_AGENT_PORTS_INCLUDE": "/dev/ttyUSB*",
        "NETOPS_AGENT_PORTS_EXCLUDE": "*1, *2",
        "NETOPS_AGENT_PORTS_EXTRA": "/dev/pts/1 /dev/pts/2",
        "NETOPS_AGENT_CONSOLES_DIAL": "10.0.0.5:2001,[fd00::5]:22",
    }
    assert set(environment) == {f"NETOPS_AGENT_{name.upper()}" for name in NAMES}
    assert asdict(load(file, environment)) == {
        "link": "none",
        "pin": PIN,
        "server": "https://b",
        "state": "/tmp/a",
        "key": "/tmp/k",
        "tunnel": "[::1]:22",
        "ports_include": ("/dev/ttyUSB*",),
        "ports_exclude": ("*1", "*2"),
        "ports_extra": ("/dev/pts/1", "/dev/pts/2"),
        "consoles_dial": ("10.0.0.5:2001", "[fd00::5]:22"),
    }
    assert load(file, {"NETOPS_AGENT_LINK": ""}).link == "wss://a:1/link"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("link = 1", "link in {file} must be printable text"),
        ('key = "a\\u001bb"', "key in {file} must be printable text"),
        ('link = "http://x"', "link in {file} cannot be used: link 'http://x' must be ws://host:port/link"),
        ('pin = "abc"', "pin in {file} cannot be used: it must be the SHA-256"),
        ('pin = "%%"', "pin in {file} cannot be used: it must be the SHA-256"),
        ('server = "http://x"', "server in {file} cannot be used: the server must be given as https://host[:port]"),
        ('lnk = "ws://x/link"', "lnk in {file} is no value that this agent knows"),
        ("ports_extra = []", "ports_extra in {file} is no value that this agent knows"),
        ("[ports]\nlink = []", "ports.link in {file} is no value that this agent knows"),
        ('[ports]\nextra = "/dev/x"', "ports.extra in {file} must be a list of texts"),
        ("[ports]\ninclude = [1]", "ports.include in {file} must be a list of texts"),
        ("ports = 1", "ports in {file} must be a table"),
        ("link", "{file} is not TOML: "),
    ],
)
def test_a_wrong_value_is_named_in_one_sentence(tmp_path: Path, text: str, sentence: str) -> None:
    file = write(tmp_path, text)
    with pytest.raises(ConfigError) as error:
        load(file, {})
    assert str(error.value).startswith(sentence.format(file=file))
    assert "\n" not in str(error.value)


def test_a_wrong_variable_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="NETOPS_AGENT_LINK cannot be used: link 'x' must be"):
        load(write(tmp_path, ""), {"NETOPS_AGENT_LINK": "x"})


def test_a_file_that_is_asked_for_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no file"):
        load(tmp_path / "none", {})
    with pytest.raises(ConfigError, match="cannot read"):
        load(tmp_path, {})


@pytest.mark.parametrize("text", ["22", "localhost", "localhost:", ":22", "localhost:0", "localhost:65536", "a:b"])
def test_what_is_no_place_of_an_sshd_is_refused_by_name(text: str) -> None:
    with pytest.raises(ConfigError, match="NETOPS_AGENT_TUNNEL cannot be used: it must be host:port"):
        load(None, {"NETOPS_AGENT_TUNNEL": text})
    assert parse_sshd("[::1]:22") == ("::1", 22)

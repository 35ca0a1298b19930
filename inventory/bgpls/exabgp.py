"""One ExaBGP process for one topology source: its command, configuration and environment."""

import base64
import os
import pwd
import sys
from dataclasses import dataclass, field
from pathlib import Path

_CONFIG = """\
process listener {{
    run {python} -I -S {helper} {socket};
    encoder json;
}}
neighbor {address} {{
    router-id {router_id};
    local-address auto;
    local-as {local_as};
    peer-as {peer_as};
    hold-time {hold_time};
    connect {port};
    passive false;{password}
    family {{ bgp-ls bgp-ls; }}
    api {{
        processes [ listener ];
        neighbor-changes;
        receive {{ parsed; update; keepalive; }}
    }}
}}
"""


@dataclass(frozen=True)
class Peer:
    """The BGP-LS speaker of a source. `address` has been through the outbound gate."""

    address: str
    port: int
    local_as: int
    peer_as: int
    router_id: str
    hold_time_s: int
    password: str = field(default="", repr=False)
    """TCP MD5 (RFC 2385), empty for none."""


def config(peer: Peer, socket: Path) -> str:
    """The text of ExaBGP's configuration. Of what a user enters only addresses, numbers and base64 get here."""
    return _CONFIG.format(
        python=sys.executable,
        helper=Path(__file__).with_name("helper.py"),
        socket=socket,
        address=peer.address,
        router_id=peer.router_id,
        local_as=int(peer.local_as),
        peer_as=int(peer.peer_as),
        hold_time=int(peer.hold_time_s),
        port=int(peer.port),
        password=f'\n    md5-password "{coded(peer.password)}";\n    md5-base64 true;' if peer.password else "",
    )


def coded(password: str) -> str:
    """As base64, which needs no quoting, and which ExaBGP does not have to guess at."""
    return base64.b64encode(password.encode("ascii")).decode()


def command(config_file: Path) -> list[str]:
    return [sys.executable, "-m", "exabgp", "server", str(config_file)]


def environment() -> dict[str, str]:
    """Nothing of our own environment: it holds secrets.

    It stays the user we are: as root it would become `nobody`, who cannot reach our socket, and changing users also
    clears PR_SET_PDEATHSIG.
    """
    try:
        user = pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:  # a container's user without an entry: any name that exists will do
        user = "root"
    return {
        "PATH": "/usr/bin:/bin",
        "exabgp_daemon_user": user,
        "exabgp_daemon_drop": "false",
        "exabgp_api_ack": "false",
        "exabgp_api_cli": "false",
        "exabgp_log_level": "ERROR",
        "exabgp_log_destination": "stdout",
    }

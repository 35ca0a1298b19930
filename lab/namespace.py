"""User and network namespaces, tun devices: the machine's side of a lab. Needs no privilege (user_namespaces(7))."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import socket
import struct
import sys
from ipaddress import IPv4Interface
from pathlib import Path

from lab.netlink import Rtnetlink

CLONE_NEWUSER, CLONE_NEWNET, CLONE_NEWUTS = 0x10000000, 0x40000000, 0x04000000
PR_SET_PDEATHSIG = 1
TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 0x0001, 0x1000
MTU = 9000

_libc = ctypes.CDLL(None, use_errno=True)


class LabUnavailable(Exception):
    """This machine cannot run a lab; one sentence with the reason and the fix."""


def _call(name: str, *args: int) -> None:
    if getattr(_libc, name)(*args) != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{name}: {os.strerror(code)}")


def needs_namespaces(error: OSError) -> LabUnavailable:
    """What the kernel refused, in the user's terms."""
    return LabUnavailable(
        f"the lab needs user and network namespaces ({error.strerror}): allow them with "
        "user.max_user_namespaces, user.max_net_namespaces, kernel.unprivileged_userns_clone=1 or "
        "kernel.apparmor_restrict_unprivileged_userns=0, "
        "or start the container with seccomp and AppArmor unconfined"
    )


def enter_user_namespace() -> None:
    """Become root of a new user namespace; raises LabUnavailable. The process must have one thread."""
    if sys.platform != "linux":
        raise LabUnavailable(f"the lab needs Linux, this is {sys.platform}: run it in a Linux virtual machine")
    if not os.access("/dev/net/tun", os.R_OK | os.W_OK):
        raise LabUnavailable("the lab needs /dev/net/tun: load the tun module, or pass the device into the container")
    uid, gid = os.geteuid(), os.getegid()
    try:
        _call("unshare", CLONE_NEWUSER | CLONE_NEWNET)
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"0 {uid} 1")
        Path("/proc/self/gid_map").write_text(f"0 {gid} 1")
    except OSError as error:
        raise needs_namespaces(error) from None


class Namespace:
    """One network namespace without a name, alive as long as ``fd`` is open. Forwards IPv4, filters nothing."""

    def __init__(self) -> None:
        _call("unshare", CLONE_NEWNET)
        self.fd = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        for key in ("all", "default"):
            _sysctl(f"ipv4/conf/{key}/rp_filter", "0")
            if Path("/proc/sys/net/ipv6").exists():
                _sysctl(f"ipv6/conf/{key}/disable_ipv6", "1")
        _sysctl("ipv4/ip_forward", "1")
        self.rtnl = Rtnetlink()
        self.loopback = socket.if_nametoindex("lo")
        self.rtnl.link_set(self.loopback, up=True)

    def tun(self, name: str, address: IPv4Interface | None = None) -> tuple[int, int]:
        """Make a tun device that is up; answers its non-blocking file descriptor and interface index."""
        self.enter()
        fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TUN | IFF_NO_PI))
        index = socket.if_nametoindex(name)
        if address is not None:
            self.rtnl.address_add(index, address)
        self.rtnl.link_set(index, up=True, mtu=MTU)
        return fd, index

    def raw_socket(self, protocol: int) -> socket.socket:
        """A non-blocking raw IPv4 socket of this namespace."""
        self.enter()
        return socket.socket(socket.AF_INET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, protocol)

    def enter(self) -> None:
        _call("setns", self.fd, CLONE_NEWNET)


def adopt_child(namespace_fd: int, hostname: str, parent: int) -> None:
    """In a fresh child: be a machine of that name in the namespace, which the kernel kills when ``parent`` dies."""
    import signal

    _call("setns", namespace_fd, CLONE_NEWNET)
    _call("unshare", CLONE_NEWUTS)
    socket.sethostname(hostname)
    _call("prctl", PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)


def _sysctl(path: str, value: str) -> None:
    try:
        Path("/proc/sys/net", path).write_text(value)
    except OSError as error:
        if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
            raise LabUnavailable(
                f"the lab cannot write /proc/sys/net/{path} ({error.strerror}): "
                "mount /proc/sys writable in the container"
            ) from None
        raise

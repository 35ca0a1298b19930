"""The API process of ExaBGP: a pipe in both directions between ExaBGP and the listener's Unix socket.

Run by ExaBGP as `python -I -S helper.py SOCKET`; standard library only. Everything ExaBGP says is forwarded as it is
(answers to commands too, so they never fill its pipe); what the listener sends becomes ExaBGP's commands. It ends when
either side does, which ends the run: a new session is how nothing is missed.
"""

import os
import selectors
import socket
import sys


def main(path: str) -> int:
    with socket.socket(socket.AF_UNIX) as listener, selectors.DefaultSelector() as ready:
        try:
            listener.connect(path)
        except OSError:
            return 1
        ready.register(0, selectors.EVENT_READ)
        ready.register(listener, selectors.EVENT_READ)
        while True:
            for key, _ in ready.select():
                try:
                    if key.fd == 0:
                        data = os.read(0, 65536)
                        listener.sendall(data)
                    else:
                        data = listener.recv(65536)
                        _write(data)
                except OSError:
                    return 1
                if not data:
                    return 0


def _write(data: bytes) -> None:
    while data:
        data = data[os.write(1, data) :]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))

"""The netops agent: what runs at the edge, and the protocol it speaks with the server."""

__version__ = "0.1.0"

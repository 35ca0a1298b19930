"""An authenticator app: RFC 6238 codes for the key that netops shows."""

import base64
import hashlib
import hmac
import time


def code_for(key: str, steps: int = 0) -> str:
    """The code that the app shows now, or `steps` periods of 30 s later."""
    counter = int(time.time()) // 30 + steps
    digest = hmac.new(base64.b32decode(key), counter.to_bytes(8, "big"), hashlib.sha1).digest()
    offset = digest[-1] & 15
    return f"{int.from_bytes(digest[offset : offset + 4], 'big') % 2**31 % 10**6:06}"

"""What operations are held against."""

import hashlib


class Refused(Exception):
    """The service answered with an error, and the client told so with its own kind of error."""

    def __init__(self, status, code, text=""):
        super().__init__(f"{status} {code} {text}".strip())
        self.status, self.code = status, code


def expect(got, wanted):
    if got != wanted:
        raise AssertionError(f"got {brief(got)}, expected {brief(wanted)}")


def expect_refusal(call, status, code=None):
    try:
        call()
    except Refused as refusal:
        expect(refusal.status, status)
        if code is not None:
            expect(refusal.code, code)
        return
    raise AssertionError(f"succeeded, expected {status} {code or ''}")


def brief(value):
    text = repr(value)
    return text if len(text) <= 160 else f"{text[:120]}… ({len(value)} long)"


def md5(body):
    return hashlib.md5(body).hexdigest().upper()

"""Assertions of the operations."""

import hashlib


class Refused(Exception):
    """An error response of the service, which the client reported with its error type."""

    def __init__(self, status, code, text="", request_id=""):
        super().__init__(f"{status} {code} {text}".strip())
        self.status, self.code, self.text, self.request_id = status, code, text, request_id


def expect(got, wanted):
    if got != wanted:
        raise AssertionError(f"got {brief(got)}, expected {brief(wanted)}")


def expect_refusal(call, status, code=None):
    refusal = refusal_of(call)
    expect(refusal.status, status)
    if code is not None:
        expect(refusal.code, code)


def refusal_of(call):
    try:
        call()
    except Refused as refusal:
        return refusal
    raise AssertionError("succeeded, expected an error of the service")


def brief(value):
    text = repr(value)
    return text if len(text) <= 160 else f"{text[:120]}… ({len(value)} long)"


def md5(body):
    return hashlib.md5(body).hexdigest().upper()

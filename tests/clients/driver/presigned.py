"""URLs that a client presigned with a key of a caller, requested with curl: as signed, changed, and after their end."""

import re
import secrets
import subprocess
import time
from dataclasses import dataclass

EXPIRES_WITHIN_S = 30
SUFFIX, OTHER_SUFFIX = ".bin", ".bim"
MISMATCH = "403 SignatureDoesNotMatch"


def items(run):
    """Returns the URLs that the client of a run is asked for. It stores the object first if the item has a body."""
    if not run.caller or run.is_brief or run.signature == "none":
        return []
    if run.judged:
        item = {"name": "refused", "method": "GET", "key": f"op/refused{SUFFIX}", "seconds": 600, "expected": f"403 {run.caller.url_refusal}"}
        return [item] if run.caller.url_refusal else []
    body = secrets.token_hex(8)
    return [
        {"name": "get", "method": "GET", "key": f"op/url get +&?{SUFFIX}", "seconds": 600, "body": body},
        {"name": "put", "method": "PUT", "key": f"url put +&?{SUFFIX}", "seconds": 600},
        {"name": "short", "method": "GET", "key": f"op/url get +&?{SUFFIX}", "seconds": 2},
    ]


@dataclass
class Curl:
    """curl with the host names of the test, and with the forward proxy of a run if it has one."""

    prefix: list
    http_proxy: str

    def send(self, method, url, body=None):
        """Returns the status and the error code, or the body of a successful response."""
        command = [*self.prefix, "curl", "--silent", "--show-error", "--globoff", "--path-as-is", "--max-time", "30", "--write-out", "\n%{http_code}"]
        command += ["--head"] if method == "HEAD" else ["--request", method]
        command += ["--proxy", self.http_proxy] if self.http_proxy else ["--noproxy", "*"]
        command += ["--header", "Content-Type:", "--data-binary", body] if body else []
        result = subprocess.run([*command, url], capture_output=True, text=True, timeout=60, check=False)
        text, _, status = result.stdout.rpartition("\n")
        code = re.search(r"<Code>(.*?)</Code>", text)
        return f"{status} {code[1] if code else '' if method == 'HEAD' else text}".strip()


def check(wanted, urls, curl):
    """Requests the URLs that the client returned. Returns the errors by operation; the item of an upload gets its body."""
    results = {}
    for item in wanted:
        url = urls[item["name"]]
        if url:
            checks = {"short": check_short, "refused": check_refused}
            results.update(checks.get(item["name"], check_url)(item, url, curl))
    return results


def check_url(item, url, curl):
    """First sends what must be rejected: if it had an effect, the right request or the audit would show it."""
    name, method, body = item["name"], item["method"], secrets.token_hex(8)
    sent = body if method == "PUT" else None
    results = {f"curl:{name} with another key": difference(curl.send(method, url.replace(SUFFIX, OTHER_SUFFIX, 1), sent))}
    for other in ("GET", "HEAD", "PUT", "DELETE", "POST"):
        if other != method:
            answer = curl.send(other, url, "other" if other == "PUT" else None)
            results[f"curl:{name} with {other}"] = difference(answer, "403" if other == "HEAD" else MISMATCH)
    answer = curl.send(method, f"{url}&acl", sent)  # with V1 the parameter itself may be the reason
    results[f"curl:{name} with acl"] = None if answer.startswith("403 ") else f"got {answer}, expected 403"
    results[f"curl:{name}"] = difference(curl.send(method, url, sent), f"200 {item.get('body', '')}".strip())
    item.setdefault("body", body)
    return results


def check_refused(item, url, curl):
    return {"curl:refused": difference(curl.send(item["method"], url), item["expected"])}


def check_short(_item, url, curl):
    """Requests a URL until it has expired."""
    deadline = time.monotonic() + EXPIRES_WITHIN_S
    while (answer := curl.send("GET", url)).startswith("200") and time.monotonic() < deadline:
        time.sleep(0.5)
    return {"curl:expired": difference(answer, "403 AccessDenied")}


def difference(answer, wanted=MISMATCH):
    return None if answer == wanted else f"got {answer}, expected {wanted}"

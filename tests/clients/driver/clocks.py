"""The runs with a wrong clock: the emulated OSS has another time than its clients, and the proxy has learned it from OSS."""

from .matrix import CallerKey, Run, key_of
from .servers import Broken, answers

# The world of each direction, with the time of OSS relative to that of the client.
WORLDS = {"slow": 16 * 60, "fast": -16 * 60}
CODE = "RequestTimeTooSkewed"
URL_CODES = {"slow": "AccessDenied"}  # a URL of the slow clock has expired; one of the fast clock may be valid, as a V1 URL has no start
SKEWED, CORRECTED = "clock {} by 16 min", "clock {} by 16 min, corrected"
OPERATIONS = ["put-get-1k", "head", "list-v2", "delete"]
# What a client that corrects its clock must do, by `corrects_clock` in cases.json: the operations, and the attempts of each request.
CORRECTIONS = {"retry": (OPERATIONS, 3), "next request": (["refused-put", *OPERATIONS], 1)}
ID, SECRET = "clock-1", "clients-suite-clock-secret-KEEP-OUT-OF-LOGS"
TOKEN = "clients-suite-clock-token-KEEP-OUT-OF-LOGS"
SECRETS = {"CLOCK_SECRET": SECRET, "CLOCK_TOKEN": TOKEN}
SECTION = f"""[[caller]]
name = "clock"
allow = "everything"
key = [{{ id = "{ID}", secret = "env:CLOCK_SECRET" }}]
token = "env:CLOCK_TOKEN"
"""


def correct(world):
    """Sends a request whose identity has no time. OSS rejects the time of the proxy, which repeats it at the time of OSS."""
    url = f"http://127.0.0.1:{world.callers_port}/{world.buckets[0]}?list-type=2"
    if not answers(url, headers={"Authorization": f"Bearer {TOKEN}"}):
        raise Broken(f"the proxy of the world `{world.name}` does not correct its clock")


def runs(clients, whole):
    """Returns the runs of each client with a clock that is slow and one that is fast, without retries.

    A client that corrects its clock by the error response runs once more with that, and must succeed after the first rejection.
    """
    found = []
    for index, client in enumerate(clients):
        signatures = [signature for signature in client["signatures"] if signature != "none"]
        for turn, world in enumerate(WORLDS):
            for signature in signatures if whole else signatures[(index + turn) % len(signatures):][:1] if signatures else []:
                found.append(new_run(client, world, signature, SKEWED, CallerKey(key_of(ID, SECRET), CODE, URL_CODES.get(world, ""), attempts=1)))
                if "corrects_clock" in client:
                    operations, attempts = CORRECTIONS[client["corrects_clock"]]
                    caller = CallerKey(key_of(ID, SECRET), CODE, operations=operations, attempts=attempts, is_correcting=True)
                    found.append(new_run(client, world, signature, CORRECTED, caller))
    return found


def new_run(client, world, signature, keys, caller):
    return Run(client["client"], "path", world, "v4", signature, keys.format(world), caller=caller)

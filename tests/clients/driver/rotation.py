"""The runs with keys that are replaced: both are accepted, then the old one is removed by a reload."""

from .matrix import CallerKey, Run, key_of

OPERATIONS = ["put-get-1k", "list-v1", "presigned-get", "presigned-put"]
SECRETS = {name: f"clients-suite-{name.lower().replace('_', '-')}-KEEP-OUT-OF-LOGS"
           for name in ("ROTATED_OLD", "ROTATED_NEW", "RENAMED_OLD", "RENAMED_NEW")}
# The ids of the old and the new key, their secrets, and the error code of the old key after it was removed.
KINDS = {
    "same id": (("rotated-1", "ROTATED_OLD"), ("rotated-1", "ROTATED_NEW"), "SignatureDoesNotMatch"),
    "another id": (("renamed-1", "RENAMED_OLD"), ("renamed-2", "RENAMED_NEW"), "InvalidAccessKeyId"),
}


def section(is_late):
    """Returns the callers whose keys are replaced, with the old keys before the reload."""
    return "\n".join(caller(new[0], [new] if is_late else [old, new]) for old, new, _ in KINDS.values())


def caller(name, pairs):
    keys = ", ".join(f'{{ id = "{key_id}", secret = "env:{secret}" }}' for key_id, secret in pairs)
    return f"""[[caller]]
name = "{name}"
allow = "everything"
key = [{keys}]
"""


def runs(clients, whole):
    """Returns four runs for each client: with the old and the new key, before and after the reload."""
    signing = [(client["client"], [signature for signature in client["signatures"] if signature != "none"]) for client in clients]
    found = []
    for index, (client, signatures) in enumerate(pair for pair in signing if pair[1]):
        if whole:
            chosen = [(signature, kind) for signature in signatures for kind in KINDS]
        else:
            chosen = [(signatures[index % len(signatures)], list(KINDS)[index // 2 % 2])]
        found += [run for signature, kind in chosen for run in runs_of(client, signature, kind)]
    return found


def runs_of(client, signature, kind):
    old, new, code = KINDS[kind]
    return [
        new_run(client, signature, f"old key, {kind}", old),
        new_run(client, signature, f"new key, {kind}", new),
        new_run(client, signature, f"removed key, {kind}", old, code, is_late=True),
        new_run(client, signature, f"only key, {kind}", new, is_late=True),
    ]


def new_run(client, signature, keys, pair, refusal="", is_late=False):
    operations = [] if refusal else OPERATIONS
    caller = CallerKey(key_of(pair[0], SECRETS[pair[1]]), refusal, refusal, operations, is_late=is_late)
    return Run(client, "path", "plain", "v4", signature, keys, caller=caller)

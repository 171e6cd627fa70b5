"""The runs with keys of a caller: clients sign with an access key of the proxy, which verifies it and signs with its own."""

from . import clocks, rotation, scoped
from .matrix import CallerKey, NOTHING, Run, UNSIGNED, WRONG, key_of
from .servers import DOMAIN, upstream

KEY, REVOKED, UNKNOWN, TOKEN = "caller's key", "revoked key", "unknown id", "key with a token"
ID, SECRET = "team-a-1", "clients-suite-team-a-secret-KEEP-OUT-OF-LOGS"
REVOKED_ID, REVOKED_SECRET = "gone-1", "clients-suite-gone-secret-KEEP-OUT-OF-LOGS"
SECRETS = {"TEAM_A_SECRET": SECRET, "GONE_SECRET": REVOKED_SECRET, **rotation.SECRETS, **clocks.SECRETS,
           **scoped.SECRETS}
KEYS = {
    KEY: (ID, SECRET, ""),
    WRONG: (ID, "another-secret-of-nobody-at-all", ""),
    REVOKED: (REVOKED_ID, REVOKED_SECRET, ""),
    UNKNOWN: ("nobody-1", SECRET, ""),
    TOKEN: (ID, SECRET, "dummy-token"),
}
# The error codes that a client must report.
CODES = {WRONG: "SignatureDoesNotMatch", REVOKED: "InvalidAccessKeyId", UNKNOWN: "InvalidAccessKeyId", TOKEN: "InvalidAccessKeyId",
         UNSIGNED: "AccessDenied"}
# The world of each signature of the proxy. With both, the keys upstream are an access key and temporary credentials.
WORLDS = {"v4": "plain", "v1": "sts"}


def start(world, binary, folder):
    """Starts the proxy of a world whose listener identifies callers; returns the tap between the proxy and the emulated OSS."""
    signature = next((signature for signature, name in WORLDS.items() if name == world.name), "v4")
    tap = world.tap(world.emulator_port, [ID, REVOKED_ID, *SECRETS.values(), world.keys["access_key_id"]])
    world.callers_config = folder / f"{world.name}-callers.toml"
    configure(world, tap.port, is_late=False)
    world.start_proxy(binary, folder, "proxy-callers", world.callers_config, SECRETS, "--signature", signature)
    if world.name in clocks.WORLDS:
        clocks.correct(world)
    return tap


def configure(world, port, is_late):
    """Writes the configuration of the proxy, before or after its reload."""
    has_clock = world.name in clocks.WORLDS  # a listener with tokens rejects unsigned requests in another way
    world.callers_config.write_text(f"""revoked = ["{REVOKED_ID}"]

[[listen]]
address = "127.0.0.1:{world.callers_port}"
domains = ["{DOMAIN}"]
identify = ["key"{', "token"' if has_clock else ""}]

[[caller]]
name = "team-a"
allow = "everything"
key = [{{ id = "{ID}", secret = "env:TEAM_A_SECRET" }}, {{ id = "{REVOKED_ID}", secret = "env:GONE_SECRET" }}]

{rotation.section(is_late)}
{scoped.section(world.scoped_buckets)}
{clocks.SECTION if has_clock else ""}
{upstream(port)}""")


def tap_client(run, world):
    """Starts to search the bytes between the client of a run and its proxy."""
    run.tap = world.tap(world.callers_port, [ID, SECRET, *filter(None, world.keys.values())])


def runs(cases, whole):
    """Returns the runs with keys of a caller, and the runs that must be rejected.

    Without `whole`, each signature of a client runs in one mode, and with some of the keys that must be rejected.
    """
    clients = [client for client in cases["clients"] if not client.get("proxy_only")]
    signing = [(client, signature) for client in clients for signature in client["signatures"] if signature != "none"]
    accepted = [run for index, (client, signature) in enumerate(signing) for run in accepted_runs(client, signature, index, whole)]
    rejected = [new_run(client, "v4", signature, keys) for index, (client, signature) in enumerate(signing)
                for keys in rejected_keys(index, whole)]
    unsigned = [new_run(client, "v4", "none", UNSIGNED) for client in clients if "none" in client["signatures"]]
    return tapped(accepted) + rejected + unsigned + [
        run for part in (clocks, rotation, scoped) for run in part.runs(clients, whole)]


def accepted_runs(client, signature, index, whole):
    """Returns the runs of one signature of a client: each mode with V4 upstream, and one of them with V1."""
    modes = client["modes"]
    sampled = modes[index % len(modes)]
    last = signature == client["signatures"][-1]
    kept = [("v4", mode) for mode in modes if whole or (mode == sampled and not (last and index % 2))]
    kept += [("v1", sampled)] if last and (whole or index % 2) else []
    return [new_run(client, proxy, signature, KEY, mode) for proxy, mode in kept]


def rejected_keys(index, whole):
    names = [WRONG, REVOKED, UNKNOWN, TOKEN]
    return names if whole else [names[index % len(names)], names[(index + 2) % len(names)]]


def new_run(client, proxy, signature, keys, mode="path"):
    caller = CallerKey(key_of(*KEYS[keys]) if keys in KEYS else NOTHING, CODES.get(keys, ""), CODES.get(keys, ""))
    return Run(client["client"], mode, WORLDS[proxy], proxy, signature, keys, caller=caller)


def tapped(runs_of_clients):
    """Sets `tapped` for the first run of each client with each signature of the proxy."""
    known = set()
    for run in runs_of_clients:
        run.tapped = (run.client, run.proxy) not in known
        known.add((run.client, run.proxy))
    return runs_of_clients


def check_client_side(tap, keys, upstream):
    """Returns the error of the bytes between client and proxy: they must have the id of the caller, and nothing of the real key."""
    real = [name for name, value in keys.items() if value and tap.saw(value)]
    if real or tap.signatures & upstream.signatures:
        return f"the client's side has the real {', '.join(real) or 'signature'}"
    return check_tap(tap, ID)


def check_upstream_side(tap, keys):
    """Returns the error of the bytes between proxy and OSS: they must have the real id, and nothing of the callers' keys."""
    own = [text for text in (ID, REVOKED_ID, *SECRETS.values()) if tap.saw(text)]
    return f"the upstream side has {', '.join(own)}" if own else check_tap(tap, keys["access_key_id"])


def check_tap(tap, wanted):
    """Returns an error if a search of these bytes proves nothing."""
    if not tap.saw(wanted) or not tap.signatures:
        return f"the recording has no {'signature' if tap.saw(wanted) else wanted}"
    return "the recording has the secret of the caller" if tap.saw(SECRET) else None

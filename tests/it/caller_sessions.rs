//! `{caller}` in the session name of a role: each caller is signed for with a session of its name.

use std::collections::BTreeSet;

use oss_signing_proxy::emulator::issuer::CredentialIssuer;

use crate::support::{Client, ID, Proxy, SECRET, eventually, oss, proxy};

const ROLE: &str = "acs:ram::1234567890123456:role/teams";

/// Sends a request with the token of a caller, which is its name repeated.
fn status(proxy: &Proxy, caller: &str) -> u16 {
    let line = format!("Authorization: Bearer {}\r\n", caller.repeat(6));
    let own = proxy.address.to_string();
    Client::connect(proxy.address).ask("PUT", "/photos/k", &own, &line, b"v").status
}

#[test]
fn each_caller_is_signed_for_with_a_session_of_its_name() {
    let oss = oss();
    let sts = CredentialIssuer::spawn(([127, 0, 0, 1], 0).into(), oss.service.clone()).expect("an STS");
    sts.role(ROLE, None);
    let caller = |name: &str| {
        format!("[[caller]]\nname = \"{name}\"\nallow = \"everything\"\ntoken = \"{}\"\n", name.repeat(6))
    };
    let proxy = proxy(oss.address)
        .listen("identify = [\"token\"]")
        .credentials(&format!(
            "type = \"static\"\naccess_key_id = \"{ID}\"\naccess_key_secret = \"{SECRET}\"\n\
             [credentials.teams]\ntype = \"assume_role\"\nsource = \"default\"\nrole_arn = \"{ROLE}\"\n\
             session_name = \"proxy-{{caller}}\"\nsts_endpoint = \"http://{}\"",
            sts.address
        ))
        .sections(&format!(
            "{}{}{}[[route]]\nmatch.caller = \"team-*\"\ncredentials = \"teams\"\n",
            caller("team-a"),
            caller("team-b"),
            caller("other")
        ))
        .start();
    let signer = || {
        let request = oss.recorder.last().expect("a request");
        let text = request.headers["authorization"].to_str().expect("text").to_owned();
        let id = text.split("Credential=").nth(1).and_then(|rest| rest.split('/').next());
        id.expect("a signature of V4").to_owned()
    };
    let mut signers = BTreeSet::new();
    for name in ["team-a", "team-b"] {
        eventually("there are credentials", || status(&proxy, name) == 200);
        let first = signer();
        assert!(first.starts_with("STS.issued"), "{first}");
        assert_eq!((status(&proxy, name), signer()), (200, first.clone()), "{name}");
        signers.insert(first);
    }
    assert_eq!(signers.len(), 2, "{signers:?}");
    assert_eq!((status(&proxy, "other"), signer()), (200, ID.to_owned()));
    let calls = sts.calls();
    let sessions: BTreeSet<&str> =
        calls.iter().map(|call| call.parameters["RoleSessionName"].as_str()).collect();
    assert_eq!(sessions, BTreeSet::from(["proxy-none", "proxy-team-a", "proxy-team-b"]));
}

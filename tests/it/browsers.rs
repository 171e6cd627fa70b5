//! Callers in browsers: the isolation of pages, presigned URLs with their preflights, and the limit
//! of their lifetime.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::Method;
use oss_signing_proxy::internals::sign::SignatureVersion;

use crate::callers::Asked;
use crate::support::script::line_of;
use crate::support::{Answer, Client, Proxy, Script, oss, proxy};

/// A caller with a key and a token, whose URLs are valid for at most ten minutes.
const CALLER: &str = "
    [[caller]]
    name = \"team-a\"
    allow = \"everything\"
    presign_max = \"10m\"
    key = [{ id = \"team-a-1\", secret = \"TeamAPlantedSecretOf30Letters0\" }]
    token = \"TeamAPlantedTokenOf30Letters00\"
";

const LISTEN: &str = "identify = [\"key\", \"token\"]\nallowed_origins = [\"https://app.example\"]";

const PAGE: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 4\r\n\
                    Content-Security-Policy: script-src *\r\nContent-Security-Policy: img-src *\r\n\r\npage";

/// Returns the target of a presigned URL for an object of `photos`, at the host of the bucket.
fn presigned(method: &Method, version: SignatureVersion, lifetime: Duration) -> String {
    let asked = Asked { version, ..Asked::new(method.as_str(), "k") };
    format!("/k{}", asked.signed_query(lifetime))
}

fn ask(proxy: &Proxy, method: &str, target: &str, headers: &str) -> Answer {
    Client::connect(proxy.address).ask(method, target, "photos.oss.example.test", headers, b"")
}

fn basic() -> String {
    format!("Authorization: Basic {}\r\n", STANDARD.encode("any:TeamAPlantedTokenOf30Letters00"))
}

#[test]
fn a_page_that_the_identity_of_a_browser_loads_is_isolated() {
    let upstream = Script::answering(PAGE);
    let proxy = proxy(upstream.address).listen(LISTEN).sections(CALLER).start();
    let url = presigned(&Method::GET, SignatureVersion::V4, Duration::from_secs(60));
    let bearer = "Authorization: Bearer TeamAPlantedTokenOf30Letters00\r\n".to_owned();
    let cross_site = format!("{}Sec-Fetch-Site: cross-site\r\n", basic());
    for (target, headers, status, is_isolated) in [
        ("/page", basic(), 200, true),
        // Errors of the proxy too.
        ("/page", cross_site, 403, true),
        // Its scripts could use the password that the browser has for this origin.
        (url.as_str(), String::new(), 200, true),
        // No browser sends it by itself.
        ("/page", bearer, 200, false),
    ] {
        let answer = ask(&proxy, "GET", target, &headers);
        assert_eq!(answer.status, status, "{target} {headers}: {}", answer.text());
        let is_policy =
            |(name, value): &(String, String)| (name == "content-security-policy").then(|| value.clone());
        let policies: Vec<String> = answer.head.iter().filter_map(is_policy).collect();
        let expected = if is_isolated { &["sandbox"][..] } else { &["script-src *", "img-src *"] };
        assert_eq!(policies, expected, "{target} {headers}");
        assert_eq!(
            answer.header("x-content-type-options") == Some("nosniff"),
            is_isolated,
            "{target} {headers}"
        );
    }
}

#[test]
fn other_sites_show_no_objects_to_which_a_password_gives_access() {
    let upstream = Script::answering(PAGE);
    let listen = format!("{LISTEN}\ncross_site_reads = true");
    let proxy = proxy(upstream.address).listen(&listen).sections(CALLER).start();
    let url = presigned(&Method::GET, SignatureVersion::V4, Duration::from_secs(60));
    let denied = ask(&proxy, "GET", "/k", &format!("{}Sec-Fetch-Site: cross-site\r\n", basic()));
    assert_eq!((denied.status, denied.refused()), (403, Some("browser")));
    let shown = ask(&proxy, "GET", &url, "Sec-Fetch-Site: cross-site\r\n");
    assert_eq!(shown.status, 200, "{}", shown.text());
    assert_eq!(upstream.heads().len(), 1);
}

#[test]
fn a_page_of_an_allowed_origin_uses_presigned_urls_after_a_preflight() {
    let upstream =
        Script::answering("HTTP/1.1 200 OK\r\nAccess-Control-Allow-Origin: *\r\nContent-Length: 0\r\n\r\n");
    let proxy = proxy(upstream.address).listen(LISTEN).sections(CALLER).start();
    for version in [SignatureVersion::V4, SignatureVersion::V1] {
        let url = presigned(&Method::PUT, version, Duration::from_secs(60));
        let asked = "Access-Control-Request-Method: PUT\r\nAccess-Control-Request-Headers: content-type\r\n";
        for (origin, preflight, put) in [
            ("Origin: https://app.example\r\n", 200, 200),
            ("Origin: https://evil.example\r\n", 403, 403),
            ("", 403, 200),
        ] {
            let answer = ask(&proxy, "OPTIONS", &url, &format!("{origin}{asked}"));
            assert_eq!(answer.status, preflight, "{version:?} {origin}: {}", answer.text());
            let answer = ask(&proxy, "PUT", &url, origin);
            assert_eq!(answer.status, put, "{version:?} {origin}: {}", answer.text());
        }
        let unknown =
            ask(&proxy, "OPTIONS", &url.replace("team-a-1", "team-x-1"), "Origin: https://app.example\r\n");
        assert_eq!((unknown.status, unknown.refused()), (401, Some("no-identity")), "{version:?}");
    }
    let unsigned: Vec<String> =
        upstream.heads().into_iter().filter(|head| head.starts_with("OPTIONS")).collect();
    assert_eq!(unsigned.len(), 2);
    for head in unsigned {
        assert_eq!(line_of(&head, "authorization"), None, "{head}");
        assert!(line_of(&head, "origin").is_some() && !head.contains("ignature"), "{head}");
    }
}

#[test]
fn presigned_urls_with_a_long_lifetime_are_rejected_with_the_limit() {
    let oss = oss();
    let proxy = proxy(oss.address).listen(LISTEN).sections(CALLER).start();
    for version in [SignatureVersion::V4, SignatureVersion::V1] {
        for (seconds, status) in [(600, 404), (660, 403)] {
            let url = presigned(&Method::GET, version, Duration::from_secs(seconds));
            let answer = ask(&proxy, "GET", &url, "");
            assert_eq!(answer.status, status, "{version:?} {seconds}: {}", answer.text());
            if status == 403 {
                assert_eq!(answer.refused(), Some("denied"), "{version:?}");
                assert!(answer.text().contains("longer than 600 seconds"), "{}", answer.text());
            }
        }
    }
}

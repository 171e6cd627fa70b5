//! Counts the allocations of signing and of the request pipeline: `cargo bench --bench
//! allocations`.
#![expect(clippy::print_stdout, reason = "the table is what it is for")]

mod pure;

use std::alloc::{GlobalAlloc, Layout, System};
use std::hint::black_box;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use http::{HeaderMap, HeaderValue, Method, Uri, header};
use oss_signing_proxy::internals::policy::{is_granted, rights_of};
use oss_signing_proxy::internals::sign::SignatureVersion;
use pure::Walk;

/// The system allocator, with counters.
struct Counting;

static TIMES: AtomicUsize = AtomicUsize::new(0);
static BYTES: AtomicUsize = AtomicUsize::new(0);

#[expect(unsafe_code, reason = "an allocator cannot be written without; each call goes on unchanged")]
// SAFETY: every call is passed to the system allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        TIMES.fetch_add(1, Relaxed);
        BYTES.fetch_add(layout.size(), Relaxed);
        // SAFETY: as above.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        TIMES.fetch_add(1, Relaxed);
        BYTES.fetch_add(size, Relaxed);
        // SAFETY: as above.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// Returns the number and the bytes of the allocations of one call.
fn count<T>(work: impl FnOnce() -> T) -> (usize, usize) {
    let before = (TIMES.load(Relaxed), BYTES.load(Relaxed));
    black_box(work());
    (TIMES.load(Relaxed) - before.0, BYTES.load(Relaxed) - before.1)
}

/// The rights of a caller of one prefix.
const RIGHTS: &str = r#"{ "Version": "1", "Statement": [
    { "Effect": "Allow", "Action": ["oss:GetObject", "oss:PutObject"], "Resource": "acs:oss:*:*:photos/2026/*" },
    { "Effect": "Deny", "Action": "oss:*", "Resource": "acs:oss:*:*:photos/2026/private/*" } ] }"#;

/// Counts the allocations of judging a plain request of a caller with limited rights.
fn judged(method: &Method) -> (usize, usize) {
    let rights = rights_of(RIGHTS).expect("a document");
    let walk = Walk::new(SignatureVersion::V4);
    let mut headers = HeaderMap::new();
    headers.insert(header::HOST, HeaderValue::from_static("127.0.0.1:8770"));
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("image/jpeg"));
    let uri = Uri::from_static("/photos/2026/11/24/a%20picture.jpg");
    let object = walk.locate_at(method, &uri, &headers);
    count(|| assert_eq!(is_granted(&rights, method, &object, &headers, b""), Some(true)))
}

fn main() {
    println!("{:10} {:>12} {:>8}", "", "allocations", "bytes");
    let row = |name: &str, (times, bytes): (usize, usize)| println!("{name:10} {times:12} {bytes:8}");
    for version in [SignatureVersion::V4, SignatureVersion::V1] {
        let walk = Walk::new(version);
        let located = walk.locate(&walk.headers());
        let mut headers = walk.headers();
        row(&format!("sign {}", version.as_str()), count(|| walk.sign(&located, &mut headers)));
        let headers = walk.headers();
        row(&format!("walk {}", version.as_str()), count(|| walk.all(headers)));
    }
    for method in [Method::GET, Method::PUT] {
        row(&format!("policy {method}"), judged(&method));
    }
}

//! CopyObject and UploadPartCopy.

use http::StatusCode;

use super::super::failure::Failure;
use super::super::reply::Reply;
use super::super::request::{self, Request};
use super::super::store::{Kind, Object, Part, Payload, Store, Traits};
use super::super::text::unescape;
use super::condition::{Conditions, Verdict};
use super::object::{check_overwrite, modified};
use super::xml::Document;
use super::{Context, multipart, range, traits};

/// CopyObject.
pub(super) fn object(mut context: Context<'_>) -> Result<Reply, Failure> {
    let (request, now) = (context.request, context.now);
    let source = match source(context.store, request)? {
        Source::Object(object) => object,
        Source::NotModified => return Ok(Reply::new(StatusCode::NOT_MODIFIED)),
    };
    let mut traits = traits::of(request)?;
    if is_copied(request, "x-oss-metadata-directive")? {
        traits.headers.clone_from(&source.traits.headers);
    }
    if is_copied(request, "x-oss-tagging-directive")? {
        traits.tags.clone_from(&source.traits.tags);
    }
    let copy = Object { traits, modified: now, kind: Kind::Normal, is_restored: false, ..*source };
    let (_, contents, key) = context.place()?;
    check_overwrite(request, contents, key)?;
    let reply = result("CopyObjectResult", &copy).with("x-oss-hash-crc64ecma", copy.crc.to_string());
    contents.objects.insert(key.to_vec(), copy);
    Ok(reply)
}

/// UploadPartCopy.
pub(super) fn part(mut context: Context<'_>) -> Result<Reply, Failure> {
    let (request, now) = (context.request, context.now);
    let number = multipart::part_number(request)?;
    let source = match source(context.store, request)? {
        Source::Object(object) => object,
        Source::NotModified => return Ok(Reply::new(StatusCode::NOT_MODIFIED)),
    };
    let data = match request.header("x-oss-copy-source-range").and_then(range::bounds) {
        Some((Some(first), Some(last))) if first <= last && last < source.data.len() => {
            source.data.slice(first..=last)
        }
        _ => source.data,
    };
    let payload = Payload::of(data);
    let upload = multipart::upload(&mut context)?;
    let object = Object::new(payload.clone(), Traits::default(), now);
    upload.parts.insert(number, Part { payload, modified: now });
    Ok(result("CopyPartResult", &object))
}

/// Whether the copy takes something from its source, and not from the request.
fn is_copied(request: &Request, directive: &str) -> Result<bool, Failure> {
    match request.header(directive).map(str::to_ascii_uppercase).as_deref() {
        None | Some("COPY") => Ok(true),
        Some("REPLACE") => Ok(false),
        Some(_) => Err(Failure::argument(format!("The {directive} must be COPY or REPLACE."))),
    }
}

/// What a copy is made from.
enum Source {
    Object(Box<Object>),
    NotModified,
}

/// Reads `/bucket/key`, percent-encoded, with `+` for a space as some clients write it.
fn source(store: &mut Store, request: &Request) -> Result<Source, Failure> {
    let invalid =
        || Failure::argument("Copy Source must mention the source bucket and key: /sourcebucket/sourcekey.");
    let text = request.header("x-oss-copy-source").ok_or_else(invalid)?;
    if text.contains('?') {
        // `versionId`.
        return Err(Failure::not_implemented());
    }
    let text = text.replace('+', " ");
    let path = unescape(text.as_bytes()).ok_or_else(invalid)?;
    let path = path.strip_prefix(b"/").unwrap_or(&path);
    let at = path.iter().position(|byte| *byte == b'/').ok_or_else(invalid)?;
    let (bucket, key) = (&path[..at], &path[at + 1..]);
    request::check_key(key)?;
    let bucket = request::bucket(&String::from_utf8_lossy(bucket))?;
    let object = store.bucket(&bucket)?.object(key)?;
    Ok(match Conditions::COPY.judge(request, object)? {
        Verdict::Holds => Source::Object(Box::new(object.clone())),
        Verdict::NotModified => Source::NotModified,
    })
}

fn result(root: &'static str, object: &Object) -> Reply {
    let mut document = Document::new(root);
    document.text("ETag", &object.etag);
    document.text("LastModified", modified(object.modified));
    Reply::xml(document.finish()).with("etag", &object.etag)
}

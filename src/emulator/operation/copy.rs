//! CopyObject and UploadPartCopy.

use http::StatusCode;

use super::super::failure::Failure;
use super::super::reply::Reply;
use super::super::request::{self, Request};
use super::super::store::{Kind, Object, Part, Payload, Store, kept_headers};
use super::super::text::unescape;
use super::condition::{Conditions, Verdict};
use super::object::{check_overwrite, modified};
use super::xml::Document;
use super::{Context, multipart, range};

/// CopyObject.
pub(super) fn object(mut context: Context<'_>) -> Result<Reply, Failure> {
    let (request, now) = (context.request, context.now);
    let source = match source(context.store, request)? {
        Source::Object(object) => object,
        Source::NotModified => return Ok(Reply::new(StatusCode::NOT_MODIFIED)),
    };
    let headers = match request.header("x-oss-metadata-directive") {
        None | Some("COPY") => source.headers.clone(),
        Some("REPLACE") => kept_headers(&request.headers),
        Some(_) => {
            return Err(Failure::argument("The x-oss-metadata-directive must be COPY or REPLACE."));
        }
    };
    let copy = Object { headers, modified: now, kind: Kind::Normal, ..*source };
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
    let object = Object::new(payload.clone(), http::HeaderMap::new(), now);
    upload.parts.insert(number, Part { payload, modified: now });
    Ok(result("CopyPartResult", &object))
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
    let text = text.split('?').next().unwrap_or(text).replace('+', " ");
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

//! Processing instructions: `image/OPERATION,PARAMETER_VALUE,…` and `style/NAME`, joined by `|`.
//! Other families are rejected, because their parameters may name objects.

use base64::Engine as _;
use base64::alphabet::URL_SAFE;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use super::names::{is_key, refuse_alias};
use super::not_understood::NotUnderstood;
use crate::oss::Bucket;

/// A processing instruction whose result is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SavedProcess {
    /// The keys of images that are read, such as watermarks.
    pub(super) images: Vec<String>,
    /// The bucket of the result; `None` for that of the request.
    pub(super) bucket: Option<String>,
    /// The key of the result.
    pub(super) key: String,
}

/// Returns the keys of the images that an instruction of a GET reads.
pub(super) fn instruction(text: &str) -> Result<Vec<String>, NotUnderstood> {
    let mut images = Vec::new();
    read_steps(text, NESTED_MAX, &mut images)?;
    Ok(images)
}

/// Returns the meaning of the body of a `ProcessObject`: `x-oss-process=…|sys/saveas,o_KEY,b_BUCKET`.
pub(super) fn saved(body: &[u8]) -> Result<SavedProcess, NotUnderstood> {
    let invalid = NotUnderstood::Process;
    let text = str::from_utf8(body).map_err(|_| invalid("it is not UTF-8"))?;
    let text = text
        .strip_prefix("x-oss-process=")
        .ok_or_else(|| invalid("it does not begin with x-oss-process="))?;
    let (steps, last) = text.rsplit_once('|').ok_or_else(|| invalid("sys/saveas is missing"))?;
    let target =
        last.strip_prefix("sys/saveas,").ok_or_else(|| invalid("the last step is not sys/saveas"))?;
    let mut images = Vec::new();
    // guard: one-saveas
    read_steps(steps, NESTED_MAX, &mut images)?;
    let (mut key, mut bucket) = (None, None);
    for part in target.split(',') {
        let (name, value) =
            part.split_once('_').ok_or_else(|| invalid("sys/saveas has a parameter without value"))?;
        let slot = match name {
            "o" => &mut key,
            "b" => &mut bucket,
            _ => return Err(invalid("sys/saveas has an unknown parameter")),
        };
        if slot.replace(decode_text(value)?).is_some() {
            return Err(invalid("sys/saveas has a parameter twice"));
        }
    }
    let key = key.ok_or_else(|| invalid("sys/saveas names no object"))?;
    // Braces are variables in the targets of asynchronous tasks.
    if !is_key(&key) || key.contains(['{', '}']) {
        return Err(invalid("sys/saveas names an invalid object"));
    }
    if bucket.as_deref().is_some_and(|bucket| Bucket::parse(bucket).is_err()) {
        return Err(invalid("sys/saveas names an invalid bucket"));
    }
    if let Some(bucket) = &bucket {
        refuse_alias(bucket)?;
    }
    Ok(SavedProcess { images, bucket, key })
}

fn read_steps(text: &str, depth: usize, images: &mut Vec<String>) -> Result<(), NotUnderstood> {
    for step in text.split('|') {
        if let Some(name) = step.strip_prefix("style/") {
            if name.is_empty()
                || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
            {
                return Err(NotUnderstood::Process("the name of the style is invalid"));
            }
        } else if let Some(operations) = step.strip_prefix("image/") {
            for operation in operations.split('/') {
                read_operation(operation, depth, images)?;
            }
        } else {
            return Err(NotUnderstood::Process("only image/ and style/ are supported here"));
        }
    }
    Ok(())
}

fn read_operation(text: &str, depth: usize, images: &mut Vec<String>) -> Result<(), NotUnderstood> {
    let mut parts = text.split(',');
    if !parts.next().is_some_and(|name| OPERATIONS.contains(&name)) {
        return Err(NotUnderstood::Process("the operation on images is unknown"));
    }
    for part in parts {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_=.".contains(&byte);
        if !part.bytes().all(is_plain) {
            return Err(NotUnderstood::Process("a parameter has an invalid character"));
        }
        let Some((name, value)) = part.split_once('_') else { continue };
        if name == "image" {
            let key = read_image(value, depth, images)?;
            images.push(key);
        } else if name.eq_ignore_ascii_case("image") {
            return Err(NotUnderstood::Process("the name of a parameter is in capitals"));
        }
    }
    Ok(())
}

/// Returns the key of an image: `KEY`, or `KEY?x-oss-process=image/…`, in Base64 for URLs.
fn read_image(value: &str, depth: usize, images: &mut Vec<String>) -> Result<String, NotUnderstood> {
    let text = decode_text(value)?;
    let (key, inner) = text.split_once('?').map_or((text.as_str(), None), |(key, inner)| (key, Some(inner)));
    // Whether OSS decodes an escape in the key is not documented.
    if !is_key(key) || key.contains('%') {
        return Err(NotUnderstood::Process("the key of an image is invalid"));
    }
    if let Some(inner) = inner {
        let inner = inner
            .strip_prefix("x-oss-process=")
            .ok_or(NotUnderstood::Process("only x-oss-process= may follow the key of an image"))?;
        let depth =
            depth.checked_sub(1).ok_or(NotUnderstood::Process("instructions are nested too deeply"))?;
        read_steps(inner, depth, images)?;
    }
    Ok(key.to_owned())
}

fn decode_text(value: &str) -> Result<String, NotUnderstood> {
    let bytes = ANY_PADDING
        .decode(value)
        .map_err(|_| NotUnderstood::Process("a value is not Base64 in the alphabet for URLs"))?;
    String::from_utf8(bytes).map_err(|_| NotUnderstood::Process("a value is not UTF-8"))
}

/// The Base64 alphabet for URLs, with or without padding, without unused bits.
const ANY_PADDING: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The greatest depth of instructions for images of images.
const NESTED_MAX: usize = 2;

/// The operations on images whose parameters are understood ("Image processing parameters").
const OPERATIONS: [&str; 17] = [
    "resize",
    "watermark",
    "crop",
    "quality",
    "format",
    "info",
    "auto-orient",
    "circle",
    "indexcrop",
    "rounded-corners",
    "blur",
    "rotate",
    "interlace",
    "average-hue",
    "bright",
    "sharpen",
    "contrast",
];

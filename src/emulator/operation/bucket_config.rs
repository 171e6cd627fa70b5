//! Bucket settings: the default responses, and documents stored and returned as uploaded.

use http::{Method, StatusCode};

use super::super::error::OssError;
use super::super::request::OssRequest;
use super::super::response::OssResponse;
use super::context::OperationContext;
use super::plan::OperationPlan;
use super::xml;

/// A setting of a bucket.
#[derive(Debug)]
struct BucketSetting {
    /// The query parameter that selects the setting.
    name: &'static str,
    /// The response while the setting is missing.
    unset: UnsetBehavior,
    /// The methods that change the setting.
    changed_by: &'static [Method],
}

#[derive(Debug)]
enum UnsetBehavior {
    /// 404 with this code and message.
    Absent(&'static str, &'static str),
    /// A document with this root element and content.
    Default(&'static str, &'static str),
}

/// Returns the operation on a setting, if the request names a setting.
pub(super) fn plan(request: &OssRequest) -> Option<Result<OperationPlan, OssError>> {
    let setting = named(request)?;
    Some(match request.method {
        Method::GET => Ok(OperationPlan::read(get)),
        Method::PUT if setting.changed_by.contains(&Method::PUT) => Ok(OperationPlan::body(put)),
        Method::DELETE if setting.changed_by.contains(&Method::DELETE) => Ok(OperationPlan::change(delete)),
        _ => Err(OssError::not_implemented()),
    })
}

fn get(mut context: OperationContext<'_>) -> Result<OssResponse, OssError> {
    let setting = named(context.request).ok_or_else(OssError::not_implemented)?;
    let (bucket, contents, _) = context.locate()?;
    let document = match (contents.settings.get(setting.name), &setting.unset) {
        (Some(document), _) => document.clone(),
        (None, UnsetBehavior::Absent(code, message)) => {
            return Err(
                OssError::new(StatusCode::NOT_FOUND, *code, *message).with("BucketName", bucket.as_str())
            );
        }
        (None, UnsetBehavior::Default(root, inside)) => {
            format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<{root}>{inside}</{root}>\n").into()
        }
    };
    let kind = if setting.name == "policy" { "application/json" } else { "application/xml" };
    let mut response = OssResponse::ok().with("content-type", kind);
    response.body = document;
    Ok(response)
}

fn put(mut context: OperationContext<'_>) -> Result<OssResponse, OssError> {
    let setting = named(context.request).ok_or_else(OssError::not_implemented)?;
    let document = context.payload.data.clone();
    if setting.name == "policy" {
        serde_json::from_slice::<serde_json::Value>(&document).map_err(|_| {
            OssError::new(
                StatusCode::BAD_REQUEST,
                "InvalidPolicyDocument",
                "The policy is not a JSON document.",
            )
        })?;
    } else {
        xml::read(&document)?;
    }
    let (_, contents, _) = context.locate()?;
    contents.settings.insert(setting.name, document);
    Ok(OssResponse::ok())
}

fn delete(mut context: OperationContext<'_>) -> Result<OssResponse, OssError> {
    let setting = named(context.request).ok_or_else(OssError::not_implemented)?;
    let (_, contents, _) = context.locate()?;
    contents.settings.remove(setting.name);
    Ok(OssResponse::new(StatusCode::NO_CONTENT))
}

fn named(request: &OssRequest) -> Option<&'static BucketSetting> {
    SETTINGS.iter().find(|setting| request.query.has(setting.name))
}

const KEPT: &[Method] = &[Method::PUT, Method::DELETE];
const PUT_ONLY: &[Method] = &[Method::PUT];
/// For settings whose change would need an effect, which the emulator does not implement.
const FIXED: &[Method] = &[];

static SETTINGS: [BucketSetting; 14] = [
    absent("cors", KEPT, "NoSuchCORSConfiguration", "The CORS Configuration does not exist."),
    absent(
        "encryption",
        KEPT,
        "NoSuchServerSideEncryptionRule",
        "The server side encryption configuration was not found.",
    ),
    absent("lifecycle", KEPT, "NoSuchLifecycle", "No Row found in Lifecycle Table."),
    absent("policy", KEPT, "NoSuchBucketPolicy", "The bucket policy does not exist."),
    absent("replication", FIXED, "NoSuchReplicationRule", "The bucket has no replication rule."),
    absent(
        "transferAcceleration",
        PUT_ONLY,
        "NoSuchTransferAccelerationConfiguration",
        "No transfer acceleration is configured.",
    ),
    absent(
        "website",
        KEPT,
        "NoSuchWebsiteConfiguration",
        "The specified bucket does not have a website configuration.",
    ),
    absent("worm", FIXED, "NoSuchWORMConfiguration", "The WORM Configuration does not exist."),
    default("accessmonitor", PUT_ONLY, "AccessMonitorConfiguration", "<Status>Disabled</Status>"),
    default("logging", KEPT, "BucketLoggingStatus", ""),
    default(
        "referer",
        PUT_ONLY,
        "RefererConfiguration",
        "<AllowEmptyReferer>true</AllowEmptyReferer><RefererList/>",
    ),
    default("requestPayment", PUT_ONLY, "RequestPaymentConfiguration", "<Payer>BucketOwner</Payer>"),
    default("tagging", KEPT, "Tagging", "<TagSet/>"),
    default("versioning", FIXED, "VersioningConfiguration", ""),
];

const fn absent(
    name: &'static str,
    changed_by: &'static [Method],
    code: &'static str,
    message: &'static str,
) -> BucketSetting {
    BucketSetting { name, changed_by, unset: UnsetBehavior::Absent(code, message) }
}

const fn default(
    name: &'static str,
    changed_by: &'static [Method],
    root: &'static str,
    inside: &'static str,
) -> BucketSetting {
    BucketSetting { name, changed_by, unset: UnsetBehavior::Default(root, inside) }
}

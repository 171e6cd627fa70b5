//! The operations: which one a request asks for, and what all of them share.

mod bucket;
mod condition;
mod copy;
mod extras;
mod list;
mod multi_delete;
mod multipart;
mod object;
mod range;
mod settings;
mod traits;
mod uploads;
mod xml;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{Method, StatusCode, header};

use super::failure::Failure;
use super::reply::Reply;
use super::request::{Request, Target};
use super::settings::Place;
use super::store::{Contents, Payload, Store};
use super::text::Pairs;
use crate::oss::{Bucket, Operation, Query};
use crate::time::Timestamp;

/// The operation that a request asks for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    run: Run,
    need: Need,
    open_to: OpenTo,
}

/// Who may ask for an operation where the access level is public.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum OpenTo {
    /// Whoever may read or write there.
    All,
    /// Still only the owner.
    Owner,
}

/// All that an operation may look at and change.
#[derive(Debug)]
pub(super) struct Context<'a> {
    pub(super) request: &'a Request,
    pub(super) place: &'a Place,
    pub(super) store: &'a mut Store,
    pub(super) now: Timestamp,
    pub(super) payload: Payload,
}

type Run = fn(Context<'_>) -> Result<Reply, Failure>;

/// What an operation does with its bucket and its body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Need {
    Read,
    Change,
    /// It changes, and reads a body.
    Body,
    /// It changes, and reads a body if there is one.
    MayHaveBody,
    /// It changes, and reads a body that must come with its sum.
    SummedBody,
    /// It makes the bucket; a body may say how.
    NoBucket,
}

/// Finds the operation by method, target and sub-resource.
pub(super) fn plan(request: &Request) -> Result<Plan, Failure> {
    let plan = match request.target {
        Target::Service => service(request),
        Target::Bucket(_) => on_bucket(request),
        Target::Object(..) => on_object(request),
    };
    let plan = plan.map_err(|failure| match asked_for(request) {
        Some(operation) if failure.is_not_implemented() => failure.with("Operation", operation.name()),
        Some(_) | None => failure,
    })?;
    let framed = [header::CONTENT_LENGTH, header::TRANSFER_ENCODING];
    let has_length = framed.iter().any(|name| request.headers.contains_key(name));
    if matches!(plan.need, Need::Body | Need::SummedBody) && !has_length {
        return Err(Failure::new(
            StatusCode::LENGTH_REQUIRED,
            "MissingContentLength",
            "You must provide the Content-Length HTTP header.",
        ));
    }
    Ok(plan)
}

/// Holds a body against the sum that was sent with it.
pub(super) fn check_payload(request: &Request, payload: &Payload, plan: &Plan) -> Result<(), Failure> {
    let Some(given) = request.header("content-md5") else {
        if plan.need == Need::SummedBody {
            return Err(Failure::new(
                StatusCode::BAD_REQUEST,
                "MissingArgument",
                "Missing Some Required Arguments.",
            )
            .with("ArgumentName", "Content-MD5"));
        }
        return Ok(());
    };
    if !plan.reads_body() || STANDARD.decode(given.trim()).is_ok_and(|md5| md5 == payload.md5) {
        return Ok(());
    }
    Err(Failure::new(
        StatusCode::BAD_REQUEST,
        "InvalidDigest",
        "The Content-MD5 you specified is not valid or is not that of the body.",
    )
    .with("Content-MD5", given))
}

impl Plan {
    pub(super) fn reads_body(&self) -> bool {
        !matches!(self.need, Need::Read | Need::Change)
    }

    pub(super) fn makes_bucket(&self) -> bool {
        self.need == Need::NoBucket
    }

    /// Whether an access level lets anybody do this.
    pub(super) fn is_public(&self, acl: &str) -> bool {
        match acl {
            _ if self.open_to == OpenTo::Owner => false,
            "public-read" => self.need == Need::Read,
            "public-read-write" => true,
            _ => false,
        }
    }

    pub(super) fn run(&self, context: Context<'_>) -> Result<Reply, Failure> {
        (self.run)(context)
    }

    fn new(run: Run, need: Need) -> Self {
        Self { run, need, open_to: OpenTo::All }
    }

    fn read(run: Run) -> Self {
        Self::new(run, Need::Read)
    }

    fn change(run: Run) -> Self {
        Self::new(run, Need::Change)
    }

    fn body(run: Run) -> Self {
        Self::new(run, Need::Body)
    }

    fn for_owner(self) -> Self {
        Self { open_to: OpenTo::Owner, ..self }
    }
}

impl<'a> Context<'a> {
    fn query(&self) -> &'a Pairs {
        &self.request.query
    }

    /// The bucket that the request is about.
    fn bucket(&self) -> Result<&'a Bucket, Failure> {
        self.request.target.bucket().ok_or_else(Failure::method)
    }

    /// The bucket, its contents and the key; the key is empty for the bucket itself.
    fn place(&mut self) -> Result<(&'a Bucket, &mut Contents, &'a [u8]), Failure> {
        let request = self.request;
        let bucket = self.bucket()?;
        let key = match &request.target {
            Target::Object(_, key) => key.as_slice(),
            Target::Service | Target::Bucket(_) => &[],
        };
        Ok((bucket, self.store.bucket(bucket)?, key))
    }
}

fn service(request: &Request) -> Result<Plan, Failure> {
    match asked_for(request) {
        Some(Operation::DescribeRegions) if request.method == Method::GET => Ok(Plan::read(bucket::regions)),
        Some(Operation::ListBuckets) if request.method == Method::GET => Ok(Plan::read(bucket::list_all)),
        Some(Operation::ListBuckets | Operation::DescribeRegions) | None => Err(Failure::method()),
        Some(operation) if operation.is_of_service() => Err(Failure::not_implemented()),
        Some(_) => Err(Failure::method()),
    }
}

/// The operation that the request is known by.
fn asked_for(request: &Request) -> Option<Operation> {
    let mut query = Query::default();
    for pair in &request.query.0 {
        query.push(&String::from_utf8_lossy(&pair.name), &*pair.value);
    }
    let (bucketless, keyless) = match &request.target {
        Target::Service => (true, true),
        Target::Bucket(_) => (false, true),
        Target::Object(..) => (false, false),
    };
    Operation::of(&request.method, bucketless, keyless, &query, &request.headers)
}

fn on_bucket(request: &Request) -> Result<Plan, Failure> {
    let query = &request.query;
    if NOT_SERVED_ON_BUCKETS.iter().any(|name| query.has(name)) {
        return Err(Failure::not_implemented());
    }
    if let Some(plan) = settings::plan(request) {
        return plan.map(Plan::for_owner);
    }
    match request.method {
        Method::GET if query.has("stat") => Ok(Plan::read(bucket::stat).for_owner()),
        Method::GET if query.has("location") => Ok(Plan::read(bucket::location).for_owner()),
        Method::GET if query.has("bucketInfo") => Ok(Plan::read(bucket::info).for_owner()),
        Method::GET if query.has("acl") => Ok(Plan::read(bucket::get_acl).for_owner()),
        Method::GET if query.has("uploads") => Ok(Plan::read(uploads::list_uploads)),
        Method::GET if query.get("list-type") == Some("2") => Ok(Plan::read(list::second)),
        Method::GET => Ok(Plan::read(list::first)),
        Method::HEAD => Ok(Plan::read(bucket::head)),
        Method::PUT if query.has("acl") => Ok(Plan::change(bucket::put_acl).for_owner()),
        Method::PUT => Ok(Plan::new(bucket::create, Need::NoBucket).for_owner()),
        Method::DELETE => Ok(Plan::change(bucket::delete).for_owner()),
        Method::POST if query.has("delete") => Ok(Plan::new(multi_delete::run, Need::SummedBody)),
        Method::POST | Method::OPTIONS => Err(Failure::not_implemented()),
        _ => Err(Failure::method()),
    }
}

fn on_object(request: &Request) -> Result<Plan, Failure> {
    let query = &request.query;
    if NOT_SERVED_ON_OBJECTS.iter().any(|name| query.has(name)) {
        return Err(Failure::not_implemented());
    }
    let copies = request.headers.contains_key("x-oss-copy-source");
    let of_upload = query.has("uploadId");
    match request.method {
        Method::GET if of_upload => Ok(Plan::read(uploads::list_parts)),
        Method::GET if query.has("acl") => Ok(Plan::read(object::get_acl).for_owner()),
        Method::GET if query.has("symlink") => Ok(Plan::read(extras::get_symlink)),
        Method::GET if query.has("tagging") => Ok(Plan::read(extras::get_tags)),
        Method::PUT if query.has("symlink") => Ok(Plan::change(extras::put_symlink)),
        Method::PUT if query.has("tagging") => Ok(Plan::body(extras::put_tags)),
        Method::DELETE if query.has("tagging") => Ok(Plan::change(extras::delete_tags)),
        Method::GET if query.has("objectMeta") => Ok(Plan::read(object::meta)),
        Method::GET => Ok(Plan::read(object::get)),
        Method::HEAD if query.has("objectMeta") => Ok(Plan::read(object::meta)),
        Method::HEAD => Ok(Plan::read(object::get)),
        Method::PUT if of_upload && copies => Ok(Plan::change(copy::part)),
        Method::PUT if of_upload => Ok(Plan::body(multipart::upload_part)),
        Method::PUT if query.has("acl") => Ok(Plan::change(object::put_acl).for_owner()),
        Method::PUT if copies => Ok(Plan::change(copy::object)),
        Method::PUT => Ok(Plan::body(object::put)),
        Method::DELETE if of_upload => Ok(Plan::change(multipart::abort)),
        Method::DELETE => Ok(Plan::change(object::delete)),
        Method::POST if query.has("uploads") => Ok(Plan::change(multipart::initiate)),
        Method::POST if of_upload && request.header("x-oss-complete-all").is_some() => {
            Ok(Plan::change(multipart::complete))
        }
        Method::POST if of_upload => Ok(Plan::body(multipart::complete)),
        Method::POST if query.has("restore") => Ok(Plan::new(extras::restore, Need::MayHaveBody)),
        Method::POST if query.has("append") => Ok(Plan::body(object::append)),
        Method::POST | Method::OPTIONS => Err(Failure::not_implemented()),
        _ => Err(Failure::method()),
    }
}

/// What the real service does with these is not done here; doing something else in silence would be worse.
const NOT_SERVED_ON_BUCKETS: [&str; 28] = [
    "accessPoint",
    "accessPointPolicy",
    "append",
    "bucketArchiveDirectRead",
    "cname",
    "comp",
    "dataPipeline",
    "httpsConfig",
    "inventory",
    "live",
    "metaQuery",
    "objectWorm",
    "overwriteConfig",
    "policyStatus",
    "processConfiguration",
    "publicAccessBlock",
    "qosInfo",
    "qosRequester",
    "redundancyTransition",
    "replicationLocation",
    "replicationProgress",
    "requesterQosInfo",
    "resourceGroup",
    "style",
    "userDefinedLogFieldsConfig",
    "versions",
    "vod",
    "wormId",
];

/// The same for objects.
const NOT_SERVED_ON_OBJECTS: [&str; 14] = [
    "asyncFetch",
    "callback",
    "cleanRestoredObject",
    "img",
    "legalHold",
    "live",
    "retention",
    "seal",
    "sequential",
    "versionId",
    "vod",
    "withHashContext",
    "x-oss-async-process",
    "x-oss-process",
];

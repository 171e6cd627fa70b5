//! What a request reaches: the permissions that it requires, the properties that conditions test,
//! and the parts that must be rewritten. The only reader of parameters, headers and bodies for a
//! policy. A request that is not understood as a whole is rejected.

mod copy_source;
mod delete_body;
mod fetch_body;
mod header_rules;
mod names;
mod not_understood;
mod parameter_rules;
mod process;
mod xml_elements;

use std::borrow::Cow;
use std::str;

use http::{HeaderMap, HeaderName, HeaderValue, Method};
pub(crate) use not_understood::NotUnderstood;

use self::copy_source::CopySource;
use self::delete_body::DeleteBody;
use self::names::{is_key, refuse_alias};
use super::permission::{PermissionList, PermissionResource, RequiredPermission, version_action};
use super::request_facts::{ObjectTag, RequestFacts, RequestOrigin};
use crate::oss::{ActionTarget, Bucket, Operation, Query, decode, encode_path};

/// The parts of a request that determine its shape.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ShapeInput<'a> {
    /// The operation.
    pub(crate) operation: Operation,
    /// The method.
    pub(crate) method: &'a Method,
    /// The bucket; `None` for requests for all buckets.
    pub(crate) bucket: Option<&'a Bucket>,
    /// The decoded key; empty for requests for a bucket.
    pub(crate) key: &'a [u8],
    /// The parameters, without those of a signature.
    pub(crate) query: &'a Query,
    /// The headers, without those of a signature.
    pub(crate) headers: &'a HeaderMap,
    /// The body, if [`RequestShape::body_limit`] asks for it.
    pub(crate) body: &'a [u8],
    /// The time and the client.
    pub(crate) origin: RequestOrigin<'a>,
    /// The region of the route; empty if it has none.
    pub(crate) region: &'a str,
    /// Whether the caller may let OSS call other servers.
    pub(crate) callbacks: bool,
}

/// What a request reaches.
#[derive(Clone, Debug)]
pub(crate) struct RequestShape<'a> {
    /// The permissions that it requires.
    pub(crate) permissions: PermissionList<'a>,
    /// The properties that conditions test.
    pub(crate) facts: RequestFacts<'a>,
    /// The parts that must be rewritten, so that OSS receives exactly what was judged.
    pub(crate) rewrites: RequestRewrites,
}

/// The parts of a request that are rewritten.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct RequestRewrites {
    /// Headers with their new values; `None` removes the header.
    pub(crate) headers: Vec<(HeaderName, Option<HeaderValue>)>,
    /// The new body.
    pub(crate) body: Option<Vec<u8>>,
}

impl<'a> RequestShape<'a> {
    /// Returns the greatest length in bytes of a body that names resources. `None` if the body of
    /// the operation is not examined.
    #[must_use]
    pub(crate) fn body_limit(operation: Operation) -> Option<usize> {
        let limits = [
            (Operation::DeleteMultipleObjects, 2 * 1024 * 1024),
            (Operation::ProcessObject, 8 * 1024),
            (Operation::PutAsyncFetchTask, 64 * 1024),
        ];
        limits.iter().find(|(one, _)| *one == operation).map(|(_, limit)| *limit)
    }

    /// Determines the shape of a request.
    ///
    /// # Errors
    /// [`NotUnderstood`], if a part of the request is unknown, repeated or unreadable.
    pub(crate) fn read(input: ShapeInput<'a>) -> Result<Self, NotUnderstood> {
        ShapeReader::new(input)?.read()
    }
}

/// The reader of one request.
struct ShapeReader<'a> {
    input: ShapeInput<'a>,
    bucket: &'a str,
    key: &'a str,
    rewrites: RequestRewrites,
}

impl<'a> ShapeReader<'a> {
    fn new(input: ShapeInput<'a>) -> Result<Self, NotUnderstood> {
        let ShapeInput { operation, method, .. } = input;
        if operation == Operation::Preflight {
            return Err(NotUnderstood::Preflight);
        }
        if operation == Operation::PostObject {
            return Err(NotUnderstood::Form);
        }
        // The target of an asynchronous task may have variables that only OSS replaces.
        if operation == Operation::AsyncProcessObject {
            return Err(NotUnderstood::AsynchronousProcess);
        }
        if operation.actions().is_empty() {
            return Err(NotUnderstood::UnknownOperation);
        }
        if !operation.has_method(method) {
            return Err(NotUnderstood::Method(operation));
        }
        let key = str::from_utf8(input.key).map_err(|_| NotUnderstood::KeyEncoding)?;
        let bucket = input.bucket.map_or("", Bucket::as_str);
        refuse_alias(bucket)?;
        Ok(Self { input, bucket, key, rewrites: RequestRewrites::default() })
    }

    fn read(mut self) -> Result<RequestShape<'a>, NotUnderstood> {
        parameter_rules::check(self.input.operation, self.input.query)?;
        let dropped = header_rules::check(self.input.operation, self.input.method, self.input.headers)?;
        self.rewrites.headers.extend(dropped.into_iter().map(|name| (name, None)));
        self.check_callbacks()?;
        let mut permissions = self.permissions()?;
        self.add_of_headers(&mut permissions)?;
        self.add_of_process(&mut permissions)?;
        let facts = self.facts()?;
        Ok(RequestShape { permissions, facts, rewrites: self.rewrites })
    }

    /// Returns the permissions of the operation itself.
    fn permissions(&mut self) -> Result<PermissionList<'a>, NotUnderstood> {
        let operation = self.input.operation;
        let mut list: Option<PermissionList<'a>> = None;
        for action in operation.actions() {
            let name = self.versioned(action.action)?;
            let mut push = |action, resource| match &mut list {
                Some(list) => list.push(action, resource),
                None => list = Some(PermissionList::new(RequiredPermission { action, resource })),
            };
            match action.target {
                ActionTarget::Service => push(name, PermissionResource::Service),
                ActionTarget::Bucket => push(name, self.bucket()?),
                ActionTarget::ServiceOrBucket if self.bucket.is_empty() => {
                    push(name, PermissionResource::Service);
                }
                ActionTarget::ServiceOrBucket => push(name, self.bucket()?),
                ActionTarget::Pool => {
                    push(name, PermissionResource::Pool(Cow::Borrowed(self.parameter("resourcePool"))));
                }
                ActionTarget::Object => push(name, self.object()?),
                ActionTarget::CopySource => {
                    let source = self.copy_source()?;
                    if source.version.is_some() {
                        push("oss:GetObjectVersion", source.resource());
                    }
                    push(name, source.resource());
                }
                ActionTarget::RenameSource => {
                    let source = self.rewritten_key("x-oss-rename-source")?;
                    push(name, PermissionResource::Object(Cow::Borrowed(self.bucket), Cow::Owned(source)));
                }
                ActionTarget::Subtree => {
                    if self.flag("x-oss-delete-recursive")? {
                        let below = format!("{}/", self.key.trim_end_matches('/'));
                        push(name, PermissionResource::Tree(Cow::Borrowed(self.bucket), Cow::Owned(below)));
                    }
                }
                ActionTarget::EachKey => {
                    let body = DeleteBody::parse(self.input.body)?;
                    for object in &body.objects {
                        let action = if object.version.is_some() { "oss:DeleteObjectVersion" } else { name };
                        let key = Cow::Owned(object.key.clone());
                        push(action, PermissionResource::Object(Cow::Borrowed(self.bucket), key));
                    }
                    self.rewrites.body = Some(body.write());
                }
                ActionTarget::FetchTarget => {
                    let key = fetch_body::target(self.input.body, self.input.callbacks)?;
                    push(name, PermissionResource::Object(Cow::Borrowed(self.bucket), Cow::Owned(key)));
                }
                // `add_of_process` adds it.
                ActionTarget::SaveTarget => {}
                ActionTarget::FormKey => return Err(NotUnderstood::Form),
                ActionTarget::Undocumented => return Err(NotUnderstood::UnknownOperation),
            }
        }
        list.ok_or(NotUnderstood::UnknownOperation)
    }

    /// Adds the permissions for which headers of a write ask.
    fn add_of_headers(&mut self, list: &mut PermissionList<'a>) -> Result<(), NotUnderstood> {
        let operation = self.input.operation;
        let has = |name: &str| self.input.headers.contains_key(name);
        let is_upload = !matches!(operation, Operation::PutObjectAcl | Operation::PutBucketAcl);
        if has("x-oss-tagging") {
            list.push("oss:PutObjectTagging", self.object()?);
        }
        if is_upload && has("x-oss-object-acl") {
            list.push("oss:PutObjectAcl", self.object()?);
        }
        if is_upload && has("x-oss-acl") {
            list.push("oss:PutBucketAcl", self.bucket()?);
        }
        if operation == Operation::DeleteObject && has("x-oss-bypass-governance-retention") {
            list.push("oss:PutObjectRetention", self.object()?);
        }
        match self.header("x-oss-tagging-directive")? {
            None | Some("Replace") => {}
            Some("Copy") => {
                let source = self.copy_source()?;
                list.push("oss:GetObjectTagging", source.resource());
                if source.version.is_some() {
                    list.push("oss:GetObjectVersionTagging", source.resource());
                }
                list.push("oss:PutObjectTagging", self.object()?);
            }
            Some(_) => return Err(NotUnderstood::HeaderValue("x-oss-tagging-directive")),
        }
        if operation == Operation::PutSymlink {
            let target = self.rewritten_key("x-oss-symlink-target")?;
            list.push(
                "oss:GetObject",
                PermissionResource::Object(Cow::Borrowed(self.bucket), Cow::Owned(target)),
            );
        }
        Ok(())
    }

    /// Adds the permissions for which a processing instruction asks.
    fn add_of_process(&self, list: &mut PermissionList<'a>) -> Result<(), NotUnderstood> {
        let bucket = self.bucket;
        let read = |key: String| PermissionResource::Object(Cow::Borrowed(bucket), Cow::Owned(key));
        let operation = self.input.operation;
        let text = self.parameter("x-oss-process");
        if operation == Operation::GetObject && !text.is_empty() {
            for key in process::instruction(text)? {
                list.push("oss:GetObject", read(key));
            }
        }
        if operation == Operation::ProcessObject {
            let saved = process::saved(self.input.body)?;
            list.push("oss:GetObject", self.object()?);
            for key in saved.images {
                list.push("oss:GetObject", read(key));
            }
            let into = saved.bucket.map_or(Cow::Borrowed(bucket), Cow::Owned);
            list.push("oss:PutObject", PermissionResource::Object(into, Cow::Owned(saved.key)));
        }
        Ok(())
    }

    fn facts(&self) -> Result<RequestFacts<'a>, NotUnderstood> {
        let lists = self.input.operation.lists_keys();
        let tags = match self.header("x-oss-tagging")? {
            Some(text) => parse_tags(text)?,
            None => Vec::new(),
        };
        Ok(RequestFacts {
            origin: self.input.origin,
            region: self.input.region,
            // A value that is not text is absent for conditions.
            user_agent: self
                .input
                .headers
                .get(http::header::USER_AGENT)
                .and_then(|value| value.to_str().ok()),
            prefix: lists.then(|| self.parameter("prefix")),
            delimiter: (lists && self.input.query.get("delimiter").is_some())
                .then(|| self.parameter("delimiter")),
            bucket_acl: self.header("x-oss-acl")?,
            object_acl: self.header("x-oss-object-acl")?,
            tags,
        })
    }

    /// Returns the action for a version of an object, if the request names one.
    fn versioned(&self, action: &'static str) -> Result<&'static str, NotUnderstood> {
        if self.input.query.get("versionId").is_none() {
            return Ok(action);
        }
        if self.parameter("versionId").is_empty() {
            return Err(NotUnderstood::ParameterValue("versionId"));
        }
        Ok(version_action(action).unwrap_or(action))
    }

    fn bucket(&self) -> Result<PermissionResource<'a>, NotUnderstood> {
        if self.bucket.is_empty() {
            return Err(NotUnderstood::UnknownOperation);
        }
        Ok(PermissionResource::Bucket(Cow::Borrowed(self.bucket)))
    }

    fn object(&self) -> Result<PermissionResource<'a>, NotUnderstood> {
        if self.bucket.is_empty() || self.key.is_empty() {
            return Err(NotUnderstood::UnknownOperation);
        }
        Ok(PermissionResource::Object(Cow::Borrowed(self.bucket), Cow::Borrowed(self.key)))
    }

    /// Returns the value of a parameter, or an empty text. `parameter_rules` has checked that it is
    /// UTF-8.
    fn parameter(&self, name: &str) -> &'a str {
        let value = self.input.query.get(name).and_then(|param| param.value.as_deref());
        value.and_then(|value| str::from_utf8(value).ok()).unwrap_or_default()
    }

    fn header(&self, name: &'static str) -> Result<Option<&'a str>, NotUnderstood> {
        let value = self.input.headers.get(name);
        value.map(|value| value.to_str().map_err(|_| NotUnderstood::HeaderValue(name))).transpose()
    }

    fn flag(&self, name: &'static str) -> Result<bool, NotUnderstood> {
        match self.header(name)? {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(_) => Err(NotUnderstood::HeaderValue(name)),
        }
    }

    fn copy_source(&mut self) -> Result<CopySource, NotUnderstood> {
        const NAME: &str = "x-oss-copy-source";
        let source = CopySource::parse(self.header(NAME)?.unwrap_or_default())?;
        refuse_alias(&source.bucket)?;
        self.rewrite_header(NAME, source.write());
        Ok(source)
    }

    /// Returns the key in a header, decoded once, and rewrites the header with the key encoded. A `+`
    /// is a space, as the first Go SDK and ossutil write it.
    fn rewritten_key(&mut self, name: &'static str) -> Result<String, NotUnderstood> {
        let text = self.header(name)?.unwrap_or_default();
        let bytes =
            decode(text.replace('+', " ").as_bytes()).map_err(|_| NotUnderstood::HeaderValue(name))?;
        let key = String::from_utf8(bytes).map_err(|_| NotUnderstood::HeaderValue(name))?;
        if !is_key(&key) || key.starts_with('/') {
            return Err(NotUnderstood::HeaderValue(name));
        }
        let mut encoded = String::with_capacity(key.len());
        encode_path(key.as_bytes(), &mut encoded);
        self.rewrite_header(name, encoded);
        Ok(key)
    }

    fn rewrite_header(&mut self, name: &'static str, value: String) {
        let name = HeaderName::from_static(name);
        // The text consists of unreserved and escaped characters.
        if let Ok(value) = HeaderValue::try_from(value)
            && !self.rewrites.headers.iter().any(|(known, _)| *known == name)
        {
            self.rewrites.headers.push((name, Some(value)));
        }
    }

    /// A callback lets OSS send a request to any server. No RAM action stands for it.
    fn check_callbacks(&self) -> Result<(), NotUnderstood> {
        let by_header = ["x-oss-callback", "x-oss-callback-var"]
            .iter()
            .any(|name| self.input.headers.contains_key(*name));
        let by_parameter =
            ["callback", "callback-var"].iter().any(|name| self.input.query.get(name).is_some());
        match (by_header, by_parameter) {
            (true, true) => Err(NotUnderstood::TwoCallbacks),
            // guard: callbacks-by-switch
            (true, false) | (false, true) if !self.input.callbacks => Err(NotUnderstood::Callback),
            _ => Ok(()),
        }
    }
}

/// Returns the tags of `x-oss-tagging`, which is encoded like a query.
fn parse_tags(text: &str) -> Result<Vec<ObjectTag>, NotUnderstood> {
    const INVALID: NotUnderstood = NotUnderstood::HeaderValue("x-oss-tagging");
    let query = Query::parse(text).map_err(|_| INVALID)?;
    let mut tags: Vec<ObjectTag> = Vec::new();
    for param in query.params() {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).map_err(|_| INVALID);
        let tag =
            ObjectTag { key: text(&param.name)?, value: text(param.value.as_deref().unwrap_or_default())? };
        if tags.iter().any(|known| known.key == tag.key) {
            return Err(INVALID);
        }
        tags.push(tag);
    }
    Ok(tags)
}

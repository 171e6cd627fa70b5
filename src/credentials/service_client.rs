//! HTTP client of the services that return credentials. Calls respect the limits of the endpoint,
//! and are repeated while there is no response.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use http::HeaderMap;
use http::header::RETRY_AFTER;
use tokio::sync::Notify;
use tokio::time::sleep;

use super::circuit_breaker::{CallOutcome, CredentialEndpoint};
use super::clock_skew::ClockOffsets;
use super::services::CredentialServices;
use crate::transport::{HttpClient, HttpClientError, HttpRequest, HttpResponse, HttpTimeouts};

/// An HTTP client for services that return credentials.
pub(super) struct ServiceClient {
    http: HttpClient,
    services: Arc<CredentialServices>,
}

impl ServiceClient {
    pub(super) fn new(services: &Arc<CredentialServices>) -> Self {
        Self { http: HttpClient::new(services.names.clone()), services: Arc::clone(services) }
    }

    /// Returns the offsets of the clocks of services.
    pub(super) fn clocks(&self) -> &ClockOffsets {
        &self.services.clocks
    }

    /// Sends a request as soon as the endpoint allows a call. While there is no response, further
    /// requests made by `again` are sent, and the first response counts. A response lost on the way
    /// must not delay the next.
    ///
    /// # Errors
    /// Those of the fetch; a response of any status is a success.
    pub(super) async fn send(
        &self,
        first: HttpRequest,
        again: impl Fn() -> Option<HttpRequest>,
        within: HttpTimeouts,
    ) -> Result<HttpResponse, HttpClientError> {
        let endpoint = self.services.endpoints.endpoint(&first.url);
        let attempt = ServiceAttempt { endpoint, http: &self.http, within, silent: Notify::new() };
        let mut calls = FuturesUnordered::new();
        calls.push(attempt.call(first));
        let mut calls_left = CALLS_MAX - 1;
        loop {
            tokio::select! {
                biased;
                Some(response) = calls.next() => {
                    // A failed call decides nothing while another is in flight, unless it timed out.
                    let late = matches!(
                        response,
                        Err(HttpClientError::Late(..) | HttpClientError::ConnectLate(..))
                    );
                    if calls.is_empty() || late || matches!(outcome(&response), CallOutcome::Answered) {
                        return response;
                    }
                }
                () = attempt.silent.notified(), if calls_left > 0 => {
                    calls_left -= 1;
                    calls.extend(again().map(|ask| attempt.call(ask)));
                }
            }
        }
    }
}

/// The calls for one response.
struct ServiceAttempt<'a> {
    endpoint: Arc<CredentialEndpoint>,
    http: &'a HttpClient,
    within: HttpTimeouts,
    /// Notified when a call has had no response for a while.
    silent: Notify,
}

impl ServiceAttempt<'_> {
    /// Makes one call. If there is no response for a while, notifies `silent` and reports a failure
    /// to the endpoint.
    async fn call(&self, ask: HttpRequest) -> Result<HttpResponse, HttpClientError> {
        let pass = Arc::clone(&self.endpoint).enter().await;
        let mut fetched = pin!(self.http.fetch(ask, self.within));
        let response = tokio::select! {
            biased;
            response = fetched.as_mut() => response,
            () = sleep(SILENT_AFTER) => {
                // Releases the permit, so that other calls need not wait.
                pass.report_outcome(CallOutcome::Failed);
                self.silent.notify_one();
                let response = fetched.await;
                if response.is_ok() {
                    self.endpoint.record_late_outcome(outcome(&response));
                }
                return response;
            }
        };
        pass.report_outcome(outcome(&response));
        response
    }
}

fn outcome(response: &Result<HttpResponse, HttpClientError>) -> CallOutcome {
    match response {
        Err(_) => CallOutcome::Failed,
        Ok(response) if is_throttled(response) => CallOutcome::Throttled(retry_after(&response.headers)),
        Ok(response) if response.status >= 500 => CallOutcome::Failed,
        Ok(_) => CallOutcome::Answered,
    }
}

fn is_throttled(response: &HttpResponse) -> bool {
    let words = || response.body.windows(THROTTLING.len()).any(|words| words == THROTTLING);
    response.status == 429 || (matches!(response.status, 400 | 403 | 503) && words())
}

fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds))
}

/// A call without a response for this long counts as failed, and another is sent while it waits.
const SILENT_AFTER: Duration = Duration::from_secs(2);
/// The limit on calls per attempt, including the first.
const CALLS_MAX: usize = 4;
/// The start of the error code of a throttling response of STS.
const THROTTLING: &[u8] = b"\"Throttling";

//! One call: from an HTTP request to the service, and back.

use std::sync::Arc;
use std::time::SystemTime;

use anchorhold_kms_core::{Exception, KmsError};
use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Request as HttpRequest, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use tokio::time::Instant;
use uuid::Uuid;
use zeroize::Zeroizing;

use super::body::receive;
use super::connection::{Peer, Shared};
use crate::audit::event::Origin;
use crate::service::{Answer, Request, busy};

/// Media type of JSON 1.1, in both directions.
const JSON: HeaderValue = HeaderValue::from_static("application/x-amz-json-1.1");

/// Answers one request. The call runs on a task of its own: a peer that leaves does not stop a
/// change between its decision and its audit event. It is waited for however long it takes, so
/// that nobody is told of a failure whose call is then committed; what it does before its commit
/// is bounded in time by itself.
pub(super) async fn respond(
    shared: Arc<Shared>,
    peer: Peer,
    request: HttpRequest<Incoming>,
) -> Response<Full<Bytes>> {
    let (parts, body) = request.into_parts();
    let call = Call {
        request_id: Uuid::new_v4(),
        until: Instant::now() + shared.limits.request,
        headers: with_host(&parts),
        peer,
    };
    // Counted before there is a task: those of reset streams go on without their peer.
    let Ok(slot) = Arc::clone(&shared.calls).try_acquire_owned() else {
        let refused = call.request(Err(busy()));
        return response(shared.service.handle(refused).await);
    };
    let request_id = call.request_id;
    let task = tokio::spawn(async move {
        let _slot = slot;
        let _alive = shared.alive.clone();
        call.perform(&shared, &parts, body).await
    });
    let answer = task.await.unwrap_or_else(|error| {
        log::error!("a call ended without an answer: {error}");
        Answer::refusal(request_id, &KmsError::internal("server.task"))
    });
    response(answer)
}

/// What is known of a call before its body.
struct Call {
    request_id: Uuid,
    until: Instant,
    headers: HeaderMap,
    peer: Peer,
}

impl Call {
    async fn perform(self, shared: &Shared, parts: &Parts, body: Incoming) -> Answer {
        let bodies = Arc::clone(&self.peer.bodies);
        let admit = async || shared.service.admit(&self.headers, SystemTime::now()).await;
        let received = match check(parts) {
            Ok(()) => {
                let budgets = [&shared.bodies, &*bodies];
                receive(budgets, body, shared.limits.body, admit).await
            }
            Err(error) => Err(error),
        };
        // The body's shares of the budgets are held until the call is answered.
        let (body, _shares) = match received {
            Ok(mut received) => (Ok(std::mem::take(&mut received.bytes)), Some(received)),
            Err(error) => (Err(error), None),
        };
        shared.service.handle(self.request(body)).await
    }

    fn request(self, body: Result<Zeroizing<Vec<u8>>, KmsError>) -> Request {
        Request {
            origin: Origin {
                request_id: self.request_id,
                source: self.peer.address.to_string(),
                user_agent: text(&self.headers, "user-agent"),
                tls: self.peer.tls,
                at: SystemTime::now(),
            },
            peer: self.peer.address,
            headers: self.headers,
            body,
            until: self.until,
        }
    }
}

/// JSON 1.1 knows one method, one path, no query and one media type.
fn check(parts: &Parts) -> Result<(), KmsError> {
    let media_type = text(&parts.headers, "content-type").unwrap_or_default();
    let media_type = media_type.split(';').next().unwrap_or_default().trim();
    let sound = parts.method == Method::POST
        && parts.uri.path() == "/"
        && parts.uri.query().is_none()
        && media_type.eq_ignore_ascii_case("application/x-amz-json-1.1");
    if sound {
        return Ok(());
    }
    Err(KmsError::other(
        Exception::UnknownOperation,
        "request.http",
        "Expected POST / with Content-Type application/x-amz-json-1.1.",
    ))
}

/// The headers with `host`, which HTTP/2 carries as `:authority`.
fn with_host(parts: &Parts) -> HeaderMap {
    let mut headers = parts.headers.clone();
    if !headers.contains_key(http::header::HOST)
        && let Some(authority) = parts.uri.authority()
        && let Ok(host) = HeaderValue::from_str(authority.as_str())
    {
        headers.insert(http::header::HOST, host);
    }
    headers
}

fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    let value = headers.get(name)?;
    Some(String::from_utf8_lossy(value.as_bytes()).into_owned())
}

fn response(answer: Answer) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(answer.body));
    *response.status_mut() =
        StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(http::header::CONTENT_TYPE, JSON);
    headers.insert(
        http::header::CACHE_CONTROL,
        HeaderValue::from_static("no-cache, no-store, must-revalidate, private"),
    );
    if let Ok(id) = HeaderValue::from_str(&answer.request_id.to_string()) {
        headers.insert("x-amzn-requestid", id);
    }
    if let Some(rule) = answer.rule {
        headers.insert("x-anchorhold-rule", HeaderValue::from_static(rule));
    }
    response
}

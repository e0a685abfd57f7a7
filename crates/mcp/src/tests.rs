//! Tables and properties of the whole crate.

mod build;
mod handshake;
mod message;
mod method;
mod pending;
mod tools;
mod transport;

use crate::{Message, Notification, Refused, Request, Response, limits};

fn read(text: &str) -> Result<Message<'_>, Refused> {
    Message::parse(text.as_bytes(), &limits::AGENT_MESSAGE)
}

fn request(text: &str) -> Request<'_> {
    match read(text) {
        Ok(Message::Request(request)) => request,
        other => panic!("no request: {other:?}"),
    }
}

fn notification(text: &str) -> Notification<'_> {
    match read(text) {
        Ok(Message::Notification(notification)) => notification,
        other => panic!("no notification: {other:?}"),
    }
}

fn response(text: &str) -> Response<'_> {
    match read(text) {
        Ok(Message::Response(response)) => response,
        other => panic!("no response: {other:?}"),
    }
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

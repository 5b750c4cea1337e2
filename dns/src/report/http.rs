//! The HTTP around a document: the request to the admin port, and the response. Pure.

/// The header that marks requests of our programs. An application of the pod that fetches any given address, or
/// a browser, can be tricked into a request to the loopback, but not into sending this header. The metadata
/// servers of cloud providers use the same protection.
pub const OWN_HEADER: &str = "x-podlocal-dns";

/// The request for a target, such as `/readyz`. The proxy closes the connection behind its response.
pub fn request(target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nhost: localhost\r\n{OWN_HEADER}: 1\r\nconnection: close\r\n\r\n")
}

/// An HTTP response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// The status code; `None`: it was not HTTP.
    pub status: Option<u16>,
    /// The body; the beginning of the response if it was not HTTP.
    pub body: String,
}

impl Response {
    /// Parses everything that arrived until the end of the connection.
    pub fn parse(bytes: &[u8]) -> Self {
        let text = String::from_utf8_lossy(bytes);
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        let version = head.strip_prefix("HTTP/1.1 ").or_else(|| head.strip_prefix("HTTP/1.0 "));
        let status = version.and_then(|rest| rest.get(..3)?.parse().ok());
        let body = if status.is_none() { head } else { body };
        Self { status, body: body.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_and_body_are_parsed_and_anything_else_is_the_body() {
        for (bytes, status, body) in [
            ("HTTP/1.1 200 OK\r\nx: y\r\n\r\n{}\r\n\r\n", Some(200), "{}\r\n\r\n"),
            ("HTTP/1.0 503 Service Unavailable\r\n\r\n", Some(503), ""),
            ("SSH-2.0-x\r\n", None, "SSH-2.0-x\r\n"),
            ("HTTP/1.1 x", None, "HTTP/1.1 x"),
            ("", None, ""),
        ] {
            assert_eq!(Response::parse(bytes.as_bytes()), Response { status, body: body.to_owned() });
        }
    }
}

use std::{fmt, str::FromStr};

/// A host, by name or address, and a TCP port on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    host: String,
    port: u16,
}

/// Why text names no host and port.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    #[error("expected HOST:PORT, as in 192.0.2.1:6881 or [2001:db8::1]:6881")]
    Form,
    #[error("{0:?} is no port; expected a number up to 65535")]
    Port(String),
    #[error("an IPv6 address needs brackets, as in [2001:db8::1]:6881")]
    Brackets,
}

impl Endpoint {
    /// The name, or the address without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Reads one that can be connected to.
    pub fn parse_peer(text: &str) -> Result<Endpoint, EndpointError> {
        let endpoint: Endpoint = text.parse()?;
        match endpoint.port {
            0 => Err(EndpointError::Port("0".to_owned())),
            _ => Ok(endpoint),
        }
    }
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Endpoint, EndpointError> {
        let (host, port) = text.rsplit_once(':').ok_or(EndpointError::Form)?;
        let inner = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        if inner.is_none() && host.contains(':') {
            return Err(EndpointError::Brackets);
        }
        let host = inner.unwrap_or(host);
        if host.is_empty() {
            return Err(EndpointError::Form);
        }
        // `parse` alone would take a sign.
        let is_number = port.bytes().all(|byte| byte.is_ascii_digit());
        match port.parse() {
            Ok(port) if is_number => Ok(Endpoint { host: host.to_owned(), port }),
            _ => Err(EndpointError::Port(port.to_owned())),
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_addresses_of_both_kinds_are_read_and_shown_as_they_were() {
        for (text, host, port) in [
            ("example.org:6881", "example.org", 6881),
            ("192.0.2.1:0", "192.0.2.1", 0),
            ("[2001:db8::1]:65535", "2001:db8::1", 65535),
        ] {
            let endpoint: Endpoint = text.parse().unwrap();
            assert_eq!((endpoint.host(), endpoint.port()), (host, port));
            assert_eq!(endpoint.to_string(), text);
        }
    }

    #[test]
    fn what_is_no_host_and_port_is_refused_with_what_is_wrong_with_it() {
        let read = |text: &str| text.parse::<Endpoint>().unwrap_err();
        for text in ["example.org", "", ":6881", "[]:6881"] {
            assert_eq!(read(text), EndpointError::Form, "{text:?}");
        }
        for (text, port) in [("a:65536", "65536"), ("a:", ""), ("[::1]:+5", "+5"), ("a:x", "x")] {
            assert_eq!(read(text), EndpointError::Port(port.to_owned()), "{text:?}");
        }
        assert_eq!(read("2001:db8::1:6881"), EndpointError::Brackets);
        assert_eq!(Endpoint::parse_peer("a:0"), Err(EndpointError::Port("0".to_owned())));
    }
}

//! Names of certificates, in the one form in which those of a file and of a client compare.

use std::net::IpAddr;

/// Host names have no case. A certificate's has no final dot.
pub(crate) fn dns(name: &str) -> String {
    let name = name.strip_suffix('.').unwrap_or(name);
    format!("dns:{}", name.to_ascii_lowercase())
}

/// The part before the `@` has case, the host has none (RFC 5280, section 7.5).
pub(crate) fn email(address: &str) -> String {
    match address.rsplit_once('@') {
        Some((user, host)) => format!("email:{user}@{}", host.to_ascii_lowercase()),
        None => format!("email:{address}"),
    }
}

pub(crate) fn uri(uri: &str) -> String {
    format!("uri:{uri}")
}

pub(crate) fn ip(address: IpAddr) -> String {
    format!("ip:{}", address.to_canonical())
}

/// Reads `dns:…`, `uri:…`, `email:…` or `ip:…`.
pub(super) fn parse(text: &str) -> Result<String, &'static str> {
    const KINDS: &str = "san must begin with dns:, uri:, email: or ip:, with a name behind it";
    let (kind, name) = text.split_once(':').unwrap_or_default();
    if name.is_empty() {
        return Err(KINDS);
    }
    if !name.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("san must be visible ASCII; write an international host in its xn-- form");
    }
    match kind {
        "dns" => Ok(dns(name)),
        "uri" => Ok(uri(name)),
        "email" => Ok(email(name)),
        "ip" => match name.parse() {
            Ok(address) => Ok(ip(address)),
            Err(_) => Err("san must have one IP address behind ip:"),
        },
        _ => Err(KINDS),
    }
}

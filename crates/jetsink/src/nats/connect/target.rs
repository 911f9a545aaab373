//! One server to connect to: its address, and the names that its certificate may have.

use std::net::IpAddr;

use async_nats::ServerAddr;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) address: ServerAddr,
    /// Host names of the settings. A certificate for one of them is accepted, too: a server reports the
    /// addresses of its cluster, and certificates usually contain only names.
    pub(crate) names: Vec<String>,
}

impl Target {
    /// A server of the settings, verified by its own name.
    pub(crate) fn listed(address: ServerAddr) -> Self {
        let names = Vec::new();
        Self { address, names }
    }

    /// A server that the broker reports, or an address of a name.
    pub(crate) fn verified_as(address: ServerAddr, names: Vec<String>) -> Self {
        Self { address, names }
    }

    /// Host name and port, unless the host is an IP address or is reached through a WebSocket, which sends
    /// the name.
    pub(crate) fn name(&self) -> Option<(String, u16)> {
        let host = self.address.host();
        let is_name = !is_ip(host) && !self.address.is_websocket();
        is_name.then(|| (host.to_owned(), self.address.port()))
    }

    /// The same server at one of its addresses.
    pub(crate) fn at(&self, address: IpAddr) -> Option<Self> {
        let (name, port) = self.name()?;
        let host = match address {
            IpAddr::V4(address) => address.to_string(),
            IpAddr::V6(address) => format!("[{address}]"),
        };
        let url = format!("{}://{host}:{port}", self.address.scheme());
        let mut names = self.names.clone();
        names.push(name);
        Some(Self::verified_as(url.parse().ok()?, names))
    }
}

/// Whether a URL's host is an IP address.
pub(crate) fn is_ip(host: &str) -> bool {
    host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn address_of_a_name_keeps_scheme_and_port_and_is_verified_by_the_name() {
        let target = Target::listed("tls://broker.example:4333".parse().unwrap());
        assert_eq!(target.name(), Some(("broker.example".to_owned(), 4333)));
        let at = target.at("10.0.0.1".parse().unwrap()).unwrap();
        assert_eq!(at.address, "tls://10.0.0.1:4333".parse().unwrap());
        assert_eq!(at.names, ["broker.example"]);
        assert_eq!(at.name(), None);
        let at = target.at("::1".parse().unwrap()).unwrap();
        assert_eq!(at.address, "tls://[::1]:4333".parse().unwrap());
        let socket = Target::listed("wss://broker.example".parse().unwrap());
        assert_eq!(socket.name(), None);
    }
}

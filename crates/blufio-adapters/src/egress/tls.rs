//! Whom we trust: the web's roots, built in, and whatever the system trusts besides (docs/decisions/0005).

use super::EgressError;
use rustls::client::Resumption;
use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, RootCertStore};
use std::sync::Arc;
use tracing::debug;

/// TLS sessions that are remembered, so that a new connection to the same host is quick.
const SESSIONS_MAX: usize = 16;

/// The configuration of every TLS connection. A machine without any certificates is fine. A test adds one of its own.
pub(super) fn config(lab: Option<&[u8]>) -> Result<ClientConfig, EgressError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| EgressError::Build(error.to_string()))?
        .with_root_certificates(roots(lab)?)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.resumption = Resumption::in_memory_sessions(SESSIONS_MAX);
    Ok(config)
}

fn roots(lab: Option<&[u8]>) -> Result<RootCertStore, EgressError> {
    let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    let system = rustls_native_certs::load_native_certs();
    for error in &system.errors {
        debug!(%error, "a system certificate was not read; the built-in roots are used");
    }
    let (added, ignored) = roots.add_parsable_certificates(system.certs);
    debug!(added, ignored, "system certificates");
    if let Some(certificate) = lab {
        let certificate = CertificateDer::from_slice(certificate).into_owned();
        roots.add(certificate).map_err(|error| EgressError::Build(error.to_string()))?;
    }
    Ok(roots)
}

//! TLS by rustls on ring. Trusts the usual roots and the files that the person names; nothing switches checking off.

use std::io::{Read as _, Write as _};
use std::path::PathBuf;
use std::sync::Arc;

use core::fmt;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, Either, LazyBuffers, NextTimeout, Transport,
    TransportAdapter,
};

use pipeline_vault::Error;

use super::TransportOptions;

/// Who is trusted: the usual authorities, and those of these files.
pub fn trusted_roots(ca_files: &[PathBuf]) -> Result<RootCertStore, Error> {
    let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    for file in ca_files {
        let named = || format!("certificate file «{}»", file.display());
        let bad = |what: String| {
            Error::misuse(named(), what)
                .remedy("name a readable PEM file with CA certificates in LIFEBOAT_CA_FILE")
        };
        let bytes =
            std::fs::read(file).map_err(|error| bad(format!("cannot be read ({error})")))?;
        add(&mut roots, &bytes).map_err(bad)?;
    }
    Ok(roots)
}

/// The same, and those whose certificates are here already.
pub(super) fn roots_of(options: &TransportOptions) -> Result<RootCertStore, Error> {
    let mut roots = trusted_roots(&options.ca_files)?;
    for contents in &options.ca_contents {
        let certificates = CertificateDer::pem_slice_iter(contents).filter_map(Result::ok);
        roots.add_parsable_certificates(certificates);
    }
    Ok(roots)
}

/// Whether this is PEM that can be trusted; else what is wrong with it.
pub fn check_authorities(pem: &[u8]) -> Result<(), String> {
    add(&mut RootCertStore::empty(), pem)
}

fn add(roots: &mut RootCertStore, pem: &[u8]) -> Result<(), String> {
    let certificates: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .map_err(|error| format!("cannot be read ({error})"))?;
    let (added, ignored) = roots.add_parsable_certificates(certificates);
    if added == 0 || ignored > 0 {
        return Err("holds no certificate, or one that is none".to_owned());
    }
    Ok(())
}

/// The files, whole, for who opens none: each holds certificates that can be trusted.
pub fn authorities(ca_files: &[PathBuf]) -> Result<Vec<Vec<u8>>, Error> {
    // Says what is wrong with a file where something is.
    trusted_roots(ca_files)?;
    let read = |file: &PathBuf| {
        std::fs::read(file).map_err(|error| {
            Error::misuse(file.display().to_string(), format!("cannot be read: {error}"))
        })
    };
    ca_files.iter().map(read).collect()
}

/// What a connection agrees on whose peer the usual authorities vouch for, or those of these files.
pub fn client_config_of(authorities: &[Vec<u8>]) -> Result<Arc<ClientConfig>, Error> {
    let ca_contents = authorities.to_vec();
    let options = TransportOptions { ca_contents, ..TransportOptions::default() };
    client_config_with(roots_of(&options)?)
}

/// What every connection agrees on, with these authorities.
pub(super) fn client_config_with(roots: RootCertStore) -> Result<Arc<ClientConfig>, Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::misuse("TLS", error.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

/// Wraps a connection in TLS where the scheme wants it: to the peer, or to a proxy that is reached by TLS.
pub(super) struct TlsConnector {
    config: Arc<ClientConfig>,
}

impl TlsConnector {
    pub(super) fn new(config: Arc<ClientConfig>) -> Self {
        Self { config }
    }
}

impl fmt::Debug for TlsConnector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TlsConnector")
    }
}

impl<In: Transport> Connector<In> for TlsConnector {
    type Out = Either<In, TlsTransport>;

    fn connect(
        &self,
        details: &ConnectionDetails<'_>,
        chained: Option<In>,
    ) -> Result<Option<Self::Out>, ureq::Error> {
        let Some(transport) = chained else { return Ok(None) };
        if !details.needs_tls() || transport.is_tls() {
            return Ok(Some(Either::A(transport)));
        }
        let host = details.uri.host().unwrap_or_default();
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let name = ServerName::try_from(host).map_err(|_| {
            ureq::Error::Tls("the host's name is none that a certificate can carry")
        })?;
        let connection = ClientConnection::new(self.config.clone(), name)?;
        let mut socket =
            TransportAdapter::new(transport.boxed(), Arc::clone(&details.current_time));
        socket.set_timeout(details.timeout);
        let mut stream = StreamOwned { conn: connection, sock: socket };
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock)?;
        }
        let config = details.config;
        let buffers = LazyBuffers::new(config.input_buffer_size(), config.output_buffer_size());
        Ok(Some(Either::B(TlsTransport { buffers, stream })))
    }
}

/// A connection inside TLS.
pub(super) struct TlsTransport {
    buffers: LazyBuffers,
    stream: StreamOwned<ClientConnection, TransportAdapter>,
}

impl fmt::Debug for TlsTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TlsTransport")
    }
}

impl Transport for TlsTransport {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), ureq::Error> {
        self.stream.sock.set_timeout(timeout);
        let output = &self.buffers.output()[..amount];
        self.stream.write_all(output)?;
        // What stays in rustls' own buffer would wait for an answer that never comes.
        self.stream.flush()?;
        Ok(())
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, ureq::Error> {
        self.stream.sock.set_timeout(timeout);
        let amount = self.stream.read(self.buffers.input_append_buf())?;
        self.buffers.input_appended(amount);
        Ok(amount > 0)
    }

    fn is_open(&mut self) -> bool {
        self.stream.sock.get_mut().is_open()
    }

    fn is_tls(&self) -> bool {
        true
    }
}

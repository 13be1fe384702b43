//! Where an update's bytes come from: a file, or a server. Each gives them once, in order.

use core::time::Duration;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use pipeline_azure::address::Origin;
use pipeline_azure::request::{Method, Request};
use pipeline_azure::transport::{Reply, TransportOptions, carrier};
use pipeline_vault::Error;

/// Longest time for a whole download: 28 MiB over 100 kbit/s.
const PATIENCE: Duration = Duration::from_secs(40 * 60);
/// Servers send on to other addresses; no further than this.
const HOPS_MAX: usize = 4;

/// Bytes in order.
pub trait Source {
    /// What it is called in errors.
    fn name(&self) -> String;

    /// Fills the slice; fewer bytes only at the end.
    fn fill(&mut self, into: &mut [u8]) -> Result<usize, Error>;
}

/// Opens what a person names: an address that begins with `https://` or `http://`, or a file.
pub fn open(named: &str) -> Result<Box<dyn Source>, Error> {
    if named.starts_with("https://") || named.starts_with("http://") {
        return Ok(Box::new(Download::open(named)?));
    }
    Ok(Box::new(Plain::open(Path::new(named))?))
}

struct Plain {
    file: File,
    path: PathBuf,
}

impl Plain {
    fn open(path: &Path) -> Result<Self, Error> {
        let file = File::open(path).map_err(|error| {
            Error::device(path.display().to_string(), format!("cannot be opened: {error}"))
                .remedy("check the name")
        })?;
        Ok(Self { file, path: path.to_owned() })
    }
}

impl Source for Plain {
    fn name(&self) -> String {
        self.path.display().to_string()
    }

    fn fill(&mut self, into: &mut [u8]) -> Result<usize, Error> {
        let mut filled = 0;
        while let Some(rest) = into.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match self.file.read(rest) {
                Ok(0) => break,
                Ok(more) => filled += more,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => {
                    return Err(Error::device(self.name(), format!("cannot be read: {error}"))
                        .remedy("check the medium that it is on"));
                }
            }
        }
        Ok(filled)
    }
}

struct Download {
    reply: Reply,
    url: String,
}

impl Download {
    /// Nothing is kept secret on the way, and nothing that comes is believed but by its signature: plain HTTP will do.
    fn open(url: &str) -> Result<Self, Error> {
        let transport = carrier::open(&TransportOptions::from_env())?;
        let mut url = url.to_owned();
        for _ in 0..=HOPS_MAX {
            let (origin, path) = Origin::parse(&url)?;
            let request = Request::new(Method::Get, format!("/{path}"));
            let reply = transport.send(&origin, &request, PATIENCE).map_err(|failure| {
                Error::device(&*url, failure.what)
                    .remedy("check the address and the network, then try again")
            })?;
            match (reply.head.status, reply.head.header("location")) {
                (200, _) => return Ok(Self { reply, url }),
                (301 | 302 | 303 | 307 | 308, Some(next)) => url = next.to_owned(),
                (status, _) => {
                    return Err(Error::refused(
                        &*url,
                        format!("is not given: the server answers {status}"),
                    )
                    .remedy("check the address"));
                }
            }
        }
        Err(Error::refused(url, "leads from address to address without end")
            .remedy("name the last of them"))
    }
}

impl Source for Download {
    fn name(&self) -> String {
        self.url.clone()
    }

    fn fill(&mut self, into: &mut [u8]) -> Result<usize, Error> {
        match self.reply.read_into(into) {
            (filled, None) => Ok(filled),
            (_, Some(failure)) => Err(Error::device(&*self.url, failure.what).remedy("try again")),
        }
    }
}

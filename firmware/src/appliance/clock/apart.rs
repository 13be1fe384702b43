//! Time servers, asked by a service of its own: it has one socket to each, reads what they answer, says how far off each finds
//! our clock, and ends.
//!
//! It lives as long as the question does: nobody who took it over is still there an hour later.

use core::net::{IpAddr, SocketAddr};
use core::time::Duration;
use std::io;
use std::net::UdpSocket;
use std::os::fd::AsFd;

use hal::time::{Clock, Entropy};
use hal_linux::{SystemClock, SystemEntropy};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::sockopt::{Timeout, set_socket_timeout};

use super::sntp::{self, Fault, Reply};
use crate::services::line::{Handed, Line};
use crate::services::{CLOCK, Keeper, Running};

/// So many servers are asked at once.
pub(super) const SERVERS_MAX: usize = 8;
/// What servers may take to answer.
const PATIENCE_MILLIS: u64 = 3000;
/// What the service may take: a slow machine starts a process in seconds.
const SERVICE_PATIENCE: Duration = Duration::from_secs(15);
/// Its word is no longer than this.
const WORD_BYTES_MAX: usize = 256;
/// What it is told: there is nothing to know but the sockets.
const ASK: &[u8] = b"ask";

/// What came of one server.
type Answer = Result<i64, Fault>;

/// Asks these servers, the first ones of too many; what each says is to be added to our clock, in milliseconds.
///
/// Errors: the service cannot be started, ended, or said what it never says.
pub(super) fn ask(
    servers: &[SocketAddr],
    keeper: &Keeper<'_>,
) -> Result<Vec<(IpAddr, Answer)>, String> {
    let mut told = Vec::new();
    let (mut asked, mut sockets) = (Vec::new(), Vec::new());
    for server in servers.iter().take(SERVERS_MAX) {
        match to(*server) {
            Ok(socket) => {
                asked.push(server.ip());
                sockets.push(socket);
            }
            Err(error) => told.push((server.ip(), Err(fault(&error)))),
        }
    }
    if !sockets.is_empty() {
        told.extend(asked.into_iter().zip(have_asked(&sockets, keeper)?));
    }
    Ok(told)
}

fn have_asked(sockets: &[UdpSocket], keeper: &Keeper<'_>) -> Result<Vec<Answer>, String> {
    let failed = |error: io::Error| format!("the service clock is not heard: {error}");
    let files: Vec<_> = sockets.iter().map(AsFd::as_fd).collect();
    let running = Running::start(&CLOCK, keeper, ASK, &files)?;
    set_socket_timeout(&running.line, Timeout::Recv, Some(SERVICE_PATIENCE))
        .map_err(|errno| failed(errno.into()))?;
    match running.line.receive(WORD_BYTES_MAX).map_err(failed)? {
        Some(word) => heard(&word.bytes, sockets.len()),
        None => Err(running.why(SERVICE_PATIENCE)),
    }
}

/// The word of a service that was to ask so many servers.
fn heard(word: &[u8], servers: usize) -> Result<Vec<Answer>, String> {
    let told = postcard::take_from_bytes::<Vec<Answer>>(word).ok();
    let told = told.filter(|(answers, rest)| answers.len() == servers && rest.is_empty());
    let (answers, _) = told.ok_or("the service clock says what no service clock says")?;
    Ok(answers)
}

/// A socket to this server, and to nobody else.
fn to(server: SocketAddr) -> io::Result<UdpSocket> {
    let any: SocketAddr = match server {
        SocketAddr::V4(_) => ([0, 0, 0, 0], 0).into(),
        SocketAddr::V6(_) => ([0_u16; 8], 0).into(),
    };
    let socket = UdpSocket::bind(any)?;
    socket.set_nonblocking(true)?;
    socket.connect(server)?;
    Ok(socket)
}

fn fault(error: &io::Error) -> Fault {
    Fault::Unreachable(error.raw_os_error().unwrap_or_default())
}

/// The service.
pub(crate) fn run(line: Line, handed: Handed) -> Result<(), String> {
    let questions = handed.files.into_iter().map(|file| Question::put(file.into()));
    let answers = hear(questions.collect());
    let word = postcard::to_allocvec(&answers).map_err(|error| error.to_string())?;
    line.send(&word, &[]).map_err(|error| error.to_string())
}

/// A server that is asked.
struct Question {
    socket: UdpSocket,
    cookie: [u8; 8],
    sent: u64,
    answer: Answer,
}

impl Question {
    fn put(socket: UdpSocket) -> Self {
        let mut cookie = [0; 8];
        let sent = SystemClock.now().0;
        let asked = SystemEntropy.fill(&mut cookie).map_err(|_| Fault::Silent).and_then(|()| {
            socket.send(&sntp::question(cookie)).map(drop).map_err(|error| fault(&error))
        });
        Self { socket, cookie, sent, answer: Err(asked.err().unwrap_or(Fault::Silent)) }
    }

    /// Something of it may still come.
    fn is_open(&self) -> bool {
        self.answer == Err(Fault::Silent)
    }

    /// Reads what came.
    fn read(&mut self) {
        let mut packet = [0; 512];
        self.answer = match self.socket.recv(&mut packet) {
            Ok(length) => {
                let received = SystemClock.now().0;
                let packet = packet.get(..length).unwrap_or_default();
                let answer = sntp::answer(packet, self.cookie, self.sent, received);
                answer.map(|Reply { offset_millis }| offset_millis)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
            Err(error) => Err(fault(&error)),
        };
    }
}

/// Waits until all have answered, or none may any more.
fn hear(mut questions: Vec<Question>) -> Vec<Answer> {
    let until = SystemClock.moment().after(PATIENCE_MILLIS);
    loop {
        let left = until.since(SystemClock.moment());
        let open: Vec<_> = questions.iter_mut().filter(|question| question.is_open()).collect();
        if left == 0 || open.is_empty() {
            break;
        }
        wait(&open, left);
        open.into_iter().for_each(Question::read);
    }
    questions.into_iter().map(|question| question.answer).collect()
}

fn wait(open: &[&mut Question], millis: u64) {
    let mut sockets: Vec<_> = open
        .iter()
        .map(|question| PollFd::from_borrowed_fd(question.socket.as_fd(), PollFlags::IN))
        .collect();
    let time = Duration::from_millis(millis);
    let seconds = i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
    let time = Timespec { tv_sec: seconds, tv_nsec: time.subsec_nanos().into() };
    match poll(&mut sockets, Some(&time)) {
        Ok(_) | Err(Errno::INTR) => {}
        // Not in a circle, whatever is wrong.
        Err(_) => std::thread::sleep(Duration::from_millis(100)),
    }
}

#[cfg(test)]
mod tests {
    use hal_sim::random::Random;

    use super::*;

    const HOUR_MILLIS: u64 = 3_600_000;

    /// A server on this machine that answers with a time so much later, or not at all.
    fn server(later: Option<u64>) -> SocketAddr {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        std::thread::spawn(move || {
            let mut packet = [0; 48];
            let (_, from) = socket.recv_from(&mut packet).unwrap();
            if let Some(later) = later {
                let now = SystemClock.now().0 + later;
                socket.send_to(&sntp::tests::reply(&packet, now), from).unwrap();
            }
            // The socket stays, so that nobody is told that there is none.
            std::thread::sleep(Duration::from_secs(20));
        });
        address
    }

    #[test]
    fn servers_are_asked_at_once_and_each_answer_is_its_own() {
        let nobody = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let servers = [server(Some(HOUR_MILLIS)), server(None), nobody, server(Some(0))];
        let questions = servers.map(|server| Question::put(to(server).unwrap()));
        let answers = hear(questions.into());
        assert!(answers[0].unwrap().abs_diff(3_600_000) < 5000, "{answers:?}");
        assert_eq!(answers[1], Err(Fault::Silent));
        assert!(matches!(answers[2], Err(Fault::Unreachable(_))), "{answers:?}");
        assert!(answers[3].unwrap().abs_diff(0) < 5000, "{answers:?}");
    }

    #[test]
    fn a_service_that_says_what_none_says_is_not_believed() {
        let answers: Vec<Answer> = vec![Ok(i64::MIN), Err(Fault::Unreachable(-1)), Ok(5)];
        let word = postcard::to_allocvec(&answers).unwrap();
        assert_eq!(heard(&word, 3), Ok(answers));
        for servers in [0, 2, 4, 8] {
            assert!(heard(&word, servers).is_err(), "it answers for {servers}");
        }
        assert!(heard(&[&word[..], &[0]].concat(), 3).is_err(), "it says more");
        assert!(heard(&[], 3).is_err());
        // A list of more than there are bytes for is none either.
        assert!(heard(&[0xFF, 0xFF, 0xFF, 0xFF, 0x0F], 3).is_err());
        let mut random = Random::new(5);
        for _ in 0..10_000 {
            let mut noise = word.clone();
            let at = usize::try_from(random.below(noise.len() as u64)).unwrap();
            noise[at] = u8::try_from(random.below(256)).unwrap();
            assert!(
                heard(&noise, 3).is_ok_and(|told| told.len() == 3) || heard(&noise, 3).is_err()
            );
        }
    }
}

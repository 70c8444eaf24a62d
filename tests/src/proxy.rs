use std::{
    io::{self, Read, Write},
    net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

/// How long the listener sleeps when nobody calls.
const NAP: Duration = Duration::from_millis(10);

/// A way to a server on 127.0.0.1 that can be cut: every connection over it ends at once, without good-byes.
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    open: Arc<Mutex<Vec<TcpStream>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Proxy {
    /// Opens a way to a port.
    ///
    /// # Panics
    /// When no port can be had.
    pub fn to(port: u16) -> Self {
        let listener = match TcpListener::bind((Ipv4Addr::LOCALHOST, 0)) {
            Ok(listener) => listener,
            Err(error) => panic!("No port can be had: {error}"),
        };
        let (Ok(own), Ok(())) = (listener.local_addr(), listener.set_nonblocking(true)) else {
            panic!("The port cannot be asked for its number");
        };
        let open = Arc::new(Mutex::new(Vec::new()));
        let stop = Arc::new(AtomicBool::new(false));
        let thread = thread::spawn({
            let (open, stop) = (Arc::clone(&open), Arc::clone(&stop));
            move || {
                while !stop.load(Ordering::Relaxed) {
                    match listener.accept() {
                        // A server that does not answer is a connection that ends at once.
                        Ok((client, _)) => drop(join(client, port, &open)),
                        Err(_) => thread::sleep(NAP),
                    }
                }
            }
        });
        Self { port: own.port(), open, stop, thread: Some(thread) }
    }

    /// The port on 127.0.0.1 where the way begins.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Cuts every connection, and returns how many there were; new ones are let through.
    pub fn cut(&self) -> usize {
        let cut = std::mem::take(&mut *self.open.lock().unwrap_or_else(PoisonError::into_inner));
        for stream in &cut {
            // One side may have ended by itself.
            drop(stream.shutdown(Shutdown::Both));
        }
        cut.len() / 2
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.cut();
        if let Some(thread) = self.thread.take() {
            // It only listens; if it panicked, there is no way any more.
            drop(thread.join());
        }
    }
}

/// Passes bytes on in both directions until one side ends.
fn join(client: TcpStream, port: u16, open: &Mutex<Vec<TcpStream>>) -> io::Result<()> {
    client.set_nonblocking(false)?;
    let server = TcpStream::connect(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))?;
    for stream in [&client, &server] {
        stream.set_nodelay(true)?;
    }
    let mut open = open.lock().unwrap_or_else(PoisonError::into_inner);
    open.push(client.try_clone()?);
    open.push(server.try_clone()?);
    let (client_again, server_again) = (client.try_clone()?, server.try_clone()?);
    thread::spawn(move || pass(client, server));
    thread::spawn(move || pass(server_again, client_again));
    Ok(())
}

fn pass(mut from: TcpStream, mut to: TcpStream) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(read @ 1..) = from.read(&mut buffer) {
        if to.write_all(&buffer[..read]).is_err() {
            break;
        }
    }
    for stream in [from, to] {
        drop(stream.shutdown(Shutdown::Both));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_end_when_the_way_is_cut_and_new_ones_get_through() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let proxy = Proxy::to(listener.local_addr().unwrap().port());
        for _ in 0..2 {
            let mut client = TcpStream::connect((Ipv4Addr::LOCALHOST, proxy.port())).unwrap();
            let (mut server, _) = listener.accept().unwrap();
            client.write_all(b"question").unwrap();
            let mut question = [0; 8];
            server.read_exact(&mut question).unwrap();
            assert_eq!(&question, b"question");
            assert_eq!(proxy.cut(), 1);
            assert!(!matches!(client.read(&mut question), Ok(1..)));
            assert!(!matches!(server.read(&mut question), Ok(1..)));
        }
    }
}

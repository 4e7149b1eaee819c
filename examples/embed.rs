//! potluck inside somebody's own Pingora server, beside a service of theirs.
//!
//! `OPENROUTER_KEYS=… cargo run --example embed`, then
//! `curl http://127.0.0.1:8770/` for the host's own service and point an SDK at `http://127.0.0.1:8767/api/v1`.

use async_trait::async_trait;
use http::Response;
use pingora::apps::http_app::{HttpServer, ServeHttp};
use pingora::prelude::*;
use pingora::protocols::http::ServerSession;
use pingora::server::RunArgs;
use pingora::services::listening::Service;
use potluck::config::{Config, Flags};
use potluck::server::Potluck;

/// The host's own service: anything Pingora can serve.
struct Hello;

#[async_trait]
impl ServeHttp for Hello {
    async fn response(&self, _session: &mut ServerSession) -> Response<Vec<u8>> {
        Response::new(b"hello from the host\n".to_vec())
    }
}

fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let mut server = Server::new(None)?;
    server.bootstrap();

    let listen = std::env::var("HELLO_LISTEN").unwrap_or_else(|_| "127.0.0.1:8770".to_owned());
    let mut hello = Service::new("hello".to_owned(), HttpServer::new_app(Hello));
    hello.add_tcp(&listen);
    server.add_service(hello);

    // The pool in four lines: settings as the binary reads them, state, services.
    let config = Config::load(None, &Flags::default()).map_err(|faults| format!("{faults:?}"))?;
    let potluck = Potluck::open(config)?;
    potluck.add_to(&mut server);
    server.run(RunArgs::default());
    // The ledger's writer stops last, when nothing can be booked any more.
    potluck.close();
    Ok(())
}

//! The yardstick: Pingora's own proxy with nothing added but the upstream's address and an `Authorization` header.

use async_trait::async_trait;
use pingora::prelude::*;
use pingora::server::configuration::ServerConf;
use pingora_proxy::{ProxyHttp, Session, http_proxy_service};

struct Plain {
    upstream: String,
    bearer: String,
}

#[async_trait]
impl ProxyHttp for Plain {
    type CTX = ();

    fn new_ctx(&self) {}

    async fn upstream_peer(&self, _session: &mut Session, _ctx: &mut ()) -> Result<Box<HttpPeer>> {
        Ok(Box::new(HttpPeer::new(self.upstream.as_str(), false, String::new())))
    }

    async fn upstream_request_filter(&self, _: &mut Session, head: &mut RequestHeader, _: &mut ()) -> Result<()> {
        head.insert_header("authorization", self.bearer.clone())
    }
}

/// Serve on `listen` until killed, one thread, as every proxy in this bench.
pub fn serve(listen: &str, upstream: &str, key: &str) {
    let conf = ServerConf { threads: 1, upstream_keepalive_pool_size: 128, ..ServerConf::default() };
    let mut server = Server::new_with_opt_and_conf(None, conf);
    server.bootstrap();
    let mut service = http_proxy_service(
        &server.configuration,
        Plain { upstream: upstream.to_owned(), bearer: format!("Bearer {key}") },
    );
    service.add_tcp(listen);
    server.add_service(service);
    server.run_forever();
}

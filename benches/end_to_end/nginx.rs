//! nginx as a second yardstick, where it is installed.

use std::process::{Command, Stdio};

use super::process::{Proxy, Simulator, free_port};

/// A one-worker nginx in front of the simulator, or `None` when there is no nginx.
pub fn start(simulator: &Simulator) -> Option<Proxy> {
    let dir = tempfile::tempdir().expect("a directory");
    let port = free_port();
    let conf = format!(
        "daemon off; worker_processes 1; pid {dir}/pid; error_log {dir}/error.log;
         events {{ worker_connections 4096; }}
         http {{ access_log off; client_body_temp_path {dir}/b; proxy_temp_path {dir}/p; fastcgi_temp_path {dir}/f;
           uwsgi_temp_path {dir}/u; scgi_temp_path {dir}/s; client_max_body_size 100m; client_body_buffer_size 2m;
           upstream sim {{ server {upstream}; keepalive 128; }}
           server {{ listen 127.0.0.1:{port}; keepalive_requests 1000000000;
             location / {{ proxy_pass http://sim; proxy_http_version 1.1; proxy_set_header Connection \"\";
               proxy_buffering off; proxy_set_header Authorization \"Bearer {key}\"; }} }} }}",
        dir = dir.path().display(),
        upstream = simulator.address,
        key = simulator.key,
    );
    let file = dir.path().join("nginx.conf");
    std::fs::write(&file, conf).expect("written");
    let child = Command::new("nginx").arg("-c").arg(&file).stderr(Stdio::null()).spawn().ok()?;
    Some(Proxy::started("nginx", child, port, Some(dir)))
}
